//! What to upload, and how to call it.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{
    Stream, StreamExt as _,
    stream::{self, BoxStream},
};
use tintype_proto::v1::{CancelUploadRequest, GetUploadRequest, UploadStart};

use crate::{Client, Error, ErrorReason, Image, Result, Source, retry::random_id, upload_stream::UploadStream, wire};

/// The name of a file that has none.
const DEFAULT_FILE_NAME: &str = "image";

/// One file to upload; from [`Client::upload`].
///
/// [`send`](Upload::send) uploads it alone, [`Client::upload_many`] many on one stream. Each file has a request id, a random one
/// if none is given: an attempt that is repeated because its answer was lost returns the image of the first one, and one that is repeated because
/// the connection or the server was lost goes on from what is durable, as long as the source can be read again.
#[derive(Clone)]
#[must_use = "nothing is sent before `send` or `upload_many`"]
pub struct Upload {
    pub(crate) source: Source,
    pub(crate) progress: Option<Arc<Progress>>,
    client: Client,
    file_name: Option<String>,
    size_bytes: Option<u64>,
    sha256: Option<[u8; 32]>,
    request_id: Option<String>,
    /// Another process may have begun it.
    pub(crate) named: bool,
    labels: BTreeMap<String, String>,
}

/// How far an upload is. A repeated attempt goes on from what is durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UploadProgress {
    /// Bytes handed to the connection, or not sent because the server has them.
    pub sent_bytes: u64,
    /// Bytes that are on stable storage, as far as the server has told.
    pub persisted_bytes: u64,
    /// Bytes that the server had of an earlier attempt, also of another process with the same request id: they are not sent again.
    pub resumed_bytes: u64,
    /// Size of the file, if it is known.
    pub total_bytes: Option<u64>,
}

/// What became of one file of many.
#[derive(Debug)]
#[non_exhaustive]
pub struct Uploaded {
    /// The file's place among those that were given, from 0.
    pub index: usize,
    /// The name that was sent.
    pub file_name: String,
    /// The stored image with its renditions, most of them pending, or why it was not stored.
    pub result: Result<Image>,
}

impl Upload {
    pub(crate) fn new(client: Client, source: Source) -> Upload {
        let labels = BTreeMap::new();
        Upload { source, progress: None, client, file_name: None, size_bytes: None, sha256: None, request_id: None, named: false, labels }
    }

    /// The name to store it by. By default the base name of a path, and `image` for everything else.
    pub fn file_name(mut self, name: impl Into<String>) -> Upload {
        self.file_name = Some(name.into());
        self
    }

    /// A label that the image has from the beginning.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Upload {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// The size in bytes, for a reader or a stream: a file that is too large is then refused at once, and one that ends early is noticed.
    pub fn size_bytes(mut self, size_bytes: u64) -> Upload {
        self.size_bytes = Some(size_bytes);
        self
    }

    /// The SHA-256 that the bytes must have: the server checks it before anything is visible.
    pub fn sha256(mut self, sha256: [u8; 32]) -> Upload {
        self.sha256 = Some(sha256);
        self
    }

    /// A name for this upload, up to 64 bytes of printable ASCII: repeating it within 24 hours, also from another process, goes on with an
    /// upload that was interrupted, for which the bytes must be the same, and returns the image of one that finished, whatever is sent then.
    pub fn request_id(mut self, request_id: impl Into<String>) -> Upload {
        self.request_id = Some(request_id.into());
        self.named = true;
        self
    }

    /// Called as bytes are sent and become durable, from the tasks that do so: it must not block.
    pub fn progress(mut self, report: impl Fn(UploadProgress) + Send + Sync + 'static) -> Upload {
        self.progress = Some(Arc::new(Progress { at: Mutex::default(), report: Box::new(report) }));
        self
    }

    /// Uploads the file and returns its image once it is durable; the renditions are on their way then.
    ///
    /// Idempotent on the request id. Repeated when the connection breaks or the server is away, if the source can be read again.
    pub async fn send(self) -> Result<Image> {
        let client = self.client.clone();
        let outcome = client.upload_many([self]).next().await;
        outcome.ok_or_else(|| Error::bad_answer("the upload ended without an answer"))?.result
    }

    /// Fixes the request id, so that all attempts have the same.
    pub(crate) fn name_request(&mut self) -> Result<()> {
        if self.request_id.is_none() {
            self.request_id = Some(random_id()?);
        }
        Ok(())
    }

    /// The SHA-256 that its bytes must have, if that was said.
    pub(crate) fn announced(&self) -> Option<[u8; 32]> {
        self.sha256
    }

