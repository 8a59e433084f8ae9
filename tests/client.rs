use std::{collections::HashMap, net::IpAddr, time::Duration};

use bytes::Bytes;
use tintype_proto::v1::{
    self, CreateTokenRequest, DownloadImageRequest, DownloadInfo, GetImageRequest, Image, UploadChunk, UploadFinish, UploadImagesRequest,
    UploadStart, auth_service_client::AuthServiceClient, download_image_response, image_service_client::ImageServiceClient,
    upload_images_request, upload_images_response,
};
use tonic::{
    Code, Request, Status,
    metadata::MetadataValue,
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};
use tonic_types::{ErrorDetails, RpcStatusExt, StatusExt};

/// Chunk size of uploads.
const CHUNK_BYTES: usize = 256 << 10;

/// Puts the token into every call.
#[derive(Debug, Clone)]
pub struct Bearer(Option<String>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let value = MetadataValue::try_from(format!("Bearer {token}")).expect("a token is ASCII");
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// What a refused call or file says, in one form for both.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The code.
    pub code: Code,
    /// `ErrorInfo.reason`; empty when there is none.
    pub reason: String,
    /// `ErrorInfo.metadata`.
    pub metadata: HashMap<String, String>,
    /// `RetryInfo.retry_delay`.
    pub retry_after: Option<Duration>,
    /// The message.
    pub message: String,
}

impl Refused {
    fn new(code: Code, message: &str, details: &ErrorDetails) -> Self {
        let info = details.error_info();
        Self {
            code,
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            metadata: info.map(|info| info.metadata.clone()).unwrap_or_default(),
            retry_after: details.retry_info().and_then(|info| info.retry_delay),
            message: message.to_owned(),
        }
    }

    /// Code and reason, for a comparison that shows both.
    pub fn kind(&self) -> (Code, &str) {
        (self.code, &self.reason)
    }
}

impl From<Status> for Refused {
    fn from(status: Status) -> Self {
        Self::new(status.code(), status.message(), &status.get_error_details())
    }
}

impl From<tonic_types::pb::Status> for Refused {
    fn from(status: tonic_types::pb::Status) -> Self {
        Self::new(Code::from_i32(status.code), &status.message, &status.get_error_details())
    }
}

/// A file to be uploaded.
#[derive(Debug, Clone)]
pub struct Upload {
    /// What is announced.
    pub start: UploadStart,
    /// What is sent.
    pub bytes: Bytes,
}

impl Upload {
    /// A file of which nothing is announced but its name.
    pub fn new(file_name: &str, bytes: impl Into<Bytes>) -> Self {
        Self { start: UploadStart { file_name: file_name.to_owned(), ..UploadStart::default() }, bytes: bytes.into() }
    }

    /// With a name for this upload.
    #[must_use]
    pub fn request_id(mut self, request_id: &str) -> Self {
        request_id.clone_into(&mut self.start.request_id);
        self
    }

    /// With a name under which another stream can go on with it.
    #[must_use]
    pub fn upload_id(mut self, upload_id: &str) -> Self {
        upload_id.clone_into(&mut self.start.upload_id);
        self
    }

    /// The messages of this file, made one by one.
    pub fn messages(self) -> impl Iterator<Item = UploadImagesRequest> + Send {
        use upload_images_request::Message;
        let Self { start, bytes } = self;
        let chunks = (0..bytes.len()).step_by(CHUNK_BYTES).map(move |begin| {
            let data = bytes.slice(begin..bytes.len().min(begin + CHUNK_BYTES));
            Message::Chunk(UploadChunk { data, ..UploadChunk::default() })
        });
        std::iter::once(Message::Start(start))
            .chain(chunks)
            .chain(std::iter::once(Message::Finish(UploadFinish {})))
            .map(|message| UploadImagesRequest { message: Some(message) })
    }
}

/// A finished download.
#[derive(Debug, Clone)]
pub struct Download {
    /// The first message.
    pub info: DownloadInfo,
    /// All chunks.
    pub bytes: Vec<u8>,
    /// Why it ended too soon, if it did.
    pub broken: Option<Refused>,
}

/// One connection and one user.
#[derive(Debug, Clone)]
pub struct Client {
    /// The connection.
    pub channel: Channel,
    /// The user's token; `None` calls without one.
    pub token: Option<String>,
}

/// Exchanges a name and a password for a token.
pub async fn sign_in(channel: Channel, username: &str, password: &str) -> Result<String, Refused> {
    let request = CreateTokenRequest { username: username.to_owned(), password: password.to_owned(), ..CreateTokenRequest::default() };
    Ok(AuthServiceClient::new(channel).create_token(request).await?.into_inner().token)
}

impl Client {
    /// Connects without signing in. Panics when nobody listens.
    pub async fn connect(url: &str) -> Self {
        let endpoint = Endpoint::from_shared(url.to_owned()).expect("an announced address is a URL");
        let channel = endpoint.connect().await.unwrap_or_else(|error| panic!("cannot connect to {url}: {error:?}"));
        Self { channel, token: None }
    }

