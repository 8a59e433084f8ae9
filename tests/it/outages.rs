//! Things that Tintype needs go away and come back.

use std::time::{Duration, Instant};

use tintype_proto::v1::{ImageFormat, RenditionState};
use tintype_tests::{Tintype, Upload, pictures};

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
