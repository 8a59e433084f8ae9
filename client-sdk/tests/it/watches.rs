use std::time::Duration;

use futures_util::StreamExt as _;
use tintype_client::{Client, ErrorReason, Event, Format, ImageState, RenditionState, RetryPolicy};
use tintype_proto::v1::{self, watch_images_response::Message};
use tonic::{Code, Status};

use crate::fake::{Behaviour, Fake, reason_of, refusal, signed_in, stored};

fn response(token: &str, message: Message) -> v1::WatchImagesResponse {
    v1::WatchImagesResponse { resume_token: token.into(), message: Some(message), ..Default::default() }
}

fn image(id: i64, state: v1::RenditionState) -> v1::Image {
    let mut image = stored(id, "cat.png", b"bytes");
    image.renditions[0].state = state.into();
    image
}

fn existing(token: &str, id: i64, state: v1::RenditionState) -> v1::WatchImagesResponse {
    response(token, Message::Existing(v1::ImageExisting { image: Some(image(id, state)) }))
}

fn changed(token: &str, id: i64, state: v1::RenditionState) -> v1::WatchImagesResponse {
    let image = Some(image(id, state));
    response(token, Message::RenditionChanged(v1::RenditionChanged { image, rendition_id: id * 10, state: state.into() }))
}

fn deleted(token: &str, image_id: i64) -> v1::WatchImagesResponse {
    response(token, Message::Deleted(v1::ImageDeleted { image_id }))
}

fn caught_up(token: &str) -> v1::WatchImagesResponse {
    response(token, Message::CaughtUp(v1::CaughtUp {}))
}

fn draining() -> Status {
    refusal(Code::Unavailable, "DRAINING", Some(Duration::ZERO))
}

fn tokens(fake: &Fake) -> Vec<String> {
    fake.see(|state| state.watched.iter().map(|request| request.resume_token.clone()).collect())
}

#[tokio::test]
async fn a_watch_goes_on_where_it_was_when_the_server_shuts_down() {
    use v1::RenditionState::{Pending, Ready};
    let first = vec![existing("a", 1, Pending), caught_up("b"), changed("c", 1, Ready)];
    let watches = vec![(first, Some(draining())), (Vec::new(), Some(draining())), (vec![deleted("d", 1)], None)];
    let (fake, client) = Fake::with_client(Behaviour { watches, ..Behaviour::default() }).await;
    let mut watching = client.watch().image(1).start();
    let Event::Existing(image) = watching.next().await.unwrap() else { panic!("the state comes first") };
    assert_eq!((image.id, image.state(), watching.resume_token()), (1, ImageState::Pending, "a"));
    assert_eq!(watching.next().await.unwrap(), Event::CaughtUp);
    let Event::RenditionChanged { image, rendition_id: 10, state: RenditionState::Ready, .. } = watching.next().await.unwrap() else {
        panic!("the change comes next")
    };
    assert_eq!(image.rendition(Format::Jpeg).unwrap().state, RenditionState::Ready);
    assert!(matches!(watching.next().await.unwrap(), Event::Deleted { image_id: 1, .. }));
    assert_eq!(tokens(&fake), ["", "c", "c"]);
    assert!(fake.see(|state| state.watched.iter().all(|request| request.image_ids == [1])));
}

#[tokio::test]
async fn a_kept_token_goes_on_in_another_process() {
    let (fake, client) = Fake::with_client(Behaviour { watches: vec![(vec![deleted("e", 7)], None)], ..Behaviour::default() }).await;
    let mut events = client.watch().resume("kept").stream();
    assert!(matches!(events.next().await, Some(Ok(Event::Deleted { image_id: 7, .. }))));
    assert_eq!(tokens(&fake), ["kept"]);
}

#[tokio::test]
async fn a_token_that_is_too_old_is_told_and_not_repeated() {
    let too_old = refusal(Code::OutOfRange, "RESUME_TOKEN_TOO_OLD", None);
    let (fake, client) = Fake::with_client(Behaviour { watches: vec![(Vec::new(), Some(too_old))], ..Behaviour::default() }).await;
    let mut events = client.watch().resume("old").stream();
    assert_eq!(reason_of(events.next().await.unwrap()), ErrorReason::ResumeTokenTooOld);
    assert!(events.next().await.is_none());
    assert_eq!(tokens(&fake).len(), 1);
}

#[tokio::test]
async fn patience_with_a_server_that_stays_away_has_an_end() {
    let watches = (0..9).map(|_| (Vec::new(), Some(draining()))).collect();
    let (fake, url) = Fake::start(Behaviour { watches, ..Behaviour::default() }).await;
    let policy = RetryPolicy::default().max_attempts(3);
    let client = signed_in(Client::builder(url)).retry(policy).build().unwrap();
    assert_eq!(reason_of(client.watch().start().next().await), ErrorReason::Draining);
    assert_eq!(tokens(&fake).len(), 3);
}

#[tokio::test]
async fn waiting_ends_when_all_renditions_are_final() {
    use v1::RenditionState::{Failed, Pending, Running};
    let messages = vec![existing("a", 1, Pending), caught_up("b"), changed("c", 1, Running), changed("d", 1, Failed)];
    let (_fake, client) = Fake::with_client(Behaviour { watches: vec![(messages, None)], ..Behaviour::default() }).await;
    assert_eq!(client.wait_ready(1).await.unwrap().state(), ImageState::Failed);
}

#[tokio::test]
async fn waiting_for_an_image_that_is_deleted_ends_as_asking_for_it_does() {
    let messages = vec![existing("a", 1, v1::RenditionState::Pending), deleted("b", 1)];
    let (_fake, client) = Fake::with_client(Behaviour { watches: vec![(messages, None)], ..Behaviour::default() }).await;
    assert_eq!(reason_of(client.wait_ready(1).await), ErrorReason::ImageNotFound);
}
