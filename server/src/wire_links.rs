//! Between protobuf and the domain, for signed links.

use std::time::Duration;

use prost_types::Duration as ProtoDuration;
use tintype_proto::v1::{CreateUploadUrlRequest, HttpHeader};
use tintype_store::{AnnouncedFile, Timestamp};

use crate::{limits::Limits, status::Refusal, wire, wire_edits};

/// What is sent where no other type is said.
const UNKNOWN_TYPE: &str = "application/octet-stream";

/// A file that is to come by a link.
#[derive(Debug)]
pub(crate) struct NewUpload {
    pub(crate) file: AnnouncedFile,
    pub(crate) request_id: Option<String>,
    pub(crate) ttl: Duration,
}

pub(crate) fn new_upload(request: CreateUploadUrlRequest) -> Result<NewUpload, Refusal> {
    let size_bytes = match wire::size("size_bytes", request.size_bytes)? {
        0 => return Err(Refusal::field("size_bytes", "must be 1 or more, not 0")),
        size_bytes => size_bytes,
    };
    let sha256 = wire::sha256("sha256", &request.sha256)?.ok_or_else(|| Refusal::field("sha256", "must be said"))?;
    let file = AnnouncedFile {
        file_name: wire::file_name("file_name", &request.file_name)?,
        labels: wire_edits::labels("labels", request.labels)?,
        content_type: content_type("content_type", request.content_type)?,
        size_bytes,
        sha256,
    };
    let request_id = wire::request_id("request_id", request.request_id)?;
    Ok(NewUpload { file, request_id, ttl: ttl("ttl", request.ttl, Limits::MAX_UPLOAD_LINK_TTL)? })
}

/// How long a link is good.
pub(crate) fn ttl(field: &'static str, value: Option<ProtoDuration>, max: Duration) -> Result<Duration, Refusal> {
    value.map_or(Ok(Limits::DEFAULT_LINK_TTL), |value| wire::duration(field, value, max))
}

/// The whole second in which something ends that is good for so long: all that a URL tells.
pub(crate) fn end(now: Timestamp, ttl: Duration) -> Timestamp {
    Timestamp((now.plus(ttl).0 + 999_999).div_euclid(1_000_000) * 1_000_000)
}

pub(crate) fn proto_header((name, value): (String, String)) -> HttpHeader {
    HttpHeader { name, value }
}

/// A text that can be a header as it is.
fn content_type(field: &'static str, value: String) -> Result<String, Refusal> {
    if value.is_empty() {
        return Ok(UNKNOWN_TYPE.to_owned());
    }
    let value = wire::text(field, value, Limits::MAX_CONTENT_TYPE_BYTES)?;
    if value.trim() == value && value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
        Ok(value)
    } else {
        Err(Refusal::field(field, "must be printable ASCII without spaces around it"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> CreateUploadUrlRequest {
        CreateUploadUrlRequest {
            file_name: "a.png".to_owned(),
            size_bytes: 7,
            sha256: vec![1; 32].into(),
            ..CreateUploadUrlRequest::default()
        }
    }

    #[test]
    fn an_upload_is_announced_with_size_digest_and_a_type_that_can_be_a_header() {
        let new = new_upload(request()).expect("all that is needed");
        assert_eq!((new.file.content_type.as_str(), new.ttl, new.request_id), (UNKNOWN_TYPE, Duration::from_mins(15), None));
        let typed = |text: &str| new_upload(CreateUploadUrlRequest { content_type: text.to_owned(), ..request() });
        assert_eq!(typed("image/svg+xml; charset=utf-8").expect("a type").file.content_type, "image/svg+xml; charset=utf-8");
        for bad in ["image/png\r\nx: y", " image/png", "bild/grüße", &"x".repeat(256)] {
            assert!(typed(bad).is_err(), "{bad}");
        }
        assert!(new_upload(CreateUploadUrlRequest { size_bytes: 0, ..request() }).is_err());
        assert!(new_upload(CreateUploadUrlRequest { sha256: vec![1; 31].into(), ..request() }).is_err());
        assert!(new_upload(CreateUploadUrlRequest { sha256: bytes::Bytes::new(), ..request() }).is_err());
    }

    #[test]
    fn a_link_lasts_a_second_at_least_and_no_longer_than_it_may() {
        let upload = |seconds| ttl("ttl", Some(ProtoDuration { seconds, nanos: 0 }), Limits::MAX_UPLOAD_LINK_TTL);
        assert_eq!(upload(1).expect("a second"), Duration::from_secs(1));
        assert_eq!(upload(900).expect("the longest"), Duration::from_mins(15));
        assert!(upload(0).is_err() && upload(901).is_err() && upload(-1).is_err());
    }

    #[test]
    fn a_link_ends_with_a_whole_second_and_never_too_soon() {
        let second = Duration::from_secs(1);
        assert_eq!(end(Timestamp(3_000_001), second), Timestamp(5_000_000));
        assert_eq!(end(Timestamp(3_000_000), second), Timestamp(4_000_000));
    }
}
