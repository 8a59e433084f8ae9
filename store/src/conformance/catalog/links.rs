use std::time::Duration;

use super::support::{BEGIN, Fresh, announced, at_once, png, second, user};
use crate::{
    AnnouncedFile, BlobKey, Created, LinkCreated, LinkKey, NewImage, NewUser, Role, Timestamp, UploadLink, UserChange, UserId, UserWrite,
    catalog::Catalog, random_hex,
};

/// When links of the cases end.
const END: u64 = 900;

fn link(owner: UserId, upload_id: &str, size_bytes: u64) -> UploadLink {
    let file = AnnouncedFile { size_bytes, ..announced(b"bytes") };
    let upload_id = upload_id.to_owned();
    UploadLink { id: random_hex(), owner, upload_id, file, direct: false, key: None, expires_at: second(END) }
}

async fn created(catalog: &dyn Catalog, link: &UploadLink, now: Timestamp) -> UploadLink {
    match catalog.create_upload_link(link.clone(), now).await.expect("an answer") {
        LinkCreated::Done(link) => link,
        other => panic!("not recorded: {other:?}"),
    }
}

async fn counted(catalog: &dyn Catalog, owner: UserId) -> (u64, u64) {
    let user = catalog.user(owner).await.expect("an answer").expect("a user");
    (user.used_bytes, user.unfinished_bytes)
}

/// The image of what came by `link`.
fn finished(link: &UploadLink) -> NewImage {
    NewImage { request_id: Some(link.upload_id.clone()), ..png(link.owner) }
}

pub(super) async fn a_link_reads_back_as_recorded_and_counts(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let (ada, bob) = (user(catalog, "ada").await, user(catalog, "bob").await);
    let direct = UploadLink { direct: true, key: Some(BlobKey::arriving(ada)), ..link(ada, "direct", 200) };
    for link in [link(ada, "upload", 100), direct] {
        assert_eq!(created(catalog, &link, BEGIN).await, link);
        assert_eq!(catalog.open_upload_link(ada, &link.upload_id).await.expect("an answer").as_ref(), Some(&link));
        assert_eq!(catalog.upload_link(&link.id).await.expect("an answer").as_ref(), Some(&link));
        assert_eq!(catalog.open_upload_link(bob, &link.upload_id).await.expect("an answer"), None, "an id is its owner's own");
    }
    assert_eq!(catalog.upload_link(&random_hex()).await.expect("an answer"), None);
    assert_eq!((counted(catalog, ada).await, counted(catalog, bob).await), ((0, 300), (0, 0)));
}

pub(super) async fn a_repeated_link_is_the_first_one_until_that_expires(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let first = created(catalog, &link(owner, "upload", 100), BEGIN).await;
    let second_one = link(owner, "upload", 250);
    assert_eq!(created(catalog, &second_one, second(END - 1)).await, first);
    assert_eq!(counted(catalog, owner).await, (0, 100), "it counts once");
    assert_eq!(created(catalog, &second_one, second(END)).await, second_one);
    assert_eq!(counted(catalog, owner).await, (0, 250), "in the place of the first");
    assert_eq!(catalog.upload_link(&first.id).await.expect("an answer"), None);
}

pub(super) async fn of_equal_links_at_once_one_is_recorded(fresh: Fresh) {
    let owner = user(&*fresh.catalog, "ada").await;
    let links = at_once(8, |_| {
        let catalog = fresh.catalog.clone();
        async move { created(&*catalog, &link(owner, "upload", 100), BEGIN).await }
    });
    let links = links.await;
    assert!(links.iter().all(|link| *link == links[0]), "{links:?}");
    assert_eq!(counted(&*fresh.catalog, owner).await, (0, 100));
}

