//! A service that keeps images in memory and misbehaves where it is told to.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use prost::Message as _;
use sha2::{Digest as _, Sha256};
use tintype_client::{Client, ClientBuilder};
use tintype_proto::v1::{
    self, ErrorReason, auth_service_server::AuthServiceServer, download_image_response::Message as Part,
    image_service_server::ImageServiceServer, upload_images_request::Message as Sent, upload_images_response::Message as Answer,
};
use tokio::{net::TcpListener, sync::mpsc};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Code, Request, Response, Status, Streaming, transport::Server};
use tonic_types::{ErrorDetails, StatusExt as _, pb};

/// The token that `ada` gets for her `n`th sign-in, from 1.
pub(crate) fn token(n: usize) -> String {
    format!("tt_{n}")
}

pub(crate) fn refusal(code: Code, reason: &str, retry_after: Option<Duration>) -> Status {
    let mut details = ErrorDetails::with_error_info(reason, "tintype", HashMap::new());
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Status::with_error_details(code, reason.to_lowercase(), details)
}

pub(crate) fn away() -> Status {
    refusal(Code::Unavailable, "STORE_UNAVAILABLE", Some(Duration::ZERO))
}

/// What is stored, what was seen, and what shall go wrong next.
#[derive(Default)]
pub(crate) struct Behaviour {
    pub(crate) images: Vec<(v1::Image, Bytes)>,
    pub(crate) by_request_id: HashMap<String, i64>,
    pub(crate) sign_ins: usize,
    /// Tokens up to this sign-in are revoked.
    pub(crate) revoked: usize,
    pub(crate) upload_sessions: usize,
    pub(crate) chunk_bytes_seen: usize,
    /// Refusals of whole upload streams, the first one first.
    pub(crate) refuse_streams: Vec<Status>,
    /// Refusals of files as they end, by name, each used once.
    pub(crate) refuse_files: Vec<(&'static str, Status)>,
    /// The next upload streams end this way in the middle of a file, after so many stored ones.
    pub(crate) break_after_files: Vec<(usize, Status)>,
    /// The next upload streams end this way between two files, after so many stored ones.
    pub(crate) break_between_files: Vec<(usize, Status)>,
    /// The next downloads end this way after so many bytes.
    pub(crate) break_after_bytes: Vec<(usize, Status)>,
    /// The next calls with a single answer fail this way, before they do anything.
    pub(crate) fail_before: Vec<Status>,
    /// The next calls with a single answer fail this way, after all was done.
    pub(crate) fail_after: Vec<Status>,
    /// Uploads that are not finished, by id.
    pub(crate) unfinished: Vec<String>,
    /// Renditions that did not fail, or were retried.
    pub(crate) not_failed: Vec<i64>,
    /// Where files are to be sent.
    pub(crate) put_url: String,
    /// How the next finishes of what was sent there are refused.
    pub(crate) refuse_finishes: Vec<Status>,
    /// The next deletion is done, and its answer never comes.
    pub(crate) lose_answer_of_deletion: bool,
    /// Downloads send these bytes whatever they announce.
    pub(crate) wrong_bytes: bool,
    pub(crate) downloads: Vec<v1::DownloadImageRequest>,
    /// What the next watches send, and how each of them ends; a watch that is not among them sends nothing and stays.
    pub(crate) watches: Vec<(Vec<v1::WatchImagesResponse>, Option<Status>)>,
    pub(crate) watched: Vec<v1::WatchImagesRequest>,
}

#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<Behaviour>>);

impl Fake {
    /// Starts it on a free port and returns its URL.
    pub(crate) async fn start(behaviour: Behaviour) -> (Fake, String) {
        let fake = Fake(Arc::new(Mutex::new(behaviour)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = Server::builder()
            .add_service(AuthServiceServer::new(fake.clone()))
            .add_service(ImageServiceServer::new(fake.clone()))
            .serve_with_incoming(TcpListenerStream::new(listener));
        tokio::spawn(server);
        (fake, url)
    }

    pub(crate) async fn with_client(behaviour: Behaviour) -> (Fake, Client) {
        let (fake, url) = Fake::start(behaviour).await;
        (fake, signed_in(Client::builder(url)).build().unwrap())
    }

    pub(crate) fn see<T>(&self, look: impl FnOnce(&mut Behaviour) -> T) -> T {
        look(&mut self.0.lock().unwrap())
    }

    fn authorize<T>(&self, request: &Request<T>) -> Result<(), Status> {
        let header = request.metadata().get("authorization").and_then(|value| value.to_str().ok());
        let Some(header) = header else { return Err(refusal(Code::Unauthenticated, "TOKEN_MISSING", None)) };
        let valid = self.see(|state| (state.revoked + 1..=state.sign_ins).any(|n| header == format!("Bearer {}", token(n))));
        if valid { Ok(()) } else { Err(refusal(Code::Unauthenticated, "TOKEN_INVALID", None)) }
    }

    pub(crate) fn single<T>(&self, request: &Request<T>, work: impl FnOnce(&mut Behaviour) -> Result<(), Status>) -> Result<(), Status> {
        self.authorize(request)?;
        self.see(|state| {
            if let Some(status) = pop(&mut state.fail_before) {
                return Err(status);
            }
            work(state)?;
            pop(&mut state.fail_after).map_or(Ok(()), Err)
        })
    }

    fn image(&self, id: i64) -> Result<v1::Image, Status> {
        self.see(|state| {
            let mut image = find(state, id)?.0.clone();
            image.renditions[0].state = v1::RenditionState::Ready.into();
            Ok(image)
        })
    }

    fn store(&self, start: &v1::UploadStart, bytes: Vec<u8>) -> Result<(v1::Image, bool), Status> {
        self.see(|state| {
            if let Some(place) = state.refuse_files.iter().position(|(name, _)| *name == start.file_name) {
                return Err(state.refuse_files.remove(place).1);
            }
            // A source that can be read again has an upload id, which serves as a request id.
            let request_id = format!("{}{}", start.request_id, start.upload_id);
            if let Some(id) = state.by_request_id.get(&request_id) {
                return Ok((find(state, *id)?.0.clone(), true));
            }
            if start.size_bytes != 0 && start.size_bytes != bytes.len() as i64 {
                return Err(refusal(Code::InvalidArgument, "SIZE_MISMATCH", None));
            }
            let id = state.images.len() as i64 + 1;
            let image = stored(id, &start.file_name, &bytes);
            state.images.push((image.clone(), bytes.into()));
            state.by_request_id.insert(request_id, id);
            Ok((image, false))
        })
    }

    async fn uploads(
        self,
        mut sent: Streaming<v1::UploadImagesRequest>,
        answers: mpsc::Sender<Result<v1::UploadImagesResponse, Status>>,
    ) -> Option<()> {
        let break_after = self.see(|state| pop(&mut state.break_after_files));
        let break_between = self.see(|state| pop(&mut state.break_between_files));
        let (mut file_index, mut stored_files) = (-1, 0);
        let mut file: Option<(v1::UploadStart, Vec<u8>)> = None;
        loop {
            if let Some((files, status)) = &break_between
                && *files == stored_files
            {
                return answers.send(Err(status.clone())).await.ok();
            }
            if let Some((files, status)) = &break_after
                && *files == stored_files
                && file.as_ref().is_some_and(|(_, bytes)| !bytes.is_empty())
            {
                return answers.send(Err(status.clone())).await.ok();
            }
            match sent.message().await.ok()??.message? {
                Sent::Start(start) => {
                    file_index += 1;
                    file = Some((start, Vec::new()));
                    let started = Answer::Started(v1::UploadStarted::default());
                    answers.send(Ok(v1::UploadImagesResponse { file_index, message: Some(started) })).await.ok()?;
                }
                Sent::Chunk(chunk) => {
                    self.see(|state| state.chunk_bytes_seen += chunk.data.len());
                    let (start, bytes) = file.as_mut()?;
                    bytes.extend_from_slice(&chunk.data);
                    let message = if start.file_name == "refused-early" && bytes.len() == chunk.data.len() {
                        failed(&refusal(Code::InvalidArgument, "NOT_AN_IMAGE", None))
                    } else {
                        Answer::Progress(v1::UploadProgress { persisted_size_bytes: bytes.len() as i64 })
                    };
                    answers.send(Ok(v1::UploadImagesResponse { file_index, message: Some(message) })).await.ok()?;
                }
                Sent::Finish(_) => {
                    let (start, bytes) = file.take()?;
                    if start.file_name == "refused-early" {
                        continue;
                    }
                    let message = match self.store(&start, bytes) {
                        Ok((image, repeated_request)) => Answer::Done(v1::UploadDone { image: Some(image), repeated_request }),
                        Err(status) => failed(&status),
                    };
                    stored_files += 1;
                    answers.send(Ok(v1::UploadImagesResponse { file_index, message: Some(message) })).await.ok()?;
                }
            }
        }
    }
}

/// A builder that signs in as the user that every fake has.
pub(crate) fn signed_in(builder: ClientBuilder) -> ClientBuilder {
    builder.password("ada", "sesame")
}

/// As the service would store it, with one rendition.
pub(crate) fn stored(id: i64, file_name: &str, bytes: &[u8]) -> v1::Image {
    let rendition = v1::Rendition { id: id * 10, image_id: id, file_name: "converted_img.jpeg".into(), ..Default::default() };
    v1::Image {
        id,
        file_name: file_name.into(),
        format: v1::ImageFormat::Png.into(),
        size_bytes: bytes.len() as i64,
        sha256: Sha256::digest(bytes).to_vec().into(),
        renditions: vec![v1::Rendition { state: v1::RenditionState::Pending.into(), format: v1::ImageFormat::Jpeg.into(), ..rendition }],
        ..Default::default()
    }
}

fn pop<T>(list: &mut Vec<T>) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(0))
}

fn find(state: &Behaviour, id: i64) -> Result<&(v1::Image, Bytes), Status> {
    let found = state.images.iter().find(|(image, _)| image.id == id);
    found.ok_or_else(|| refusal(Code::NotFound, "IMAGE_NOT_FOUND", None))
}

fn failed(status: &Status) -> Answer {
    // The details of a status on the wire are a whole `google.rpc.Status`.
    let status = pb::Status::decode(status.details()).unwrap();
    Answer::Failed(v1::UploadFailed { status: Some(status) })
}

#[tonic::async_trait]
impl v1::image_service_server::ImageService for Fake {
    type UploadImagesStream = ReceiverStream<Result<v1::UploadImagesResponse, Status>>;
    type DownloadImageStream = ReceiverStream<Result<v1::DownloadImageResponse, Status>>;
    type DownloadImagesStream = ReceiverStream<Result<v1::DownloadImagesResponse, Status>>;
    type WatchImagesStream = BoxStream<'static, Result<v1::WatchImagesResponse, Status>>;

