//! The protocol of an upload stream: which message may follow which, and who is told what. One file is `incoming::Incoming`.

use tintype_proto::v1::{
    ErrorReason, UploadDone, UploadFailed, UploadImagesRequest, UploadImagesResponse, UploadProgress, UploadStart, UploadStarted,
    upload_images_request::Message as Asked, upload_images_response::Message as Answer,
};
use tintype_store::{Access, Image, LimitExceeded, RenditionId, open::Stores};
use tokio::{sync::mpsc, time::timeout};
use tonic::{Status, Streaming};

use super::incoming::{Begun, Finished, Incoming};
use crate::{
    auth::Caller,
    core::SharedCore,
    limits::Limits,
    status::{Chain, Refusal, too_large_message},
    wire,
};

type Replies = mpsc::Sender<Result<UploadImagesResponse, Status>>;

/// Where the stream is.
enum State {
    /// A `start` comes next.
    Between,
    /// A file is on its way.
    Receiving(Box<Incoming>),
    /// The file at hand was answered already; the rest of it is of no interest.
    Skipping,
}

/// Why the stream ends before the client ends it.
enum End {
    /// The client is told.
    Refused(Refusal),
    /// There is nobody left to tell.
    Gone,
}

impl From<Refusal> for End {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Serves one upload stream to its end.
pub(crate) async fn run(core: SharedCore, caller: Caller, requests: Streaming<UploadImagesRequest>, replies: Replies) {
    let (stop, signed_out) = (core.shutdown.clone(), caller.clone());
    let mut upload = Upload { core, caller, requests, replies, state: State::Between, file_index: -1 };
    let ended = tokio::select! {
        ended = upload.serve() => ended,
        () = stop.stopping_at_once() => Err(Refusal::draining().into()),
        refusal = signed_out.signed_out() => Err(refusal.into()),
    };
    if let State::Receiving(file) = std::mem::replace(&mut upload.state, State::Between) {
        file.suspend().await;
    }
    if let Err(End::Refused(refusal)) = ended {
        let _ = upload.replies.send(Err(refusal.into())).await;
    }
}

struct Upload {
    core: SharedCore,
    caller: Caller,
    requests: Streaming<UploadImagesRequest>,
    replies: Replies,
    state: State,
    /// Of the latest `start`; -1 before the first.
    file_index: i32,
}

impl Upload {
    async fn serve(&mut self) -> Result<(), End> {
        while let Some(asked) = self.next().await? {
            match asked {
                Asked::Start(start) => self.start(start).await?,
                Asked::Chunk(chunk) => match &mut self.state {
                    State::Receiving(file) => {
                        if let Err(refusal) = file.chunk(chunk).await {
                            self.refuse(refusal).await?;
                        }
                    }
                    State::Skipping => {}
                    State::Between => return Err(out_of_order("a chunk must follow a start").into()),
                },
                Asked::Finish(_) => match std::mem::replace(&mut self.state, State::Between) {
                    State::Receiving(file) => self.finish(*file).await?,
                    State::Skipping => {}
                    State::Between => return Err(out_of_order("a finish must follow a start").into()),
                },
            }
        }
        match self.state {
            State::Receiving(_) => Err(out_of_order("the stream ended before the finish of a file").into()),
            State::Between | State::Skipping => Ok(()),
        }
    }

