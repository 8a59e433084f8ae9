//! Calls end when they must, with a status that says why, and what they had begun is gone.

use std::time::{Duration, Instant};

use bytes::Bytes;
use tintype_proto::v1::{
    DownloadImageRequest, GetLimitsRequest, UploadChunk, UploadImagesRequest, UploadStart, WatchImagesRequest,
    upload_images_request::Message,
};
use tintype_tests::{Client, RawClient, Tintype, Upload, grpc_message, pictures};
use tonic::Code;

const UPLOAD: &str = "tintype.v1.ImageService/UploadImages";
const DOWNLOAD: &str = "tintype.v1.ImageService/DownloadImage";
const LIMITS: &str = "tintype.v1.ImageService/GetLimits";
const WATCH: &str = "tintype.v1.ImageService/WatchImages";

async fn raw(tintype: &Tintype, client: &Client) -> RawClient {
    RawClient::connect(&tintype.grpc_url, client.token.clone()).await
}

fn asked(message: Message) -> Bytes {
    grpc_message(&UploadImagesRequest { message: Some(message) })
}

fn start() -> Bytes {
    asked(Message::Start(UploadStart { file_name: "slow.bmp".to_owned(), ..UploadStart::default() }))
}

/// Waits until the staging area is empty: what is let go of goes a moment after the client was told.
async fn nothing_is_left(tintype: &Tintype) {
    let swept = async {
        while !tintype.blob_files("staging").is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), swept).await.expect("what an ended upload had written goes");
}

