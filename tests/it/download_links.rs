//! Links at which anybody gets a picture, until they end.

use std::time::Duration;

use bytes::Bytes;
use tintype_client::{Client, ErrorReason, Format, Party, ShareRole};
use tintype_tests::{Bucket, Tintype, http, pictures};

use crate::links::{library, place, reason};

async fn uploaded(client: &Client, bytes: Vec<u8>) -> i64 {
    let image = client.upload(bytes).file_name("naïve \"dog\".png").send().await.expect("an image");
    client.wait_ready(image.id).await.expect("it is made").id
}

/// What anybody gets at a link: the status, and the reason if it is a problem.
async fn got(url: &str) -> (u16, String) {
    let (http, place) = place(url);
    let answer = http.get(&place, &[]).await;
    (answer.status, reason(&answer))
}

fn answer(status: u16, reason: &str) -> (u16, String) {
    (status, reason.to_owned())
}

async fn a_link_gives_the_picture_whole_or_in_part_and_nothing_else(tintype: Tintype) {
    let client = library(&tintype, "admin");
    let png = pictures::png(600, 450, 3);
    let id = uploaded(&client, png.clone()).await;
    let link = client.create_download_url(id).format(Format::Png).send().await.expect("a link");
    assert!(link.url.starts_with(&tintype.http_url), "{}", link.url);
    let (http, place) = place(&link.url);
    let whole = http.get(&place, &[("origin", "https://example.org")]).await;
    assert_eq!((whole.status, &whole.body[..]), (200, &png[..]));
    let header = |name: &str| whole.headers.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!((header("content-type"), header("x-content-type-options")), ("image/png", "nosniff"));
    assert!(header("content-security-policy").contains("sandbox") && header("content-disposition").starts_with("attachment"));
    assert_eq!(header("access-control-allow-origin"), "*");
    let etag = header("etag").to_owned();
    let head = http.send("HEAD", &place, &[], b"").await;
    assert_eq!((head.status, head.body.len(), head.headers["content-length"].as_str()), (200, 0, png.len().to_string().as_str()));
    assert_eq!(http.get(&place, &[("If-None-Match", &etag)]).await.status, 304);
    let part = http.get(&place, &[("Range", "bytes=100-199"), ("If-Range", &etag)]).await;
    assert_eq!((part.status, &part.body[..]), (206, &png[100..200]));
    assert_eq!(http.get(&place, &[("Range", "bytes=9999999-")]).await.status, 416);

    // The JPEG, once by its format and once by its id.
    let image = client.image(id).await.expect("it is there");
    let jpeg = client.download(id).bytes().await.expect("it is made");
    let by_format = client.create_download_url(id).send().await.expect("a link");
    let by_id = client.create_rendition_download_url(image.renditions[0].id).send().await.expect("a link");
    for link in [by_format, by_id] {
        let (http, place) = self::place(&link.url);
        assert_eq!(http.get(&place, &[]).await.body, jpeg, "{}", link.url);
    }
    for (from, to) in
        [(format!("/d/{id}"), format!("/d/{}", id + 1)), ("user=1".into(), "user=2".into()), ("expires=".into(), "expires=9".into())]
    {
        assert_eq!(got(&link.url.replacen(&from, &to, 1)).await, answer(403, "LINK_INVALID"), "{from}");
    }
    assert_eq!(http.send("PUT", &place, &[], b"x").await.status, 405);
    let never = client.create_download_url(id).format(Format::Bmp).send().await.expect_err("never asked for");
    assert!(never.is(ErrorReason::RenditionNotFound), "{never:?}");
    let long = client.create_download_url(id).ttl(Duration::from_hours(24 * 7 + 1)).send().await.expect_err("too long");
    assert!(long.is(ErrorReason::InvalidField), "{long:?}");
    client.delete(id).await.expect("it is there");
    assert_eq!(got(&link.url).await, answer(404, "IMAGE_NOT_FOUND"));
}

#[tokio::test]
async fn a_link_gives_the_picture_whole_or_in_part_and_nothing_else_from_a_folder() {
    a_link_gives_the_picture_whole_or_in_part_and_nothing_else(Tintype::embedded().await).await;
}

