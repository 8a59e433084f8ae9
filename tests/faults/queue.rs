//! The queue loses, repeats and delays what it is told; the catalog decides.

use std::time::{Duration, Instant};

use async_nats::jetstream::{self, consumer::pull, stream};
use tintype_proto::v1::{Image, ImageFormat, RenditionState};
use tintype_store::Timestamp;
use tintype_tests::{Client, Tintype, Upload, pictures};

const STREAM: &str = "TINTYPE_JOBS";
const CONSUMER: &str = "tintype-workers";

async fn jetstream(tintype: &Tintype) -> jetstream::Context {
    jetstream::new(async_nats::connect(tintype.nats_url()).await.expect("the NATS server answers"))
}

async fn uploaded(client: &Client, seed: u32) -> Image {
    client.upload(Upload::new("a.png", pictures::png(64, 48, seed))).await.expect("uploads do not need the queue")
}

/// How long it takes until a new image has its rendition.
async fn converted(client: &Client, seed: u32) -> Duration {
    let image = uploaded(client, seed).await;
    let begin = Instant::now();
    client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is made");
    begin.elapsed()
}

#[tokio::test]
async fn a_queue_that_vanishes_under_running_programs_is_made_again() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    converted(&client, 1).await;
    let context = jetstream(&tintype).await;
    let stream = context.get_stream(STREAM).await.expect("the server has made it");
    stream.delete_consumer(CONSUMER).await.expect("there is one");
    println!("without its consumer: {:?}", converted(&client, 2).await);
    context.delete_stream(STREAM).await.expect("there is one");
    println!("without its stream: {:?}", converted(&client, 3).await);
    tintype.kill_nats().await;
    tintype.forget_nats_data();
    tintype.start_nats().await;
    println!("without all of its data: {:?}", converted(&client, 4).await);
    // From here on hints arrive at once again.
    let stream = context.get_stream(STREAM).await.expect("it is made again");
    stream.get_consumer::<pull::Config>(CONSUMER).await.expect("and so is its consumer");
    println!("after that: {:?}", converted(&client, 5).await);
}

/// As after a stream was deleted and made at the same moment, which a nats-server does not survive without a restart.
#[tokio::test]
async fn a_queue_that_keeps_nothing_and_says_nothing_is_replaced() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    let context = jetstream(&tintype).await;
    let messages = tintype.nats_data().join("jetstream/$G/streams").join(STREAM).join("msgs");
    std::fs::remove_dir_all(messages).expect("it has a folder for messages");
    // From here on it would need a new file.
    drop(context.get_stream(STREAM).await.expect("it is there").purge().await);
    println!("without the files of its stream: {:?}", converted(&client, 1).await);
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| line.contains("it is made anew").then_some(())).await;
    let state = context.get_stream(STREAM).await.expect("it is there").cached_info().state.clone();
    assert!(state.last_sequence > 0, "it keeps what it is told: {state:?}");
    println!("after that: {:?}", converted(&client, 2).await);
}

/// The same, while nobody tells it anything: health finds it, and has it mended.
#[tokio::test]
async fn a_queue_that_would_keep_nothing_is_found_and_replaced_before_anybody_needs_it() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    converted(&client, 1).await;
    let is_well = |line: &str| line.contains("health changed") && line.contains("\"status\":\"ok\"");
    tintype.server.as_mut().expect("it runs").lines(1, is_well).await;
    let context = jetstream(&tintype).await;
    let messages = tintype.nats_data().join("jetstream/$G/streams").join(STREAM).join("msgs");
    std::fs::remove_dir_all(messages).expect("it has a folder for messages");
    drop(context.get_stream(STREAM).await.expect("it is there").purge().await);
    let begin = Instant::now();
    let server = tintype.server.as_mut().expect("it runs");
    // What is asked later may find it mended.
    let found = ["health changed", "keeps nothing of what it is told", "\"status\":\"degraded\""];
    server.line(|line| found.iter().all(|part| line.contains(part)).then_some(())).await;
    println!("found after {:?}", begin.elapsed());
    let (code, body) = tintype.healthz().await;
    assert_eq!(code, 200, "uploads and downloads go on: {body}");
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| line.contains("it is made anew").then_some(())).await;
    server.lines(2, is_well).await;
    println!("mended after {:?}", begin.elapsed());
    assert!(tintype.metrics().await.contains("tintype_dependency_up{dependency=\"jobs\"} 1"));
    println!("after that: {:?}", converted(&client, 2).await);
}

