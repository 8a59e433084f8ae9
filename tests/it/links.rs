//! Files that come by signed URLs, to the HTTP port and to a bucket.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::Instant,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::join_all, stream};
use sha2::{Digest, Sha256};
use tintype_client::{Client, ErrorReason, UploadUrl};
use tintype_store::{
    Timestamp, UploadLink,
    sweep::{SweepConfig, sweep},
};
use tintype_tests::{ADMIN_PASSWORD, Bucket, Http, Tintype, http::Answer, number, pictures};

use crate::command_line::Person;

/// The client library, signed in.
pub(crate) fn library(tintype: &Tintype, username: &str) -> Client {
    Client::builder(&tintype.grpc_url).password(username, ADMIN_PASSWORD).build().expect("a client")
}

/// A client of the server that a URL leads to, and the rest of the URL.
pub(crate) fn place(url: &str) -> (Http, String) {
    let (host, place) = url.strip_prefix("http://").and_then(|rest| rest.split_once('/')).expect("a URL with a path");
    (Http::new(&format!("http://{host}"), None), format!("/{place}"))
}

/// What a problem gives as its reason; empty for the answers of a bucket.
pub(crate) fn reason(answer: &Answer) -> String {
    let problem: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    problem["reason"].as_str().unwrap_or_default().to_owned()
}

