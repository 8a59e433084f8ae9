//! `tintype-server healthcheck`: one question over plain HTTP, for containers that have nothing else to ask with.

use std::{
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, bail};

use crate::welcome::reached_at;

const PATIENCE: Duration = Duration::from_secs(3);

/// An error unless `/healthz` answers 200. An address of all interfaces is asked on loopback.
pub(crate) fn healthcheck(http_addr: SocketAddr) -> anyhow::Result<()> {
    let http_addr = reached_at(http_addr);
    let mut stream = TcpStream::connect_timeout(&http_addr, PATIENCE).with_context(|| format!("connect to {http_addr}"))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    write!(stream, "GET /healthz HTTP/1.1\r\nHost: {http_addr}\r\nConnection: close\r\n\r\n")?;
    let mut status_line = String::new();
    BufReader::new(stream).read_line(&mut status_line)?;
    if status_line.split_whitespace().nth(1) != Some("200") {
        bail!("{http_addr} answered {:?}", status_line.trim());
    }
    Ok(())
}
