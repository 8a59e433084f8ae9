use std::collections::HashSet;

use tintype_proto::v1::{DownloadImagesRequest, ErrorReason};
use tintype_store::{Format, ImageFilter, ImageId};

use crate::{auth::Caller, core::Core, limits::Limits, rpc::download::Wanted, status::Refusal, wire};

/// One picture that is wanted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Choice {
    pub(super) image: ImageId,
    /// `None`: the original.
    pub(super) format: Option<Format>,
}

impl Choice {
    pub(super) fn wanted(self) -> Wanted {
        self.format.map_or(Wanted::Original(self.image), |format| Wanted::Of(self.image, format))
    }
}

/// The pictures that are wanted: every image in every format.
pub(super) struct Chosen {
    images: Vec<ImageId>,
    formats: Vec<Option<Format>>,
}

impl Chosen {
    /// One after the other, those of an image together.
    pub(super) fn pictures(&self) -> impl Iterator<Item = Choice> {
        self.images.iter().flat_map(|image| self.formats.iter().map(|format| Choice { image: *image, format: *format }))
    }
}

/// Reads the request, and from the catalog the ids that its filter chooses now.
pub(super) async fn choose(core: &Core, caller: &Caller, request: DownloadImagesRequest) -> Result<Chosen, Refusal> {
    let mut formats: Vec<Option<Format>> = Vec::new();
    if request.originals || request.formats.is_empty() {
        formats.push(None);
    }
    for value in request.formats {
        let format = wire::format("formats", value)?;
        let format = format.ok_or_else(|| Refusal::field("formats", "must not contain IMAGE_FORMAT_UNSPECIFIED"))?;
        if !formats.contains(&Some(format)) {
            formats.push(Some(format));
        }
    }
    let max_images = Limits::MAX_BULK_PICTURES / formats.len();
    let images = match request.filter {
        Some(_) if !request.image_ids.is_empty() => return Err(Refusal::field("filter", "must not be given together with image_ids")),
        filter if request.image_ids.is_empty() => filtered(core, caller, &wire::filter(filter.unwrap_or_default())?, max_images).await?,
        _ => {
            let mut known = HashSet::new();
            let ids = request.image_ids.into_iter().filter(|id| known.insert(*id));
            ids.take(max_images + 1).map(|id| wire::image_id("image_ids", id)).collect::<Result<_, _>>()?
        }
    };
    if images.len() > max_images {
        let (limit, seen) = (Limits::MAX_BULK_PICTURES, (max_images + 1) * formats.len());
        let message = format!("{seen} pictures or more are more than the limit of {limit} (max_bulk_pictures)");
        let refusal = Refusal::new(ErrorReason::LimitExceeded, message);
        return Err(refusal.with("limit", "max_bulk_pictures").with("value", limit).with("seen", seen));
    }
    Ok(Chosen { images, formats })
}

/// All that the filter chooses, or one more than there may be.
async fn filtered(core: &Core, caller: &Caller, filter: &ImageFilter, max_images: usize) -> Result<Vec<ImageId>, Refusal> {
    let mut images: Vec<ImageId> = Vec::new();
    loop {
        let page = core.stores.catalog.list_images(caller.0.user.id, filter, images.last().copied(), Limits::MAX_PAGE_SIZE).await?;
        let is_last = page.len() < Limits::MAX_PAGE_SIZE as usize;
        images.extend(page.into_iter().map(|seen| seen.image.id));
        if is_last || images.len() > max_images {
            images.truncate(max_images + 1);
            return Ok(images);
        }
    }
}