async fn on_bucket(bucket: &Bucket) -> Tintype {
    let variables = bucket.variables();
    Tintype::cluster_with(1, &variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await
}

async fn link(client: &Client, bytes: &[u8]) -> UploadUrl {
    let new = client.create_upload_url("naïve.png", bytes.len() as u64, Sha256::digest(bytes).into());
    new.content_type("image/png").label("from", "a link").send().await.expect("a link")
}

/// Sends bytes as the link says, but for these headers, which are sent instead, and with none of its own length when that is among them.
pub(crate) async fn put(link: &UploadUrl, changed: &[(&str, &str)], bytes: &[u8]) -> Answer {
    let (http, place) = place(&link.url);
    let mut headers: BTreeMap<_, _> = link.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.extend(changed.iter().copied());
    let headers: Vec<_> = headers.into_iter().collect();
    http.send(&link.method, &place, &headers, bytes).await
}

fn with_url(link: &UploadUrl, url: String) -> UploadUrl {
    let mut link = link.clone();
    link.url = url;
    link
}

fn with_method(link: &UploadUrl, method: &str) -> UploadUrl {
    let mut link = link.clone();
    method.clone_into(&mut link.method);
    link
}

async fn images(client: &Client) -> usize {
    client.images().page("").await.expect("a list").images.len()
}

/// What the administrator's unfinished uploads count.
async fn unfinished_bytes(tintype: &Tintype) -> u64 {
    let admin = tintype.catalog().await.user_by_name("admin").await.expect("an answer");
    admin.expect("there is one").unfinished_bytes
}

async fn a_file_that_came_is_an_image_only_once_it_is_finished(tintype: Tintype, direct: bool) {
    tintype.add_user("bob").await;
    let (client, bob) = (library(&tintype, "admin"), library(&tintype, "bob"));
    let png = pictures::png(64, 48, 1);
    let link = link(&client, &png).await;
    assert_eq!(link.url.starts_with(&tintype.http_url), !direct, "{}", link.url);
    let refused = client.finish_upload(&link.upload_id).await.expect_err("nothing came");
    assert!(refused.is(ErrorReason::UploadNotReceived), "{refused:?}");

    let sent = put(&link, &[], &png).await;
    assert_eq!(sent.status, if direct { 200 } else { 204 }, "{sent:?}");
    assert_eq!(images(&client).await, 0, "it came, and is no image yet");
    let foreign = bob.finish_upload(&link.upload_id).await.expect_err("somebody else's");
    assert!(foreign.is(ErrorReason::UploadNotFound), "{foreign:?}");
    let again = put(&link, &[], &png).await;
    assert_eq!((again.status, reason(&again).as_str()), if direct { (412, "") } else { (409, "UPLOAD_RECEIVED") });

    let image = client.finish_upload(&link.upload_id).await.expect("an image");
    assert_eq!((image.file_name.as_str(), image.labels["from"].as_str(), image.width), ("naïve.png", "a link", 64));
    assert_eq!(client.finish_upload(&link.upload_id).await.expect("the same").id, image.id);
    assert_eq!(client.download(image.id).format(tintype_client::Format::Png).bytes().await.expect("byte for byte"), png);
    client.wait_ready(image.id).await.expect("its renditions are made");
    let replayed = put(&link, &[], &png).await;
    assert_eq!((replayed.status, reason(&replayed).as_str()), if direct { (412, "") } else { (404, "UPLOAD_NOT_FOUND") });
    assert_eq!(images(&client).await, 1);
}

#[tokio::test]
async fn a_file_that_came_is_an_image_only_once_it_is_finished_in_a_folder() {
    a_file_that_came_is_an_image_only_once_it_is_finished(Tintype::embedded().await, false).await;
}

#[tokio::test]
async fn a_file_that_came_is_an_image_only_once_it_is_finished_on_s3() {
    let bucket = Bucket::new().await;
    a_file_that_came_is_an_image_only_once_it_is_finished(on_bucket(&bucket).await, true).await;
}

#[tokio::test]
async fn only_the_announced_file_comes_to_the_http_port() {
    let tintype = Tintype::embedded().await;
    let client = library(&tintype, "admin");
    let png = pictures::png(64, 48, 1);
    let link = link(&client, &png).await;
    let (one_more, mut other) = ([&png[..], b"x"].concat(), png.clone());
    *other.last_mut().expect("it has bytes") ^= 1;
    let got = |answer: Answer| (answer.status, reason(&answer));
    let refused = |status: u16, reason: &str| (status, reason.to_owned());
    assert_eq!(got(put(&link, &[("content-type", "text/html")], &png).await), refused(400, "INVALID_FIELD"));
    assert_eq!(got(put(&link, &[], &one_more).await), refused(400, "SIZE_MISMATCH"));
    assert_eq!(got(put(&link, &[], &png[1..]).await), refused(400, "SIZE_MISMATCH"));
    assert_eq!(got(put(&link, &[], &other).await), refused(400, "DIGEST_MISMATCH"));
    let altered = |from: &str, to: &str| with_url(&link, link.url.replacen(from, to, 1));
    for altered in [
        altered("/u/", "/u/0"),
        altered(&format!("size={}", png.len()), "size=9"),
        altered("type=image", "type=text"),
        altered("sha256=", "sha256=0"),
        altered("expires=", "expires=9"),
        altered("key=", "key=0"),
        altered("&signature=", "&x=1&signature="),
        altered("signature=", "signature=A"),
        altered("&signature=", "&"),
    ] {
        assert_eq!(got(put(&altered, &[], &png).await), refused(403, "LINK_INVALID"), "{}", altered.url);
    }
    for method in ["GET", "POST", "DELETE"] {
        let answer = put(&with_method(&link, method), &[], b"").await;
        assert_eq!((answer.status, answer.headers.contains_key("allow")), (405, true), "{method}");
    }
    let (http, place) = place(&link.url);
    let unmeasured = http.send("PUT", &place, &[("content-type", "image/png"), ("transfer-encoding", "chunked")], b"").await;
    assert_eq!(unmeasured.status, 411);
    let page = http.send("OPTIONS", &place, &[("origin", "https://example.org"), ("access-control-request-method", "PUT")], b"").await;
    assert_eq!((page.status, page.headers["access-control-allow-origin"].as_str()), (204, "*"));
    assert!(page.headers["access-control-allow-methods"].contains("PUT"));
    assert_eq!(put(&link, &[], &png).await.status, 204, "none of these used the link up");
    client.finish_upload(&link.upload_id).await.expect("an image");
    // Nothing of what was refused is left.
    tintype.nothing_is_staged_but(&[]).await;
}

#[tokio::test]
async fn only_the_announced_file_comes_to_a_bucket() {
    let bucket = Bucket::new().await;
    let tintype = on_bucket(&bucket).await;
    let client = library(&tintype, "admin");
    let png = pictures::png(64, 48, 1);
    let link = link(&client, &png).await;
    let (one_more, mut other) = ([&png[..], b"x"].concat(), png.clone());
    *other.last_mut().expect("it has bytes") ^= 1;
    assert_eq!(put(&link, &[("content-type", "text/html")], &png).await.status, 403);
    assert_eq!(put(&with_method(&link, "GET"), &[], b"").await.status, 403);
    assert_eq!(put(&link, &[], &one_more).await.status, 400);
    assert_eq!(put(&link, &[], &other).await.status, 400);
    let altered = with_url(&link, link.url.replacen("/arriving", "/original.png", 1));
    assert_eq!(put(&altered, &[], &png).await.status, 403);
    let refused = client.finish_upload(&link.upload_id).await.expect_err("nothing came");
    assert!(refused.is(ErrorReason::UploadNotReceived), "{refused:?}");
    assert_eq!(put(&link, &[], &png).await.status, 200);
    client.finish_upload(&link.upload_id).await.expect("an image");
}

#[tokio::test]
async fn the_documented_rules_let_browsers_send_what_a_link_says() {
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/s3.md")).expect("there is a page about S3");
    let rules = docs.split_once("```json\n").and_then(|(_, rest)| rest.split_once("```")).expect("it has rules").0;
    let rules: serde_json::Value = serde_json::from_str(rules).expect("they are JSON");
    let rule = &rules["CORSRules"][0];
    let each = |name: &str, tag: &str| {
        let values = rule[name].as_array().expect("a list").iter();
        values.map(|value| format!("<{tag}>{}</{tag}>", value.as_str().expect("a text"))).collect::<Vec<_>>().concat()
    };
    let parts = [each("AllowedOrigins", "AllowedOrigin"), each("AllowedMethods", "AllowedMethod"), each("AllowedHeaders", "AllowedHeader")];
    let own = Bucket::with_rules(&format!("<CORSConfiguration><CORSRule>{}</CORSRule></CORSConfiguration>", parts.concat())).await;
    let bucket = Bucket::new().await;
    let tintype = on_bucket(&bucket).await;
    let link = link(&library(&tintype, "admin"), b"a file").await;
    let headers = link.headers.keys().map(String::as_str).collect::<Vec<_>>().join(",");
    let (http, place) = place(&format!("{own}/any/object"));
    let allowed = async |origin: &str, method: &str| {
        let asked = [("origin", origin), ("access-control-request-method", method), ("access-control-request-headers", &headers)];
        let answer = http.send("OPTIONS", &place, &asked, b"").await;
        // As a browser decides.
        let allows = |name: &str, wanted: &str| {
            let allowed = answer.headers.get(&format!("access-control-allow-{name}")).map(|list| list.to_ascii_lowercase());
            let allowed = allowed.unwrap_or_default();
            wanted.split(',').all(|wanted| allowed.split(',').any(|allowed| allowed.trim().eq_ignore_ascii_case(wanted)))
        };
        allows("origin", origin) && allows("methods", method) && allows("headers", &headers)
    };
    let origin = rule["AllowedOrigins"][0].as_str().expect("a text");
    assert_eq!((allowed(origin, "PUT").await, allowed(origin, "DELETE").await), (true, false), "{headers}");
    assert!(!allowed("https://other.example.org", "PUT").await);
}

async fn of_files_that_come_at_once_exactly_one_is_taken(tintype: Tintype, taken: u16, late: &[u16]) {
    let client = library(&tintype, "admin");
    let png = pictures::png(600, 450, 1);
    for _ in 0..5 {
        let link = link(&client, &png).await;
        let statuses = join_all((0..8).map(|_| async { put(&link, &[], &png).await.status })).await;
        assert_eq!(statuses.iter().filter(|status| **status == taken).count(), 1, "{statuses:?}");
        assert!(statuses.iter().all(|status| *status == taken || late.contains(status)), "{statuses:?}");
        client.finish_upload(&link.upload_id).await.expect("an image");
    }
}

#[tokio::test]
async fn of_files_that_come_at_once_exactly_one_is_taken_in_a_folder() {
    of_files_that_come_at_once_exactly_one_is_taken(Tintype::embedded().await, 204, &[409, 503]).await;
}

#[tokio::test]
async fn of_files_that_come_at_once_exactly_one_is_taken_on_s3() {
    let bucket = Bucket::new().await;
    of_files_that_come_at_once_exactly_one_is_taken(on_bucket(&bucket).await, 200, &[409, 412]).await;
}

async fn what_is_no_image_is_refused_when_it_is_finished_and_counts_no_more(tintype: &Tintype) {
    let client = library(tintype, "admin");
    let (text, corrupt) = (b"no image, though it says so".to_vec(), pictures::png(64, 48, 1)[..20].to_vec());
    for (bytes, reason) in [(text, ErrorReason::NotAnImage), (corrupt, ErrorReason::CorruptImage)] {
        let link = link(&client, &bytes).await;
        assert_eq!(unfinished_bytes(tintype).await, bytes.len() as u64, "it counts before it came");
        assert!(put(&link, &[], &bytes).await.status < 300);
        let refused = client.finish_upload(&link.upload_id).await.expect_err("no image");
        assert!(refused.is(reason), "{refused:?}");
        let gone = client.finish_upload(&link.upload_id).await.expect_err("it was refused");
        assert!(gone.is(ErrorReason::UploadNotFound), "{gone:?}");
        assert_eq!((unfinished_bytes(tintype).await, images(&client).await), (0, 0));
    }
}

#[tokio::test]
async fn what_is_no_image_is_refused_when_it_is_finished_and_counts_no_more_in_a_folder() {
    let tintype = Tintype::embedded().await;
    what_is_no_image_is_refused_when_it_is_finished_and_counts_no_more(&tintype).await;
    assert_eq!(tintype.blob_files("user_1").len(), 0, "what counts no more is not there any more");
}

#[tokio::test]
async fn what_is_no_image_is_refused_when_it_is_finished_and_counts_no_more_on_s3() {
    let bucket = Bucket::new().await;
    what_is_no_image_is_refused_when_it_is_finished_and_counts_no_more(&on_bucket(&bucket).await).await;
}

#[tokio::test]
async fn of_those_who_finish_what_came_at_once_all_get_the_one_image_and_its_bytes_are_stored_once() {
    let tintype = Tintype::cluster(0).await;
    let client = library(&tintype, "admin");
    let png = pictures::png(600, 450, 1);
    for count in 1..=10 {
        let link = link(&client, &png).await;
        assert_eq!(put(&link, &[], &png).await.status, 204);
        let finished = join_all((0..8).map(|_| client.finish_upload(&link.upload_id))).await;
        let ids: BTreeSet<_> = finished.into_iter().map(|image| image.expect("an image").id).collect();
        assert_eq!((ids.len(), images(&client).await), (1, count));
        assert_eq!(tintype.blob_files("user_1").len(), count, "one file an image");
    }
    assert_eq!(unfinished_bytes(&tintype).await, 0);
}

#[tokio::test]
async fn a_repeated_request_is_the_same_upload_and_then_its_image() {
    let tintype = Tintype::embedded().await;
    let client = library(&tintype, "admin");
    let png = pictures::png(64, 48, 1);
    let new = |bytes: &[u8]| {
        let new = client.create_upload_url("a.png", bytes.len() as u64, Sha256::digest(bytes).into());
        new.request_id("mine")
    };
    let (first, second) = (new(&png).send().await.expect("a link"), new(&png).send().await.expect("the same link"));
    assert_eq!((first.upload_id.as_str(), first.url == second.url, first.image), ("mine", true, None));
    let other = new(b"another file").send().await.expect_err("not the same");
    assert!(other.is(ErrorReason::InvalidField), "{other:?}");
    assert_eq!(put(&second, &[], &png).await.status, 204);
    let image = client.finish_upload("mine").await.expect("an image");
    let finished = new(&png).send().await.expect("the image");
    assert_eq!((finished.image.map(|image| image.id), finished.url.as_str()), (Some(image.id), ""));
    client.delete(image.id).await.expect("it is there");
    assert!(client.finish_upload("mine").await.expect_err("it was deleted").is(ErrorReason::ImageNotFound));
}

#[tokio::test]
async fn what_is_to_come_counts_toward_the_quota() {
    let png = pictures::png(64, 48, 1);
    let quota = (png.len() * 3 / 2).to_string();
    let tintype = Tintype::embedded_with(&[("TINTYPE_USER_QUOTA_BYTES", &quota)]).await;
    let client = library(&tintype, "admin");
    let first = link(&client, &png).await;
    let second = client.create_upload_url("b.png", png.len() as u64, Sha256::digest(&png).into()).send().await;
    assert!(second.expect_err("both are too much").is(ErrorReason::QuotaExceeded));
    assert_eq!(put(&first, &[], &png).await.status, 204);
    client.finish_upload(&first.upload_id).await.expect("what was counted before counts once");
}

#[tokio::test]
async fn what_came_outlives_a_server_that_is_killed() {
    let mut tintype = Tintype::embedded().await;
    let png = pictures::png(64, 48, 1);
    let link = link(&library(&tintype, "admin"), &png).await;
    assert_eq!(put(&link, &[], &png).await.status, 204);
    tintype.kill_server().await;
    tintype.start_server().await;
    let client = library(&tintype, "admin");
    let image = client.finish_upload(&link.upload_id).await.expect("it came, and was durable");
    assert_eq!(client.download(image.id).format(tintype_client::Format::Png).bytes().await.expect("byte for byte"), png);
}

#[tokio::test]
async fn what_nobody_finishes_is_swept_and_so_is_what_was_finished() {
    let bucket = Bucket::new().await;
    let tintype = on_bucket(&bucket).await;
    let client = library(&tintype, "admin");
    let png = pictures::png(64, 48, 1);
    let (finished, abandoned, empty) = (link(&client, &png).await, link(&client, &png).await, link(&client, &png).await);
    for link in [&finished, &abandoned] {
        assert_eq!(put(link, &[], &png).await.status, 200);
    }
    let image = client.finish_upload(&finished.upload_id).await.expect("an image");
    client.wait_ready(image.id).await.expect("it is made");
    let arrived = async || bucket.objects().await.into_iter().filter(|name| name.ends_with("/arriving")).count();
    assert_eq!((arrived().await, unfinished_bytes(&tintype).await), (2, 2 * png.len() as u64));
    let stores = tintype.stores(&bucket).await;
    let end = Timestamp::now().plus(std::time::Duration::from_mins(16) + UploadLink::GRACE);
    let report = sweep(&stores, &SweepConfig::default(), end).await.expect("it sweeps");
    assert_eq!((report.removed_links, arrived().await), (3, 0));
    assert_eq!(unfinished_bytes(&tintype).await, 0);
    for link in [&abandoned, &empty] {
        assert!(client.finish_upload(&link.upload_id).await.expect_err("it ended").is(ErrorReason::UploadNotFound));
    }
    assert_eq!(client.finish_upload(&finished.upload_id).await.expect("it stays").id, image.id);
}

/// Also in a build without optimisation.
const MAX_PEAK_BYTES: u64 = 96 << 20;

async fn many_photos_come_by_links_in_little_memory(tintype: Tintype) {
    let count = number("TINTYPE_TEST_DIRECT_PHOTOS", 8);
    let client = library(&tintype, "admin");
    let photo = pictures::jpeg(2_725, 2_225, 1);
    // Each a file of its own: what follows the end of a picture changes nothing but its SHA-256.
    let photos = (0..count).map(|index| Bytes::from([&photo[..], &index.to_be_bytes()].concat()));
    let begin = Instant::now();
    let sent = stream::iter(photos).map(|bytes| client.upload_direct(client.upload(bytes)));
    let images: Vec<_> = sent.buffer_unordered(4).collect().await;
    let took = begin.elapsed();
    assert!(images.iter().all(Result::is_ok), "{images:?}");
    let peak = tintype.server.as_ref().expect("it runs").peak_memory_bytes();
    println!("{count} photos of {} KiB came in {took:?}; peak memory of the server: {} MiB", photo.len() >> 10, peak >> 20);
    assert!(peak <= MAX_PEAK_BYTES, "{} MiB", peak >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_photos_come_by_links_in_little_memory_in_a_folder() {
    many_photos_come_by_links_in_little_memory(Tintype::cluster(0).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_photos_come_by_links_in_little_memory_on_s3() {
    let bucket = Bucket::new().await;
    let variables = bucket.variables();
    let tintype = Tintype::cluster_with(0, &variables.each_ref().map(|(name, value)| (*name, value.as_str()))).await;
    many_photos_come_by_links_in_little_memory(tintype).await;
}

#[tokio::test]
async fn the_command_line_sends_files_and_makes_links() {
    let tintype = Tintype::embedded().await;
    let person = Person::of(&tintype);
    person.told(&["login"]).await;
    person.file("a.png", &pictures::png(64, 48, 1));
    person.file("b.txt", b"no image");
    assert_eq!(person.told(&["upload", "--direct", "--wait", "a.png"]).await, "1\ta.png\tready\n");
    let mixed = person.tintype(&["upload", "--direct", "b.txt", "a.png"]).await;
    let said = String::from_utf8_lossy(&mixed.stderr).into_owned();
    assert_eq!((mixed.status.code(), said.contains("b.txt: not an image")), (Some(1), true), "{said}");
    assert!(String::from_utf8_lossy(&mixed.stdout).starts_with("2\ta.png\t"), "the others go on");

    let url = person.told(&["link", "1", "--format", "png", "--expires", "1h"]).await;
    let (http, place) = place(url.trim_end());
    let picture = http.get(&place, &[]).await;
    assert_eq!((picture.status, &picture.body[..]), (200, &pictures::png(64, 48, 1)[..]));
    let long = person.tintype(&["link", "1", "--expires", "8d"]).await;
    assert!(String::from_utf8_lossy(&long.stderr).contains("1 second to 7 days"), "{long:?}");
}
