use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderName, Method, StatusCode,
        header::{
            ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
            IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE, LAST_MODIFIED, RANGE, VARY, X_CONTENT_TYPE_OPTIONS,
        },
    },
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use tintype_proto::v1::{DownloadInfo, ErrorReason};
use tintype_store::{Format, Timestamp};

use super::{
    Problem,
    accept::wants_image,
    file_name::attachment,
    id,
    query::Query,
    range::{Asked, asked},
    rpc,
};
use crate::{
    auth::Caller,
    core::{Core, SharedCore},
    rpc::download::{Picture, Wanted, open},
    status::Refusal,
    wire,
};

/// Somebody else's file must not run as a page of this origin, whatever a browser takes it for.
const SANDBOX: &str = "sandbox; default-src 'none'";

/// `GET` and `HEAD /api/images/get/<id>`.
pub(crate) async fn get(State(core): State<SharedCore>, request: Request) -> Result<Response, Problem> {
    let query = Query::of(request.uri());
    let format = match query.value("img_format")? {
        None => Format::Jpeg,
        Some(text) => text.parse().map_err(|problem| Refusal::field("img_format", format_args!("is an {problem}")))?,
    };
    let (download, wait) = (query.flag("download")?, query.flag("wait")?);
    let wanted = Wanted::Of(wire::image_id("id", id(&request)?)?, format);
    let (parts, _) = request.into_parts();
    let caller = Caller::of(&rpc(parts.extensions, ()))?;

    let picture = open(&core, &caller, wanted, wait).await?;
    let answer = if download || wants_image(&parts.headers) {
        send(&core, &caller, picture, &parts.method, &parts.headers).await?
    } else {
        Json(told(&picture.info, format)).into_response()
    };
    Ok(([(VARY, "accept")], answer).into_response())
}

/// Sends a picture, or as much of it as was asked for: as an attachment that no browser takes for a page.
pub(super) async fn send(
    core: &Core,
    caller: &Caller,
    picture: Picture,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Response, Problem> {
    let etag = format!("\"{}\"", HEXLOWER.encode(&picture.info.sha256));
    let modified = httpdate::HttpDate::from(std::time::UNIX_EPOCH + picture.made_at.since(Timestamp(0)));
    let about = [
        (ETAG, etag.clone()),
        (LAST_MODIFIED, modified.to_string()),
        // What is deleted or withdrawn must not be shown any longer.
        (CACHE_CONTROL, "private, no-cache".to_owned()),
    ];
    if is_another(headers, &etag, modified) {
        let message = "the picture is not, or no longer, the one that the request is about";
        return Ok((about, Problem::new(StatusCode::PRECONDITION_FAILED, message)).into_response());
    }
    if is_known(headers, &etag, modified) {
        return Ok((StatusCode::NOT_MODIFIED, about).into_response());
    }
    let size = picture.size_bytes;
    // It says something about GET alone (RFC 9110, section 14.2).
    let is_get = *method == Method::GET;
    let header = text(headers, &RANGE).filter(|_| is_get && may_be_a_part(headers, &etag, modified));
    let (status, range) = match asked(header, size) {
        Asked::All => (StatusCode::OK, 0..size),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Nothing => {
            let refusal = Refusal::new(ErrorReason::OffsetPastEnd, format!("the range is past the end of the {size} bytes"));
            let problem = Problem::from(refusal.with("size_bytes", size));
            return Ok(([(CONTENT_RANGE, format!("bytes */{size}"))], problem).into_response());
        }
    };
    let length = range.end - range.start;
    let content_range = format!("bytes {}-{}/{size}", range.start, range.end.max(1) - 1);
    let body = if is_get { Body::from_stream(picture.bytes(core, caller, range).await?) } else { Body::empty() };
    let content = [
        (CONTENT_TYPE, media_type(picture.format).to_owned()),
        (CONTENT_LENGTH, length.to_string()),
        (ACCEPT_RANGES, "bytes".to_owned()),
        (CONTENT_DISPOSITION, attachment(&picture.info.file_name)),
        (X_CONTENT_TYPE_OPTIONS, "nosniff".to_owned()),
        (CONTENT_SECURITY_POLICY, SANDBOX.to_owned()),
    ];
    let answer = (status, about, content, body);
    Ok(if status == StatusCode::OK { answer.into_response() } else { ([(CONTENT_RANGE, content_range)], answer).into_response() })
}

/// What is told of a picture instead of its bytes.
fn told(info: &DownloadInfo, format: Format) -> Value {
    json!({
        "id": info.image_id,
        "name": info.file_name,
        "format": format.name(),
        "content_type": media_type(format),
        "size_bytes": info.size_bytes,
        "width": info.width,
        "height": info.height,
        "sha256": HEXLOWER.encode(&info.sha256),
    })
}

/// Whether the client asks for other bytes than these (RFC 9110, sections 13.1.1 and 13.1.4).
fn is_another(headers: &HeaderMap, etag: &str, modified: httpdate::HttpDate) -> bool {
    if headers.contains_key(IF_MATCH) {
        return !tags(headers, &IF_MATCH).any(|tag| tag == "*" || tag == etag);
    }
    text(headers, &IF_UNMODIFIED_SINCE).and_then(|date| date.parse().ok()).is_some_and(|since: httpdate::HttpDate| modified > since)
}

/// Whether the client has these bytes already (RFC 9110, section 13.2.2): entity tags say more than times do.
fn is_known(headers: &HeaderMap, etag: &str, modified: httpdate::HttpDate) -> bool {
    if headers.contains_key(IF_NONE_MATCH) {
        return tags(headers, &IF_NONE_MATCH).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag);
    }
    text(headers, &IF_MODIFIED_SINCE).and_then(|date| date.parse().ok()).is_some_and(|since: httpdate::HttpDate| modified <= since)
}

/// Whether what the client has a part of is still the same (RFC 9110, section 13.1.5).
fn may_be_a_part(headers: &HeaderMap, etag: &str, modified: httpdate::HttpDate) -> bool {
    let Some(condition) = text(headers, &IF_RANGE) else { return !headers.contains_key(IF_RANGE) };
    condition == etag || condition.parse().is_ok_and(|date: httpdate::HttpDate| date == modified)
}

/// The entity tags of a condition.
fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lists = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).map(str::trim)
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn media_type(format: Format) -> &'static str {
    match format {
        Format::Jpeg => "image/jpeg",
        Format::Png => "image/png",
        Format::WebP => "image/webp",
        Format::Gif => "image/gif",
        Format::Tiff => "image/tiff",
        Format::Bmp => "image/bmp",
        Format::Ico => "image/vnd.microsoft.icon",
        Format::Avif => "image/avif",
        Format::Qoi => "image/qoi",
        Format::Pnm => "image/x-portable-anymap",
        Format::Unknown => "application/octet-stream",
    }
}
