//! What a server needs while many large files come in at once.

use bytes::Bytes;
use tintype_tests::{Http, Tintype, Upload, pictures};

/// Also in a build without optimisation.
const MAX_PEAK_BYTES: u64 = 96 << 20;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thirty_two_uploads_of_fifty_mebibytes_at_once_stay_small() {
    let tintype = Tintype::cluster(0).await;
    let bytes = Bytes::from(pictures::bmp(4_096, 4_264, 1));
    assert!(bytes.len() > 49 << 20 && bytes.len() <= 50 << 20, "as large as allowed: {}", bytes.len());
    let token = tintype.client().await.token;
    let uploads = (0..32).map(|number| {
        let (bytes, token, stranger) = (bytes.clone(), token.clone(), tintype.stranger());
        async move {
            // Connections of their own: each comes with its own windows.
            let mut client = stranger.await;
            client.token = token;
            client.upload(Upload::new(&format!("{number}.bmp"), bytes)).await.expect("an image").size_bytes
        }
    });
    let sizes = futures_util::future::join_all(uploads).await;
    assert!(sizes.iter().all(|size| *size == bytes.len() as i64), "{sizes:?}");
    let peak = tintype.server.as_ref().expect("it runs").peak_memory_bytes();
    println!("peak memory of the server: {} MiB", peak >> 20);
    assert!(peak <= MAX_PEAK_BYTES, "{} MiB", peak >> 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn eight_forms_with_fifty_mebibytes_at_once_stay_small() {
    let tintype = Tintype::cluster(0).await;
    let bytes = Bytes::from(pictures::bmp(4_096, 4_264, 1));
    let token = tintype.client().await.token;
    let uploads = (0..8).map(|number| {
        let (bytes, http) = (bytes.clone(), Http::new(&tintype.http_url, token.as_deref()));
        async move { http.create(&[(&format!("{number}.bmp"), &bytes)]).await.status }
    });
    assert_eq!(futures_util::future::join_all(uploads).await, [200; 8]);
    let peak = tintype.server.as_ref().expect("it runs").peak_memory_bytes();
    println!("peak memory of the server: {} MiB", peak >> 20);
    assert!(peak <= MAX_PEAK_BYTES, "{} MiB", peak >> 20);
}
