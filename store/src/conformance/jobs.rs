//! What every adapter of [`JobQueue`] keeps. Hints may come more often than they were published, never less.
#![expect(missing_docs, reason = "a case is called what it checks")]

use std::time::Duration;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    RenditionId,
    jobs::{Delivery, JobQueue, Nudges},
};

/// Makes a module `$name` with a test for each promise; `$fixture` is awaited and gives an empty queue and whatever keeps it alive.
/// Its [`JobQueue::ack_wait`] is best short.
#[macro_export]
macro_rules! jobs_suite {
    ($name:ident, $fixture:expr) => {
        $crate::jobs_suite!(@ $name, $fixture,
            every_hint_is_delivered
            a_lease_takes_no_more_than_asked_for
            a_waiting_lease_gets_what_is_published_meanwhile
            an_acked_hint_is_gone
            a_dropped_hint_is_delivered_again
            a_retried_hint_waits_for_its_delay
            a_cancelled_lease_loses_nothing
            a_hint_told_again_while_it_is_held_is_delivered_again
            a_hint_in_progress_stays_with_its_holder
            it_answers_pings
            a_nudge_is_heard_by_everybody_who_listens
        );
    };
    (@ $name:ident, $fixture:expr, $($case:ident)*) => {
        mod $name {
            use super::*;
            $(
                #[tokio::test]
                async fn $case() {
                    let (queue, _alive) = $fixture.await;
                    $crate::conformance::jobs::$case(&queue).await;
                }
            )*
        }
    };
}

async fn publish(queue: &dyn JobQueue, ids: impl IntoIterator<Item = i64>) {
    let ids: Vec<_> = ids.into_iter().map(RenditionId).collect();
    queue.publish(&ids).await.expect("hints can be published");
}

async fn lease(queue: &dyn JobQueue, max: usize) -> Vec<Box<dyn Delivery>> {
    let deliveries = queue.lease(max).await.expect("hints can be leased");
    assert!(deliveries.len() <= max, "{} hints were taken instead of {max}", deliveries.len());
    deliveries
}

/// The next hint, however many waits it takes.
async fn next(queue: &dyn JobQueue) -> Box<dyn Delivery> {
    loop {
        if let Some(delivery) = lease(queue, 1).await.pop() {
            return delivery;
        }
    }
}

fn ids(deliveries: &[Box<dyn Delivery>]) -> Vec<i64> {
    deliveries.iter().map(|delivery| delivery.rendition().0).collect()
}

async fn ack_all(deliveries: Vec<Box<dyn Delivery>>) {
    for delivery in deliveries {
        delivery.ack().await.expect("a hint can be acked");
    }
}

/// Nothing comes for half as long again as an unanswered hint would take to come back.
async fn assert_empty(queue: &dyn JobQueue) {
    let deadline = Instant::now() + queue.ack_wait().unwrap_or(Duration::from_millis(100)) * 3 / 2;
    while let Ok(left) = timeout_at(deadline, lease(queue, 10)).await {
        assert!(left.is_empty(), "{left:?} should be gone");
    }
}

pub async fn every_hint_is_delivered(queue: &dyn JobQueue) {
    publish(queue, 1..=500).await;
    let mut seen = Vec::new();
    while seen.len() < 500 {
        let deliveries = lease(queue, 64).await;
        seen.extend(ids(&deliveries));
        ack_all(deliveries).await;
    }
    seen.sort_unstable();
    assert!(seen.iter().copied().eq(1..=500), "every hint came once: {seen:?}");
}

pub async fn a_lease_takes_no_more_than_asked_for(queue: &dyn JobQueue) {
    publish(queue, 1..=5).await;
    let first = lease(queue, 2).await;
    assert_eq!(ids(&first), [1, 2]);
    let second = lease(queue, 10).await;
    assert_eq!(ids(&second), [3, 4, 5], "what nobody asked for was not held back");
    assert_eq!(ids(&lease(queue, 0).await), [0; 0]);
    ack_all(first).await;
    ack_all(second).await;
}

