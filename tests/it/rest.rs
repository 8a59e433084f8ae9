//! Plain HTTP: the same images, for clients that speak nothing else.

use std::{fs, os::unix::fs::FileExt};

use serde_json::{Value, json};
use tintype_proto::v1::ImageFormat;
use tintype_tests::{ADMIN_PASSWORD, Http, Tintype, Upload, http, pictures};
use tokio::io::AsyncWriteExt;

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

#[tokio::test]
async fn a_token_is_had_for_json_and_for_a_form() {
    let tintype = Tintype::embedded().await;
    let stranger = Http::new(&tintype.http_url, None);
    let form = format!("username=admin&password={ADMIN_PASSWORD}");
    let body = json!({ "username": "admin", "password": ADMIN_PASSWORD }).to_string();
    for (content_type, body) in [("application/json; charset=utf-8", body), ("application/x-www-form-urlencoded", form)] {
        let answer = stranger.send("POST", "/api_token", &[("Content-Type", content_type)], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let answered = json(answer.text());
        let signed_in = Http::new(&tintype.http_url, answered["token"].as_str());
        let list = signed_in.get("/api/images/list", &[]).await;
        assert_eq!((list.status, list.text()), (200, "[]"));
    }
    let other = stranger.send("POST", "/api_token", &[("Content-Type", "text/plain")], b"admin").await;
    assert_eq!(other.status, 415);
    let long = vec![b'x'; 1 << 20];
    let long = stranger.send("POST", "/api_token", &[("Content-Type", "application/json")], &long).await;
    assert_eq!(long.status, 413, "answered although it sends on");
}

#[tokio::test]
async fn many_files_become_images_and_a_bad_one_harms_no_other() {
    let tintype = Tintype::embedded().await;
    let (client, http) = (tintype.client().await, tintype.http_of("admin").await);
    let (png, jpeg) = (pictures::png(64, 48, 1), pictures::jpeg(64, 48, 2));
    let created = http.create(&[("dog.png", &png), ("cat %22é%22.jpg", &jpeg)]).await;
    assert_eq!((created.status, json(created.text())), (200, json!({ "1": { "name": "dog.png" }, "2": { "name": "cat \"é\".jpg" } })));
    for (id, bytes) in [(1, &png), (2, &jpeg)] {
        let image = client.image(id).await.expect("it is stored");
        assert_eq!(&client.original(&image).await.expect("byte for byte").bytes, bytes);
    }

    let mixed = http.create(&[("a.png", &png), ("no.txt", b"no image"), ("b/c.png", &png), ("d.png", &png)]).await;
    let told = json(mixed.text());
    assert_eq!(mixed.status, 207);
    assert_eq!((&told["3"]["name"], &told["4"]["name"]), (&json!("a.png"), &json!("d.png")));
    let errors = told["errors"].as_array().expect("a list");
    assert_eq!(errors.len(), 2);
    assert_eq!((&errors[0]["name"], &errors[0]["part"], &errors[0]["reason"]), (&json!("no.txt"), &json!(1), &json!("NOT_AN_IMAGE")));
    assert_eq!((&errors[1]["part"], &errors[1]["field"]), (&json!(2), &json!("file_name")));

    let bad = http.create(&[("no.txt", b"no image"), ("", b"passed over")]).await;
    assert_eq!((bad.status, bad.headers["content-type"].as_str()), (400, "application/problem+json"));
    assert_eq!(json(bad.text())["errors"].as_array().map(Vec::len), Some(1));
    let nothing = http.create(&[("", b"no name")]).await;
    assert_eq!(nothing.status, 400, "{nothing:?}");
}

#[tokio::test]
async fn a_form_that_breaks_keeps_what_came_before() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_STREAM_IDLE_SECS", "3")]).await;
    let http = tintype.http_of("admin").await;
    let png = pictures::png(64, 48, 1);
    let (content_type, form) = http::form(&[("whole.png", &png), ("half.png", &png)]);
    let headers = [("Content-Type", content_type.as_str())];
    let broken = http.send("POST", "/api/images/create", &headers, &form[..form.len() - 100]).await;
    let told = json(broken.text());
    assert_eq!((broken.status, &told["errors"][0]["reason"]), (207, &json!("UPLOAD_OUT_OF_ORDER")), "{told}");

    // Announces everything, sends half, and waits.
    let mut silent = http.begin("POST", "/api/images/create", &headers, form.len()).await;
    silent.write_all(&form[..png.len() / 2]).await.expect("the server reads");
    let silent = http::answer(silent).await;
    assert_eq!((silent.status, &json(silent.text())["reason"]), (408, &json!("STREAM_IDLE")));
    let list = http.get("/api/images/list", &[]).await;
    assert_eq!(json(list.text()).as_array().map(Vec::len), Some(1), "only the whole one is there");
}

