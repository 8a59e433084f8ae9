use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, anyhow, bail};
use futures_util::StreamExt as _;
use serde_json::json;
use tintype_client::{DownloadImages, Fetched, Format};
use tokio::{fs::File, io::stdout};

use super::Tally;
use crate::args::{Common, Get};

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
        Some("zip") => archive(common, &out, async |file| download.zip(file).await).await,
        Some("tar") => archive(common, &out, async |file| download.tar(file).await).await,
        _ if out == Path::new("-") => {
            download.tar(stdout()).await?;
            Ok(ExitCode::SUCCESS)
        }
        _ => folder(common, if get.force { download.replace() } else { download }, out).await,
    }
}

async fn archive(
    common: &Common,
    path: &Path,
    write: impl AsyncFnOnce(&mut File) -> tintype_client::Result<u64>,
) -> anyhow::Result<ExitCode> {
    let mut file = File::create(path).await.with_context(|| format!("cannot write {}", path.display()))?;
    let size_bytes = match write(&mut file).await {
        Ok(size_bytes) => size_bytes,
        Err(error) => {
            // Half an archive is of no use to anybody; if it stays, no program takes it for a whole one.
            let _ = tokio::fs::remove_file(path).await;
            return Err(error.into());
        }
    };
    file.sync_all().await.with_context(|| format!("cannot write {}", path.display()))?;
    let told = || json!({ "path": path.display().to_string(), "size_bytes": size_bytes.to_string() });
    common.output.line(|| path.display().to_string(), told)?;
    Ok(ExitCode::SUCCESS)
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