pub async fn a_waiting_lease_gets_what_is_published_meanwhile(queue: &dyn JobQueue) {
    // Three times: a machine that stands still for a while does not make all of them long.
    let mut shortest = Duration::MAX;
    for id in 7..10 {
        let start = Instant::now();
        let mut waiting = queue.lease(3);
        assert!(waiting.as_mut().now_or_never().is_none(), "there is nothing to lease");
        publish(queue, [id]).await;
        let deliveries = waiting.await.expect("hints can be leased");
        assert_eq!(ids(&deliveries), [id]);
        shortest = shortest.min(start.elapsed());
        ack_all(deliveries).await;
    }
    assert!(shortest < Duration::from_secs(3), "the first hint ends the wait: {shortest:?}");
}

pub async fn an_acked_hint_is_gone(queue: &dyn JobQueue) {
    publish(queue, [1]).await;
    next(queue).await.ack().await.expect("a hint can be acked");
    assert_empty(queue).await;
}

pub async fn a_dropped_hint_is_delivered_again(queue: &dyn JobQueue) {
    publish(queue, [1]).await;
    drop(next(queue).await);
    let again = next(queue).await;
    assert_eq!(again.rendition(), RenditionId(1));
    again.ack().await.expect("a hint can be acked");
    assert_empty(queue).await;
}

pub async fn a_retried_hint_waits_for_its_delay(queue: &dyn JobQueue) {
    let delay = Duration::from_secs(3);
    publish(queue, [1]).await;
    let delivery = next(queue).await;
    let start = Instant::now();
    delivery.retry(delay).await.expect("a hint can be retried");
    publish(queue, [2]).await;
    let other = next(queue).await;
    assert_eq!(other.rendition(), RenditionId(2), "others are not held up");
    other.ack().await.expect("a hint can be acked");
    let again = next(queue).await;
    assert_eq!(again.rendition(), RenditionId(1));
    assert!(start.elapsed() >= delay, "it came after {:?}", start.elapsed());
    again.ack().await.expect("a hint can be acked");
}

pub async fn a_cancelled_lease_loses_nothing(queue: &dyn JobQueue) {
    let mut waiting = queue.lease(2);
    assert!(waiting.as_mut().now_or_never().is_none(), "there is nothing to lease");
    publish(queue, [1, 2, 3]).await;
    // Polled once more it may have some of them in hand.
    let in_hand = waiting.as_mut().now_or_never().is_some();
    drop(waiting);
    let mut seen = Vec::new();
    while seen.len() < 3 {
        let deliveries = lease(queue, 3).await;
        seen.extend(ids(&deliveries));
        ack_all(deliveries).await;
        seen.sort_unstable();
        seen.dedup();
    }
    assert_eq!(seen, [1, 2, 3], "in hand: {in_hand}");
}

pub async fn a_hint_told_again_while_it_is_held_is_delivered_again(queue: &dyn JobQueue) {
    publish(queue, [1]).await;
    let held = next(queue).await;
    publish(queue, [1]).await;
    let again = next(queue).await;
    assert_eq!(again.rendition(), RenditionId(1));
    held.ack().await.expect("the first delivery can be acked");
    again.ack().await.expect("so can the second one");
    assert_empty(queue).await;
}

pub async fn a_hint_in_progress_stays_with_its_holder(queue: &dyn JobQueue) {
    publish(queue, [1]).await;
    let held = next(queue).await;
    let mut ticks = tokio::time::interval(queue.ack_wait().unwrap_or(Duration::from_millis(100)) / 4);
    let work = async {
        loop {
            ticks.tick().await;
            held.in_progress().await.expect("progress can be told");
        }
    };
    tokio::select! {
        () = assert_empty(queue) => {}
        () = work => {}
    }
    held.ack().await.expect("a hint can be acked");
    assert_empty(queue).await;
}

pub async fn a_nudge_is_heard_by_everybody_who_listens(queue: &impl Nudges) {
    let mut listeners = [queue.listen().await.expect("it can be listened to"), queue.listen().await.expect("it can be listened to")];
    // One nudge may be lost, and a listener may hear of it late; each must hear of one in the end.
    for listener in &mut listeners {
        let heard = async {
            let mut ticks = tokio::time::interval(Duration::from_millis(10));
            loop {
                tokio::select! {
                    () = listener.nudged() => return,
                    _ = ticks.tick() => queue.nudge(),
                }
            }
        };
        timeout(Duration::from_secs(10), heard).await.expect("a nudge is heard");
    }
}

pub async fn it_answers_pings(queue: &dyn JobQueue) {
    queue.ping().await.expect("hints can be sent");
}
