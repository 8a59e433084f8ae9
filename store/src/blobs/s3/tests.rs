use std::time::Duration;

use futures_util::{TryStreamExt, future::BoxFuture};
use object_store::{PutPayload, multipart::MultipartStore};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::watch,
    time::Instant,
};

use super::*;
use crate::{
    Format, Kind, UserId,
    blobs::{BlobSink, CHECKSUM_BLOCK_BYTES},
    catalog::sqlite::Sqlite,
    conformance::{
        blobs::{Damage, Fixture},
        catalog::support::announced,
    },
    random_hex,
};

/// A prefix of its own in the bucket of the tests.
struct BucketFixture {
    blobs: S3,
    _catalog: tempfile::TempDir,
}

#[expect(clippy::disallowed_methods, reason = "tests have no command line")]
fn test_config() -> S3Config {
    let variable = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run scripts/test, which starts a server"));
    let bucket: S3Config = variable("TINTYPE_TEST_S3").parse().expect("TINTYPE_TEST_S3 is the URL of a bucket");
    S3Config { prefix: format!("test/{}", random_hex()), endpoint: Some(variable("TINTYPE_TEST_S3_ENDPOINT")), ..bucket }
}

async fn open(config: &S3Config) -> Result<BucketFixture, StoreError> {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let catalog = Sqlite::open(&folder.path().join("catalog.db")).await.expect("a new catalog");
    Ok(BucketFixture { blobs: S3::open(config, Arc::new(catalog)).await?, _catalog: folder })
}

impl BucketFixture {
    async fn new() -> Self {
        open(&test_config()).await.expect("the bucket of the tests can be opened")
    }
}

#[async_trait]
impl Fixture for BucketFixture {
    fn blobs(&self) -> &dyn Blobs {
        &self.blobs
    }

    async fn damage(&self, key: &BlobKey, damage: Damage) {
        let bucket = &self.blobs.shared.bucket;
        let path = bucket.path(key).expect("a key");
        let found = bucket.client.get(&path).await.expect("the blob is there");
        let mut bytes = found.bytes().await.expect("the blob is there").to_vec();
        match damage {
            Damage::FlipBit(offset) => bytes[offset as usize] ^= 4,
            Damage::Truncate(size) => bytes.truncate(size as usize),
            Damage::Remove => return bucket.client.delete(&path).await.expect("the blob is there"),
        }
        bucket.client.put(&path, PutPayload::from(bytes)).await.expect("the object can be written");
    }
}

crate::blobs_suite!(conformance, BucketFixture::new());

fn key() -> BlobKey {
    BlobKey::original(UserId(7), Format::Png)
}

#[tokio::test]
async fn a_key_is_never_written_twice() {
    let fixture = BucketFixture::new().await;
    let key = key();
    let first = BlobSink::create(&fixture.blobs, key.clone()).await.expect("a blob can be begun").publish().await.expect("it is free");
    let mut sink = BlobSink::create(&fixture.blobs, key.clone()).await.expect("a blob can be begun");
    sink.write(Bytes::from_static(b"second")).await.expect("bytes can be written");
    assert_eq!(sink.publish().await.map_err(|error| error.kind()), Err(Kind::Conflict));
    let bytes = fixture.blobs.shared.bucket.client.get(&fixture.blobs.shared.bucket.path(&key).expect("a key")).await;
    assert_eq!(bytes.expect("the first one stays").meta.size, first.digest.size_bytes);
}

#[tokio::test]
async fn an_upload_is_recorded_before_its_first_part_and_until_it_is_published() {
    let fixture = BucketFixture::new().await;
    let recorded = async || fixture.blobs.shared.writes.stale_writes(Timestamp(i64::MAX), 10).await.expect("the catalog answers");
    let key = key();
    let mut sink = BlobSink::create(&fixture.blobs, key.clone()).await.expect("a blob can be begun");
    sink.write(Bytes::from(vec![7; PART_BYTES])).await.expect("bytes can be written");
    sink.persist().await.expect("an answer");
    assert_eq!(recorded().await, [], "one part needs no upload");
    // The second part waits for the arrival of the first.
    sink.write(Bytes::from(vec![7; PART_BYTES + CHECKSUM_BLOCK_BYTES])).await.expect("bytes can be written");
    assert!(sink.persist().await.expect("an answer") >= PART_BYTES as u64);
    let [write] = recorded().await.try_into().expect("one upload");
    assert_eq!(write.key, key);
    sink.publish().await.expect("a blob can be published");
    assert_eq!(recorded().await, []);
}

