//! Files that come by links over connections that break without a sign.

use sha2::{Digest, Sha256};
use tintype_tests::{Tintype, pictures};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::links::{library, place, put, reason};

const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

#[tokio::test]
async fn a_file_that_broke_off_without_a_sign_is_sent_again_until_the_server_takes_it() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_STREAM_IDLE_SECS", "5")]).await;
    let client = library(&tintype, "admin");
    let png = pictures::png(600, 450, 1);
    let new = client.create_upload_url("a.png", png.len() as u64, Sha256::digest(&png).into());
    let link = new.request_id("once").send().await.expect("a link");

    let (http, at) = place(&link.url);
    let mut headers: Vec<_> = link.headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    headers.push(("expect", "100-continue"));
    let mut silent = http.begin(&link.method, &at, &headers, png.len()).await;
    let mut told = [0; CONTINUE.len()];
    silent.read_exact(&mut told).await.expect("the server wants the file");
    assert_eq!(told, CONTINUE);
    silent.write_all(&png[..1_000]).await.expect("it is read");

    let meanwhile = put(&link, &[], &png).await;
    assert_eq!((meanwhile.status, reason(&meanwhile).as_str()), (503, "UPLOAD_ARRIVING"));
    assert_eq!(meanwhile.headers["retry-after"], "5");
    let again = client.upload(png.clone()).file_name("a.png").request_id("once");
    let image = client.upload_direct(again).await.expect("the server gives the silent one up");
    assert_eq!((image.size_bytes, image.file_name.as_str()), (png.len() as u64, "a.png"));
    drop(silent);
}