pub(super) async fn links_beyond_the_quota_are_not_recorded(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let new = NewUser { name: "ada".to_owned(), role: Role::User, password_hash: "x".to_owned(), quota_bytes: 1000 };
    let owner = catalog.create_user(new, BEGIN).await.expect("a user").id;
    created(catalog, &link(owner, "first", 600), BEGIN).await;
    let over = catalog.create_upload_link(link(owner, "second", 401), BEGIN).await.expect("an answer");
    assert_eq!(over, LinkCreated::OverQuota { quota_bytes: 1000, used_bytes: 600 });
    created(catalog, &link(owner, "second", 400), BEGIN).await;
    // What it takes the place of does not count against it.
    created(catalog, &link(owner, "first", 600), second(END)).await;
    assert_eq!(counted(catalog, owner).await, (0, 1000));
    let missing = catalog.create_upload_link(link(UserId(99), "third", 1), BEGIN).await.expect("an answer");
    assert_eq!(missing, LinkCreated::OwnerMissing);
}

pub(super) async fn of_those_that_come_at_once_one_is_received(fresh: Fresh) {
    let owner = user(&*fresh.catalog, "ada").await;
    let link = created(&*fresh.catalog, &link(owner, "upload", 100), BEGIN).await;
    let received = at_once(8, |_| {
        let (catalog, id, key) = (fresh.catalog.clone(), link.id.clone(), BlobKey::arriving(owner));
        async move { catalog.receive_upload(&id, &key).await.expect("an answer").then_some(key) }
    });
    let received: Vec<_> = received.await.into_iter().flatten().collect();
    let [key] = &received[..] else { panic!("one of them: {received:?}") };
    let found = fresh.catalog.open_upload_link(owner, "upload").await.expect("an answer").expect("it is open");
    assert_eq!(found.key.as_ref(), Some(key));
    assert_eq!(fresh.catalog.unrecorded(std::slice::from_ref(key)).await.expect("an answer"), []);
}

pub(super) async fn nothing_comes_for_a_user_who_is_disabled_or_deleted(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let link = created(catalog, &link(owner, "upload", 100), BEGIN).await;
    let comes = async || {
        let found = catalog.upload_link(&link.id).await.expect("an answer").is_some();
        (found, catalog.receive_upload(&link.id, &BlobKey::arriving(owner)).await.expect("an answer"))
    };
    let disabled = |disabled| UserChange { disabled: Some(disabled), ..UserChange::default() };
    catalog.update_user(owner, &disabled(true)).await.expect("an answer");
    assert_eq!(comes().await, (false, false));
    catalog.update_user(owner, &disabled(false)).await.expect("an answer");
    assert!(catalog.upload_link(&link.id).await.expect("an answer").is_some());
    assert!(matches!(catalog.delete_user(owner, BEGIN).await.expect("an answer"), UserWrite::Done(_)));
    assert_eq!(comes().await, (false, false));
}

pub(super) async fn a_finished_link_is_an_image_and_closed(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let link = created(catalog, &link(owner, "upload", 100), BEGIN).await;
    let Some(Created::New(image)) = catalog.finish_upload_link(finished(&link), &link, BEGIN).await.expect("an answer") else {
        panic!("it was not finished")
    };
    assert_eq!(counted(catalog, owner).await, (image.size_bytes, 0));
    assert_eq!(catalog.upload_link(&link.id).await.expect("an answer"), None);
    assert!(!catalog.receive_upload(&link.id, &BlobKey::arriving(owner)).await.expect("an answer"));
    let again = catalog.finish_upload_link(finished(&link), &link, BEGIN).await.expect("an answer");
    assert_eq!(again, Some(Created::Repeated(Some(image))), "whoever finishes it again gets the image");
    assert!(!catalog.close_upload_link(&link).await.expect("an answer"));
}

pub(super) async fn of_those_who_finish_a_link_at_once_one_makes_the_image(fresh: Fresh) {
    let owner = user(&*fresh.catalog, "ada").await;
    let link = created(&*fresh.catalog, &link(owner, "upload", 100), BEGIN).await;
    let outcomes = at_once(8, |_| {
        let (catalog, link) = (fresh.catalog.clone(), link.clone());
        async move { catalog.finish_upload_link(finished(&link), &link, BEGIN).await.expect("an answer").expect("open or finished") }
    });
    let outcomes = outcomes.await;
    let made = |outcome: &&Created| matches!(outcome, Created::New(_));
    assert_eq!(outcomes.iter().filter(made).count(), 1, "{outcomes:?}");
    assert!(outcomes.iter().all(|outcome| made(&outcome) || matches!(outcome, Created::Repeated(Some(_)))), "{outcomes:?}");
}

