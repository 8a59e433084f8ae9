//! Errors as clients see them: [`Refusal`] inside, `google.rpc.Status` outside. The only place that builds a [`Status`].

use std::{collections::HashMap, error::Error, fmt, time::Duration};

use axum::http::HeaderMap;
use prost::Message as _;
use tintype_proto::v1::ErrorReason;
use tintype_store::{
    Access, Denied, Failure, Format, ImageId, Kind, LimitExceeded, RenditionId, StoreError, TokenId, UserId, header::HeaderError,
    random_hex,
};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt, pb};

use crate::limits::Limits;

/// Domain of every `ErrorInfo`.
const DOMAIN: &str = "tintype";
/// Metadata that becomes a `RequestInfo` too.
const REQUEST_ID: &str = "request_id";
/// When to ask again for a rendition that is being made.
const RETRY_PENDING: Duration = Duration::from_millis(500);
/// When to try again what is just coming with another request: that one may have broken off without a sign, and is given up only after a while.
const RETRY_ARRIVING: Duration = Duration::from_secs(5);
/// When to try again what an absent dependency or a drain refused.
const RETRY_UNAVAILABLE: Duration = Duration::from_secs(1);

/// Why a call, or one file of it, is refused. The code follows from the reason.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Parts>);

#[derive(Debug)]
struct Parts {
    reason: ErrorReason,
    message: String,
    field: Option<&'static str>,
    resource: Option<(&'static str, String)>,
    retry_after: Option<Duration>,
    metadata: Vec<(&'static str, String)>,
}

impl Refusal {
    pub(crate) fn new(reason: ErrorReason, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Parts { reason, message, field: None, resource: None, retry_after: None, metadata: Vec::new() }))
    }

    /// A field of the request has a value that is not allowed. The message begins with the field's name.
    pub(crate) fn field(field: &'static str, problem: impl fmt::Display) -> Self {
        let mut refusal = Self::new(ErrorReason::InvalidField, format!("{field} {problem}"));
        refusal.0.field = Some(field);
        refusal
    }

    pub(crate) fn image_not_found(id: ImageId) -> Self {
        Self::new(ErrorReason::ImageNotFound, format!("image {id} was not found")).about("tintype.v1.Image", id.to_string())
    }

    /// The caller may see the image, but needs that access to it.
    pub(crate) fn not_permitted(id: ImageId, needed: Access) -> Self {
        let who = if needed == Access::Owner { "the owner" } else { "the owner and editors" };
        let message = format!("only {who} of image {id} may do this");
        Self::new(ErrorReason::NotPermitted, message).with("needed_access", needed.name().to_ascii_uppercase())
    }

    /// An edit that the catalog did not do for the caller.
    pub(crate) fn denied(id: ImageId, denied: Denied) -> Self {
        match denied {
            Denied::Missing => Self::image_not_found(id),
            Denied::NotPermitted => Self::not_permitted(id, Access::Editor),
        }
    }

    pub(crate) fn too_many_shares(id: ImageId) -> Self {
        let (limit, seen) = (Limits::MAX_SHARES_PER_IMAGE, Limits::MAX_SHARES_PER_IMAGE + 1);
        let message = format!("image {id} would have {seen} shares, more than the limit of {limit} (max_shares_per_image)");
        Self::new(ErrorReason::LimitExceeded, message).with("limit", "max_shares_per_image").with("value", limit).with("seen", seen)
    }

    pub(crate) fn rendition_not_found(id: RenditionId) -> Self {
        let message = format!("rendition {id} was not found");
        Self::new(ErrorReason::RenditionNotFound, message).about("tintype.v1.Rendition", id.to_string())
    }

    /// The image is there, but this format of it was never asked for.
    pub(crate) fn no_such_rendition(image: ImageId, format: Format) -> Self {
        let message = format!("image {image} has no {format} rendition");
        Self::new(ErrorReason::RenditionNotFound, message).about("tintype.v1.Rendition", format!("{image}/{format}"))
    }

    pub(crate) fn upload_not_found(upload_id: &str) -> Self {
        Self::new(ErrorReason::UploadNotFound, format!("upload {upload_id:?} was not found"))
            .about("tintype.v1.Upload", upload_id.to_owned())
    }

    /// Another request brings the same file; whether it ever ends is not known.
    pub(crate) fn upload_arriving(upload_id: &str) -> Self {
        let message = format!("the file of upload {upload_id:?} is just coming with another request");
        Self::new(ErrorReason::UploadArriving, message).retry_after(RETRY_ARRIVING)
    }

