//! Pictures out: to memory, to a stream, to a file.

use std::{io, path::Path};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tintype_proto::v1::{DownloadImageRequest, DownloadImageResponse, ErrorReason, download_image_response::Message};
use tokio::{io::AsyncWriteExt as _, task::spawn_blocking};
use tonic::Streaming;

use crate::{Client, Error, Format, Result, client::Call, wire};

/// What to download; from [`Client::download`] or [`Client::download_rendition`].
#[derive(Debug, Clone)]
#[must_use = "nothing is downloaded before `send`, `bytes` or `to_path`"]
pub struct DownloadRequest {
    client: Client,
    request: DownloadImageRequest,
    verify: bool,
    or_create: bool,
}

/// What a download brings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownloadInfo {
    /// The image.
    pub image_id: i64,
    /// The rendition; `None` for the original.
    pub rendition_id: Option<i64>,
    /// The name to save it by. It comes from another user's machine: make it safe before it becomes a path.
    pub file_name: String,
    /// Format of the bytes.
    pub format: Format,
    /// Size of the whole picture in bytes.
    pub size_bytes: u64,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// SHA-256 of the whole picture.
    pub sha256: [u8; 32],
    /// Where in the picture the download begins, in bytes.
    pub offset_bytes: u64,
    /// How many bytes it brings.
    pub length_bytes: u64,
    /// True when the picture is the one of [`DownloadRequest::if_none_match`]: it brings no bytes then.
    pub not_modified: bool,
}

impl DownloadRequest {
    pub(crate) fn image(client: Client, image_id: i64) -> DownloadRequest {
        DownloadRequest { client, request: DownloadImageRequest { image_id, ..Default::default() }, verify: true, or_create: false }
    }

    pub(crate) fn rendition(client: Client, rendition_id: i64) -> DownloadRequest {
        DownloadRequest { client, request: DownloadImageRequest { rendition_id, ..Default::default() }, verify: true, or_create: false }
    }

    /// The format wanted: the original if it has that format, else the rendition in it. JPEG if it is not said.
    ///
    /// Means nothing for a download by rendition.
    pub fn format(mut self, format: Format) -> DownloadRequest {
        self.request.format = wire::format_number(format);
        self
    }

    /// The first byte wanted, from 0.
    pub fn offset(mut self, bytes: u64) -> DownloadRequest {
        self.request.offset_bytes = wire::signed(bytes);
        self
    }

    /// How many bytes at most, from 1. All to the end if it is not said.
    pub fn limit(mut self, bytes: u64) -> DownloadRequest {
        self.request.limit_bytes = wire::signed(bytes);
        self
    }

    /// Waits until a rendition that is pending is ready or has failed. Bound it with [`tokio::time::timeout`] where needed.
    pub fn wait(mut self) -> DownloadRequest {
        self.request.wait = true;
        self
    }

    /// Asks for the rendition in the format if the image never had one, and waits for it.
    ///
    /// Means nothing for a download by rendition.
    pub fn or_create(mut self) -> DownloadRequest {
        self.or_create = true;
        self
    }

    /// Brings no bytes if the picture still has this SHA-256.
    pub fn if_none_match(mut self, sha256: [u8; 32]) -> DownloadRequest {
        self.request.if_none_match_sha256 = sha256.to_vec().into();
        self
    }

    /// Whether a download of a whole picture is checked against its SHA-256 as it arrives. True by default; it costs some CPU time.
    pub fn verify(mut self, verify: bool) -> DownloadRequest {
        self.verify = verify;
        self
    }

