//! Bad input: the exact answer to each, and no harm to anything beside it.

use bytes::Bytes;
use tintype_proto::v1::{
    DeleteImageRequest, DownloadImageRequest, ImageFilter, ImageFormat, ListImagesRequest, UploadChunk, UploadFinish, UploadImagesRequest,
    UploadStart, upload_images_request::Message,
};
use tintype_tests::{Client, RawClient, Refused, Tintype, Upload, pictures};
use tonic::Code;

/// Name of the case, the file, the reason it is refused for.
fn bad_files() -> Vec<(&'static str, Upload, &'static str)> {
    let png = || Bytes::from(pictures::png(30, 20, 7));
    let announced = |change: fn(&mut UploadStart)| {
        let mut upload = Upload::new("fine.png", png());
        change(&mut upload.start);
        upload
    };
    let named = |name: &str| Upload::new(name, png());
    vec![
        ("an empty file", Upload::new("empty.png", Bytes::new()), "NOT_AN_IMAGE"),
        ("text with a picture's name", Upload::new("text.png", "no picture at all, only words\n".repeat(50)), "NOT_AN_IMAGE"),
        ("60 MiB of zeros", Upload::new("zeros.jpg", vec![0; 60 << 20]), "NOT_AN_IMAGE"),
        ("a header that ends too soon", Upload::new("short.png", png().slice(..20)), "CORRUPT_IMAGE"),
        ("six million megapixels", Upload::new("wide.bmp", pictures::bmp_header(3_000_000, 2_000_000)), "LIMIT_EXCEEDED"),
        ("more bytes than allowed", Upload::new("large.bmp", pictures::bmp(4_200, 4_200, 1)), "LIMIT_EXCEEDED"),
        ("an announced size beyond the limit", announced(|start| start.size_bytes = 60 << 20), "LIMIT_EXCEEDED"),
        ("another SHA-256", announced(|start| start.sha256 = vec![1; 32].into()), "DIGEST_MISMATCH"),
        ("a SHA-256 of 31 bytes", announced(|start| start.sha256 = vec![1; 31].into()), "INVALID_FIELD"),
        ("a size too large", announced(|start| start.size_bytes += 1_000_000), "SIZE_MISMATCH"),
        ("a size too small", announced(|start| start.size_bytes = 5), "SIZE_MISMATCH"),
        ("a negative size", announced(|start| start.size_bytes = -1), "INVALID_FIELD"),
        ("a request id with a space", announced(|start| start.request_id.push_str("a b")), "INVALID_FIELD"),
        ("a request id that is too long", announced(|start| start.request_id = "x".repeat(65)), "INVALID_FIELD"),
        ("no name", named(""), "INVALID_FIELD"),
        ("a name that climbs", named("../../etc/passwd"), "INVALID_FIELD"),
        ("a name that climbs elsewhere", named("..\\x.png"), "INVALID_FIELD"),
        ("a name that is a folder", named(".."), "INVALID_FIELD"),
        ("a name with a line break", named("a\nb.png"), "INVALID_FIELD"),
        ("a name that is too long", named(&"n".repeat(256)), "INVALID_FIELD"),
    ]
}

#[tokio::test]
async fn a_bad_file_is_refused_by_name_and_the_next_one_is_stored() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    for (case, bad, reason) in bad_files() {
        let good = pictures::png(16, 16, 9);
        let outcomes = client.upload_each(vec![bad, Upload::new("good.png", good.clone())]).await;
        let [bad, stored] =
            outcomes.unwrap_or_else(|refused| panic!("{case} ended the stream: {refused:?}")).try_into().expect("two answers");
        let refused = bad.expect_err(case);
        assert_eq!(refused.kind(), (Code::InvalidArgument, reason), "{case}: {}", refused.message);
        if reason == "LIMIT_EXCEEDED" {
            for key in ["limit", "value", "seen"] {
                assert!(refused.metadata.contains_key(key), "{case}: {refused:?}");
            }
        }
        let stored = stored.unwrap_or_else(|refused| panic!("{case} harmed the file after it: {refused:?}"));
        assert_eq!(client.original(&stored).await.expect(case).bytes, good, "{case}");
    }
    let listed = client.images().list_images(ListImagesRequest::default()).await.expect("a list").into_inner();
    assert_eq!(listed.images.len(), bad_files().len(), "only the good ones are there");
    // Nothing of the bad ones is left.
    tintype.nothing_is_staged_but(&[]).await;
    assert_eq!(tintype.blob_files("user_1").iter().filter(|path| path.ends_with("original.png")).count(), bad_files().len());
}

