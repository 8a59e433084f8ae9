use async_nats::jetstream::stream::Stream;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional},
    net::{TcpListener, TcpSocket, TcpStream},
    task::JoinSet,
};

use super::*;
use crate::{
    events::{EventMessage, EventStream},
    random_hex,
};

#[expect(clippy::disallowed_methods, reason = "where the tests' own services are is told by scripts/test")]
fn url() -> String {
    std::env::var("TINTYPE_TEST_NATS").expect("TINTYPE_TEST_NATS is unset: run scripts/test, which starts a NATS server")
}

/// Names of a test's own.
fn settings() -> Settings {
    let name = random_hex();
    Settings {
        stream: format!("TEST_{name}"),
        subjects: format!("test.{name}"),
        nudges: format!("nudge.{name}"),
        events_stream: format!("EVENTS_{name}"),
        events: format!("events.{name}"),
        ack_wait: Duration::from_secs(4),
        unread_delay: Duration::from_millis(300),
        unread_deliveries: 4,
    }
}

/// Removes the stream at the end of the test, whose runtime has no time for it any more.
struct Cleanup(String);

impl Drop for Cleanup {
    fn drop(&mut self) {
        let stream = std::mem::take(&mut self.0);
        let removing = std::thread::spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
            runtime.block_on(async {
                let client = async_nats::connect(url()).await.expect("the tests' NATS server is there");
                jetstream::new(client).delete_stream(stream).await
            })
        });
        // Where the test has failed already, there may be nothing to remove.
        let _ = removing.join();
    }
}

async fn queue() -> (JetStream, Cleanup) {
    let queue = JetStream::connect_as(&url(), settings()).await.expect("the tests' NATS server is there");
    let cleanup = Cleanup(queue.settings.stream.clone());
    (queue, cleanup)
}

async fn stream(queue: &JetStream) -> Stream {
    queue.context.get_stream(&queue.settings.stream).await.expect("the stream is there")
}

async fn waiting_messages(queue: &JetStream) -> u64 {
    stream(queue).await.cached_info().state.messages
}

async fn lease_one(queue: &JetStream) -> Option<RenditionId> {
    let delivery = queue.lease(1).await.expect("hints can be leased").pop()?;
    let id = delivery.rendition();
    delivery.ack().await.expect("a hint can be acked");
    Some(id)
}

crate::jobs_suite!(conformance, queue());

#[tokio::test]
async fn a_hint_that_waits_is_not_queued_twice() {
    let (queue, _cleanup) = queue().await;
    for _ in 0..3 {
        queue.publish(&[RenditionId(1), RenditionId(2)]).await.expect("hints can be published");
    }
    assert_eq!(waiting_messages(&queue).await, 2);
}

#[tokio::test]
async fn a_stream_that_vanished_is_made_again_by_a_publish() {
    let (queue, _cleanup) = queue().await;
    queue.context.delete_stream(&queue.settings.stream).await.expect("the stream is there");
    queue.publish(&[RenditionId(1)]).await.expect("hints can be published");
    assert_eq!(lease_one(&queue).await, Some(RenditionId(1)));
}

#[tokio::test]
async fn a_stream_that_vanishes_under_a_waiting_lease_is_made_again() {
    let (queue, _cleanup) = queue().await;
    let leased = async {
        // The wait for what vanished fails, or is left without an answer; the next one finds what was made anew.
        loop {
            if let Some(delivery) = queue.lease(1).await.ok().and_then(|mut leased| leased.pop()) {
                return delivery.rendition();
            }
        }
    };
    let (leased, ()) = tokio::join!(leased, async {
        queue.context.delete_stream(&queue.settings.stream).await.expect("the stream is there");
        queue.publish(&[RenditionId(1)]).await.expect("hints can be published");
    });
    assert_eq!(leased, RenditionId(1));
}

