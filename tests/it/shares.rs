//! What sharing shows to others, and how it ends.

use std::time::{Duration, Instant};

use tintype_client::{Access, Event, ImageState, Owner, Party, ShareRole};
use tintype_proto::v1::{
    DeleteImageRequest, DownloadImageRequest, Image, ImageFilter, ImageFormat, ImageOwner, ListImagesRequest, RenditionState,
    RetryRenditionRequest, download_image_response::Message,
};
use tintype_tests::{ADMIN_PASSWORD, Client, Program, Refused, Tintype, Told, Upload, Watcher, pictures};
use tonic::Code;

const READY: i32 = RenditionState::Ready as i32;
/// Within this time the end of a share is told everywhere, also on a busy machine.
const PROMISED: Duration = Duration::from_secs(10);

/// The client library, signed in.
fn library(tintype: &Tintype, username: &str) -> tintype_client::Client {
    tintype_client::Client::builder(&tintype.grpc_url).password(username, ADMIN_PASSWORD).build().expect("a client")
}

fn bob() -> Party {
    Party::user("bob")
}

/// A Tintype with the users ada, bob and eve.
async fn with_users(tintype: Tintype) -> Tintype {
    for name in ["ada", "bob", "eve"] {
        tintype.add_user(name).await;
    }
    tintype
}

async fn settled(client: &Client, seed: u32) -> Image {
    let image = client.upload(Upload::new(&format!("{seed}.png"), pictures::png(40, 30, seed))).await.expect("an image");
    client.settled(image.id).await
}

async fn listed(client: &Client, owner: ImageOwner) -> Vec<i64> {
    let filter = Some(ImageFilter { owner: owner.into(), ..ImageFilter::default() });
    let answer = client.images().list_images(ListImagesRequest { filter, ..ListImagesRequest::default() }).await;
    answer.expect("a list").into_inner().images.into_iter().map(|image| image.id).collect()
}

async fn shared_images_are_seen_and_used_as_their_role_says(tintype: Tintype) {
    let tintype = with_users(tintype).await;
    let ada = library(&tintype, "ada");
    let (viewer, stranger) = (tintype.client_of("bob").await, tintype.client_of("eve").await);
    let image = settled(&tintype.client_of("ada").await, 1).await;
    let rendition_id = image.renditions[0].id;
    let own = settled(&viewer, 2).await.id;

    let share = ada.share(image.id, bob(), ShareRole::Viewer).await.expect("it is hers");
    assert_eq!((&share.party, share.role), (&bob(), ShareRole::Viewer));
    let bobs = library(&tintype, "bob");
    assert_eq!(bobs.image(image.id).await.expect("it is shared").access, Access::Viewer);
    assert_eq!(bobs.wait_ready(image.id).await.expect("it is shared").access, Access::Viewer);
    assert_eq!(viewer.original(&image).await.expect("it is shared").bytes, pictures::png(40, 30, 1));
    viewer.rendition(image.id, ImageFormat::Jpeg).await.expect("it is shared");
    assert_eq!(listed(&viewer, ImageOwner::Unspecified).await, [own]);
    assert_eq!(listed(&viewer, ImageOwner::Others).await, [image.id]);
    assert_eq!(listed(&viewer, ImageOwner::Anyone).await, [own, image.id]);
    assert!(listed(&stranger, ImageOwner::Anyone).await.is_empty());
    let page = bobs.images().owner(Owner::Others).page("").await.expect("a page");
    assert_eq!(page.images.iter().map(|image| image.access).collect::<Vec<_>>(), [Access::Viewer]);

    let retry = RetryRenditionRequest { rendition_id };
    let refused = Refused::from(viewer.images().retry_rendition(retry).await.expect_err("only looking"));
    assert_eq!((refused.kind(), refused.metadata["needed_access"].as_str()), ((Code::PermissionDenied, "NOT_PERMITTED"), "EDITOR"));
    ada.share(image.id, bob(), ShareRole::Editor).await.expect("the role changes");
    let refused = Refused::from(viewer.images().retry_rendition(retry).await.expect_err("it is ready"));
    assert_eq!(refused.kind(), (Code::FailedPrecondition, "RENDITION_NOT_FAILED"), "an editor gets as far as an owner");
    let delete = DeleteImageRequest { id: image.id };
    let refused = Refused::from(viewer.images().delete_image(delete).await.expect_err("it is not his"));
    assert_eq!((refused.kind(), refused.metadata["needed_access"].as_str()), ((Code::PermissionDenied, "NOT_PERMITTED"), "OWNER"));
    let used = viewer.current_user().await.expect("an answer").used_bytes;
    assert_eq!(used, library(&tintype, "bob").current_user().await.expect("an answer").used_bytes as i64);

    ada.share(image.id, Party::Everyone, ShareRole::Viewer).await.expect("with everyone");
    assert_eq!(listed(&stranger, ImageOwner::Others).await, [image.id]);
    assert_eq!(stranger.image(image.id).await.expect("it is shared").access, tintype_proto::v1::ImageAccess::Viewer as i32);
    let shares = ada.shares(image.id).await.expect("hers to see");
    let shares: Vec<_> = shares.iter().map(|share| (share.party.to_string(), share.role)).collect();
    assert_eq!(shares, [("everyone".to_owned(), ShareRole::Viewer), ("bob".to_owned(), ShareRole::Editor)]);

    for party in [bob(), bob(), Party::Everyone] {
        ada.unshare(image.id, party).await.expect("also when there is none");
    }
    assert_eq!(viewer.image(image.id).await.expect_err("not shared").kind(), (Code::NotFound, "IMAGE_NOT_FOUND"));
    assert!(listed(&viewer, ImageOwner::Others).await.is_empty());
    ada.delete(image.id).await.expect("hers to delete, shared or not");
}