    async fn upload_images(
        &self,
        request: Request<Streaming<v1::UploadImagesRequest>>,
    ) -> Result<Response<Self::UploadImagesStream>, Status> {
        self.authorize(&request)?;
        let refused = self.see(|state| {
            state.upload_sessions += 1;
            pop(&mut state.refuse_streams)
        });
        if let Some(status) = refused {
            return Err(status);
        }
        let (answers, stream) = mpsc::channel(1);
        tokio::spawn(self.clone().uploads(request.into_inner(), answers));
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn create_upload_url(
        &self,
        request: Request<v1::CreateUploadUrlRequest>,
    ) -> Result<Response<v1::CreateUploadUrlResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        let (upload_id, url) = (request.into_inner().request_id, self.see(|state| state.put_url.clone()));
        Ok(Response::new(v1::CreateUploadUrlResponse { upload_id, url, method: "PUT".into(), ..Default::default() }))
    }

    async fn finish_upload(&self, request: Request<v1::FinishUploadRequest>) -> Result<Response<v1::FinishUploadResponse>, Status> {
        self.single(&request, |state| pop(&mut state.refuse_finishes).map_or(Ok(()), Err))?;
        Ok(Response::new(v1::FinishUploadResponse { image: Some(self.image(1)?) }))
    }