#[tokio::test]
async fn a_wide_header_is_refused_with_the_limit_its_value_and_what_was_seen() {
    let tintype = Tintype::embedded().await;
    let upload = Upload::new("wide.bmp", pictures::bmp_header(3_000_000, 2_000_000));
    let refused = tintype.client().await.upload(upload).await.expect_err("far too wide");
    assert_eq!(refused.metadata["limit"], "max_side_pixels");
    assert_eq!(refused.metadata["value"], "16383");
    assert_eq!(refused.metadata["seen"], "3000000");
}

/// What an upload stream of these messages ends with.
async fn stream_end(client: &Client, messages: Vec<Message>) -> Refused {
    let messages = messages.into_iter().map(|message| UploadImagesRequest { message: Some(message) });
    let mut replies = match client.images().upload_images(tokio_stream::iter(messages)).await {
        Ok(replies) => replies.into_inner(),
        Err(status) => return status.into(),
    };
    loop {
        match replies.message().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("the stream ended well"),
            Err(status) => return status.into(),
        }
    }
}

#[tokio::test]
async fn messages_in_an_order_without_meaning_end_the_stream() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let start = || Message::Start(UploadStart { file_name: "a.png".to_owned(), ..UploadStart::default() });
    let chunk = || Message::Chunk(UploadChunk { data: pictures::png(8, 8, 1).into(), ..UploadChunk::default() });
    let finish = || Message::Finish(UploadFinish {});
    let cases = [
        ("a chunk before a start", vec![chunk()]),
        ("a finish before a start", vec![finish()]),
        ("a start inside a file", vec![start(), chunk(), start()]),
        ("no finish", vec![start(), chunk()]),
        ("a finish too many", vec![start(), chunk(), finish(), finish()]),
    ];
    for (case, messages) in cases {
        let refused = stream_end(&client, messages).await;
        assert_eq!(refused.kind(), (Code::InvalidArgument, "UPLOAD_OUT_OF_ORDER"), "{case}");
    }
}

#[tokio::test]
async fn a_chunk_beyond_the_limit_is_refused_with_the_limit() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    for chunk_bytes in [(1 << 20) + 1, 2 << 20] {
        let start = Message::Start(UploadStart { file_name: "a.bmp".to_owned(), ..UploadStart::default() });
        let chunk =
            Message::Chunk(UploadChunk { data: pictures::bmp(2_000, 1_000, 1)[..chunk_bytes].to_vec().into(), ..UploadChunk::default() });
        let messages = [start, chunk, Message::Finish(UploadFinish {})].map(|message| UploadImagesRequest { message: Some(message) });
        let mut replies = client.images().upload_images(tokio_stream::iter(messages)).await.expect("a stream").into_inner();
        // Just beyond it the file is refused; far beyond it the message is not even read, which ends the stream.
        let refused = loop {
            match replies.message().await {
                Ok(Some(reply)) => {
                    if let Some(tintype_proto::v1::upload_images_response::Message::Failed(failed)) = reply.message {
                        break failed.status.expect("failed has a status").into();
                    }
                }
                Ok(None) => panic!("{chunk_bytes} bytes were taken"),
                Err(status) => break Refused::from(status),
            }
        };
        assert_eq!(refused.kind(), (Code::InvalidArgument, "LIMIT_EXCEEDED"), "{chunk_bytes}");
        assert_eq!(["limit", "value"].map(|key| refused.metadata[key].as_str()), ["max_chunk_bytes", "1048576"], "{chunk_bytes}");
        // What stands around the chunk counts where only the message was measured.
        let seen: usize = refused.metadata["seen"].parse().expect("a number");
        assert!((chunk_bytes..chunk_bytes + 100).contains(&seen), "{refused:?}");
        assert!(refused.message.contains(&format!("{seen}, more than the limit of 1048576 (max_chunk_bytes)")), "{refused:?}");
    }
}