#[tokio::test]
async fn a_consumer_that_vanished_is_made_again() {
    let (queue, _cleanup) = queue().await;
    stream(&queue).await.delete_consumer(JetStream::CONSUMER).await.expect("the consumer is there");
    queue.publish(&[RenditionId(1)]).await.expect("hints can be published");
    let error = queue.lease(1).await.expect_err("it is looked at anew by the next call");
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert_eq!(lease_one(&queue).await, Some(RenditionId(1)));
}

#[tokio::test]
async fn hints_outlive_the_process_that_published_them() {
    let (first, _cleanup) = queue().await;
    first.publish(&[RenditionId(1)]).await.expect("hints can be published");
    let second = JetStream::connect_as(&url(), first.settings.clone()).await.expect("the tests' NATS server is there");
    drop(first);
    assert_eq!(lease_one(&second).await, Some(RenditionId(1)));
}

/// Puts a message into the stream that no program of this version sends.
async fn send(queue: &JetStream, name: &str, message: &'static str) {
    let subject = format!("{}.convert.{name}", queue.settings.subjects);
    queue.context.publish(subject, message.into()).await.expect("it can be sent").await.expect("the stream takes it");
}

#[tokio::test]
async fn words_after_a_hint_are_for_newer_versions() {
    let (queue, _cleanup) = queue().await;
    send(&queue, "40", "40 urgent until=9").await;
    assert_eq!(lease_one(&queue).await, Some(RenditionId(40)));
    assert_eq!(waiting_messages(&queue).await, 0);
}

#[tokio::test]
async fn a_message_of_a_newer_version_is_left_for_it_with_pauses_and_removed_in_the_end() {
    let (queue, _cleanup) = queue().await;
    send(&queue, "x", "{\"ids\":[40]}").await;
    queue.publish(&[RenditionId(1)]).await.expect("hints can be published");
    let (begun, mut leases) = (Instant::now(), 0);
    let [hint] = queue.lease(10).await.expect("hints can be leased").try_into().expect("it holds up no other");
    assert_eq!(hint.rendition(), RenditionId(1));
    hint.ack().await.expect("a hint can be acked");
    while waiting_messages(&queue).await > 0 {
        assert!(queue.lease(1).await.expect("an answer").is_empty());
        leases += 1;
    }
    let Settings { unread_delay, unread_deliveries, .. } = queue.settings;
    assert!(begun.elapsed() >= unread_delay * (unread_deliveries as u32 - 1), "{:?}", begun.elapsed());
    assert!(leases <= unread_deliveries + 1, "{leases}: it does not spin");
}

#[tokio::test]
async fn a_foreign_stream_of_that_name_is_refused() {
    let settings = settings();
    let (other, _cleanup_other) = queue().await;
    let foreign =
        stream::Config { name: settings.stream.clone(), subjects: vec![format!("{}.>", settings.subjects)], ..Default::default() };
    other.context.create_stream(foreign).await.expect("it can be made");
    let _cleanup = Cleanup(settings.stream.clone());
    let error = JetStream::connect_as(&url(), settings).await.expect_err("it is not the queue");
    assert_eq!(error.kind(), Kind::Misconfigured, "{error}");
}

#[tokio::test]
async fn an_operator_may_change_bounds_and_replicas() {
    let (queue, _cleanup) = queue().await;
    let mut config = stream(&queue).await.cached_info().config.clone();
    config.max_messages = 77;
    queue.context.update_stream(config).await.expect("the bound can be changed");
    let again = JetStream::connect_as(&url(), queue.settings.clone()).await.expect("it is still the queue");
    assert_eq!(stream(&again).await.cached_info().config.max_messages, 77);
}

#[tokio::test]
async fn a_full_queue_says_so() {
    let (queue, _cleanup) = queue().await;
    let mut config = stream(&queue).await.cached_info().config.clone();
    config.max_messages = 2;
    queue.context.update_stream(config).await.expect("the bound can be changed");
    let error = queue.publish(&[1, 2, 3].map(RenditionId)).await.expect_err("there is room for two");
    assert_eq!(error.kind(), Kind::Full, "{error}");
}

