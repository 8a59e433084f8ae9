//! Things that Tintype needs go away and come back.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use tintype_proto::v1::{DeleteImageRequest, ImageFormat, ListImagesRequest, RenditionState};
use tintype_tests::{ADMIN_PASSWORD, Client, Program, Refused, Tintype, Upload, files_below, own_binary, pictures, sign_in};
use tonic::{Code, Streaming};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse, health_check_response::ServingStatus, health_client::HealthClient};

/// Returns when health says so.
pub(crate) async fn becomes(watch: &mut Streaming<HealthCheckResponse>, status: ServingStatus) {
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

/// Of a call that needs what is away: it is refused in under 3 s. A busy machine gets three tries.
pub(crate) async fn refused_soon<T: Debug>(call: impl AsyncFn() -> Result<T, Refused>) {
    const SOON: Duration = Duration::from_secs(3);
    let mut took = Vec::new();
    while took.iter().all(|it| *it >= SOON) {
        assert!(took.len() < 3, "{took:?}");
        let begin = Instant::now();
        is_away(&call().await.expect_err("nobody knows"));
        took.push(begin.elapsed());
    }
}

fn is_away(refused: &Refused) {
    assert_eq!(refused.kind(), (Code::Unavailable, "STORE_UNAVAILABLE"));
    assert!(refused.retry_after.is_some(), "{refused:?}");
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
    refused_soon(async || client.image(image.id).await).await;
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

#[tokio::test]
async fn a_catalog_that_says_nothing_is_told_of_soon_and_recovers_by_itself() {
    let tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("an image");
    let mut health = HealthClient::new(client.channel.clone());
    let mut watch = health.watch(HealthCheckRequest { service: String::new() }).await.expect("health is watched").into_inner();
    becomes(&mut watch, ServingStatus::Serving).await;

    tintype.catalog_gate().silence();
    // Calls of every shape, from the moment on: some ask just when it falls silent, the others when that is known.
    refused_soon(async || {
        let mut lists = client.images();
        let (got, listed, uploaded) = tokio::join!(
            client.image(image.id),
            lists.list_images(ListImagesRequest::default()),
            client.upload(Upload::new("b.png", pictures::png(64, 48, 2)))
        );
        let refusals = [got.expect_err("nobody knows"), listed.expect_err("nobody knows").into(), uploaded.expect_err("nobody knows")];
        refusals.iter().for_each(is_away);
        Err::<(), _>(refusals.into_iter().next().expect("there are three"))
    })
    .await;
    becomes(&mut watch, ServingStatus::NotServing).await;
    assert_eq!(tintype.healthz().await.0, 503);

    tintype.catalog_gate().open();
    becomes(&mut watch, ServingStatus::Serving).await;
    assert_eq!(client.original(&image).await.expect("it is there").bytes, pictures::png(64, 48, 1));
    let next = client.upload(Upload::new("b.png", pictures::png(64, 48, 2))).await.expect("uploads go on");
    client.rendition(next.id, ImageFormat::Jpeg).await.expect("and so do workers");
}

#[tokio::test]
async fn a_worker_is_not_held_up_by_a_catalog_that_says_nothing() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    let first = client.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("an image");
    client.rendition(first.id, ImageFormat::Jpeg).await.expect("the worker works");
    // It hears of the next one when the catalog is silent already.
    tintype.workers[0].pause();
    let next = client.upload(Upload::new("b.png", pictures::png(64, 48, 2))).await.expect("an image");
    tintype.catalog_gate().silence();
    let worker = &mut tintype.workers[0];
    worker.resume();
    let begin = Instant::now();
    worker.line(|line| line.contains("could not be claimed").then_some(())).await;
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    tintype.catalog_gate().open();
    client.rendition(next.id, ImageFormat::Jpeg).await.expect("it is made without anybody's help");
}

#[tokio::test]
async fn a_queue_that_says_nothing_holds_nobody_up() {
    let mut tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    tintype.nats().pause();
    let begin = Instant::now();
    let image = client.upload(Upload::new("a.png", pictures::png(64, 48, 1))).await.expect("uploads do not need the queue");
    assert_eq!(client.original(&image).await.expect("nor do downloads").bytes, pictures::png(64, 48, 1));
    assert!(begin.elapsed() < Duration::from_secs(5), "nobody waits for the queue: {:?}", begin.elapsed());
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| (line.contains("health changed") && line.contains("degraded")).then_some(())).await;
    assert_eq!(tintype.healthz().await.0, 200);
    assert!(tintype.metrics().await.contains("tintype_dependency_up{dependency=\"jobs\"} 0"));

    tintype.nats().resume();
    client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is made without anybody's help");
}

#[tokio::test]
async fn a_full_disk_refuses_leaves_nothing_behind_and_recovers_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().to_str().expect("temporary folders have plain names");
    // A disk of 6 MiB of its own, in mounts of its own: that takes no rights.
    let mount = "mkdir $TINTYPE_DATA/blobs && mount -t tmpfs -o size=6m none $TINTYPE_DATA/blobs && exec \"$0\"";
    let binary = own_binary("tintype-server");
    let binary = binary.to_str().expect("the workspace has a plain name");
    let arguments = ["--user", "--map-root-user", "--mount", "sh", "-c", mount, binary];
    let path = ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let settings = [("TINTYPE_DATA", data), ("TINTYPE_GRPC_ADDR", "127.0.0.1:0"), ("TINTYPE_HTTP_ADDR", "127.0.0.1:0"), path];
    let mut server = Program::start("tintype-server", "unshare", &arguments, settings);
    let url = server.line(|line| line.trim().strip_prefix("gRPC").map(|url| url.trim().to_owned())).await;
    let mut client = Client::connect(&url).await;
    client.token = Some(sign_in(client.channel.clone(), "admin", ADMIN_PASSWORD).await.expect("the documented password works"));

    let large = || Upload::new("large.bmp", pictures::bmp(1_200, 1_000, 1));
    let first = client.upload(large()).await.expect("there is room for one");
    client.settled(first.id).await;
    let staging = server.path(&format!("{data}/blobs/staging"));
    assert!(staging.is_dir());
    for _ in 0..3 {
        let refused = client.upload(large()).await.expect_err("there is none for two");
        assert_eq!(refused.kind(), (Code::ResourceExhausted, "STORE_FULL"));
        assert_eq!(files_below(&staging).len(), 0, "nothing is left behind");
    }
    assert_eq!(client.original(&first).await.expect("what was stored stays").bytes, large().bytes);

    client.images().delete_image(DeleteImageRequest { id: first.id }).await.expect("it goes");
    let second = client.upload(large()).await.expect("there is room again");
    assert_eq!(client.original(&second).await.expect("all of it").bytes, large().bytes);
}
