use tintype_proto::v1::{
    self, CancelUploadRequest, CancelUploadResponse, CreateDownloadUrlRequest, CreateDownloadUrlResponse, CreateRenditionRequest,
    CreateRenditionResponse, CreateUploadUrlRequest, CreateUploadUrlResponse, DeleteImageRequest, DeleteImageResponse,
    DownloadImageRequest, DownloadImagesRequest, ErrorReason, FinishUploadRequest, FinishUploadResponse, GetImageRequest, GetImageResponse,
    GetLimitsRequest, GetLimitsResponse, GetUploadRequest, GetUploadResponse, ListImagesRequest, ListImagesResponse, ListSharesRequest,
    ListSharesResponse, RetryRenditionRequest, RetryRenditionResponse, ShareImageRequest, ShareImageResponse, UnshareImageRequest,
    UnshareImageResponse, UpdateImageRequest, UpdateImageResponse, UploadImagesRequest, UploadImagesResponse, WatchImagesRequest,
    image_service_server::ImageService,
};
use tintype_store::{Access, Denied, Format, ImageId, MAX_LABELS_BYTES, RenditionId, Retry, Timestamp, sweep};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::{bulk, download, edits, links, page, shares, unfinished, upload, watch};
use crate::{
    auth::Caller,
    core::SharedCore,
    limits::Limits,
    status::{Chain, Refusal},
    wire,
    wire_shares::proto_seen_image,
};

/// Replies that an upload stream may be ahead of its client.
const REPLIES: usize = 16;

/// Images and their renditions.
#[derive(Debug)]
pub(crate) struct ImageRpcs(pub(crate) SharedCore);

impl ImageRpcs {
    async fn list(&self, caller: &Caller, request: ListImagesRequest) -> Result<ListImagesResponse, Refusal> {
        let user = caller.0.user.id;
        let size = wire::page_size(request.page_size)?;
        let filter = wire::filter(request.filter.unwrap_or_default())?;
        let before = page::decode(user, &filter, &request.page_token)?.map(ImageId);
        // One more than asked for tells whether there is a next page.
        let mut images = self.0.stores.catalog.list_images(user, &filter, before, size + 1).await?;
        let more = images.len() > size as usize;
        images.truncate(size as usize);
        let next_page_token = match images.last() {
            Some(last) if more => page::encode(user, &filter, last.image.id.0),
            _ => String::new(),
        };
        Ok(ListImagesResponse { images: images.into_iter().map(proto_seen_image).collect(), next_page_token })
    }

    async fn retry(&self, caller: &Caller, request: RetryRenditionRequest) -> Result<RetryRenditionResponse, Refusal> {
        let stores = &self.0.stores;
        let id = RenditionId(wire::id("rendition_id", request.rendition_id)?);
        let image = self.0.authorizer.rendition(caller, id, Access::Editor).await?.0.image.id;
        match stores.catalog.retry(Some(caller.0.user.id), id, Timestamp::now()).await? {
            Retry::Pending(rendition) => {
                stores.nudges.nudge();
                self.0.shutdown.spawn(upload::hint(stores.clone(), vec![id]));
                Ok(RetryRenditionResponse { rendition: Some(wire::proto_rendition(rendition)) })
            }
            Retry::NotFailed(state) => {
                let message = format!("rendition {id} is {}; only a failed one can be retried", state.name());
                Err(Refusal::new(ErrorReason::RenditionNotFailed, message).with("image_id", image))
            }
            Retry::Denied(Denied::Missing) => Err(Refusal::rendition_not_found(id)),
            Retry::Denied(Denied::NotPermitted) => Err(Refusal::not_permitted(image, Access::Editor)),
        }
    }

