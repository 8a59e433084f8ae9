use super::support::{BEGIN, Fresh, at_once, second};
use crate::Commit;

pub(super) async fn one_holds_the_right_to_publish_at_a_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    assert_eq!(catalog.hold_publisher("a", second(10), BEGIN).await.expect("an answer"), Some(0));
    assert_eq!(catalog.hold_publisher("b", second(20), second(9)).await.expect("an answer"), None, "it is held");
    assert_eq!(catalog.hold_publisher("a", second(20), second(9)).await.expect("an answer"), Some(0), "its holder keeps it");
    assert_eq!(catalog.hold_publisher("b", second(30), second(19)).await.expect("an answer"), None);
    assert_eq!(catalog.hold_publisher("b", second(30), second(20)).await.expect("an answer"), Some(0), "it ran out");
    assert_eq!(catalog.hold_publisher("a", second(40), second(21)).await.expect("an answer"), None);
    assert_eq!(catalog.hold_publisher("b", second(22), second(22)).await.expect("an answer"), Some(0), "its holder gives it up");
    assert_eq!(catalog.hold_publisher("a", second(40), second(22)).await.expect("an answer"), Some(0));
}

pub(super) async fn of_concurrent_holders_one_is_chosen(fresh: Fresh) {
    let catalog = fresh.catalog;
    let held = at_once(8, |index| {
        let catalog = catalog.clone();
        async move { catalog.hold_publisher(&format!("holder {index}"), second(10), BEGIN).await.expect("an answer") }
    })
    .await;
    assert_eq!(held.into_iter().flatten().collect::<Vec<_>>(), [0]);
}

pub(super) async fn what_is_published_is_noted_by_its_holder_alone(fresh: Fresh) {
    let catalog = fresh.catalog;
    catalog.hold_publisher("a", second(10), BEGIN).await.expect("an answer");
    assert_eq!(catalog.published("a", 7).await.expect("an answer"), Commit::Done);
    assert_eq!(catalog.published("b", 8).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.hold_publisher("b", second(20), second(10)).await.expect("an answer"), Some(7));
    assert_eq!(catalog.published("a", 9).await.expect("an answer"), Commit::LeaseLost);
    assert_eq!(catalog.hold_publisher("b", second(30), second(11)).await.expect("an answer"), Some(7));
}
