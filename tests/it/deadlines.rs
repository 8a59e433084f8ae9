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
    let watched =
        async { raw.call(WATCH, &[("grpc-timeout", "3000000u")], &WatchImagesRequest::default()).await.expect("a stream").ended().await };
    // A request that goes on.
    let uploaded = async {
        let (mut body, answer) = raw.begin(UPLOAD, &[("grpc-timeout", "5S")]).await.expect("a stream");
        body.send_data(start(), false).expect("there is room");
        let chunk = UploadChunk { data: pictures::bmp(100, 100, 1).into(), ..UploadChunk::default() };
        body.send_data(asked(Message::Chunk(chunk)), false).expect("there is room");
        answer.ended().await
    };
    let (watched, uploaded) = tokio::join!(watched, uploaded);
    for (bytes, refused) in [watched, uploaded] {
        assert!(bytes > 0, "it had begun");
        assert_eq!(refused.kind(), (Code::DeadlineExceeded, "DEADLINE_PASSED"));
    }
    tintype.nothing_is_staged_but(&[]).await;
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
    let tintype = Tintype::embedded_with(&[("TINTYPE_STREAM_IDLE_SECS", "5")]).await;
    let client = tintype.client().await;

    // One byte of a chunk now and then, for ever.
    let dripping = async {
        let raw = raw(&tintype, &client).await;
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
        tokio::join!(answer.ended(), drip).0.1
    };

    // Nothing at all.
    let silent = async {
        let raw = raw(&tintype, &client).await;
        let (_silent, answer) = raw.begin(UPLOAD, &[]).await.expect("a stream");
        answer.ended().await.1
    };

    // 64 KiB a second, for longer than the time over which the rate is taken.
    let honest = async {
        let messages: Vec<_> = Upload::new("slow.bmp", pictures::bmp(400, 400, 1)).messages().collect();
        let raw = raw(&tintype, &client).await;
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
        tokio::join!(answer.ended(), slowly).0.1
    };

    let (dripped, silent, honest) = tokio::join!(dripping, silent, honest);
    assert_eq!(dripped.code, Code::DeadlineExceeded, "{dripped:?}");
    assert_eq!(silent.kind(), (Code::DeadlineExceeded, "STREAM_IDLE"));
    assert_eq!(honest.code, Code::Ok, "{honest:?}");
    tintype.nothing_is_staged_but(&[]).await;
}

#[tokio::test]
async fn a_client_that_does_not_read_is_ended_and_told_why_if_it_reads_again() {
    let settings = [("TINTYPE_STREAM_IDLE_SECS", "5"), ("TINTYPE_LOG", "info,tintype_server=debug")];
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
    tokio::time::timeout(Duration::from_secs(20), reset).await.expect("nobody is waited for for ever");
    assert!(watch.data().await.is_some_and(|data| data.is_ok()), "the state");
}
