//! Things that Tintype needs go away and come back.

use std::time::{Duration, Instant};

use tintype_proto::v1::{ImageFormat, RenditionState};
use tintype_tests::{Tintype, Upload, pictures};
use tonic::{Code, Streaming};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient};

/// Returns when health says so.
async fn becomes(watch: &mut Streaming<HealthCheckResponse>, status: ServingStatus) {
    while watch.message().await.expect("health goes on").expect("health goes on").status() != status {}
}

#[tokio::test]
async fn without_its_queue_it_takes_uploads_says_degraded_and_recovers_by_itself() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    tintype.kill_nats().await;
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| (line.contains("health changed") && line.contains("degraded")).then_some(())).await;
    let (code, body) = tintype.healthz().await;
    assert_eq!(code, 200, "{body}");
    assert!(body.contains("degraded"), "{body}");

    let begin = Instant::now();
    let image = client.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("uploads do not need the queue");
    assert_eq!(client.original(&image).await.expect("nor do downloads").bytes, pictures::png(64, 48, 1));
    assert!(begin.elapsed() < Duration::from_secs(10), "nobody waits for the queue: {:?}", begin.elapsed());

    tintype.start_nats().await;
    client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is made without anybody's help");
    assert_eq!(client.settled(image.id).await.renditions[0].state(), RenditionState::Ready);
}

#[tokio::test]
async fn a_queue_that_lost_everything_loses_no_work() {
    let mut tintype = Tintype::cluster(0).await;
    let client = tintype.client().await;
    let files = (0..3).map(|seed| Upload::new("a.png", pictures::png(64, 48, seed))).collect();
    let images = client.upload_each(files).await.expect("the stream ends well");
    tintype.kill_nats().await;
    tintype.forget_nats_data();
    tintype.start_nats().await;
    tintype.start_worker();
    for image in images {
        let settled = client.settled(image.expect("an image").id).await;
        assert_eq!(settled.renditions[0].state(), RenditionState::Ready, "{settled:?}");
    }
}

#[tokio::test]
async fn without_its_catalog_it_says_unavailable_soon_and_recovers_by_itself() {
    let tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("an image");
    let mut health = HealthClient::new(client.channel.clone());
    let mut watch = health.watch(HealthCheckRequest { service: String::new() }).await.expect("health is watched").into_inner();
    becomes(&mut watch, ServingStatus::Serving).await;

    tintype.catalog_gate().shut();
    let begin = Instant::now();
    let refused = client.image(image.id).await.expect_err("nobody knows");
    assert_eq!(refused.kind(), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(refused.retry_after.is_some(), "{refused:?}");
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
    let refused = client.upload(Upload::new("b.png", pictures::png(64, 48, 2))).await.expect_err("nothing can be recorded");
    assert_eq!(refused.kind(), (Code::Unavailable, "STORE_UNAVAILABLE"));
    becomes(&mut watch, ServingStatus::NotServing).await;
    assert_eq!(tintype.healthz().await.0, 503);

    tintype.catalog_gate().open();
    becomes(&mut watch, ServingStatus::Serving).await;
    assert_eq!(client.original(&image).await.expect("it is there").bytes, pictures::png(64, 48, 1));
    let next = client.upload(Upload::new("b.png", pictures::png(64, 48, 2))).await.expect("uploads go on");
    client.rendition(next.id, ImageFormat::Jpeg).await.expect("and so do workers");
    client.rendition(image.id, ImageFormat::Jpeg).await.expect("nothing is forgotten");
}
