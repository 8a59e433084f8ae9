//! Names and labels of images.

use std::collections::BTreeMap;

use futures_util::{TryStreamExt as _, future::try_join_all};
use tintype_client::{Client, ErrorReason, Event, Image};
use tintype_tests::{Tintype, pictures};
use tonic::Code;

use crate::{command_line::Person, requested::client};

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn listed(client: &Client, wanted: &[(&str, &str)]) -> Vec<i64> {
    let list = wanted.iter().fold(client.images(), |list, (key, value)| list.label(*key, *value));
    list.stream().map_ok(|image: Image| image.id).try_collect().await.expect("a list")
}

async fn names_and_labels_change_and_are_found_and_told(tintype: Tintype) {
    let client = client(&tintype.grpc_url, "admin");
    let upload = || client.upload(pictures::png(8, 8, 1)).file_name("old.png").label("kind", "cat").label("room", "Ku\u{308}che");
    let (image, other) = (upload().send().await.expect("an image"), upload().send().await.expect("an image"));
    let image = client.wait_ready(image.id).await.expect("it is made");
    client.wait_ready(other.id).await.expect("it is made");
    assert_eq!(image.labels, labels(&[("kind", "cat"), ("room", "K\u{fc}che")]));
    assert_eq!(image.updated_at, image.created_at);
    let mut watching = client.watch().start();
    while watching.next().await.expect("the watch goes on") != Event::CaughtUp {}

    let changed =
        client.update_image(image.id).file_name("new.png").label("kind", "dog").remove_label("room").send().await.expect("changed");
    assert_eq!((changed.file_name.as_str(), &changed.labels), ("new.png", &labels(&[("kind", "dog")])));
    assert!(changed.updated_at > image.created_at);
    assert_eq!(client.image(image.id).await.expect("the image"), changed);
    let told = loop {
        match watching.next().await.expect("the watch goes on") {
            // Part of the state already, and in the log only then.
            Event::RenditionChanged { .. } => {}
            told => break told,
        }
    };
    assert_eq!(told, Event::Updated { image: changed.clone(), at: changed.updated_at });
    assert_eq!(client.download(image.id).format(image.format).send().await.expect("the original").info().file_name, "new.png");

    assert_eq!(listed(&client, &[]).await, [other.id, image.id]);
    assert_eq!(listed(&client, &[("kind", "dog")]).await, [image.id]);
    assert_eq!(listed(&client, &[("kind", "cat"), ("room", "K\u{fc}che")]).await, [other.id]);
    assert_eq!(listed(&client, &[("kind", "dog"), ("room", "K\u{fc}che")]).await, [0; 0]);

    // Who labels at once loses nothing; what is so already changes nothing and is not told.
    let at_once = (0..10).map(|number| client.update_image(other.id).label(format!("label-{number}"), "x").send());
    try_join_all(at_once).await.expect("changed");
    assert_eq!(client.image(other.id).await.expect("the image").labels.len(), 12);
    client.update_image(other.id).label("label-0", "x").send().await.expect("it is so");
    let cleared = client.update_image(other.id).clear_labels().label("last", "one").send().await.expect("changed");
    assert_eq!(cleared.labels, labels(&[("last", "one")]));
    for number in 0..11 {
        let told = watching.next().await.expect("the watch goes on");
        assert!(matches!(&told, Event::Updated { image, .. } if image.id == other.id), "{number}: {told:?}");
    }
    client.delete(other.id).await.expect("deleted");
    assert!(matches!(watching.next().await.expect("the watch goes on"), Event::Deleted { .. }), "nothing else was told");
}

#[tokio::test]
async fn names_and_labels_change_and_are_found_and_told_embedded() {
    names_and_labels_change_and_are_found_and_told(Tintype::embedded().await).await;
}

#[tokio::test]
async fn names_and_labels_change_and_are_found_and_told_in_a_cluster() {
    names_and_labels_change_and_are_found_and_told(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn names_and_labels_that_make_no_sense_are_refused() {
    let tintype = Tintype::embedded().await;
    let client = client(&tintype.grpc_url, "admin");
    let image = client.upload(pictures::png(8, 8, 1)).file_name("a.png").send().await.expect("an image");
    let change = || client.update_image(image.id);
    let refused = [
        change(),
        change().file_name("../x"),
        change().label("Key", "v"),
        change().label("", "v"),
        change().label("k".repeat(64), "v"),
        change().label("k", "v".repeat(256)),
        change().label("k", "a\nb"),
        client.update_image(0).file_name("b.png"),
    ];
    for (number, change) in refused.into_iter().enumerate() {
        let error = change.send().await.expect_err("it makes no sense");
        assert_eq!((error.code(), error.reason()), (Some(Code::InvalidArgument), Some(ErrorReason::InvalidField)), "{number}: {error}");
    }
    for key in ["a", "b", "c", "d"] {
        change().label(key, "v".repeat(250)).send().await.expect("it fits");
    }
    let error = change().label("e", "v".repeat(250)).send().await.expect_err("too much together");
    assert_eq!((error.code(), error.reason()), (Some(Code::InvalidArgument), Some(ErrorReason::LimitExceeded)));
    assert_eq!(error.metadata("limit"), Some("max_labels_bytes"));
    assert_eq!(error.metadata("seen"), Some("1255"));
    let upload = client.upload(pictures::png(8, 8, 1)).label("K", "v").send().await.expect_err("a label that makes no sense");
    assert_eq!(upload.reason(), Some(ErrorReason::InvalidField));
    assert_eq!(client.image(image.id).await.expect("the image").file_name, "a.png");
}

#[tokio::test]
async fn the_command_line_names_and_labels() {
    let tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    for name in ["one.png", "two.png"] {
        person.file(name, &pictures::png(8, 8, 1));
    }
    person.told(&["login"]).await;
    person.told(&["upload", "one.png", "--label", "kind=cat", "--label", "sum=1+1=2", "--wait"]).await;
    person.told(&["upload", "two.png", "--wait"]).await;
    assert!(person.told(&["show", "1"]).await.contains("\nlabel\tkind=cat\nlabel\tsum=1+1=2\n"));
    let told = person.told(&["edit", "2", "--name", "zwei.png", "--label", "kind=cat", "--unlabel", "none"]).await;
    assert_eq!(told, "2\tzwei.png\tkind=cat\n");
    assert_eq!(person.told(&["edit", "1", "--unlabel", "kind"]).await, "1\tone.png\tsum=1+1=2\n");
    let listed = person.told(&["ls", "--label", "kind=cat"]).await;
    assert!(listed.starts_with("2\tzwei.png\t") && listed.lines().count() == 1, "{listed}");
    assert_eq!(person.tintype(&["edit", "3", "--name", "x"]).await.status.code(), Some(4), "it is not there");
}