#[tokio::test]
async fn a_consumer_that_vanished_is_made_again_before_anybody_needs_it() {
    let tintype = Tintype::cluster(0).await;
    let context = jetstream(&tintype).await;
    let stream = context.get_stream(STREAM).await.expect("the server has made it");
    stream.delete_consumer(CONSUMER).await.expect("there is one");
    while stream.get_consumer::<pull::Config>(CONSUMER).await.is_err() {}
    assert!(tintype.healthz().await.1.contains("\"jobs\":\"ok\""));
}

#[tokio::test]
async fn a_hint_that_comes_fifty_times_makes_one_result() {
    let tintype = Tintype::cluster(2).await;
    let client = tintype.client().await;
    let context = jetstream(&tintype).await;
    let large = client.upload(Upload::new("a.png", pictures::png(1_200, 900, 1))).await.expect("an image");
    let [rendition] = &large.renditions[..] else { panic!("one rendition: {large:?}") };
    for copy in 0..50 {
        // Under other subjects, for of each one the stream keeps a single message.
        let subject = format!("tintype.jobs.v1.convert.{}.{copy}", rendition.id);
        let sent = context.publish(subject, rendition.id.to_string().into()).await.expect("it can be sent");
        sent.await.expect("the stream takes it");
    }
    let settled = client.settled(large.id).await;
    let used = client.current_user().await.expect("a user").used_bytes;
    // Until each of them was answered.
    while context.get_stream(STREAM).await.expect("it is there").cached_info().state.messages > 0 {}
    let again = client.image(large.id).await.expect("it is there");
    assert_eq!(again, settled, "a decided rendition does not change");
    assert_eq!(again.renditions[0].state(), RenditionState::Ready);
    assert_eq!(client.current_user().await.expect("a user").used_bytes, used);
    assert_eq!(used, large.size_bytes + again.renditions[0].size_bytes);
    assert_eq!(tintype.blob_files("user_1").len(), 2, "the original and one result");
}

/// A worker that stops for longer than its lease, as one whose machine is suspended, and then goes on as if nothing had been.
#[tokio::test]
async fn a_worker_that_slept_through_two_leases_changes_nothing() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    let mut sleeper = tintype.workers.remove(0);
    let mut count = 0;
    // Another picture when this one was ready before the worker slept.
    let image = loop {
        count += 1;
        let image = client.upload(Upload::new("a.png", pictures::png(2_400, 1_800, count))).await.expect("an image");
        while client.image(image.id).await.expect("it is there").renditions[0].state() == RenditionState::Pending {}
        sleeper.pause();
        // As if its leases had run out meanwhile.
        if tintype.catalog().await.void_leases(Timestamp::now()).await.expect("the catalog answers") == 1 {
            break image;
        }
        sleeper.resume();
        client.settled(image.id).await;
    };
    tintype.start_worker();
    let settled = client.settled(image.id).await;
    assert_eq!((settled.renditions[0].state(), settled.renditions[0].attempt_count), (RenditionState::Ready, 2));
    let made = client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is ready");

    sleeper.resume();
    sleeper.line(|line| line.contains("given to somebody else").then_some(())).await;
    sleeper.terminate();
    assert!(sleeper.ended().await.success());
    assert_eq!(client.image(image.id).await.expect("it is there"), settled, "what was decided stays");
    assert_eq!(client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is ready").bytes, made.bytes);
    assert_eq!(tintype.blob_files("user_1").len(), 2 * count as usize, "the late result is removed");
}

/// A stream beside Tintype's own takes all the room that the server has.
#[tokio::test]
async fn a_queue_without_room_holds_up_no_upload_and_works_on_when_there_is_room() {
    let tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    converted(&client, 1).await;
    let context = jetstream(&tintype).await;
    let mut config = context.get_stream(STREAM).await.expect("it is there").cached_info().config.clone();
    let (room, none) = (config.max_messages, stream::Config { max_messages: 1, max_bytes: 1, ..config.clone() });
    context.update_stream(none).await.expect("an operator may do that");
    let image = uploaded(&client, 2).await;
    assert_eq!(client.original(&image).await.expect("nor do downloads").bytes, pictures::png(64, 48, 2));
    config.max_messages = room;
    context.update_stream(config).await.expect("an operator may do that");
    client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is made without anybody's help");
}
