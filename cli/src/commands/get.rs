use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use serde_json::json;
use tintype_client::{Client, Download, DownloadInfo, Format};
use tokio::{
    fs::OpenOptions,
    io::{AsyncWrite, AsyncWriteExt as _, stdout},
};

use crate::{
    args::{Common, Get},
    files::{Place, download_name, place},
    output::output_error,
};

pub(super) async fn run(common: &Common, get: Get) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    let [id] = get.ids[..] else { bail!("one image is meant here") };
    let target = target(&client, id, &get).await?;
    match &target.out {
        Out::Stdout => copy(begin(&client, id, &get, target.format).await?, stdout()).await,
        Out::Special(path) => {
            let download = begin(&client, id, &get, target.format).await?;
            let opened = OpenOptions::new().write(true).open(path).await;
            copy(download, opened.with_context(|| format!("cannot write {}", path.display()))?).await
        }
        Out::File { path, replace } => {
            // Before the bytes are fetched for nothing; that no file is replaced unasked is made sure when it is given its name.
            if !replace && path.symlink_metadata().is_ok() {
                bail!("{} is there already; --force replaces it", path.display());
            }
            let info = begin(&client, id, &get, target.format).await?.save(path, *replace).await?;
            common.output.line(|| path.display().to_string(), || saved_json(path, &info))
        }
    }
}

struct Target {
    out: Out,
    format: Format,
}

enum Out {
    Stdout,
    /// A pipe or a device.
    Special(PathBuf),
    /// A file that was named by the user may be replaced; one that was named after the image only with `--force`.
    File {
        path: PathBuf,
        replace: bool,
    },
}

/// Where to write, and in which format to ask for it.
async fn target(client: &Client, id: i64, get: &Get) -> anyhow::Result<Target> {
    let named_after_image = get.out.as_deref().is_none_or(Path::is_dir);
    let image = if get.original || named_after_image { Some(client.image(id).await?) } else { None };
    let format = image.as_ref().filter(|_| get.original).map_or(get.format.unwrap_or(Format::Jpeg), |image| image.format);
    let out = match (&get.out, image) {
        (Some(out), _) if out == Path::new("-") => Out::Stdout,
        (folder, Some(image)) if named_after_image => {
            let path = folder.clone().unwrap_or_default().join(download_name(&image, format));
            Out::File { path, replace: get.force }
        }
        (out, _) => match place(out.as_deref().unwrap_or(Path::new(""))) {
            Place::Special(path) => Out::Special(path),
            Place::File(path) => Out::File { path, replace: true },
        },
    };
    Ok(Target { out, format })
}

async fn begin(client: &Client, id: i64, get: &Get, format: Format) -> anyhow::Result<Download> {
    let request = if get.spec.is_empty() {
        client.download(id).format(format).or_create()
    } else {
        let rendition = get.spec.apply(client.create_rendition(id, format)).send().await?;
        client.download_rendition(rendition.id).wait()
    };
    Ok(if get.wait { request.wait() } else { request }.send().await?)
}

async fn copy(mut download: Download, mut out: impl AsyncWrite + Unpin) -> anyhow::Result<()> {
    while let Some(chunk) = download.chunk().await? {
        out.write_all(&chunk).await.map_err(output_error)?;
    }
    out.flush().await.map_err(output_error)
}

pub(super) fn saved_json(path: &Path, info: &DownloadInfo) -> serde_json::Value {
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