#[tokio::test]
async fn what_another_process_left_open_is_ended() {
    let fixture = BucketFixture::new().await;
    let mut sink = BlobSink::create(&fixture.blobs, key()).await.expect("a blob can be begun");
    sink.write(Bytes::from(vec![7; 2 * PART_BYTES + CHECKSUM_BLOCK_BYTES])).await.expect("bytes can be written");
    sink.persist().await.expect("bytes can be made durable");
    let [left] =
        fixture.blobs.shared.writes.stale_writes(Timestamp(i64::MAX), 10).await.expect("an answer").try_into().expect("one upload");
    assert_eq!(fixture.blobs.sweep_unpublished(Timestamp(i64::MAX)).await.expect("it sweeps"), 1);
    assert_eq!(fixture.blobs.sweep_unpublished(Timestamp(i64::MAX)).await.expect("it sweeps"), 0);
    let bucket = &fixture.blobs.shared.bucket;
    let path = bucket.path(&left.key).expect("a key");
    let part =
        bucket.client.put_part(&path, left.multipart_id.as_ref().expect("an id"), 1, PutPayload::from(vec![7; CHECKSUM_BLOCK_BYTES])).await;
    assert!(matches!(part, Err(Error::NotFound { .. })), "the upload is not open any more: {part:?}");
    assert_eq!(sink.publish().await.map_err(|error| error.kind()), Err(Kind::Conflict));
}

#[tokio::test]
async fn an_upload_whose_id_was_never_recorded_is_ended_and_no_other() {
    let fixture = BucketFixture::new().await;
    let Shared { bucket, writes, .. } = &*fixture.blobs.shared;
    let (lost, other) = (key(), key());
    for key in [&lost, &other] {
        bucket.client.create_multipart(&bucket.path(key).expect("a key")).await.expect("an upload can be begun");
    }
    let open = async |key| bucket.open_uploads(&bucket.path(key).expect("a key")).await.expect("a list").len();
    assert_eq!((open(&lost).await, open(&other).await), (1, 1));
    writes.note_write(&OpenWrite { key: lost.clone(), multipart_id: None }, Timestamp(1)).await.expect("noted");
    assert_eq!(fixture.blobs.sweep_unpublished(Timestamp(2)).await.expect("it sweeps"), 1);
    assert_eq!((open(&lost).await, open(&other).await), (0, 1));
    assert_eq!(fixture.blobs.sweep_unpublished(Timestamp(2)).await.expect("it sweeps"), 0);
}

#[tokio::test]
async fn wrong_settings_are_told_from_a_bucket_that_is_away() {
    let right = test_config();
    let kind = async |config: S3Config| open(&config).await.err().map(|error| error.kind());
    assert_eq!(kind(S3Config { bucket: "no-such-bucket".to_owned(), ..right.clone() }).await, Some(Kind::Misconfigured));
    assert_eq!(kind(S3Config { endpoint: Some("http://127.0.0.1:1".to_owned()), ..right.clone() }).await, Some(Kind::Unavailable));
    assert_eq!(kind(right).await, None);
}

/// A server that listens and answers every request with `answer`, or not at all.
async fn server(answer: Option<&'static str>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("its address"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 1 << 14];
                while stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    if let Some(answer) = answer {
                        return stream.write_all(answer.as_bytes()).await;
                    }
                }
                Ok(())
            });
        }
    });
    url
}

/// A store at this endpoint, which may not be there.
async fn unopened(endpoint: &str) -> BucketFixture {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let catalog = Sqlite::open(&folder.path().join("catalog.db")).await.expect("a new catalog");
    let bucket = Bucket::new(&S3Config { endpoint: Some(endpoint.to_owned()), ..test_config() }).expect("settings");
    let shared = Shared { bucket, writes: Arc::new(catalog), cleanups: TaskTracker::new() };
    BucketFixture { blobs: S3 { shared: Arc::new(shared) }, _catalog: folder }
}

/// Whoever makes the call is told that the bucket is away, and within 3 s. Up to three are made until one took no longer: the promise is
/// about the call, not about a machine that stands still meanwhile.
async fn is_unavailable_soon<'a>(what: &str, call: impl Fn() -> BoxFuture<'a, Result<(), StoreError>>) {
    let mut shortest = Duration::MAX;
    for _ in 0..3 {
        let begin = Instant::now();
        let error = call().await.expect_err(what);
        shortest = shortest.min(begin.elapsed());
        assert_eq!(error.kind(), Kind::Unavailable, "{what}: {error}");
        if shortest < Duration::from_secs(3) {
            return;
        }
    }
    panic!("{what} took {shortest:?}");
}

