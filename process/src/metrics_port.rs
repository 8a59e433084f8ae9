use std::{collections::VecDeque, io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tracing::debug;

use crate::{Metrics, Shutdown};

/// The longest head of a request that is read.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// How long one question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Connections at once. One more ends the oldest: whoever really asks is answered within milliseconds, whoever only holds a place loses it.
const MAX_CONNECTIONS: usize = 32;
/// A pause when no connection can be taken at all, for want of descriptors say.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Answers `GET /metrics`, and 404 to everything else, a few connections at once, until the process drains. For a process that has no HTTP port
/// otherwise. Clients that say nothing keep nobody else from an answer.
pub fn serve_metrics(listener: TcpListener, metrics: Metrics, shutdown: &Shutdown) {
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        let (mut connections, mut by_age) = (JoinSet::new(), VecDeque::new());
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = stop.draining() => return,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    debug!(%error, "a connection for metrics could not be taken");
                    sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            by_age.retain(|connection: &AbortHandle| !connection.is_finished());
            if by_age.len() == MAX_CONNECTIONS
                && let Some(oldest) = by_age.pop_front()
            {
                oldest.abort();
            }
            let metrics = metrics.clone();
            by_age.push_back(connections.spawn(async move {
                if let Err(error) = timeout(PATIENCE, answer(stream, &metrics)).await.unwrap_or_else(|late| Err(late.into())) {
                    debug!(%error, "a question for metrics was not answered");
                }
            }));
        }
    });
}

async fn answer(mut stream: TcpStream, metrics: &Metrics) -> io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < MAX_HEAD_BYTES {
        if stream.read_buf(&mut head).await? == 0 {
            break;
        }
    }
    let (status, body) =
        if head.starts_with(b"GET /metrics ") { ("200 OK", metrics.render()) } else { ("404 Not Found", "see /metrics\n".to_owned()) };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n", Metrics::CONTENT_TYPE);
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}