#[tokio::test]
async fn a_message_larger_than_its_service_takes_is_refused_by_its_length_alone() {
    let tintype = Tintype::embedded().await;
    let token = tintype.client().await.token;
    let raw = RawClient::connect(&tintype.grpc_url, token).await;
    for (method, limit) in [
        ("grpc.health.v1.Health/Check", 4_096_u32),
        ("grpc.health.v1.Health/Watch", 4_096),
        ("tintype.v1.AuthService/CreateToken", 16_384),
        ("tintype.v1.AuthService/GetCurrentUser", 16_384),
        ("tintype.v1.UserService/ListUsers", 16_384),
        ("tintype.v1.AdminService/GetStats", 16_384),
        ("tintype.v1.ImageService/GetImage", 1_114_112),
        ("tintype.v1.ImageService/DownloadImages", 1_114_112),
    ] {
        let (mut body, answer) = raw.begin(method, &[]).await.expect("a stream");
        let head = [&[0], (limit + 1).to_be_bytes().as_slice()].concat();
        body.send_data(head.into(), false).expect("there is room");
        let refused = answer.ended().await.1;
        assert_eq!(refused.kind(), (Code::InvalidArgument, "LIMIT_EXCEEDED"), "{method}");
        let told = ["limit", "value", "seen"].map(|key| refused.metadata[key].clone());
        assert_eq!(told, ["max_message_bytes".to_owned(), limit.to_string(), (limit + 1).to_string()], "{method}");
    }
    // A text is the message whose first field it is: with its tag and its length these have the size of the limit.
    let longest = raw.call("grpc.health.v1.Health/Check", &[], &"x".repeat(4_096 - 3)).await.expect("a stream");
    assert_eq!(longest.ended().await.1.code, Code::NotFound, "there is no such service");
    let longest = raw.call("tintype.v1.AuthService/CreateToken", &[], &"x".repeat(16_384 - 3)).await.expect("a stream");
    assert_eq!(longest.ended().await.1.kind(), (Code::InvalidArgument, "INVALID_FIELD"), "there is no such name");
}

#[tokio::test]
async fn fields_that_mean_nothing_are_refused_by_name() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let image = client.upload(Upload::new("a.png", pictures::png(8, 8, 1))).await.expect("an image");

    let download = DownloadImageRequest { image_id: image.id, ..DownloadImageRequest::default() };
    let downloads = [
        ("no id", DownloadImageRequest::default()),
        ("a negative id", DownloadImageRequest { image_id: -1, ..download.clone() }),
        ("two names", DownloadImageRequest { rendition_id: 1, ..download.clone() }),
        ("a format that does not exist", DownloadImageRequest { format: 4_711, ..download.clone() }),
        ("a negative offset", DownloadImageRequest { offset_bytes: -1, ..download.clone() }),
        ("a negative limit", DownloadImageRequest { limit_bytes: -1, ..download.clone() }),
        ("half a digest", DownloadImageRequest { if_none_match_sha256: vec![1; 16].into(), ..download.clone() }),
    ];
    for (case, request) in downloads {
        let refused = client.download(request).await.expect_err(case);
        assert_eq!(refused.kind(), (Code::InvalidArgument, "INVALID_FIELD"), "{case}");
    }
    let never_asked_for = DownloadImageRequest { format: ImageFormat::Webp.into(), ..download };
    let refused = client.download(never_asked_for).await.expect_err("there is no WebP");
    assert_eq!(refused.kind(), (Code::NotFound, "RENDITION_NOT_FOUND"));

    assert_eq!(client.image(0).await.expect_err("id 0").kind(), (Code::InvalidArgument, "INVALID_FIELD"));
    let deleted = client.images().delete_image(DeleteImageRequest { id: 0 }).await.expect_err("id 0");
    assert_eq!(Refused::from(deleted).kind(), (Code::InvalidArgument, "INVALID_FIELD"));

    let filtered = |filter| ListImagesRequest { filter: Some(filter), ..ListImagesRequest::default() };
    let lists = [
        ("page size -1", ListImagesRequest { page_size: -1, ..ListImagesRequest::default() }),
        ("page size 1,001", ListImagesRequest { page_size: 1_001, ..ListImagesRequest::default() }),
        ("a page token of nobody", ListImagesRequest { page_token: "x".to_owned(), ..ListImagesRequest::default() }),
        ("an unknown format", filtered(ImageFilter { formats: vec![99], ..ImageFilter::default() })),
        ("an unknown state", filtered(ImageFilter { rendition_states: vec![-3], ..ImageFilter::default() })),
        ("a text that is too long", filtered(ImageFilter { file_name_contains: "x".repeat(256), ..ImageFilter::default() })),
    ];
    for (case, request) in lists {
        let refused = Refused::from(client.images().list_images(request).await.expect_err(case));
        assert_eq!(refused.kind(), (Code::InvalidArgument, "INVALID_FIELD"), "{case}");
    }
}