#[tokio::test]
async fn a_deadline_bounds_the_whole_of_a_call() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let raw = raw(&tintype, &client).await;

    // Before the answer begins; without a worker that makes it, a rendition is waited for until the deadline.
    let waiting = Tintype::cluster(0).await;
    let other = waiting.client().await;
    let image = other.upload(Upload::new("a.png", pictures::png(8, 8, 1))).await.expect("an image");
    let request = DownloadImageRequest { image_id: image.id, wait: true, ..DownloadImageRequest::default() };
    let raw_other = self::raw(&waiting, &other).await;
    let begin = Instant::now();
    let (_, refused) = raw_other.call(DOWNLOAD, &[("grpc-timeout", "400m")], &request).await.expect("a stream").ended().await;
    assert_eq!(refused.kind(), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    assert!((400..5_000).contains(&begin.elapsed().as_millis()), "{:?}", begin.elapsed());

    // An answer that goes on.
    let (bytes, refused) =
        raw.call(WATCH, &[("grpc-timeout", "300000u")], &WatchImagesRequest::default()).await.expect("a stream").ended().await;
    assert!(bytes > 0, "it had begun");
    assert_eq!(refused.kind(), (Code::DeadlineExceeded, "DEADLINE_PASSED"));

    // A request that goes on.
    let (mut body, answer) = raw.begin(UPLOAD, &[("grpc-timeout", "1S")]).await.expect("a stream");
    body.send_data(start(), false).expect("there is room");
    body.send_data(asked(Message::Chunk(UploadChunk { data: pictures::bmp(100, 100, 1).into(), ..UploadChunk::default() })), false)
        .expect("there is room");
    let (bytes, refused) = answer.ended().await;
    assert!(bytes > 0, "the file was started");
    assert_eq!(refused.kind(), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    nothing_is_left(&tintype).await;
}

#[tokio::test]
async fn a_deadline_that_cannot_be_read_is_refused_and_a_long_one_is_none() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let raw = raw(&tintype, &client).await;
    let ask =
        async |timeout: &str| raw.call(LIMITS, &[("grpc-timeout", timeout)], &GetLimitsRequest {}).await.expect("a stream").ended().await.1;
    for timeout in ["soon", "1.5S", "123456789S", ""] {
        let refused = ask(timeout).await;
        assert_eq!(refused.kind(), (Code::InvalidArgument, "INVALID_FIELD"), "{timeout:?}");
        assert!(refused.message.starts_with("grpc-timeout must be"), "{}", refused.message);
    }
    assert_eq!(ask("99999999H").await.code, Code::Ok);
    assert_eq!(ask("0n").await.kind(), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
}

#[tokio::test]
async fn a_client_that_sends_next_to_nothing_is_ended_and_an_honest_slow_one_is_not() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_STREAM_IDLE_SECS", "2")]).await;
    let client = tintype.client().await;
    let raw = raw(&tintype, &client).await;

    // One byte of a chunk now and then, for ever.
    let (mut body, answer) = raw.begin(UPLOAD, &[]).await.expect("a stream");
    body.send_data(start(), false).expect("there is room");
    let drip = async {
        let chunk = asked(Message::Chunk(UploadChunk { data: pictures::bmp(200, 200, 1).into(), ..UploadChunk::default() }));
        for byte in 0..chunk.len() {
            if body.send_data(chunk.slice(byte..=byte), false).is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    let (ended, ()) = tokio::join!(answer.ended(), drip);
    assert_eq!(ended.1.code, Code::DeadlineExceeded, "{:?}", ended.1);
    nothing_is_left(&tintype).await;

    // Nothing at all.
    let (_silent, answer) = raw.begin(UPLOAD, &[]).await.expect("a stream");
    assert_eq!(answer.ended().await.1.kind(), (Code::DeadlineExceeded, "STREAM_IDLE"));

    // 64 KiB a second, for longer than the time over which the rate is taken.
    let bytes = Bytes::from(pictures::bmp(300, 300, 1));
    let messages: Vec<_> = Upload::new("slow.bmp", bytes.clone()).messages().collect();
    let (mut body, answer) = raw.begin(UPLOAD, &[]).await.expect("a stream");
    let slowly = async {
        for message in &messages {
            let message = grpc_message(message);
            for begin in (0..message.len()).step_by(8 << 10) {
                body.send_data(message.slice(begin..message.len().min(begin + (8 << 10))), false).expect("it is taken");
                tokio::time::sleep(Duration::from_millis(125)).await;
            }
        }
        body.send_data(Bytes::new(), true).expect("it is taken");
    };
    let (ended, ()) = tokio::join!(answer.ended(), slowly);
    assert_eq!(ended.1.code, Code::Ok, "{:?}", ended.1);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_ended_and_told_why_if_it_reads_again() {
    let settings = [("TINTYPE_STREAM_IDLE_SECS", "1"), ("TINTYPE_LOG", "info,tintype_server=debug")];
    let mut tintype = Tintype::embedded_with(&settings).await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("large.bmp", pictures::bmp(1_500, 1_000, 1))).await.expect("an image");
    let raw = raw(&tintype, &client).await;
    let request = DownloadImageRequest { image_id: image.id, format: image.format, ..DownloadImageRequest::default() };

    let mut never = raw.call(DOWNLOAD, &[], &request).await.expect("a stream").begun().await.expect("it begins");
    // Each on a connection of its own: they would share one window.
    let second = self::raw(&tintype, &client).await;
    let mut later = second.call(DOWNLOAD, &[], &request).await.expect("a stream").begun().await.expect("it begins");
    // Watched beside them: it has nothing to tell for longer, and goes on.
    let third = self::raw(&tintype, &client).await;
    let mut watch = third.call(WATCH, &[], &WatchImagesRequest::default()).await.expect("a stream").begun().await.expect("it begins");

    // It is not read for longer than the server waits, and then again before its stream is taken away.
    let server = tintype.server.as_mut().expect("it runs");
    server.lines(2, |line| line.contains("ended a call: nothing was taken for")).await;
    let mut read = 0;
    while let Some(data) = later.data().await {
        let data = data.expect("what was on its way arrives");
        read += data.len();
        later.flow_control().release_capacity(data.len()).expect("it was received");
    }
    let trailers = later.trailers().await.expect("an end").expect("with a status");
    assert_eq!(trailers["grpc-status"], "4", "{trailers:?}");
    assert!(read < image.size_bytes as usize, "the rest was not sent");

    // What arrived is looked at and its room not given back, so the window stays shut until the stream is taken away.
    let reset = async { while never.data().await.is_some_and(|data| data.is_ok()) {} };
    tokio::time::timeout(Duration::from_secs(10), reset).await.expect("nobody is waited for for ever");
    assert!(watch.data().await.is_some_and(|data| data.is_ok()), "the state");
}
