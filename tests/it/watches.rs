//! What watchers see: everything, once, in one order, whatever happens to servers.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tintype_proto::v1::{DeleteImageRequest, RenditionState};
use tintype_store::Timestamp;
use tintype_tests::{Client, Program, Refused, Tintype, Told, Upload, Watcher, number, pictures};
use tokio::{sync::watch, time::timeout};
use tonic::Code;

const READY: i32 = RenditionState::Ready as i32;
/// Watches of one connection; it has room for a hundred streams.
const WATCHES_A_CONNECTION: usize = 50;

fn png(seed: u32) -> Upload {
    Upload::new(&format!("{seed}.png"), pictures::png(64, 48, seed))
}

async fn delete(client: &Client, id: i64) {
    client.images().delete_image(DeleteImageRequest { id }).await.expect("it is deleted");
}

/// Tells where a server is, as long as it is there.
type Home = watch::Receiver<Option<Client>>;

/// Watches all images, on the server that is at home now, until that many renditions are ready. What it saw, in order, each with its token.
async fn watch_on_and_on(mut home: Home, ready: usize, started: Arc<tokio::sync::Semaphore>) -> Vec<(String, Told)> {
    let mut seen = Vec::new();
    let mut token = String::new();
    loop {
        let client = home.wait_for(Option::is_some).await.expect("the test goes on").clone().expect("it is there");
        let Ok(mut watcher) = Watcher::start(&client, &[], &token).await else { continue };
        loop {
            match watcher.next().await {
                Ok(Told::CaughtUp) => started.add_permits(usize::from(token.is_empty())),
                Ok(told) => seen.push((watcher.resume_token.clone(), told)),
                // A server that drains says so; of one that is killed only the connection tells.
                Err(refused) => {
                    assert!(refused.reason == "DRAINING" || refused.reason.is_empty(), "{refused:?}");
                    break;
                }
            }
            token.clone_from(&watcher.resume_token);
            if seen.iter().filter(|(_, told)| matches!(told, Told::Rendition(_, READY))).count() == ready {
                return seen;
            }
        }
    }
}

/// Connections to a server, shared among its watchers.
async fn homes(tintype: &Tintype, url: &str, count: usize) -> Vec<watch::Sender<Option<Client>>> {
    let mut homes = Vec::new();
    for client in connections(tintype, url, count).await {
        homes.push(watch::Sender::new(Some(client)));
    }
    homes
}

async fn connections(tintype: &Tintype, url: &str, count: usize) -> Vec<Client> {
    let mut clients = Vec::new();
    let token = tintype.client().await.token;
    for _ in 0..count {
        clients.push(Client { token: token.clone(), ..Client::connect(url).await });
    }
    clients
}

