//! A port: takes connections within bounds, speaks TLS and HTTP on them, and says goodbye to those that nobody uses and, when the server
//! drains, to all.

mod heard;
mod places;
mod streams;
#[cfg(test)]
mod tests;
mod tls;

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, time::Duration};

use axum::{Router, body::Body, extract::Request};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    server::conn::auto,
};
use metrics::counter;
use tintype_process::Shutdown;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::server::TcpConnectInfo;
use tower::ServiceExt;

pub(crate) use places::Places;
pub(crate) use streams::cut;
pub(crate) use tls::{Tls, TlsFiles};

use self::{
    heard::Heard,
    streams::{Activity, Held, Streams, as_one},
};
use crate::limits::Limits;

/// Flow-control windows (RFC 9113, section 6.9): enough for 60 Mbit/s over 100 ms on one stream, and a bound on what one client can park here:
/// while the store is slow, a stream has up to twice as much in memory, with the chunk at hand and what the allocator adds.
const STREAM_WINDOW_BYTES: u32 = 3 << 18;
const CONNECTION_WINDOW_BYTES: u32 = 5 << 19;
/// What of a chunk comes in one piece at most: fewer and larger pieces than the 16 KiB that HTTP/2 begins with cost less each.
const MAX_FRAME_BYTES: u32 = 64 << 10;
/// Bounds on streams that are begun and reset at once (CVE-2023-44487); hyper's own defaults.
const MAX_PENDING_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 1024;
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// What one stream may have waiting for a client that reads slowly.
const MAX_SEND_BUFFER_BYTES: usize = 256 << 10;
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);
/// How long a TLS handshake, the head of an HTTP/1 request, or the preface by which HTTP/2 begins may take to arrive.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// How long a client may take to close a connection to which it was said goodbye.
const FAREWELL: Duration = Duration::from_secs(2);
/// A pause when no connection can be taken at all, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How a port serves.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    places: Places,
    tls: Option<Tls>,
    /// Whether HTTP/1.1 is spoken besides HTTP/2.
    http1: bool,
    max_streams: u32,
    idle: Duration,
    shutdown: Shutdown,
}

impl Port {
    pub(crate) fn new(limits: &Limits, places: Places, tls: Option<Tls>, http1: bool, shutdown: Shutdown) -> Self {
        let (max_streams, idle) = (limits.max_streams_per_connection, limits.connection_idle);
        Self { places, tls, http1, max_streams, idle, shutdown }
    }

    /// Serves in the background until the server drains and the calls that are open then have ended.
    pub(crate) fn serve(self, listener: TcpListener, routes: Router) {
        self.shutdown.clone().spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = self.shutdown.draining() => return,
                };
                match accepted {
                    Ok((stream, source)) => self.take(stream, source, &routes),
                    Err(error) => {
                        tracing::warn!(%error, "a connection could not be taken");
                        sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
    }

    /// Serves a connection in the background, or closes it at once when there is no place for it: anything kinder costs a handshake, which is
    /// what those who come in masses are after.
    fn take(&self, stream: TcpStream, source: SocketAddr, routes: &Router) {
        let place = match self.places.take(source.ip()) {
            Ok(place) => place,
            Err(limit) => {
                counter!("tintype_connections_refused_total", "limit" => limit).increment(1);
                tracing::debug!(%source, limit, "no place for a connection");
                return;
            }
        };
        let (port, routes) = (self.clone(), routes.clone());
        self.shutdown.spawn(async move {
            let _place = place;
            if let Err(error) = port.handle(stream, routes).await {
                tracing::debug!(%source, %error, "a connection broke");
            }
        });
    }

    async fn handle(&self, stream: TcpStream, routes: Router) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let info = TcpConnectInfo { local_addr: stream.local_addr().ok(), remote_addr: stream.peer_addr().ok() };
        match &self.tls {
            None => self.speak(stream, &info, &routes).await,
            Some(tls) => {
                let stream = tokio::select! {
                    stream = timeout(HEAD_PATIENCE, tls.acceptor(self.http1).accept(stream)) => stream??,
                    () = self.shutdown.draining() => return Ok(()),
                };
                self.speak(stream, &info, &routes).await;
            }
        }
        Ok(())
    }

    async fn speak(&self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, info: &TcpConnectInfo, routes: &Router) {
        let (activity, cut) = (Activity::default(), CancellationToken::new());
        let service = service_fn(|request: hyper::Request<Incoming>| {
            let (routes, under_way) = (routes.clone(), activity.begin());
            let mut request: Request = request.map(Body::new);
            request.extensions_mut().insert(info.clone());
            async move {
                let response = routes.oneshot(request).await?;
                Ok::<_, Infallible>(response.map(|body| Body::new(Held { body, _under_way: under_way })))
            }
        });
        let builder = self.builder();
        as_one(cut.clone(), async {
            let heard = Heard::default();
            let mut connection = pin!(builder.serve_connection(TokioIo::new(heard.on(stream)), service));
            let mut open = true;
            loop {
                tokio::select! {
                    ended = connection.as_mut() => {
                        if let Err(error) = ended {
                            tracing::debug!(error, "a connection broke");
                        }
                        return;
                    }
                    // Lets calls finish and takes no more.
                    () = self.goodbye(&activity), if open => connection.as_mut().graceful_shutdown(),
                    // Whoever does not go by then is not waited for.
                    () = activity.idle(FAREWELL), if !open => return,
                    // Nothing is under way for whoever has not even said which protocol it speaks.
                    () = heard.too_little(HEAD_PATIENCE) => return,
                    () = cut.cancelled() => return,
                    () = self.shutdown.stopping_at_once() => return,
                }
                open = false;
            }
        })
        .await;
    }

    /// Returns when a connection shall end.
    async fn goodbye(&self, activity: &Activity) {
        tokio::select! {
            () = self.shutdown.draining() => {}
            () = activity.idle(self.idle) => {}
        }
    }

    fn builder(&self) -> auto::Builder<Streams> {
        let mut builder = auto::Builder::new(Streams);
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE).max_headers(64);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.max_streams)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(MAX_FRAME_BYTES)
            .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
            .max_local_error_reset_streams(MAX_ERROR_RESETS)
            .max_header_list_size(MAX_HEADER_BYTES)
            .max_send_buf_size(MAX_SEND_BUFFER_BYTES)
            .keep_alive_interval(KEEPALIVE)
            .keep_alive_timeout(KEEPALIVE_PATIENCE);
        if self.http1 { builder } else { builder.http2_only() }
    }
}