#[tokio::test]
async fn a_list_names_what_can_be_had_and_leads_to_its_next_page() {
    let tintype = Tintype::embedded().await;
    let (client, http) = (tintype.client().await, tintype.http_of("admin").await);
    for number in 0..5 {
        let id = client.upload(Upload::new("dog.png", pictures::png(32, 24, number))).await.expect("an image").id;
        client.settled(id).await;
    }
    let mut next = Some("/api/images/list?page_size=2".to_owned());
    let (mut listed, mut pages) = (Vec::new(), 0);
    while let Some(place) = next {
        let page = http.get(&place, &[]).await;
        assert_eq!(page.status, 200);
        listed.extend(json(page.text()).as_array().expect("a list").clone());
        next = page.headers.get("link").map(|link| link.trim_start_matches('<').trim_end_matches(r#">; rel="next""#).to_owned());
        pages += 1;
    }
    let names = json!([{ "name": "dog.png" }, { "name": "converted_img.jpeg" }]);
    let expected: Vec<_> = (1..=5).rev().map(|id| json!({ "id": id, "images": names })).collect();
    assert_eq!((listed, pages), (expected, 3));
}

#[tokio::test]
async fn a_picture_is_told_of_or_sent_whole_in_part_or_not_again() {
    let tintype = Tintype::embedded().await;
    let (client, http) = (tintype.client().await, tintype.http_of("admin").await);
    let png = pictures::png(600, 450, 3);
    let id = client.upload(Upload::new("naïve \"dog\".png", png.clone())).await.expect("an image").id;
    let jpeg = client.rendition(id, ImageFormat::Jpeg).await.expect("it is made").bytes;

    let told = http.get(&format!("/api/images/get/{id}"), &[]).await;
    let about = json(told.text());
    assert_eq!((about["name"].as_str(), about["format"].as_str()), (Some("converted_img.jpeg"), Some("jpeg")));
    assert_eq!((about["size_bytes"].as_u64(), about["width"].as_u64()), (Some(jpeg.len() as u64), Some(600)));

    let place = format!("/api/images/get/{id}?img_format=png&download=true");
    let whole = http.get(&place, &[]).await;
    assert_eq!((whole.status, &whole.body[..]), (200, &png[..]));
    let header = |name: &str| whole.headers.get(name).map(String::as_str).unwrap_or_default();
    assert_eq!(header("content-type"), "image/png");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert!(header("content-security-policy").contains("sandbox"));
    assert_eq!(header("content-disposition"), r#"attachment; filename="na_ve _dog_.png"; filename*=UTF-8''na%C3%AFve%20%22dog%22.png"#);
    let (etag, modified) = (header("etag").to_owned(), header("last-modified").to_owned());
    let accepted = http.get(&format!("/api/images/get/{id}"), &[("Accept", "image/*")]).await;
    assert_eq!((accepted.status, &accepted.body[..]), (200, &jpeg[..]));

    let head = http.send("HEAD", &place, &[], b"").await;
    assert_eq!((head.status, head.body.len(), &head.headers["content-length"]), (200, 0, &png.len().to_string()));
    for known in [("If-None-Match", etag.as_str()), ("If-None-Match", "W/\"x\", *"), ("If-Modified-Since", &modified)] {
        let answer = http.get(&place, &[known]).await;
        assert_eq!((answer.status, answer.body.len()), (304, 0), "{known:?}");
    }
    assert_eq!(http.get(&place, &[("If-None-Match", "\"x\""), ("If-Modified-Since", &modified)]).await.status, 200, "tags count more");

    let last = png.len() - 1;
    for (range, part) in [("bytes=0-0", 0..1), ("bytes=100-", 100..png.len()), ("bytes=-5", png.len() - 5..png.len())] {
        let answer = http.get(&place, &[("Range", range), ("If-Range", &etag)]).await;
        assert_eq!((answer.status, &answer.body[..]), (206, &png[part.clone()]), "{range}");
        assert_eq!(answer.headers["content-range"], format!("bytes {}-{}/{}", part.start, part.end - 1, png.len()));
    }
    assert_eq!(http.get(&place, &[("Range", "bytes=0-0"), ("If-Range", "\"other\"")]).await.body.len(), png.len());
    let past = http.get(&place, &[("Range", &format!("bytes={}-", last + 1))]).await;
    assert_eq!((past.status, past.headers["content-range"].as_str()), (416, format!("bytes */{}", png.len()).as_str()));

    let head = http.send("HEAD", &place, &[("Range", "bytes=0-0")], b"").await;
    assert_eq!((head.status, &head.headers["content-length"]), (200, &png.len().to_string()), "a range is for GET alone");

    for same in [("If-Match", etag.as_str()), ("If-Match", "\"x\", *"), ("If-Unmodified-Since", &modified)] {
        assert_eq!(http.get(&place, &[same]).await.status, 200, "{same:?}");
    }
    let long_ago = "Thu, 01 Jan 1970 00:00:01 GMT";
    for other in [("If-Match", "\"x\""), ("If-Match", &format!("W/{etag}")), ("If-Unmodified-Since", long_ago)] {
        assert_eq!(http.get(&place, &[other, ("Range", "bytes=1-")]).await.status, 412, "{other:?}");
    }

    assert_eq!(http.send("DELETE", &format!("/api/images/{id}"), &[], b"").await.status, 204);
    assert_eq!(http.get(&place, &[]).await.status, 404);
}

#[tokio::test]
async fn a_damaged_picture_breaks_off_and_never_ends_as_if_it_were_whole() {
    let tintype = Tintype::embedded().await;
    let (client, http) = (tintype.client().await, tintype.http_of("admin").await);
    let bmp = pictures::bmp(600, 450, 3);
    let image = client.upload(Upload::new("a.bmp", bmp.clone())).await.expect("an image");
    client.settled(image.id).await;
    let path = tintype.blob_files("user_1").into_iter().find(|path| path.ends_with("original.bmp")).expect("an original");
    let file = fs::File::options().write(true).open(path).expect("the blob is a file");
    file.write_all_at(&[bmp[300_000] ^ 1], 300_000).expect("it can be damaged");
    let broken = http.get(&format!("/api/images/get/{}?img_format=bmp&download=true", image.id), &[]).await;
    assert!(!broken.whole && broken.body.len() <= 300_000, "{} bytes", broken.body.len());
    assert_eq!(broken.body[..], bmp[..broken.body.len()]);
}

#[tokio::test]
async fn what_is_not_there_is_a_problem_of_http() {
    let tintype = Tintype::embedded().await;
    let stranger = Http::new(&tintype.http_url, None);
    for (method, place, status) in
        [("GET", "/api/nothing", 404), ("GET", "/", 404), ("PUT", "/api/images/list", 405), ("GET", "/api_token", 405)]
    {
        let answer = stranger.send(method, place, &[], b"").await;
        assert_eq!((answer.status, answer.headers["content-type"].as_str()), (status, "application/problem+json"), "{method} {place}");
        assert_eq!(answer.headers.contains_key("allow"), status == 405);
    }
}
