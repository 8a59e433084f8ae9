//! What other services are told on NATS.

use std::collections::BTreeMap;

use async_nats::jetstream::{self, consumer::pull::OrderedConfig};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tintype_proto::v1::{DeleteImageRequest, ImageFormat};
use tintype_store::ChangeKind;
use tintype_tests::{Tintype, Upload, pictures};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_event_arrives_once_with_its_payload_also_when_its_publisher_is_killed() {
    let mut tintype = Tintype::cluster(1).await;
    let context = jetstream::new(async_nats::connect(tintype.nats_url()).await.expect("the NATS server answers"));
    let client = tintype.client().await;
    let mut broken = pictures::png(300, 200, 3);
    let end = broken.len();
    broken[end / 2..end - 20].fill(0xA5);
    let good = client.upload(Upload::new("good.png", pictures::png(64, 48, 1))).await.expect("an image");
    client.rendition(good.id, ImageFormat::Jpeg).await.expect("it is made");

    // The server makes the stream with its first event.
    let stream = loop {
        if let Ok(stream) = context.get_stream("TINTYPE_EVENTS").await {
            break stream;
        }
    };
    let consumer = stream.create_consumer(OrderedConfig::default()).await.expect("a consumer");
    let mut messages = consumer.messages().await.expect("messages");
    let mut events: BTreeMap<i64, (String, Value)> = BTreeMap::new();
    let mut next = async || {
        let message = messages.next().await.expect("there are more").expect("the NATS server answers");
        let id = message.headers.as_ref().and_then(|headers| headers.get("Nats-Msg-Id")).expect("an id").as_str().to_owned();
        let payload: Value = serde_json::from_slice(&message.payload).expect("JSON");
        assert_eq!(payload["position"], id.as_str());
        let position = id.parse().expect("a number");
        let before = events.insert(position, (message.subject.to_string(), payload));
        assert_eq!(before, None, "an event came twice");
        events.len()
    };
    while next().await < 2 {}

    // The one that publishes dies; the other one takes over, a worker's results included.
    let (_second, second_url) = tintype.another_server().await;
    tintype.kill_server().await;
    tintype.grpc_url = second_url;
    let client = tintype.client().await;
    let failed = client.upload(Upload::new("broken.png", broken)).await.expect("the header is fine");
    client.rendition(failed.id, ImageFormat::Jpeg).await.expect_err("no picture can be made of it");
    client.images().delete_image(DeleteImageRequest { id: good.id }).await.expect("it is deleted");
    while next().await < 5 {}

    let log = tintype.catalog().await.changes_after(0, 1000).await.expect("the log");
    let told: Vec<_> = events.into_iter().collect();
    let positions = |kind| log.iter().filter(move |change| change.kind == kind).map(|change| change.position);
    let rendition = |image: &tintype_proto::v1::Image, state: &str| json!({ "id": image.renditions[0].id.to_string(), "format": "jpeg", "state": state });
    let expected = [
        ("created", &good, None),
        ("rendition_ready", &good, Some(rendition(&good, "ready"))),
        ("created", &failed, None),
        ("rendition_failed", &failed, Some(rendition(&failed, "failed"))),
        ("deleted", &good, None),
    ];
    for ((position, (subject, payload)), (name, image, rendition)) in told.iter().zip(expected) {
        assert_eq!(*subject, format!("tintype.events.v1.image.{name}"));
        let mut wanted = json!({
            "version": 1,
            "event": name,
            "position": position.to_string(),
            "time": payload["time"],
            "owner_id": image.owner_id.to_string(),
            "image_id": image.id.to_string(),
        });
        if let Some(rendition) = rendition {
            wanted["rendition"] = rendition;
        }
        assert_eq!(*payload, wanted);
        let time = payload["time"].as_str().expect("a time").parse::<prost_types::Timestamp>().expect("RFC 3339");
        let change = log.iter().find(|change| change.position == *position).expect("the log has it");
        assert_eq!(time.seconds * 1_000_000 + i64::from(time.nanos) / 1000, change.at.0);
    }
    let ends: Vec<_> = positions(ChangeKind::Created).chain(positions(ChangeKind::Deleted)).collect();
    assert_eq!(ends, [told[0].0, told[2].0, told[4].0]);
}
