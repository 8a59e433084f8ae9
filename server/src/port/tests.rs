//! Clients that take a place and say too little.

use std::{fs, net::SocketAddr};

use axum::routing::get;
use clap::Parser;
use futures_util::future::join_all;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config::Config;

/// Nobody who says too little is still there then, also on a machine that has much else to do.
const LATEST: Duration = Duration::from_secs(30);
/// Whoever said too little is gone by then.
const LONGER: Duration = HEAD_PATIENCE.saturating_add(Duration::from_millis(1_500));

/// A port that greets.
async fn port(tls: Option<Tls>, http1: bool) -> (SocketAddr, Shutdown) {
    let limits = Config::parse_from(["tintype-server"]).limits();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
    let (address, shutdown) = (listener.local_addr().expect("a bound port has an address"), Shutdown::new());
    let places = Places::new(limits.max_connections, limits.max_connections_per_source);
    Port::new(&limits, places, tls, http1, shutdown.clone()).serve(listener, Router::new().route("/", get(async || "hello")));
    (address, shutdown)
}

fn tls(shutdown: &Shutdown) -> Tls {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let files = TlsFiles { cert: folder.path().join("cert.pem"), key: folder.path().join("key.pem"), client_ca: None };
    fs::write(&files.cert, cert.pem()).expect("a file can be written");
    fs::write(&files.key, signing_key.serialize_pem()).expect("a file can be written");
    Tls::follow(files, shutdown).expect("the files are good")
}

/// What comes back to one who says this and no more, and whether the server hangs up within that time.
async fn answer(address: SocketAddr, said: &[u8], patience: Duration) -> (Vec<u8>, bool) {
    let mut stream = TcpStream::connect(address).await.expect("the port takes connections");
    stream.write_all(said).await.expect("it is open");
    let mut heard = Vec::new();
    // A reset is an end as well.
    let ended = timeout(patience, async { while stream.read_buf(&mut heard).await.is_ok_and(|read| read > 0) {} }).await;
    (heard, ended.is_ok())
}

#[tokio::test]
async fn who_opens_a_connection_and_says_nothing_or_half_of_it_is_hung_up_on() {
    let stop = Shutdown::new();
    // The first bytes of a TLS 1.2 record with a ClientHello of 512 bytes, of which no more follows.
    let half_a_hello = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    let half_a_head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ";
    let half_a_preface = b"PRI * HTTP/2.0";
    let cases: [(&str, Option<Tls>, bool, &[u8]); 9] = [
        ("nothing to gRPC", None, false, b""),
        ("nothing to HTTP", None, true, b""),
        ("nothing to TLS", Some(tls(&stop)), true, b""),
        ("half a TLS hello", Some(tls(&stop)), false, &half_a_hello),
        ("half a request head", None, true, half_a_head),
        ("the first letter of a request head", None, true, b"G"),
        ("half a preface to gRPC", None, false, half_a_preface),
        ("half a preface to HTTP", None, true, half_a_preface),
        ("a TLS hello to a port without TLS", None, true, &half_a_hello),
    ];
    let all = cases.map(async |(what, tls, http1, said)| {
        let (address, shutdown) = port(tls, http1).await;
        let (_, hung_up) = answer(address, said, LATEST).await;
        assert!(hung_up, "{what}: still there after {LATEST:?}");
        shutdown.drain();
    });
    join_all(all).await;
}

#[tokio::test]
async fn who_has_said_enough_may_be_silent_for_longer() {
    let (address, _shutdown) = port(None, true).await;
    let (heard, hung_up) = answer(address, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", HEAD_PATIENCE).await;
    assert!(heard.ends_with(b"hello") && hung_up, "it asked for an end: {heard:?}");
    let (address, _shutdown) = port(None, false).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (heard, hung_up) = answer(address, preface, LONGER).await;
    assert!(!heard.is_empty() && !hung_up, "its settings were answered: {heard:?}");
}