    async fn create_download_url(
        &self,
        _: Request<v1::CreateDownloadUrlRequest>,
    ) -> Result<Response<v1::CreateDownloadUrlResponse>, Status> {
        Err(Status::unimplemented("links are tried with the real service"))
    }

    async fn download_image(&self, request: Request<v1::DownloadImageRequest>) -> Result<Response<Self::DownloadImageStream>, Status> {
        self.authorize(&request)?;
        let request = request.into_inner();
        let (image, bytes, broken, wrong) = self.see(|state| {
            state.downloads.push(request.clone());
            let broken = pop(&mut state.break_after_bytes);
            find(state, request.image_id).map(|(image, bytes)| (image.clone(), bytes.clone(), broken, state.wrong_bytes))
        })?;
        let rest = bytes.len() as i64 - request.offset_bytes;
        let length_bytes = if request.limit_bytes == 0 { rest } else { rest.min(request.limit_bytes) };
        let not_modified = request.if_none_match_sha256 == image.sha256;
        let info = v1::DownloadInfo {
            image_id: image.id,
            file_name: image.file_name,
            size_bytes: image.size_bytes,
            sha256: image.sha256,
            offset_bytes: request.offset_bytes,
            length_bytes,
            not_modified,
            ..Default::default()
        };
        let (parts, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            let info = v1::DownloadImageResponse { message: Some(Part::Info(info)) };
            parts.send(Ok(info)).await.ok()?;
            let mut asked = bytes.slice(request.offset_bytes as usize..(request.offset_bytes + length_bytes) as usize);
            if wrong {
                asked = vec![0; asked.len()].into();
            }
            let end = broken.as_ref().map_or(asked.len(), |(bytes, _)| *bytes);
            for chunk in if not_modified { [].chunks(1) } else { asked[..end].chunks(1000) } {
                let chunk = v1::DownloadChunk { data: Bytes::copy_from_slice(chunk) };
                parts.send(Ok(v1::DownloadImageResponse { message: Some(Part::Chunk(chunk)) })).await.ok()?;
            }
            if let Some((_, status)) = broken {
                parts.send(Err(status)).await.ok()?;
            }
            Some(())
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn get_image(&self, request: Request<v1::GetImageRequest>) -> Result<Response<v1::GetImageResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        Ok(Response::new(v1::GetImageResponse { image: Some(self.image(request.into_inner().id)?) }))
    }

    async fn get_upload(&self, _: Request<v1::GetUploadRequest>) -> Result<Response<v1::GetUploadResponse>, Status> {
        Err(Status::unimplemented("nothing of an upload stays"))
    }

    async fn cancel_upload(&self, request: Request<v1::CancelUploadRequest>) -> Result<Response<v1::CancelUploadResponse>, Status> {
        let upload_id = &request.get_ref().upload_id;
        self.single(&request, |state| {
            let place = state.unfinished.iter().position(|id| id == upload_id);
            state.unfinished.remove(place.ok_or_else(|| refusal(Code::NotFound, "UPLOAD_NOT_FOUND", None))?);
            Ok(())
        })?;
        Ok(Response::new(v1::CancelUploadResponse {}))
    }

    async fn list_images(&self, request: Request<v1::ListImagesRequest>) -> Result<Response<v1::ListImagesResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        let request = request.into_inner();
        let after: usize = request.page_token.parse().unwrap_or(0);
        let size = usize::try_from(request.page_size).unwrap();
        let images: Vec<_> = self.see(|state| state.images.iter().rev().skip(after).take(size).map(|(image, _)| image.clone()).collect());
        let next = after + images.len();
        let next_page_token = if self.see(|state| next < state.images.len()) { next.to_string() } else { String::new() };
        Ok(Response::new(v1::ListImagesResponse { images, next_page_token }))
    }