    pub(crate) fn upload_taken_over(upload_id: &str) -> Self {
        Self::new(ErrorReason::UploadTakenOver, format!("another stream goes on with upload {upload_id:?}, or it was given up"))
    }

    pub(crate) fn user_not_found(id: UserId) -> Self {
        Self::new(ErrorReason::UserNotFound, format!("user {id} was not found")).about("tintype.v1.User", id.to_string())
    }

    pub(crate) fn token_not_found(id: TokenId) -> Self {
        Self::new(ErrorReason::TokenNotFound, format!("token {id} was not found")).about("tintype.v1.TokenInfo", id.to_string())
    }

    pub(crate) fn username_taken(name: &str) -> Self {
        Self::new(ErrorReason::UsernameTaken, format!("there is a user named {name} already")).about("tintype.v1.User", name.to_owned())
    }

    pub(crate) fn last_admin(id: UserId) -> Self {
        Self::new(ErrorReason::LastAdmin, format!("user {id} is the last administrator"))
    }

    pub(crate) fn quota_exceeded(user: UserId, quota_bytes: u64, seen_bytes: u64) -> Self {
        let message = format!("user {user} would store {seen_bytes} bytes, more than the quota of {quota_bytes}");
        Self::new(ErrorReason::QuotaExceeded, message).with("limit", "quota_bytes").with("value", quota_bytes).with("seen", seen_bytes)
    }

    /// There is no room for anything more.
    pub(crate) fn quota_used_up(user: UserId, quota_bytes: u64, used_bytes: u64) -> Self {
        let message = format!("user {user} stores {used_bytes} bytes, which uses up the quota of {quota_bytes}");
        Self::new(ErrorReason::QuotaExceeded, message).with("limit", "quota_bytes").with("value", quota_bytes).with("seen", used_bytes)
    }

    /// What is stored is not looked through under the names of another catalog.
    pub(crate) fn store_mismatch(cause: &StoreError) -> Self {
        tracing::warn!(error = %Chain(cause), "a check is refused");
        Self::new(ErrorReason::StoreMismatch, "the blob store is not the one of the catalog")
    }

    pub(crate) fn rendition_pending(image: ImageId, format: Format) -> Self {
        let message = format!("the {format} rendition of image {image} is not ready yet");
        Self::new(ErrorReason::RenditionPending, message).retry_after(RETRY_PENDING)
    }

    pub(crate) fn rendition_failed(image: ImageId, format: Format, failure: &Failure) -> Self {
        let cause = failure.reason.name();
        let message = format!("the {format} rendition of image {image} failed: {cause}: {}", failure.message);
        Self::new(ErrorReason::RenditionFailed, message).with("cause", cause)
    }

    pub(crate) fn token_invalid() -> Self {
        Self::new(ErrorReason::TokenInvalid, "the token is not valid; sign in again")
    }

    /// Everybody together asks for more than there is room for now.
    pub(crate) fn busy(what: &str, limit: &'static str, value: usize) -> Self {
        Self::no_room(ErrorReason::TooManyRequests, what, limit, value)
    }

    pub(crate) fn draining() -> Self {
        Self::new(ErrorReason::Draining, "the server is draining").retry_after(RETRY_UNAVAILABLE)
    }

    /// The time that the caller gave the call is over.
    pub(crate) fn deadline_passed(timeout: Duration) -> Self {
        Self::new(ErrorReason::DeadlinePassed, format!("the call did not end within {timeout:?}"))
    }

    /// The catalog does not answer at all.
    pub(crate) fn catalog_away() -> Self {
        Self::new(ErrorReason::StoreUnavailable, "the store is not reachable").retry_after(RETRY_UNAVAILABLE)
    }

    /// This server does as much as it can.
    pub(crate) fn overloaded(limit: &'static str, value: usize) -> Self {
        Self::no_room(ErrorReason::Overloaded, "calls", limit, value)
    }

    fn no_room(reason: ErrorReason, what: &str, limit: &'static str, value: usize) -> Self {
        let seen = value + 1;
        let message = format!("{seen} {what} at once are more than the limit of {value} ({limit})");
        Self::new(reason, message).with("limit", limit).with("value", value).with("seen", seen).retry_after(RETRY_UNAVAILABLE)
    }

    /// What an answer of the transport should have been, which knows no reasons: to a message that is larger than it may be.
    pub(crate) fn of_answer(headers: &HeaderMap) -> Option<Self> {
        Some(too_large_message(&Status::from_header_map(headers)?)?.into())
    }