#[tokio::test]
async fn every_call_says_unavailable_within_three_seconds_when_the_bucket_is_away() {
    let fails = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for endpoint in ["http://127.0.0.1:1".to_owned(), server(None).await, server(Some(fails)).await] {
        let BucketFixture { blobs, _catalog } = unopened(&endpoint).await;
        let here = |what: &str| format!("{what} at {endpoint}");
        is_unavailable_soon(&here("read"), || Box::pin(async { blobs.read(&key(), 0..10).await.map(drop) })).await;
        is_unavailable_soon(&here("delete"), || Box::pin(async { blobs.delete(&key()).await })).await;
        is_unavailable_soon(&here("list"), || Box::pin(async { blobs.list().try_next().await.map(drop) })).await;
        is_unavailable_soon(&here("name"), || Box::pin(async { blobs.set_store_id(&StoreId(random_hex())).await })).await;
        is_unavailable_soon(&here("ping"), || Box::pin(async { blobs.ping().await })).await;
        is_unavailable_soon(&here("small"), || {
            Box::pin(async {
                let mut sink = BlobSink::create(&blobs, key()).await?;
                sink.write(Bytes::from(vec![7; CHECKSUM_BLOCK_BYTES])).await?;
                sink.publish().await.map(drop)
            })
        })
        .await;
        is_unavailable_soon(&here("large"), || {
            Box::pin(async {
                let mut sink = BlobSink::create(&blobs, key()).await?;
                sink.write(Bytes::from(vec![7; 2 * PART_BYTES + CHECKSUM_BLOCK_BYTES])).await?;
                sink.persist().await.map(drop)
            })
        })
        .await;
    }
}

#[tokio::test]
async fn a_slow_bucket_is_waited_for_while_it_answers_other_questions() {
    // Takes bytes only after it was asked two other things meanwhile.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("its address"));
    let questions = watch::Sender::new(0);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let questions = questions.clone();
            tokio::spawn(async move {
                let mut request = [0; 1 << 14];
                if stream.read(&mut request).await? == 0 {
                    return Ok(());
                }
                let status = if request.starts_with(b"HEAD") {
                    questions.send_modify(|questions| *questions += 1);
                    "404 Not Found"
                } else {
                    let asked = questions.subscribe().wait_for(|questions| *questions >= 2).await.is_ok();
                    if asked { "200 OK\r\netag: \"1\"" } else { "500 Internal Server Error" }
                };
                stream.write_all(format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").as_bytes()).await
            });
        }
    });
    let fixture = unopened(&endpoint).await;
    let mut sink = BlobSink::create(&fixture.blobs, key()).await.expect("a blob can be begun");
    sink.write(Bytes::from_static(b"bytes")).await.expect("bytes can be written");
    sink.publish().await.expect("it arrives after all");
}

#[tokio::test]
async fn by_a_signed_url_comes_the_announced_file_and_no_other_and_once() {
    let config = test_config();
    let public = config.endpoint.as_ref().map(|endpoint| endpoint.replace("127.0.0.1", "localhost"));
    let fixture = open(&S3Config { public_endpoint: public.clone(), ..config }).await.expect("the bucket of the tests can be opened");
    let bytes = Bytes::from_static(b"the announced bytes");
    let file = announced(&bytes);
    let key = BlobKey::arriving(UserId(7));
    let signed = fixture.blobs.sign_put(&key, &file, Duration::from_mins(1)).await.expect("it is signed").expect("a bucket can sign");
    assert!(signed.url.starts_with(&public.expect("the tests name an endpoint")), "{}", signed.url);
    let client = reqwest::Client::new();
    let put = async |url: &str, changed: Option<(&str, &str)>, body: &Bytes| {
        let mut request = client.put(url).body(body.clone());
        for (name, value) in &signed.headers {
            let changed = changed.filter(|(changed, _)| changed == name).map(|(_, value)| value);
            request = request.header(name, changed.unwrap_or(value));
        }
        request.send().await.expect("an answer").status().as_u16()
    };
    assert_eq!(put(&signed.url, Some(("content-type", "text/html")), &bytes).await, 403, "the type is signed");
    assert_eq!(put(&signed.url, Some(("if-none-match", "x")), &bytes).await, 403, "that it comes once is signed");
    let other_key = signed.url.replace("arriving", "original.png");
    assert_eq!(put(&other_key, None, &bytes).await, 403, "the place is signed");
    for other in [&b"the announced byteX"[..], b"the announced bytes and more", b""] {
        assert_eq!(put(&signed.url, None, &Bytes::from_static(other)).await, 400, "the bytes are signed");
    }
    assert_eq!(fixture.blobs.size_bytes(&key).await.expect("an answer"), None);
    assert_eq!(put(&signed.url, None, &bytes).await, 200);
    assert_eq!(put(&signed.url, None, &bytes).await, 412, "once");
    let read: Vec<Bytes> =
        fixture.blobs.read(&key, 0..file.size_bytes).await.expect("it is there").try_collect().await.expect("it is whole");
    assert_eq!(read.concat(), bytes);
    fixture.blobs.delete(&key).await.expect("it can be removed");
}
