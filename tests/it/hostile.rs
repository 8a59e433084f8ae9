//! Clients that mean harm, or do not know better, and a good one beside them: it is served, memory stays bounded, and the others are ended.
//!
//! `TINTYPE_TEST_HOSTILE_SECS` says for how long floods go on; figures are printed with `--no-capture`.

use std::{
    cell::Cell,
    net::{IpAddr, Ipv4Addr},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::join_all;
use tintype_proto::v1::{DownloadImageRequest, GetLimitsRequest, Image, UploadImagesRequest, UploadStart, upload_images_request::Message};
use tintype_tests::{Client, Frames, RawClient, Tintype, Upload, Watcher, grpc_message, number, pictures};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tonic::Code;

const UPLOAD: &str = "tintype.v1.ImageService/UploadImages";
const DOWNLOAD: &str = "tintype.v1.ImageService/DownloadImage";
const HEALTH_CHECK: &str = "grpc.health.v1.Health/Check";
const HEALTH_WATCH: &str = "grpc.health.v1.Health/Watch";
/// What hostile clients may make a server grow by.
const MAX_GROWTH_BYTES: u64 = 96 << 20;
/// What a good client waits beside them, also in a build without optimisation on a busy machine.
const MAX_P99: Duration = Duration::from_secs(2);
/// What no call of it may take.
const MAX_WAIT: Duration = Duration::from_secs(10);

/// A server, its only honest client, and what that one asks for.
struct Scene {
    tintype: Tintype,
    client: Client,
    image: Image,
}

impl Scene {
    async fn new(more: &[(&str, &str)]) -> Self {
        let tintype = Tintype::embedded_with(more).await;
        let client = tintype.client().await;
        let image = client.upload(Upload::new("large.bmp", pictures::bmp(1_500, 1_000, 1))).await.expect("an image");
        client.settled(image.id).await;
        Self { tintype, client, image }
    }

    async fn raw(&self) -> RawClient {
        RawClient::connect(&self.tintype.grpc_url, self.client.token.clone()).await
    }

    fn memory_bytes(&self) -> u64 {
        self.tintype.server.as_ref().expect("it runs").current_memory_bytes()
    }

    /// Lets the good client ask on and on until the others are done, and prints how it went.
    async fn beside<T>(&self, title: &str, others: impl Future<Output = T>) -> T {
        let before = self.memory_bytes();
        let mut most = before;
        let mut times = Vec::new();
        let over = Cell::new(false);
        let asking = async {
            // The call that is under way when it is over counts, too: it may have been held up all the time.
            while times.is_empty() || !over.get() {
                let begin = Instant::now();
                self.client.image(self.image.id).await.expect("the good client is served");
                times.push(begin.elapsed());
                most = most.max(self.memory_bytes());
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        let begin = Instant::now();
        let others = async {
            let result = others.await;
            over.set(true);
            (result, begin.elapsed())
        };
        let ((result, took), ()) = tokio::join!(others, asking);
        times.sort_unstable();
        let count = times.len();
        // Of fewer than a hundred calls it is the slowest but one.
        let (p99, slowest) = (times[count.saturating_sub(1 + count.div_ceil(100))], times[count - 1]);
        let growth = most.saturating_sub(before);
        println!("{title}: {took:.1?}; good client: {count} calls, p99 {p99:.1?}, at most {slowest:.1?}; memory +{} KiB", growth >> 10);
        assert!(p99 < MAX_P99 && slowest < MAX_WAIT, "{title}: {p99:?}, at most {slowest:?}");
        assert!(growth < MAX_GROWTH_BYTES, "{title}: {growth} bytes");
        result
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_connections_are_closed_and_so_are_heads_that_do_not_come() {
    let scene = Scene::new(&[("TINTYPE_CONNECTION_IDLE_SECS", "5")]).await;
    let silent = async |url: &str, first: &[u8]| {
        let mut stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("the port answers");
        stream.write_all(first).await.expect("it is open");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    };
    let (grpc, http) = (&scene.tintype.grpc_url, &scene.tintype.http_url);
    let idle = async {
        let nothing = (0..250).map(|_| silent(grpc, b""));
        let half_a_head = (0..50).map(|_| silent(http, b"GET /healthz HTTP/1.1\r\nHost: x\r\n"));
        let libraries = (0..50).map(|_| async {
            let raw = scene.raw().await;
            raw.hung_up().await;
        });
        tokio::join!(join_all(nothing), join_all(half_a_head), join_all(libraries))
    };
    scene.beside("350 idle connections", tokio::time::timeout(Duration::from_secs(30), idle)).await.expect("all are closed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_uploads_of_four_bytes_a_second_are_ended() {
    let scene = Scene::new(&[("TINTYPE_STREAM_IDLE_SECS", "5")]).await;
    let drip = async || {
        let raw = scene.raw().await;
        let (mut body, answer) = raw.begin(UPLOAD, &[]).await.expect("a stream");
        let start = UploadStart { file_name: "slow.bmp".to_owned(), ..UploadStart::default() };
        body.send_data(grpc_message(&UploadImagesRequest { message: Some(Message::Start(start)) }), false).expect("there is room");
        // The length of a chunk that would never end.
        body.send_data(Bytes::from_static(&[0, 0, 1, 0, 0]), false).expect("there is room");
        let dripping = async {
            while body.send_data(Bytes::from_static(&[0]), false).is_ok() {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
        };
        tokio::join!(answer.ended(), dripping).0.1
    };
    let ended = scene.beside("100 uploads of four bytes a second", join_all((0..100).map(|_| drip()))).await;
    assert!(ended.iter().all(|refused| refused.kind() == (Code::DeadlineExceeded, "STREAM_TOO_SLOW")), "{:?}", ended[0]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_clients_that_never_read_are_ended() {
    let scene = Scene::new(&[("TINTYPE_STREAM_IDLE_SECS", "2")]).await;
    let request = DownloadImageRequest { image_id: scene.image.id, format: scene.image.format, ..DownloadImageRequest::default() };
    let unread = async || {
        let raw = scene.raw().await;
        let mut body = raw.call(DOWNLOAD, &[], &request).await.expect("a stream").begun().await.expect("it begins");
        // What arrives is looked at and its room never given back.
        while body.data().await.is_some_and(|data| data.is_ok()) {}
    };
    let all = tokio::time::timeout(Duration::from_secs(30), join_all((0..100).map(|_| unread())));
    scene.beside("100 downloads that nobody reads", all).await.expect("all are reset");
    assert!(scene.tintype.metrics().await.contains("tintype_calls_open{method=\"ImageService/DownloadImage\"} 0"), "none is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_calls_than_a_server_takes_are_refused_at_once_and_health_is_not() {
    let scene = Scene::new(&[("TINTYPE_MAX_CALLS", "50")]).await;
    let clients = join_all((0..10).map(|_| scene.tintype.client_of("admin"))).await;
    // They hold their places until all have been told.
    let mut places = Vec::new();
    let raw = scene.raw().await;
    for _ in 0..49 {
        places.push(raw.begin(UPLOAD, &[]).await.expect("a stream"));
    }
    let bytes = Bytes::from(pictures::png(64, 48, 1));
    let uploads = (0..500).map(|number: usize| {
        let (client, bytes) = (&clients[number % clients.len()], bytes.clone());
        async move { client.upload(Upload::new("a.png", bytes)).await }
    });
    let begin = Instant::now();
    let outcomes = join_all(uploads).await;
    let took = begin.elapsed();
    let (done, refused): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    println!("500 uploads at once for one free place: {} done, {} refused in {took:.1?}", done.len(), refused.len());
    assert!(!done.is_empty() && !refused.is_empty());
    for refused in refused.into_iter().filter_map(Result::err) {
        assert_eq!(refused.kind(), (Code::Unavailable, "OVERLOADED"));
        assert!(refused.retry_after.is_some(), "{refused:?}");
        assert_eq!(["limit", "value", "seen"].map(|key| refused.metadata[key].as_str()), ["max_calls", "50", "51"]);
    }
    assert_eq!(scene.tintype.healthz().await.0, 200);
    drop(places);
    // A place is free again a moment after its stream is gone.
    let free = async { while scene.client.image(scene.image.id).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(10), free).await.expect("places are given back");
}

#[tokio::test]
async fn no_user_takes_every_place() {
    let scene = Scene::new(&[("TINTYPE_MAX_CALLS_PER_USER", "3")]).await;
    scene.tintype.add_user("ada").await;
    let ada = scene.tintype.client_of("ada").await;
    assert_eq!(ada.images().get_limits(GetLimitsRequest {}).await.expect("limits").into_inner().limits.expect("set").max_calls_per_user, 3);
    let mut watches = Vec::new();
    for _ in 0..3 {
        watches.push(Watcher::start(&scene.client, &[], "").await.expect("a place"));
    }
    let refused = scene.client.image(scene.image.id).await.expect_err("one too many");
    assert_eq!(refused.kind(), (Code::ResourceExhausted, "TOO_MANY_REQUESTS"));
    assert_eq!(["limit", "value", "seen"].map(|key| refused.metadata[key].as_str()), ["max_calls_per_user", "3", "4"]);
    assert!(refused.retry_after.is_some(), "{refused:?}");
    ada.current_user().await.expect("others have places of their own");
    // A place is free again a moment after its stream is gone.
    drop(watches.pop());
    let free = async { while scene.client.image(scene.image.id).await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(10), free).await.expect("the place is given back");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_is_not_asked_for_with_four_megabytes() {
    let scene = Scene::new(&[]).await;
    let stranger = RawClient::connect(&scene.tintype.grpc_url, None).await;
    let announced: usize = (4 << 20) - 1;
    let (head, almost_all) = ([&[0], (announced as u32).to_be_bytes().as_slice()].concat(), Bytes::from(vec![0; announced - 1]));
    let asked = (0..100).map(|_| async {
        let (mut body, answer) = stranger.begin(HEALTH_CHECK, &[]).await.expect("a stream");
        body.send_data(Bytes::copy_from_slice(&head), false).expect("there is room");
        // What of it is sent is for the server to say.
        body.send_data(almost_all.clone(), false).expect("it waits here");
        answer.ended().await.1
    });
    for refused in scene.beside("100 questions of 4 MiB for health", join_all(asked)).await {
        assert_eq!(refused.kind(), (Code::InvalidArgument, "LIMIT_EXCEEDED"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_of_health_are_bounded_and_leave_room_for_those_who_ask() {
    let scene = Scene::new(&[]).await;
    let mut kept = JoinSet::new();
    for _ in 0..10 {
        let stranger = RawClient::connect(&scene.tintype.grpc_url, None).await;
        let watches = (0..100).map(|_| async {
            let watch = stranger.call(HEALTH_WATCH, &[], &()).await.expect("a stream");
            watch.begun().await.expect("it begins")
        });
        for mut watch in join_all(watches).await {
            // A connection on which too many messages lie about unread is given up by the client itself.
            kept.spawn(async move { while watch.data().await.is_some_and(|data| data.is_ok()) {} });
        }
    }
    let stranger = RawClient::connect(&scene.tintype.grpc_url, None).await;
    let watch = async || stranger.call(HEALTH_WATCH, &[], &()).await.expect("a stream").begun().await;
    let refused = watch().await.expect_err("one too many");
    assert_eq!(refused.kind(), (Code::Unavailable, "OVERLOADED"));
    assert_eq!(["limit", "value", "seen"].map(|key| refused.metadata[key].as_str()), ["max_health_watches", "1000", "1001"]);
    assert!(refused.retry_after.is_some(), "{refused:?}");

    let (_, answer) = stranger.call(HEALTH_CHECK, &[], &()).await.expect("a stream").ended().await;
    assert_eq!(answer.code, Code::Ok, "{answer:?}");
    assert_eq!(scene.tintype.healthz().await.0, 200);
    scene.client.image(scene.image.id).await.expect("others have places of their own");
    drop(kept);
    // A place is free again a moment after its stream is gone.
    let free = async { while watch().await.is_err() {} };
    tokio::time::timeout(Duration::from_secs(10), free).await.expect("places are given back");
}

#[tokio::test]
async fn connections_beyond_those_of_a_source_are_closed_at_once() {
    let scene = Scene::new(&[("TINTYPE_MAX_CONNECTIONS_PER_SOURCE", "5")]).await;
    let mut kept = Vec::new();
    for _ in 0..4 {
        let raw = scene.raw().await;
        assert!(raw.is_open().await);
        kept.push(raw);
    }
    let beyond = scene.raw().await;
    tokio::time::timeout(Duration::from_secs(5), beyond.hung_up()).await.expect("it is closed at once");
    let elsewhere = Client::connect_from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)), &scene.tintype.grpc_url).await;
    let elsewhere = Client { token: scene.client.token.clone(), ..elsewhere };
    elsewhere.image(scene.image.id).await.expect("others have theirs");
    drop(kept);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_of_resets_and_of_headers_end_their_connections() {
    let scene = Scene::new(&[]).await;
    let time = Duration::from_secs(number("TINTYPE_TEST_HOSTILE_SECS", 2) as u64);
    let url = scene.tintype.grpc_url.clone();

    // As many connections after one another as the time allows: each is ended by the server.
    let resets = async {
        let (begin, mut connections, mut calls) = (Instant::now(), 0_u64, 0_u64);
        while begin.elapsed() < time {
            let mut frames = Frames::connect(&url).await;
            connections += 1;
            for _ in 0..20 {
                for _ in 0..100 {
                    frames.begin_and_reset("/tintype.v1.ImageService/ListImages");
                }
                calls += 100;
                if !frames.send().await {
                    break;
                }
            }
            frames.finish().await;
        }
        (connections, calls)
    };
    let (connections, calls) = scene.beside("calls that are taken back at once", resets).await;
    println!("{calls} calls on {connections} connections");

    let headers = async {
        let (begin, mut codes) = (Instant::now(), Vec::new());
        while begin.elapsed() < time {
            let mut frames = Frames::connect(&url).await;
            let id = frames.begin_without_end("/tintype.v1.ImageService/ListImages");
            // Far more than a request may have of headers.
            for _ in 0..1_000 {
                frames.continue_headers(id);
                if !frames.send().await {
                    break;
                }
            }
            codes.push(frames.goodbye().await);
        }
        codes
    };
    let codes = scene.beside("headers without end", headers).await;
    println!("{} connections ended, the first with {:?}", codes.len(), codes[0]);
    assert!(!codes.is_empty());
}
