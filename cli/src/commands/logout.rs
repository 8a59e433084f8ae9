use serde_json::json;

use crate::{args::Common, credentials::Credentials};

pub(super) fn run(common: &Common) -> anyhow::Result<()> {
    let was_there = Credentials::of_user()?.forget(&common.server)?;
    let did = if was_there { "signed out of" } else { "was not signed in to" };
    common.output.line(|| format!("{did} {}", common.server), || json!({ "server": common.server, "was_signed_in": was_there }))
}
