//! The two streams of a call, which tell how fast the client is and end with the call.

use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tokio_util::{sync::WaitForCancellationFutureOwned, task::AbortOnDropHandle};

use super::{Call, record::Record};

/// What is handed out at once, so that a slow client shows that it takes something long before it took a whole chunk. The size of an HTTP/2
/// frame.
const PIECE_BYTES: usize = 16 << 10;

/// What the client sends.
pub(super) struct Incoming {
    body: Body,
    call: Arc<Call>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Incoming {
    pub(super) fn new(body: Body, call: Arc<Call>) -> Self {
        let ended = Box::pin(call.ended_owned());
        call.request.opened();
        Self { body, call, ended }
    }
}

impl HttpBody for Incoming {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.ended.as_mut().poll(context).is_ready() {
            self.call.request.closed();
            return Poll::Ready(Some(Err(axum::Error::new(self.call.status()))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        match &polled {
            Poll::Pending => self.call.request.waits(Instant::now()),
            Poll::Ready(Some(Ok(frame))) => self.call.request.moved(frame.data_ref().map_or(0, Bytes::len), Instant::now()),
            Poll::Ready(None | Some(Err(_))) => self.call.request.closed(),
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        self.call.request.closed();
    }
}

/// What the client is sent.
pub(super) struct Outgoing {
    body: Body,
    call: Arc<Call>,
    ended: Pin<Box<WaitForCancellationFutureOwned>>,
    record: Record,
    /// Of the chunk at hand.
    rest: Bytes,
    /// What was handed out last.
    handed_bytes: usize,
    _held: (AbortOnDropHandle<()>, Option<OwnedSemaphorePermit>),
}

impl Outgoing {
    /// `held` is let go of when all is sent, or given up.
    pub(super) fn new(body: Body, call: Arc<Call>, record: Record, held: (AbortOnDropHandle<()>, Option<OwnedSemaphorePermit>)) -> Self {
        let ended = Box::pin(call.ended_owned());
        Self { body, call, ended, record, rest: Bytes::new(), handed_bytes: 0, _held: held }
    }

    /// The end of a stream whose call was ended, with the reason where there is a way to tell it.
    fn last(&mut self) -> Result<Frame<Bytes>, axum::Error> {
        // Whatever is behind the body notices that nobody reads it any more.
        self.body = Body::empty();
        self.rest = Bytes::new();
        let status = self.call.status();
        self.record.ends(status.code());
        self.call.protocol.cut(status)
    }

    /// What comes next of the answer itself.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        if self.rest.is_empty() {
            let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)).transpose()? else { return Poll::Ready(None) };
            match frame.into_data() {
                Ok(data) => self.rest = data,
                Err(other) => {
                    if let Some(trailers) = other.trailers_ref() {
                        self.record.ends_with(trailers);
                    }
                    return Poll::Ready(Some(Ok(other)));
                }
            }
        }
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        self.handed_bytes = piece.len();
        self.record.sent(piece.len());
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.record.received(self.call.request.bytes());
    }
}

impl HttpBody for Outgoing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        // Whoever asks for more has a client that took what there was.
        let taken = mem::take(&mut self.handed_bytes);
        self.call.response.moved(taken, Instant::now());
        if !self.is_end_stream() && self.ended.as_mut().poll(context).is_ready() {
            return Poll::Ready(Some(self.last()));
        }
        let next = ready!(self.poll_next(context));
        if next.is_some() {
            self.call.response.waits(Instant::now());
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (body, rest) = (self.body.size_hint(), self.rest.len() as u64);
        let mut hint = SizeHint::new();
        hint.set_lower(body.lower() + rest);
        if let Some(upper) = body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
