use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, stream, stream::BoxStream};
use tintype_proto::v1::{
    DownloadChunk, DownloadImageRequest, DownloadImageResponse, DownloadInfo, ErrorReason, download_image_response::Message,
};
use tintype_store::{
    Access, BlobKey, Format, ImageId, Rendition, RenditionId, RenditionState, SeenImage, Spec, Timestamp, blobs::read_checked,
    rendition_file_name,
};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::guard;
use crate::{auth::Caller, core::Core, status::Refusal, wire};

/// What a download sends.
pub(crate) type Messages = BoxStream<'static, Result<DownloadImageResponse, Status>>;

/// Checked bytes of a picture, up to 256 KiB at once.
pub(crate) type Blocks = BoxStream<'static, Result<Bytes, Status>>;

/// A picture asked for, by any of its names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    Original(ImageId),
    Of(ImageId, Format),
    Rendition(RenditionId),
}

/// What was found under that name.
enum Found {
    Picture(Box<Picture>),
    Pending(ImageId, Format),
}

/// A picture that was found and may be sent to the caller.
pub(crate) struct Picture {
    /// What is told of it before its bytes.
    pub(crate) info: DownloadInfo,
    pub(crate) format: Format,
    pub(crate) size_bytes: u64,
    /// The name of the uploaded file.
    pub(crate) uploaded_as: String,
    /// When the upload was finished or the rendition became ready; its bytes have not changed since.
    pub(crate) made_at: Timestamp,
    wanted: Wanted,
    /// The image is somebody else's.
    shared: bool,
    blob: BlobKey,
}

/// Finds the picture, waits for it if that is wanted, and begins to send it.
pub(crate) async fn start(core: &Core, caller: &Caller, request: DownloadImageRequest) -> Result<Messages, Refusal> {
    let wanted = wanted(request.image_id, request.format, request.rendition_id)?;
    let offset = wire::size("offset_bytes", request.offset_bytes)?;
    let limit = wire::size("limit_bytes", request.limit_bytes)?;
    let known = wire::sha256("if_none_match_sha256", &request.if_none_match_sha256)?;

    let picture = open(core, caller, wanted, request.wait).await?;
    let mut info = picture.info.clone();
    if known.is_some_and(|known| known[..] == info.sha256[..]) {
        info.not_modified = true;
        return Ok(stream::iter([Ok(message(Message::Info(info)))]).boxed());
    }
    let range = range(picture.size_bytes, offset, limit)?;
    info.offset_bytes = range.start as i64;
    info.length_bytes = (range.end - range.start) as i64;
    let chunks = picture.bytes(core, caller, range).await?.map(|block| Ok(message(Message::Chunk(DownloadChunk { data: block? }))));
    Ok(stream::iter([Ok(message(Message::Info(info)))]).chain(chunks).boxed())
}

/// The image of a picture that the caller may have, now or once it is made.
pub(super) async fn image_of(core: &Core, caller: &Caller, wanted: Wanted) -> Result<ImageId, Refusal> {
    Ok(match find(core, caller, wanted).await? {
        Found::Picture(picture) => ImageId(picture.info.image_id),
        Found::Pending(image, _) => image,
    })
}

/// Finds the picture, and waits for it if that is wanted.
pub(crate) async fn open(core: &Core, caller: &Caller, wanted: Wanted, wait: bool) -> Result<Picture, Refusal> {
    if wait { self::wait(core, caller, wanted).await } else { once(core, caller, wanted).await }
}

impl Picture {
    /// Sends a range of it, block by block as somebody reads them, for as long as the caller may see it.
    pub(crate) async fn bytes(&self, core: &Core, caller: &Caller, range: Range<u64>) -> Result<Blocks, Refusal> {
        let (stores, image) = (&core.stores, ImageId(self.info.image_id));
        let blob = stores.catalog.blob(&self.blob).await?.ok_or_else(|| Refusal::image_not_found(image))?;
        let blocks = read_checked(&*stores.blobs, &blob, range).await?;
        let blocks = blocks.map(move |block| {
            block.map_err(|error| {
                tracing::warn!(image.id = %image, "a download ended early");
                Refusal::from(error).into()
            })
        });
        if self.shared { guard::while_shared(core, caller, self.wanted, image, blocks.boxed()).await } else { Ok(blocks.boxed()) }
    }
}

/// The picture that a request names in one of the two ways.
pub(super) fn wanted(image_id: i64, format: i32, rendition_id: i64) -> Result<Wanted, Refusal> {
    let format = wire::format("format", format)?;
    match (image_id, rendition_id) {
        (image, 0) => Ok(Wanted::Of(wire::image_id("image_id", image)?, format.unwrap_or(Format::Jpeg))),
        (0, rendition) if format.is_none() => Ok(Wanted::Rendition(RenditionId(wire::id("rendition_id", rendition)?))),
        _ => Err(Refusal::field("rendition_id", "must not be given together with image_id or format")),
    }
}

