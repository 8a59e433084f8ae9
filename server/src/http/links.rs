use std::future::ready;

use axum::{
    Extension,
    extract::{Request, State},
    http::{
        HeaderMap, HeaderValue, Method, StatusCode, Uri,
        header::{
            ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS,
            ACCESS_CONTROL_MAX_AGE, CONTENT_LENGTH, CONTENT_TYPE,
        },
    },
    middleware::Next,
    response::{IntoResponse, Response},
};
use data_encoding::HEXLOWER;
use futures_util::TryStreamExt;
use tintype_proto::v1::ErrorReason;
use tintype_store::{BlobKey, ImageId, RenditionId, Timestamp, UserId, blobs::BlobSink};

use super::{Problem, Query, id, picture};
use crate::{
    auth::{Caller, Holder, Protocol, Sessions},
    core::SharedCore,
    rpc::{
        download::{Wanted, open},
        incoming::{digest_mismatch, size_mismatch, unused},
    },
    status::Refusal,
};

/// How long browsers remember what a page may send.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("600");

/// `PUT /u/<id>`: takes the file that the link was signed for, once.
pub(crate) async fn put(State(core): State<SharedCore>, request: Request) -> Result<StatusCode, Problem> {
    let (parts, body) = request.into_parts();
    let query = core.links.verify(&Method::PUT, &parts.uri, Timestamp::now()).await?;
    let announced = Announced::of(&query)?;
    announced.check_head(&parts.headers)?;
    let id = last(&parts.uri);
    let link = core.stores.catalog.upload_link(id).await.map_err(Refusal::from)?.ok_or_else(|| Refusal::upload_not_found(id))?;
    if link.key.is_some() {
        return Err(received("the file has come by this link already").into());
    }
    // Whoever has a link cannot fill the disk with it: one file at a time, which is counted already. It is not received yet: it may break off.
    let _receiving = core.links.receiving(id).ok_or_else(|| Refusal::upload_arriving(id))?;

    let mut sink = BlobSink::create(&*core.stores.blobs, BlobKey::arriving(link.owner)).await.map_err(Refusal::from)?;
    let mut pieces = body.into_data_stream();
    // A body that breaks off ends too soon.
    while let Ok(Some(piece)) = pieces.try_next().await {
        let seen = sink.size_bytes() + piece.len() as u64;
        if seen > announced.size_bytes {
            return Err(size_mismatch(announced.size_bytes, seen).into());
        }
        sink.write(piece).await.map_err(Refusal::from)?;
    }
    if sink.size_bytes() != announced.size_bytes {
        return Err(size_mismatch(announced.size_bytes, sink.size_bytes()).into());
    }
    let seen = sink.sha256().await.map_err(Refusal::from)?;
    if seen != announced.sha256 {
        return Err(digest_mismatch(&announced.sha256, &seen).into());
    }
    let blob = sink.publish().await.map_err(Refusal::from)?;
    if !core.stores.catalog.receive_upload(id, &blob.key).await.map_err(Refusal::from)? {
        unused(&core, &blob.key).await;
        return Err(received("the file has come by this link already, or its upload has ended").into());
    }
    Ok(StatusCode::NO_CONTENT)
}

/// `GET` and `HEAD /d/<image>`: the picture that the link was signed for, as long as whoever created it may see it.
pub(crate) async fn get(
    State(core): State<SharedCore>,
    Extension(sessions): Extension<Sessions>,
    request: Request,
) -> Result<Response, Problem> {
    let query = core.links.verify(&Method::GET, request.uri(), Timestamp::now()).await?;
    let image = ImageId(id(&request)?);
    let wanted = match (query.value("rendition")?, query.value("format")?) {
        (Some(rendition), _) => Wanted::Rendition(RenditionId(signed(rendition.parse())?)),
        (None, Some(format)) => Wanted::Of(image, signed(format.parse())?),
        (None, None) => Wanted::Original(image),
    };
    let user = UserId(signed(query.value("user")?.unwrap_or_default().parse())?);
    // Before the look, so that nothing falls between the two.
    let session = sessions.of(Holder::User(user));
    let user = core.stores.catalog.user(user).await.map_err(Refusal::from)?.filter(|user| !user.disabled);
    let caller = Caller::by_link(user.ok_or_else(|| Refusal::image_not_found(image))?, session.clone());
    let found = open(&core, &caller, wanted, false).await?;
    let (parts, _) = request.into_parts();
    let answer = picture::send(&core, &caller, found, &parts.method, &parts.headers).await?;
    Ok(session.bounds(Protocol::Rest, None, ready(answer)).await)
}

/// The answer to a browser that asks what a page of another origin may send here.
pub(crate) async fn preflight() -> StatusCode {
    StatusCode::NO_CONTENT
}

/// Lets pages of any origin use a link: it carries all the rights that it gives, and a browser adds none.
pub(crate) async fn any_origin(request: Request, next: Next) -> Response {
    let is_preflight = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await.into_response();
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    if is_preflight {
        headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, PUT"));
        headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("content-type, if-none-match, if-range, range"));
        headers.insert(ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    } else {
        let exposed = "accept-ranges, content-disposition, content-length, content-range, etag, retry-after";
        headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(exposed));
    }
    response
}

/// The file that a link is for, as it says itself under its signature.
struct Announced {
    size_bytes: u64,
    content_type: String,
    sha256: [u8; 32],
}

impl Announced {
    fn of(query: &Query) -> Result<Self, Refusal> {
        let text = |name| Ok::<_, Refusal>(query.value(name)?.unwrap_or_default());
        let sha256 = HEXLOWER.decode(text("sha256")?.as_bytes()).map(<[u8; 32]>::try_from);
        Ok(Self {
            size_bytes: signed(text("size")?.parse())?,
            content_type: text("type")?.to_owned(),
            sha256: signed(sha256.map_err(drop).and_then(|digest| digest.map_err(drop)))?,
        })
    }

    /// Refuses what cannot be the file before any of it is read.
    fn check_head(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let content_type = header(CONTENT_TYPE).unwrap_or_default();
        if content_type != self.content_type {
            let refusal = Refusal::field("content-type", format_args!("must be {:?}, not {content_type:?}", self.content_type));
            return Err(refusal.into());
        }
        match header(CONTENT_LENGTH).map(str::parse) {
            Some(Ok(length)) if length == self.size_bytes => Ok(()),
            Some(Ok(length)) => Err(size_mismatch(self.size_bytes, length).into()),
            _ => Err(Problem::new(StatusCode::LENGTH_REQUIRED, "the length of the file must be sent as Content-Length")),
        }
    }
}

fn received(message: &str) -> Refusal {
    Refusal::new(ErrorReason::UploadReceived, message)
}

/// What this service signed itself can be read; a link of a newer version of it perhaps not.
fn signed<T, E>(parsed: Result<T, E>) -> Result<T, Refusal> {
    parsed.map_err(|_| Refusal::new(ErrorReason::LinkInvalid, "the link says something that this version does not know"))
}

fn last(uri: &Uri) -> &str {
    uri.path().rsplit('/').next().unwrap_or_default()
}