    /// Begins the download.
    pub async fn send(mut self) -> Result<Download> {
        let mut call = self.client.call();
        let opened = match open(&self.client, &mut call, &self.request).await {
            Err(error) if self.or_create && self.request.image_id != 0 && error.is(ErrorReason::RenditionNotFound) => {
                let format = if self.request.format == 0 { Format::Jpeg } else { wire::format(self.request.format) };
                let rendition = self.client.create_rendition(self.request.image_id, format).send().await?;
                self.request = DownloadImageRequest { image_id: 0, format: 0, rendition_id: rendition.id, wait: true, ..self.request };
                open(&self.client, &mut call, &self.request).await
            }
            opened => opened,
        };
        let (info, answers) = opened?;
        let whole = !info.not_modified && info.offset_bytes == 0 && info.length_bytes == info.size_bytes;
        let digest = (self.verify && whole).then(Sha256::new);
        Ok(Download { client: self.client, call, request: self.request, answers: Some(answers), received: 0, digest, info })
    }

    /// All of it in memory. Empty if it is not modified.
    pub async fn bytes(self) -> Result<Bytes> {
        // What is announced is believed up to here; beyond it memory grows with what arrives.
        const FIRST_CAPACITY: u64 = 64 * 1024 * 1024;
        let mut download = self.send().await?;
        let mut bytes = BytesMut::with_capacity(download.info.length_bytes.min(FIRST_CAPACITY) as usize);
        while let Some(chunk) = download.chunk().await? {
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes.freeze())
    }

    /// Writes it to a file, in place of one that is there.
    ///
    /// Atomic: the file appears under its name when it is complete, checked and synced to the disk. An error, or giving up half way,
    /// leaves nothing behind. Nothing is written if it is not modified.
    pub async fn to_path(self, path: impl AsRef<Path>) -> Result<DownloadInfo> {
        self.send().await?.save(path.as_ref(), true).await
    }

    /// Like [`DownloadRequest::to_path`], but never in place of a file that is there: that is an error, also if it came to be meanwhile.
    pub async fn to_new_path(self, path: impl AsRef<Path>) -> Result<DownloadInfo> {
        self.send().await?.save(path.as_ref(), false).await
    }
}

/// A download that has begun.
///
/// When the connection breaks it goes on where it stopped, as long as the picture is still the same. A whole picture that does not
/// have the size and the SHA-256 of its [`info`](Download::info) ends with an error.
#[derive(Debug)]
pub struct Download {
    info: DownloadInfo,
    client: Client,
    call: Call,
    request: DownloadImageRequest,
    /// `None` after the end.
    answers: Option<Streaming<DownloadImageResponse>>,
    received: u64,
    /// Of a whole picture, as it arrives.
    digest: Option<Sha256>,
}

impl Download {
    /// What it brings.
    pub fn info(&self) -> &DownloadInfo {
        &self.info
    }

