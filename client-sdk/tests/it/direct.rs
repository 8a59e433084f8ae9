//! Files that are sent by a link, to a store that answers as it is told.

use std::time::{Duration, Instant};

use tintype_client::{Client, ErrorReason, RetryPolicy};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tonic::Code;

use crate::fake::{Behaviour, Fake, pattern, reason_of, refusal, signed_in, stored};

const FILE_BYTES: usize = 1000;

/// Takes a file on each connection and answers with the next of these heads; the task returns once all were given.
async fn store(heads: Vec<&'static str>) -> (String, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let answering = tokio::spawn(async move {
        for head in heads {
            let (mut connection, _) = listener.accept().await.unwrap();
            let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
            while !seen.ends_with(&pattern(FILE_BYTES)) {
                let read = connection.read(&mut piece).await.unwrap();
                assert_ne!(read, 0, "the file is sent whole");
                seen.extend_from_slice(&piece[..read]);
            }
            let answer = format!("HTTP/1.1 {head}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            connection.write_all(answer.as_bytes()).await.unwrap();
        }
    });
    (url, answering)
}

fn not_received() -> tonic::Status {
    refusal(Code::FailedPrecondition, "UPLOAD_NOT_RECEIVED", None)
}

fn with_finishes(put_url: String, refuse_finishes: Vec<tonic::Status>) -> Behaviour {
    let images = vec![(stored(1, "image", &pattern(FILE_BYTES)), pattern(FILE_BYTES).into())];
    Behaviour { images, put_url, refuse_finishes, ..Behaviour::default() }
}

#[tokio::test]
async fn a_file_that_was_in_the_way_and_never_came_is_sent_again() {
    let (url, answering) = store(vec!["409 Conflict", "200 OK"]).await;
    let (_fake, client) = Fake::with_client(with_finishes(url, vec![not_received()])).await;
    assert_eq!(client.upload_direct(client.upload(pattern(FILE_BYTES))).await.unwrap().id, 1);
    answering.await.unwrap();
}

#[tokio::test]
async fn a_file_that_was_taken_and_is_not_there_is_told() {
    let (url, _answering) = store(vec!["200 OK"]).await;
    let (_fake, client) = Fake::with_client(with_finishes(url, vec![not_received()])).await;
    assert_eq!(reason_of(client.upload_direct(client.upload(pattern(FILE_BYTES))).await), ErrorReason::UploadNotReceived);
}

#[tokio::test]
async fn a_file_that_stays_in_the_way_is_told_after_the_last_attempt() {
    let (url, answering) = store(vec!["409 Conflict"; 2]).await;
    let (_fake, fake_url) = Fake::start(with_finishes(url, vec![not_received(); 2])).await;
    let client = signed_in(Client::builder(fake_url)).retry(RetryPolicy::default().max_attempts(2)).build().unwrap();
    assert_eq!(reason_of(client.upload_direct(client.upload(pattern(FILE_BYTES))).await), ErrorReason::UploadNotReceived);
    answering.await.unwrap();
}

#[tokio::test]
async fn the_time_that_a_store_asks_for_is_left() {
    let (url, answering) = store(vec!["503 Service Unavailable\r\nRetry-After: 1", "200 OK"]).await;
    let (_fake, client) = Fake::with_client(with_finishes(url, Vec::new())).await;
    let begin = Instant::now();
    client.upload_direct(client.upload(pattern(FILE_BYTES))).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(1));
    answering.await.unwrap();
}