    pub(crate) fn stored_name(&self) -> String {
        self.file_name.clone().or_else(|| self.source.file_name()).unwrap_or_else(|| DEFAULT_FILE_NAME.to_owned())
    }

    /// The first message of an attempt; `source_bytes` is what the source itself knows of its size.
    pub(crate) fn start(&self, source_bytes: Option<u64>) -> UploadStart {
        let size_bytes = self.size_bytes.or(source_bytes);
        if let Some(progress) = &self.progress {
            progress.update(|at| *at = UploadProgress { total_bytes: size_bytes, ..UploadProgress::default() });
        }
        let name = self.request_id.clone().unwrap_or_default();
        UploadStart {
            file_name: self.stored_name(),
            size_bytes: wire::signed(size_bytes.unwrap_or(0)),
            sha256: self.sha256.map_or_else(Default::default, |digest| digest.to_vec().into()),
            // What can be read only once is not gone on with: nothing is to be left of it.
            request_id: if self.source.is_once() { name.clone() } else { String::new() },
            upload_id: if self.source.is_once() { String::new() } else { name },
            labels: self.labels.clone(),
        }
    }
}

impl fmt::Debug for Upload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Upload");
        debug.field("source", &self.source).field("file_name", &self.stored_name()).field("request_id", &self.request_id);
        debug.finish_non_exhaustive()
    }
}

/// How far an upload is, whoever sends it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct UploadState {
    /// Bytes that are on stable storage.
    pub persisted_bytes: u64,
    /// What became of it; `None` while it is not finished.
    pub image: Option<Image>,
}

impl Client {
    /// How far the upload of this request id is; `UPLOAD_NOT_FOUND` before anything of it is durable.
    pub async fn upload_state(&self, request_id: impl Into<String>) -> Result<UploadState> {
        let request = GetUploadRequest { upload_id: request_id.into() };
        let answer = self.images_call(request, |mut service, request| async move { service.get_upload(request).await }).await?;
        let image = answer.image.map(|image| wire::image(Some(image))).transpose()?;
        Ok(UploadState { persisted_bytes: u64::try_from(answer.persisted_size_bytes).unwrap_or(0), image })
    }

    /// Gives up the upload of this request id, which is not finished: what is durable of it is removed and counts toward the quota no more.
    /// `UPLOAD_NOT_FOUND` when there is nothing of it, or it is finished.
    pub async fn cancel_upload(&self, request_id: impl Into<String>) -> Result<()> {
        let upload_id = request_id.into();
        let mut call = self.call();
        let mut answer_was_lost = false;
        loop {
            let request = call.request(CancelUploadRequest { upload_id: upload_id.clone() }).await?;
            match self.images_service().cancel_upload(request).await.map_err(Error::from) {
                Ok(_) => return Ok(()),
                // The attempt before did it, and its answer never came.
                Err(error) if answer_was_lost && error.is(ErrorReason::UploadNotFound) => return Ok(()),
                Err(error) => {
                    answer_was_lost |= error.leaves_open();
                    call.failed(error).await?;
                }
            }
        }
    }

    /// Uploads many files, one after the other on one stream, and returns what became of each in the order given.
    ///
    /// A file that fails never harms the others. Files are opened a few at a time as the stream is read, so memory stays flat
    /// however many there are. Dropping the stream ends the upload; files without a result may or may not be stored then.
    pub fn upload_many<I>(&self, uploads: I) -> BoxStream<'static, Uploaded>
    where
        I: IntoIterator<Item = Upload>,
        I::IntoIter: Send + 'static,
    {
        self.upload_stream(stream::iter(uploads))
    }

    /// Like [`Client::upload_many`], for files that come up one by one.
    pub fn upload_stream(&self, uploads: impl Stream<Item = Upload> + Send + 'static) -> BoxStream<'static, Uploaded> {
        let state = UploadStream::new(self.clone(), uploads.boxed());
        stream::unfold(state, |mut state| async move { state.next().await.map(|uploaded| (uploaded, state)) }).boxed()
    }
}

/// Collects how far an upload is and tells it.
pub(crate) struct Progress {
    at: Mutex<UploadProgress>,
    report: Box<dyn Fn(UploadProgress) + Send + Sync>,
}

impl Progress {
    pub(crate) fn update(&self, change: impl FnOnce(&mut UploadProgress)) {
        let now = {
            let mut at = self.at.lock().unwrap_or_else(PoisonError::into_inner);
            change(&mut at);
            *at
        };
        (self.report)(now);
    }
}