    async fn delete(&self, caller: &Caller, request: DeleteImageRequest) -> Result<DeleteImageResponse, Refusal> {
        let stores = &self.0.stores;
        let id = wire::image_id("id", request.id)?;
        self.0.authorizer.image(caller, id, Access::Owner).await?;
        let now = Timestamp::now();
        if !stores.catalog.delete_image(id, now).await? {
            return Err(Refusal::image_not_found(id));
        }
        stores.nudges.nudge();
        tracing::info!(image.id = %id, "deleted image {id}");
        // The rows are gone, which is what was asked for; bytes that cannot be removed now are the sweeper's.
        if let Err(error) = sweep::remove_doomed_soon(stores, now).await {
            tracing::warn!(image.id = %id, error = %Chain(&error), "the bytes of image {id} are removed later");
        }
        Ok(DeleteImageResponse {})
    }

    async fn limits(&self) -> Result<GetLimitsResponse, Refusal> {
        let core = &self.0;
        let wire_formats = |formats: &[Format]| formats.iter().map(|format| wire::proto_format(*format).into()).collect();
        Ok(GetLimitsResponse {
            limits: Some(proto_limits(&core.limits)),
            input_formats: wire_formats(&tintype_store::header::ACCEPTED_FORMATS),
            output_formats: wire_formats(&edits::output_formats(core).await?),
            automatic_formats: wire_formats(&core.auto_formats),
        })
    }
}

fn proto_limits(limits: &Limits) -> v1::Limits {
    let (conversion, image) = (&limits.conversion, &limits.conversion.image);
    let seconds = |duration: std::time::Duration| Some(prost_types::Duration { seconds: duration.as_secs() as i64, nanos: 0 });
    v1::Limits {
        max_file_bytes: image.max_file_bytes as i64,
        max_side_pixels: image.max_side_pixels as i32,
        max_frame_pixels: image.max_frame_pixels as i64,
        max_total_pixels: image.max_total_pixels as i64,
        max_frames: image.max_frames as i32,
        conversion_timeout: seconds(conversion.timeout),
        conversion_memory_bytes: conversion.memory_bytes as i64,
        max_attempts: conversion.max_attempts as i32,
        max_file_name_bytes: Limits::MAX_FILE_NAME_BYTES as i32,
        max_streams_per_connection: limits.max_streams_per_connection as i32,
        advised_chunk_bytes: Limits::ADVISED_CHUNK_BYTES as i32,
        max_chunk_bytes: Limits::MAX_CHUNK_BYTES as i32,
        stream_idle_timeout: seconds(limits.stream_idle),
        default_page_size: Limits::DEFAULT_PAGE_SIZE as i32,
        max_page_size: Limits::MAX_PAGE_SIZE as i32,
        max_wait: seconds(limits.max_wait),
        user_quota_bytes: limits.user_quota_bytes as i64,
        requests_per_second: limits.requests_per_second as i32,
        request_burst: limits.request_burst as i32,
        min_stream_bytes_per_second: limits.min_stream_bytes_per_second as i64,
        max_watched_images: Limits::MAX_WATCHED_IMAGES as i32,
        watch_heartbeat: seconds(limits.watch_heartbeat),
        max_calls_per_user: limits.max_calls_per_user as i32,
        max_renditions_per_image: limits.max_renditions_per_image as i32,
        max_labels_bytes: MAX_LABELS_BYTES as i32,
        max_bulk_pictures: Limits::MAX_BULK_PICTURES as i32,
        max_shares_per_image: Limits::MAX_SHARES_PER_IMAGE as i32,
        upload_expiry: seconds(limits.upload_expiry),
        max_upload_url_ttl: seconds(Limits::MAX_UPLOAD_LINK_TTL),
        max_download_url_ttl: seconds(Limits::MAX_DOWNLOAD_LINK_TTL),
    }
}

#[tonic::async_trait]
impl ImageService for ImageRpcs {
    type UploadImagesStream = ReceiverStream<Result<UploadImagesResponse, Status>>;
    type DownloadImagesStream = bulk::Messages;
    type DownloadImageStream = download::Messages;
    type WatchImagesStream = watch::Messages;

