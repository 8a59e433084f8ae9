//! Signed URLs: files in and pictures out for those who have no token.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use sha2::{Digest as _, Sha256};
use tintype_proto::v1::{CreateDownloadUrlRequest, CreateUploadUrlRequest, FinishUploadRequest, HttpHeader};
use tonic::Code;

use crate::{Client, Error, ErrorReason, Format, Image, Result, Upload, transfers::Sent, wire};

/// A picture to make a link to; from [`Client::create_download_url`] or [`Client::create_rendition_download_url`].
#[derive(Debug, Clone)]
#[must_use = "there is no link before `send`"]
pub struct CreateDownloadUrl {
    client: Client,
    request: CreateDownloadUrlRequest,
}

/// A link to a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct DownloadUrl {
    /// Where anybody gets it, without a token.
    pub url: String,
    /// When it ends.
    pub expires_at: SystemTime,
}

/// A file to make a link for; from [`Client::create_upload_url`].
#[derive(Debug, Clone)]
#[must_use = "there is no link before `send`"]
pub struct CreateUploadUrl {
    client: Client,
    request: CreateUploadUrlRequest,
}

/// A link by which one certain file comes.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct UploadUrl {
    /// By which [`Client::finish_upload`] knows it.
    pub upload_id: String,
    /// Where to send the file, without a token; empty when it is an image already.
    pub url: String,
    /// The method to send it with.
    pub method: String,
    /// The headers to send just so, besides `Content-Length`, by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// When the link ends.
    pub expires_at: SystemTime,
    /// The image, when the request id names an upload that was finished before.
    pub image: Option<Image>,
}

impl CreateDownloadUrl {
    /// The format wanted: the original if it has that format, else the rendition in it. JPEG if it is not said.
    ///
    /// Means nothing for a link to a rendition.
    pub fn format(mut self, format: Format) -> CreateDownloadUrl {
        self.request.format = wire::format_number(format);
        self
    }

    /// How long the link is good: 1 second to 7 days; 15 minutes if it is not said.
    pub fn ttl(mut self, ttl: Duration) -> CreateDownloadUrl {
        self.request.ttl = Some(duration(ttl));
        self
    }

    /// Makes the link.
    pub async fn send(self) -> Result<DownloadUrl> {
        let call = self.client.images_call(self.request, |mut service, request| async move { service.create_download_url(request).await });
        let answer = call.await?;
        Ok(DownloadUrl { url: answer.url, expires_at: wire::time(answer.expire_time.as_ref()) })
    }
}

impl CreateUploadUrl {
    /// The `Content-Type` with which it is sent. `application/octet-stream` if it is not said; what the file is, is decided by its content.
    pub fn content_type(mut self, content_type: impl Into<String>) -> CreateUploadUrl {
        self.request.content_type = content_type.into();
        self
    }

    /// A name for this upload, up to 64 bytes of printable ASCII: repeating it returns the same upload, or the image that it became.
    pub fn request_id(mut self, request_id: impl Into<String>) -> CreateUploadUrl {
        self.request.request_id = request_id.into();
        self
    }

    /// A label that the image has from the beginning.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> CreateUploadUrl {
        self.request.labels.insert(key.into(), value.into());
        self
    }

    /// How long the link is good: 1 second to 15 minutes, which is what it is if it is not said.
    pub fn ttl(mut self, ttl: Duration) -> CreateUploadUrl {
        self.request.ttl = Some(duration(ttl));
        self
    }

    /// Makes the link. Repeated when the connection breaks, which may leave an unused upload behind where no request id was given.
    pub async fn send(self) -> Result<UploadUrl> {
        let call = self.client.images_call(self.request, |mut service, request| async move { service.create_upload_url(request).await });
        let answer = call.await?;
        Ok(UploadUrl {
            upload_id: answer.upload_id,
            url: answer.url,
            method: answer.method,
            headers: answer.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            expires_at: wire::time(answer.expire_time.as_ref()),
            image: answer.image.map(|image| wire::image(Some(image))).transpose()?,
        })
    }
}

impl Client {
    /// Makes a link at which anybody gets a picture of an image, as JPEG unless another format is asked for: a builder, see
    /// [`CreateDownloadUrl`].
    pub fn create_download_url(&self, image_id: i64) -> CreateDownloadUrl {
        CreateDownloadUrl { client: self.clone(), request: CreateDownloadUrlRequest { image_id, ..Default::default() } }
    }