    /// A defect of ours: the log gets the cause, the client an id to find it by.
    pub(crate) fn internal(cause: &dyn Error) -> Self {
        let request_id = random_hex();
        tracing::error!(request.id = %request_id, error = %Chain(cause), "internal error");
        Self::new(ErrorReason::Internal, "internal error").with(REQUEST_ID, request_id)
    }

    pub(crate) fn reason(&self) -> ErrorReason {
        self.0.reason
    }

    /// Whether what was sent can never become an image, so that nothing of it is kept for later.
    pub(crate) fn is_final(&self) -> bool {
        match self.0.reason {
            ErrorReason::ChunkDigestMismatch => false,
            ErrorReason::QuotaExceeded => true,
            reason => matches!(code(reason), Code::InvalidArgument | Code::NotFound | Code::Unauthenticated),
        }
    }

    /// Adds metadata to the `ErrorInfo`.
    #[must_use]
    pub(crate) fn with(mut self, key: &'static str, value: impl fmt::Display) -> Self {
        self.0.metadata.push((key, format!("{value}")));
        self
    }

    /// Adds `RetryInfo`.
    #[must_use]
    pub(crate) fn retry_after(mut self, delay: Duration) -> Self {
        self.0.retry_after = Some(delay);
        self
    }

    fn about(mut self, kind: &'static str, name: String) -> Self {
        self.0.resource = Some((kind, name));
        self
    }

    /// The reason's name, without the prefix of the enum.
    pub(crate) fn reason_name(&self) -> &'static str {
        self.0.reason.as_str_name().trim_start_matches("ERROR_REASON_")
    }

    /// The same as a message for the `failed` of an upload.
    pub(crate) fn into_proto(self) -> pb::Status {
        proto_status(&self.into())
    }
}

/// A status built here, as a message.
pub(crate) fn proto_status(status: &Status) -> pb::Status {
    // The details of a status are the same message, encoded.
    pb::Status::decode(status.details()).expect("what was encoded here can be decoded")
}

/// What a caller is told who calls a method that does not exist.
pub(crate) fn no_such_method() -> Status {
    Status::new(Code::Unimplemented, "no such method")
}

/// Which limit a message exceeded, if that is what the transport says: a status without details, whose text has two numbers.
pub(crate) fn too_large_message(status: &Status) -> Option<LimitExceeded> {
    if status.code() != Code::OutOfRange || !status.details().is_empty() {
        return None;
    }
    let mut numbers = status.message().split(|letter: char| !letter.is_ascii_digit()).filter_map(|digits| digits.parse().ok());
    let (seen, value) = (numbers.next()?, numbers.next()?);
    Some(LimitExceeded { what: "size of the message in bytes", limit: "max_message_bytes", value, seen })
}

/// The one table from reason to code.
fn code(reason: ErrorReason) -> Code {
    use ErrorReason as R;
    match reason {
        R::InvalidField
        | R::NotAnImage
        | R::CorruptImage
        | R::UnsupportedFormat
        | R::LimitExceeded
        | R::DigestMismatch
        | R::ChunkDigestMismatch
        | R::SizeMismatch
        | R::UploadOutOfOrder => Code::InvalidArgument,
        R::TokenMissing | R::TokenInvalid | R::SignInFailed => Code::Unauthenticated,
        R::ImageNotFound | R::RenditionNotFound | R::UserNotFound | R::TokenNotFound | R::UploadNotFound => Code::NotFound,
        R::NotPermitted | R::LinkInvalid | R::LinkExpired => Code::PermissionDenied,
        R::UsernameTaken => Code::AlreadyExists,
        R::RenditionPending
        | R::RenditionFailed
        | R::RenditionNotFailed
        | R::LastAdmin
        | R::StoreMismatch
        | R::UploadNotReceived
        | R::UploadReceived => Code::FailedPrecondition,
        R::OffsetPastEnd | R::ResumeTokenTooOld | R::UploadGap => Code::OutOfRange,
        R::StoreFull | R::TooManyRequests | R::QuotaExceeded | R::RateLimited | R::SignInThrottled => Code::ResourceExhausted,
        R::ChangedMeanwhile | R::UploadTakenOver => Code::Aborted,
        R::StreamIdle | R::WaitTooLong | R::DeadlinePassed | R::StreamTooSlow => Code::DeadlineExceeded,
        R::StoreUnavailable | R::Draining | R::Overloaded | R::UploadArriving => Code::Unavailable,
        R::StoredBytesCorrupt => Code::DataLoss,
        R::Internal | R::Unspecified => Code::Internal,
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        let reason = refusal.reason_name();
        let Refusal(refusal) = refusal;
        let mut details = ErrorDetails::new();
        if refusal.reason == ErrorReason::Internal {
            let request_id = refusal.metadata.iter().find(|(key, _)| *key == REQUEST_ID).map_or("", |(_, id)| id);
            details.set_request_info(request_id, "");
        }
        let metadata: HashMap<_, _> = refusal.metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        details.set_error_info(reason, DOMAIN, metadata);
        if let Some(field) = refusal.field {
            details.add_bad_request_violation(field, &refusal.message);
        }
        if let Some((kind, name)) = refusal.resource {
            details.set_resource_info(kind, name, "", &refusal.message);
        }
        if let Some(delay) = refusal.retry_after {
            details.set_retry_info(Some(delay));
        }
        if code(refusal.reason) == Code::ResourceExhausted {
            details.add_quota_failure_violation("", &refusal.message);
        }
        Self::with_error_details(code(refusal.reason), refusal.message, details)
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let (reason, message) = match error.kind() {
            Kind::Unavailable => (ErrorReason::StoreUnavailable, "the store is not reachable"),
            Kind::Full => (ErrorReason::StoreFull, "the store is full"),
            Kind::Conflict => (ErrorReason::ChangedMeanwhile, "it changed meanwhile"),
            Kind::Corrupt => (ErrorReason::StoredBytesCorrupt, "the stored bytes are missing or damaged"),
            Kind::AlreadyExists | Kind::Misconfigured | Kind::Internal => return Self::internal(&error),
        };
        tracing::warn!(error = %Chain(&error), "{message}");
        let refusal = Self::new(reason, message);
        if reason == ErrorReason::StoreUnavailable { refusal.retry_after(RETRY_UNAVAILABLE) } else { refusal }
    }
}

