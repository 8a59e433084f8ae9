use std::path::{Path, PathBuf};

use anyhow::bail;
use serde_json::json;
use tintype_client::{Client, Download, DownloadInfo, Format};
use tokio::io::{AsyncWriteExt as _, stdout};

use crate::{
    args::{Common, Get},
    files::download_name,
    output::output_error,
};

pub(super) async fn run(common: &Common, get: Get) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    if get.out.as_deref() == Some(Path::new("-")) {
        let format = if get.original { client.image(get.id).await?.format } else { get.format };
        return to_stdout(begin(&client, &get, format).await?).await;
    }
    let (path, format) = target(&client, &get).await?;
    // Before the bytes are fetched for nothing; that no file is replaced unasked is made sure when it is given its name.
    if !get.force && path.symlink_metadata().is_ok() {
        bail!("{} is there already; --force replaces it", path.display());
    }
    let info = begin(&client, &get, format).await?.save(&path, get.force).await?;
    common.output.line(|| path.display().to_string(), || saved_json(&path, &info))
}

/// Where to write, and in which format to ask for it.
async fn target(client: &Client, get: &Get) -> anyhow::Result<(PathBuf, Format)> {
    let folder = match &get.out {
        Some(out) if !out.is_dir() && !get.original => return Ok((out.clone(), get.format)),
        Some(out) => out.clone(),
        None => PathBuf::new(),
    };
    let image = client.image(get.id).await?;
    let format = if get.original { image.format } else { get.format };
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok((folder.join(download_name(&image, format)), format));
    }
    Ok((folder, format))
}

async fn begin(client: &Client, get: &Get, format: Format) -> anyhow::Result<Download> {
    let request = client.download(get.id).format(format);
    Ok(if get.wait { request.wait() } else { request }.send().await?)
}

async fn to_stdout(mut download: Download) -> anyhow::Result<()> {
    let mut stdout = stdout();
    while let Some(chunk) = download.chunk().await? {
        stdout.write_all(&chunk).await.map_err(output_error)?;
    }
    stdout.flush().await.map_err(output_error)
}

fn saved_json(path: &Path, info: &DownloadInfo) -> serde_json::Value {
    json!({
        "path": path.display().to_string(),
        "id": info.image_id.to_string(),
        "rendition_id": info.rendition_id.map(|id| id.to_string()),
        "format": info.format.to_string(),
        "size_bytes": info.size_bytes.to_string(),
        "width": info.width,
        "height": info.height,
    })
}