    /// Makes a link at which anybody gets one certain rendition: a builder, see [`CreateDownloadUrl`].
    pub fn create_rendition_download_url(&self, rendition_id: i64) -> CreateDownloadUrl {
        CreateDownloadUrl { client: self.clone(), request: CreateDownloadUrlRequest { rendition_id, ..Default::default() } }
    }

    /// Makes a link by which anybody sends one certain file, a browser say, which [`Client::finish_upload`] then makes an image of: a builder, see
    /// [`CreateUploadUrl`].
    pub fn create_upload_url(&self, file_name: impl Into<String>, size_bytes: u64, sha256: [u8; 32]) -> CreateUploadUrl {
        let request = CreateUploadUrlRequest {
            file_name: file_name.into(),
            size_bytes: wire::signed(size_bytes),
            sha256: sha256.to_vec().into(),
            ..Default::default()
        };
        CreateUploadUrl { client: self.clone(), request }
    }

    /// Makes an image of the file that came by a link. Repeating it returns the same image.
    pub async fn finish_upload(&self, upload_id: impl Into<String>) -> Result<Image> {
        let request = FinishUploadRequest { upload_id: upload_id.into() };
        let answer = self.images_call(request, |mut service, request| async move { service.finish_upload(request).await }).await?;
        wire::image(answer.image)
    }

    /// Uploads a file like [`Upload::send`], but by a link: the bytes do not pass through the server where that has a bucket of its own. Its
    /// source is read twice, first for its SHA-256, so it has to be a path or bytes.
    ///
    /// Idempotent on the request id. Repeated, from the first byte on, when the connection breaks or a server is away.
    pub async fn upload_direct(&self, mut upload: Upload) -> Result<Image> {
        upload.name_request()?;
        if upload.source.is_once() {
            return Err(Error::bad_setting("a direct upload reads its source twice: give a path or bytes, no reader"));
        }
        let (size_bytes, sha256) = measured(&upload).await?;
        let start = upload.start(Some(size_bytes));
        let mut url = self.create_upload_url(start.file_name, size_bytes, sha256).request_id(start.upload_id);
        url.request.labels = start.labels;
        let mut call = self.call();
        let image = loop {
            // With every attempt, since the link may have ended meanwhile.
            let UploadUrl { upload_id, url, headers, image, .. } = url.clone().send().await?;
            if let Some(image) = image {
                return Ok(image);
            }
            let headers: Vec<_> = headers.into_iter().map(|(name, value)| HttpHeader { name, value }).collect();
            let (parts, _) = upload.source.open().await?;
            if let Some(progress) = &upload.progress {
                progress.update(|at| at.sent_bytes = 0);
            }
            match self.transfers().put(&url, &headers, parts, size_bytes, upload.progress.clone()).await {
                Ok(sent) => match self.finish_upload(upload_id).await {
                    Ok(image) => break image,
                    // What was in the way of it broke off.
                    Err(error) if sent == Sent::Before && error.is(ErrorReason::UploadNotReceived) => {
                        let passing = Error::refused(Code::Unavailable, error.message(), None);
                        call.failed(passing).await.map_err(|_| error)?;
                    }
                    Err(error) => return Err(error),
                },
                Err(error) => call.failed(error).await?,
            }
        };
        if let Some(progress) = &upload.progress {
            progress.update(|at| (at.sent_bytes, at.persisted_bytes) = (size_bytes, size_bytes));
        }
        Ok(image)
    }
}

/// Size and SHA-256 of what is uploaded.
async fn measured(upload: &Upload) -> Result<(u64, [u8; 32])> {
    let cannot_read = |error| Error::local(format!("cannot read {}", upload.stored_name()), error);
    let (mut parts, _) = upload.source.open().await?;
    let (mut size_bytes, mut digest) = (0, Sha256::new());
    while let Some(part) = parts.next().await.map_err(cannot_read)? {
        size_bytes += part.len() as u64;
        digest.update(&part);
    }
    let sha256 = <[u8; 32]>::from(digest.finalize());
    match upload.announced() {
        Some(announced) if announced != sha256 => Err(Error::damaged("the file does not have the SHA-256 that was said")),
        _ => Ok((size_bytes, sha256)),
    }
}

fn duration(ttl: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: wire::signed(ttl.as_secs()), nanos: ttl.subsec_nanos() as i32 }
}
