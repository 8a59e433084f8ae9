//! Connections on which nothing is heard any more, and nothing ends: a machine that vanished, a balancer that forgot them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tintype_proto::v1::{ImageFormat, ListImagesRequest};
use tintype_store::{
    Kind, UserChange, UserId,
    catalog::{Users, postgres::Postgres},
};
use tintype_tests::{Client, Fault, Gate, Refused, Tintype, Upload, Wire, pictures};
use tokio::time::timeout;
use tonic::Code;

/// Connections that a process has to its catalog, one to see whether it is there aside.
const CONNECTIONS: usize = 10;
/// Whatever a client asks for is answered within this time.
const SOON: Duration = Duration::from_secs(3);
/// A database that lives on keeps the locks of a transaction that was cut off for 2 s, and those who waited for them and were cut off, too, get
/// them one after the other; no statement lasts longer than this.
const LOCKED: Duration = Duration::from_secs(10);
/// What many lanes and a conversion beside them on a slow machine may add to the 2.5 s after which a silent catalog is told of. Together with `SOON`
/// less than the 12 s that a statement may take: nobody waited for that.
const BUSY: Duration = Duration::from_secs(3);

/// The catalog of a cluster without its server, by a way of its own to its service.
async fn catalog_by<W>(tintype: &mut Tintype, before: impl AsyncFnOnce(&str) -> (W, String)) -> (W, Postgres) {
    tintype.kill_server().await;
    let url = tintype.variable("TINTYPE_CATALOG");
    let (_, place) = url.split_once('@').expect("the URL names a user");
    let (service, _) = place.split_once('/').expect("the URL names a database");
    let (way, address) = before(service).await;
    let catalog = Postgres::connect(&url.replace(service, &address), false).await;
    (way, catalog.expect("the database answers"))
}

/// Asks for the administrator on as many connections as there may be, and returns how long that took. A busy machine may be too slow for
/// one of them: as long as there are `repeats`, all are asked again then.
async fn all_find_the_admin(catalog: &Postgres, repeats: &mut usize) -> Duration {
    loop {
        let begin = Instant::now();
        let answers = join_all((0..CONNECTIONS).map(|_| catalog.user_by_name("admin"))).await;
        let found: Result<Vec<_>, _> = answers.into_iter().collect();
        match found {
            Err(error) if error.kind() == Kind::Unavailable && *repeats > 0 => *repeats -= 1,
            found => {
                let found = found.expect("the catalog answers");
                assert!(found.iter().all(Option::is_some), "the first start made the administrator");
                return begin.elapsed();
            }
        }
    }
}

#[tokio::test]
async fn statements_that_are_never_answered_end_and_give_their_connections_back() {
    let mut tintype = Tintype::cluster(0).await;
    let (wire, catalog) = catalog_by(&mut tintype, async |service| {
        let wire = Wire::before(service).await;
        let address = wire.address.to_string();
        (wire, address)
    })
    .await;

    // Callers who give up hold no place for the statement that they no longer wait for.
    wire.arm(&["FROM users"], Fault::HoldAnswer, CONNECTIONS);
    {
        let asking = join_all((0..CONNECTIONS).map(|_| catalog.user_by_name("admin")));
        tokio::select! {
            answers = asking => panic!("{answers:?} without an answer of the database"),
            () = wire.happened(CONNECTIONS) => {}
        }
    }
    let took = all_find_the_admin(&catalog, &mut 1).await;
    println!("after callers gave up: {took:?}");
    assert!(took < SOON, "{took:?}");

    // Nor for ever does the statement itself, be it alone or in a transaction.
    wire.arm(&["UPDATE users"], Fault::HoldAnswer, 1);
    let begin = Instant::now();
    let change = UserChange { disabled: Some(false), ..UserChange::default() };
    let changing = catalog.update_user(UserId(1), &change);
    let error = changing.await.expect_err("nobody knows");
    println!("a transaction ended after {:?}: {error}", begin.elapsed());
    assert_eq!(error.kind(), Kind::Unavailable, "{error}");
    assert!(begin.elapsed() < Duration::from_secs(14), "{:?}", begin.elapsed());
    all_find_the_admin(&catalog, &mut 1).await;
}

