use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use futures_util::TryStreamExt as _;
use tintype_client::{Client, Effort, Error, ErrorReason, Fit, Format, RenditionState, Role, Scope, Secret, TokenProvider, async_trait};
use tonic::Status;

use crate::fake::{Behaviour, Fake, away, pattern, reason_of, signed_in, stored, token};

fn holding(count: i64) -> Behaviour {
    let images = (1..=count).map(|id| (stored(id, "cat.png", &pattern(9)), pattern(9).into())).collect();
    Behaviour { images, ..Behaviour::default() }
}

#[tokio::test]
async fn a_token_from_sign_in_opens_the_other_calls() {
    let (_fake, url) = Fake::start(Behaviour::default()).await;
    let client = Client::connect(url).await.unwrap();
    assert_eq!(reason_of(client.current_user().await), ErrorReason::TokenMissing);
    assert_eq!(reason_of(client.sign_in("ada", "wrong").await), ErrorReason::SignInFailed);

    let signed_in = client.sign_in("ada", "sesame").await.unwrap();
    assert_eq!(signed_in.user.user_name, "ada");
    assert!(!format!("{signed_in:?}").contains("tt_"));
    assert_eq!(client.with_token(signed_in.secret).current_user().await.unwrap().role, Role::Admin);
}

#[tokio::test]
async fn what_is_said_of_a_rendition_is_asked_for_and_nothing_else() {
    let (_fake, client) = Fake::with_client(holding(1)).await;
    let plain = client.create_rendition(1, Format::Gif).send().await.unwrap();
    assert!(plain.spec.is_plain());
    let request = client.create_rendition(1, Format::Jpeg).quality(7).width(8).height(9).fit(Fit::Cover).enlarge();
    let all = request.background("#010203").effort(Effort::Small).keep_metadata().send().await.unwrap().spec;
    let text = "jpeg quality=7 width=8 height=9 fit=cover enlarge background=#010203 effort=small metadata";
    assert_eq!(all.to_string(), text);
    assert!(client.create_rendition(1, Format::WebP).lossless().send().await.unwrap().spec.lossless);
}

#[tokio::test]
async fn a_change_of_an_image_names_what_it_changes() {
    let (_fake, client) = Fake::with_client(holding(1)).await;
    let change = client.update_image(1).label("gone", "x").remove_label("gone").label("kept", "y").file_name("z").clear_labels();
    let changed = change.send().await.unwrap();
    assert_eq!(changed.file_name, "labels.gone labels.kept file_name labels");
    assert_eq!(changed.labels.into_iter().collect::<Vec<_>>(), [("kept".to_owned(), "y".to_owned())]);
}

#[tokio::test]
async fn many_calls_at_once_share_one_sign_in() {
    let (fake, client) = Fake::with_client(Behaviour::default()).await;
    let calls = (0..50).map(|_| client.limits());
    let limits = futures_util::future::try_join_all(calls).await.unwrap();
    assert_eq!(limits[0].max_file_bytes, 7);
    assert_eq!(limits[0].input_formats, [Format::Png, Format::Other(99)]);
    assert_eq!(fake.see(|state| state.sign_ins), 1);

    fake.see(|state| state.revoked = 1);
    futures_util::future::try_join_all((0..50).map(|_| client.limits())).await.unwrap();
    assert_eq!(fake.see(|state| state.sign_ins), 2);
}

#[tokio::test]
async fn a_provider_is_asked_again_once_and_a_refusal_reaches_the_caller() {
    #[derive(Debug)]
    struct Stubborn(Arc<AtomicUsize>);
    #[async_trait]
    impl TokenProvider for Stubborn {
        async fn token(&self, _refused: Option<&Secret>) -> Result<Secret, Error> {
            let asked = self.0.fetch_add(1, Relaxed);
            Ok(format!("tt_wrong_{asked}").into())
        }
    }
    let (_fake, url) = Fake::start(Behaviour::default()).await;
    let asked = Arc::new(AtomicUsize::new(0));
    let client = Client::builder(url.clone()).token_provider(Stubborn(asked.clone())).build().unwrap();
    assert_eq!(reason_of(client.limits().await), ErrorReason::TokenInvalid);
    assert_eq!(asked.load(Relaxed), 2);

    let client = Client::builder(url).token(token(1)).build().unwrap();
    assert_eq!(reason_of(client.limits().await), ErrorReason::TokenInvalid);
}

