//! A client that does one thing after the other, and notes what it is told.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tintype_proto::v1::{
    CreateRenditionRequest, DeleteImageRequest, Image, ImageFormat, RenditionSpec, RenditionState, RetryRenditionRequest,
    ShareImageRequest, ShareParty, ShareRole, UnshareImageRequest, UploadChunk, UploadFinish, UploadImagesRequest, share_party::Party,
    upload_images_request::Message, upload_images_response::Message as Reply,
};
use tintype_tests::{Client, Random, Refused, Upload};
use tokio::{
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use super::ledger::{Ledger, Outcome, answered, file, is_large, request_of};

/// So many of them are at it at once.
pub(super) const LANES: usize = 4;
const CHUNK_BYTES: usize = 256 << 10;

#[derive(Clone)]
pub(super) struct Lane {
    pub(super) number: usize,
    /// Where the server is, as long as it is there.
    pub(super) home: watch::Receiver<Option<Client>>,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) random: Random,
    pub(super) viewer: String,
    /// How long it waits for what it uploaded to be converted, so that it does not get ahead of the workers for minutes.
    pub(super) waits: Duration,
}

impl Lane {
    async fn client(&mut self) -> Client {
        self.home.wait_for(Option::is_some).await.expect("the test goes on").clone().expect("it is there")
    }

    fn told<T>(&self, note: impl FnOnce(&mut Ledger) -> T) -> T {
        note(&mut self.ledger.lock().expect("no lane panics with the lock"))
    }

    fn note(&self, operation: &'static str, outcome: Outcome) {
        self.told(|told| *told.outcomes.entry((operation, outcome)).or_default() += 1);
    }

    /// Notes how it ended.
    fn noted<T>(&self, operation: &'static str, outcome: Result<T, Refused>) -> Option<Result<T, Refused>> {
        let answered = answered(outcome);
        let outcome = match &answered {
            Some(Ok(_)) => Outcome::Done,
            Some(Err(_)) => Outcome::Refused,
            None => Outcome::Unknown,
        };
        self.note(operation, outcome);
        answered
    }

    /// An image that is there as far as anybody was told.
    fn some_image(&mut self) -> Option<i64> {
        let images = self.told(|told| Vec::from_iter(told.images()));
        (!images.is_empty()).then(|| images[self.random.below(images.len())])
    }

    pub(super) async fn do_something(&mut self) {
        match self.random.below(100) {
            0..30 => self.upload().await,
            30..38 => self.repeat().await,
            38..44 => self.fail().await,
            44..50 => self.break_off().await,
            50..66 => self.download().await,
            66..74 => self.request().await,
            74..84 => self.delete().await,
            84..89 => self.retry().await,
            _ => self.share().await,
        }
    }

    async fn upload(&mut self) {
        let request = self.told(|told| {
            told.requests.push(None);
            told.requests.len() - 1
        });
        self.send(request).await;
        if let Some(id) = self.told(|told| told.requests[request])
            && !self.waits.is_zero()
        {
            let client = self.client().await;
            // Whatever comes of it is looked at in the end.
            let _ = timeout(self.waits, client.rendition(id, ImageFormat::Jpeg)).await;
        }
    }

    async fn repeat(&mut self) {
        let sent = self.told(|told| told.requests.len());
        if sent > 0 {
            let request = self.random.below(sent);
            self.send(request).await;
        }
    }

    async fn send(&mut self, request: usize) {
        let client = self.client().await;
        let sent = if is_large(request) {
            let breaks_off = self.random.below(2) == 0;
            let sent = resumed(&client, file(request), breaks_off).await;
            self.noted("resumed upload", sent)
        } else {
            let sent = client.upload(file(request)).await;
            self.noted("upload", sent)
        };
        match sent {
            Some(Ok(image)) => {
                let before = self.told(|told| told.requests[request].replace(image.id));
                assert!(before.is_none_or(|before| before == image.id), "request {request} made {before:?} and {}", image.id);
            }
            Some(Err(refused)) => {
                assert_eq!(refused.kind(), (Code::NotFound, "IMAGE_NOT_FOUND"), "request {request}: {refused:?}");
                let id = self.told(|told| told.requests[request].filter(|id| !told.doomed.contains(id)));
                assert_eq!(id, None, "request {request}: nobody deleted it");
            }
            None => {}
        }
    }

