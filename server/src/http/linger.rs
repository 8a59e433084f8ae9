use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum::{
    body::{Body, Bytes, HttpBody},
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use futures_util::StreamExt;
use http_body::{Frame, SizeHint};
use tokio::time::timeout;

use crate::core::SharedCore;

/// How much of a body that nobody wants is still read, and for how long.
const MAX_BYTES: u64 = 64 << 20;
const MAX_TIME: Duration = Duration::from_secs(5);

/// Reads on for a while what a client still sends after it was answered: a client of HTTP/1.1 that sends all of its body before it looks for
/// the answer would find a connection that is reset instead of it.
pub(crate) async fn linger(State(core): State<SharedCore>, request: Request, next: Next) -> Response {
    let request = request.map(|body| Body::new(Lingering { core, body: Some(body) }));
    next.run(request).await
}

struct Lingering {
    core: SharedCore,
    /// `None` after it was dropped.
    body: Option<Body>,
}

impl HttpBody for Lingering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(context),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(HttpBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map(HttpBody::size_hint).unwrap_or_default()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        if let Some(body) = self.body.take().filter(|body| !body.is_end_stream()) {
            self.core.shutdown.spawn(async move {
                // Whether it came to its end or to one of these bounds makes no difference to anybody.
                let _ = timeout(MAX_TIME, drain(body)).await;
            });
        }
    }
}

async fn drain(body: Body) {
    let mut pieces = body.into_data_stream();
    let mut left = MAX_BYTES;
    while let Some(Ok(piece)) = pieces.next().await {
        match left.checked_sub(piece.len() as u64) {
            Some(rest) => left = rest,
            None => return,
        }
    }
}
