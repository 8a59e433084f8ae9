//! Links for people without an account: a file comes in, or a picture goes out.

use std::time::Duration;

use axum::http::Method;
use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use tintype_proto::v1::{
    CreateDownloadUrlRequest, CreateDownloadUrlResponse, CreateUploadUrlRequest, CreateUploadUrlResponse, ErrorReason, FinishUploadRequest,
    FinishUploadResponse,
};
use tintype_store::{Access, BlobKey, Image, LinkCreated, Timestamp, UploadLink, blobs::SignedPut, random_hex};

use super::{
    download::{self, Wanted},
    incoming::{Incoming, repeated, size_mismatch, unused},
};
use crate::{
    auth::Caller,
    core::SharedCore,
    limits::Limits,
    status::{Chain, Refusal},
    wire,
    wire_links::{self, NewUpload, end, proto_header},
};

/// Prepares the way for a file that somebody sends without a token.
pub(super) async fn create_upload_url(
    core: &SharedCore,
    caller: &Caller,
    request: CreateUploadUrlRequest,
) -> Result<CreateUploadUrlResponse, Refusal> {
    let NewUpload { file, request_id, ttl } = wire_links::new_upload(request)?;
    core.limits.conversion.image.check_size(file.size_bytes)?;
    let (owner, catalog, now) = (caller.0.user.id, &core.stores.catalog, Timestamp::now());
    let upload_id = match request_id {
        None => random_hex(),
        Some(request_id) => match catalog.image_by_request(owner, &request_id).await? {
            None => request_id,
            Some(earlier) => {
                let image = Some(wire::proto_image(repeated(earlier, &request_id)?, Access::Owner));
                return Ok(CreateUploadUrlResponse { upload_id: request_id, image, ..CreateUploadUrlResponse::default() });
            }
        },
    };
    let (key, expires_at) = (BlobKey::arriving(owner), end(now, ttl));
    let direct = core.stores.blobs.sign_put(&key, &file, ttl).await?.is_some();
    let new = UploadLink { id: random_hex(), owner, upload_id, file, direct, key: direct.then_some(key), expires_at };
    let announced = new.file.clone();
    let link = match catalog.create_upload_link(new, now).await? {
        LinkCreated::Done(link) => link,
        LinkCreated::OverQuota { quota_bytes, used_bytes } => {
            return Err(Refusal::quota_exceeded(owner, quota_bytes, used_bytes.saturating_add(announced.size_bytes)));
        }
        LinkCreated::OwnerMissing => return Err(Refusal::token_invalid()),
    };
    if link.file != announced {
        return Err(Refusal::field("request_id", "names the upload of another file"));
    }
    let SignedPut { url, headers } = put(core, &link, now).await?;
    Ok(CreateUploadUrlResponse {
        upload_id: link.upload_id,
        url,
        method: Method::PUT.to_string(),
        headers: headers.into_iter().map(proto_header).collect(),
        expire_time: Some(wire::proto_time(link.expires_at)),
        image: None,
    })
}

/// The request with which the file of a link is sent.
async fn put(core: &SharedCore, link: &UploadLink, now: Timestamp) -> Result<SignedPut, Refusal> {
    if let (true, Some(key)) = (link.direct, &link.key) {
        // In whole seconds, as a bucket counts them.
        let ttl = Duration::from_millis(link.expires_at.since(now).as_millis().next_multiple_of(1000) as u64);
        if let Some(signed) = core.stores.blobs.sign_put(key, &link.file, ttl).await? {
            return Ok(signed);
        }
    }
    let content_type = form_urlencoded::byte_serialize(link.file.content_type.as_bytes()).collect::<String>();
    let (size_bytes, sha256) = (link.file.size_bytes, HEXLOWER.encode(&link.file.sha256));
    let place = format!("/u/{}?size={size_bytes}&type={content_type}&sha256={sha256}", link.id);
    let url = core.links.sign(&Method::PUT, &place, link.expires_at, now).await?;
    Ok(SignedPut { url, headers: vec![("content-type".to_owned(), link.file.content_type.clone())] })
}

