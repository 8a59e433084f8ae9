//! Answers that are lost after something was done: nobody knows what became of it, and asking again finds out.

use tintype_proto::v1::{DeleteImageRequest, ImageFormat, RenditionState};
use tintype_tests::{Bucket, Client, Fault, Refused, Tintype, Upload, Wire, pictures};
use tonic::Code;

pub(super) const UNAVAILABLE: &str = "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
pub(super) const BROKEN: &str = "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";

pub(super) fn file() -> Upload {
    Upload::new("a.png", pictures::png(320, 240, 1)).request_id("the-one")
}

async fn wired(variable: &str, more: &[(&str, &str)]) -> (Tintype, Wire, Client) {
    let mut tintype = Tintype::cluster_with(0, more).await;
    tintype.kill_server().await;
    let wire = tintype.wire(variable).await;
    tintype.start_server().await;
    let client = tintype.client().await;
    (tintype, wire, client)
}

pub(super) fn is_unavailable(refused: &Refused) {
    assert_eq!(refused.kind(), (Code::Unavailable, "STORE_UNAVAILABLE"), "{refused:?}");
    assert!(refused.retry_after.is_some(), "{refused:?}");
}

#[tokio::test]
async fn an_image_whose_commit_was_not_answered_is_found_by_asking_again() {
    let (mut tintype, wire, client) = wired("TINTYPE_CATALOG", &[]).await;
    wire.arm(&["INSERT INTO images", "COMMIT"], Fault::LoseAnswer, 1);
    is_unavailable(&client.upload(file()).await.expect_err("nobody knows"));
    let image = client.upload(file()).await.expect("it is there");
    assert_eq!(tintype.catalog().await.totals().await.expect("the catalog answers").image_count, 1);
    assert_eq!(client.original(&image).await.expect("with its bytes").bytes, file().bytes);
    assert_eq!(client.current_user().await.expect("a user").used_bytes, image.size_bytes);
    tintype.start_worker();
    assert_eq!(client.settled(image.id).await.renditions[0].state(), RenditionState::Ready);
}

#[tokio::test]
async fn a_deletion_whose_commit_was_not_answered_is_done() {
    let (tintype, wire, client) = wired("TINTYPE_CATALOG", &[]).await;
    let image = client.upload(file()).await.expect("an image");
    wire.arm(&["DELETE FROM images", "COMMIT"], Fault::LoseAnswer, 1);
    let request = DeleteImageRequest { id: image.id };
    is_unavailable(&client.images().delete_image(request).await.expect_err("nobody knows").into());
    let refused = Refused::from(client.images().delete_image(request).await.expect_err("it is gone"));
    assert_eq!(refused.kind(), (Code::NotFound, "IMAGE_NOT_FOUND"));
    assert_eq!(client.current_user().await.expect("a user").used_bytes, 0);
    let stored = tintype.catalog().await.totals().await.expect("the catalog answers").image_count;
    assert_eq!(stored, 0);
}

#[tokio::test]
async fn a_result_whose_commit_was_not_answered_stays() {
    let mut tintype = Tintype::cluster(0).await;
    let client = tintype.client().await;
    let wire = tintype.wire("TINTYPE_CATALOG").await;
    tintype.start_worker();
    wire.arm(&["UPDATE renditions SET state = 'ready'", "/converted_img."], Fault::LoseAnswer, 1);
    let image = client.upload(file()).await.expect("an image");
    wire.happened(1).await;
    let settled = client.settled(image.id).await;
    assert_eq!((settled.renditions[0].state(), settled.renditions[0].attempt_count), (RenditionState::Ready, 1));
    // It has looked what became of its commit before it answers the next hint.
    let next = client.upload(Upload::new("b.png", pictures::png(64, 48, 2))).await.expect("an image");
    client.rendition(next.id, ImageFormat::Jpeg).await.expect("it works on");
    let made = client.rendition(image.id, ImageFormat::Jpeg).await.expect("its bytes were not removed");
    assert_eq!(made.bytes.len() as i64, settled.renditions[0].size_bytes);
}

/// A file of more than one part.
pub(super) fn large() -> Upload {
    Upload::new("large.bmp", pictures::bmp(2_048, 1_700, 9)).request_id("the-large-one")
}

pub(super) async fn in_a_bucket(bucket: &Bucket) -> (Tintype, Wire, Client) {
    let variables = bucket.variables();
    let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    wired("TINTYPE_S3_ENDPOINT", &variables).await
}

/// Whatever the first answer is, the same request is one whole image after that, and nothing is left of another one.
async fn is_one_image_in_the_end(bucket: &Bucket, client: &Client, file: fn() -> Upload) {
    let before = client.current_user().await.expect("a user").used_bytes;
    if let Err(refused) = client.upload(file()).await {
        is_unavailable(&refused);
    }
    let image = client.upload(file()).await.expect("it can be asked for again");
    assert!(client.original(&image).await.expect("with its bytes").bytes == file().bytes, "bytes differ");
    assert_eq!(client.upload(file()).await.expect("and again").id, image.id);
    assert_eq!(client.current_user().await.expect("a user").used_bytes, before + image.size_bytes);
    assert_eq!(bucket.open_uploads().await, [""; 0], "no upload is open");
}

#[tokio::test]
async fn a_large_file_whose_completion_was_not_answered_is_one_image() {
    let bucket = Bucket::new().await;
    let (_tintype, wire, client) = in_a_bucket(&bucket).await;
    wire.arm(&["uploadId=", "<CompleteMultipartUpload"], Fault::LoseAnswer, 1);
    is_one_image_in_the_end(&bucket, &client, large).await;
    wire.happened(1).await;
}

#[tokio::test]
async fn a_small_file_whose_write_was_not_answered_is_one_image() {
    let bucket = Bucket::new().await;
    let (_tintype, wire, client) = in_a_bucket(&bucket).await;
    wire.arm(&["/original.png"], Fault::LoseAnswer, 1);
    is_one_image_in_the_end(&bucket, &client, file).await;
    wire.happened(1).await;
}

#[tokio::test]
async fn a_bucket_that_answers_with_errors_costs_nothing_but_time() {
    for answer in [BROKEN, UNAVAILABLE] {
        let bucket = Bucket::new().await;
        let (_tintype, wire, client) = in_a_bucket(&bucket).await;
        wire.arm(&["PUT "], Fault::Answer(answer), 2);
        is_one_image_in_the_end(&bucket, &client, file).await;
        wire.happened(2).await;
        wire.arm(&["PUT "], Fault::Answer(answer), 2);
        is_one_image_in_the_end(&bucket, &client, large).await;
        wire.happened(4).await;
    }
}
