//! Programs that are killed between two steps of their work, at the moment when the message that is the next step is on its way.

use tintype_proto::v1::{Image, ImageFormat, RenditionState};
use tintype_store::Timestamp;
use tintype_tests::{Client, Fault, Refused, Tintype, Upload, Wire, pictures};
use tonic::Code;

/// Recording an image is a transaction, in which this is the statement.
const RECORD: &str = "INSERT INTO images";
const COMMIT: &str = "COMMIT";
/// A claim is a statement of its own. It is prepared first, and runs when it is named the second time after its text.
const CLAIM: &str = "UPDATE renditions SET state = 'running'";
const NAMED: &str = "sqlx_s_";
/// So is the commit of a result. It runs with the key of the result.
const COMPLETE: &str = "UPDATE renditions SET state = 'ready'";
const RESULT: &str = "/converted_img.";
const ACK: &str = "+ACK";

fn file() -> Upload {
    Upload::new("a.png", pictures::png(320, 240, 1)).request_id("the-one")
}

/// A cluster without workers whose server reaches the catalog by a wire, and a client.
async fn wired_server() -> (Tintype, Wire, Client) {
    let mut tintype = Tintype::cluster(0).await;
    tintype.kill_server().await;
    let wire = tintype.wire("TINTYPE_CATALOG").await;
    tintype.start_server().await;
    let client = tintype.client().await;
    (tintype, wire, client)
}

async fn image_count(tintype: &Tintype) -> u64 {
    tintype.catalog().await.totals().await.expect("the catalog answers").image_count
}

