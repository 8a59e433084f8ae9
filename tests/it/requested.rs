//! Renditions on request: any format and size, once, counted, and refused where they must be.

use std::collections::BTreeSet;

use futures_util::future::{join_all, try_join_all};
use image::ImageFormat;
use tintype_client::{Client, ErrorReason, Format, Image, RenditionState};
use tintype_proto::v1;
use tintype_tests::{ADMIN_PASSWORD, Tintype, Told, Watcher, pictures};
use tonic::Code;

use crate::command_line::Person;

const PENDING: i32 = v1::RenditionState::Pending as i32;
const READY: i32 = v1::RenditionState::Ready as i32;

pub(crate) fn client(url: &str, user_name: &str) -> Client {
    Client::builder(url).password(user_name, ADMIN_PASSWORD).build().expect("a client")
}

async fn uploaded(client: &Client, seed: u32) -> Image {
    let image = client.upload(pictures::png(64, 48, seed)).file_name("cat.png").send().await.expect("an image");
    client.wait_ready(image.id).await.expect("it is made")
}

fn refused<T: std::fmt::Debug>(result: Result<T, tintype_client::Error>) -> (Code, ErrorReason) {
    let error = result.expect_err("refused");
    (error.code().expect("a code"), error.reason().expect("a reason"))
}

async fn a_picture_is_made_as_asked_and_comes_back(tintype: Tintype) {
    let client = client(&tintype.grpc_url, "admin");
    let image = uploaded(&client, 1).await;
    let automatic = client.create_rendition(image.id, Format::Jpeg).quality(82).send().await.expect("it stands");
    assert_eq!(&automatic, image.rendition(Format::Jpeg).expect("the automatic one"));

    let never = client.download(image.id).format(Format::WebP).bytes().await;
    assert_eq!(refused(never), (Code::NotFound, ErrorReason::RenditionNotFound));
    let small = client.create_rendition(image.id, Format::WebP).quality(70).width(32).keep_metadata().send().await.expect("asked for");
    assert_eq!((small.state, small.spec.to_string().as_str()), (RenditionState::Pending, "webp quality=70 width=32 metadata"));
    let download = client.download_rendition(small.id).wait().send().await.expect("it is made");
    assert_eq!(download.info().file_name, "converted_img.webp");
    let never = client.download(image.id).format(Format::WebP).bytes().await;
    assert_eq!(refused(never), (Code::NotFound, ErrorReason::RenditionNotFound), "the small one is not the picture in that format");

    let plain = client.download(image.id).format(Format::WebP).or_create().bytes().await.expect("asked for, made and brought");
    assert_eq!(image::guess_format(&plain).expect("a picture"), ImageFormat::WebP);
    assert_eq!(client.download(image.id).format(Format::WebP).bytes().await.expect("it is there now"), plain);

    // Of the format that the original has, too; by its format the original comes as before.
    let again = client.create_rendition(image.id, Format::Png).send().await.expect("asked for");
    let info = client.download_rendition(again.id).wait().send().await.expect("it is made").info().clone();
    assert_eq!((info.rendition_id, info.format), (Some(again.id), Format::Png));
    assert_eq!(client.download(image.id).format(Format::Png).bytes().await.expect("the original"), pictures::png(64, 48, 1));

    let image = client.image(image.id).await.expect("the image");
    let specs: Vec<_> = image.renditions.iter().map(|rendition| rendition.spec.to_string()).collect();
    assert_eq!(specs, ["jpeg", "webp quality=70 width=32 metadata", "webp", "png"]);
    let sizes = image.renditions.iter().map(|rendition| rendition.size_bytes).sum::<u64>();
    assert_eq!(client.current_user().await.expect("a user").used_bytes, image.size_bytes + sizes);
}

#[tokio::test]
async fn a_picture_is_made_as_asked_and_comes_back_embedded() {
    a_picture_is_made_as_asked_and_comes_back(Tintype::embedded().await).await;
}