#[tokio::test]
async fn a_queue_that_refuses_hints_is_not_called_well_until_it_takes_them_again() {
    let (queue, _cleanup) = queue().await;
    let mut config = stream(&queue).await.cached_info().config.clone();
    config.max_messages = 2;
    queue.context.update_stream(config.clone()).await.expect("the bound can be changed");
    queue.publish(&[1, 2, 3].map(RenditionId)).await.expect_err("there is room for two");
    for _ in 0..3 {
        assert_eq!(queue.ping().await.map_err(|error| error.kind()), Err(Kind::Full));
    }
    config.max_messages = 77;
    queue.context.update_stream(config).await.expect("the bound can be changed");
    queue.ping().await.expect("there is room again");
}

#[tokio::test]
async fn a_ping_says_what_is_wrong_before_whoever_asks_gives_up() {
    let queue = JetStream::connect_as(&fake_server("2.12.0", true).await, settings()).await.expect("it opens all the same");
    let answer = timeout(Duration::from_secs(2), queue.ping()).await.expect("there is an answer");
    assert_eq!(answer.map_err(|error| error.kind()), Err(Kind::Unavailable));
}

#[tokio::test]
async fn it_opens_and_fails_quickly_while_nats_is_away_and_names_no_password() {
    let (_kept, port) = kept_port();
    let start = Instant::now();
    let queue = JetStream::connect_as(&format!("nats://user:secret@127.0.0.1:{port}"), settings()).await.expect("it opens all the same");
    let error = queue.publish(&[RenditionId(1)]).await.expect_err("nobody is there");
    assert_eq!(error.kind(), Kind::Unavailable);
    let leased = queue.lease(1).await.expect_err("nobody is there");
    assert_eq!(leased.kind(), Kind::Unavailable);
    assert_eq!(queue.ping().await.map_err(|error| error.kind()), Err(Kind::Unavailable));
    assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
    let said = format!("{queue:?} {error} {error:?}");
    assert!(said.contains(&port.to_string()) && !said.contains("secret"), "{said}");
}

#[tokio::test]
async fn an_outage_ends_without_a_restart() {
    let (_kept, port) = kept_port();
    let settings = settings();
    let queue = JetStream::connect_as(&format!("nats://127.0.0.1:{port}"), settings.clone()).await.expect("it opens all the same");
    let _cleanup = Cleanup(settings.stream);
    for outage in 1..=2 {
        let error = queue.publish(&[RenditionId(outage)]).await.expect_err("nobody is there");
        assert_eq!(error.kind(), Kind::Unavailable, "{error}");
        let mut forwarding = JoinSet::new();
        forwarding.spawn(forward(port));
        queue.context.client().flush().await.expect("it ends once there is a connection");
        queue.publish(&[RenditionId(outage)]).await.expect("hints can be published again");
        assert_eq!(lease_one(&queue).await, Some(RenditionId(outage)));
        queue.ping().await.expect("it answers");
        forwarding.shutdown().await;
    }
}

#[tokio::test]
async fn a_server_that_never_answers_does_not_hold_up_a_publish() {
    let url = fake_server("2.12.0", true).await;
    let start = Instant::now();
    let queue = JetStream::connect_as(&url, settings()).await.expect("it opens all the same");
    let error = queue.publish(&[RenditionId(1)]).await.expect_err("the server is silent");
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(start.elapsed() < 6 * REQUEST_TIMEOUT, "{:?}", start.elapsed());
}

#[tokio::test]
async fn an_old_server_is_refused_with_both_versions() {
    let error = JetStream::connect_as(&fake_server("2.9.10", true).await, settings()).await.expect_err("it is too old");
    assert_eq!(error.kind(), Kind::Misconfigured);
    assert!(error.to_string().contains("2.9.10") && error.to_string().contains("2.10"), "{error}");
}

#[tokio::test]
async fn a_server_without_jetstream_is_refused() {
    let error = JetStream::connect_as(&fake_server("2.12.0", false).await, settings()).await.expect_err("it has no JetStream");
    assert_eq!(error.kind(), Kind::Misconfigured);
    assert!(error.to_string().contains("JetStream must be enabled"), "{error}");
}

