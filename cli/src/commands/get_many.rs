use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use futures_util::StreamExt as _;
use serde_json::json;
use tintype_client::{Archived, DownloadImages, Fetched, Format};
use tokio::{fs::OpenOptions, io::stdout};

use super::Tally;
use crate::{
    args::{Common, Get},
    exit,
    files::{Place, place},
    output::archive_error,
};

/// Several images, or all of them: into a folder, or as an archive when the name to write to ends with `.zip` or `.tar`.
pub(super) async fn run(common: &Common, get: Get) -> anyhow::Result<ExitCode> {
    if !get.spec.is_empty() {
        bail!("size and quality can be said for one image; `render` asks for them beforehand");
    }
    let client = super::signed_in(common)?.build()?;
    let download = if get.all { client.images().download() } else { client.download_images(get.ids.iter().copied()) };
    let download = if get.original { download } else { download.format(get.format.unwrap_or(Format::Jpeg)) };
    let download = if get.wait { download.wait() } else { download };
    let out = get.out.unwrap_or_else(|| ".".into());
    match out.extension().and_then(|extension| extension.to_str()) {
        Some("zip") => archive(common, download, true, &out).await,
        Some("tar") => archive(common, download, false, &out).await,
        _ if out == Path::new("-") => {
            let archived = download.tar(stdout()).await.map_err(archive_error)?;
            Ok(completeness(&archived))
        }
        _ => folder(common, if get.force { download.replace() } else { download }, out).await,
    }
}

async fn archive(common: &Common, download: DownloadImages, is_zip: bool, out: &Path) -> anyhow::Result<ExitCode> {
    let path = match place(out) {
        Place::File(path) => path,
        Place::Special(path) => {
            let opened = OpenOptions::new().write(true).open(path).await;
            let file = opened.with_context(|| format!("cannot write {}", out.display()))?;
            let archived = if is_zip { download.zip(file).await } else { download.tar(file).await };
            return Ok(completeness(&archived.map_err(archive_error)?));
        }
    };
    let archived = if is_zip { download.save_zip(path).await? } else { download.save_tar(path).await? };
    let Archived { size_bytes, missing_count, .. } = archived;
    let told = || {
        let (size_bytes, missing_count) = (size_bytes.to_string(), missing_count.to_string());
        json!({ "path": out.display().to_string(), "size_bytes": size_bytes, "missing_count": missing_count })
    };
    common.output.line(|| out.display().to_string(), told)?;
    Ok(completeness(&archived))
}

/// Tells when an archive lacks something: that it could be written does not mean that all is in it.
fn completeness(archived: &Archived) -> ExitCode {
    if archived.missing_count == 0 {
        return ExitCode::SUCCESS;
    }
    exit::report(&anyhow!("{} of the pictures could not be had; manifest.json in the archive says which, and why", archived.missing_count))
}

async fn folder(common: &Common, download: DownloadImages, folder: PathBuf) -> anyhow::Result<ExitCode> {
    let mut tally = Tally::default();
    let mut fetched = download.to_folder(folder);
    while let Some(fetched) = fetched.next().await {
        let result = match fetched? {
            Fetched::Saved { path, info } => {
                common.output.line(|| path.display().to_string(), || super::get::saved_json(&path, &info)).map(drop)
            }
            Fetched::Missing { image_id, error, .. } => Err(anyhow!(error).context(format!("image {image_id}"))),
            _ => Ok(()),
        };
        tally.count(result)?;
    }
    Ok(tally.exit_code())
}
