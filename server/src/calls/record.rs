use std::time::Instant;

use axum::{http::HeaderMap, response::Response};
use metrics::{counter, gauge, histogram};
use tonic::{Code, Status};

use crate::{
    auth::{Protocol, method_name},
    http::code_name,
};

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
    pub(super) fn refused(mut self, status: Status, protocol: Protocol) -> Response {
        self.ends(status.code());
        protocol.refused(status)
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