    /// The client's next message; `None` when it sends no more. Meanwhile the client is told what became durable.
    async fn next(&mut self) -> Result<Option<Asked>, End> {
        let received = loop {
            let State::Receiving(file) = &mut self.state else {
                break tokio::select! {
                    received = self.requests.message() => received,
                    () = self.core.shutdown.draining() => return Err(Refusal::draining().into()),
                };
            };
            tokio::select! {
                received = self.requests.message() => break received,
                persisted = file.more_persisted() => match file.record_persisted(persisted).await {
                    Ok(persisted) => self.reply(Answer::Progress(UploadProgress { persisted_size_bytes: persisted as i64 })).await?,
                    Err(refusal) => self.refuse(refusal).await?,
                },
            }
        };
        match received {
            Ok(Some(request)) => match request.message {
                Some(asked) => Ok(Some(asked)),
                None => Err(Refusal::field("message", "must be start, chunk or finish").into()),
            },
            Ok(None) => Ok(None),
            Err(status) => {
                // Only a chunk makes a message so large.
                if let Some(message) = too_large_message(&status) {
                    let (what, limit) = ("size of the message of a chunk in bytes", "max_chunk_bytes");
                    return Err(Refusal::from(LimitExceeded { what, limit, value: Limits::MAX_CHUNK_BYTES as u64, ..message }).into());
                }
                // Also when a client was too slow or the deadline passed: then it was told already.
                tracing::debug!(error = %status, "an upload stream broke");
                Err(End::Gone)
            }
        }
    }

    async fn start(&mut self, start: UploadStart) -> Result<(), End> {
        if matches!(self.state, State::Receiving(_)) {
            return Err(out_of_order("a start must not come before the finish of the file before").into());
        }
        self.file_index += 1;
        match Incoming::begin(&self.core, self.caller.0.user.id, start).await {
            Ok(Begun::Receiving(file)) => {
                let started = UploadStarted { offset_bytes: file.received_bytes() as i64, upload_id: file.upload_id().to_owned() };
                self.state = State::Receiving(file);
                self.reply(Answer::Started(started)).await
            }
            Ok(Begun::Repeated(image)) => {
                self.state = State::Skipping;
                self.done(*image, true).await
            }
            Err(refusal) => self.refuse(refusal).await,
        }
    }

    async fn finish(&mut self, file: Incoming) -> Result<(), End> {
        match file.finish().await {
            Ok(Finished { image, repeated }) => self.done(image, repeated).await,
            Err(refusal) => self.refuse_finished(refusal).await,
        }
    }

    async fn done(&self, image: Image, repeated_request: bool) -> Result<(), End> {
        self.reply(Answer::Done(UploadDone { image: Some(wire::proto_image(image, Access::Owner)), repeated_request })).await
    }

    /// Answers the file at hand with its failure. What was received of it goes with its state, or stays if it can go on later.
    async fn refuse(&mut self, refusal: Refusal) -> Result<(), End> {
        if let State::Receiving(file) = std::mem::replace(&mut self.state, State::Skipping) {
            file.suspend().await;
        }
        self.refuse_finished(refusal).await
    }

    async fn refuse_finished(&self, refusal: Refusal) -> Result<(), End> {
        self.reply(Answer::Failed(UploadFailed { status: Some(refusal.into_proto()) })).await
    }

    /// A client that does not read its answers is not waited for.
    async fn reply(&self, answer: Answer) -> Result<(), End> {
        let reply = UploadImagesResponse { file_index: self.file_index, message: Some(answer) };
        match timeout(self.core.limits.stream_idle, self.replies.send(Ok(reply))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(End::Gone),
        }
    }
}

/// Tells the workers. Nobody waits for it, and nothing is lost when it fails: the sweeper tells them again.
pub(crate) async fn hint(stores: Stores, ids: Vec<RenditionId>) {
    if let Err(error) = stores.jobs.publish(&ids).await {
        tracing::warn!(error = %Chain(&error), "the queue did not take a hint; the sweeper sends it again");
    }
}

/// A chunk that is larger than it may be.
pub(crate) fn check_chunk(size_bytes: usize) -> Result<(), LimitExceeded> {
    let (value, seen) = (Limits::MAX_CHUNK_BYTES as u64, size_bytes as u64);
    if seen > value { Err(LimitExceeded { what: "size of a chunk in bytes", limit: "max_chunk_bytes", value, seen }) } else { Ok(()) }
}

fn out_of_order(message: &str) -> Refusal {
    Refusal::new(ErrorReason::UploadOutOfOrder, message)
}
