use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use tintype_client::{Client, ErrorKind, ErrorReason, Source, Uploaded};
use tonic::{Code, Status};

use crate::{
    fake::{Behaviour, Fake, away, pattern, reason_of, refusal, signed_in},
    proxy::cutting_proxy,
};

const CHUNK: usize = 256 * 1024;

fn names(outcomes: &[Uploaded]) -> Vec<(usize, String, bool)> {
    outcomes.iter().map(|outcome| (outcome.index, outcome.file_name.clone(), outcome.result.is_ok())).collect()
}

#[tokio::test]
async fn every_kind_of_source_arrives_whole() {
    let (fake, client) = Fake::with_client(Behaviour::default()).await;
    let bytes = pattern(CHUNK * 2 + 77);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("from a path.png");
    std::fs::write(&path, &bytes).unwrap();
    let crumbs: Vec<io::Result<Bytes>> = bytes.chunks(999).map(|crumb| Ok(Bytes::copy_from_slice(crumb))).collect();

    let image = client.upload(path.as_path()).send().await.unwrap();
    assert_eq!((image.file_name.as_str(), image.size_bytes), ("from a path.png", bytes.len() as u64));
    client.upload(bytes.clone()).file_name("bytes").send().await.unwrap();
    client.upload(Source::reader(io::Cursor::new(bytes.clone()))).file_name("reader").send().await.unwrap();
    client.upload(Source::stream(stream::iter(crumbs))).size_bytes(bytes.len() as u64).send().await.unwrap();
    client.upload(tokio::fs::File::open(&path).await.unwrap()).send().await.unwrap();

    fake.see(|state| {
        assert_eq!(state.images.len(), 5);
        assert!(state.images.iter().all(|(_, stored)| *stored == bytes));
        assert_eq!(state.images[3].0.file_name, "image");
    });
}

#[tokio::test]
async fn one_bad_file_never_harms_the_others() {
    let refused = refusal(Code::InvalidArgument, "NOT_AN_IMAGE", None);
    let (fake, client) = Fake::with_client(Behaviour { refuse_files: vec![("b", refused)], ..Behaviour::default() }).await;
    let uploads = [
        client.upload(pattern(10)).file_name("a"),
        client.upload(pattern(10)).file_name("b"),
        client.upload("/no/such/file.png"),
        client.upload(pattern(CHUNK * 3)).file_name("refused-early"),
        client.upload(Source::reader(io::Cursor::new(pattern(10)))).file_name("c"),
    ];
    let outcomes: Vec<Uploaded> = client.upload_many(uploads).collect().await;

    let expected = [(0, "a", true), (1, "b", false), (2, "file.png", false), (3, "refused-early", false), (4, "c", true)];
    assert_eq!(names(&outcomes), expected.map(|(index, name, ok)| (index, name.to_owned(), ok)));
    assert!(outcomes[1].result.as_ref().unwrap_err().is(ErrorReason::NotAnImage));
    assert_eq!(outcomes[2].result.as_ref().unwrap_err().kind(), ErrorKind::Local);
    assert_eq!(fake.see(|state| state.upload_sessions), 1);
}

#[tokio::test]
async fn sending_stops_when_a_file_is_refused_half_way() {
    let (fake, client) = Fake::with_client(Behaviour::default()).await;
    let total = CHUNK * 400;
    let result = client.upload(vec![0; total]).file_name("refused-early").send().await;
    assert_eq!(reason_of(result), ErrorReason::NotAnImage);
    client.upload(pattern(5)).send().await.unwrap();
    assert!(fake.see(|state| state.chunk_bytes_seen) < total / 2);
}

