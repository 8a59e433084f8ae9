use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, bail};
use serde_json::json;
use tintype_client::{Client, ErrorReason};

use super::Tally;
use crate::{
    args::{Common, Upload},
    files,
    unfinished::{self, Unfinished},
};

/// Gives up what earlier runs began to upload of these files.
pub(super) async fn run(common: &Common, upload: Upload) -> anyhow::Result<ExitCode> {
    let client = super::signed_in(common)?.build()?;
    let uploads = Unfinished::of_user(&common.server, &client.current_user().await?.user_name)?;
    let paths = if upload.recursive { files::within(upload.files).context("cannot walk the folders")? } else { upload.files };
    let mut tally = Tally::default();
    for path in paths {
        let cancelled = cancel(&client, &uploads, &path).await.and_then(|()| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            common.output.line(|| format!("{name}\tcancelled"), || json!({ "file_name": name, "state": "cancelled" }))
        });
        tally.count(cancelled.with_context(|| path.display().to_string()))?;
    }
    Ok(tally.exit_code())
}

async fn cancel(client: &Client, uploads: &Unfinished, path: &Path) -> anyhow::Result<()> {
    let begun = uploads.of_path(path)?;
    if begun.is_empty() {
        bail!("no upload of it is unfinished, as far as is known here");
    }
    for entry in begun {
        match client.cancel_upload(unfinished::upload_id(&entry)).await {
            Err(error) if !error.is(ErrorReason::UploadNotFound) => return Err(error.into()),
            // Also when the server has removed it by itself.
            _ => unfinished::forget(&entry),
        }
    }
    Ok(())
}
