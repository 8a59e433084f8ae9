//! What becomes of calls when requests to the bucket fail, break off or hang, one kind of request at a time while the others are answered.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use tintype_proto::v1::{DeleteImageRequest, DownloadImageRequest, Image};
use tintype_store::{
    BlobKey, Kind, Timestamp,
    blobs::s3::{S3, S3Config},
    catalog::postgres::Postgres,
    open::Stores,
    orphans::{KEEP_UNRECORDED, OrphanSweeper},
    sweep::{SweepConfig, sweep},
};
use tintype_tests::{Bucket, Client, Fault, Refused, Tintype, Upload, Wire, number, pictures};
use tonic::Code;

use super::lost::{BROKEN, UNAVAILABLE, file, in_a_bucket, is_unavailable, large};

/// A request that moves little hangs for at most so long: the 5 s that an answer may take, what goes before it, and a busy machine.
const SMALL: Duration = Duration::from_secs(10);
/// What a bucket that hangs adds to a deletion: the 2 s that it waits for the bytes, and a busy machine. Less than the 5 s that the bucket is
/// waited for by whoever needs it.
const DELETION: Duration = Duration::from_secs(4);

/// The beginning of the request line of a request for a blob.
fn line(bucket: &Bucket, method: &str) -> String {
    let config = bucket.config();
    format!("{method} /{}/{}/user_", config.bucket, config.prefix)
}

fn ends_within(begin: Instant, limit: Duration, what: &str) {
    println!("{what}: {:?}", begin.elapsed());
    assert!(begin.elapsed() < limit, "{what} took {:?}", begin.elapsed());
}

async fn original_of(client: &Client, image: &Image) -> Result<Vec<u8>, Refused> {
    Ok(client.original(image).await?.bytes)
}

#[tokio::test]
async fn downloads_are_right_or_say_so_whatever_the_bucket_answers() {
    let bucket = Bucket::new().await;
    let (_tintype, wire, client) = in_a_bucket(&bucket).await;
    let image = client.upload(large()).await.expect("an image");
    let bytes = large().bytes;
    let half = bytes.len() as u64 / 2;
    let faults = [
        Fault::Answer(BROKEN),
        Fault::Answer(UNAVAILABLE),
        Fault::Cut,
        Fault::LoseAnswer,
        Fault::CutAnswerAfter(100),
        Fault::CutAnswerAfter(half),
    ];
    let line = line(&bucket, "GET");
    for fault in faults {
        // Once, and more often than anything is tried.
        for times in [1, usize::MAX] {
            let before = wire.count();
            wire.arm(&[&line], fault, times);
            let begin = Instant::now();
            let found = original_of(&client, &image).await;
            ends_within(begin, SMALL, &format!("{fault:?}, {times} times, {}", if found.is_ok() { "served" } else { "refused" }));
            assert!(wire.count() > before);
            match found {
                Ok(found) => assert!(found == bytes, "bytes differ after {fault:?}"),
                Err(refused) => is_unavailable(&refused),
            }
            wire.disarm();
            assert!(original_of(&client, &image).await.expect("it is there") == bytes, "bytes differ after {fault:?}");
        }
    }
}

/// What is asked of a Tintype while a request to its bucket hangs.
type Question<'a> = BoxFuture<'a, Result<(), Refused>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_hangs_is_told_of_soon_whatever_it_was() {
    let bucket = Bucket::new().await;
    let (_tintype, wire, client) = in_a_bucket(&bucket).await;
    let client = &client;
    let begin = Instant::now();
    let image = client.upload(large()).await.expect("an image");
    // The longest of what is asked takes so much without any fault, on this machine.
    let usual = begin.elapsed();
    let half = large().bytes.len() as u64 / 2;
    let [get, head, put, post] = ["GET", "HEAD", "PUT", "POST"].map(|method| line(&bucket, method));
    let download = || -> Question<'_> { Box::pin(async { original_of(client, &image).await.map(drop) }) };
    let part = || -> Question<'_> {
        let request = DownloadImageRequest { image_id: image.id, format: image.format, offset_bytes: 1 << 20, ..Default::default() };
        Box::pin(async move { client.download(request).await.map(drop) })
    };
    let upload = |upload: Upload| -> Question<'_> { Box::pin(async { client.upload(upload).await.map(drop) }) };
    let mut again = large();
    again.start.request_id.clear();
    let mut other = file();
    other.start.request_id.clear();
    let questions = [
        ("GET", &get, Fault::Hold, download()),
        ("GET in the middle of the answer", &get, Fault::HoldAnswerAfter(half), part()),
        ("HEAD", &head, Fault::HoldAnswer, upload(again.clone())),
        ("PUT", &put, Fault::Hold, upload(other.clone())),
        ("PUT that is not answered", &put, Fault::HoldAnswer, upload(other)),
        ("POST that begins an upload", &post, Fault::Hold, upload(again.clone())),
    ];
    for (what, text, fault, question) in questions {
        let before = wire.count();
        wire.arm(&[text], fault, 1);
        let begin = Instant::now();
        is_unavailable(&question.await.expect_err(what));
        ends_within(begin, usual + SMALL, what);
        assert_eq!(wire.count(), before + 1, "{what}");
    }
    assert!(original_of(client, &image).await.expect("the bucket answers") == large().bytes, "bytes differ");
    if number("TINTYPE_TEST_FAULTS_IN_FULL", 0) == 0 {
        println!("a part and the end of an upload take longer: scripts/test --faults has them");
        return;
    }
    for (what, text) in [("a part", "partNumber=1"), ("the end of an upload", "<CompleteMultipartUpload")] {
        wire.arm(&[text], Fault::Hold, 1);
        let begin = Instant::now();
        is_unavailable(&client.upload(again.clone()).await.expect_err(what));
        // 8 MiB, and all of it, at 512 KiB/s.
        ends_within(begin, usual + Duration::from_secs(32), what);
    }
}

