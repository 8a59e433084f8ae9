//! Blobs in a bucket: what is promised of a folder holds there too.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use sha2::{Digest, Sha256};
use tintype_proto::v1::{
    DeleteImageRequest, DownloadImageRequest, ImageFormat, ListImagesRequest, RenditionState, UploadImagesRequest, UploadImagesResponse,
    upload_images_response::Message as Reply,
};
use tintype_store::{
    Timestamp,
    sweep::{SweepConfig, sweep},
};
use tintype_tests::{Bucket, Client, Tintype, Upload, pictures};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

use crate::outages::refused_soon;

async fn cluster_on(bucket: &Bucket, worker_count: usize) -> Tintype {
    let variables = bucket.variables();
    Tintype::cluster_with(worker_count, &variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await
}

/// 40 MiB: five parts of an upload.
fn large() -> Bytes {
    let bytes = pictures::bmp(4_096, 3_414, 5);
    assert!(bytes.len() > 40 << 20);
    bytes.into()
}

/// Sends the first 25 MiB of a file and returns when some of them are durable; the rest of it can be sent after that.
async fn begun(
    client: &Client,
    bytes: Bytes,
) -> (mpsc::Sender<UploadImagesRequest>, Streaming<UploadImagesResponse>, impl Iterator<Item = UploadImagesRequest> + use<>) {
    let (sender, receiver) = mpsc::channel(200);
    let mut replies = client.images().upload_images(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    let mut messages = Upload::new("large.bmp", bytes).messages();
    for message in messages.by_ref().take(100) {
        sender.send(message).await.expect("the server takes it");
    }
    loop {
        let reply = replies.message().await.expect("the server answers").expect("the stream is open");
        match reply.message.expect("a reply says something") {
            Reply::Started(_) => {}
            Reply::Progress(progress) => {
                assert!(progress.persisted_size_bytes > 0 && progress.persisted_size_bytes <= 25 << 20, "{progress:?}");
                return (sender, replies, messages);
            }
            other => panic!("{other:?} in the middle of a file"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_any_size_come_are_converted_are_served_and_go_without_a_trace() {
    let bucket = Bucket::new().await;
    let tintype = cluster_on(&bucket, 2).await;
    let client = tintype.client().await;
    let files: Vec<(Upload, Bytes)> = [("small.png", Bytes::from(pictures::png(64, 48, 1))), ("large.bmp", large())]
        .map(|(name, bytes)| (Upload::new(name, bytes.clone()), bytes))
        .into();
    let (uploads, bytes): (Vec<_>, Vec<_>) = files.into_iter().unzip();
    let images = client.upload_each(uploads).await.expect("the stream ends well");
    let images: Vec<_> = images.into_iter().map(|outcome| outcome.expect("an image")).collect();

    let mut blobs = 1;
    for image in &images {
        let settled = client.settled(image.id).await;
        assert!(settled.renditions.iter().all(|rendition| rendition.state() == RenditionState::Ready), "{settled:?}");
        blobs += 1 + settled.renditions.len();
        let converted = client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is ready");
        assert!(converted.bytes.starts_with(&[0xff, 0xd8]));
        assert_eq!((converted.info.width, converted.info.height), (image.width, image.height));
    }
    let objects = bucket.objects().await;
    assert_eq!(objects.len(), blobs, "originals, renditions and the name of the store: {objects:?}");
    assert_eq!(bucket.open_uploads().await, Vec::<String>::new());

    let listed = client.images().list_images(ListImagesRequest::default()).await.expect("a list").into_inner().images;
    assert_eq!(listed.len(), 2);
    for (image, bytes) in images.iter().zip(&bytes) {
        let size = bytes.len() as i64;
        for (offset, limit) in
            [(0, 0), (0, 1), (size - 1, 0), (size / 2 - 1, 2), (size / 3, size / 3), ((8 << 20).min(size) - 1, 300 << 10)]
        {
            let request = DownloadImageRequest {
                image_id: image.id,
                format: image.format,
                offset_bytes: offset,
                limit_bytes: limit,
                ..DownloadImageRequest::default()
            };
            let download = client.download(request).await.expect("a range within the file");
            let end = if limit == 0 { size } else { (offset + limit).min(size) };
            assert!(download.bytes == bytes[offset as usize..end as usize], "{offset} + {limit} of {size}");
        }
    }

    for image in &images {
        client.images().delete_image(DeleteImageRequest { id: image.id }).await.expect("mine to delete");
    }
    let swept = sweep(&tintype.stores(&bucket).await, &SweepConfig::default(), Timestamp::now()).await;
    swept.expect("it sweeps");
    assert_eq!(bucket.objects().await, ["store-id"]);
    assert_eq!(bucket.open_uploads().await, Vec::<String>::new());
}

/// The picture of this number, small or in several parts.
fn picture(number: u32) -> Bytes {
    match number % 30 {
        29 => pictures::bmp(2_048, 1_800, number as u8).into(),
        number if number % 2 == 0 => pictures::png(200, 100 + number, number).into(),
        number => pictures::jpeg(200, 100 + number, number).into(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_many_clients_bring_at_once_is_converted_by_two_workers_and_leaves_nothing() {
    const CLIENTS: u32 = 5;
    const FILES_EACH: u32 = 12;
    let bucket = Bucket::new().await;
    let tintype = cluster_on(&bucket, 2).await;
    let client = tintype.client().await;
    let uploads = (0..CLIENTS).map(|lane| {
        let client = client.clone();
        async move {
            let numbers = lane * FILES_EACH..(lane + 1) * FILES_EACH;
            let files = numbers.clone().map(|number| Upload::new(&number.to_string(), picture(number))).collect();
            let outcomes = client.upload_each(files).await.expect("the stream ends well");
            numbers.zip(outcomes).map(|(number, outcome)| (number, outcome.expect("an image").id)).collect::<Vec<_>>()
        }
    });
    let images = join_all(uploads).await.concat();
    let listed = client.images().list_images(ListImagesRequest::default()).await.expect("a list").into_inner().images;
    assert_eq!(listed.len(), images.len());

    let (mut blobs, mut size_bytes) = (1, 0);
    for (number, id) in &images {
        let image = client.settled(*id).await;
        let original = client.original(&image).await.expect("the original");
        assert!(original.bytes == picture(*number), "the original of image {id}");
        assert!(!image.renditions.is_empty());
        for rendition in &image.renditions {
            assert_eq!(rendition.state(), RenditionState::Ready, "{rendition:?}");
            let request = DownloadImageRequest { rendition_id: rendition.id, ..DownloadImageRequest::default() };
            let converted = client.download(request).await.expect("it is ready");
            assert!(converted.info.sha256 == Sha256::digest(&converted.bytes).as_slice(), "rendition {}", rendition.id);
            let decoded = image::load_from_memory(&converted.bytes).expect("it is a picture");
            assert_eq!((decoded.width() as i32, decoded.height() as i32), (image.width, image.height));
            size_bytes += rendition.size_bytes;
        }
        blobs += 1 + image.renditions.len();
        size_bytes += image.size_bytes;
    }
    assert_eq!(bucket.objects().await.len(), blobs, "originals, renditions and the name of the store");
    assert_eq!(client.current_user().await.expect("a user").used_bytes, size_bytes);

    let deletions = images.iter().map(|(_, id)| {
        let mut images = client.images();
        async move { images.delete_image(DeleteImageRequest { id: *id }).await.expect("mine to delete") }
    });
    join_all(deletions).await;
    sweep(&tintype.stores(&bucket).await, &SweepConfig::default(), Timestamp::now()).await.expect("it sweeps");
    let left = (bucket.objects().await, bucket.open_uploads().await, client.current_user().await.expect("a user").used_bytes);
    println!("{} images, {} objects, {size_bytes} bytes; after the deletions: {left:?}", images.len(), blobs - 1);
    assert_eq!(left, (vec!["store-id".to_owned()], vec![], 0));
}

#[tokio::test]
async fn a_killed_server_leaves_no_upload_open() {
    let bucket = Bucket::new().await;
    let mut tintype = cluster_on(&bucket, 0).await;
    let client = tintype.client().await;
    let upload = begun(&client, large()).await;
    tintype.kill_server().await;
    drop(upload);
    assert_eq!(bucket.open_uploads().await.len(), 1, "it was on its way");
    assert_eq!(bucket.objects().await, ["store-id"], "nothing of it can be read");

    let stores = tintype.stores(&bucket).await;
    let config = SweepConfig::default();
    let now = Timestamp::now();
    assert_eq!(sweep(&stores, &config, now).await.expect("it sweeps").removed_unpublished, 0, "its time has not come");
    assert_eq!(bucket.open_uploads().await.len(), 1);
    let later = now.plus(config.keep_unpublished + Duration::from_mins(1));
    assert_eq!(sweep(&stores, &config, later).await.expect("it sweeps").removed_unpublished, 1);
    assert_eq!(bucket.open_uploads().await, Vec::<String>::new());
    assert_eq!(sweep(&stores, &config, later).await.expect("it sweeps").removed_unpublished, 0);
}

#[tokio::test]
async fn without_its_bucket_it_says_unavailable_soon_and_recovers_by_itself() {
    let bucket = Bucket::new().await;
    let variables = bucket.variables();
    let mut tintype = Tintype::embedded_with(&variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    let client = tintype.client().await;
    let small = || Upload::new("a.png", pictures::png(64, 48, 1));
    let image = client.upload(small()).await.expect("an image");
    client.settled(image.id).await;
    let (sender, mut replies, rest) = begun(&client, large()).await;

    bucket.gate.shut();
    refused_soon(async || client.original(&image).await).await;
    refused_soon(async || client.upload(small()).await).await;
    let begin = Instant::now();
    for message in rest {
        sender.send(message).await.expect("the server goes on reading");
    }
    loop {
        let reply = replies.message().await.expect("the server answers").expect("the stream is open");
        match reply.message.expect("a reply says something") {
            Reply::Progress(_) => {}
            Reply::Failed(failed) => break assert_eq!(failed.status.expect("failed has a status").code, Code::Unavailable as i32),
            other => panic!("{other:?} without a bucket"),
        }
    }
    // This one is asked once, however busy the machine is.
    assert!(begin.elapsed() < Duration::from_secs(8), "{:?}", begin.elapsed());
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| (line.contains("health changed") && line.contains("unavailable")).then_some(())).await;
    assert_eq!(tintype.healthz().await.0, 503);

    bucket.gate.open();
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| (line.contains("health changed") && line.contains("\"status\":\"ok\"")).then_some(())).await;
    assert_eq!(client.original(&image).await.expect("it is there").bytes, pictures::png(64, 48, 1));
    let next = client.upload(small()).await.expect("uploads go on");
    client.rendition(next.id, ImageFormat::Jpeg).await.expect("and so do conversions");
}

#[tokio::test]
async fn a_bucket_that_says_nothing_is_told_of_soon_and_recovers_by_itself() {
    let bucket = Bucket::new().await;
    let variables = bucket.variables();
    let mut tintype = Tintype::embedded_with(&variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    let client = tintype.client().await;
    let small = || Upload::new("a.png", pictures::png(64, 48, 1));
    let image = client.upload(small()).await.expect("an image");
    client.settled(image.id).await;

    bucket.gate.silence();
    let read = async || client.original(&image).await;
    let written = async || client.upload(small()).await;
    tokio::join!(refused_soon(read), refused_soon(written));
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| (line.contains("health changed") && line.contains("unavailable")).then_some(())).await;

    bucket.gate.open();
    let server = tintype.server.as_mut().expect("it runs");
    server.line(|line| (line.contains("health changed") && line.contains("\"status\":\"ok\"")).then_some(())).await;
    assert_eq!(client.original(&image).await.expect("it is there").bytes, pictures::png(64, 48, 1));
}
