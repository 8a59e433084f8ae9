use std::process::ExitCode;

use super::Tally;
use crate::args::{Common, Rm};

/// Says nothing of what it deleted.
pub(super) async fn run(common: &Common, rm: Rm) -> anyhow::Result<ExitCode> {
    let client = super::signed_in(common)?.build()?;
    let mut tally = Tally::default();
    for id in rm.ids {
        tally.count(client.delete(id).await.map_err(Into::into))?;
    }
    Ok(tally.exit_code())
}
