//! SIGTERM under load: what is under way finishes, everybody else is told to go elsewhere, and nothing is lost.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use tintype_client::Client as Sdk;
use tintype_proto::v1::{RenditionState, UploadImagesRequest, WatchImagesRequest};
use tintype_tests::{ADMIN_PASSWORD, Balancer, Refused, Tintype, Upload, number, pictures};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// Clients that work while everything is restarted.
const CLIENTS: usize = 4;

/// Uploads and downloads until told to stop; returns the ids of the images.
async fn work(sdk: Sdk, client: usize, stop: Arc<AtomicBool>, done: Arc<AtomicUsize>) -> Vec<i64> {
    let mut images = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        let bytes = pictures::png(64, 48, (client * 100_000 + images.len()) as u32);
        let image = sdk.upload(bytes.clone()).file_name("a.png").send().await.expect("no upload is lost");
        let back = sdk.download(image.id).format(tintype_client::Format::Png).bytes().await.expect("no download is lost");
        assert_eq!(back.to_vec(), bytes);
        sdk.image(image.id).await.expect("no call is lost");
        images.push(image.id);
        done.fetch_add(1, Ordering::Relaxed);
    }
    images
}

/// Returns once so many more rounds of work were done.
async fn more(done: &AtomicUsize, rounds: usize) {
    let goal = done.load(Ordering::Relaxed) + rounds;
    while done.load(Ordering::Relaxed) < goal {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_servers_and_workers_under_load_loses_no_call() {
    let rounds = number("TINTYPE_TEST_RESTARTS", 2);
    let mut tintype = Tintype::cluster(2).await;
    let balancer = Balancer::new().await;
    let (second, url) = tintype.another_server().await;
    let mut servers = vec![tintype.server.take().expect("it runs"), second];
    balancer.add(&tintype.grpc_url);
    balancer.add(&url);

    let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let sdk = Sdk::builder(&balancer.url).password("admin", ADMIN_PASSWORD).build().expect("a client");
        clients.spawn(work(sdk, client, Arc::clone(&stop), Arc::clone(&done)));
    }
    let begin = Instant::now();
    for _ in 0..rounds {
        more(&done, CLIENTS).await;
        let (next, url) = tintype.another_server().await;
        balancer.add(&url);
        let mut old = servers.remove(0);
        servers.push(next);
        old.terminate();
        assert!(old.ended().await.success(), "a drained server ended well");

        tintype.start_worker();
        let mut old = tintype.workers.remove(0);
        old.terminate();
        assert!(old.ended().await.success(), "a drained worker ended well");
    }
    more(&done, CLIENTS).await;
    stop.store(true, Ordering::Relaxed);
    let images: Vec<i64> = clients.join_all().await.into_iter().flatten().collect();
    println!("{} uploads with {rounds} restarts of servers and workers in {:?}", images.len(), begin.elapsed());

    let mut client = tintype_tests::Client::connect(&balancer.url).await;
    client.token = Some(tintype_tests::sign_in(client.channel.clone(), "admin", ADMIN_PASSWORD).await.expect("a token"));
    for id in images {
        let settled = client.settled(id).await;
        assert!(settled.renditions.iter().all(|rendition| rendition.state() == RenditionState::Ready), "{settled:?}");
    }
}

#[tokio::test]
async fn a_watch_is_told_to_go_elsewhere_and_a_second_signal_waits_for_nobody() {
    let mut tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let mut watch = client.images().watch_images(WatchImagesRequest::default()).await.expect("a watch").into_inner();
    watch.message().await.expect("the state").expect("the stream is open");
    let (sender, receiver) = mpsc::channel::<UploadImagesRequest>(8);
    let mut messages = Upload::new("half.bmp", pictures::bmp(600, 450, 3)).messages();
    for message in messages.by_ref().take(2) {
        sender.send(message).await.expect("there is room");
    }
    let mut replies = client.images().upload_images(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    replies.message().await.expect("an answer").expect("the file is started");

    let mut server = tintype.server.take().expect("it runs");
    server.terminate();
    let ended = loop {
        match watch.message().await {
            Ok(message) => assert!(message.is_some(), "it ends with a status"),
            Err(status) => break Refused::from(status),
        }
    };
    assert_eq!(ended.kind(), (Code::Unavailable, "DRAINING"));
    assert!(ended.retry_after.is_some(), "{ended:?}");

    // The upload holds the first signal up, and not the second.
    let begin = Instant::now();
    server.terminate();
    assert!(server.ended().await.success());
    assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", begin.elapsed());
    let refused = loop {
        match replies.message().await {
            Ok(message) => assert!(message.is_some(), "it ends with a status"),
            Err(status) => break Refused::from(status),
        }
    };
    assert!(matches!(refused.code, Code::Unavailable | Code::Unknown), "{refused:?}");
}