    /// Sends a file that cannot become an image.
    async fn fail(&mut self) {
        let mut upload = file(2);
        upload.start.request_id.clear();
        match self.random.below(3) {
            0 => upload.bytes = Bytes::from_static(b"no picture at all"),
            1 => upload.start.sha256 = Bytes::from_static(&[7; 32]),
            _ => upload.start.size_bytes = upload.bytes.len() as i64 + 1,
        }
        "refused".clone_into(&mut upload.start.file_name);
        let sent = self.client().await.upload(upload).await;
        let outcome = self.noted("bad upload", sent);
        assert!(outcome.as_ref().is_none_or(Result::is_err), "{outcome:?}");
    }

    /// Leaves in the middle of a file.
    async fn break_off(&mut self) {
        let (sender, receiver) = mpsc::channel::<UploadImagesRequest>(4);
        for message in file(2).messages().take(2) {
            sender.send(message).await.expect("there is room");
        }
        let answers = self.client().await.images().upload_images(ReceiverStream::new(receiver)).await;
        if let Ok(answers) = answers {
            // Once it has started, or not any more.
            let _ = answers.into_inner().message().await;
        }
    }

    async fn download(&mut self) {
        let Some(id) = self.some_image() else { return };
        let client = self.client().await;
        let got = async {
            let image = client.image(id).await?;
            Ok((client.original(&image).await?, image))
        };
        let got = got.await;
        match self.noted("download", got) {
            Some(Ok((download, image))) => {
                let request = request_of(&image).expect("only files of requests are taken");
                assert!(download.bytes == file(request).bytes, "image {id} is not what was sent");
            }
            Some(Err(refused)) => self.is_gone(id, &refused),
            None => {}
        }
    }

    /// Asks for one more rendition of an image, at times the same as somebody else.
    async fn request(&mut self) {
        let Some(id) = self.some_image() else { return };
        let spec = RenditionSpec { format: ImageFormat::Webp.into(), width: 8 + self.random.below(4) as i32, ..RenditionSpec::default() };
        let mut images = self.client().await.images();
        let asked = images.create_rendition(CreateRenditionRequest { image_id: id, spec: Some(spec) }).await;
        if let Some(Err(refused)) = self.noted("rendition", asked.map_err(Refused::from)) {
            self.is_gone(id, &refused);
        }
    }

    /// Nothing but its deletion explains that an image is not found.
    fn is_gone(&self, id: i64, refused: &Refused) {
        let is_doomed = self.told(|told| told.doomed.contains(&id));
        assert!(is_doomed && refused.code == Code::NotFound, "image {id}: {refused:?}");
    }

    /// Lets the viewer in or out. Of each image one lane does, so that it knows what was last.
    async fn share(&mut self) {
        let Some(id) = self.some_image().filter(|id| *id as usize % LANES == self.number) else { return };
        let party = Some(ShareParty { party: Some(Party::Username(self.viewer.clone())) });
        let mut images = self.client().await.images();
        let is_let_in = self.random.below(2) == 0;
        // What is unknown while it is on its way.
        let before = self.told(|told| told.shared.insert(id, None)).unwrap_or(Some(false));
        let outcome = if is_let_in {
            let request = ShareImageRequest { image_id: id, party, role: ShareRole::Viewer.into() };
            self.noted("share", images.share_image(request).await.map(drop).map_err(Refused::from))
        } else {
            let request = UnshareImageRequest { image_id: id, party };
            self.noted("unshare", images.unshare_image(request).await.map(drop).map_err(Refused::from))
        };
        match outcome {
            Some(Ok(())) => drop(self.told(|told| told.shared.insert(id, Some(is_let_in)))),
            // It was not shared.
            Some(Err(refused)) if !is_let_in && refused.code == Code::NotFound => {
                let is_told = before == Some(true) && !self.told(|told| told.doomed.contains(&id));
                assert!(!is_told, "image {id} is not shared any more: {refused:?}");
                self.told(|told| told.shared.insert(id, Some(false)));
            }
            Some(Err(refused)) => self.is_gone(id, &refused),
            None => {}
        }
    }