#[tokio::test]
async fn passing_failures_are_not_seen() {
    let (_fake, client) = Fake::with_client(Behaviour { fail_before: vec![away(), away()], ..holding(1) }).await;
    assert_eq!(client.image(1).await.unwrap().id, 1);
    assert_eq!(reason_of(client.image(2).await), ErrorReason::ImageNotFound);
}

#[tokio::test]
async fn a_deletion_whose_answer_was_lost_is_done() {
    let (fake, url) = Fake::start(Behaviour { lose_answer_of_deletion: true, ..holding(1) }).await;
    let client = signed_in(Client::builder(url)).timeout(Duration::from_millis(300)).build().unwrap();
    client.delete(1).await.unwrap();
    assert!(fake.see(|state| state.images.is_empty() && !state.lose_answer_of_deletion));
}

#[tokio::test]
async fn a_sign_in_asks_for_what_it_is_told() {
    let (_fake, url) = Fake::start(Behaviour::default()).await;
    let client = Client::connect(url).await.unwrap();
    let token = client.sign_in("ada", "sesame").label("ci").scope(Scope::Read).scope(Scope::Write).send().await.unwrap();
    assert_eq!((token.info.label.as_str(), token.info.scopes.as_slice()), ("ci", &[Scope::Read, Scope::Write][..]));
    assert!(!format!("{:?}", client.sign_in("ada", "sesame")).contains("sesame"));
    assert!(!format!("{:?}", client.users().create("bob", "sesame")).contains("sesame"));
    assert!(!format!("{:?}", client.users().update(1).password("sesame")).contains("sesame"));
}

#[tokio::test]
async fn a_revocation_whose_answer_was_lost_is_done() {
    let (fake, url) = Fake::start(Behaviour { lose_answer_of_deletion: true, ..Behaviour::default() }).await;
    let client = signed_in(Client::builder(url.clone())).timeout(Duration::from_millis(300)).build().unwrap();
    // Repeats nothing because an answer is late: what it is told is the answer to its first request.
    let patient = signed_in(Client::builder(url)).build().unwrap();
    let other = patient.sign_in("ada", "sesame").await.unwrap();
    client.current_user().await.unwrap();
    client.tokens().revoke(other.info.id).await.unwrap();
    assert_eq!(reason_of(patient.tokens().revoke(other.info.id).await), ErrorReason::TokenNotFound);
    assert_eq!(fake.see(|state| state.revoked), 1);
}

#[tokio::test]
async fn deleting_what_is_not_there_is_an_error_even_after_a_passing_failure() {
    let (_fake, client) = Fake::with_client(Behaviour { fail_before: vec![away()], ..holding(1) }).await;
    client.delete(1).await.unwrap();
    assert_eq!(reason_of(client.delete(1).await), ErrorReason::ImageNotFound);
}

#[tokio::test]
async fn pages_join_to_one_list_newest_first() {
    let (_fake, client) = Fake::with_client(holding(7)).await;
    let ids: Vec<i64> = client.images().page_size(3).stream().map_ok(|image| image.id).try_collect().await.unwrap();
    assert_eq!(ids, [7, 6, 5, 4, 3, 2, 1]);
    let page = client.images().page_size(7).page("").await.unwrap();
    assert_eq!((page.images.len(), page.next_page_token), (7, None));
}

#[tokio::test]
async fn a_list_ends_after_its_first_error() {
    let (_fake, client) = Fake::with_client(Behaviour { fail_before: vec![Status::internal("defect")], ..holding(7) }).await;
    let mut list = client.images().page_size(3).stream();
    assert!(list.try_next().await.is_err());
    assert!(list.try_next().await.unwrap().is_none());
}

#[tokio::test]
async fn a_failed_rendition_is_retried() {
    let (_fake, client) = Fake::with_client(holding(1)).await;
    assert_eq!(client.retry_rendition(10).await.unwrap().state, RenditionState::Pending);
}
