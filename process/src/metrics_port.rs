use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tracing::debug;

use crate::{Metrics, Shutdown};

/// The longest head of a request that is read.
const MAX_HEAD_BYTES: usize = 8 << 10;
/// How long one question and its answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers `GET /metrics`, and 404 to everything else, one connection after the other, until the process drains. For a process that has no HTTP
/// port otherwise.
pub fn serve_metrics(listener: TcpListener, metrics: Metrics, shutdown: &Shutdown) {
    let stop = shutdown.clone();
    shutdown.spawn(async move {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.draining() => return,
            };
            let answered = match accepted {
                Ok((stream, _)) => timeout(PATIENCE, answer(stream, &metrics)).await.unwrap_or_else(|late| Err(late.into())),
                Err(error) => Err(error),
            };
            if let Err(error) = answered {
                debug!(%error, "a question for metrics was not answered");
            }
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