/// Makes an image of what came by a link.
pub(super) async fn finish_upload(
    core: &SharedCore,
    caller: &Caller,
    request: FinishUploadRequest,
) -> Result<FinishUploadResponse, Refusal> {
    let (catalog, owner) = (&core.stores.catalog, caller.0.user.id);
    let upload_id = wire::request_id("upload_id", request.upload_id)?.ok_or_else(|| Refusal::field("upload_id", "must not be empty"))?;
    let finished = match catalog.open_upload_link(owner, &upload_id).await? {
        Some(link) => finish(core, &link).await,
        None => Err(Refusal::upload_not_found(&upload_id)),
    };
    let image = match finished {
        Ok(image) => image,
        // Another call may have ended it meanwhile, which takes away what this one reads.
        Err(refusal) => match catalog.image_by_request(owner, &upload_id).await? {
            Some(earlier) => repeated(earlier, &upload_id)?,
            None if refusal.is_final() || catalog.open_upload_link(owner, &upload_id).await?.is_some() => return Err(refusal),
            None => return Err(Refusal::upload_not_found(&upload_id)),
        },
    };
    Ok(FinishUploadResponse { image: Some(wire::proto_image(image, Access::Owner)) })
}

async fn finish(core: &SharedCore, link: &UploadLink) -> Result<Image, Refusal> {
    let finished = receive(core, link).await;
    if finished.as_ref().err().is_none_or(Refusal::is_final) {
        clear_away(core, link).await;
    }
    finished
}

/// Closes a link that is finished or refused, if it is not yet, and removes what came by it: nothing more comes by a URL of this server then. A
/// bucket would take it once more until the end of its URL, so there it stays until then and is the sweeper's.
async fn clear_away(core: &SharedCore, link: &UploadLink) {
    if let Err(error) = core.stores.catalog.close_upload_link(link).await {
        tracing::warn!(upload.id = link.upload_id, error = %Chain(&error), "an upload that has ended is left until it expires");
    } else if let Some(key) = link.key.as_ref().filter(|_| !link.direct) {
        unused(core, key).await;
    }
}

/// Reads what came as if it were a stream, into a blob of its own: all that is checked of streams is checked of it.
async fn receive(core: &SharedCore, link: &UploadLink) -> Result<Image, Refusal> {
    let not_received = || {
        let message = format!("nothing has come by the URL of upload {:?} yet", link.upload_id);
        Refusal::new(ErrorReason::UploadNotReceived, message)
    };
    let key = link.key.as_ref().ok_or_else(not_received)?;
    let (blobs, announced) = (&core.stores.blobs, link.file.size_bytes);
    let seen = blobs.size_bytes(key).await?.ok_or_else(not_received)?;
    if seen != announced {
        return Err(size_mismatch(announced, seen));
    }
    let mut blocks = blobs.read(key, 0..seen).await?;
    let mut incoming = Incoming::by_link(core, link);
    while let Some(block) = blocks.try_next().await? {
        incoming.write(block).await?;
    }
    Ok(incoming.finish().await?.image)
}

/// A link to a picture that the caller sees.
pub(super) async fn create_download_url(
    core: &SharedCore,
    caller: &Caller,
    request: CreateDownloadUrlRequest,
) -> Result<CreateDownloadUrlResponse, Refusal> {
    let wanted = download::wanted(request.image_id, request.format, request.rendition_id)?;
    let ttl = wire_links::ttl("ttl", request.ttl, Limits::MAX_DOWNLOAD_LINK_TTL)?;
    let image = download::image_of(core, caller, wanted).await?;
    let what = match wanted {
        Wanted::Original(_) => String::new(),
        Wanted::Of(_, format) => format!("format={format}&"),
        Wanted::Rendition(rendition) => format!("rendition={rendition}&"),
    };
    let (now, user) = (Timestamp::now(), caller.0.user.id);
    let end = end(now, ttl);
    let url = core.links.sign(&Method::GET, &format!("/d/{image}?{what}user={user}"), end, now).await?;
    Ok(CreateDownloadUrlResponse { url, expire_time: Some(wire::proto_time(end)) })
}
