//! What is asked for images that are there: renditions, names and labels.

use tintype_proto::v1::{CreateRenditionRequest, CreateRenditionResponse, ErrorReason, UpdateImageRequest, UpdateImageResponse};
use tintype_store::{Access, Format, ImageWrite, LimitExceeded, Requested, StoreError, Timestamp, Worker};

use super::upload;
use crate::{auth::Caller, core::Core, status::Refusal, wire, wire_edits};

/// Records the rendition, or finds the one that stands.
pub(crate) async fn create_rendition(
    core: &Core,
    caller: &Caller,
    request: CreateRenditionRequest,
) -> Result<CreateRenditionResponse, Refusal> {
    let id = wire::image_id("image_id", request.image_id)?;
    let missing = || Refusal::field("spec", "must be given");
    let spec = wire_edits::spec(&request.spec.ok_or_else(missing)?, &core.limits.conversion.image)?;
    let image = core.authorizer.image(caller, id, Access::Editor).await?.image;
    let stands = image.renditions.iter().any(|rendition| rendition.spec == spec);
    if !stands {
        check_made(core, spec.format).await?;
    }
    let max_renditions = core.limits.max_renditions_per_image;
    let rendition = match core.stores.catalog.create_rendition(caller.0.user.id, id, &spec, max_renditions, Timestamp::now()).await? {
        Requested::New(rendition) => {
            core.stores.nudges.nudge();
            core.shutdown.spawn(upload::hint(core.stores.clone(), vec![rendition.id]));
            tracing::info!(image.id = %id, rendition.id = %rendition.id, "asked for {spec} of image {id}");
            rendition
        }
        Requested::Standing(rendition) => rendition,
        Requested::TooMany { rendition_count } => {
            let (what, limit) = ("number of renditions of the image", "max_renditions_per_image");
            return Err(LimitExceeded { what, limit, value: max_renditions.into(), seen: u64::from(rendition_count) + 1 }.into());
        }
        Requested::OverQuota { quota_bytes, used_bytes } => return Err(Refusal::quota_used_up(image.owner, quota_bytes, used_bytes)),
        Requested::Denied(denied) => return Err(Refusal::denied(id, denied)),
    };
    Ok(CreateRenditionResponse { rendition: Some(wire::proto_rendition(rendition)) })
}

/// Changes file name and labels.
pub(crate) async fn update_image(core: &Core, caller: &Caller, request: UpdateImageRequest) -> Result<UpdateImageResponse, Refusal> {
    let wanted = request.image.unwrap_or_default();
    let id = wire::image_id("image.id", wanted.id)?;
    let change = wire_edits::image_change(wanted, request.update_mask.unwrap_or_default())?;
    let access = core.authorizer.image(caller, id, Access::Editor).await?.access;
    match core.stores.catalog.update_image(caller.0.user.id, id, &change, Timestamp::now()).await? {
        ImageWrite::Done(image) => {
            core.stores.nudges.nudge();
            Ok(UpdateImageResponse { image: Some(wire::proto_image(*image, access)) })
        }
        ImageWrite::LabelsTooLarge { size_bytes } => Err(wire_edits::labels_too_large(size_bytes).into()),
        ImageWrite::Denied(denied) => Err(Refusal::denied(id, denied)),
    }
}

/// Formats that the workers alive now make; empty when none is alive.
pub(crate) async fn output_formats(core: &Core) -> Result<Vec<Format>, StoreError> {
    let workers = core.stores.catalog.workers(Timestamp::now().minus(Worker::ALIVE)).await?;
    Ok(Format::ALL.into_iter().filter(|format| workers.iter().any(|worker| worker.output_formats.contains(format))).collect())
}

/// Refuses what nobody would make. While no worker is alive, what any worker may make is waited for.
async fn check_made(core: &Core, format: Format) -> Result<(), Refusal> {
    let mut made = output_formats(core).await?;
    if made.is_empty() {
        made = Format::MADE.to_vec();
    }
    if made.contains(&format) {
        return Ok(());
    }
    let made = made.into_iter().map(Format::name).collect::<Vec<_>>().join(", ");
    Err(Refusal::new(ErrorReason::UnsupportedFormat, format!("{format} is not made here; what is made is {made}")))
}