    async fn delete(&mut self) {
        let Some(id) = self.some_image() else { return };
        // Somebody else may be at it.
        let is_mine = self.told(|told| told.doomed.insert(id));
        let mut images = self.client().await.images();
        let deleted = images.delete_image(DeleteImageRequest { id }).await.map_err(Refused::from);
        match self.noted("delete", deleted) {
            Some(Ok(_)) => drop(self.told(|told| told.gone.insert(id))),
            Some(Err(refused)) => assert!(!is_mine && refused.reason == "IMAGE_NOT_FOUND", "image {id}: {refused:?}"),
            None => {}
        }
    }

    /// Asks for one that failed again.
    async fn retry(&mut self) {
        let Some(id) = self.some_image() else { return };
        let client = self.client().await;
        let Ok(image) = client.image(id).await else { return };
        for rendition in image.renditions.iter().filter(|rendition| rendition.state() == RenditionState::Failed) {
            // It may be deleted, or be asked for by another by now.
            let _ = client.images().retry_rendition(RetryRenditionRequest { rendition_id: rendition.id }).await;
        }
    }
}

/// Sends a file from the byte on from which the server wants it, and leaves in the middle if told so.
pub(super) async fn resumed(client: &Client, upload: Upload, breaks_off: bool) -> Result<Image, Refused> {
    let (sender, receiver) = mpsc::channel::<UploadImagesRequest>(4);
    let message = |message| UploadImagesRequest { message: Some(message) };
    let bytes = upload.bytes;
    let (begin, begun) = tokio::sync::oneshot::channel::<usize>();
    let sending = async move {
        if sender.send(message(Message::Start(upload.start))).await.is_err() {
            return;
        }
        let Ok(offset) = begun.await else { return };
        let end = if breaks_off { offset + (bytes.len() - offset) / 2 } else { bytes.len() };
        for begin in (offset..end).step_by(CHUNK_BYTES) {
            let data: Bytes = bytes.slice(begin..end.min(begin + CHUNK_BYTES));
            if sender.send(message(Message::Chunk(UploadChunk { data, ..UploadChunk::default() }))).await.is_err() {
                return;
            }
        }
        if !breaks_off {
            // Whoever does not hear it any more has answered.
            drop(sender.send(message(Message::Finish(UploadFinish {}))).await);
        }
    };
    let receiving = async {
        let mut begin = Some(begin);
        let mut replies = client.images().upload_images(ReceiverStream::new(receiver)).await?.into_inner();
        while let Some(reply) = replies.message().await? {
            match reply.message.expect("a reply says something") {
                Reply::Started(started) => drop(begin.take().map(|begin| begin.send(started.offset_bytes as usize))),
                Reply::Progress(_) => {}
                Reply::Done(done) => return Ok(done.image.expect("done has the image")),
                Reply::Failed(failed) => return Err(failed.status.expect("failed has a status").into()),
            }
        }
        Err(tonic::Status::unknown("the stream ended before the file was answered").into())
    };
    if breaks_off {
        tokio::select! {
            received = receiving => received,
            () = sending => Err(tonic::Status::cancelled("the client left").into()),
        }
    } else {
        tokio::join!(receiving, sending).0
    }
}
