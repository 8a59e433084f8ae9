//! REST and gRPC refuse alike: code, reason, message, metadata, and when to try again.

use serde_json::Value;
use tintype_proto::v1::{DownloadImageRequest, ImageFormat, ListImagesRequest};
use tintype_tests::{Http, Refused, Tintype, Upload, http::Answer, pictures, sign_in};

/// Compares a problem with what gRPC said to the same caller, and returns its reason.
fn alike(answer: &Answer, refused: &Refused, status: u16) -> String {
    let problem: Value = serde_json::from_str(answer.text()).unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    assert_eq!(answer.headers["content-type"], "application/problem+json");
    assert_eq!(answer.status, status, "{problem}");
    let code: String = problem["code"].as_str().expect("a code").split('_').map(capitalized).collect();
    assert_eq!(code, format!("{:?}", refused.code));
    assert_eq!(problem["reason"], refused.reason);
    assert_eq!(problem["detail"], refused.message);
    assert_eq!(problem["metadata"], serde_json::to_value(&refused.metadata).expect("texts"));
    assert_eq!(answer.headers.contains_key("retry-after"), refused.retry_after.is_some(), "{problem}");
    assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401);
    refused.reason.clone()
}

fn capitalized(word: &str) -> String {
    word[..1].to_owned() + &word[1..].to_lowercase()
}

/// Sees that a problem names a limit, its value, and more than that as what was seen.
fn exceeds(problem: &Value, limit: &str, value: usize) {
    assert_eq!(problem["reason"], "LIMIT_EXCEEDED", "{problem}");
    let told = |key: &str| problem["metadata"][key].as_str().unwrap_or_default().to_owned();
    assert_eq!((told("limit"), told("value")), (limit.to_owned(), value.to_string()), "{problem}");
    assert!(told("seen").parse::<usize>().is_ok_and(|seen| seen > value), "{problem}");
}

fn jpeg_of(image_id: i64) -> DownloadImageRequest {
    DownloadImageRequest { image_id, ..DownloadImageRequest::default() }
}

#[tokio::test]
async fn what_cannot_be_had_is_refused_alike() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_MAX_FILE_BYTES", "100000")]).await;
    tintype.add_user("ada").await;
    let (admin, ada, http) = (tintype.client().await, tintype.client_of("ada").await, tintype.http_of("ada").await);
    let stored = |client: tintype_tests::Client, bytes: Vec<u8>| async move {
        let id = client.upload(Upload::new("a.png", bytes)).await.expect("an image").id;
        client.settled(id).await.id
    };
    let (foreign, own) = (stored(admin, pictures::png(8, 8, 1)).await, stored(ada.clone(), pictures::png(8, 8, 2)).await);
    let broken = pictures::png(64, 64, 3);
    let broken = stored(ada.clone(), broken[..broken.len() / 2].to_vec()).await;
    let place = |id: i64| format!("/api/images/get/{id}");

    let mut reasons = Vec::new();
    for (id, format, status) in [
        (own + 100, ImageFormat::Jpeg, 404),
        (foreign, ImageFormat::Jpeg, 404),
        (own, ImageFormat::Webp, 404),
        (broken, ImageFormat::Jpeg, 422),
        (0, ImageFormat::Jpeg, 400),
    ] {
        let request = DownloadImageRequest { format: format.into(), ..jpeg_of(id) };
        let mut refused = ada.download(request).await.expect_err("it cannot be had");
        // The same field has another name in a path.
        refused.message = refused.message.replace("image_id", "id");
        let format = format.as_str_name().trim_start_matches("IMAGE_FORMAT_").to_lowercase();
        reasons.push(alike(&http.get(&format!("{}?img_format={format}", place(id)), &[]).await, &refused, status));
    }
    assert_eq!(reasons, ["IMAGE_NOT_FOUND", "IMAGE_NOT_FOUND", "RENDITION_NOT_FOUND", "RENDITION_FAILED", "INVALID_FIELD"]);

    let unknown = ada.download(DownloadImageRequest { format: 99, ..jpeg_of(own) }).await.expect_err("no format");
    let answer = http.get(&format!("{}?img_format=jpgg", place(own)), &[]).await;
    let problem: Value = serde_json::from_str(answer.text()).expect("a problem");
    assert_eq!(
        (answer.status, problem["reason"].as_str(), problem["field"].as_str()),
        (400, Some(unknown.reason.as_str()), Some("img_format"))
    );
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("jpgg") && detail.contains("avif")), "{problem}");

    for bytes in [pictures::bmp(400, 400, 1), b"no image".to_vec(), Vec::new()] {
        let refused = ada.upload(Upload::new("a.bmp", bytes.clone())).await.expect_err("it is not taken");
        let status = if refused.reason == "LIMIT_EXCEEDED" { 413 } else { 400 };
        let mut answer = http.create(&[("a.bmp", &bytes)]).await;
        // How much had arrived when it was noticed depends on the pieces.
        let seen = refused.metadata.get("seen").cloned().unwrap_or_default();
        let mut problem: Value = serde_json::from_str(answer.text()).expect("a problem");
        if let Some(other) = problem["metadata"].get("seen").and_then(Value::as_str).map(str::to_owned) {
            problem["detail"] = problem["detail"].as_str().expect("a text").replace(&other, &seen).into();
            problem["metadata"]["seen"] = seen.into();
        }
        answer.body = problem.to_string().into();
        alike(&answer, &refused, status);
    }

    // The file is refused for what it is, and what follows of it for its length.
    let answer = http.create(&[("a.txt", &vec![b'x'; 300_000])]).await;
    let problem: Value = serde_json::from_str(answer.text()).expect("a problem");
    assert_eq!((answer.status, problem["reason"].as_str()), (400, Some("NOT_AN_IMAGE")), "{problem}");
    exceeds(&problem["errors"][1], "max_file_bytes", 100_000);

    let page = ListImagesRequest { page_size: 1001, ..ListImagesRequest::default() };
    let refused = ada.images().list_images(page).await.expect_err("too large a page").into();
    alike(&http.get("/api/images/list?page_size=1001", &[]).await, &refused, 400);
}

