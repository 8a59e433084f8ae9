use serde_json::json;

use crate::{
    args::{Common, Link},
    output::utc,
};

pub(super) async fn run(common: &Common, link: Link) -> anyhow::Result<()> {
    let request = super::signed_in(common)?.build()?.create_download_url(link.id).ttl(link.expires);
    let made = match link.format {
        Some(format) => request.format(format),
        None => request,
    };
    let made = made.send().await?;
    common.output.line(|| made.url.clone(), || json!({ "url": made.url, "expires_at": utc(made.expires_at) }))
}
