//! Many files on one stream: a session is one call of `UploadImages`; what a broken session leaves undone goes on in the next one.

use std::{collections::VecDeque, io};

use futures_util::{
    FutureExt as _, StreamExt as _,
    stream::{self, BoxStream, Fuse},
};
use tintype_proto::v1::{
    UploadChunk, UploadFinish, UploadImagesRequest, UploadImagesResponse, UploadStart, upload_images_request::Message as Send,
    upload_images_response::Message as Answer,
};
use tokio::sync::{mpsc, watch};
use tonic::Status;

use crate::{Client, Error, Image, Result, Upload, Uploaded, client::Call, source::Parts, wire};

/// How many files may be on their way at once: enough to hide the way to the server and back, few enough to keep them open.
const FILES_IN_FLIGHT: usize = 16;

/// Takes files in and gives results out, in the same order.
pub(crate) struct UploadStream {
    client: Client,
    call: Call,
    uploads: Fuse<BoxStream<'static, Upload>>,
    taken: usize,
    files: VecDeque<InFlight>,
    session: Option<Session>,
}

/// A file without a result that was given out.
struct InFlight {
    upload: Upload,
    index: usize,
    /// Which file of the session it is, once it is one.
    file_index: Option<i32>,
    /// As far as the server has told, in any session.
    persisted_bytes: u64,
    /// It was a file of a session before.
    begun: bool,
    result: Option<Result<Image>>,
}

/// One call of `UploadImages`.
struct Session {
    /// To the sending half; `None` after the last file.
    files: Option<mpsc::Sender<Sending>>,
    file_count: i32,
    answers: BoxStream<'static, Result<UploadImagesResponse, Status>>,
    answered: watch::Sender<Answered>,
    unreadable: mpsc::Receiver<(i32, io::Error)>,
    /// The sending half has stopped in the middle of a file that cannot be read further, which ends the session.
    hung_up: bool,
}

/// Up to which file of the session the server has spoken.
#[derive(Clone, Copy)]
struct Answered {
    started: i32,
    /// From where to send the file that was started last.
    offset_bytes: u64,
    settled: i32,
}

enum Event {
    Taken(Option<Upload>),
    Answer(UploadImagesResponse),
    Unreadable(i32, io::Error),
    /// With why, unless it ended as agreed.
    Ended(Option<Status>),
}

impl UploadStream {
    pub(crate) fn new(client: Client, uploads: BoxStream<'static, Upload>) -> UploadStream {
        let call = client.call();
        UploadStream { client, call, uploads: uploads.fuse(), taken: 0, files: VecDeque::new(), session: None }
    }

    /// The next result, or `None` after the last one.
    pub(crate) async fn next(&mut self) -> Option<Uploaded> {
        loop {
            if let Some(file) = self.files.pop_front_if(|file| file.result.is_some()) {
                let result = file.result.unwrap_or_else(|| Err(Error::bad_answer("no result")));
                return Some(Uploaded { index: file.index, file_name: file.upload.stored_name(), result });
            }
            if self.files.is_empty() && self.uploads.is_done() {
                return None;
            }
            match self.event().await {
                Event::Taken(Some(upload)) => self.take(upload).await,
                Event::Taken(None) => self.close_when_complete(),
                Event::Answer(answer) => self.answer(answer).await,
                Event::Unreadable(file_index, error) => self.unreadable(file_index, error),
                Event::Ended(status) => self.ended(status).await,
            }
        }
    }

