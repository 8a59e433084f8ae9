//! Many pictures on one stream: each is found, checked and guarded as a single download is.

mod archive;
mod choice;
mod manifest;
mod names;

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use tintype_proto::v1::{DownloadChunk, DownloadImagesRequest, DownloadImagesResponse, MissingPicture, download_images_response::Message};
use tintype_store::Timestamp;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use self::{
    archive::Archive,
    choice::{Choice, Chosen},
    manifest::Manifest,
    names::Names,
};
use super::download::{Blocks, Picture, open};
use crate::{
    auth::Caller,
    core::SharedCore,
    status::{Refusal, proto_status},
    wire,
};

/// What a bulk download sends.
pub(crate) type Messages = BoxStream<'static, Result<DownloadImagesResponse, Status>>;

/// Name of the last file of an archive.
const MANIFEST: &str = "manifest.json";
/// Messages that are ready before the client has room for them.
const AHEAD: usize = 1;

/// Chooses the pictures and begins to send them.
pub(crate) async fn start(core: &SharedCore, caller: &Caller, request: DownloadImagesRequest) -> Result<Messages, Refusal> {
    let wait = request.wait;
    let archive = Archive::of("archive", request.archive)?;
    let chosen = choice::choose(core, caller, request).await?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (names, manifest) = (Names::new([MANIFEST]), Manifest::default());
    let bulk = Bulk { core: core.clone(), caller: caller.clone(), wait, archive, names, manifest, sender };
    core.shutdown.spawn(bulk.run(chosen));
    let messages = stream::unfold(Some(receiver), |receiver| async move {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(Sent::Message(message)) => Some((Ok(DownloadImagesResponse { message: Some(message) }), Some(receiver))),
            Some(Sent::End) => None,
            Some(Sent::Refused(status)) => Some((Err(status), None)),
            // Must not look as if all had been sent.
            None => Some((Err(Refusal::internal(&Gone).into()), None)),
        }
    });
    Ok(messages.boxed())
}

enum Sent {
    Message(Message),
    Refused(Status),
    End,
}

/// Why the stream ends before its end.
enum Stop {
    Refused(Status),
    /// The client is gone, or its call was ended because it reads too slowly.
    Gone,
}

/// A defect.
#[derive(Debug, thiserror::Error)]
#[error("whoever sends the pictures has gone")]
struct Gone;

impl<T: Into<Status>> From<T> for Stop {
    fn from(refusal: T) -> Self {
        Self::Refused(refusal.into())
    }
}

struct Bulk {
    core: SharedCore,
    caller: Caller,
    wait: bool,
    /// `None`: the pictures are sent as they are.
    archive: Option<Archive>,
    names: Names,
    manifest: Manifest,
    sender: mpsc::Sender<Sent>,
}

impl Bulk {
    async fn run(mut self, chosen: Chosen) {
        let (stop, caller, reader) = (self.core.shutdown.clone(), self.caller.clone(), self.sender.clone());
        let ended = tokio::select! {
            ended = self.send_all(chosen) => ended,
            () = stop.stopping_at_once() => Err(Refusal::draining().into()),
            refusal = caller.signed_out() => Err(refusal.into()),
            () = reader.closed() => Err(Stop::Gone),
        };
        let last = match ended {
            Ok(()) => Sent::End,
            Err(Stop::Refused(status)) => Sent::Refused(status),
            Err(Stop::Gone) => return,
        };
        let _ = self.sender.send(last).await;
    }

    async fn send_all(&mut self, chosen: Chosen) -> Result<(), Stop> {
        for choice in chosen.pictures() {
            match self.find(choice).await {
                Ok((picture, first, blocks)) => self.picture(&picture, first, blocks).await?,
                Err(status) if is_about_the_picture(&status) => self.missing(choice, status).await?,
                Err(status) => return Err(Stop::Refused(status)),
            }
        }
        let Some(archive) = &mut self.archive else { return Ok(()) };
        let manifest = self.manifest.take_json();
        archive.begin(MANIFEST, manifest.len() as u64, Timestamp::now())?;
        archive.write(manifest.as_bytes())?;
        archive.finish()?;
        self.send_archived().await
    }

    /// The picture and its first bytes: what can be seen to be damaged is seen before anything is told of it.
    async fn find(&self, choice: Choice) -> Result<(Picture, Option<Bytes>, Blocks), Status> {
        let picture = open(&self.core, &self.caller, choice.wanted(), self.wait).await?;
        let mut blocks = picture.bytes(&self.core, &self.caller, 0..picture.size_bytes).await?;
        let first = blocks.next().await.transpose()?;
        Ok((picture, first, blocks))
    }

    async fn picture(&mut self, picture: &Picture, first: Option<Bytes>, mut blocks: Blocks) -> Result<(), Stop> {
        let name = self.names.of(&picture.info);
        if let Some(archive) = &mut self.archive {
            archive.begin(&name, picture.size_bytes, picture.made_at)?;
            self.manifest.include(&name, &picture.uploaded_as, &picture.info);
        } else {
            let mut info = picture.info.clone();
            (info.file_name, info.length_bytes) = (name, info.size_bytes);
            self.send(Message::Info(info)).await?;
        }
        let mut next = first;
        while let Some(data) = next {
            match &mut self.archive {
                Some(archive) => {
                    archive.write(&data)?;
                    self.send_archived().await?;
                }
                None => self.send(Message::Chunk(DownloadChunk { data })).await?,
            }
            next = blocks.next().await.transpose()?;
        }
        match &mut self.archive {
            Some(archive) => Ok(archive.end()?),
            None => Ok(()),
        }
    }

    async fn missing(&mut self, choice: Choice, status: Status) -> Result<(), Stop> {
        if self.archive.is_some() {
            self.manifest.miss(choice, &status);
        }
        let format = choice.format.map_or(0, |format| wire::proto_format(format).into());
        self.send(Message::Missing(MissingPicture { image_id: choice.image.0, format, status: Some(proto_status(&status)) })).await
    }

    /// Sends what the archive has become.
    async fn send_archived(&mut self) -> Result<(), Stop> {
        let Some(mut data) = self.archive.as_mut().map(Archive::take) else { return Ok(()) };
        while !data.is_empty() {
            let piece = data.split_to(data.len().min(tintype_store::blobs::CHECKSUM_BLOCK_BYTES));
            self.send(Message::Chunk(DownloadChunk { data: piece })).await?;
        }
        Ok(())
    }

    /// How long a client is waited for is the matter of whoever bounds its call.
    async fn send(&self, message: Message) -> Result<(), Stop> {
        self.sender.send(Sent::Message(message)).await.map_err(|_| Stop::Gone)
    }
}

/// Whether the others can be sent all the same.
fn is_about_the_picture(status: &Status) -> bool {
    matches!(status.code(), Code::NotFound | Code::PermissionDenied | Code::FailedPrecondition | Code::DataLoss | Code::DeadlineExceeded)
}
