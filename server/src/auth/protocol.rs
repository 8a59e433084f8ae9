use axum::{
    body::Bytes,
    http::{HeaderMap, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use http_body::Frame;
use tonic::Status;

use crate::http::Problem;

/// In which protocol a call is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Grpc,
    Rest,
}

impl Protocol {
    /// What a request speaks.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let is_grpc = headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
        if is_grpc { Self::Grpc } else { Self::Rest }
    }

    /// The answer to a call that is refused before it is answered.
    pub(crate) fn refused(self, status: Status) -> Response {
        match self {
            Self::Grpc => status.into_http(),
            Self::Rest => Problem::from(status).into_response(),
        }
    }

    /// The end of an answer that has begun: trailers where there can be any, else the body breaks off, which every client notices.
    pub(crate) fn cut(self, status: Status) -> Result<Frame<Bytes>, axum::Error> {
        if self == Self::Rest {
            return Err(axum::Error::new(status));
        }
        let mut trailers = HeaderMap::new();
        status.add_header(&mut trailers).map_err(axum::Error::new)?;
        Ok(Frame::trailers(trailers))
    }
}
