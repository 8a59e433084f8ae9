use std::{collections::BTreeMap, sync::Arc};

use super::support::{BEGIN, Fresh, PICTURE, at_once, claim, create, output, png, second, user};
use crate::{
    ChangeKind, ChangedRendition, Commit, Denied, Failure, FailureReason, Format, Image, ImageChange, ImageId, ImageWrite, Labels,
    MAX_LABELS_BYTES, NewImage, Party, QuotaUsedUp, Rendition, RenditionState, Requested, Resize, Retry, ShareRole, Sharing, Spec,
    UserChange, UserId, catalog::Catalog,
};

const MANY: u32 = 100;

fn thumbnail() -> Spec {
    let resize = Resize { width: Some(320), height: None, fit: crate::Fit::Contain, enlarge: false };
    Spec { quality: Some(70), resize: Some(resize), ..Spec::new(Format::WebP) }
}

async fn request(catalog: &dyn Catalog, image: &Image, spec: &Spec) -> Requested {
    catalog.create_rendition(image.owner, image.id, spec, MANY, second(1)).await.expect("an answer")
}

async fn requested(catalog: &dyn Catalog, image: &Image, spec: &Spec) -> Rendition {
    match request(catalog, image, spec).await {
        Requested::New(rendition) => rendition,
        other => panic!("not new: {other:?}"),
    }
}

async fn set_quota(catalog: &dyn Catalog, user: UserId, quota_bytes: u64) {
    let change = UserChange { quota_bytes: Some(quota_bytes), ..UserChange::default() };
    catalog.update_user(user, &change).await.expect("an answer");
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

async fn changed(catalog: &dyn Catalog, image: &Image, change: &ImageChange) -> Image {
    match catalog.update_image(image.owner, image.id, change, second(5)).await.expect("an answer") {
        ImageWrite::Done(image) => *image,
        other => panic!("not done: {other:?}"),
    }
}

pub(super) async fn a_requested_rendition_is_pending_and_made_as_its_spec_says(fresh: Fresh) {
    let catalog = fresh.catalog;
    let image = create(&*catalog, png(user(&*catalog, "ada").await), BEGIN).await;
    let position = catalog.last_position().await.expect("a position");
    let rendition = requested(&*catalog, &image, &thumbnail()).await;
    assert_eq!((rendition.image, rendition.spec, rendition.format), (image.id, thumbnail(), Format::WebP));
    assert_eq!((rendition.state, rendition.attempt, rendition.created_at), (RenditionState::Pending, 0, second(1)));
    assert_eq!(catalog.rendition(rendition.id).await.expect("an answer").as_ref(), Some(&rendition));
    let now = catalog.image(image.id).await.expect("an answer").expect("an image");
    assert_eq!(now.renditions, [image.renditions, vec![rendition.clone()]].concat());

    let changes = catalog.changes_after(position, 10).await.expect("changes");
    let told = ChangedRendition { id: rendition.id, format: Format::WebP, state: RenditionState::Pending };
    let [change] = changes[..] else { panic!("one change: {changes:?}") };
    assert_eq!((change.kind, change.image, change.at), (ChangeKind::RenditionChanged, image.id, second(1)));
    assert_eq!(change.rendition, Some(told));

    let job = claim(&*catalog, rendition.id, second(1)).await;
    assert_eq!(job.spec, thumbnail());
    assert_eq!(catalog.complete(&job, &output(&job), &PICTURE, second(2)).await.expect("a commit"), Commit::Done);
}

pub(super) async fn equal_specs_are_one_rendition_in_whatever_state(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(ada), BEGIN).await;
    let automatic = request(&*catalog, &image, &Spec { quality: Some(80), ..Spec::new(Format::WebP) }).await;
    assert_eq!(automatic, Requested::Standing(image.renditions[0].clone()), "the default, said in other words");

    let first = requested(&*catalog, &image, &thumbnail()).await;
    let position = catalog.last_position().await.expect("a position");
    assert_eq!(request(&*catalog, &image, &thumbnail()).await, Requested::Standing(first.clone()));
    assert_eq!(catalog.last_position().await.expect("a position"), position, "nothing is written");
    let job = claim(&*catalog, first.id, second(1)).await;
    let failure = Failure { reason: FailureReason::CorruptInput, message: "broken".to_owned() };
    assert_eq!(catalog.fail(&job, &failure, second(2)).await.expect("a commit"), Commit::Done);
    set_quota(&*catalog, ada, 0).await;
    let Ok(Requested::Standing(failed)) = catalog.create_rendition(ada, image.id, &thumbnail(), 0, second(3)).await else {
        panic!("what stands is returned, whatever limit is reached")
    };
    assert_eq!((failed.id, failed.state, failed.failure), (first.id, RenditionState::Failed, Some(failure)));
}

