//! Calls that were carried out and answered with UNAVAILABLE, because the server lost its store before it knew.

use tintype_client::{ErrorReason, RenditionState};
use tonic::{Code, Status};

use crate::fake::{Behaviour, Fake, away, pattern, reason_of, refusal, stored};

fn holding_one() -> Behaviour {
    Behaviour { images: vec![(stored(1, "cat.png", &pattern(9)), pattern(9).into())], ..Behaviour::default() }
}

fn overloaded() -> Status {
    refusal(Code::Unavailable, "OVERLOADED", None)
}

#[tokio::test]
async fn a_deletion_that_was_done_is_done() {
    let (fake, client) = Fake::with_client(Behaviour { fail_after: vec![away()], ..holding_one() }).await;
    client.delete(1).await.unwrap();
    assert!(fake.see(|state| state.images.is_empty()));
    assert_eq!(reason_of(client.delete(1).await), ErrorReason::ImageNotFound);
}

#[tokio::test]
async fn a_cancelled_upload_is_cancelled() {
    let unfinished = vec!["a".to_owned()];
    let (fake, client) = Fake::with_client(Behaviour { unfinished, fail_after: vec![away()], ..Behaviour::default() }).await;
    client.cancel_upload("a").await.unwrap();
    assert!(fake.see(|state| state.unfinished.is_empty()));
    assert_eq!(reason_of(client.cancel_upload("a").await), ErrorReason::UploadNotFound);
}

#[tokio::test]
async fn a_revoked_token_is_revoked() {
    let (fake, client) = Fake::with_client(Behaviour::default()).await;
    let other = client.sign_in("ada", "sesame").await.unwrap();
    client.current_user().await.unwrap();
    fake.see(|state| state.fail_after = vec![away()]);
    client.tokens().revoke(other.info.id).await.unwrap();
    assert_eq!(fake.see(|state| state.revoked), 1);
}

#[tokio::test]
async fn a_retried_rendition_is_returned_as_it_is_by_then() {
    let (_fake, client) = Fake::with_client(Behaviour { fail_after: vec![away()], ..holding_one() }).await;
    let rendition = client.retry_rendition(10).await.unwrap();
    assert_eq!((rendition.id, rendition.state), (10, RenditionState::Ready));
    assert_eq!(reason_of(client.retry_rendition(10).await), ErrorReason::RenditionNotFailed);
}

#[tokio::test]
async fn what_was_refused_before_it_began_was_not_done() {
    let refused = |times| Behaviour { fail_before: vec![overloaded(); times], ..Behaviour::default() };
    let (_fake, client) = Fake::with_client(refused(1)).await;
    assert_eq!(reason_of(client.delete(1).await), ErrorReason::ImageNotFound);
    let (_fake, client) = Fake::with_client(refused(1)).await;
    assert_eq!(reason_of(client.cancel_upload("a").await), ErrorReason::UploadNotFound);
    let (_fake, client) = Fake::with_client(Behaviour { not_failed: vec![10], ..refused(1) }).await;
    assert_eq!(reason_of(client.retry_rendition(10).await), ErrorReason::RenditionNotFailed);
}
