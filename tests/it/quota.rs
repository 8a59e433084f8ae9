//! How much a user may store and how often a user may call; both counted exactly.

use std::time::Instant;

use tintype_proto::v1::{
    DeleteImageRequest, GetLimitsRequest, ListImagesRequest, UploadChunk, UploadImagesRequest, UploadStart, User,
    upload_images_request::Message,
};
use tintype_tests::{Client, Refused, Tintype, Upload, pictures};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

/// A user of this name who may store so much.
async fn user(tintype: &Tintype, name: &str, quota_bytes: u64) -> Client {
    tintype.add_user(name).await;
    let client = tintype.client_of(name).await;
    let id = client.current_user().await.expect("a user").id;
    admin(tintype).await.users().update(id).quota_bytes(quota_bytes).send().await.expect("changed");
    client
}

async fn admin(tintype: &Tintype) -> tintype_client::Client {
    let token = tintype.client().await.token.expect("signed in");
    tintype_client::Client::builder(&tintype.grpc_url).token(token).build().expect("a client")
}

async fn used(client: &Client) -> i64 {
    client.current_user().await.expect("a user").used_bytes
}

/// Originals and ready renditions, added up by hand.
async fn sum(client: &Client) -> i64 {
    let images = client.images().list_images(ListImagesRequest::default()).await.expect("a list").into_inner().images;
    images.iter().map(|image| image.size_bytes + image.renditions.iter().map(|rendition| rendition.size_bytes).sum::<i64>()).sum()
}

fn assert_over_quota(refused: &Refused, quota_bytes: u64) {
    assert_eq!(refused.kind(), (Code::ResourceExhausted, "QUOTA_EXCEEDED"), "{refused:?}");
    assert_eq!((refused.metadata["limit"].as_str(), refused.metadata["value"].as_str()), ("quota_bytes", quota_bytes.to_string().as_str()));
    assert!(refused.metadata["seen"].parse::<u64>().expect("a number") > quota_bytes, "{refused:?}");
    assert_eq!(refused.retry_after, None, "waiting does not help");
}

async fn usage_is_exact(tintype: Tintype) {
    let client = user(&tintype, "ada", 10 << 20).await;
    assert_eq!(used(&client).await, 0);
    let mut ids = Vec::new();
    for seed in 0..4 {
        let bytes = if seed % 2 == 0 { pictures::png(300, 200, seed) } else { pictures::jpeg(300, 200, seed) };
        let upload = Upload::new("a picture", bytes).request_id(&format!("request-{}", seed / 3));
        match client.upload_each(vec![upload, Upload::new("none", "no picture at all")]).await.expect("a stream").remove(0) {
            Ok(image) => ids.push(client.settled(image.id).await.id),
            Err(refused) => panic!("{refused:?}"),
        }
        assert_eq!(used(&client).await, sum(&client).await, "after upload {seed}");
    }
    assert_eq!(ids.iter().collect::<std::collections::HashSet<_>>().len(), 2, "the others were repeats");
    assert!(sum(&client).await > 0);
    client.images().delete_image(DeleteImageRequest { id: ids[0] }).await.expect("deleted");
    assert_eq!(used(&client).await, sum(&client).await, "after a deletion");
    client.images().delete_image(DeleteImageRequest { id: ids[3] }).await.expect("deleted");
    assert_eq!(used(&client).await, 0);
}

#[tokio::test]
async fn usage_is_exact_embedded() {
    usage_is_exact(Tintype::embedded().await).await;
}