pub(super) async fn of_equal_specs_at_once_one_is_recorded(fresh: Fresh) {
    let catalog = fresh.catalog;
    let image = create(&*catalog, png(user(&*catalog, "ada").await), BEGIN).await;
    let outcomes = at_once(16, |index| {
        let (catalog, image) = (catalog.clone(), image.clone());
        // Four specs, each said four times, in two ways.
        let spec = Spec { quality: Some(if index % 8 < 4 { 80 } else { 70 }), lossless: index % 2 == 0, ..thumbnail() };
        async move { request(&*catalog, &image, &spec).await }
    })
    .await;
    let new = outcomes.iter().filter(|outcome| matches!(outcome, Requested::New(_))).count();
    let standing = outcomes.iter().filter(|outcome| matches!(outcome, Requested::Standing(_))).count();
    // A lossless picture has no quality.
    assert_eq!((new, standing), (3, 13), "{outcomes:?}");
    let now = catalog.image(image.id).await.expect("an answer").expect("an image");
    assert_eq!(now.renditions.len(), image.renditions.len() + 3);
}

pub(super) async fn renditions_beyond_the_limit_or_the_quota_are_not_recorded(fresh: Fresh) {
    const SIZE_BYTES: u64 = 600_000;
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(ada), BEGIN).await;
    let outcomes = at_once(12, |index| {
        let (catalog, id) = (catalog.clone(), image.id);
        let spec = Spec { quality: Some(index as u8 + 1), ..thumbnail() };
        async move { catalog.create_rendition(ada, id, &spec, 5, BEGIN).await.expect("an answer") }
    })
    .await;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, Requested::New(_))).count(), 3, "two were there: {outcomes:?}");
    assert_eq!(outcomes.iter().filter(|outcome| **outcome == Requested::TooMany { rendition_count: 5 }).count(), 9);

    set_quota(&*catalog, ada, SIZE_BYTES).await;
    let refused = Requested::OverQuota { quota_bytes: SIZE_BYTES, used_bytes: SIZE_BYTES };
    assert_eq!(request(&*catalog, &image, &thumbnail()).await, refused);
    set_quota(&*catalog, ada, SIZE_BYTES + 1).await;
    requested(&*catalog, &image, &thumbnail()).await;
}

pub(super) async fn a_requested_rendition_whose_turn_comes_at_a_used_up_quota_says_so(fresh: Fresh) {
    const SIZE_BYTES: u64 = 600_000;
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(ada), BEGIN).await;
    let asked = requested(&*catalog, &image, &thumbnail()).await;
    let used_up = Some(QuotaUsedUp { quota_bytes: SIZE_BYTES, used_bytes: SIZE_BYTES });
    for (quota_bytes, over_quota) in [(SIZE_BYTES, used_up), (SIZE_BYTES + 1, None), (SIZE_BYTES, used_up)] {
        set_quota(&*catalog, ada, quota_bytes).await;
        let job = claim(&*catalog, asked.id, second(1)).await;
        assert_eq!(job.over_quota, over_quota, "of {quota_bytes}");
        assert_eq!(catalog.release(&job, second(1), true, second(1)).await.expect("a commit"), Commit::Done);
    }
    let automatic = claim(&*catalog, image.renditions[0].id, BEGIN).await;
    assert_eq!(automatic.over_quota, None, "what every upload gets is made");
}

/// What came of the three things that an editor may ask for.
async fn edited(catalog: &dyn Catalog, user: UserId, image: &Image, quality: u8) -> [Option<Denied>; 3] {
    let failed = image.renditions[0].id;
    let change = ImageChange { file_name: Some(format!("{user} {quality}")), ..ImageChange::default() };
    let spec = Spec { quality: Some(quality), ..thumbnail() };
    [
        match catalog.create_rendition(user, image.id, &spec, MANY, BEGIN).await.expect("an answer") {
            Requested::Denied(denied) => Some(denied),
            Requested::New(_) => None,
            other => panic!("neither new nor denied: {other:?}"),
        },
        match catalog.update_image(user, image.id, &change, BEGIN).await.expect("an answer") {
            ImageWrite::Denied(denied) => Some(denied),
            ImageWrite::Done(_) => None,
            other @ ImageWrite::LabelsTooLarge { .. } => panic!("neither done nor denied: {other:?}"),
        },
        match catalog.retry(Some(user), failed, BEGIN).await.expect("an answer") {
            Retry::Denied(denied) => Some(denied),
            Retry::NotFailed(_) | Retry::Pending(_) => None,
        },
    ]
}