impl From<LimitExceeded> for Refusal {
    fn from(exceeded: LimitExceeded) -> Self {
        Self::new(ErrorReason::LimitExceeded, exceeded.to_string())
            .with("limit", exceeded.limit)
            .with("value", exceeded.value)
            .with("seen", exceeded.seen)
    }
}

impl From<HeaderError> for Refusal {
    fn from(error: HeaderError) -> Self {
        let reason = match error {
            HeaderError::NotAnImage { .. } => ErrorReason::NotAnImage,
            HeaderError::Corrupt { .. } => ErrorReason::CorruptImage,
            HeaderError::Unsupported { .. } => ErrorReason::UnsupportedFormat,
        };
        Self::new(reason, error.to_string())
    }
}

/// An error with all its causes on one line, for the log.
pub(crate) struct Chain<'a>(pub(crate) &'a dyn Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_carries_reason_limit_and_what_was_seen() {
        let exceeded = LimitExceeded { what: "width in pixels", limit: "max_side_pixels", value: 16_383, seen: 3_000_000 };
        let status = Status::from(Refusal::from(exceeded));
        let details = status.get_error_details();
        let info = details.error_info().expect("error info");
        assert_eq!(status.code(), Code::InvalidArgument);
        assert_eq!((info.reason.as_str(), info.domain.as_str()), ("LIMIT_EXCEEDED", "tintype"));
        assert_eq!(info.metadata["limit"], "max_side_pixels");
        assert_eq!(info.metadata["value"], "16383");
        assert_eq!(info.metadata["seen"], "3000000");
    }

    #[test]
    fn only_what_the_transport_says_of_a_large_message_is_told_anew() {
        let refusal = |status: Status| Refusal::of_answer(status.into_http::<()>().headers()).map(Status::from);
        let large = refusal(Status::out_of_range("found 70000 bytes, the limit is: 4096 bytes")).expect("it is told anew");
        let details = large.get_error_details();
        let info = details.error_info().expect("error info");
        assert_eq!(
            (large.code(), info.reason.as_str(), info.metadata["limit"].as_str()),
            (Code::InvalidArgument, "LIMIT_EXCEEDED", "max_message_bytes")
        );
        assert_eq!((info.metadata["value"].as_str(), info.metadata["seen"].as_str()), ("4096", "70000"));
        let own = Refusal::new(ErrorReason::OffsetPastEnd, "offset 900 is past the end of the 803 bytes");
        assert!(refusal(own.into()).is_none() && refusal(Status::internal("70000 of 4096")).is_none());
        assert!(Refusal::of_answer(&HeaderMap::new()).is_none());
    }

    #[test]
    fn the_failed_of_an_upload_keeps_every_detail() {
        let proto = Refusal::field("file_name", "must not be empty").into_proto();
        assert_eq!(proto.code, Code::InvalidArgument as i32);
        assert_eq!(proto.details.len(), 2, "{:?}", proto.details);
    }
}