#[tokio::test]
async fn a_url_that_is_none_is_refused_without_showing_it() {
    let error = JetStream::connect("nats://user:secret@[broken").await.expect_err("this is no URL");
    assert_eq!(error.kind(), Kind::Misconfigured);
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
}

/// A port that nobody else gets as long as the socket is kept. It does not listen: only [`forward`] takes connections there.
fn kept_port() -> (TcpSocket, u16) {
    let socket = TcpSocket::new_v4().expect("there is room for a socket");
    socket.set_reuseaddr(true).expect("a port can be shared with whoever listens there");
    socket.bind(([127, 0, 0, 1], 0).into()).expect("a port is free");
    let port = socket.local_addr().expect("it is bound").port();
    (socket, port)
}

/// Passes connections at `port` on to the tests' NATS server until it is dropped, which cuts them.
async fn forward(port: u16) {
    let listener = TcpListener::bind(("127.0.0.1", port)).await.expect("the port is kept for this");
    let server = url().trim_start_matches("nats://").to_owned();
    let mut connections = JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        let mut far = TcpStream::connect(&server).await.expect("the tests' NATS server is there");
        connections.spawn(async move { copy_bidirectional(&mut near, &mut far).await });
    }
}

/// A server that says hello, answers pings and nothing else.
async fn fake_server(version: &str, jetstream: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let hello = format!(
        "INFO {{\"server_id\":\"X\",\"version\":\"{version}\",\"proto\":1,\"headers\":true,\"max_payload\":1048576,\"jetstream\":{jetstream}}}\r\n"
    );
    tokio::spawn(async move {
        while let Ok((mut connection, _)) = listener.accept().await {
            if connection.write_all(hello.as_bytes()).await.is_err() {
                return;
            }
            let mut buffer = [0; 4096];
            while let Ok(size @ 1..) = connection.read(&mut buffer).await {
                let pings = buffer[..size].windows(6).filter(|bytes| bytes == b"PING\r\n").count();
                if connection.write_all("PONG\r\n".repeat(pings).as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    });
    format!("nats://127.0.0.1:{port}")
}

fn event(position: i64, payload: &'static str) -> EventMessage {
    EventMessage { position, topic: "image.created", payload: bytes::Bytes::from_static(payload.as_bytes()) }
}

#[tokio::test]
async fn an_event_that_comes_again_is_kept_once() {
    let (queue, _cleanup) = queue().await;
    let _events = Cleanup(queue.settings.events_stream.clone());
    queue.publish_events(&[event(7, "seven"), event(9, "nine")]).await.expect("events can be published");
    queue.publish_events(&[event(9, "nine"), event(10, "ten")]).await.expect("events can be published");
    let stream = queue.context.get_stream(&queue.settings.events_stream).await.expect("the stream is there");
    assert_eq!(stream.cached_info().state.messages, 3);
    for (sequence, position, payload) in [(1, "7", "seven"), (2, "9", "nine"), (3, "10", "ten")] {
        let message = stream.get_raw_message(sequence).await.expect("the message is there");
        assert_eq!(message.subject.as_str(), format!("{}.image.created", queue.settings.events));
        assert_eq!(message.headers.get("Nats-Msg-Id").map(async_nats::HeaderValue::as_str), Some(position));
        assert_eq!(message.payload, payload);
    }
}

#[tokio::test]
async fn an_event_stream_that_vanished_is_made_again() {
    let (queue, _cleanup) = queue().await;
    let _events = Cleanup(queue.settings.events_stream.clone());
    queue.publish_events(&[event(1, "one")]).await.expect("events can be published");
    queue.context.delete_stream(&queue.settings.events_stream).await.expect("the stream is there");
    queue.publish_events(&[event(2, "two")]).await.expect_err("nobody keeps it");
    queue.publish_events(&[event(2, "two")]).await.expect("events can be published");
}