pub(super) async fn what_is_asked_is_done_for_those_who_may_edit(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob, eve) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await, user(&*catalog, "eve").await);
    let image = create(&*catalog, png(ada), BEGIN).await;
    let other = create(&*catalog, png(bob), BEGIN).await;
    let bobs = Party::User("bob".to_owned());
    let share = async |party: &Party, role| {
        let shared = catalog.share_image(image.id, party, role, MANY, BEGIN).await.expect("an answer");
        assert!(matches!(shared, Sharing::Done(_)), "{shared:?}");
    };
    let position = async || catalog.last_position().await.expect("a position");
    let refused = async |user, quality, denied| {
        let before = position().await;
        assert_eq!(edited(&*catalog, user, &image, quality).await, [Some(denied); 3]);
        assert_eq!(position().await, before, "nothing is written");
    };
    let done = async |user, quality| assert_eq!(edited(&*catalog, user, &image, quality).await, [None; 3]);

    done(ada, 1).await;
    refused(bob, 2, Denied::Missing).await;
    share(&bobs, ShareRole::Viewer).await;
    refused(bob, 2, Denied::NotPermitted).await;
    share(&bobs, ShareRole::Editor).await;
    done(bob, 2).await;
    refused(eve, 3, Denied::Missing).await;
    share(&Party::Everyone, ShareRole::Viewer).await;
    refused(eve, 3, Denied::NotPermitted).await;
    catalog.unshare_image(image.id, &bobs, BEGIN).await.expect("an answer");
    refused(bob, 3, Denied::NotPermitted).await;
    share(&Party::Everyone, ShareRole::Editor).await;
    done(bob, 3).await;
    done(eve, 4).await;
    catalog.unshare_image(image.id, &Party::Everyone, BEGIN).await.expect("an answer");
    refused(eve, 5, Denied::Missing).await;
    assert_eq!(edited(&*catalog, ada, &other, 6).await, [Some(Denied::Missing); 3], "each image has shares of its own");
}

pub(super) async fn nothing_is_written_for_an_editor_after_the_share_is_withdrawn(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let bobs = Party::User("bob".to_owned());
    for round in 0..10 {
        let image = create(&*catalog, png(ada), BEGIN).await;
        catalog.share_image(image.id, &bobs, ShareRole::Editor, MANY, BEGIN).await.expect("an answer");
        let positions = at_once(6, |index| {
            let (catalog, image, bobs): (Arc<dyn Catalog>, _, _) = (catalog.clone(), image.clone(), bobs.clone());
            async move {
                if index > 0 {
                    edited(&*catalog, bob, &image, index as u8).await;
                    return None;
                }
                // One way to withdraw it, then the other.
                if round % 2 == 0 {
                    catalog.unshare_image(image.id, &bobs, BEGIN).await.expect("an answer");
                } else {
                    catalog.share_image(image.id, &bobs, ShareRole::Viewer, MANY, BEGIN).await.expect("an answer");
                }
                Some(catalog.last_position().await.expect("a position"))
            }
        })
        .await;
        let withdrawn = positions.into_iter().flatten().next().expect("the first one says");
        let later = catalog.changes_after(withdrawn, 100).await.expect("changes");
        assert!(later.is_empty(), "written after the share was withdrawn: {later:?}");
    }
}

pub(super) async fn nothing_is_asked_of_what_is_deleted(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let (image, left) = (create(&*catalog, png(ada), BEGIN).await, create(&*catalog, png(bob), BEGIN).await);
    let rename = ImageChange { file_name: Some("other".to_owned()), ..ImageChange::default() };
    assert!(catalog.delete_image(image.id, BEGIN).await.expect("an answer"));
    catalog.delete_user(bob, BEGIN).await.expect("an answer");
    for image in [&image, &left] {
        assert_eq!(request(&*catalog, image, &thumbnail()).await, Requested::Denied(Denied::Missing));
    }
    assert_eq!(catalog.update_image(image.owner, image.id, &rename, BEGIN).await.expect("an answer"), ImageWrite::Denied(Denied::Missing));
    assert_eq!(
        catalog.update_image(image.owner, ImageId(i64::MAX), &rename, BEGIN).await.expect("an answer"),
        ImageWrite::Denied(Denied::Missing)
    );
}