    /// Connects from this address of the machine without signing in. Panics when nobody listens.
    pub async fn connect_from(address: IpAddr, url: &str) -> Self {
        let endpoint = Endpoint::from_shared(url.to_owned()).expect("an announced address is a URL").local_address(Some(address));
        let channel = endpoint.connect().await.unwrap_or_else(|error| panic!("cannot connect to {url} from {address}: {error:?}"));
        Self { channel, token: None }
    }

    /// What puts the token into the calls of any generated client.
    pub fn bearer(&self) -> Bearer {
        Bearer(self.token.clone())
    }

    /// The generated client for calls that have no method here.
    pub fn images(&self) -> ImageServiceClient<InterceptedService<Channel, Bearer>> {
        ImageServiceClient::with_interceptor(self.channel.clone(), self.bearer())
    }

    /// The generated client for sign-in, tokens and the caller's own account.
    pub fn auth(&self) -> AuthServiceClient<InterceptedService<Channel, Bearer>> {
        AuthServiceClient::with_interceptor(self.channel.clone(), self.bearer())
    }

    /// The caller as the server knows it now.
    pub async fn current_user(&self) -> Result<v1::User, Refused> {
        let answer = self.auth().get_current_user(v1::GetCurrentUserRequest {}).await?.into_inner();
        Ok(answer.user.expect("the answer has the user"))
    }

    /// Uploads files on one stream; the outer error is the stream's, the inner ones are the files'.
    pub async fn upload_each(&self, files: Vec<Upload>) -> Result<Vec<Result<Image, Refused>>, Refused> {
        let messages = files.into_iter().flat_map(Upload::messages);
        let mut replies = self.images().upload_images(tokio_stream::iter(messages)).await?.into_inner();
        let mut outcomes = Vec::new();
        while let Some(reply) = replies.message().await? {
            let outcome = match reply.message.expect("every reply says something") {
                upload_images_response::Message::Done(done) => Ok(done.image.expect("done has the image")),
                upload_images_response::Message::Failed(failed) => Err(failed.status.expect("failed has a status").into()),
                upload_images_response::Message::Started(_) | upload_images_response::Message::Progress(_) => continue,
            };
            assert_eq!(reply.file_index as usize, outcomes.len(), "files are answered in order, each once");
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Uploads one file.
    pub async fn upload(&self, file: Upload) -> Result<Image, Refused> {
        self.upload_each(vec![file]).await?.remove(0)
    }

    /// Metadata of an image.
    pub async fn image(&self, id: i64) -> Result<Image, Refused> {
        let image = self.images().get_image(GetImageRequest { id }).await?.into_inner().image;
        Ok(image.expect("the response has the image"))
    }

    /// Downloads; an error before the first message is the call's, a later one is in [`Download::broken`].
    pub async fn download_parts(&self, request: DownloadImageRequest) -> Result<Download, Refused> {
        let mut messages = self.images().download_image(request).await?.into_inner();
        let first = messages.message().await?.and_then(|first| first.message);
        let Some(download_image_response::Message::Info(info)) = first else { panic!("the first message is {first:?}, not the info") };
        let mut download = Download { info, bytes: Vec::new(), broken: None };
        loop {
            match messages.message().await {
                Ok(Some(v1::DownloadImageResponse { message: Some(download_image_response::Message::Chunk(chunk)) })) => {
                    download.bytes.extend_from_slice(&chunk.data);
                }
                Ok(Some(other)) => panic!("{other:?} among the chunks"),
                Ok(None) => return Ok(download),
                Err(status) => {
                    download.broken = Some(status.into());
                    return Ok(download);
                }
            }
        }
    }

    /// Downloads and counts an early end as an error.
    pub async fn download(&self, request: DownloadImageRequest) -> Result<Download, Refused> {
        let download = self.download_parts(request).await?;
        match download.broken {
            Some(refused) => Err(refused),
            None => Ok(download),
        }
    }

    /// Downloads the original.
    pub async fn original(&self, image: &Image) -> Result<Download, Refused> {
        self.download(DownloadImageRequest { image_id: image.id, format: image.format, ..DownloadImageRequest::default() }).await
    }

    /// Downloads a rendition by its format as soon as it is ready.
    pub async fn rendition(&self, image_id: i64, format: v1::ImageFormat) -> Result<Download, Refused> {
        let request = DownloadImageRequest { image_id, format: format.into(), wait: true, ..DownloadImageRequest::default() };
        self.download(request).await
    }

    /// The image once every rendition is READY or FAILED.
    pub async fn settled(&self, id: i64) -> Image {
        for rendition in self.image(id).await.expect("the image is there").renditions {
            let request =
                DownloadImageRequest { rendition_id: rendition.id, wait: true, limit_bytes: 1, ..DownloadImageRequest::default() };
            match self.download(request).await {
                Ok(_) => {}
                Err(refused) if refused.reason == "RENDITION_FAILED" => {}
                Err(refused) => panic!("rendition {} of image {id} is neither ready nor failed: {refused:?}", rendition.id),
            }
        }
        self.image(id).await.expect("the image is there")
    }
}
