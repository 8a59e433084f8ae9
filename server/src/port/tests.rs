//! Clients that take a place and say too little, by a clock that passes in no time.

use std::{fs, net::SocketAddr};

use axum::routing::get;
use clap::Parser;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::config::Config;

/// The last moment at which anybody who says too little is still there.
const LATEST: Duration = Duration::from_secs(13);

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

/// What comes back from one who says this and no more, and after how long the server hangs up.
async fn answer(address: SocketAddr, said: &[u8]) -> (Vec<u8>, Duration) {
    let begin = tokio::time::Instant::now();
    let mut stream = TcpStream::connect(address).await.expect("the port takes connections");
    stream.write_all(said).await.expect("it is open");
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = stream.read_to_end(&mut heard).await;
    (heard, begin.elapsed())
}

#[tokio::test(start_paused = true)]
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
    for (what, tls, http1, said) in cases {
        let (address, shutdown) = port(tls, http1).await;
        let (_, after) = answer(address, said).await;
        assert!(after <= LATEST, "{what}: hung up after {after:?}");
        shutdown.drain();
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_said_enough_may_be_silent_for_longer() {
    let (address, _shutdown) = port(None, true).await;
    let (heard, after) = answer(address, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
    assert!(heard.ends_with(b"hello") && after < HEAD_PATIENCE, "{after:?}");
    let (address, _shutdown) = port(None, false).await;
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    let (heard, after) = answer(address, preface).await;
    assert!(!heard.is_empty() && after > LATEST, "its settings were answered: {after:?}");
}