/// Every watcher saw every change of every image exactly once, and all of them in one order.
fn check_seen(watchers: &[Vec<(String, Told)>], images: usize) {
    let first = &watchers[0];
    let tokens: HashSet<_> = first.iter().map(|(token, _)| token).collect();
    assert_eq!(tokens.len(), first.len(), "a position was told twice");
    for (number, seen) in watchers.iter().enumerate() {
        assert!(seen == first, "watcher {number} saw something else than watcher 0: {} instead of {}", seen.len(), first.len());
    }
    let mut lives: BTreeMap<i64, Vec<Told>> = BTreeMap::new();
    for (_, told) in first {
        let (Told::Created(id) | Told::Rendition(id, _)) = told else { panic!("{told:?} did not happen") };
        lives.entry(*id).or_default().push(*told);
    }
    assert_eq!(lives.len(), images);
    for (id, life) in lives {
        let [first, .., last] = life[..] else { panic!("image {id} has not lived: {life:?}") };
        assert_eq!((first, last), (Told::Created(id), Told::Rendition(id, READY)), "{life:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_watcher_sees_every_change_once_on_two_servers_of_which_one_is_killed() {
    let (watchers, images) = (number("TINTYPE_TEST_WATCHERS", 50), number("TINTYPE_TEST_WATCHED_IMAGES", 60));
    let tintype = Tintype::cluster(2).await;
    let (second, second_url) = tintype.another_server().await;
    let connections_each = watchers.div_ceil(2).div_ceil(WATCHES_A_CONNECTION);
    let stable = homes(&tintype, &tintype.grpc_url, connections_each).await;
    let killed = homes(&tintype, &second_url, connections_each).await;
    let started = Arc::new(tokio::sync::Semaphore::new(0));
    let begin = Instant::now();
    let watching: Vec<_> = (0..watchers)
        .map(|index| {
            let home = &[&stable, &killed][index % 2][index / 2 % connections_each];
            tokio::spawn(watch_on_and_on(home.subscribe(), images, started.clone()))
        })
        .collect();
    drop(started.acquire_many(watchers as u32).await.expect("nobody closes it"));
    let all_watch = begin.elapsed();

    let begin = Instant::now();
    let client = tintype.client().await;
    let half = images / 2;
    let upload = async |from: usize, to: usize| {
        let outcomes = client.upload_each((from..to).map(|seed| png(seed as u32)).collect()).await.expect("the stream ends well");
        outcomes.into_iter().map(|outcome| outcome.expect("an image").id).collect::<Vec<_>>()
    };
    let first_half = upload(0, half).await;
    let mut beside = Watcher::start(&client, &[first_half[half / 2]], "").await.expect("a watch");
    beside.through(Told::CaughtUp).await;
    second.kill().await;
    for home in &killed {
        home.send_replace(None);
    }
    upload(half, images).await;
    let (second, second_url) = tintype.another_server().await;
    for (home, client) in killed.iter().zip(connections(&tintype, &second_url, connections_each).await) {
        home.send_replace(Some(client));
    }
    let seen: Vec<_> = join_all(watching).await.into_iter().map(|watcher| watcher.expect("a watcher does not panic")).collect();
    report(&tintype, &second, watchers, seen[0].len(), all_watch, begin.elapsed()).await;
    check_seen(&seen, images);
    // What the log says is what was seen.
    let log = tintype.catalog().await.changes_after(0, 1_000_000).await.expect("the log");
    assert_eq!(seen[0].len(), log.len(), "changes that nobody saw");
}

/// Figures for whoever runs it with other numbers.
async fn report(tintype: &Tintype, second: &Program, watchers: usize, changes: usize, all_watch: Duration, all_seen: Duration) {
    let connections = tintype.catalog_connections().await;
    let peaks = [tintype.server.as_ref().expect("it runs"), second].map(|server| server.peak_memory_bytes() >> 20);
    eprintln!(
        "{watchers} watchers, {changes} changes each: watching after {all_watch:?}, all seen after {all_seen:?}, \
         {connections} connections of the catalog, peak memory of the servers {peaks:?} MiB"
    );
}

#[tokio::test]
async fn every_watcher_sees_every_change_once_through_a_restart_embedded() {
    const IMAGES: usize = 8;
    let mut tintype = Tintype::embedded().await;
    let home = watch::Sender::new(Some(tintype.client().await));
    let started = Arc::new(tokio::sync::Semaphore::new(0));
    let watching: Vec<_> = (0..5).map(|_| tokio::spawn(watch_on_and_on(home.subscribe(), IMAGES, started.clone()))).collect();
    drop(started.acquire_many(5).await.expect("nobody closes it"));
    let client = tintype.client().await;
    for seed in 0..IMAGES as u32 / 2 {
        client.upload(png(seed)).await.expect("an image");
    }
    home.send_replace(None);
    assert!(tintype.stop_server().await.success());
    tintype.start_server().await;
    let client = tintype.client().await;
    for seed in IMAGES as u32 / 2..IMAGES as u32 {
        client.upload(png(seed)).await.expect("an image");
    }
    home.send_replace(Some(client));
    let seen: Vec<_> = join_all(watching).await.into_iter().map(|watcher| watcher.expect("a watcher does not panic")).collect();
    check_seen(&seen, IMAGES);
}

#[tokio::test]
async fn the_state_comes_first_each_image_once_in_the_order_of_ids() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    // More than a watch reads at once.
    let files = (0..150).map(|seed| Upload::new("tiny.png", pictures::png(1, 1, seed))).collect();
    let mut ids = Vec::new();
    for outcome in client.upload_each(files).await.expect("the stream ends well") {
        ids.push(outcome.expect("an image").id);
    }
    for id in &ids {
        client.settled(*id).await;
    }
    let mut expected: Vec<_> = ids.iter().map(|id| Told::Existing(*id)).collect();
    expected.push(Told::CaughtUp);
    let told = Watcher::start(&client, &[], "").await.expect("a watch").through(Told::CaughtUp).await;
    assert_eq!(told, expected);

    // In the middle of the state a watch goes on as anywhere else.
    let mut watcher = Watcher::start(&client, &[], "").await.expect("a watch");
    let mut told = watcher.through(Told::Existing(ids[99])).await;
    let mut watcher = Watcher::start(&client, &[], &watcher.resume_token).await.expect("a watch goes on");
    told.extend(watcher.through(Told::CaughtUp).await);
    assert_eq!(told, expected);

    let some = [ids[70], ids[3], ids[3], ids[140]];
    let told = Watcher::start(&client, &some, "").await.expect("a watch").through(Told::CaughtUp).await;
    assert_eq!(told, [Told::Existing(ids[3]), Told::Existing(ids[70]), Told::Existing(ids[140]), Told::CaughtUp]);
}

async fn a_deletion_is_told_and_nothing_after_it(tintype: Tintype) {
    let client = tintype.client().await;
    let (gone, left) = (client.upload(png(1)).await.expect("an image").id, client.upload(png(2)).await.expect("an image").id);
    client.settled(gone).await;
    client.settled(left).await;
    let mut one = Watcher::start(&client, &[gone], "").await.expect("a watch");
    let mut all = Watcher::start(&client, &[], "").await.expect("a watch");
    assert_eq!(one.through(Told::CaughtUp).await, [Told::Existing(gone), Told::CaughtUp]);
    all.through(Told::CaughtUp).await;
    let before = one.resume_token.clone();

    delete(&client, gone).await;
    assert_eq!(one.next().await.expect("the watch goes on"), Told::Deleted(gone));
    assert_eq!(all.next().await.expect("the watch goes on"), Told::Deleted(gone));
    // Who was away meanwhile hears of it, too; who comes only now finds nothing.
    let mut again = Watcher::start(&client, &[gone], &before).await.expect("a watch goes on");
    assert_eq!(again.next().await.expect("the watch goes on"), Told::Deleted(gone));
    let refused = Watcher::start(&client, &[left, gone], "").await.expect_err("it is gone");
    assert_eq!(refused.kind(), (Code::NotFound, "IMAGE_NOT_FOUND"));
    let told = Watcher::start(&client, &[], "").await.expect("a watch").through(Told::CaughtUp).await;
    assert_eq!(told, [Told::Existing(left), Told::CaughtUp]);
}

#[tokio::test]
async fn a_deletion_is_told_and_nothing_after_it_embedded() {
    a_deletion_is_told_and_nothing_after_it(Tintype::embedded().await).await;
}

#[tokio::test]
async fn a_deletion_is_told_and_nothing_after_it_in_a_cluster() {
    a_deletion_is_told_and_nothing_after_it(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn a_drained_server_ends_its_watches_with_a_status_and_soon() {
    let mut tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let mut watchers = Vec::new();
    for _ in 0..20 {
        let mut watcher = Watcher::start(&client, &[], "").await.expect("a watch");
        watcher.through(Told::CaughtUp).await;
        watchers.push(watcher);
    }
    let begin = Instant::now();
    let mut server = tintype.server.take().expect("it runs");
    server.terminate();
    for watcher in &mut watchers {
        let refused: Refused = watcher.next().await.expect_err("it ends");
        assert_eq!(refused.kind(), (Code::Unavailable, "DRAINING"));
        assert!(refused.retry_after.is_some(), "{refused:?}");
    }
    drop((watchers, client));
    assert!(server.ended().await.success());
    assert!(begin.elapsed() < Duration::from_secs(10), "watches do not hold it up: {:?}", begin.elapsed());
}

#[tokio::test]
async fn an_idle_watch_says_so_and_its_token_advances() {
    let tintype = Tintype::embedded_with(&[("TINTYPE_WATCH_HEARTBEAT_SECS", "1")]).await;
    let client = tintype.client().await;
    let watched = client.upload(png(1)).await.expect("an image").id;
    client.settled(watched).await;
    let mut watcher = Watcher::start(&client, &[watched], "").await.expect("a watch");
    watcher.through(Told::CaughtUp).await;
    let before = watcher.resume_token.clone();
    let other = client.upload(png(2)).await.expect("an image").id;
    client.settled(other).await;
    while watcher.resume_token == before {
        let told = timeout(Duration::from_secs(10), watcher.next()).await.expect("it is not silent").expect("the watch goes on");
        assert_eq!(told, Told::CaughtUp, "nothing happened to this image");
    }
}

#[tokio::test]
async fn a_token_older_than_the_log_is_refused() {
    let mut tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let mut watcher = Watcher::start(&client, &[], "").await.expect("a watch");
    watcher.through(Told::CaughtUp).await;
    let (old, image) = (watcher.resume_token.clone(), client.upload(png(1)).await.expect("an image").id);
    client.settled(image).await;
    watcher.through(Told::Rendition(image, READY)).await;
    let young = watcher.resume_token.clone();
    drop((watcher, client));
    assert!(tintype.stop_server().await.success());
    tintype.catalog().await.prune(Timestamp::now(), 1000).await.expect("the log is pruned");
    tintype.start_server().await;
    let client = tintype.client().await;
    let refused = Watcher::start(&client, &[], &old).await.expect_err("nobody knows what came after it");
    assert_eq!(refused.kind(), (Code::OutOfRange, "RESUME_TOKEN_TOO_OLD"));
    let mut watcher = Watcher::start(&client, &[], &young).await.expect("nothing came after it");
    delete(&client, image).await;
    assert_eq!(watcher.through(Told::Deleted(image)).await.last(), Some(&Told::Deleted(image)));
}

#[tokio::test]
async fn a_watch_asks_for_what_may_be_asked_for() {
    let tintype = Tintype::embedded().await;
    tintype.add_user("other").await;
    let (client, other) = (tintype.client().await, tintype.client_of("other").await);
    let mine = client.upload(png(1)).await.expect("an image").id;
    let mut watcher = Watcher::start(&client, &[mine], "").await.expect("a watch");
    watcher.through(Told::CaughtUp).await;
    let token = &watcher.resume_token;

    for (who, ids, token) in
        [(&other, vec![mine], token.as_str()), (&client, vec![], token), (&client, vec![], "nonsense"), (&client, vec![0], "")]
    {
        let refused = Watcher::start(who, &ids, token).await.expect_err("it makes no sense");
        assert_eq!(refused.kind(), (Code::InvalidArgument, "INVALID_FIELD"), "{ids:?} {token}");
    }
    let refused = Watcher::start(&client, &vec![mine; 1001], "").await.expect_err("too many");
    assert_eq!(refused.kind(), (Code::InvalidArgument, "LIMIT_EXCEEDED"));
    assert_eq!((refused.metadata["limit"].as_str(), refused.metadata["seen"].as_str()), ("max_watched_images", "1001"));

    // Nobody hears of other people's images.
    let mut others = Watcher::start(&other, &[], "").await.expect("a watch");
    assert_eq!(others.through(Told::CaughtUp).await, [Told::CaughtUp]);
    client.settled(client.upload(png(2)).await.expect("an image").id).await;
    let own = other.upload(png(3)).await.expect("an image").id;
    assert_eq!(others.next().await.expect("the watch goes on"), Told::Created(own));
}