#[tokio::test]
async fn shared_images_are_seen_and_used_as_their_role_says_embedded() {
    shared_images_are_seen_and_used_as_their_role_says(Tintype::embedded().await).await;
}

#[tokio::test]
async fn shared_images_are_seen_and_used_as_their_role_says_in_a_cluster() {
    shared_images_are_seen_and_used_as_their_role_says(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn sharing_tells_nobody_who_has_an_account() {
    let tintype = with_users(Tintype::embedded().await).await;
    let ada = library(&tintype, "ada");
    let image = settled(&tintype.client_of("ada").await, 1).await.id;
    for name in ["bob", "zoe"] {
        let share = ada.share(image, Party::user(name), ShareRole::Viewer).await.expect("whether there is one or not");
        assert_eq!(share.party, Party::user(name));
    }
    let shares = ada.shares(image).await.expect("shares");
    let catalog = tintype.catalog().await;
    let bob = catalog.user_by_name("bob").await.expect("an answer").expect("there is one").id;
    library(&tintype, "admin").users().delete(bob.0).await.expect("bob goes");
    assert_eq!(ada.shares(image).await.expect("shares"), shares, "nothing changes with the user");
    for name in ["bob", "zoe"] {
        tintype.add_user(name).await;
        let client = tintype.client_of(name).await;
        assert_eq!(client.image(image).await.expect_err("it was shared with nobody").kind(), (Code::NotFound, "IMAGE_NOT_FOUND"));
    }
    let own = ada.share(image, Party::user("ada"), ShareRole::Viewer).await.expect_err("she sees it as it is");
    assert_eq!(own.reason_name(), Some("INVALID_FIELD"));
    for number in shares.len()..100 {
        ada.share(image, Party::user(number.to_string()), ShareRole::Viewer).await.expect("within the limit");
    }
    let refused = ada.share(image, Party::Everyone, ShareRole::Viewer).await.expect_err("one too many");
    assert_eq!((refused.reason_name(), refused.metadata("limit")), (Some("LIMIT_EXCEEDED"), Some("max_shares_per_image")));
}

#[tokio::test]
async fn what_is_withdrawn_during_a_list_is_on_no_later_page() {
    let tintype = with_users(Tintype::embedded().await).await;
    let (ada, viewer) = (library(&tintype, "ada"), tintype.client_of("bob").await);
    let owner = tintype.client_of("ada").await;
    let mut images = Vec::new();
    for seed in 0..6 {
        let image = settled(&owner, seed).await.id;
        ada.share(image, bob(), ShareRole::Viewer).await.expect("hers to share");
        images.push(image);
    }
    images.reverse();
    let page = async |page_token: String| {
        let filter = Some(ImageFilter { owner: ImageOwner::Others.into(), ..ImageFilter::default() });
        let answer =
            viewer.images().list_images(ListImagesRequest { page_size: 2, page_token, filter }).await.expect("a page").into_inner();
        (answer.images.into_iter().map(|image| image.id).collect::<Vec<_>>(), answer.next_page_token)
    };
    let (first, token) = page(String::new()).await;
    assert_eq!(first, images[..2]);
    // The last one of the page that was read, and one of the next.
    for withdrawn in [images[1], images[2]] {
        ada.unshare(withdrawn, bob()).await.expect("hers to withdraw");
    }
    let (second, token) = page(token).await;
    assert_eq!(second, images[3..5]);
    assert_eq!(page(token).await, (images[5..].to_vec(), String::new()));
}

#[tokio::test]
async fn what_is_withdrawn_during_a_download_is_sent_no_further() {
    let tintype = with_users(Tintype::embedded().await).await;
    let (ada, viewer) = (library(&tintype, "ada"), tintype.client_of("bob").await);
    let bytes = pictures::bmp(4000, 3500, 1);
    let size = bytes.len();
    let owner = tintype.client_of("ada").await;
    let image = owner.upload(Upload::new("large.bmp", bytes)).await.expect("an image");
    let rendition_id = owner.settled(image.id).await.renditions[0].id;
    let original = DownloadImageRequest { image_id: image.id, format: image.format, ..DownloadImageRequest::default() };
    let rendition = DownloadImageRequest { rendition_id, ..DownloadImageRequest::default() };
    for (request, reason) in [(original, "IMAGE_NOT_FOUND"), (rendition, "RENDITION_NOT_FOUND")] {
        let is_original = request.rendition_id == 0;
        ada.share(image.id, bob(), ShareRole::Viewer).await.expect("hers to share");
        let mut watcher = Watcher::start(&viewer, &[image.id], "").await.expect("it is shared");
        watcher.through(Told::CaughtUp).await;
        let mut messages = viewer.images().download_image(request).await.expect("it is shared").into_inner();
        let mut received = 0;
        // The info and a chunk; what else the connection holds is on its way.
        for _ in 0..2 {
            if let Some(Message::Chunk(chunk)) = messages.message().await.expect("it is sent").and_then(|message| message.message) {
                received += chunk.data.len();
            }
        }
        let before = received;
        let begin = Instant::now();
        ada.unshare(image.id, bob()).await.expect("hers to withdraw");
        assert_eq!(watcher.through(Told::Deleted(image.id)).await.last(), Some(&Told::Deleted(image.id)));
        let told = begin.elapsed();
        let ended = loop {
            match messages.message().await {
                Ok(Some(message)) => {
                    let Some(Message::Chunk(chunk)) = message.message else { panic!("a chunk is due: {message:?}") };
                    received += chunk.data.len();
                }
                Ok(None) => break None,
                Err(status) => break Some(Refused::from(status)),
            }
        };
        let (what, rest) = (if is_original { "original" } else { "rendition" }, received - before);
        let ended_after = begin.elapsed();
        println!("{what}: {before} bytes read, then withdrawn; a watch told after {told:?}, the stream ended after {ended_after:?}");
        println!("{what}: {rest} more bytes were on their way");
        assert!(told < PROMISED, "{told:?}");
        // A small rendition may be on its way whole.
        if is_original || ended.is_some() {
            assert_eq!(ended.expect("it does not end as if all were well").kind(), (Code::NotFound, reason));
            assert!(received < size / 2, "{received} of {size}");
        }
    }
}

async fn a_watch_of_a_shared_image_begins_and_ends_with_its_share(tintype: Tintype) {
    let tintype = with_users(tintype).await;
    let (ada, owner) = (library(&tintype, "ada"), tintype.client_of("ada").await);
    let (viewer, stranger) = (tintype.client_of("bob").await, tintype.client_of("eve").await);
    let image = settled(&owner, 1).await.id;
    let mut all = Watcher::start(&viewer, &[], "").await.expect("a watch");
    assert_eq!(all.through(Told::CaughtUp).await, [Told::CaughtUp]);
    let away = all.resume_token.clone();

    ada.share(image, bob(), ShareRole::Viewer).await.expect("hers to share");
    assert_eq!(all.next().await.expect("the watch goes on"), Told::Created(image));
    for _ in 0..2 {
        ada.share(image, bob(), ShareRole::Editor).await.expect("hers to share");
    }
    assert_eq!(all.next().await.expect("the watch goes on"), Told::Updated(image));
    ada.share(image, Party::Everyone, ShareRole::Viewer).await.expect("hers to share");
    let mut one = Watcher::start(&viewer, &[image], "").await.expect("it is shared");
    let mut everyones = Watcher::start(&stranger, &[image], "").await.expect("it is shared");
    let mut owners = Watcher::start(&owner, &[image], "").await.expect("it is hers");
    for watcher in [&mut one, &mut everyones, &mut owners] {
        assert_eq!(watcher.through(Told::CaughtUp).await, [Told::Existing(image), Told::CaughtUp]);
    }
    // What is everyone's is nobody's own.
    let mut strangers = Watcher::start(&stranger, &[], "").await.expect("a watch");
    assert_eq!(strangers.through(Told::CaughtUp).await, [Told::CaughtUp]);

    // One of two ways to see it ends: a watch of that image goes on, one of all that is one's own does not.
    let begin = Instant::now();
    ada.unshare(image, bob()).await.expect("hers to withdraw");
    assert_eq!(all.next().await.expect("the watch goes on"), Told::Deleted(image));
    println!("watch: told {:?} after the share was withdrawn", begin.elapsed());
    assert!(begin.elapsed() < PROMISED);
    let resumed = one.resume_token.clone();
    ada.unshare(image, Party::Everyone).await.expect("hers to withdraw");
    assert_eq!(one.next().await.expect("the watch goes on"), Told::Deleted(image), "and nothing before");
    assert_eq!(everyones.next().await.expect("the watch goes on"), Told::Deleted(image));

    // Nothing that happens to it later is told to others, and all of it to its owner, once.
    owner.images().delete_image(DeleteImageRequest { id: image }).await.expect("hers to delete");
    assert_eq!(owners.next().await.expect("the watch goes on"), Told::Deleted(image));
    let own = settled(&viewer, 2).await.id;
    assert_eq!(all.through(Told::Rendition(own, READY)).await[0], Told::Created(own));
    // Who was away hears of the end of what was not known; who goes on, of the end of what was.
    let mut away = Watcher::start(&viewer, &[], &away).await.expect("it goes on");
    assert_eq!(away.through(Told::Created(own)).await, [Told::Deleted(image), Told::Created(own)]);
    let mut resumed = Watcher::start(&viewer, &[image], &resumed).await.expect("it goes on");
    assert_eq!(resumed.next().await.expect("the watch goes on"), Told::Deleted(image));
    let refused = Watcher::start(&viewer, &[image], "").await.expect_err("it is gone");
    assert_eq!(refused.kind(), (Code::NotFound, "IMAGE_NOT_FOUND"));
}

#[tokio::test]
async fn a_watch_of_a_shared_image_begins_and_ends_with_its_share_embedded() {
    a_watch_of_a_shared_image_begins_and_ends_with_its_share(Tintype::embedded().await).await;
}

#[tokio::test]
async fn a_watch_of_a_shared_image_begins_and_ends_with_its_share_in_a_cluster() {
    a_watch_of_a_shared_image_begins_and_ends_with_its_share(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn those_it_is_shared_with_miss_nothing_on_any_server() {
    let tintype = with_users(Tintype::cluster(1).await).await;
    let (second, url) = tintype.another_server().await;
    let (ada, owner) = (library(&tintype, "ada"), tintype.client_of("ada").await);
    let elsewhere = tintype_client::Client::builder(&url).password("bob", ADMIN_PASSWORD).build().expect("a client");
    let mut watching = elsewhere.watch().start();
    assert_eq!(watching.next().await.expect("a watch"), Event::CaughtUp);
    let mut images = Vec::new();
    for seed in 0..4 {
        let id = owner.upload(Upload::new("new.png", pictures::png(64, 48, seed))).await.expect("an image").id;
        ada.share(id, bob(), ShareRole::Viewer).await.expect("hers to share");
        // Whether its rendition is ready by then or later, that it is is heard of.
        let mut created = 0;
        loop {
            let event = watching.next().await.expect("the watch goes on");
            created += usize::from(matches!(&event, Event::Created { image, .. } if image.id == id));
            if event.image().is_some_and(|image| image.id == id && image.state() == ImageState::Ready) {
                break;
            }
        }
        assert_eq!(created, 1, "it appears once, and first");
        images.push(id);
    }
    let token = watching.resume_token().to_owned();
    second.kill().await;
    ada.unshare(images[2], bob()).await.expect("hers to withdraw");
    owner.images().delete_image(DeleteImageRequest { id: images[0] }).await.expect("hers to delete");
    let viewer = tintype.client_of("bob").await;
    let own = viewer.upload(Upload::new("own.png", pictures::png(8, 8, 1))).await.expect("an image").id;
    let mut resumed = Watcher::start(&viewer, &[], &token).await.expect("it goes on elsewhere");
    let mut told = resumed.through(Told::Created(own)).await;
    // What the rendition of the last image went through may come first, for the other server told the image as it was by then;
    // and a watch that has told everything says so.
    told.retain(|told| !matches!(*told, Told::Rendition(image, _) if image == images[3]) && *told != Told::CaughtUp);
    assert_eq!(told, [Told::Deleted(images[2]), Told::Deleted(images[0]), Told::Created(own)]);
}

#[tokio::test]
async fn the_command_line_shares_and_tells_with_whom() {
    let tintype = with_users(Tintype::embedded().await).await;
    let owner = tintype.client_of("ada").await;
    let id = settled(&owner, 1).await.id.to_string();
    let token = owner.token.clone().expect("signed in");
    let environment = [("TINTYPE_SERVER", tintype.grpc_url.as_str()), ("TINTYPE_TOKEN", &token)];
    let run = async |arguments: &[&str]| {
        let mut program = Program::own("tintype", arguments, environment);
        let ended = program.ended().await;
        (ended.code(), program)
    };
    let (code, mut shared) = run(&["share", &id, "--with", "bob", "--editor"]).await;
    shared.line(|line| line.starts_with("bob\teditor\t").then_some(())).await;
    assert_eq!(code, Some(0));
    assert_eq!(run(&["share", &id, "--everyone"]).await.0, Some(0));
    let (_, mut listed) = run(&["share", &id, "--output", "json"]).await;
    listed.line(|line| (line.contains(r#""everyone":true"#) && line.contains(r#""role":"viewer""#)).then_some(())).await;
    listed.line(|line| line.contains(r#""username":"bob""#).then_some(())).await;

    let bobs = tintype.client_of("bob").await.token.expect("signed in");
    let environment = [("TINTYPE_SERVER", tintype.grpc_url.as_str()), ("TINTYPE_TOKEN", &bobs)];
    Program::own("tintype", &["ls", "--owner", "others"], environment)
        .line(|line| line.starts_with(&format!("{id}\t1.png")).then_some(()))
        .await;
    Program::own("tintype", &["show", &id], environment).line(|line| (line == "access\teditor").then_some(())).await;
    assert_eq!(Program::own("tintype", &["rm", &id], environment).ended().await.code(), Some(3), "not permitted");
    for party in [&["--with", "bob"][..], &["--everyone"]] {
        assert_eq!(run(&[&["unshare", &id], party].concat()).await.0, Some(0));
    }
    assert_eq!(Program::own("tintype", &["show", &id], environment).ended().await.code(), Some(4), "not found");
}