/// Uploads, has the server killed at that moment, and starts it again.
async fn killed_while_recording(texts: &[&'static str], fault: Fault) -> (Tintype, Client) {
    let (mut tintype, wire, client) = wired_server().await;
    wire.arm(texts, fault, 1);
    let uploading = tokio::spawn(async move { client.upload(file()).await });
    wire.happened(1).await;
    tintype.kill_server().await;
    let lost: Result<Image, Refused> = uploading.await.expect("the client does not panic");
    assert!(lost.is_err(), "nobody answered: {lost:?}");
    tintype.start_server().await;
    let client = tintype.client().await;
    (tintype, client)
}

/// The upload can be asked for again, and is one whole image after that.
async fn is_once_and_whole(mut tintype: Tintype, client: &Client) -> Image {
    let image = client.upload(file()).await.expect("it can be asked for again");
    assert_eq!(client.upload(file()).await.expect("and again").id, image.id);
    assert_eq!(image_count(&tintype).await, 1);
    assert_eq!(client.original(&image).await.expect("the original").bytes, file().bytes);
    assert_eq!(client.current_user().await.expect("a user").used_bytes, image.size_bytes);
    tintype.start_worker();
    let settled = client.settled(image.id).await;
    assert_eq!(settled.renditions[0].state(), RenditionState::Ready);
    image
}

#[tokio::test]
async fn a_server_killed_between_the_blob_and_its_row_shows_nothing() {
    let (tintype, client) = killed_while_recording(&[RECORD], Fault::Hold).await;
    assert_eq!(tintype.blob_files("user_1").len(), 1, "its blob has a name");
    assert_eq!(image_count(&tintype).await, 0);
    is_once_and_whole(tintype, &client).await;
}

#[tokio::test]
async fn a_server_killed_before_the_commit_shows_nothing() {
    let (tintype, client) = killed_while_recording(&[RECORD, COMMIT], Fault::Hold).await;
    assert_eq!(image_count(&tintype).await, 0);
    is_once_and_whole(tintype, &client).await;
}

#[tokio::test]
async fn a_server_killed_between_the_commit_and_its_answer_has_the_image() {
    let (tintype, client) = killed_while_recording(&[RECORD, COMMIT], Fault::HoldAnswer).await;
    assert_eq!(image_count(&tintype).await, 1);
    is_once_and_whole(tintype, &client).await;
}

/// Has a worker killed at that moment of its first job, and another one make the rendition. Returns what has become of it.
async fn worker_killed(variable: &str, texts: &[&'static str], fault: Fault) -> (Tintype, Client, Image) {
    let mut tintype = Tintype::cluster(0).await;
    let client = tintype.client().await;
    let direct = tintype.variable(variable).to_owned();
    let wire = tintype.wire(variable).await;
    tintype.start_worker();
    wire.arm(texts, fault, 1);
    let image = client.upload(file()).await.expect("an image");
    wire.happened(1).await;
    tintype.workers.remove(0).kill().await;
    // The lease of a worker that is gone runs out in half a minute, and here at once.
    tintype.catalog().await.void_leases(Timestamp::now()).await.expect("the catalog answers");
    tintype.set(variable, &direct);
    tintype.start_worker();
    let settled = client.settled(image.id).await;
    assert_eq!(settled.renditions.len(), 1);
    assert_eq!(settled.renditions[0].state(), RenditionState::Ready, "{settled:?}");
    let made = client.rendition(image.id, ImageFormat::Jpeg).await.expect("it is ready");
    assert_eq!((made.info.width, made.info.height), (320, 240));
    assert_eq!(made.bytes.len() as i64, settled.renditions[0].size_bytes);
    let used = client.current_user().await.expect("a user").used_bytes;
    assert_eq!(used, settled.size_bytes + settled.renditions[0].size_bytes, "one result is counted");
    (tintype, client, settled)
}

#[tokio::test]
async fn a_worker_killed_before_its_claim_costs_no_attempt() {
    let (_tintype, _client, image) = worker_killed("TINTYPE_CATALOG", &[CLAIM], Fault::Hold).await;
    assert_eq!(image.renditions[0].attempt_count, 1);
}

#[tokio::test]
async fn a_worker_killed_after_its_claim_costs_one_attempt() {
    let (tintype, _client, image) = worker_killed("TINTYPE_CATALOG", &[CLAIM, NAMED, NAMED], Fault::HoldAnswer).await;
    assert_eq!(image.renditions[0].attempt_count, 2);
    assert_eq!(tintype.blob_files("user_1").len(), 2, "the original and one result");
}

#[tokio::test]
async fn a_worker_killed_between_the_result_and_its_commit_makes_nothing_visible() {
    let (tintype, _client, image) = worker_killed("TINTYPE_CATALOG", &[COMPLETE], Fault::Hold).await;
    assert_eq!(image.renditions[0].attempt_count, 2);
    assert_eq!(tintype.blob_files("user_1").len(), 3, "what it left is nobody's, until it is swept");
}

#[tokio::test]
async fn a_worker_killed_between_the_commit_and_its_answer_has_made_it() {
    let (tintype, _client, image) = worker_killed("TINTYPE_CATALOG", &[COMPLETE, RESULT], Fault::HoldAnswer).await;
    assert_eq!(image.renditions[0].attempt_count, 1);
    assert_eq!(tintype.blob_files("user_1").len(), 2, "the original and one result");
}

#[tokio::test]
async fn a_worker_killed_between_the_commit_and_its_ack_has_made_it() {
    let (tintype, client, image) = worker_killed("TINTYPE_JOBS", &[ACK], Fault::Hold).await;
    assert_eq!(image.renditions[0].attempt_count, 1);
    assert_eq!(client.settled(image.id).await, image, "whoever gets the hint again changes nothing");
    assert_eq!(tintype.blob_files("user_1").len(), 2, "the original and one result");
}

#[tokio::test]
async fn a_download_cut_off_by_a_kill_never_ends_well_and_goes_on_later() {
    let mut tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    // More than the windows of a connection hold, so that it cannot be on its way as a whole.
    let bytes = pictures::bmp(4_000, 3_600, 3);
    let image = client.upload(Upload::new("large.bmp", bytes.clone())).await.expect("an image");
    let request = |offset_bytes| tintype_proto::v1::DownloadImageRequest {
        image_id: image.id,
        format: image.format,
        offset_bytes,
        ..Default::default()
    };
    let mut messages = client.images().download_image(request(0)).await.expect("it begins").into_inner();
    let mut got = Vec::new();
    let broken = {
        let mut take = async || -> Result<bool, tonic::Status> {
            let Some(message) = messages.message().await? else { return Ok(false) };
            if let Some(tintype_proto::v1::download_image_response::Message::Chunk(chunk)) = message.message {
                got.extend_from_slice(&chunk.data);
            }
            Ok(true)
        };
        for _ in 0..4 {
            assert!(take().await.expect("it goes on"));
        }
        tintype.kill_server().await;
        loop {
            match take().await {
                Ok(true) => {}
                Ok(false) => panic!("it must not look whole"),
                Err(status) => break status,
            }
        }
    };
    assert_ne!(broken.code(), Code::Ok);
    assert!(got.len() < bytes.len(), "it was cut off");
    tintype.start_server().await;
    let rest = tintype.client().await.download(request(got.len() as i64)).await.expect("the rest");
    got.extend(rest.bytes);
    assert!(got == bytes, "bytes differ");
}