#[tokio::test]
async fn a_slow_line_carries_a_large_file_to_its_end() {
    let bucket = Bucket::new().await;
    let (_tintype, wire, client) = in_a_bucket(&bucket).await;
    // A part takes longer than any answer may, and yet it moves. The whole limit takes a minute.
    let in_full = number("TINTYPE_TEST_FAULTS_IN_FULL", 0) > 0;
    let slow = if in_full { Upload::new("large.bmp", pictures::bmp(4_096, 4_250, 9)) } else { large() };
    wire.slow_down(1 << 20);
    let begin = Instant::now();
    let image = client.upload(slow.clone()).await.expect("it arrives after all");
    println!("{} bytes in {:?}", slow.bytes.len(), begin.elapsed());
    assert!(begin.elapsed() > Duration::from_secs(8), "that was no slow line: {:?}", begin.elapsed());
    assert!(client.original(&image).await.expect("with its bytes").bytes == slow.bytes, "bytes differ");
}

/// The stores of a cluster beside its server, which reach the bucket by this way.
async fn stores_by(tintype: &Tintype, bucket: &Bucket, wire: &Wire) -> Stores {
    let mut stores = tintype.stores(bucket).await;
    let config = S3Config { endpoint: Some(format!("http://{}", wire.address)), ..bucket.config() };
    let writes = Postgres::connect(tintype.variable("TINTYPE_CATALOG"), false).await;
    let blobs = S3::open(&config, Arc::new(writes.expect("the database answers"))).await.expect("the bucket can be opened");
    stores.blobs = Arc::new(blobs);
    stores
}

#[tokio::test]
async fn what_could_not_be_removed_is_removed_later_whatever_the_bucket_answered() {
    for fault in [Fault::Answer(BROKEN), Fault::Answer(UNAVAILABLE), Fault::Cut, Fault::LoseAnswer, Fault::Hold, Fault::HoldAnswer] {
        let bucket = Bucket::new().await;
        let (mut tintype, wire, client) = in_a_bucket(&bucket).await;
        let delete = async |image: &Image| {
            let begin = Instant::now();
            let deleted = client.images().delete_image(DeleteImageRequest { id: image.id }).await;
            deleted.expect("the image is gone, whatever becomes of its bytes");
            begin.elapsed()
        };
        let usual = delete(&client.upload(Upload::new("before.png", pictures::png(64, 48, 3))).await.expect("an image")).await;
        let image = client.upload(file()).await.expect("an image");
        wire.arm(&[&line(&bucket, "DELETE")], fault, usize::MAX);
        let hampered = delete(&image).await;
        println!("a deletion with {fault:?}: {hampered:?}, without it {usual:?}");
        assert!(hampered < usual + DELETION, "a deletion with {fault:?} took {hampered:?}, without it {usual:?}");
        let refused = original_of(&client, &image).await.expect_err("it is gone");
        assert_eq!(refused.kind(), (Code::NotFound, "IMAGE_NOT_FOUND"));
        assert_eq!(client.current_user().await.expect("a user").used_bytes, 0);
        wire.disarm();
        // Its own sweeps would do the same, in a while.
        tintype.kill_server().await;
        sweep(&tintype.stores(&bucket).await, &SweepConfig::default(), Timestamp::now()).await.expect("it sweeps");
        assert_eq!(bucket.objects().await, ["store-id"], "after {fault:?}");
    }
}