    async fn upload_images(&self, request: Request<Streaming<UploadImagesRequest>>) -> Result<Response<Self::UploadImagesStream>, Status> {
        let caller = Caller::of(&request)?;
        let (sender, receiver) = mpsc::channel(REPLIES);
        self.0.shutdown.spawn(upload::run(self.0.clone(), caller, request.into_inner(), sender));
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn get_upload(&self, request: Request<GetUploadRequest>) -> Result<Response<GetUploadResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(unfinished::get(&self.0, &caller, request.into_inner()).await?))
    }

    async fn cancel_upload(&self, request: Request<CancelUploadRequest>) -> Result<Response<CancelUploadResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(unfinished::cancel(&self.0, caller.0.user.id, request.into_inner()).await?))
    }

    async fn create_upload_url(&self, request: Request<CreateUploadUrlRequest>) -> Result<Response<CreateUploadUrlResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(links::create_upload_url(&self.0, &caller, request.into_inner()).await?))
    }

    async fn finish_upload(&self, request: Request<FinishUploadRequest>) -> Result<Response<FinishUploadResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(links::finish_upload(&self.0, &caller, request.into_inner()).await?))
    }

    async fn create_download_url(&self, request: Request<CreateDownloadUrlRequest>) -> Result<Response<CreateDownloadUrlResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(links::create_download_url(&self.0, &caller, request.into_inner()).await?))
    }

    async fn download_image(&self, request: Request<DownloadImageRequest>) -> Result<Response<Self::DownloadImageStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(download::start(&self.0, &caller, request.into_inner()).await?))
    }

    async fn download_images(&self, request: Request<DownloadImagesRequest>) -> Result<Response<Self::DownloadImagesStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(bulk::start(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_image(&self, request: Request<GetImageRequest>) -> Result<Response<GetImageResponse>, Status> {
        let caller = Caller::of(&request)?;
        let id = wire::image_id("id", request.get_ref().id)?;
        let image = self.0.authorizer.image(&caller, id, Access::Viewer).await?;
        Ok(Response::new(GetImageResponse { image: Some(proto_seen_image(image)) }))
    }

    async fn list_images(&self, request: Request<ListImagesRequest>) -> Result<Response<ListImagesResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.list(&caller, request.into_inner()).await?))
    }

    async fn create_rendition(&self, request: Request<CreateRenditionRequest>) -> Result<Response<CreateRenditionResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(edits::create_rendition(&self.0, &caller, request.into_inner()).await?))
    }

    async fn retry_rendition(&self, request: Request<RetryRenditionRequest>) -> Result<Response<RetryRenditionResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.retry(&caller, request.into_inner()).await?))
    }

    async fn update_image(&self, request: Request<UpdateImageRequest>) -> Result<Response<UpdateImageResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(edits::update_image(&self.0, &caller, request.into_inner()).await?))
    }

    async fn delete_image(&self, request: Request<DeleteImageRequest>) -> Result<Response<DeleteImageResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(self.delete(&caller, request.into_inner()).await?))
    }

    async fn share_image(&self, request: Request<ShareImageRequest>) -> Result<Response<ShareImageResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(shares::share(&self.0, &caller, request.into_inner()).await?))
    }

    async fn unshare_image(&self, request: Request<UnshareImageRequest>) -> Result<Response<UnshareImageResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(shares::unshare(&self.0, &caller, request.into_inner()).await?))
    }

    async fn list_shares(&self, request: Request<ListSharesRequest>) -> Result<Response<ListSharesResponse>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(shares::list(&self.0, &caller, request.get_ref()).await?))
    }

    async fn watch_images(&self, request: Request<WatchImagesRequest>) -> Result<Response<Self::WatchImagesStream>, Status> {
        let caller = Caller::of(&request)?;
        Ok(Response::new(watch::start(&self.0, &caller, request.into_inner()).await?))
    }

    async fn get_limits(&self, request: Request<GetLimitsRequest>) -> Result<Response<GetLimitsResponse>, Status> {
        Caller::of(&request)?;
        Ok(Response::new(self.limits().await?))
    }
}
