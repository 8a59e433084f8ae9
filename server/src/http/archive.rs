use axum::{
    body::{Body, Bytes},
    extract::{Request, State},
    http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS},
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use tintype_proto::v1::{
    ArchiveKind, DownloadChunk, DownloadImagesRequest, DownloadImagesResponse, ImageFilter, ImageOwner, download_images_response::Message,
};
use tintype_store::Format;
use tonic::Status;

use super::{Problem, query::Query, rpc};
use crate::{auth::Caller, core::SharedCore, rpc::bulk, status::Refusal, wire};

/// How the original is called among the formats.
const ORIGINAL: &str = "original";

/// `GET` and `HEAD /api/images/archive`.
pub(crate) async fn archive(State(core): State<SharedCore>, request: Request) -> Result<Response, Problem> {
    let message = message(&Query::of(request.uri()))?;
    let (parts, _) = request.into_parts();
    let (file_name, content_type) = match message.archive() {
        ArchiveKind::Tar => ("images.tar", "application/x-tar"),
        _ => ("images.zip", "application/zip"),
    };
    let headers = [
        (CONTENT_TYPE, content_type),
        (CONTENT_DISPOSITION, &*format!("attachment; filename=\"{file_name}\"")),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (CACHE_CONTROL, "no-store"),
    ]
    .map(|(name, value)| (name, value.to_owned()));
    let caller = Caller::of(&rpc(parts.extensions, ()))?;
    let messages = bulk::start(&core, &caller, message).await?;
    // Of HEAD, too: its answer must not say that there is nothing. The stream is dropped then, and nothing is read.
    Ok((headers, Body::from_stream(messages.map(bytes))).into_response())
}

fn message(query: &Query) -> Result<DownloadImagesRequest, Refusal> {
    let archive = match query.value("kind")? {
        None | Some("zip") => ArchiveKind::Zip,
        Some("tar") => ArchiveKind::Tar,
        Some(other) => return Err(Refusal::field("kind", format_args!("must be zip or tar, not {other:?}"))),
    };
    let mut message = DownloadImagesRequest { archive: archive.into(), wait: query.flag("wait")?, ..DownloadImagesRequest::default() };
    for text in listed(query.value("ids")?) {
        message.image_ids.push(text.parse().map_err(|_| Refusal::field("ids", format_args!("must be whole numbers, not {text:?}")))?);
    }
    for text in listed(query.value("format")?) {
        if text == ORIGINAL {
            message.originals = true;
        } else {
            let format: Format = text.parse().map_err(|problem| Refusal::field("format", format_args!("is an {problem}, {ORIGINAL}")))?;
            message.formats.push(wire::proto_format(format).into());
        }
    }
    let owner = match query.value("owner")? {
        None => None,
        Some("me") => Some(ImageOwner::Me),
        Some("others") => Some(ImageOwner::Others),
        Some("anyone") => Some(ImageOwner::Anyone),
        Some(other) => return Err(Refusal::field("owner", format_args!("must be me, others or anyone, not {other:?}"))),
    };
    let contains = query.value("file_name_contains")?;
    if owner.is_some() || contains.is_some() {
        let owner = owner.unwrap_or_default().into();
        message.filter = Some(ImageFilter { owner, file_name_contains: contains.unwrap_or_default().to_owned(), ..ImageFilter::default() });
    }
    Ok(message)
}

/// What stands between the commas of a parameter.
fn listed(value: Option<&str>) -> impl Iterator<Item = &str> {
    value.into_iter().flat_map(|value| value.split(','))
}

/// An error ends the body without its end: no client takes it for a whole archive.
fn bytes(message: Result<DownloadImagesResponse, Status>) -> Result<Bytes, Status> {
    Ok(match message?.message {
        Some(Message::Chunk(DownloadChunk { data })) => data,
        _ => Bytes::new(),
    })
}
