use std::ops::Range;

use futures_util::{StreamExt, stream, stream::BoxStream};
use tintype_proto::v1::{
    DownloadChunk, DownloadImageRequest, DownloadImageResponse, DownloadInfo, ErrorReason, download_image_response::Message,
};
use tintype_store::{
    Access, BlobKey, Format, ImageId, Rendition, RenditionId, RenditionState, SeenImage, Spec, blobs::read_checked, rendition_file_name,
};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::guard;
use crate::{auth::Caller, core::Core, status::Refusal, wire};

/// What a download sends.
pub(crate) type Messages = BoxStream<'static, Result<DownloadImageResponse, Status>>;

/// A picture asked for, by either of its names.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Wanted {
    Of(ImageId, Format),
    Rendition(RenditionId),
}

/// What was found under that name.
enum Found {
    Picture(Box<Picture>),
    Pending(ImageId, Format),
}

struct Picture {
    info: DownloadInfo,
    /// The image is somebody else's.
    shared: bool,
    blob: BlobKey,
    size_bytes: u64,
}

/// Finds the picture, waits for it if that is wanted, and begins to send it.
pub(crate) async fn start(core: &Core, caller: &Caller, request: DownloadImageRequest) -> Result<Messages, Refusal> {
    let wanted = wanted(&request)?;
    let offset = wire::size("offset_bytes", request.offset_bytes)?;
    let limit = wire::size("limit_bytes", request.limit_bytes)?;
    let known = wire::sha256("if_none_match_sha256", &request.if_none_match_sha256)?;

    let picture = if request.wait { wait(core, caller, wanted).await? } else { once(core, caller, wanted).await? };
    let mut info = picture.info;
    if known.is_some_and(|known| known[..] == info.sha256[..]) {
        info.not_modified = true;
        return Ok(stream::iter([Ok(message(Message::Info(info)))]).boxed());
    }
    let range = range(picture.size_bytes, offset, limit)?;
    info.offset_bytes = range.start as i64;
    info.length_bytes = (range.end - range.start) as i64;

    let stores = &core.stores;
    let blob = stores.catalog.blob(&picture.blob).await?.ok_or_else(|| Refusal::image_not_found(ImageId(info.image_id)))?;
    let image = info.image_id;
    let blocks = read_checked(&*stores.blobs, &blob, range).await?;
    let chunks = blocks.map(move |block| match block {
        Ok(data) => Ok(message(Message::Chunk(DownloadChunk { data }))),
        Err(error) => {
            tracing::warn!(image.id = image, "a download ended early");
            Err(Refusal::from(error).into())
        }
    });
    let messages = stream::iter([Ok(message(Message::Info(info)))]).chain(chunks).boxed();
    if picture.shared { guard::while_shared(core, caller, wanted, ImageId(image), messages).await } else { Ok(messages) }
}

fn wanted(request: &DownloadImageRequest) -> Result<Wanted, Refusal> {
    let format = wire::format("format", request.format)?;
    match (request.image_id, request.rendition_id) {
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
        Wanted::Rendition(id) => {
            let (seen, rendition) = core.authorizer.rendition(caller, id, Access::Viewer).await?;
            found(&seen, &rendition)
        }
        Wanted::Of(id, format) => {
            let seen = core.authorizer.image(caller, id, Access::Viewer).await?;
            if seen.image.header.format == format {
                return Ok(Found::Picture(Box::new(original(seen))));
            }
            let automatic = Spec::new(format);
            let rendition = seen.image.renditions.iter().find(|rendition| rendition.spec == automatic);
            found(&seen, rendition.ok_or_else(|| Refusal::no_such_rendition(id, format))?)
        }
    }
}

fn found(seen: &SeenImage, rendition: &Rendition) -> Result<Found, Refusal> {
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
            shared: seen.access != Access::Owner,
            blob: output.blob.clone(),
            size_bytes: output.size_bytes,
        }))),
        (RenditionState::Failed, _, Some(failure)) => Err(Refusal::rendition_failed(image.id, rendition.format, failure)),
        _ => Ok(Found::Pending(image.id, rendition.format)),
    }
}

fn original(SeenImage { image, access, .. }: SeenImage) -> Picture {
    Picture {
        shared: access != Access::Owner,
        info: DownloadInfo {
            image_id: image.id.0,
            file_name: image.file_name,
            format: wire::proto_format(image.header.format).into(),
            size_bytes: image.size_bytes as i64,
            width: image.header.width as i32,
            height: image.header.height as i32,
            sha256: image.sha256.to_vec().into(),
            ..DownloadInfo::default()
        },
        blob: image.blob,
        size_bytes: image.size_bytes,
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
