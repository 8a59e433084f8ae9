//! Many pictures out: to a folder, or as an archive.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use sha2::{Digest as _, Sha256};
use tempfile::NamedTempFile;
use tintype_proto::v1::{
    ArchiveKind, DownloadImagesRequest, DownloadImagesResponse, ImageFilter, MissingPicture, download_images_response::Message,
};
use tokio::{
    fs::File,
    io::{AsyncWrite, AsyncWriteExt as _},
    task::spawn_blocking,
};
use tonic::Streaming;

use crate::{Client, DownloadInfo, Error, Format, Result, download::create_beside, wire};

/// Which pictures to download; from [`Client::download_images`] or [`ListImages::download`](crate::ListImages::download). The originals, unless
/// a format is said.
///
/// Not repeated when the connection breaks half way: what was written is kept, and the rest is an error.
#[derive(Debug, Clone)]
#[must_use = "nothing is downloaded before `to_folder`, `zip` or `tar`"]
pub struct DownloadImages {
    client: Client,
    request: DownloadImagesRequest,
    /// Images are named, also if it is none of them.
    named: bool,
    replace: bool,
}

/// What became of one picture of many.
#[derive(Debug)]
#[non_exhaustive]
pub enum Fetched {
    /// It was written, checked and synced to the disk.
    Saved {
        /// The file.
        path: PathBuf,
        /// What is in it.
        info: DownloadInfo,
    },
    /// It cannot be had; the others go on.
    Missing {
        /// The image.
        image_id: i64,
        /// The format that was asked for; `None` for the original.
        format: Option<Format>,
        /// Why.
        error: Error,
    },
}

/// An archive that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Archived {
    /// Its size.
    pub size_bytes: u64,
    /// How many pictures could not be had; its `manifest.json` says which, and why.
    pub missing_count: u64,
}

impl DownloadImages {
    pub(crate) fn of(client: Client, image_ids: Vec<i64>) -> DownloadImages {
        DownloadImages { client, request: DownloadImagesRequest { image_ids, ..Default::default() }, named: true, replace: false }
    }

    pub(crate) fn chosen(client: Client, filter: ImageFilter) -> DownloadImages {
        let request = DownloadImagesRequest { filter: Some(filter), ..Default::default() };
        DownloadImages { client, request, named: false, replace: false }
    }

    /// Each image in this format, too: the original if it has that format, else the automatic rendition of it.
    pub fn format(mut self, format: Format) -> DownloadImages {
        self.request.formats.push(wire::format_number(format));
        self
    }

    /// The originals beside the formats.
    pub fn originals(mut self) -> DownloadImages {
        self.request.originals = true;
        self
    }

    /// Waits for renditions that are pending.
    pub fn wait(mut self) -> DownloadImages {
        self.request.wait = true;
        self
    }

    /// Writes in place of files of a folder that are there; without it such a file is an error.
    pub fn replace(mut self) -> DownloadImages {
        self.replace = true;
        self
    }

    /// Writes each picture to a file of its own in this folder, which is made if it is missing, under names that the server chooses after those of
    /// the uploaded files, and `converted_img.<format>` of renditions. Tells of each as it is done, and ends after the first error.
    ///
    /// A file appears under its name when it is complete, checked against its SHA-256 and synced to the disk.
    pub fn to_folder(self, folder: impl Into<PathBuf>) -> BoxStream<'static, Result<Fetched>> {
        let begin = Step::Begin(self, folder.into());
        stream::try_unfold(begin, |step| async move {
            let mut fetching = match step {
                Step::Begin(download, folder) => download.into_folder(folder).await?,
                Step::Going(fetching) => fetching,
            };
            Ok(fetching.next().await?.map(|fetched| (fetched, Step::Going(fetching))))
        })
        .boxed()
    }

    /// Writes a ZIP file with the pictures and `manifest.json`, which tells of each and of those that are missing.
    ///
    /// An error leaves what was written so far, which no program takes for a whole archive.
    pub async fn zip(self, out: impl AsyncWrite + Unpin) -> Result<Archived> {
        self.archive(ArchiveKind::Zip, out).await
    }

    /// The same as a tar file.
    pub async fn tar(self, out: impl AsyncWrite + Unpin) -> Result<Archived> {
        self.archive(ArchiveKind::Tar, out).await
    }

    /// The same as [`zip`](Self::zip) into a file, which appears under its name, in place of one that is there, when it is whole and synced to the
    /// disk.
    pub async fn save_zip(self, path: impl Into<PathBuf>) -> Result<Archived> {
        self.save(ArchiveKind::Zip, path.into()).await
    }

    /// The same as [`tar`](Self::tar) into such a file.
    pub async fn save_tar(self, path: impl Into<PathBuf>) -> Result<Archived> {
        self.save(ArchiveKind::Tar, path.into()).await
    }

    async fn save(self, kind: ArchiveKind, path: PathBuf) -> Result<Archived> {
        let cannot_write = |error| Error::local(format!("cannot write {}", path.display()), error);
        let beside = path.clone();
        let made = spawn_blocking(move || create_beside(&beside)).await;
        let (partial, file) = made.map_err(io::Error::other).flatten().map_err(cannot_write)?;
        let mut file = File::from_std(file);
        let archived = self.archive(kind, &mut file).await?;
        file.sync_all().await.map_err(cannot_write)?;
        let target = path.clone();
        let named = spawn_blocking(move || named(partial, &target, true)).await;
        named.map_err(io::Error::other).flatten().map_err(cannot_write)?;
        Ok(archived)
    }

    async fn archive(mut self, kind: ArchiveKind, mut out: impl AsyncWrite + Unpin) -> Result<Archived> {
        self.request.archive = kind.into();
        let cannot_write = |error| Error::local("cannot write the archive", error);
        let mut answers = self.open().await?;
        let mut archived = Archived { size_bytes: 0, missing_count: 0 };
        while let Some(answer) = answers.message().await? {
            match answer.message {
                Some(Message::Chunk(chunk)) => {
                    archived.size_bytes += chunk.data.len() as u64;
                    out.write_all(&chunk.data).await.map_err(cannot_write)?;
                }
                Some(Message::Missing(_)) => archived.missing_count += 1,
                Some(Message::Info(_)) | None => return Err(Error::bad_answer("an archive is nothing but chunks")),
            }
        }
        out.flush().await.map_err(cannot_write)?;
        Ok(archived)
    }

    async fn into_folder(self, folder: PathBuf) -> Result<Fetching> {
        let made = tokio::fs::create_dir_all(&folder).await;
        made.map_err(|error| Error::local(format!("cannot make the folder {}", folder.display()), error))?;
        let answers = self.open().await?;
        Ok(Fetching { answers, folder, replace: self.replace, ahead: None })
    }

    async fn open(&self) -> Result<Streaming<DownloadImagesResponse>> {
        if self.named && self.request.image_ids.is_empty() {
            return Err(Error::bad_setting("no images are named"));
        }
        let mut call = self.client.call();
        loop {
            let request = call.streaming_request(self.request.clone()).await?;
            match self.client.images_service().download_images(request).await {
                Ok(answer) => return Ok(answer.into_inner()),
                Err(status) => call.failed(status.into()).await?,
            }
        }
    }
}