fn range(size: u64, offset: u64, limit: u64) -> Result<Range<u64>, Refusal> {
    if offset > size {
        let message = format!("offset {offset} is past the end of the {size} bytes");
        return Err(Refusal::new(ErrorReason::OffsetPastEnd, message).with("size_bytes", size));
    }
    let end = if limit == 0 { size } else { offset.saturating_add(limit).min(size) };
    Ok(offset..end)
}

async fn once(core: &Core, caller: &Caller, wanted: Wanted) -> Result<Picture, Refusal> {
    match find(core, caller, wanted).await? {
        Found::Picture(picture) => Ok(*picture),
        Found::Pending(image, format) => Err(Refusal::rendition_pending(image, format)),
    }
}

async fn wait(core: &Core, caller: &Caller, wanted: Wanted) -> Result<Picture, Refusal> {
    let deadline = Instant::now() + core.limits.max_wait;
    // Listens first and looks then, so that no change falls between the two.
    let mut listener = core.changes.listen();
    loop {
        let (image, format) = match find(core, caller, wanted).await? {
            Found::Picture(picture) => return Ok(*picture),
            Found::Pending(image, format) => (image, format),
        };
        tokio::select! {
            changed = timeout_at(deadline, listener.changed(image)) => changed.map_err(|_| {
                let seconds = core.limits.max_wait.as_secs();
                let message = format!("the {format} rendition of image {image} is still being made after {seconds} s");
                Refusal::new(ErrorReason::WaitTooLong, message)
            })?,
            () = core.shutdown.draining() => return Err(Refusal::draining()),
        }
    }
}

async fn find(core: &Core, caller: &Caller, wanted: Wanted) -> Result<Found, Refusal> {
    match wanted {
        Wanted::Original(id) => {
            let seen = core.authorizer.image(caller, id, Access::Viewer).await?;
            Ok(Found::Picture(Box::new(original(seen, wanted))))
        }
        Wanted::Rendition(id) => {
            let (seen, rendition) = core.authorizer.rendition(caller, id, Access::Viewer).await?;
            found(&seen, &rendition, wanted)
        }
        Wanted::Of(id, format) => {
            let seen = core.authorizer.image(caller, id, Access::Viewer).await?;
            if seen.image.header.format == format {
                return Ok(Found::Picture(Box::new(original(seen, wanted))));
            }
            let automatic = Spec::new(format);
            let rendition = seen.image.renditions.iter().find(|rendition| rendition.spec == automatic);
            found(&seen, rendition.ok_or_else(|| Refusal::no_such_rendition(id, format))?, wanted)
        }
    }
}

fn found(seen: &SeenImage, rendition: &Rendition, wanted: Wanted) -> Result<Found, Refusal> {
    let image = &seen.image;
    match (rendition.state, &rendition.output, &rendition.failure) {
        (RenditionState::Ready, Some(output), _) => Ok(Found::Picture(Box::new(Picture {
            info: DownloadInfo {
                image_id: image.id.0,
                rendition_id: rendition.id.0,
                file_name: rendition_file_name(rendition.format),
                format: wire::proto_format(rendition.format).into(),
                size_bytes: output.size_bytes as i64,
                width: output.picture.width as i32,
                height: output.picture.height as i32,
                sha256: output.sha256.to_vec().into(),
                ..DownloadInfo::default()
            },
            format: rendition.format,
            size_bytes: output.size_bytes,
            uploaded_as: image.file_name.clone(),
            made_at: rendition.finished_at.unwrap_or(rendition.created_at),
            wanted,
            shared: seen.access != Access::Owner,
            blob: output.blob.clone(),
        }))),
        (RenditionState::Failed, _, Some(failure)) => Err(Refusal::rendition_failed(image.id, rendition.format, failure)),
        _ => Ok(Found::Pending(image.id, rendition.format)),
    }
}

fn original(SeenImage { image, access, .. }: SeenImage, wanted: Wanted) -> Picture {
    Picture {
        shared: access != Access::Owner,
        info: DownloadInfo {
            image_id: image.id.0,
            file_name: image.file_name.clone(),
            format: wire::proto_format(image.header.format).into(),
            size_bytes: image.size_bytes as i64,
            width: image.header.width as i32,
            height: image.header.height as i32,
            sha256: image.sha256.to_vec().into(),
            ..DownloadInfo::default()
        },
        format: image.header.format,
        size_bytes: image.size_bytes,
        uploaded_as: image.file_name,
        made_at: image.created_at,
        wanted,
        blob: image.blob,
    }
}

fn message(message: Message) -> DownloadImageResponse {
    DownloadImageResponse { message: Some(message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stays_within_the_picture() {
        assert_eq!(range(10, 0, 0).expect("all"), 0..10);
        assert_eq!(range(10, 4, 3).expect("middle"), 4..7);
        assert_eq!(range(10, 8, 100).expect("end"), 8..10);
        assert_eq!(range(10, 10, 0).expect("nothing left"), 10..10);
        assert_eq!(range(10, 3, u64::MAX).expect("no overflow"), 3..10);
        assert!(range(10, 11, 0).is_err());
    }
}
