use axum::body::{Body, Bytes};
use bytes::BytesMut;
use futures_util::StreamExt;
use tintype_store::LimitExceeded;

use crate::status::Refusal;

/// Far more than the longest name and the longest password take in either form.
const MAX_FORM_BYTES: u64 = 16 << 10;

/// The whole body of a small form.
pub(super) async fn form_body(body: Body) -> Result<Bytes, Refusal> {
    let mut pieces = body.into_data_stream();
    let mut form = BytesMut::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| Refusal::field("body", "broke off before its end"))?;
        let seen = (form.len() + piece.len()) as u64;
        if seen > MAX_FORM_BYTES {
            return Err(LimitExceeded { what: "size of the body in bytes", limit: "max_form_bytes", value: MAX_FORM_BYTES, seen }.into());
        }
        form.extend_from_slice(&piece);
    }
    Ok(form.freeze())
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures_util::stream;
    use tonic::Status;
    use tonic_types::StatusExt;

    use super::*;

    async fn read(pieces: Vec<io::Result<Bytes>>) -> Result<usize, (String, Option<String>)> {
        let form = form_body(Body::from_stream(stream::iter(pieces))).await;
        form.map(|form| form.len()).map_err(|refusal| {
            let details = Status::from(refusal).get_error_details();
            let info = details.error_info().expect("error info");
            (info.reason.clone(), info.metadata.get("seen").cloned())
        })
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_is_not_taken_for_one_that_is_too_large() {
        let half = || Ok(Bytes::from(vec![b'x'; 8 << 10]));
        assert_eq!(read(vec![half(), half()]).await, Ok(16 << 10));
        let seen = Some(((16 << 10) + 1).to_string());
        assert_eq!(read(vec![half(), half(), Ok(Bytes::from_static(b"x")), half()]).await, Err(("LIMIT_EXCEEDED".to_owned(), seen)));
        assert_eq!(read(vec![half(), Err(io::Error::other("gone"))]).await, Err(("INVALID_FIELD".to_owned(), None)));
    }
}