pub(super) async fn a_closed_link_counts_no_more_and_can_begin_anew(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let owner = user(catalog, "ada").await;
    let first = created(catalog, &link(owner, "upload", 100), BEGIN).await;
    assert!(catalog.close_upload_link(&first).await.expect("an answer"));
    assert!(!catalog.close_upload_link(&first).await.expect("an answer"));
    assert_eq!(counted(catalog, owner).await, (0, 0));
    assert_eq!(catalog.open_upload_link(owner, "upload").await.expect("an answer"), None);
    assert_eq!(catalog.finish_upload_link(finished(&first), &first, BEGIN).await.expect("an answer"), None);
    let anew = link(owner, "upload", 30);
    assert_eq!(created(catalog, &anew, BEGIN).await, anew);
    assert_eq!(counted(catalog, owner).await, (0, 30));
}

pub(super) async fn stale_links_are_the_expired_ones_and_those_of_deleted_users(fresh: Fresh) {
    let catalog = &*fresh.catalog;
    let (ada, bob) = (user(catalog, "ada").await, user(catalog, "bob").await);
    let young = UploadLink { expires_at: second(2 * END), ..link(ada, "young", 1) };
    let key = Some(BlobKey::arriving(ada));
    let (old, closed, orphan) = (UploadLink { key, ..link(ada, "old", 2) }, link(ada, "closed", 4), link(bob, "orphan", 8));
    for link in [&young, &old, &closed, &orphan] {
        created(catalog, link, BEGIN).await;
    }
    assert!(catalog.close_upload_link(&closed).await.expect("an answer"));
    let stale = async |at, limit| {
        let links = catalog.stale_upload_links(second(at), limit).await.expect("an answer");
        let mut ids: Vec<_> = links.into_iter().map(|link| link.upload_id).collect();
        ids.sort_unstable();
        ids
    };
    assert_eq!(stale(END, 10).await, [""; 0]);
    assert_eq!(stale(END + 1, 10).await, ["closed", "old", "orphan"]);
    assert_eq!(stale(END + 1, 1).await.len(), 1, "a few at a time");
    assert!(matches!(catalog.delete_user(bob, BEGIN).await.expect("an answer"), UserWrite::Done(_)));
    assert_eq!(stale(END, 10).await, ["orphan"]);
    assert_eq!(catalog.forget_deleted_users().await.expect("an answer"), 0, "the link is still there");
    let keys: Vec<_> = old.key.iter().cloned().collect();
    assert_eq!(catalog.unrecorded(&keys).await.expect("an answer"), []);
    for link in [&old, &closed, &orphan, &orphan] {
        catalog.forget_upload_link(link).await.expect("an answer");
    }
    assert_eq!(stale(END + 1, 10).await, [""; 0]);
    assert_eq!((counted(catalog, ada).await, catalog.unrecorded(&keys).await.expect("an answer")), ((0, 1), keys));
    assert_eq!(catalog.forget_deleted_users().await.expect("an answer"), 1);
}

pub(super) async fn of_keys_at_once_one_is_everybodys(fresh: Fresh) {
    let made = at_once(8, |index| {
        let (catalog, key) = (fresh.catalog.clone(), LinkKey { id: 20_000, secret: [index as u8; 32], expires_at: second(1) });
        async move { catalog.make_link_key(&key).await.expect("an answer") }
    });
    let made = made.await;
    assert!(made.iter().all(|key| *key == made[0]), "{made:?}");
    let catalog = &*fresh.catalog;
    assert_eq!(catalog.link_key(20_000).await.expect("an answer").as_ref(), Some(&made[0]));
    assert_eq!(catalog.link_key(20_001).await.expect("an answer"), None);
    let later = LinkKey { id: 20_001, secret: [9; 32], expires_at: second(2) };
    assert_eq!(catalog.make_link_key(&later).await.expect("an answer"), later);
    catalog.prune(second(1).plus(Duration::from_micros(1)), 10).await.expect("an answer");
    assert_eq!(catalog.link_key(20_000).await.expect("an answer"), None, "of no use any more");
    assert_eq!(catalog.link_key(20_001).await.expect("an answer"), Some(later));
}