#[tokio::test]
async fn what_is_not_made_yet_is_refused_alike() {
    let tintype = Tintype::cluster(0).await;
    let (client, http) = (tintype.client().await, tintype.http_of("admin").await);
    let id = client.upload(Upload::new("a.png", pictures::png(8, 8, 1))).await.expect("an image").id;
    let refused = client.download(jpeg_of(id)).await.expect_err("nobody makes it");
    assert_eq!(alike(&http.get(&format!("/api/images/get/{id}"), &[]).await, &refused, 409), "RENDITION_PENDING");
}

#[tokio::test]
async fn who_may_not_is_refused_alike() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_REQUESTS_PER_SECOND", "1"), ("TINTYPE_REQUEST_BURST", "1")]).await;
    let stranger = tintype.stranger().await;
    let refused = stranger.image(1).await.expect_err("no token");
    assert_eq!(alike(&Http::new(&tintype.http_url, None).get("/api/images/get/1", &[]).await, &refused, 401), "TOKEN_MISSING");
    let mut wrong = stranger.clone();
    wrong.token = Some("tt_wrong".to_owned());
    let refused = wrong.image(1).await.expect_err("no such token");
    assert_eq!(alike(&Http::new(&tintype.http_url, Some("tt_wrong")).get("/api/images/list", &[]).await, &refused, 401), "TOKEN_INVALID");

    let refused = sign_in(stranger.channel.clone(), "admin", "wrong").await.expect_err("a wrong password");
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    let answer = Http::new(&tintype.http_url, None).send("POST", "/api_token", &form, b"username=admin&password=wrong").await;
    assert_eq!(alike(&answer, &refused, 401), "SIGN_IN_FAILED");
    let answer = Http::new(&tintype.http_url, None).send("POST", "/api_token", &form, &vec![b'x'; 20_000]).await;
    assert_eq!(answer.status, 413, "{answer:?}");
    exceeds(&serde_json::from_str(answer.text()).expect("a problem"), "max_form_bytes", 16_384);

    // Of many calls at once by one user, one is let through.
    let (client, http) = (tintype.client().await, tintype.http_of("admin").await);
    let answers = futures_util::future::join_all((0..20).map(|_| http.get("/api/images/list", &[]))).await;
    let throttled = answers.iter().find(|answer| answer.status == 429).expect("20 at once are too many");
    let calls = futures_util::future::join_all((0..20).map(|_| client.image(1))).await;
    let refused = calls.into_iter().filter_map(Result::err).find(|refused| refused.reason == "RATE_LIMITED");
    assert_eq!(alike(throttled, &refused.expect("so they are with gRPC"), 429), "RATE_LIMITED");
}