#[tokio::test]
async fn a_source_that_breaks_never_becomes_an_image_and_harms_no_other() {
    let (fake, client) = Fake::with_client(Behaviour::default()).await;
    let broken = || stream::iter([Ok(Bytes::from(pattern(CHUNK))), Err(io::Error::other("the disk is gone"))]);
    let uploads = [
        client.upload(pattern(9)).file_name("a"),
        client.upload(Source::stream(broken())).file_name("unknown size"),
        client.upload(Source::stream(broken())).file_name("known size").size_bytes(CHUNK as u64),
        client.upload(Source::reader(io::Cursor::new(pattern(9)))).file_name("z"),
    ];
    let outcomes: Vec<Uploaded> = client.upload_many(uploads).collect().await;
    assert_eq!(outcomes.iter().map(|outcome| outcome.result.is_ok()).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!(outcomes[1].result.as_ref().unwrap_err().kind(), ErrorKind::Local);
    assert_eq!(fake.see(|state| state.images.len()), 2);
}

#[tokio::test]
async fn the_refusal_of_a_stream_is_what_the_caller_sees() {
    let refused = refusal(Code::PermissionDenied, "NOT_PERMITTED", None);
    let (_fake, client) = Fake::with_client(Behaviour { refuse_streams: vec![refused; 2], ..Behaviour::default() }).await;
    let big = client.upload(vec![0; CHUNK * 100]).send().await;
    assert_eq!(reason_of(big), ErrorReason::NotPermitted);
    let once = client.upload(Source::reader(io::Cursor::new(vec![0; CHUNK * 100]))).send().await;
    assert_eq!(reason_of(once), ErrorReason::NotPermitted);
}

#[tokio::test]
async fn a_file_refused_for_a_passing_reason_is_sent_again() {
    let behaviour = Behaviour { refuse_files: vec![("b", away()), ("b", away())], ..Behaviour::default() };
    let (fake, client) = Fake::with_client(behaviour).await;
    let uploads = ["a", "b", "c"].map(|name| client.upload(pattern(10)).file_name(name));
    let outcomes: Vec<Uploaded> = client.upload_many(uploads).collect().await;
    assert_eq!(names(&outcomes), [(0, "a".to_owned(), true), (1, "b".to_owned(), true), (2, "c".to_owned(), true)]);
    assert_eq!(fake.see(|state| state.images.len()), 3, "a repeated attempt made a second image");
}

#[tokio::test]
async fn a_broken_stream_goes_on_where_it_stopped_without_a_second_image() {
    let behaviour = Behaviour {
        refuse_streams: vec![away()],
        break_after_files: vec![(3, Status::unavailable("draining")), (2, Status::unavailable("draining"))],
        ..Behaviour::default()
    };
    let (fake, client) = Fake::with_client(behaviour).await;
    let uploads: Vec<_> = (0..40).map(|n| client.upload(pattern(10 + n)).file_name(format!("{n}"))).collect();
    let outcomes: Vec<Uploaded> = client.upload_many(uploads).collect().await;
    assert!(outcomes.iter().enumerate().all(|(n, outcome)| outcome.index == n && outcome.result.is_ok()));
    fake.see(|state| {
        assert_eq!((state.images.len(), state.upload_sessions), (40, 4));
        assert!(state.images.iter().all(|(image, _)| image.size_bytes == 10 + image.file_name.parse::<i64>().unwrap()));
    });
}

#[tokio::test]
async fn a_stream_that_ended_between_two_files_harms_neither() {
    let idle = refusal(Code::DeadlineExceeded, "STREAM_IDLE", None);
    let (fake, client) = Fake::with_client(Behaviour { break_between_files: vec![(2, idle)], ..Behaviour::default() }).await;
    let uploads: Vec<_> = (0..5).map(|_| client.upload(Source::reader(io::Cursor::new(pattern(10))))).collect();
    let outcomes: Vec<Uploaded> = client.upload_many(uploads).collect().await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    assert_eq!(fake.see(|state| (state.images.len(), state.upload_sessions)), (5, 2));
}

#[tokio::test]
async fn a_lost_connection_is_made_anew() {
    let (fake, url) = Fake::start(Behaviour::default()).await;
    let proxy = cutting_proxy(&url, vec![900, 0]).await;
    let client = signed_in(Client::builder(proxy)).build().unwrap();
    let uploads: Vec<_> = (0..60).map(|n| client.upload(pattern(2000)).file_name(format!("{n}"))).collect();
    let outcomes: Vec<Uploaded> = client.upload_many(uploads).collect().await;
    assert!(outcomes.iter().all(|outcome| outcome.result.is_ok()), "{outcomes:?}");
    assert_eq!(fake.see(|state| state.images.len()), 60);
}

#[tokio::test]
async fn a_reader_survives_a_refusal_before_its_first_byte_but_not_after() {
    let behaviour =
        Behaviour { refuse_streams: vec![away()], break_after_files: vec![(1, Status::unavailable("draining"))], ..Behaviour::default() };
    let (fake, client) = Fake::with_client(behaviour).await;
    // The second one is begun when the stream breaks, and its bytes cannot be had again.
    let slow = stream::iter([Ok(Bytes::from_static(b"begun"))]).chain(stream::pending());
    let uploads = [
        client.upload(Source::reader(io::Cursor::new(pattern(10)))).file_name("a"),
        client.upload(Source::stream(slow)).file_name("b"),
        client.upload(Source::reader(io::Cursor::new(pattern(10)))).file_name("c"),
    ];
    let outcomes: Vec<Uploaded> = client.upload_many(uploads).collect().await;
    assert_eq!(outcomes.iter().map(|outcome| outcome.result.is_ok()).collect::<Vec<_>>(), [true, false, true]);
    assert_eq!(fake.see(|state| state.upload_sessions), 3);
}

#[tokio::test(start_paused = true)]
async fn an_outage_ends_in_the_real_error_after_bounded_attempts() {
    let (fake, client) = Fake::with_client(Behaviour { refuse_streams: vec![away(); 100], ..Behaviour::default() }).await;
    let error = client.upload(pattern(10)).send().await.unwrap_err();
    assert_eq!((error.code(), error.reason()), (Some(Code::Unavailable), Some(ErrorReason::StoreUnavailable)));
    assert_eq!(fake.see(|state| state.upload_sessions), 8);

    // After one file had all the patience there is, the others are tried once each.
    let uploads = ["a", "b", "c"].map(|name| client.upload(pattern(10)).file_name(name));
    let outcomes: Vec<Uploaded> = client.upload_many(uploads).collect().await;
    assert!(outcomes.len() == 3 && outcomes.iter().all(|outcome| outcome.result.is_err()));
    assert_eq!(fake.see(|state| state.upload_sessions), 8 + 8 + 2);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_once() {
    let (fake, client) = Fake::with_client(Behaviour::default()).await;
    client.upload(pattern(10)).send().await.unwrap();
    fake.see(|state| state.revoked = 1);
    client.upload(Source::reader(io::Cursor::new(pattern(10)))).send().await.unwrap();
    assert_eq!(fake.see(|state| state.sign_ins), 2);
}

#[tokio::test]
async fn the_same_request_id_is_the_same_image() {
    let (_fake, client) = Fake::with_client(Behaviour::default()).await;
    let first = client.upload(pattern(10)).request_id("mine").send().await.unwrap();
    let second = client.upload(pattern(99)).request_id("mine").send().await.unwrap();
    let third = client.upload(pattern(99)).send().await.unwrap();
    assert_eq!(first, second);
    assert_ne!(first.id, third.id);
}

#[tokio::test]
async fn progress_grows_to_the_size_of_the_file() {
    let (_fake, client) = Fake::with_client(Behaviour::default()).await;
    let seen = Arc::new(Mutex::new(Vec::new()));
    let list = seen.clone();
    client.upload(pattern(CHUNK * 2 + 1)).progress(move |at| list.lock().unwrap().push(at)).send().await.unwrap();
    let seen = seen.lock().unwrap();
    let last = seen.last().unwrap();
    let total = CHUNK as u64 * 2 + 1;
    assert_eq!((last.sent_bytes, last.persisted_bytes, last.total_bytes), (total, total, Some(total)));
    assert!(seen.is_sorted_by_key(|at| at.sent_bytes) && seen.is_sorted_by_key(|at| at.persisted_bytes));
}

#[tokio::test]
async fn many_files_are_taken_a_few_at_a_time() {
    let (_fake, client) = Fake::with_client(Behaviour::default()).await;
    let taken = Arc::new(AtomicUsize::new(0));
    let (count, uploader) = (taken.clone(), client.clone());
    let uploads = (0..500).map(move |_| {
        count.fetch_add(1, Relaxed);
        uploader.upload(pattern(10))
    });
    let mut outcomes = client.upload_many(uploads);
    let mut given = 0;
    let most_ahead = AtomicU64::new(0);
    while let Some(outcome) = outcomes.next().await {
        assert_eq!(outcome.index, given);
        outcome.result.unwrap();
        given += 1;
        most_ahead.fetch_max((taken.load(Relaxed) - given) as u64, Relaxed);
    }
    assert_eq!(given, 500);
    assert!(most_ahead.into_inner() <= 16);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let policy = tintype_client::RetryPolicy::never();
    let client = Client::builder("http://127.0.0.1:1").token("tt_1").retry(policy).connect_timeout(Duration::from_secs(1)).build().unwrap();
    assert_eq!(client.upload(pattern(10)).send().await.unwrap_err().kind(), ErrorKind::Unreachable);
}

#[tokio::test(start_paused = true)]
async fn connecting_to_nobody_is_an_error() {
    assert_eq!(Client::connect("http://127.0.0.1:1").await.unwrap_err().kind(), ErrorKind::Unreachable);
}
