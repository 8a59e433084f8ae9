//! Ends of every kind, at the worst time: what was answered stays, what was not leaves nothing half done.

use std::{collections::HashSet, fs, time::Duration};

use bytes::Bytes;
use tintype_proto::v1::{
    Image, ImageFormat, ListImagesRequest, RenditionState, UploadImagesRequest, upload_images_response::Message as Reply,
};
use tintype_store::Timestamp;
use tintype_tests::{Client, Tintype, Upload, pictures};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};

use crate::outages::becomes;

/// The file of this number, always the same; every third one is large enough to be on its way for a while.
fn file(number: u32) -> Upload {
    let height = if number.is_multiple_of(3) { 900 } else { 40 };
    Upload::new(&format!("{number}.bmp"), pictures::bmp(400, height, number as u8)).request_id(&format!("request-{number}"))
}

fn number(image: &Image) -> u32 {
    image.file_name.trim_end_matches(".bmp").parse().expect("files are named by their number")
}

async fn listed(client: &Client) -> Vec<Image> {
    let request = ListImagesRequest { page_size: 1000, ..ListImagesRequest::default() };
    client.images().list_images(request).await.expect("a list").into_inner().images
}

/// Uploads file after file until the server is gone; tells of each one that was answered `done`.
async fn upload_on_and_on(client: Client, from: u32, answered: mpsc::UnboundedSender<Image>) {
    let messages = (from..from + 10_000).flat_map(|number| file(number).messages());
    let Ok(replies) = client.images().upload_images(tokio_stream::iter(messages)).await else { return };
    let mut replies = replies.into_inner();
    while let Ok(Some(reply)) = replies.message().await {
        if let Some(Reply::Done(done)) = reply.message {
            answered.send(done.image.expect("done has the image")).expect("the test listens");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_answered_done_survives_every_kill_and_nothing_else_is_half_there() {
    // A kill costs an attempt at whatever was being converted, and one rendition may be under way at each of them.
    let mut tintype = Tintype::embedded_with(&[("TINTYPE_MAX_ATTEMPTS", "9")]).await;
    let mut done: Vec<Image> = Vec::new();
    for round in 0..3 {
        let (sender, mut answered) = mpsc::unbounded_channel();
        let client = tintype.client().await;
        for lane in [0, 50_000] {
            tokio::spawn(upload_on_and_on(client.clone(), round * 10_000 + lane, sender.clone()));
        }
        drop(sender);
        for _ in 0..7 + round {
            done.push(answered.recv().await.expect("uploads go on"));
        }
        tintype.kill_server().await;
        // Answers that were on their way when the server died.
        while let Some(image) = answered.recv().await {
            done.push(image);
        }
        tintype.start_server().await;
    }

    let client = tintype.client().await;
    let listed = listed(&client).await;
    let ids: HashSet<_> = listed.iter().map(|image| image.id).collect();
    for image in &done {
        assert!(ids.contains(&image.id), "image {} was answered done and is not listed", image.id);
    }
    for image in &listed {
        let original = client.original(image).await.unwrap_or_else(|refused| panic!("image {} is visible: {refused:?}", image.id));
        assert_eq!(original.bytes, file(number(image)).bytes, "image {}", image.id);
        let settled = client.settled(image.id).await;
        assert_eq!(settled.renditions.len(), 2);
        assert!(settled.renditions.iter().all(|rendition| rendition.state() == RenditionState::Ready), "{settled:?}");
    }
    for image in &done {
        let again = client.upload(file(number(image))).await.expect("a repeat");
        assert_eq!(again.id, image.id, "the same request is the same image");
    }
    assert_eq!(self::listed(&client).await.len(), listed.len(), "repeats made nothing new");
}

#[tokio::test]
async fn a_repeated_request_is_the_same_image_also_after_a_restart() {
    let mut tintype = Tintype::embedded().await;
    let first = tintype.client().await.upload(file(1)).await.expect("an image");
    assert_eq!(tintype.client().await.upload(file(1)).await.expect("a repeat").id, first.id);
    assert!(tintype.stop_server().await.success());
    tintype.start_server().await;
    let client = tintype.client().await;
    // Whatever is sent now: the request was answered before.
    let other = Upload::new("other.png", pictures::png(8, 8, 8)).request_id("request-1");
    let [repeated, next] = client.upload_each(vec![other, file(2)]).await.expect("the stream ends well").try_into().expect("two answers");
    assert_eq!(repeated.expect("a repeat").id, first.id);
    assert_ne!(next.expect("a new one").id, first.id);
    assert_eq!(client.original(&first).await.expect("the original").bytes, file(1).bytes);
}

#[tokio::test]
async fn what_an_interrupted_upload_left_is_swept_and_nothing_that_is_on_its_way() {
    let mut tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let (sender, receiver) = mpsc::channel::<UploadImagesRequest>(64);
    let mut replies = client.images().upload_images(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    let large = Upload::new("large.bmp", pictures::bmp(3_000, 2_000, 1));
    for message in large.messages().take(50) {
        sender.send(message).await.expect("the server takes it");
    }
    // `started`, and then `progress` once bytes are on the disk.
    for _ in 0..2 {
        replies.message().await.expect("the server answers").expect("the stream is open");
    }
    tintype.kill_server().await;
    let [left] = tintype.blob_files("staging").try_into().expect("one file was on its way");
    assert!(tintype.blob_files("user_1").is_empty(), "nothing of it has a name");

    // Two days ago in the eyes of the sweeper, which runs first thing after a start; this one began only now.
    let two_days_ago = Timestamp::now().minus(Duration::from_hours(48));
    let two_days_ago = std::time::UNIX_EPOCH + Duration::from_micros(two_days_ago.0 as u64);
    fs::File::options().write(true).open(&left).expect("it is a file").set_modified(two_days_ago).expect("its time can be set");
    let young = tintype.blobs().join("staging").join("0".repeat(32));
    fs::write(&young, "on its way").expect("a file can be written");
    tintype.start_server().await;
    tintype.server.as_mut().expect("it runs").line(|line| line.contains("swept").then_some(())).await;
    assert_eq!(tintype.blob_files("staging"), [young]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_killed_worker_had_begun_is_finished_by_others() {
    let mut tintype = Tintype::cluster(2).await;
    let client = tintype.client().await;
    let files = (0..12).map(|seed| Upload::new("photo.png", pictures::png(1_600, 1_200, seed))).collect();
    let images = client.upload_each(files).await.expect("the stream ends well");
    let images: Vec<_> = images.into_iter().map(|outcome| outcome.expect("an image")).collect();
    client.rendition(images[0].id, ImageFormat::Jpeg).await.expect("they are at it");
    tintype.workers.remove(0).kill().await;
    tintype.start_worker();
    for image in &images {
        let settled = client.settled(image.id).await;
        assert_eq!(settled.renditions[0].state(), RenditionState::Ready, "{settled:?}");
        let converted = client.rendition(image.id, ImageFormat::Jpeg).await.expect("ready");
        assert_eq!((converted.info.width, converted.info.height), (1_600, 1_200));
        assert_eq!(converted.bytes.len() as i64, settled.renditions[0].size_bytes);
    }
}

#[tokio::test]
async fn draining_lets_an_upload_finish_and_turns_everything_else_away() {
    let mut tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let mut health = HealthClient::new(client.channel.clone());
    let mut watch = health.watch(HealthCheckRequest { service: String::new() }).await.expect("health is watched").into_inner();
    let serving = watch.message().await.expect("a status").expect("at once");
    assert_eq!(serving.status(), ServingStatus::Serving);

    let bytes = Bytes::from(pictures::bmp(1_000, 700, 4));
    let mut messages = Upload::new("half.bmp", bytes.clone()).messages();
    let (sender, receiver) = mpsc::channel::<UploadImagesRequest>(64);
    for message in messages.by_ref().take(4) {
        sender.send(message).await.expect("there is room");
    }
    let mut replies = client.images().upload_images(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    let started = replies.message().await.expect("an answer").expect("the stream is open");
    assert!(matches!(started.message, Some(Reply::Started(_))), "{started:?}");

    let mut server = tintype.server.take().expect("it runs");
    server.terminate();
    becomes(&mut watch, ServingStatus::NotServing).await;
    // Balancers are told first; the port is closed a moment later.
    let endpoint = tonic::transport::Endpoint::from_shared(tintype.grpc_url.clone()).expect("a URL");
    let closed = async { while endpoint.connect().await.is_ok() {} };
    tokio::time::timeout(Duration::from_secs(10), closed).await.expect("nobody new comes in");

    for message in messages {
        sender.send(message).await.expect("the upload goes on");
    }
    drop(sender);
    let image = loop {
        let reply = replies.message().await.expect("the file is answered").expect("the stream is open");
        match reply.message.expect("a reply says something") {
            Reply::Done(done) => break done.image.expect("done has the image"),
            Reply::Failed(failed) => panic!("{failed:?}"),
            Reply::Started(_) | Reply::Progress(_) => {}
        }
    };
    drop((replies, watch, health, client));
    assert!(server.ended().await.success(), "a drained server ended well");
    tintype.start_server().await;
    assert_eq!(tintype.client().await.original(&image).await.expect("it is durable").bytes, bytes);
}

#[tokio::test]
async fn a_second_server_waits_for_the_lock_of_the_data_folder() {
    let mut tintype = Tintype::embedded().await;
    let mut first = tintype.server.take().expect("it runs");
    let image = tintype.client().await.upload(file(1)).await.expect("an image");
    first.terminate();
    // Comes up while the first one is still going, as a supervisor may do it.
    tintype.start_server().await;
    assert!(first.ended().await.success());
    assert_eq!(tintype.client().await.original(&image).await.expect("the same data").bytes, file(1).bytes);
}

#[tokio::test]
async fn a_server_goes_on_when_nobody_reads_its_logs() {
    // Bash gives it a pipe whose reader is gone at once.
    let log = ("TINTYPE_LOG", "debug");
    let mut tintype = Tintype::embedded_under("bash", &["-c", r#"exec "$0" 2> >(true)"#], &[log]).await;
    let client = tintype.client().await;
    for number in 1..10 {
        let image = client.upload(file(number)).await.expect("an image");
        let settled = client.settled(image.id).await;
        assert!(settled.renditions.iter().all(|rendition| rendition.state() == RenditionState::Ready), "{settled:?}");
    }
    assert_eq!(listed(&client).await.len(), 9);
    assert!(tintype.stop_server().await.success());
}
