use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use hyper::rt::Executor;
use tokio::{sync::watch, task::futures::TaskLocalFuture, task_local, time::timeout};
use tokio_util::sync::CancellationToken;

task_local! {
    static CUT: CancellationToken;
}

/// What cuts off the stream that the current call came on: an HTTP/2 stream is reset, an HTTP/1 connection closed. For clients that do not even
/// read why a call has ended.
pub(crate) fn cut() -> CancellationToken {
    CUT.try_with(CancellationToken::clone).unwrap_or_default()
}

/// Runs a whole connection whose calls are cut off by cutting off the connection.
pub(super) fn as_one<F: Future>(cut: CancellationToken, connection: F) -> TaskLocalFuture<CancellationToken, F> {
    CUT.scope(cut, connection)
}

/// Runs the streams of HTTP/2 connections, each of which can be cut off alone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Streams;

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let cut = CancellationToken::new();
        tokio::spawn(CUT.scope(cut.clone(), async move {
            tokio::select! {
                () = stream => {}
                // What drops a stream that has not ended resets it.
                () = cut.cancelled() => {}
            }
        }));
    }
}

/// How many calls a connection has under way. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Activity(Arc<watch::Sender<usize>>);

/// One call, under way until it is dropped.
#[derive(Debug)]
pub(super) struct UnderWay(Activity);

impl Activity {
    pub(super) fn begin(&self) -> UnderWay {
        self.0.send_modify(|count| *count += 1);
        UnderWay(self.clone())
    }

    /// Returns once there has been no call for that long.
    pub(super) async fn idle(&self, patience: Duration) {
        let mut count = self.0.subscribe();
        loop {
            // The sender is `self`, so there is always a next value.
            let _ = count.wait_for(|count| *count == 0).await;
            if timeout(patience, count.wait_for(|count| *count > 0)).await.is_err() {
                return;
            }
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.0.send_modify(|count| *count -= 1);
    }
}

/// The body of an answer, with the call that is under way until all of it is sent.
pub(super) struct Held {
    pub(super) body: Body,
    pub(super) _under_way: UnderWay,
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_when_its_last_call_is_long_over() {
        let activity = Activity::default();
        let minute = Duration::from_mins(1);
        let call = activity.begin();
        assert!(timeout(minute * 10, activity.idle(minute)).await.is_err(), "a call is no idleness");
        drop(call);
        timeout(minute + Duration::from_secs(1), activity.idle(minute)).await.expect("a minute without a call");
    }
}