    /// The next bytes, or `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        loop {
            let Some(answers) = &mut self.answers else { return Ok(None) };
            match answers.message().await {
                Ok(Some(DownloadImageResponse { message: Some(Message::Chunk(chunk)) })) => return self.arrived(chunk.data).map(Some),
                Ok(Some(_)) => return Err(self.fail(Error::bad_answer("the download is in disorder"))),
                Ok(None) => return self.end(),
                Err(status) => self.go_on(status.into()).await?,
            }
        }
    }

    /// The bytes as a stream. Ends after the first error.
    pub fn into_stream(self) -> BoxStream<'static, Result<Bytes>> {
        stream::try_unfold(self, |mut download| async move { Ok(download.chunk().await?.map(|chunk| (chunk, download))) }).boxed()
    }

    /// Writes it to a file as [`DownloadRequest::to_path`] does; `replace` says whether in place of one that is there.
    pub async fn save(mut self, path: &Path, replace: bool) -> Result<DownloadInfo> {
        if self.info.not_modified {
            return Ok(self.info);
        }
        let cannot_write = |error| Error::local(format!("cannot write {}", path.display()), error);
        let beside = path.to_owned();
        let (partial, file) =
            spawn_blocking(move || create_beside(&beside)).await.map_err(io::Error::other).flatten().map_err(cannot_write)?;
        let mut file = tokio::fs::File::from_std(file);
        while let Some(chunk) = self.chunk().await? {
            file.write_all(&chunk).await.map_err(cannot_write)?;
        }
        file.flush().await.map_err(cannot_write)?;
        file.sync_all().await.map_err(cannot_write)?;
        let target = path.to_owned();
        let renamed = spawn_blocking(move || {
            let persisted = if replace { partial.persist(target) } else { partial.persist_noclobber(target) };
            persisted.map(drop).map_err(|error| error.error)
        });
        renamed.await.map_err(io::Error::other).flatten().map_err(cannot_write)?;
        Ok(self.info)
    }

    fn arrived(&mut self, data: Bytes) -> Result<Bytes> {
        self.received += data.len() as u64;
        if self.received > self.info.length_bytes {
            let message = format!("more than the announced {} bytes arrived", self.info.length_bytes);
            return Err(self.fail(Error::damaged(message)));
        }
        if let Some(digest) = &mut self.digest {
            digest.update(&data);
        }
        self.call.achieved();
        Ok(data)
    }

    fn end(&mut self) -> Result<Option<Bytes>> {
        self.answers = None;
        let announced = if self.info.not_modified { 0 } else { self.info.length_bytes };
        if self.received != announced {
            return Err(Error::damaged(format!("{announced} bytes were announced, {} arrived", self.received)));
        }
        if let Some(digest) = self.digest.take()
            && digest.finalize()[..] != self.info.sha256
        {
            return Err(Error::damaged("the bytes do not have the announced SHA-256"));
        }
        Ok(None)
    }

    /// After `error`: asks for the rest, if that is worth trying.
    async fn go_on(&mut self, error: Error) -> Result<()> {
        self.answers = None;
        self.call.failed(error).await?;
        let rest = self.info.length_bytes - self.received;
        if rest == 0 {
            return self.end().map(drop);
        }
        let mut request = self.request.clone();
        request.offset_bytes = wire::signed(self.info.offset_bytes + self.received);
        request.limit_bytes = wire::signed(rest);
        request.if_none_match_sha256 = Bytes::new();
        let (info, answers) = open(&self.client, &mut self.call, &request).await?;
        if info.sha256 != self.info.sha256 {
            return Err(Error::damaged("the picture was replaced while it was downloaded"));
        }
        self.answers = Some(answers);
        Ok(())
    }

    fn fail(&mut self, error: Error) -> Error {
        self.answers = None;
        error
    }
}

/// Calls until a stream begins with its info.
async fn open(
    client: &Client,
    call: &mut Call,
    message: &DownloadImageRequest,
) -> Result<(DownloadInfo, Streaming<DownloadImageResponse>)> {
    loop {
        let request = call.streaming_request(message.clone()).await?;
        let error = match first_message(client.images_service().download_image(request).await).await {
            Ok(opened) => return Ok(opened),
            Err(error) => error,
        };
        // The server holds no call for ever; the one who asked to wait may.
        if !(message.wait && error.is(ErrorReason::WaitTooLong)) {
            call.failed(error).await?;
        }
    }
}

async fn first_message(
    answer: Result<tonic::Response<Streaming<DownloadImageResponse>>, tonic::Status>,
) -> Result<(DownloadInfo, Streaming<DownloadImageResponse>)> {
    let mut answers = answer?.into_inner();
    match answers.message().await?.and_then(|answer| answer.message) {
        Some(Message::Info(info)) => Ok((wire::download_info(info)?, answers)),
        _ => Err(Error::bad_answer("the download does not begin with its info")),
    }
}

/// A file that vanishes unless it is given its name, in the folder where it is to appear, so that renaming it is atomic.
pub(crate) fn create_beside(path: &Path) -> io::Result<(NamedTempFile, std::fs::File)> {
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".tintype-").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // As any new file: what the umask leaves.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let partial = builder.tempfile_in(folder)?;
    let file = partial.as_file().try_clone()?;
    Ok((partial, file))
}
