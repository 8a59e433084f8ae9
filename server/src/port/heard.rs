use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, sleep_until},
};

/// The first bytes of a connection that tell which protocol it speaks: an HTTP/2 preface (RFC 9113, section 3.4) has as many, and no HTTP/1
/// request that names its host has fewer.
const PREFACE_BYTES: usize = 24;

/// Whether a client has said what it speaks, since the connection began. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Heard {
    enough: Arc<AtomicBool>,
    since: Instant,
}

impl Default for Heard {
    fn default() -> Self {
        Self { enough: Arc::default(), since: Instant::now() }
    }
}

impl Heard {
    /// The stream, listened to.
    pub(super) fn on<S>(&self, stream: S) -> Listened<S> {
        Listened { stream, bytes: 0, heard: self.clone() }
    }

    /// Returns when the client has not said it by then, else never.
    pub(super) async fn too_little(&self, patience: Duration) {
        sleep_until(self.since + patience).await;
        if self.enough.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
    }
}

/// A stream whose first bytes are counted.
pub(super) struct Listened<S> {
    stream: S,
    bytes: usize,
    heard: Heard,
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.bytes < PREFACE_BYTES {
            self.bytes += buffer.filled().len() - before;
            if self.bytes >= PREFACE_BYTES {
                self.heard.enough.store(true, Ordering::Relaxed);
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listened<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
