//! Uploads that are interrupted: what was durable is not sent again, and what comes of it is the file.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tintype_proto::v1::{
    CancelUploadRequest, DeleteUserRequest, GetUploadRequest, GetUploadResponse, Image, UploadChunk, UploadFinish, UploadImagesRequest,
    UploadImagesResponse, upload_images_request::Message, upload_images_response::Message as Reply, user_service_client::UserServiceClient,
};
use tintype_store::Timestamp;
use tintype_tests::{Breaker, Bucket, Client, Refused, Tintype, Upload, pictures};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Streaming};

const MIB: usize = 1 << 20;
const CHUNK: usize = 256 << 10;

fn message(message: Message) -> UploadImagesRequest {
    UploadImagesRequest { message: Some(message) }
}

fn sha256(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// A file of 20 MiB.
fn file() -> Bytes {
    pictures::bmp(2_048, 3_414, 9).into()
}

/// A stream of one upload in the hands of a test.
struct Stream {
    sender: mpsc::Sender<UploadImagesRequest>,
    replies: Streaming<UploadImagesResponse>,
}

impl Stream {
    /// Sends the start of a file and returns the offset from which to go on.
    async fn begin(client: &Client, upload_id: &str) -> (Self, usize) {
        let (sender, receiver) = mpsc::channel(200);
        let start = Upload::new("large.bmp", Bytes::new()).upload_id(upload_id).start;
        sender.send(message(Message::Start(start))).await.expect("there is room");
        let replies = client.images().upload_images(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
        let mut stream = Self { sender, replies };
        match stream.reply().await {
            Reply::Started(started) => {
                assert_eq!(started.upload_id, upload_id);
                (stream, started.offset_bytes as usize)
            }
            other => panic!("not started: {other:?}"),
        }
    }

    async fn reply(&mut self) -> Reply {
        let reply = self.replies.message().await.expect("the server answers").expect("the stream is open");
        reply.message.expect("a reply says something")
    }

    /// Sends bytes in chunks without their offsets.
    async fn send(&mut self, bytes: &Bytes) {
        for begin in (0..bytes.len()).step_by(CHUNK) {
            let data = bytes.slice(begin..bytes.len().min(begin + CHUNK));
            self.sender.send(message(Message::Chunk(UploadChunk { data, ..UploadChunk::default() }))).await.expect("it is open");
        }
    }

    async fn chunk(&mut self, chunk: UploadChunk) {
        self.sender.send(message(Message::Chunk(chunk))).await.expect("it is open");
    }

    /// Returns when so many bytes are durable.
    async fn persisted(&mut self, bytes: usize) {
        loop {
            match self.reply().await {
                Reply::Progress(progress) if progress.persisted_size_bytes as usize >= bytes => return,
                Reply::Progress(_) => {}
                other => panic!("{other:?} in the middle of a file"),
            }
        }
    }

    /// What becomes of the file.
    async fn outcome(&mut self) -> Result<Image, Refused> {
        loop {
            match self.reply().await {
                Reply::Progress(_) => {}
                Reply::Done(done) => return Ok(done.image.expect("done has the image")),
                Reply::Failed(failed) => return Err(failed.status.expect("failed has a status").into()),
                Reply::Started(started) => panic!("{started:?} in the middle of a file"),
            }
        }
    }

    async fn finish(&mut self) -> Result<Image, Refused> {
        self.sender.send(message(Message::Finish(UploadFinish {}))).await.expect("it is open");
        self.outcome().await
    }
}

/// Sends the first bytes of a file and breaks the stream off once some of them are durable.
async fn interrupted(client: &Client, upload_id: &str, bytes: &Bytes) {
    let (mut stream, offset) = Stream::begin(client, upload_id).await;
    stream.send(&bytes.slice(offset..)).await;
    stream.persisted(offset + 8 * MIB).await;
}

/// Goes on with a file to its end.
async fn finished(client: &Client, upload_id: &str, bytes: &Bytes) -> (usize, Image) {
    let (mut stream, offset) = Stream::begin(client, upload_id).await;
    stream.send(&bytes.slice(offset..)).await;
    (offset, stream.finish().await.expect("an image"))
}

async fn upload(client: &Client, upload_id: &str) -> Result<GetUploadResponse, Refused> {
    Ok(client.images().get_upload(GetUploadRequest { upload_id: upload_id.to_owned() }).await?.into_inner())
}

async fn cancel(client: &Client, upload_id: &str) -> Result<(), Refused> {
    client.images().cancel_upload(CancelUploadRequest { upload_id: upload_id.to_owned() }).await?;
    Ok(())
}

async fn assert_whole(client: &Client, image: &Image, bytes: &Bytes) {
    assert_eq!(image.sha256, sha256(bytes));
    assert!(client.original(image).await.expect("the original").bytes == *bytes, "bytes differ");
}

fn host(url: &str) -> &str {
    url.trim_start_matches("http://")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_large_file_arrives_whole_through_five_cuts_and_a_killed_server() {
    let bytes = Bytes::from(pictures::bmp(4_096, 4_096, 3));
    let size = bytes.len() as u64;
    let mut tintype = Tintype::embedded().await;
    let cuts = [3, 11, 19, 38, 44].map(|mebibytes| mebibytes * MIB as u64);
    let breaker = Breaker::before(host(&tintype.grpc_url), cuts.into()).await;
    let token = tintype.client().await.token.expect("signed in");
    let client = tintype_client::Client::builder(format!("http://{}", breaker.address)).token(token).build().expect("a client");
    let (resumed, resumed_seen) = mpsc::unbounded_channel();
    let report = move |at: tintype_client::UploadProgress| {
        let _ = resumed.send((at.resumed_bytes, at.sent_bytes));
    };
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    let sending = tokio::spawn(client.upload(bytes.clone()).file_name("large.bmp").sha256(digest).progress(report).send());

    breaker.sent(30 * MIB as u64).await;
    tintype.kill_server().await;
    tintype.start_server().await;
    // A stream that goes on with an upload writes it anew. Of a file that was not recorded yet only the sweeper of old ones knows.
    let recorded = tintype.catalog().await.stale_uploads(Timestamp::now(), 10).await.expect("the catalog answers");
    let mut unrecorded = tintype.blob_files("staging");
    unrecorded.retain(|file| !recorded.iter().any(|upload| file.ends_with(&upload.partial.place)));
    assert!(unrecorded.len() <= 1, "{unrecorded:?}");
    breaker.lead_to(host(&tintype.grpc_url));

    let image = sending.await.expect("no panic").expect("an image");
    let (sent_bytes, cut_count) = breaker.counts();
    let mut resumed_seen = resumed_seen;
    let mut resumed = Vec::new();
    while let Ok((resumed_bytes, sent_bytes)) = resumed_seen.try_recv() {
        assert!(sent_bytes <= size, "what the server has is not counted twice");
        if resumed_bytes > resumed.last().copied().unwrap_or(0) {
            resumed.push(resumed_bytes);
        }
    }
    println!("{size} bytes of file, {sent_bytes} bytes sent in all, {cut_count} cuts and a kill, resumed at {resumed:?}");
    assert_eq!((cut_count, image.sha256), (5, digest));
    assert!(resumed.len() >= 3, "{resumed:?}");
    // Six interruptions, at most one step of progress lost by each, where usually nothing is but by the kill.
    assert!(sent_bytes < size + 6 * 9 * MIB as u64);
    let downloaded = client.download(image.id).format(tintype_client::Format::Bmp).bytes().await.expect("the original");
    assert_eq!(<[u8; 32]>::from(Sha256::digest(&downloaded)), digest);
    // Nothing else is left of the way it came.
    tintype.nothing_is_staged_but(&unrecorded).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_goes_on_and_the_stream_before_can_neither_add_nor_finish() {
    let tintype = Tintype::cluster(0).await;
    let (_server, url) = tintype.another_server().await;
    let here = tintype.client().await;
    let there = Client { channel: Client::connect(&url).await.channel, token: here.token.clone() };
    let bytes = file();
    let (mut older, _) = Stream::begin(&here, "one").await;
    older.send(&bytes.slice(..10 * MIB)).await;
    older.persisted(8 * MIB).await;
    let (mut newer, offset) = Stream::begin(&there, "one").await;
    assert!((8 * MIB..=10 * MIB).contains(&offset), "{offset}");
    // More than a step, so that it has to record something.
    older.send(&bytes.slice(10 * MIB..)).await;
    assert_eq!(older.outcome().await.expect_err("it was taken over").kind(), (Code::Aborted, "UPLOAD_TAKEN_OVER"));
    newer.send(&bytes.slice(offset..)).await;
    let image = newer.finish().await.expect("an image");
    assert_whole(&here, &image, &bytes).await;

    let (mut older, _) = Stream::begin(&here, "two").await;
    older.send(&bytes.slice(..10 * MIB)).await;
    older.persisted(8 * MIB).await;
    let (mut newer, offset) = Stream::begin(&there, "two").await;
    let refused = older.finish().await.expect_err("it was taken over");
    assert_eq!(refused.kind(), (Code::Aborted, "UPLOAD_TAKEN_OVER"));
    newer.send(&bytes.slice(offset..)).await;
    assert_whole(&there, &newer.finish().await.expect("an image"), &bytes).await;
    assert_eq!(tintype.blob_files("staging").len(), 0, "of neither of them anything is left");
    assert_eq!(tintype.blob_files("user_1").len(), 2);
}

#[tokio::test]
async fn offsets_and_checksums_of_chunks_are_held_against_what_arrived() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let bytes = Bytes::from(pictures::bmp(400, 400, 2));
    let (middle, rest) = (200_000, 300_000);
    let at = |begin: usize, end: usize| UploadChunk {
        data: bytes.slice(begin..end),
        offset_bytes: Some(begin as i64),
        crc32c: Some(crc32c::crc32c(&bytes[begin..end])),
    };
    let (mut stream, _) = Stream::begin(&client, "gap").await;
    stream.chunk(at(0, middle)).await;
    stream.chunk(at(rest, bytes.len())).await;
    let refused = stream.outcome().await.expect_err("bytes are missing");
    assert_eq!(refused.kind(), (Code::OutOfRange, "UPLOAD_GAP"));
    assert_eq!((refused.metadata["offset_bytes"].as_str(), refused.metadata["seen"].as_str()), ("200000", "300000"));

    let (mut stream, offset) = Stream::begin(&client, "gap").await;
    assert_eq!(offset, middle, "what came before the gap stays");
    let mut damaged = at(middle, rest);
    damaged.crc32c = damaged.crc32c.map(|crc| crc ^ 1);
    stream.chunk(damaged).await;
    assert_eq!(stream.outcome().await.expect_err("it is damaged").kind(), (Code::InvalidArgument, "CHUNK_DIGEST_MISMATCH"));

    let (mut stream, _) = Stream::begin(&client, "gap").await;
    for chunk in [at(0, middle), at(middle - 9, rest), at(0, rest), at(rest - 1, bytes.len()), at(5, 9)] {
        stream.chunk(chunk).await;
    }
    assert_whole(&client, &stream.finish().await.expect("an image"), &bytes).await;
}

#[tokio::test]
async fn a_finished_upload_is_its_image_whoever_asks_or_finishes_it_again() {
    let mut tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let bytes = file();
    assert_eq!(upload(&client, "twice").await.expect_err("nothing yet").kind(), (Code::NotFound, "UPLOAD_NOT_FOUND"));
    interrupted(&client, "twice", &bytes).await;
    tintype.kill_server().await;
    tintype.start_server().await;
    let client = tintype.client().await;
    let open = upload(&client, "twice").await.expect("it is open");
    assert!(open.image.is_none() && open.expire_time.is_some() && open.persisted_size_bytes >= 8 << 20, "{open:?}");
    let (offset, image) = finished(&client, "twice", &bytes).await;
    assert_eq!(offset as i64, open.persisted_size_bytes);
    assert_whole(&client, &image, &bytes).await;

    let again = client.upload(Upload::new("other.png", pictures::png(8, 8, 1)).upload_id("twice")).await.expect("the image");
    let asked = upload(&client, "twice").await.expect("it is finished");
    assert_eq!((again.id, asked.image.expect("it is finished").id, asked.expire_time), (image.id, image.id, None));
    tintype.add_user("bob").await;
    let bob = tintype.client_of("bob").await;
    assert_eq!(upload(&bob, "twice").await.expect_err("not his").kind(), (Code::NotFound, "UPLOAD_NOT_FOUND"));
    let both = Upload::new("a.png", pictures::png(8, 8, 1)).upload_id("one").request_id("two");
    assert_eq!(client.upload(both).await.expect_err("which of them").kind(), (Code::InvalidArgument, "INVALID_FIELD"));
}

#[tokio::test]
async fn what_is_damaged_in_between_is_sent_again_and_never_becomes_an_image() {
    let mut tintype = Tintype::embedded().await;
    let bytes = file();
    interrupted(&tintype.client().await, "damaged", &bytes).await;
    tintype.kill_server().await;
    let [staged] = tintype.blob_files("staging").try_into().expect("one file");
    let mut stored = std::fs::read(&staged).expect("it can be read");
    stored[MIB] ^= 1;
    std::fs::write(&staged, stored).expect("it can be written");
    tintype.start_server().await;
    let client = tintype.client().await;
    let (offset, image) = finished(&client, "damaged", &bytes).await;
    assert_eq!(offset, 0);
    assert_whole(&client, &image, &bytes).await;
    tintype.nothing_is_staged_but(&[]).await;
}

#[tokio::test]
async fn an_unfinished_upload_counts_until_it_expires_also_after_a_restart() {
    let mut tintype = Tintype::embedded().await;
    tintype.add_user("ada").await;
    let ada = tintype.client_of("ada").await;
    interrupted(&ada, "left", &file()).await;
    tintype.kill_server().await;
    tintype.set("TINTYPE_STREAM_IDLE_SECS", "5");
    tintype.start_server().await;
    let ada = tintype.client_of("ada").await;
    let persisted = upload(&ada, "left").await.expect("it is open").persisted_size_bytes;
    assert_eq!(ada.current_user().await.expect("a user").used_bytes, persisted);
    tintype.stop_server().await;
    tintype.set("TINTYPE_UPLOAD_EXPIRY_SECS", "1");
    tintype.start_server().await;
    let swept = |line: &str| line.contains("removed_uploads: 1").then_some(());
    tintype.server.as_mut().expect("it runs").line(swept).await;
    let ada = tintype.client_of("ada").await;
    assert_eq!(upload(&ada, "left").await.expect_err("it expired").kind(), (Code::NotFound, "UPLOAD_NOT_FOUND"));
    assert_eq!(ada.current_user().await.expect("a user").used_bytes, 0);
    assert_eq!(tintype.blob_files("staging").len(), 0);
}

#[tokio::test]
async fn an_unfinished_upload_fills_the_quota_on_every_server_and_goes_with_its_user() {
    let mut tintype = Tintype::cluster(0).await;
    let (mut server, url) = tintype.another_server().await;
    tintype.add_user("ada").await;
    let (admin, here) = (tintype.client().await, tintype.client_of("ada").await);
    let there = Client { channel: Client::connect(&url).await.channel, token: here.token.clone() };
    let id = here.current_user().await.expect("a user").id;
    let token = admin.token.clone().expect("signed in");
    let sdk = tintype_client::Client::builder(&tintype.grpc_url).token(token).build().expect("a client");
    let bytes = file();
    let quota_bytes = bytes.len() as u64 + (1 << 20);
    sdk.users().update(id).quota_bytes(quota_bytes).send().await.expect("changed");
    interrupted(&here, "left", &bytes).await;
    let persisted = upload(&there, "left").await.expect("it is open").persisted_size_bytes;
    let refused = there.upload(Upload::new("b.bmp", file())).await.expect_err("there is no room for both");
    assert_eq!(refused.kind(), (Code::ResourceExhausted, "QUOTA_EXCEEDED"));
    assert!(there.current_user().await.expect("a user").used_bytes >= persisted);
    // What there is of itself does not stand in its way.
    let (_, image) = finished(&there, "left", &bytes).await;
    assert_eq!(there.current_user().await.expect("a user").used_bytes, image.size_bytes);

    sdk.users().update(id).quota_bytes(10 * quota_bytes).send().await.expect("changed");
    interrupted(&here, "more", &bytes).await;
    tintype.kill_server().await;
    let mut users = UserServiceClient::with_interceptor(there.channel.clone(), admin.bearer());
    users.delete_user(DeleteUserRequest { id }).await.expect("deleted");
    server.line(|line| line.contains("removed_uploads: 1").then_some(())).await;
    assert_eq!(tintype.blob_files("staging").len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_bucket_another_server_goes_on_from_the_parts_that_arrived() {
    let bucket = Bucket::new().await;
    let variables = bucket.variables();
    let mut tintype = Tintype::cluster_with(0, &variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    let bytes = Bytes::from(pictures::bmp(4_096, 3_414, 5));
    // The same one twice interrupted, once with a killed server.
    interrupted(&tintype.client().await, "s3", &bytes).await;
    tintype.kill_server().await;
    tintype.start_server().await;
    let (_server, url) = tintype.another_server().await;
    let client = tintype.client().await;
    let first = upload(&client, "s3").await.expect("it is open").persisted_size_bytes;
    assert!(first > 0 && first % (8 << 20) == 0, "whole parts: {first}");
    interrupted(&client, "s3", &bytes).await;
    let there = Client { channel: Client::connect(&url).await.channel, token: client.token.clone() };
    let (offset, image) = finished(&there, "s3", &bytes).await;
    assert!(offset as i64 > first, "{offset} after {first}");
    assert_whole(&there, &image, &bytes).await;
    assert_eq!(bucket.open_uploads().await, Vec::<String>::new());
    let mut objects = bucket.objects().await;
    objects.retain(|name| name != "store-id");
    assert_eq!(objects.len(), 1, "{objects:?}");
}

/// Of two streams of one upload, the second begins before anything of the first is recorded, and finishes a small file. Returns the first one.
async fn finished_beside_another_stream(client: &Client) -> Stream {
    let (mut first, _) = Stream::begin(client, "both").await;
    let (mut second, offset) = Stream::begin(client, "both").await;
    assert_eq!(offset, 0);
    first.send(&file().slice(..10 * MIB)).await;
    first.persisted(8 * MIB).await;
    assert!(upload(client, "both").await.expect("it is open").persisted_size_bytes > 0);
    let small = Bytes::from(pictures::png(64, 48, 1));
    second.send(&small).await;
    let image = second.finish().await.expect("an image");
    assert_whole(client, &image, &small).await;
    first
}

#[tokio::test]
async fn what_another_stream_kept_of_a_finished_upload_is_gone() {
    let tintype = Tintype::cluster(0).await;
    let _first = finished_beside_another_stream(&tintype.client().await).await;
    assert_eq!((tintype.blob_files("staging").len(), tintype.blob_files("user_1").len()), (0, 1));
}

#[tokio::test]
async fn a_cancelled_upload_leaves_nothing_and_can_begin_anew() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let bytes = file();
    interrupted(&client, "given-up", &bytes).await;
    tintype.add_user("bob").await;
    let bob = tintype.client_of("bob").await;
    assert_eq!(cancel(&bob, "given-up").await.expect_err("not his").kind(), (Code::NotFound, "UPLOAD_NOT_FOUND"));
    // Until all that came is recorded: the stream that brought it has come to its end then.
    loop {
        let used_bytes = client.current_user().await.expect("a user").used_bytes;
        let persisted = upload(&client, "given-up").await.expect("it is open").persisted_size_bytes;
        assert!(persisted > 0);
        if used_bytes == persisted {
            break;
        }
    }

    cancel(&client, "given-up").await.expect("it is cancelled");
    assert_eq!(client.current_user().await.expect("a user").used_bytes, 0);
    assert_eq!(tintype.blob_files("staging").len(), 0);
    assert_eq!(upload(&client, "given-up").await.expect_err("it is gone").kind(), (Code::NotFound, "UPLOAD_NOT_FOUND"));
    assert_eq!(cancel(&client, "given-up").await.expect_err("it is gone").kind(), (Code::NotFound, "UPLOAD_NOT_FOUND"));
    assert_eq!(cancel(&client, "").await.expect_err("which one").kind(), (Code::InvalidArgument, "INVALID_FIELD"));

    let (offset, image) = finished(&client, "given-up", &bytes).await;
    assert_eq!(offset, 0);
    assert_whole(&client, &image, &bytes).await;
    assert_eq!(cancel(&client, "given-up").await.expect_err("it is finished").kind(), (Code::NotFound, "UPLOAD_NOT_FOUND"));
    assert_whole(&client, &image, &bytes).await;
}

#[tokio::test]
async fn a_stream_whose_upload_is_cancelled_can_neither_add_nor_finish() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let bytes = file();
    for adds in [true, false] {
        let (mut stream, offset) = Stream::begin(&client, "cancelled").await;
        assert_eq!(offset, 0);
        stream.send(&bytes.slice(..10 * MIB)).await;
        stream.persisted(8 * MIB).await;
        cancel(&client, "cancelled").await.expect("it is cancelled");
        let refused = if adds {
            stream.send(&bytes.slice(10 * MIB..)).await;
            stream.outcome().await
        } else {
            stream.finish().await
        };
        assert_eq!(refused.expect_err("it was cancelled").kind(), (Code::Aborted, "UPLOAD_TAKEN_OVER"));
        assert_eq!(client.current_user().await.expect("a user").used_bytes, 0);
        assert_eq!(tintype.blob_files("staging").len() + tintype.blob_files("user_1").len(), 0);
    }
}
