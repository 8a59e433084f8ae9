use futures_util::TryStreamExt as _;
use sha2::{Digest as _, Sha256};
use tintype_client::{Client, ErrorKind};
use tonic::{Code, Status};

use crate::{
    fake::{Behaviour, Fake, away, pattern, refusal, signed_in, stored},
    proxy::cutting_proxy,
};

const LENGTH: usize = 300_000;

fn holding(bytes: &[u8]) -> Behaviour {
    Behaviour { images: vec![(stored(1, "cat.png", bytes), bytes.to_vec().into())], ..Behaviour::default() }
}

fn files_in(folder: &tempfile::TempDir) -> Vec<String> {
    std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn bytes_stream_and_file_are_the_same() {
    let bytes = pattern(LENGTH);
    let (_fake, client) = Fake::with_client(holding(&bytes)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cat.png");

    assert_eq!(client.download(1).bytes().await.unwrap(), bytes);
    let streamed = client.download(1).send().await.unwrap().into_stream();
    assert_eq!(streamed.map_ok(|chunk| chunk.to_vec()).try_concat().await.unwrap(), bytes);
    let info = client.download(1).to_path(&path).await.unwrap();
    assert_eq!((info.file_name.as_str(), info.size_bytes), ("cat.png", LENGTH as u64));
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert_eq!(files_in(&folder), ["cat.png"]);
    assert_eq!(client.download(1).offset(100).limit(2000).bytes().await.unwrap(), bytes[100..2100]);
}

#[tokio::test]
async fn a_broken_download_goes_on_where_it_stopped() {
    let bytes = pattern(LENGTH);
    let breaks = vec![(5000, away()), (1, Status::unavailable("draining")), (0, away())];
    let (fake, client) = Fake::with_client(Behaviour { break_after_bytes: breaks, ..holding(&bytes) }).await;
    assert_eq!(client.download(1).bytes().await.unwrap(), bytes);
    let asked: Vec<(i64, i64)> =
        fake.see(|state| state.downloads.iter().map(|download| (download.offset_bytes, download.limit_bytes)).collect());
    let rest = LENGTH as i64;
    assert_eq!(asked, [(0, 0), (5000, rest - 5000), (5001, rest - 5001), (5001, rest - 5001)]);
}

#[tokio::test]
async fn a_lost_connection_loses_no_byte() {
    let bytes = pattern(LENGTH);
    let (fake, url) = Fake::start(holding(&bytes)).await;
    let proxy = cutting_proxy(&url, vec![50_000, 100_000, 10]).await;
    let client = signed_in(Client::builder(proxy)).build().unwrap();
    assert_eq!(client.download(1).offset(7).bytes().await.unwrap(), bytes[7..]);
    assert!(fake.see(|state| state.downloads.len()) >= 3);
}

#[tokio::test]
async fn bytes_that_do_not_match_their_digest_are_never_kept() {
    let (_fake, client) = Fake::with_client(Behaviour { wrong_bytes: true, ..holding(&pattern(LENGTH)) }).await;
    let folder = tempfile::tempdir().unwrap();
    let error = client.download(1).to_path(folder.path().join("cat.png")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert_eq!(files_in(&folder), Vec::<String>::new());
    assert_eq!(client.download(1).bytes().await.unwrap_err().kind(), ErrorKind::Damaged);
    client.download(1).verify(false).bytes().await.unwrap();
}

#[tokio::test]
async fn a_download_that_fails_half_way_leaves_nothing_behind() {
    let lost = refusal(Code::DataLoss, "STORED_BYTES_CORRUPT", None);
    let (_fake, client) = Fake::with_client(Behaviour { break_after_bytes: vec![(5000, lost)], ..holding(&pattern(LENGTH)) }).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cat.png");
    std::fs::write(&path, "the one before").unwrap();
    let error = client.download(1).to_path(&path).await.unwrap_err();
    assert_eq!(error.code(), Some(Code::DataLoss));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "the one before");
    assert_eq!(files_in(&folder), ["cat.png"]);
}

#[tokio::test]
async fn a_new_file_never_takes_the_place_of_another() {
    let (_fake, client) = Fake::with_client(holding(&pattern(LENGTH))).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cat.png");
    std::fs::write(&path, "mine").unwrap();
    assert_eq!(client.download(1).to_new_path(&path).await.unwrap_err().kind(), ErrorKind::Local);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    assert_eq!(files_in(&folder), ["cat.png"]);
}

#[tokio::test]
async fn what_is_there_already_is_not_sent_again() {
    let bytes = pattern(LENGTH);
    let (_fake, client) = Fake::with_client(holding(&bytes)).await;
    let download = client.download(1).if_none_match(Sha256::digest(&bytes).into()).send().await.unwrap();
    assert!(download.info().not_modified);
    assert_eq!(download.into_stream().try_collect::<Vec<_>>().await.unwrap().len(), 0);
}

#[tokio::test]
async fn a_picture_that_was_replaced_meanwhile_is_an_error() {
    let bytes = pattern(LENGTH);
    let (fake, client) = Fake::with_client(Behaviour { break_after_bytes: vec![(5000, away())], ..holding(&bytes) }).await;
    let mut download = client.download(1).send().await.unwrap();
    download.chunk().await.unwrap().unwrap();
    fake.see(|state| state.images[0].0 = stored(1, "cat.png", b"another"));
    let error = loop {
        match download.chunk().await {
            Ok(chunk) => assert!(chunk.is_some(), "ended as if all were well"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::Damaged);
}