    async fn event(&mut self) -> Event {
        let may_take = self.files.len() < FILES_IN_FLIGHT && !self.uploads.is_done();
        let session = async {
            match &mut self.session {
                Some(session) => session.event().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = session => event,
            upload = self.uploads.next(), if may_take => Event::Taken(upload),
        }
    }

    async fn take(&mut self, mut upload: Upload) {
        let result = upload.name_request().err().map(Err);
        self.files.push_back(InFlight { upload, index: self.taken, file_index: None, persisted_bytes: 0, begun: false, result });
        self.taken += 1;
        self.send(self.files.len() - 1).await;
    }

    /// Hands a file to the session, with a new session if there is none.
    async fn send(&mut self, position: usize) {
        let file = &mut self.files[position];
        if file.result.is_some() {
            return;
        }
        let (parts, size_bytes) = match file.upload.source.open().await {
            Ok(opened) => opened,
            Err(error) => {
                file.result = Some(Err(error));
                return;
            }
        };
        if self.session.is_none() {
            self.session = match Session::open(&self.client, &mut self.call).await {
                Ok(session) => Some(session),
                Err(error) => {
                    file.result = Some(Err(error));
                    return;
                }
            };
        }
        if let Some(session) = &mut self.session {
            let start = file.upload.start(size_bytes);
            // Who may have sent something of it before asks from where to go on; everybody else saves the time.
            let asks = file.upload.source.is_once() || file.upload.named || file.begun;
            let (file_index, upload) = (session.file_count, file.upload.clone());
            let sending = Sending { file_index, upload, start: Some(start), parts, asks, offset_bytes: 0 };
            // A sending half that is gone will show as the end of the session, and the file goes into the next one.
            if session.files.as_ref().is_some_and(|files| files.try_send(sending).is_ok()) {
                file.file_index = Some(session.file_count);
                file.begun = true;
                session.file_count += 1;
            }
        }
    }

    async fn answer(&mut self, answer: UploadImagesResponse) {
        let Some(session) = &mut self.session else { return };
        let file_index = answer.file_index;
        match &answer.message {
            Some(Answer::Started(started)) => session.answered.send_modify(|answered| {
                answered.started = answered.started.max(file_index);
                answered.offset_bytes = u64::try_from(started.offset_bytes).unwrap_or(0);
            }),
            Some(Answer::Done(_) | Answer::Failed(_)) => {
                session.answered.send_modify(|answered| answered.settled = answered.settled.max(file_index));
            }
            Some(Answer::Progress(_)) | None => {}
        }
        // The file at hand may have its result already: it could not be read.
        let waiting = self.files.iter().position(|file| file.file_index == Some(file_index) && file.result.is_none());
        let Some(position) = waiting else { return };
        let file = &mut self.files[position];
        match answer.message {
            Some(Answer::Progress(durable)) => {
                let persisted_bytes = u64::try_from(durable.persisted_size_bytes).unwrap_or(0);
                if let Some(progress) = &file.upload.progress {
                    progress.update(|at| at.persisted_bytes = persisted_bytes);
                }
                self.persisted(position, persisted_bytes);
            }
            Some(Answer::Done(done)) => {
                file.result = Some(wire::image(done.image));
                self.call.achieved();
            }
            Some(Answer::Failed(failed)) => self.refused(position, Error::from_rpc_status(&failed.status.unwrap_or_default())).await,
            Some(Answer::Started(started)) => {
                let resumed_bytes = u64::try_from(started.offset_bytes).unwrap_or(0);
                if let Some(progress) = file.upload.progress.as_ref().filter(|_| resumed_bytes > 0) {
                    progress.update(|at| (at.resumed_bytes, at.persisted_bytes) = (resumed_bytes, resumed_bytes));
                }
                self.persisted(position, resumed_bytes);
            }
            None => {}
        }
    }

    /// As long as more of a file becomes durable, whatever fails does so for the first time.
    fn persisted(&mut self, position: usize, persisted_bytes: u64) {
        let file = &mut self.files[position];
        if persisted_bytes > file.persisted_bytes {
            file.persisted_bytes = persisted_bytes;
            self.call.achieved();
        }
    }

    /// One file was refused. If that may pass, and nothing is lost by it, all that is on its way is sent again a little later.
    async fn refused(&mut self, position: usize, error: Error) {
        let nothing_is_lost = self.files.iter().all(|file| file.result.is_some() || file.upload.source.is_whole());
        if nothing_is_lost && self.call.would_repeat(&error) {
            self.begin_again(error).await;
            return;
        }
        if !error.is_retryable() {
            self.call.achieved();
        }
        self.files[position].result = Some(Err(error));
    }

    fn unreadable(&mut self, file_index: i32, error: io::Error) {
        if let Some(session) = &mut self.session {
            session.hung_up = true;
        }
        let file = self.files.iter_mut().find(|file| file.file_index == Some(file_index) && file.result.is_none());
        if let Some(file) = file {
            file.result = Some(Err(Error::local(format!("cannot read {}", file.upload.stored_name()), error)));
        }
    }

    async fn ended(&mut self, status: Option<Status>) {
        let (Some(session), Some(next)) = (self.session.take(), self.files.iter().find(|file| file.result.is_none())) else { return };
        let answered = *session.answered.borrow();
        let not_begun = next.file_index.is_none_or(|file_index| file_index > answered.started);
        if session.hung_up || (answered.settled >= 0 && not_begun) {
            // No file is to blame: this side gave one up, or the server ended a stream that had been idle while the next file came along.
            self.send_all().await;
            return;
        }
        let early = || Error::bad_answer("the server ended the stream before it had answered for every file");
        self.begin_again(status.map_or_else(early, Error::from)).await;
    }

    /// After a failure of the whole session: opens another one for all files without a result, in time, as long as that is worth trying.
    async fn begin_again(&mut self, error: Error) {
        self.session = None;
        for file in &mut self.files {
            if file.result.is_none() && !file.upload.source.is_whole() {
                file.result = Some(Err(error.clone()));
            }
        }
        if let Err(error) = self.call.failed(error).await {
            // It is the answer to the file at hand, as far as anybody can tell. The next one finds out for itself.
            if let Some(file) = self.files.iter_mut().find(|file| file.result.is_none()) {
                file.result = Some(Err(error));
            }
        }
        self.send_all().await;
    }

    async fn send_all(&mut self) {
        for position in 0..self.files.len() {
            self.send(position).await;
        }
        self.close_when_complete();
    }

    /// Tells the sending half that nothing follows, so that it ends the stream.
    fn close_when_complete(&mut self) {
        if let Some(session) = &mut self.session
            && self.uploads.is_done()
        {
            session.files = None;
        }
    }
}

impl Session {
    async fn open(client: &Client, call: &mut Call) -> Result<Session> {
        let (files, to_send) = mpsc::channel(FILES_IN_FLIGHT);
        let (report, unreadable) = mpsc::channel(FILES_IN_FLIGHT);
        let (answered, answers_seen) = watch::channel(Answered { started: -1, offset_bytes: 0, settled: -1 });
        let sender = Sender { files: to_send, current: None, answered: answers_seen, unreadable: report };
        let messages = stream::unfold(sender, |mut sender| async move { sender.next().await.map(|message| (message, sender)) });
        let request = call.streaming_request(messages).await?;
        let mut service = client.images_service();
        let opening = async move { service.upload_images(request).await.map(tonic::Response::into_inner) };
        let answers = opening.into_stream().map(|opened| match opened {
            Ok(answers) => answers.boxed(),
            Err(status) => stream::iter([Err(status)]).boxed(),
        });
        Ok(Session { files: Some(files), file_count: 0, answers: answers.flatten().boxed(), answered, unreadable, hung_up: false })
    }