#[tokio::test]
async fn sweeps_go_on_after_requests_that_fail_or_hang() {
    let bucket = Bucket::new().await;
    let (mut tintype, wire, _client) = in_a_bucket(&bucket).await;
    tintype.kill_server().await;
    let stores = stores_by(&tintype, &bucket, &wire).await;
    let orphan = BlobKey("user_1/00000000000000000000000000000000/original.png".to_owned());
    bucket.put(&orphan.0, vec![7; 100]).await;
    let later = Timestamp::now().plus(KEEP_UNRECORDED + Duration::from_mins(1));
    let mut sweeper = OrphanSweeper::default();
    let list = "list-type=2".to_owned();
    for (text, fault) in [
        (&list, Fault::Answer(BROKEN)),
        (&list, Fault::Cut),
        (&list, Fault::CutAnswerAfter(50)),
        (&list, Fault::Hold),
        (&list, Fault::HoldAnswerAfter(50)),
        (&line(&bucket, "DELETE"), Fault::Answer(UNAVAILABLE)),
        (&line(&bucket, "DELETE"), Fault::Hold),
    ] {
        wire.arm(&[text], fault, usize::MAX);
        let begin = Instant::now();
        let error = sweeper.step(&stores, later).await.expect_err("the bucket does not do it");
        ends_within(begin, SMALL, &format!("a pass with {fault:?} of {text}: {error}"));
        assert_eq!(bucket.objects().await.len(), 2, "nothing is removed by halves");
    }
    wire.disarm();
    assert_eq!(sweeper.step(&stores, later).await.expect("the bucket answers"), 1);
    assert_eq!(bucket.objects().await, ["store-id"]);
}

#[tokio::test]
async fn an_upload_that_was_given_up_is_ended_later_when_the_bucket_would_not_end_it() {
    for fault in [Fault::Answer(BROKEN), Fault::LoseAnswer, Fault::Hold] {
        let bucket = Bucket::new().await;
        let (mut tintype, wire, client) = in_a_bucket(&bucket).await;
        wire.arm(&["DELETE "], fault, usize::MAX);
        // More than a part of it, and then nothing.
        let messages: Vec<_> = large().messages().take(39).collect();
        let mut replies = client.images().upload_images(tokio_stream::iter(messages)).await.expect("a stream").into_inner();
        while let Ok(Some(_)) = replies.message().await {}
        wire.happened(1).await;
        tintype.kill_server().await;
        wire.disarm();
        let stores = tintype.stores(&bucket).await;
        let config = SweepConfig::default();
        let later = Timestamp::now().plus(config.keep_unpublished + Duration::from_mins(1));
        sweep(&stores, &config, later).await.expect("it sweeps");
        assert_eq!(bucket.open_uploads().await, [""; 0], "after {fault:?}");
        assert_eq!(bucket.objects().await, ["store-id"], "after {fault:?}");
        assert_eq!(client_used(&mut tintype).await, 0);
    }
}

/// What the administrator uses, by a server that was started anew.
async fn client_used(tintype: &mut Tintype) -> i64 {
    tintype.start_server().await;
    tintype.client().await.current_user().await.expect("a user").used_bytes
}

#[tokio::test]
async fn a_size_that_cannot_be_asked_for_is_no_size() {
    let bucket = Bucket::new().await;
    let (tintype, wire, client) = in_a_bucket(&bucket).await;
    let image = client.upload(file()).await.expect("an image");
    let stores = stores_by(&tintype, &bucket, &wire).await;
    let [original] = &bucket.objects().await.into_iter().filter(|key| key.contains("/original.")).collect::<Vec<_>>()[..] else {
        panic!("one original")
    };
    for fault in [Fault::Answer(BROKEN), Fault::Cut, Fault::LoseAnswer, Fault::Hold] {
        wire.arm(&[&line(&bucket, "HEAD")], fault, usize::MAX);
        let begin = Instant::now();
        let error = stores.blobs.size_bytes(&BlobKey(original.clone())).await.expect_err("nobody knows");
        assert_eq!(error.kind(), Kind::Unavailable, "{fault:?}: {error}");
        ends_within(begin, SMALL, &format!("HEAD with {fault:?}"));
    }
    wire.disarm();
    let size = stores.blobs.size_bytes(&BlobKey(original.clone())).await.expect("the bucket answers");
    assert_eq!(size, Some(image.size_bytes as u64));
}
