//! What a worker of its own tells of itself.

use std::time::Duration;

use tintype_tests::{Http, Tintype, Upload, pictures};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

/// Starts a worker that tells its metrics, and returns the URL of the port.
async fn start_worker(tintype: &mut Tintype) -> String {
    tintype.set("TINTYPE_METRICS_ADDR", "127.0.0.1:0");
    tintype.start_worker();
    let place = |line: &str| Some(line.split_once("metrics are at ")?.1.strip_suffix("/metrics")?.to_owned());
    tintype.workers[0].line(place).await
}

#[tokio::test]
async fn a_worker_tells_its_metrics_where_it_is_told_to() {
    let mut tintype = Tintype::cluster(0).await;
    let metrics = Http::new(&start_worker(&mut tintype).await, None);
    let client = tintype.client().await;
    let image = client.upload(Upload::new("a.png", pictures::png(40, 30, 1))).await.expect("an image");
    client.settled(image.id).await;

    // A conversion is counted a moment after its picture is there.
    let counted = async {
        loop {
            let told = metrics.get("/metrics", &[]).await;
            if told.text().lines().any(|line| line == "tintype_conversions_total{outcome=\"made\"} 1") {
                break told;
            }
        }
    };
    let told = timeout(Duration::from_secs(10), counted).await.expect("the conversion is counted");
    assert_eq!(told.status, 200);
    assert_eq!(told.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(told.text().contains("tintype_conversion_seconds"), "{}", told.text());
    for elsewhere in ["/", "/metrics/more", "/healthz"] {
        assert_eq!(metrics.get(elsewhere, &[]).await.status, 404, "{elsewhere}");
    }
    assert_eq!(metrics.get("/metrics", &[]).await.status, 200, "and again");
}

#[tokio::test]
async fn clients_that_say_nothing_keep_nobody_from_the_metrics_of_a_worker() {
    let mut tintype = Tintype::cluster(0).await;
    let url = start_worker(&mut tintype).await;
    let mut silent = Vec::new();
    for number in 0..200 {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("the port takes connections");
        if number % 2 == 0 {
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: ").await.expect("the first half of a question");
        }
        silent.push(stream);
    }
    let metrics = Http::new(&url, None);
    // Shorter than anybody of them is waited for.
    let told = timeout(Duration::from_secs(4), metrics.get("/metrics", &[])).await.expect("others are answered meanwhile");
    assert_eq!(told.status, 200);
    drop(silent);
}

#[tokio::test]
async fn a_place_that_cannot_be_had_is_told_and_nothing_starts() {
    let mut tintype = Tintype::cluster(0).await;
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a loopback port is free");
    let address = taken.local_addr().expect("a bound port has an address").to_string();
    tintype.set("TINTYPE_METRICS_ADDR", &address);
    tintype.start_worker();
    let worker = &mut tintype.workers[0];
    assert_eq!(worker.ended().await.code(), Some(1));
    worker.line(|line| line.contains(&format!("metrics address {address}")).then_some(())).await;
}