    /// May be given up at any await without losing anything.
    async fn event(&mut self) -> Event {
        tokio::select! {
            // First, because it explains the end of the session that follows it.
            biased;
            Some((file_index, error)) = self.unreadable.recv() => Event::Unreadable(file_index, error),
            answer = self.answers.next() => match answer {
                Some(Ok(answer)) => Event::Answer(answer),
                Some(Err(status)) => Event::Ended(Some(status)),
                None => Event::Ended(None),
            }
        }
    }
}

/// A file on its way to the server.
struct Sending {
    file_index: i32,
    upload: Upload,
    /// Until it is sent.
    start: Option<UploadStart>,
    parts: Parts,
    /// Nothing is sent before the server has said from where.
    asks: bool,
    /// Of the next part in the file.
    offset_bytes: u64,
}

/// The sending half of a session: the connection asks it for the next message when there is room for it.
struct Sender {
    files: mpsc::Receiver<Sending>,
    current: Option<Sending>,
    answered: watch::Receiver<Answered>,
    unreadable: mpsc::Sender<(i32, io::Error)>,
}

impl Sender {
    async fn next(&mut self) -> Option<UploadImagesRequest> {
        let message = match &mut self.current {
            None => Send::Start(self.begin().await?),
            Some(sending) => match sending.part(&mut self.answered).await {
                Ok(Some(chunk)) => Send::Chunk(chunk),
                Ok(None) => {
                    self.current = None;
                    Send::Finish(UploadFinish {})
                }
                Err(error) => {
                    // A file can only be given up together with the stream: a `finish` might make an image of the part that was read.
                    // The channel has room for every file of the session that may fail, and when nobody listens nobody needs it.
                    let _ = self.unreadable.try_send((sending.file_index, error));
                    return None;
                }
            },
        };
        Some(UploadImagesRequest { message: Some(message) })
    }

    async fn begin(&mut self) -> Option<UploadStart> {
        let mut sending = self.files.recv().await?;
        let start = sending.start.take();
        self.current = Some(sending);
        start
    }
}

impl Sending {
    /// The next bytes; none when all are sent, or when the server has made up its mind and would only skip them.
    async fn part(&mut self, answered: &mut watch::Receiver<Answered>) -> io::Result<Option<UploadChunk>> {
        let file_index = self.file_index;
        let gone = |_| io::Error::other("the upload was given up");
        if self.asks {
            // Nothing is taken before the server is ready for it: until then a file that can be read once can still go into another session.
            let ready = answered.wait_for(|answered| answered.started >= file_index || answered.settled >= file_index).await;
            let ready = ready.map(|answered| *answered).map_err(gone)?;
            // One that is settled already was not started, and nothing is sent of it.
            self.offset_bytes = if ready.started >= file_index { ready.offset_bytes } else { 0 };
            self.parts.skip(self.offset_bytes).await?;
            self.sent(self.offset_bytes);
            self.asks = false;
        }
        let part = tokio::select! {
            biased;
            settled = answered.wait_for(|answered| answered.settled >= file_index) => settled.map(|_| None).map_err(gone)?,
            part = self.parts.next() => part?,
        };
        let Some(data) = part else { return Ok(None) };
        let chunk = UploadChunk { offset_bytes: Some(wire::signed(self.offset_bytes)), crc32c: Some(crc32c::crc32c(&data)), data };
        self.offset_bytes += chunk.data.len() as u64;
        self.sent(chunk.data.len() as u64);
        Ok(Some(chunk))
    }

    fn sent(&self, bytes: u64) {
        if let Some(progress) = &self.upload.progress {
            progress.update(|at| at.sent_bytes += bytes);
        }
    }
}