enum Step {
    Begin(DownloadImages, PathBuf),
    Going(Fetching),
}

struct Fetching {
    answers: Streaming<DownloadImagesResponse>,
    folder: PathBuf,
    replace: bool,
    /// Came after the last chunk of the picture before.
    ahead: Option<Message>,
}

impl Fetching {
    async fn next(&mut self) -> Result<Option<Fetched>> {
        match self.message().await? {
            None => Ok(None),
            Some(Message::Info(info)) => self.save(wire::download_info(info)?).await.map(Some),
            Some(Message::Missing(MissingPicture { image_id, format, status })) => {
                let format = (format != 0).then(|| wire::format(format));
                Ok(Some(Fetched::Missing { image_id, format, error: Error::from_rpc_status(&status.unwrap_or_default()) }))
            }
            Some(Message::Chunk(_)) => Err(Error::bad_answer("a chunk came before its info")),
        }
    }

    async fn save(&mut self, info: DownloadInfo) -> Result<Fetched> {
        // The server promises it; what leads out of the folder would be somebody else's file.
        let name = Path::new(&info.file_name);
        if !matches!(name.components().collect::<Vec<_>>()[..], [Component::Normal(_)]) {
            return Err(Error::bad_answer(format!("{:?} is not the name of a file", info.file_name)));
        }
        let path = self.folder.join(name);
        let cannot_write = |error| Error::local(format!("cannot write {}", path.display()), error);
        let beside = path.clone();
        let made = spawn_blocking(move || create_beside(&beside)).await;
        let (partial, file) = made.map_err(io::Error::other).flatten().map_err(cannot_write)?;
        let mut file = File::from_std(file);
        let (mut digest, mut received) = (Sha256::new(), 0);
        while let Some(data) = self.chunk().await? {
            received += data.len() as u64;
            digest.update(&data);
            file.write_all(&data).await.map_err(cannot_write)?;
        }
        if received != info.size_bytes || digest.finalize()[..] != info.sha256 {
            return Err(Error::damaged(format!("image {} did not arrive as it was announced", info.image_id)));
        }
        file.flush().await.map_err(cannot_write)?;
        file.sync_all().await.map_err(cannot_write)?;
        let (target, replace) = (path.clone(), self.replace);
        let named = spawn_blocking(move || named(partial, &target, replace)).await;
        named.map_err(io::Error::other).flatten().map_err(cannot_write)?;
        Ok(Fetched::Saved { path, info })
    }

    /// The next bytes of the picture at hand.
    async fn chunk(&mut self) -> Result<Option<Bytes>> {
        match self.message().await? {
            Some(Message::Chunk(chunk)) => Ok(Some(chunk.data)),
            other => {
                self.ahead = other;
                Ok(None)
            }
        }
    }

    async fn message(&mut self) -> Result<Option<Message>> {
        if let Some(message) = self.ahead.take() {
            return Ok(Some(message));
        }
        let Some(answer) = self.answers.message().await? else { return Ok(None) };
        answer.message.map(Some).ok_or_else(|| Error::bad_answer("a message of the download says nothing"))
    }
}

fn named(partial: NamedTempFile, path: &Path, replace: bool) -> io::Result<()> {
    let persisted = if replace { partial.persist(path) } else { partial.persist_noclobber(path) };
    persisted.map(drop).map_err(|error| error.error)
}