#[tokio::test]
async fn usage_is_exact_in_a_cluster() {
    usage_is_exact(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_as_soon_as_that_is_certain() {
    const QUOTA: u64 = 500_000;
    let tintype = Tintype::cluster(0).await;
    let client = user(&tintype, "ada", QUOTA).await;
    let bmp = || pictures::bmp(400, 400, 1);
    assert_eq!(bmp().len(), 480_054);
    let first = client.upload(Upload::new("first.bmp", bmp())).await.expect("it fits");

    // Announced: at the start. Not announced: while it streams, and the file after it is fine.
    let mut announced = Upload::new("announced.bmp", bmp());
    announced.start.size_bytes = announced.bytes.len() as i64;
    let small = Upload::new("small.png", pictures::png(8, 8, 1));
    let files = vec![announced, Upload::new("silent.bmp", bmp()), small];
    let outcomes = client.upload_each(files).await.expect("the stream ends well");
    for refused in &outcomes[..2] {
        assert_over_quota(refused.as_ref().expect_err("there is no room"), QUOTA);
    }
    let small = outcomes[2].as_ref().expect("the small one fits");
    assert_eq!(used(&client).await, first.size_bytes + small.size_bytes);
    // Nothing of the refused ones is left.
    tintype.nothing_is_staged_but(&[]).await;

    client.images().delete_image(DeleteImageRequest { id: first.id }).await.expect("deleted");
    client.upload(Upload::new("again.bmp", bmp())).await.expect("there is room again");
    let user: User = client.current_user().await.expect("a user");
    assert_eq!(user.quota_bytes, QUOTA as i64);
    assert_eq!(user.used_bytes, sum(&client).await);
}

#[tokio::test]
async fn what_is_arriving_counts_while_it_arrives() {
    let tintype = Tintype::embedded().await;
    let client = user(&tintype, "ada", 700_000).await;
    let (sender, receiver) = mpsc::channel(4);
    let start = Message::Start(UploadStart { file_name: "slow.bmp".to_owned(), ..UploadStart::default() });
    let chunk = Message::Chunk(UploadChunk { data: pictures::bmp(400, 400, 1)[..400_000].to_vec().into(), ..UploadChunk::default() });
    for message in [start, chunk] {
        sender.send(UploadImagesRequest { message: Some(message) }).await.expect("there is room");
    }
    let answers = client.images().upload_images(ReceiverStream::new(receiver)).await.expect("a stream").into_inner();
    while used(&client).await != 400_000 {}
    let refused = client.upload(Upload::new("other.bmp", pictures::bmp(400, 400, 2))).await.expect_err("the room is taken");
    assert_over_quota(&refused, 700_000);

    drop((sender, answers));
    while used(&client).await != 0 {}
    client.upload(Upload::new("other.bmp", pictures::bmp(400, 400, 2))).await.expect("the room is free again");
}

#[tokio::test]
async fn two_servers_together_store_no_more_than_the_quota() {
    const QUOTA: u64 = 1_000_000;
    let tintype = Tintype::cluster(0).await;
    let (_second, url) = tintype.another_server().await;
    let here = user(&tintype, "ada", QUOTA).await;
    let there = Client { channel: Client::connect(&url).await.channel, token: here.token.clone() };
    let uploads = (0..8).map(|number| {
        let client = if number % 2 == 0 { here.clone() } else { there.clone() };
        async move { client.upload(Upload::new("a.bmp", pictures::bmp(400, 200, number))).await }
    });
    let outcomes = futures_util::future::join_all(uploads).await;
    let stored = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
    assert!((1..=4).contains(&stored), "{outcomes:?}");
    for refused in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
        assert_over_quota(refused, QUOTA);
    }
    for client in [&here, &there] {
        assert_eq!(used(client).await, sum(client).await);
        assert!(used(client).await <= QUOTA as i64);
    }
    assert_eq!(tintype.blob_files("user_2").len(), stored, "no bytes of the others are left");
}

#[tokio::test]
async fn calls_beyond_the_rate_are_refused_with_the_time_to_wait() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_REQUESTS_PER_SECOND", "1"), ("TINTYPE_REQUEST_BURST", "3")]).await;
    tintype.add_user("ada").await;
    let (ada, again, admin) = (tintype.client_of("ada").await, tintype.client_of("ada").await, tintype.client().await);
    let begin = Instant::now();
    for _ in 0..3 {
        ada.current_user().await.expect("within the burst");
    }
    // A user's calls count together, whatever the token.
    let mut let_through = 3;
    let refused = loop {
        match again.current_user().await {
            Ok(_) => let_through += 1,
            Err(refused) => break refused,
        }
        assert!(let_through <= 3 + begin.elapsed().as_secs(), "{let_through} in {:?}", begin.elapsed());
    };
    assert_eq!(refused.kind(), (Code::ResourceExhausted, "RATE_LIMITED"));
    assert_eq!((refused.metadata["limit"].as_str(), refused.metadata["value"].as_str()), ("requests_per_second", "1"));
    assert!(refused.retry_after.is_some_and(|pause| pause.as_millis() <= 1_000), "{refused:?}");
    let limits = admin.images().get_limits(GetLimitsRequest {}).await.expect("others are not held up").into_inner().limits;
    let limits = limits.expect("limits");
    assert_eq!((limits.requests_per_second, limits.request_burst, limits.user_quota_bytes), (1, 3, 10 << 30));
}