#[tokio::test]
async fn idle_connections_that_were_left_behind_are_replaced_before_anybody_notices() {
    let mut tintype = Tintype::cluster(0).await;
    let (gate, catalog) = catalog_by(&mut tintype, async |service| {
        let gate = Gate::before(service).await;
        let address = gate.address.to_string();
        (gate, address)
    })
    .await;
    all_find_the_admin(&catalog, &mut 1).await;
    // One for all rounds: connections that are not replaced would be noticed in each.
    let mut repeats = 1;
    for _ in 0..3 {
        gate.leave_behind();
        let took = all_find_the_admin(&catalog, &mut repeats).await;
        println!("by new connections: {took:?}");
        assert!(took < SOON, "{took:?}");
    }
}

/// Lists again and again, and uploads now and then, until `over`. A list ends soon, an upload when the row of its owner is free, both well or with a
/// refusal that says what to do.
async fn keeps_asking(client: Client, lane: u32, over: Arc<AtomicBool>) {
    for round in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let begin = Instant::now();
        let (outcome, limit) = if round % 4 == 0 {
            let upload = client.upload(Upload::new("a.png", pictures::png(16, 16, lane * 1_000 + round)));
            (upload.await.map(drop), SOON + LOCKED)
        } else {
            (client.images().list_images(ListImagesRequest::default()).await.map(drop).map_err(Refused::from), SOON + BUSY)
        };
        match outcome {
            Ok(()) => {}
            // All uploads change one row, which a transaction that was cut off may hold.
            Err(refused) if refused.kind() == (Code::Aborted, "CHANGED_MEANWHILE") => {}
            Err(refused) => {
                assert_eq!(refused.code, Code::Unavailable, "{refused:?}");
                assert!(refused.retry_after.is_some(), "{refused:?}");
            }
        }
        assert!(begin.elapsed() < limit, "round {round} of lane {lane} took {:?}", begin.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_failover_of_the_catalog_calls_end_soon_and_go_on_by_new_connections() {
    let tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    let over = Arc::new(AtomicBool::new(false));
    let lanes: Vec<_> = (0..16).map(|lane| tokio::spawn(keeps_asking(client.clone(), lane, Arc::clone(&over)))).collect();
    for round in 0..3 {
        // In the middle of whatever the server and the worker are doing.
        while client.images().list_images(ListImagesRequest::default()).await.is_err() {}
        tintype.catalog_gate().leave_behind();
        let begin = Instant::now();
        let image = loop {
            if let Ok(image) = client.upload(Upload::new("b.png", pictures::png(64, 48, round))).await {
                break image;
            }
        };
        println!("taken again after {:?}", begin.elapsed());
        assert!(begin.elapsed() < SOON + LOCKED, "{:?}", begin.elapsed());
        let converted = timeout(Duration::from_mins(1), client.rendition(image.id, ImageFormat::Jpeg)).await;
        println!("converted again after {:?}", begin.elapsed());
        drop(converted.expect("the worker goes on"));
        while tintype.healthz().await.0 != 200 {}
    }
    over.store(true, Ordering::Relaxed);
    for lane in lanes {
        lane.await.expect("every call ended soon");
    }
    // All places of the pool are there. What asks whether the catalog is there may be the last to find its connection left behind.
    let answered = async || join_all((0..3 * CONNECTIONS).map(|_| client.current_user())).await.iter().all(Result::is_ok);
    let recovered = async { while !answered().await {} };
    timeout(2 * SOON, recovered).await.expect("no place is lost");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_catalog_that_falls_silent_under_load_is_told_of_soon_and_is_back_as_soon_as_it_speaks() {
    let tintype = Tintype::cluster(1).await;
    let client = tintype.client().await;
    let over = Arc::new(AtomicBool::new(false));
    let lanes: Vec<_> = (0..16).map(|lane| tokio::spawn(keeps_asking(client.clone(), lane, Arc::clone(&over)))).collect();
    for round in 0..2 {
        tintype.catalog_gate().silence();
        while tintype.healthz().await.0 != 503 {}
        tintype.catalog_gate().open();
        let begin = Instant::now();
        while client.images().list_images(ListImagesRequest::default()).await.is_err() {}
        println!("round {round}: answered again after {:?}", begin.elapsed());
        assert!(begin.elapsed() < SOON, "{:?}", begin.elapsed());
        while tintype.healthz().await.0 != 200 {}
    }
    over.store(true, Ordering::Relaxed);
    for lane in lanes {
        lane.await.expect("every call ended soon");
    }
}
