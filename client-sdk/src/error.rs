//! The one error type of the crate.

use std::{collections::HashMap, error::Error as StdError, fmt, io, sync::Arc, time::Duration};

use tintype_proto::v1::ErrorReason;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, RpcStatusExt as _, StatusExt as _, pb};

/// What came of a call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call did not succeed.
///
/// Cheap to clone. Decide on [`kind`](Error::kind), [`code`](Error::code) and [`reason`](Error::reason); the text is for people.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

/// Who is to look at an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The server said no: `code`, `reason` and the other details tell why.
    Refused,
    /// The server could not be reached, or the connection broke.
    Unreachable,
    /// A file or another source of bytes on this side could not be read or written.
    Local,
    /// The bytes that arrived are not the ones that were announced, or the picture was replaced between two parts of a download.
    Damaged,
    /// The server's answer lacks something that it always has: the two sides are of different versions, or a proxy meddles.
    BadAnswer,
    /// A setting given to this crate means nothing: a URL that is no URL, say.
    BadSetting,
}

/// One field of a request that the server did not accept.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct FieldViolation {
    /// Path of the field in the request.
    pub field: String,
    /// What is wrong with its value.
    pub description: String,
}

enum Inner {
    Refused { code: Code, message: String, details: Box<ErrorDetails> },
    Unreachable(Status),
    Local { context: String, source: io::Error },
    Damaged(String),
    BadAnswer(String),
    BadSetting { message: String, source: Option<Box<dyn StdError + Send + Sync>> },
}

impl Error {
    /// Who is to look at it.
    pub fn kind(&self) -> ErrorKind {
        match &*self.0 {
            Inner::Refused { .. } => ErrorKind::Refused,
            Inner::Unreachable(_) => ErrorKind::Unreachable,
            Inner::Local { .. } => ErrorKind::Local,
            Inner::Damaged(_) => ErrorKind::Damaged,
            Inner::BadAnswer(_) => ErrorKind::BadAnswer,
            Inner::BadSetting { .. } => ErrorKind::BadSetting,
        }
    }

    /// The gRPC code: what the server sent, `UNAVAILABLE` when it could not be reached, `None` when the error arose on this side.
    pub fn code(&self) -> Option<Code> {
        match &*self.0 {
            Inner::Refused { code, .. } => Some(*code),
            Inner::Unreachable(_) => Some(Code::Unavailable),
            _ => None,
        }
    }

    /// The reason that the server gave, if this crate knows it.
    pub fn reason(&self) -> Option<ErrorReason> {
        ErrorReason::from_str_name(&format!("ERROR_REASON_{}", self.reason_name()?))
    }

    /// The reason as the server spelled it, also one that is newer than this crate.
    pub fn reason_name(&self) -> Option<&str> {
        self.details()?.error_info().map(|info| info.reason.as_str())
    }

    /// One sentence for people.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// The fields that the server did not accept; empty for every other error.
    pub fn violations(&self) -> Vec<FieldViolation> {
        let violations = self.details().and_then(ErrorDetails::bad_request).map(|request| &request.field_violations);
        violations
            .into_iter()
            .flatten()
            .map(|violation| FieldViolation { field: violation.field.clone(), description: violation.description.clone() })
            .collect()
    }

    /// What the server added to the reason, by name: `limit`, `value` and `seen` of a limit that was exceeded, for instance.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.details()?.error_info()?.metadata.get(name).map(String::as_str)
    }

    /// All of what [`metadata`](Error::metadata) looks up.
    pub fn all_metadata(&self) -> Option<&HashMap<String, String>> {
        Some(&self.details()?.error_info()?.metadata)
    }

    /// How long the server asks to be left alone before the same call is made again.
    pub fn retry_after(&self) -> Option<Duration> {
        self.details()?.retry_info()?.retry_delay
    }

    /// Whether the same call may well succeed a little later: nobody answered, the server is away, or it asked for patience.
    ///
    /// A rendition that is still pending does not count: waiting for it is the caller's choice.
    pub fn is_retryable(&self) -> bool {
        match &*self.0 {
            Inner::Unreachable(_) | Inner::Refused { code: Code::Unavailable, .. } => true,
            Inner::Refused { code: Code::ResourceExhausted, .. } => self.retry_after().is_some(),
            _ => false,
        }
    }

    /// Whether `reason` is why the server refused.
    pub fn is(&self, reason: ErrorReason) -> bool {
        self.reason() == Some(reason)
    }

    /// Whether the call may have been carried out all the same: its answer was lost on the way, or on the server's way to its store.
    pub(crate) fn leaves_open(&self) -> bool {
        // Before anything of a call is done it is refused so.
        let is_untouched = self.is(ErrorReason::Overloaded);
        self.code() == Some(Code::Unavailable) && !is_untouched
    }

    fn details(&self) -> Option<&ErrorDetails> {
        match &*self.0 {
            Inner::Refused { details, .. } => Some(details),
            _ => None,
        }
    }

    pub(crate) fn from_rpc_status(status: &pb::Status) -> Error {
        let details = Box::new(status.get_error_details());
        Error(Arc::new(Inner::Refused { code: Code::from(status.code), message: status.message.clone(), details }))
    }

    /// Said by a server that does not speak gRPC.
    pub(crate) fn refused(code: Code, message: impl Into<String>, retry_after: Option<Duration>) -> Error {
        let mut details = ErrorDetails::new();
        if retry_after.is_some() {
            details.set_retry_info(retry_after);
        }
        Error(Arc::new(Inner::Refused { code, message: message.into(), details: Box::new(details) }))
    }

    pub(crate) fn local(context: impl Into<String>, source: io::Error) -> Error {
        Error(Arc::new(Inner::Local { context: context.into(), source }))
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Error {
        Error(Arc::new(Inner::Damaged(message.into())))
    }

    pub(crate) fn bad_answer(message: impl Into<String>) -> Error {
        Error(Arc::new(Inner::BadAnswer(message.into())))
    }

    pub(crate) fn bad_setting(message: impl Into<String>) -> Error {
        Error(Arc::new(Inner::BadSetting { message: message.into(), source: None }))
    }

    pub(crate) fn bad_setting_from(message: impl Into<String>, source: impl StdError + Send + Sync + 'static) -> Error {
        Error(Arc::new(Inner::BadSetting { message: message.into(), source: Some(Box::new(source)) }))
    }
}