#[tokio::test]
async fn a_picture_is_made_as_asked_and_comes_back_in_a_cluster() {
    a_picture_is_made_as_asked_and_comes_back(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn equal_requests_at_two_servers_are_one_rendition_that_watchers_see_once() {
    let tintype = Tintype::cluster(1).await;
    let (_second, url) = tintype.another_server().await;
    let (here, there) = (client(&tintype.grpc_url, "admin"), client(&url, "admin"));
    let image = uploaded(&here, 1).await;
    let mut watcher = Watcher::start(&tintype.client().await, &[image.id], "").await.expect("a watch");
    watcher.through(Told::CaughtUp).await;

    let requests = (0..24).map(|number| [&here, &there][number % 2].create_rendition(image.id, Format::Gif).width(20).send());
    let renditions = try_join_all(requests).await.expect("all are answered");
    let ids: BTreeSet<_> = renditions.iter().map(|rendition| rendition.id).collect();
    assert_eq!(ids.len(), 1, "{renditions:?}");
    let told = watcher.through(Told::Rendition(image.id, READY)).await;
    assert_eq!(told.iter().filter(|told| **told == Told::Rendition(image.id, PENDING)).count(), 1, "{told:?}");
    let now = there.image(image.id).await.expect("the image");
    assert_eq!(now.renditions.len(), image.renditions.len() + 1);
    // What is ready is returned as it is.
    let standing = there.create_rendition(image.id, Format::Gif).width(20).send().await.expect("it stands");
    assert_eq!(Some(&standing), now.renditions.last());
    assert_eq!(standing.attempt_count, 1, "made once");
}

#[tokio::test]
async fn what_cannot_be_asked_for_is_refused_with_its_limit() {
    let tintype = Tintype::cluster_with(0, &[("TINTYPE_MAX_RENDITIONS_PER_IMAGE", "3")]).await;
    tintype.add_user("ada").await;
    let (admin, ada) = (client(&tintype.grpc_url, "admin"), client(&tintype.grpc_url, "ada"));
    assert_eq!(ada.limits().await.expect("limits").max_renditions_per_image, 3);
    let image = ada.upload(pictures::png(64, 48, 1)).send().await.expect("an image");
    let ask = |format| ada.create_rendition(image.id, format);

    let unsupported = (Code::InvalidArgument, ErrorReason::UnsupportedFormat);
    for format in [Format::Ico, Format::Qoi, Format::Pnm] {
        assert_eq!(refused(ask(format).send().await), unsupported, "{format}");
    }
    let invalid = (Code::InvalidArgument, ErrorReason::InvalidField);
    assert_eq!(refused(ask(Format::Png).quality(80).send().await), invalid);
    assert_eq!(refused(ask(Format::WebP).quality(101).send().await), invalid);
    assert_eq!(refused(ask(Format::WebP).background("white").send().await), invalid);
    assert_eq!(refused(ada.create_rendition(0, Format::Png).send().await), invalid);
    let wide = ask(Format::Png).width(16_384).send().await.expect_err("too wide");
    assert_eq!((wide.code(), wide.reason()), (Some(Code::InvalidArgument), Some(ErrorReason::LimitExceeded)));
    let said = |error: &tintype_client::Error, key: &str| error.metadata(key).map(str::to_owned);
    assert_eq!((said(&wide, "limit"), said(&wide, "seen")), (Some("max_side_pixels".to_owned()), Some("16384".to_owned())));

    // Nobody is there to make it yet, and somebody may come who can.
    let avif = ask(Format::Avif).send().await.expect("it is waited for");
    assert_eq!(avif.state, RenditionState::Pending);
    ask(Format::Gif).send().await.expect("the third one");
    let many = ask(Format::Bmp).send().await.expect_err("one too many");
    assert_eq!((many.code(), many.reason()), (Some(Code::InvalidArgument), Some(ErrorReason::LimitExceeded)));
    let limit = (said(&many, "limit"), said(&many, "value"), said(&many, "seen"));
    assert_eq!(limit, (Some("max_renditions_per_image".to_owned()), Some("3".to_owned()), Some("4".to_owned())));

    let other = ada.upload(pictures::png(64, 48, 2)).send().await.expect("an image");
    let user = ada.current_user().await.expect("a user");
    admin.users().update(user.id).quota_bytes(user.used_bytes).send().await.expect("changed");
    let quota = ada.create_rendition(other.id, Format::Gif).send().await.expect_err("the quota is used up");
    assert_eq!((quota.code(), quota.reason()), (Some(Code::ResourceExhausted), Some(ErrorReason::QuotaExceeded)));
    assert_eq!((said(&quota, "value"), said(&quota, "seen")), (Some(user.used_bytes.to_string()), Some(user.used_bytes.to_string())));
    assert_eq!(ask(Format::Avif).send().await.expect("what stands is no further use"), avif);
}

#[tokio::test]
async fn what_was_asked_for_is_not_made_when_the_quota_is_used_up_by_then() {
    const ASKED: u32 = 6;
    let mut tintype = Tintype::cluster(0).await;
    tintype.add_user("ada").await;
    let (admin, ada) = (client(&tintype.grpc_url, "admin"), client(&tintype.grpc_url, "ada"));
    let image = ada.upload(pictures::png(64, 48, 1)).send().await.expect("an image");
    let quota_bytes = image.size_bytes + 1;
    let user = ada.current_user().await.expect("a user").id;
    admin.users().update(user).quota_bytes(quota_bytes).send().await.expect("changed");
    let asked = (1..=ASKED).map(|width| ada.create_rendition(image.id, Format::Gif).width(width).send());
    try_join_all(asked).await.expect("there is room as long as nothing is made");

    // Of those asked for, at most two were under way when the last byte of the quota was used: beside the first result one more may be
    // written, and another one made.
    tintype.start_worker();
    let settled = ada.wait_ready(image.id).await.expect("an image");
    assert_eq!(settled.rendition(Format::Jpeg).expect("the automatic one").state, RenditionState::Ready);
    let used_bytes = ada.current_user().await.expect("a user").used_bytes;
    let failures: Vec<_> = settled.renditions.iter().filter_map(|rendition| Some((rendition.id, rendition.failure.clone()?))).collect();
    assert!(failures.len() >= ASKED as usize - 2, "{failures:?}");
    for (_, failure) in &failures {
        assert_eq!(failure.reason, "QUOTA_EXCEEDED");
        assert!(failure.message.contains(&format!("uses up the quota of {quota_bytes}")), "{}", failure.message);
    }
    let made = settled.renditions.iter().map(|rendition| rendition.size_bytes).sum::<u64>();
    assert_eq!(used_bytes, image.size_bytes + made);

    admin.users().update(user).quota_bytes(1 << 20).send().await.expect("changed");
    for (id, _) in failures {
        ada.retry_rendition(id).await.expect("it failed");
        ada.download_rendition(id).wait().bytes().await.expect("there is room");
    }
}

async fn usage_is_exact_with_renditions_on_request_and_deletions(tintype: Tintype) {
    tintype.add_user("ada").await;
    let client = client(&tintype.grpc_url, "ada");
    let images = try_join_all((0..6).map(|seed| client.upload(pictures::png(120, 90, seed)).send())).await.expect("images");
    let ask_and_delete = images.iter().map(|image| {
        let client = &client;
        async move {
            let asked = (0..4).map(|number| client.create_rendition(image.id, Format::Jpeg).quality(60 + number).send());
            let deletion = async {
                if image.id % 2 == 0 {
                    client.delete(image.id).await.expect("deleted");
                }
            };
            let (asked, ()) = tokio::join!(join_all(asked), deletion);
            for error in asked.into_iter().filter_map(Result::err) {
                assert_eq!(error.reason(), Some(ErrorReason::ImageNotFound), "{error}");
            }
        }
    });
    join_all(ask_and_delete).await;
    let mut sum = 0;
    for image in &images {
        if image.id % 2 == 0 {
            assert_eq!(refused(client.image(image.id).await), (Code::NotFound, ErrorReason::ImageNotFound));
        } else {
            let settled = client.wait_ready(image.id).await.expect("it is made");
            assert_eq!(settled.renditions.len(), 5);
            sum += settled.size_bytes + settled.renditions.iter().map(|rendition| rendition.size_bytes).sum::<u64>();
        }
    }
    assert_eq!(client.current_user().await.expect("a user").used_bytes, sum);
}

#[tokio::test]
async fn usage_is_exact_with_renditions_on_request_and_deletions_embedded() {
    usage_is_exact_with_renditions_on_request_and_deletions(Tintype::embedded().await).await;
}

#[tokio::test]
async fn usage_is_exact_with_renditions_on_request_and_deletions_in_a_cluster() {
    usage_is_exact_with_renditions_on_request_and_deletions(Tintype::cluster(2).await).await;
}

#[tokio::test]
async fn the_command_line_asks_for_what_was_never_made() {
    let tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    person.file("cat.png", &pictures::png(64, 48, 1));
    person.told(&["login"]).await;
    person.told(&["upload", "cat.png", "--wait"]).await;

    person.told(&["get", "1", "--format", "webp", "-o", "cat.webp"]).await;
    assert_eq!(image::guess_format(&person.read("cat.webp")).expect("a picture"), ImageFormat::WebP);
    person.told(&["get", "1", "--format", "gif", "--height", "12", "--effort", "fast", "-o", "cat.gif"]).await;
    assert_eq!(image::guess_format(&person.read("cat.gif")).expect("a picture"), ImageFormat::Gif);
    let told = person.told(&["render", "1", "--format", "bmp", "--background", "#102030", "--wait"]).await;
    assert_eq!(told, "4\tconverted_img.bmp\tready\tbmp background=#102030\n");
    let shown = person.told(&["show", "1"]).await;
    for line in ["2\tconverted_img.webp\tready\twebp\t", "3\tconverted_img.gif\tready\tgif height=12 effort=fast\t", told.trim_end()] {
        assert!(shown.contains(&format!("rendition\t{line}")), "{line} in {shown}");
    }
    assert!(shown.contains("\nthumbhash\t") && shown.contains("\tpalette 8"), "{shown}");
    let failed = person.tintype(&["render", "1", "--format", "ico"]).await;
    assert_eq!(failed.status.code(), Some(1), "{failed:?}");
}