    async fn create_rendition(
        &self,
        request: Request<v1::CreateRenditionRequest>,
    ) -> Result<Response<v1::CreateRenditionResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        let v1::CreateRenditionRequest { image_id, spec } = request.into_inner();
        let rendition = v1::Rendition { id: 70, image_id, spec, ..Default::default() };
        Ok(Response::new(v1::CreateRenditionResponse { rendition: Some(rendition) }))
    }

    async fn update_image(&self, request: Request<v1::UpdateImageRequest>) -> Result<Response<v1::UpdateImageResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        let v1::UpdateImageRequest { image, update_mask } = request.into_inner();
        let mut changed = self.image(image.clone().unwrap_or_default().id)?;
        // What was asked for shows in what comes back.
        changed.labels = image.unwrap_or_default().labels;
        changed.file_name = update_mask.unwrap_or_default().paths.join(" ");
        Ok(Response::new(v1::UpdateImageResponse { image: Some(changed) }))
    }

    async fn retry_rendition(&self, request: Request<v1::RetryRenditionRequest>) -> Result<Response<v1::RetryRenditionResponse>, Status> {
        let id = request.get_ref().rendition_id;
        self.single(&request, |state| {
            if state.not_failed.contains(&id) {
                let image = HashMap::from([("image_id".to_owned(), (id / 10).to_string())]);
                let details = ErrorDetails::with_error_info("RENDITION_NOT_FAILED", "tintype", image);
                return Err(Status::with_error_details(Code::FailedPrecondition, "it did not fail", details));
            }
            state.not_failed.push(id);
            Ok(())
        })?;
        let state = v1::RenditionState::Pending.into();
        let rendition = v1::Rendition { id: request.into_inner().rendition_id, state, ..Default::default() };
        Ok(Response::new(v1::RetryRenditionResponse { rendition: Some(rendition) }))
    }

    async fn delete_image(&self, request: Request<v1::DeleteImageRequest>) -> Result<Response<v1::DeleteImageResponse>, Status> {
        let id = request.get_ref().id;
        self.single(&request, |state| {
            find(state, id)?;
            state.images.retain(|(image, _)| image.id != id);
            Ok(())
        })?;
        if self.see(|state| std::mem::take(&mut state.lose_answer_of_deletion)) {
            return std::future::pending().await;
        }
        Ok(Response::new(v1::DeleteImageResponse {}))
    }

    async fn share_image(&self, _: Request<v1::ShareImageRequest>) -> Result<Response<v1::ShareImageResponse>, Status> {
        Err(Status::unimplemented("there is one user"))
    }

    async fn unshare_image(&self, _: Request<v1::UnshareImageRequest>) -> Result<Response<v1::UnshareImageResponse>, Status> {
        Err(Status::unimplemented("there is one user"))
    }

    async fn list_shares(&self, _: Request<v1::ListSharesRequest>) -> Result<Response<v1::ListSharesResponse>, Status> {
        Err(Status::unimplemented("there is one user"))
    }

    async fn download_images(&self, _: Request<v1::DownloadImagesRequest>) -> Result<Response<Self::DownloadImagesStream>, Status> {
        Err(Status::unimplemented("archives are tried with the real service"))
    }

    async fn watch_images(&self, request: Request<v1::WatchImagesRequest>) -> Result<Response<Self::WatchImagesStream>, Status> {
        self.authorize(&request)?;
        let (messages, end) = self.see(|state| {
            state.watched.push(request.into_inner());
            pop(&mut state.watches).unwrap_or_default()
        });
        let messages = stream::iter(messages.into_iter().map(Ok));
        Ok(Response::new(match end {
            Some(status) => messages.chain(stream::iter([Err(status)])).boxed(),
            None => messages.chain(stream::pending()).boxed(),
        }))
    }

    async fn get_limits(&self, request: Request<v1::GetLimitsRequest>) -> Result<Response<v1::GetLimitsResponse>, Status> {
        self.single(&request, |_| Ok(()))?;
        let limits = v1::Limits { max_file_bytes: 7, ..Default::default() };
        let input_formats = vec![v1::ImageFormat::Png.into(), 99];
        Ok(Response::new(v1::GetLimitsResponse { limits: Some(limits), input_formats, ..Default::default() }))
    }
}

/// Bytes of a pattern in which a shifted or missing part shows.
pub(crate) fn pattern(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place * 31 + place / 251) as u8).collect()
}

pub(crate) fn reason_of<T: std::fmt::Debug>(result: Result<T, tintype_client::Error>) -> ErrorReason {
    result.unwrap_err().reason().unwrap()
}
