use std::time::Duration;

use axum::{
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::status::Refusal;

/// Why a request of plain HTTP is refused: `application/problem+json` (RFC 9457) with code, reason, message and metadata of the gRPC status.
#[derive(Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    members: Map<String, Value>,
    retry_after: Option<Duration>,
}

impl Problem {
    /// What only HTTP has a name for.
    pub(crate) fn new(status: StatusCode, detail: &str) -> Self {
        let mut members = Map::new();
        members.insert("title".to_owned(), status.canonical_reason().unwrap_or_default().into());
        members.insert("status".to_owned(), status.as_u16().into());
        members.insert("detail".to_owned(), detail.into());
        Self { status, members, retry_after: None }
    }

    /// Adds a member to the body.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.members.insert(name.to_owned(), value.into());
        self
    }

    /// The body.
    pub(crate) fn to_json(&self) -> Value {
        Value::Object(self.members.clone())
    }
}

/// The one table from the code and reason of a status to HTTP; `docs/http.md` shows it.
fn http_status(code: Code, reason: &str) -> StatusCode {
    match (code, reason) {
        (_, "LIMIT_EXCEEDED") => StatusCode::PAYLOAD_TOO_LARGE,
        (_, "RENDITION_FAILED") => StatusCode::UNPROCESSABLE_ENTITY,
        (_, "STORE_FULL" | "QUOTA_EXCEEDED") => StatusCode::INSUFFICIENT_STORAGE,
        (_, "STREAM_IDLE" | "STREAM_TOO_SLOW") => StatusCode::REQUEST_TIMEOUT,
        (Code::InvalidArgument, _) => StatusCode::BAD_REQUEST,
        (Code::Unauthenticated, _) => StatusCode::UNAUTHORIZED,
        (Code::PermissionDenied, _) => StatusCode::FORBIDDEN,
        (Code::NotFound | Code::Unimplemented, _) => StatusCode::NOT_FOUND,
        (Code::AlreadyExists | Code::FailedPrecondition | Code::Aborted, _) => StatusCode::CONFLICT,
        (Code::OutOfRange, _) => StatusCode::RANGE_NOT_SATISFIABLE,
        (Code::ResourceExhausted, _) => StatusCode::TOO_MANY_REQUESTS,
        (Code::DeadlineExceeded, _) => StatusCode::GATEWAY_TIMEOUT,
        (Code::Unavailable, _) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The code as gRPC writes it: `NOT_FOUND`.
pub(crate) fn code_name(code: Code) -> String {
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

impl From<Status> for Problem {
    fn from(status: Status) -> Self {
        let details = status.get_error_details();
        let info = details.error_info();
        let reason = info.map_or("", |info| info.reason.as_str());
        let mut problem = Self::new(http_status(status.code(), reason), status.message()).with("code", code_name(status.code()));
        if let Some(info) = info {
            problem = problem.with("reason", reason).with("metadata", json!(info.metadata));
        }
        if let Some(violation) = details.bad_request().and_then(|request| request.field_violations.first()) {
            problem = problem.with("field", violation.field.as_str());
        }
        problem.retry_after = details.retry_info().and_then(|retry| retry.retry_delay);
        problem
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Status::from(refusal).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.to_json().to_string()).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some(delay) = self.retry_after {
            // Whole seconds is all that the header can say; too late is better than too soon.
            headers.insert(RETRY_AFTER, (delay.as_millis().div_ceil(1000).max(1) as u64).into());
        }
        if self.status == StatusCode::UNAUTHORIZED {
            // RFC 6750, section 3.1: no error code for a request that carries no token.
            let invalid = self.members.get("reason").is_some_and(|reason| reason == "TOKEN_INVALID");
            let challenge = if invalid { r#"Bearer realm="tintype", error="invalid_token""# } else { r#"Bearer realm="tintype""# };
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use tintype_proto::v1::ErrorReason;
    use tintype_store::{Format, ImageId};

    use super::*;

    #[test]
    fn a_problem_says_what_the_status_says() {
        let refusal = || Refusal::rendition_pending(ImageId(40), Format::Jpeg).with("limit", 7);
        let (status, problem) = (Status::from(refusal()), Problem::from(refusal()));
        assert_eq!(problem.members["detail"], status.message());
        assert_eq!(problem.members["code"], "FAILED_PRECONDITION");
        assert_eq!(problem.members["reason"], "RENDITION_PENDING");
        assert_eq!(problem.members["metadata"]["limit"], "7");
        let response = problem.into_response();
        assert_eq!((response.status().as_u16(), &response.headers()["retry-after"]), (409, &HeaderValue::from_static("1")));
    }

    #[test]
    fn the_documented_table_is_the_table_in_force() {
        let documented = include_str!("../../../docs/http.md");
        for number in 1..200 {
            let Ok(reason) = ErrorReason::try_from(number) else { continue };
            let status = Status::from(Refusal::new(reason, "x"));
            let (name, code) = (reason.as_str_name().trim_start_matches("ERROR_REASON_"), code_name(status.code()));
            let http = http_status(status.code(), name).as_u16();
            // A reason has a line of its own, or its code has one.
            let line = |first: &str| documented.lines().find(|line| line.starts_with("| ") && line.contains(&format!("`{first}`")));
            let found = line(name).or_else(|| line(&code)).unwrap_or_else(|| panic!("neither {name} nor {code} is in the table"));
            assert!(found.contains(&format!("| {http} |")), "{name} is {http}, documented is {found}");
        }
    }
}
