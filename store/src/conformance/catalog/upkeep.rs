use super::support::{BEGIN, Fresh, at_once, create, png, second, user};
use crate::{Format, NewImage, StoreId, Timestamp, Worker, random_hex};

pub(super) async fn the_store_id_is_decided_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    let wanted = StoreId(random_hex());
    assert_eq!(catalog.store_id(Some(&wanted)).await.expect("an id"), wanted);
    assert_eq!(catalog.store_id(None).await.expect("an id"), wanted);
    assert_eq!(catalog.store_id(Some(&StoreId(random_hex()))).await.expect("an id"), wanted);
}

pub(super) async fn of_concurrent_store_ids_one_is_decided(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ids = at_once(8, |index| {
        let catalog = catalog.clone();
        let wanted = (index % 2 == 0).then(|| StoreId(random_hex()));
        async move { catalog.store_id(wanted.as_ref()).await.expect("an id") }
    })
    .await;
    assert_eq!(ids[0].0.len(), 32);
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
}

fn worker(id: &str, seen_at: Timestamp) -> Worker {
    Worker {
        id: id.to_owned(),
        version: "0.1.0".to_owned(),
        input_formats: vec![Format::Jpeg, Format::Qoi],
        output_formats: Vec::new(),
        sandbox: "none".to_owned(),
        slots: 4,
        started_at: BEGIN,
        seen_at,
    }
}

pub(super) async fn the_latest_heartbeat_counts(fresh: Fresh) {
    let catalog = fresh.catalog;
    catalog.heartbeat(&worker("b", second(1))).await.expect("a heartbeat");
    catalog.heartbeat(&worker("a", second(1))).await.expect("a heartbeat");
    let later = Worker { slots: 8, output_formats: vec![Format::WebP], sandbox: "seccomp".to_owned(), ..worker("b", second(5)) };
    catalog.heartbeat(&later).await.expect("a heartbeat");
    assert_eq!(catalog.workers(second(1)).await.expect("workers"), [worker("a", second(1)), later.clone()]);
    assert_eq!(catalog.workers(second(5)).await.expect("workers"), [later]);
    assert_eq!(catalog.workers(second(6)).await.expect("workers"), []);
}

pub(super) async fn pruning_drops_only_what_is_old_and_a_few_at_a_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    for at in 0..6 {
        let new = NewImage { request_id: Some(format!("request {at}")), renditions: Vec::new(), ..png(owner) };
        create(&*catalog, new, second(at)).await;
        catalog.heartbeat(&worker(&format!("worker {at}"), second(at))).await.expect("a heartbeat");
    }
    let left = async || {
        let mut requests = Vec::new();
        for at in 0..6 {
            if catalog.image_by_request(owner, &format!("request {at}")).await.expect("an answer").is_some() {
                requests.push(second(at));
            }
        }
        let changes: Vec<_> = catalog.changes_after(0, 100).await.expect("changes").iter().map(|change| change.at).collect();
        let workers: Vec<_> = catalog.workers(BEGIN).await.expect("workers").iter().map(|worker| worker.seen_at).collect();
        assert_eq!(requests, changes);
        assert_eq!(requests, workers);
        requests
    };
    catalog.prune(second(3), 2).await.expect("pruned");
    assert_eq!(left().await, [2, 3, 4, 5].map(second));
    catalog.prune(second(3), 2).await.expect("pruned");
    assert_eq!(left().await, [3, 4, 5].map(second));
    catalog.prune(second(3), 2).await.expect("pruned");
    assert_eq!(left().await, [3, 4, 5].map(second));
}

pub(super) async fn positions_go_on_after_pruning(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    create(&*catalog, png(owner), BEGIN).await;
    let before = catalog.last_position().await.expect("a position");
    catalog.prune(second(1), 100).await.expect("pruned");
    assert_eq!(catalog.changes_after(0, 100).await.expect("changes"), []);
    assert_eq!(catalog.last_position().await.expect("a position"), before);
    create(&*catalog, png(owner), second(2)).await;
    assert!(catalog.changes_after(before, 100).await.expect("changes")[0].position > before);
}

pub(super) async fn a_catalog_answers_pings(fresh: Fresh) {
    fresh.catalog.ping().await.expect("an answer");
}