#[tokio::test]
async fn a_link_gives_the_picture_whole_or_in_part_and_nothing_else_from_s3() {
    let bucket = Bucket::new().await;
    let variables = bucket.variables();
    let tintype = Tintype::cluster_with(1, &variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    a_link_gives_the_picture_whole_or_in_part_and_nothing_else(tintype).await;
}

#[tokio::test]
async fn links_end_at_their_time_in_both_directions() {
    let tintype = Tintype::embedded().await;
    let client = library(&tintype, "admin");
    let id = uploaded(&client, pictures::png(8, 8, 1)).await;
    let second = Duration::from_secs(1);
    let upload = client.create_upload_url("a.png", 1, [0; 32]).ttl(second).send().await.expect("a link");
    let download = client.create_download_url(id).ttl(second).send().await.expect("a link");
    assert!(upload.expires_at <= download.expires_at);
    // Each answer shows whether it has ended; the upload's link ends no later.
    let ended = async {
        loop {
            match got(&download.url).await {
                (404 | 409, _) => panic!("the picture was there"),
                (403, reason) => return reason,
                _ => {}
            }
        }
    };
    let reason_given = tokio::time::timeout(Duration::from_mins(1), ended).await.expect("it lasts a second or two");
    assert_eq!(reason_given, "LINK_EXPIRED");
    let (http, place) = place(&upload.url);
    let late = http.send("PUT", &place, &[("content-type", "application/octet-stream")], b"x").await;
    assert_eq!((late.status, reason(&late)), answer(403, "LINK_EXPIRED"));
}

#[tokio::test]
async fn a_link_ends_with_the_share_and_the_user_that_it_comes_from() {
    let tintype = Tintype::embedded().await;
    for name in ["ada", "bob"] {
        tintype.add_user(name).await;
    }
    let (admin, ada, bob) = (library(&tintype, "admin"), library(&tintype, "ada"), library(&tintype, "bob"));
    let id = uploaded(&ada, pictures::png(8, 8, 1)).await;
    let hidden = bob.create_download_url(id).send().await.expect_err("not bob's");
    assert!(hidden.is(ErrorReason::ImageNotFound), "{hidden:?}");
    ada.share(id, Party::user("bob"), ShareRole::Viewer).await.expect("it is hers");
    let (hers, his) =
        (ada.create_download_url(id).send().await.expect("a link"), bob.create_download_url(id).send().await.expect("a link"));
    let both = async || (got(&hers.url).await.0, got(&his.url).await.0);
    assert_eq!(both().await, (200, 200));
    ada.unshare(id, Party::user("bob")).await.expect("it is hers");
    assert_eq!(both().await, (200, 404));
    ada.share(id, Party::user("bob"), ShareRole::Viewer).await.expect("it is hers");
    assert_eq!(both().await, (200, 200), "as long as the share lasts");

    let user_id = |client: &Client| {
        let client = client.clone();
        async move { client.current_user().await.expect("me").id }
    };
    let (ada_id, bob_id) = (user_id(&ada).await, user_id(&bob).await);
    admin.users().update(bob_id).disabled(true).send().await.expect("an administrator may");
    assert_eq!(got(&his.url).await, answer(404, "IMAGE_NOT_FOUND"));
    admin.users().update(bob_id).disabled(false).send().await.expect("an administrator may");
    assert_eq!(both().await, (200, 200));
    admin.users().delete(ada_id).await.expect("an administrator may");
    assert_eq!(both().await, (404, 404));
}

#[tokio::test]
async fn a_download_under_way_ends_when_its_user_is_disabled() {
    let tintype = Tintype::embedded().await;
    tintype.add_user("ada").await;
    let (admin, ada) = (library(&tintype, "admin"), library(&tintype, "ada"));
    // More than fits into the buffers on the way.
    let bmp = Bytes::from(pictures::bmp(4_096, 3_000, 1));
    let image = ada.upload(bmp.clone()).file_name("large.bmp").send().await.expect("an image");
    let link = ada.create_download_url(image.id).format(Format::Bmp).send().await.expect("a link");
    let (http, place) = place(&link.url);
    let begun = http.begin("GET", &place, &[], 0).await;
    begun.readable().await.expect("it is being sent");
    // The end of calls shows at that of another one of hers, which is open as well.
    let mut watching = ada.watch().start();
    watching.next().await.expect("it is told what is there");
    let id = ada.current_user().await.expect("me").id;
    admin.users().update(id).disabled(true).send().await.expect("an administrator may");
    while watching.next().await.is_ok() {}
    let answer = http::answer(begun).await;
    assert!(answer.status == 200 && !answer.whole && answer.body.len() < bmp.len(), "{} bytes", answer.body.len());
}