impl From<Status> for Error {
    fn from(status: Status) -> Error {
        // What a server sends has no source: a status with one was made by the transport on this side.
        if status.source().is_some() {
            return Error(Arc::new(Inner::Unreachable(status)));
        }
        let details = Box::new(status.get_error_details());
        Error(Arc::new(Inner::Refused { code: status.code(), message: status.message().to_owned(), details }))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Inner::Refused { code, message, .. } if message.is_empty() => write!(f, "{}", code.description()),
            Inner::Refused { message, .. } | Inner::Damaged(message) | Inner::BadAnswer(message) => f.write_str(message),
            Inner::BadSetting { message, .. } => f.write_str(message),
            Inner::Unreachable(_) => f.write_str("the server cannot be reached"),
            Inner::Local { context, .. } => f.write_str(context),
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Error");
        debug.field("kind", &self.kind()).field("message", &self.to_string());
        if let Some(code) = self.code() {
            debug.field("code", &code);
        }
        if let Some(reason) = self.reason_name() {
            debug.field("reason", &reason);
        }
        if let Some(source) = self.source() {
            debug.field("source", &source);
        }
        debug.finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match &*self.0 {
            Inner::Unreachable(status) => status.source(),
            Inner::Local { source, .. } => Some(source),
            Inner::BadSetting { source, .. } => source.as_ref().map(|source| &**source as &(dyn StdError + 'static)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: Code, details: ErrorDetails) -> Error {
        Error::from(Status::with_error_details(code, "no", details))
    }

    #[test]
    fn details_of_a_refusal_are_kept() {
        let mut details = ErrorDetails::with_error_info("LIMIT_EXCEEDED", "tintype", [("limit".to_owned(), "max_file_bytes".to_owned())]);
        details.add_bad_request_violation("start.size_bytes", "is too large").set_retry_info(Some(Duration::from_secs(3)));
        let error = refused(Code::InvalidArgument, details);

        assert_eq!((error.kind(), error.code()), (ErrorKind::Refused, Some(Code::InvalidArgument)));
        assert!(error.is(ErrorReason::LimitExceeded));
        assert_eq!(error.metadata("limit"), Some("max_file_bytes"));
        assert_eq!(error.violations(), [FieldViolation { field: "start.size_bytes".into(), description: "is too large".into() }]);
        assert_eq!(error.retry_after(), Some(Duration::from_secs(3)));
        assert!(!error.is_retryable());
    }

    #[test]
    fn a_reason_newer_than_this_crate_is_still_readable() {
        let error = refused(Code::Internal, ErrorDetails::with_error_info("MOON_IN_THE_WAY", "tintype", HashMap::new()));
        assert_eq!((error.reason(), error.reason_name()), (None, Some("MOON_IN_THE_WAY")));
    }

    #[test]
    fn only_patience_makes_a_full_quota_retryable() {
        assert!(!refused(Code::ResourceExhausted, ErrorDetails::new()).is_retryable());
        assert!(refused(Code::ResourceExhausted, ErrorDetails::with_retry_info(Some(Duration::ZERO))).is_retryable());
        assert!(refused(Code::Unavailable, ErrorDetails::new()).is_retryable());
        assert!(!refused(Code::FailedPrecondition, ErrorDetails::with_retry_info(Some(Duration::ZERO))).is_retryable());
    }

    #[test]
    fn what_was_refused_before_anything_was_done_leaves_nothing_open() {
        let reason = |reason: &str| ErrorDetails::with_error_info(reason, "tintype", HashMap::new());
        assert!(Error::from(Status::from_error(Box::new(io::Error::from(io::ErrorKind::BrokenPipe)))).leaves_open());
        assert!(refused(Code::Unavailable, reason("STORE_UNAVAILABLE")).leaves_open());
        assert!(refused(Code::Unavailable, ErrorDetails::new()).leaves_open(), "as a proxy says it");
        assert!(!refused(Code::Unavailable, reason("OVERLOADED")).leaves_open());
        assert!(!refused(Code::NotFound, reason("IMAGE_NOT_FOUND")).leaves_open());
    }

    #[test]
    fn a_broken_connection_is_not_a_refusal() {
        let error = Error::from(Status::from_error(Box::new(io::Error::from(io::ErrorKind::BrokenPipe))));
        assert_eq!((error.kind(), error.code()), (ErrorKind::Unreachable, Some(Code::Unavailable)));
        assert!(error.is_retryable() && error.source().is_some());
    }
}
