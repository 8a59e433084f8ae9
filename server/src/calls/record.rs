use std::time::Instant;

use axum::{http::HeaderMap, response::Response};
use metrics::{counter, gauge, histogram};
use tonic::{Code, Status};

use super::refused;
use crate::auth::method_name;

const STATUS: &str = "grpc-status";

/// What the metrics learn of a call, once it is over.
#[derive(Debug)]
pub(super) struct Record {
    method: &'static str,
    begin: Instant,
    sent_bytes: u64,
    /// `None`: the client went before it was answered to the end.
    code: Option<Code>,
}

impl Record {
    pub(super) fn begin(path: &str) -> Self {
        let method = method_name(path);
        gauge!("tintype_calls_open", "method" => method).increment(1);
        Self { method, begin: Instant::now(), sent_bytes: 0, code: None }
    }

    /// The answer to a call that is not served.
    pub(super) fn refused(mut self, status: Status, is_grpc: bool) -> Response {
        self.ends(status.code());
        refused(status, is_grpc)
    }

    /// The head of the answer is there. It tells the status if there is nothing more to come, or if it is none of gRPC's.
    pub(super) fn begins(&mut self, response: &Response) {
        self.ends_with(response.headers());
        if self.method == "http" {
            self.ends(if response.status().is_server_error() { Code::Unavailable } else { Code::Ok });
        }
    }

    pub(super) fn received(&self, bytes: u64) {
        counter!("tintype_received_bytes_total", "method" => self.method).increment(bytes);
    }

    pub(super) fn sent(&mut self, bytes: usize) {
        self.sent_bytes += bytes as u64;
    }

    pub(super) fn ends_with(&mut self, headers: &HeaderMap) {
        if let Some(status) = headers.get(STATUS) {
            self.ends(Code::from_bytes(status.as_bytes()));
        }
    }

    pub(super) fn ends(&mut self, code: Code) {
        self.code = Some(code);
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        let code = code_name(self.code.unwrap_or(Code::Cancelled));
        gauge!("tintype_calls_open", "method" => self.method).decrement(1);
        counter!("tintype_calls_total", "method" => self.method, "code" => code).increment(1);
        counter!("tintype_sent_bytes_total", "method" => self.method).increment(self.sent_bytes);
        histogram!("tintype_call_seconds", "method" => self.method).record(self.begin.elapsed());
    }
}

/// As gRPC writes it.
fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}