pub(super) async fn requests_and_deletion_at_once_leave_nothing_behind(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    for _ in 0..10 {
        let image = create(&*catalog, png(ada), BEGIN).await;
        at_once(6, |index| {
            let (catalog, image): (Arc<dyn Catalog>, _) = (catalog.clone(), image.clone());
            async move {
                if index == 0 {
                    assert!(catalog.delete_image(image.id, BEGIN).await.expect("an answer"));
                } else if let Requested::New(rendition) =
                    request(&*catalog, &image, &Spec { quality: Some(index as u8), ..thumbnail() }).await
                    && let crate::Claim::Granted(job) =
                        catalog.claim(rendition.id, "worker", super::support::LEASE, second(1)).await.expect("an answer")
                {
                    let _ = catalog.complete(&job, &output(&job), &PICTURE, second(2)).await.expect("an answer");
                }
            }
        })
        .await;
        assert_eq!(catalog.image(image.id).await.expect("an answer"), None);
        assert_eq!(catalog.user(ada).await.expect("an answer").expect("a user").used_bytes, 0);
    }
}

pub(super) async fn a_change_of_an_image_changes_what_it_names(fresh: Fresh) {
    let catalog = fresh.catalog;
    let new = NewImage { labels: labels(&[("kind", "cat"), ("quote", "\"\\'%{}🐈")]), ..png(user(&*catalog, "ada").await) };
    let image = create(&*catalog, new.clone(), BEGIN).await;
    assert_eq!((&image.labels, image.updated_at), (&new.labels, BEGIN));
    let position = catalog.last_position().await.expect("a position");

    let rename = ImageChange { file_name: Some("Kätzchen.png".to_owned()), ..ImageChange::default() };
    let renamed = changed(&*catalog, &image, &rename).await;
    assert_eq!(renamed, Image { file_name: "Kätzchen.png".to_owned(), updated_at: second(5), ..image.clone() });
    let relabel = BTreeMap::from([("kind".to_owned(), None), ("a.b-c_1".to_owned(), Some("new".to_owned())), ("no".to_owned(), None)]);
    let relabelled = changed(&*catalog, &image, &ImageChange { labels: relabel.clone(), ..ImageChange::default() }).await;
    assert_eq!(relabelled.labels, labels(&[("a.b-c_1", "new"), ("quote", "\"\\'%{}🐈")]));
    let replaced = changed(&*catalog, &image, &ImageChange { replace_labels: true, labels: relabel, ..ImageChange::default() }).await;
    assert_eq!(replaced, Image { labels: labels(&[("a.b-c_1", "new")]), ..renamed });
    assert_eq!(catalog.image(image.id).await.expect("an answer"), Some(replaced.clone()));

    let changes = catalog.changes_after(position, 10).await.expect("changes");
    assert_eq!(changes.iter().map(|change| change.kind).collect::<Vec<_>>(), [ChangeKind::Updated; 3]);
    assert!(changes.iter().all(|change| (change.image, change.owner, change.at) == (image.id, image.owner, second(5))));

    // What is so already is not written again.
    for same in [rename, ImageChange::default()] {
        assert_eq!(
            catalog.update_image(image.owner, image.id, &same, second(9)).await.expect("an answer"),
            ImageWrite::Done(Box::new(replaced.clone()))
        );
    }
    assert_eq!(catalog.last_position().await.expect("a position"), changes[2].position);
}

pub(super) async fn labels_of_changes_at_once_are_all_there_as_far_as_they_fit(fresh: Fresh) {
    const EACH_BYTES: usize = 100;
    let catalog = fresh.catalog;
    let image = create(&*catalog, png(user(&*catalog, "ada").await), BEGIN).await;
    let outcomes = at_once(16, |index| {
        let catalog = catalog.clone();
        let label = (format!("{index:x}"), Some("v".repeat(EACH_BYTES - 1)));
        let change = ImageChange { labels: BTreeMap::from([label]), ..ImageChange::default() };
        async move { catalog.update_image(image.owner, image.id, &change, BEGIN).await.expect("an answer") }
    })
    .await;
    let fitting = MAX_LABELS_BYTES as usize / EACH_BYTES;
    assert_eq!(outcomes.iter().filter(|outcome| matches!(outcome, ImageWrite::Done(_))).count(), fitting);
    let refused = ImageWrite::LabelsTooLarge { size_bytes: ((fitting + 1) * EACH_BYTES) as u64 };
    assert!(outcomes.iter().all(|outcome| matches!(outcome, ImageWrite::Done(_)) || *outcome == refused), "{outcomes:?}");
    assert_eq!(catalog.image(image.id).await.expect("an answer").expect("an image").labels.len(), fitting);
}
