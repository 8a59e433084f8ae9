use std::collections::BTreeSet;

use super::support::{BEGIN, Fresh, PICTURE, at_once, claim, create, output, png, second, user};
use crate::{
    Access, Change, ChangeKind, Commit, Image, ImageFilter, ImageId, NewImage, Owners, Party, RenditionId, RenditionState, SeenImage,
    ShareRole, Sharing, UserId, UserWrite, catalog::Catalog,
};

const MANY: u32 = 100;
const ALL: u32 = 1_000_000;

fn named(name: &str) -> Party {
    Party::User(name.to_owned())
}

async fn share(catalog: &dyn Catalog, image: ImageId, party: &Party, role: ShareRole) {
    let shared = catalog.share_image(image, party, role, MANY, BEGIN).await.expect("an answer");
    assert!(matches!(&shared, Sharing::Done(share) if share.party == *party && share.role == role), "{shared:?}");
}

/// What the user may do with the image, and whether by name. However the catalog is asked, the answer is the same.
async fn access(catalog: &dyn Catalog, user: UserId, image: &Image) -> Option<(Access, bool)> {
    let seen = catalog.seen_images(user, &[image.id, ImageId(image.id.0 + 1_000_000)]).await.expect("an answer").pop();
    let by_rendition = catalog.seen_image_of(user, image.renditions[0].id).await.expect("an answer");
    assert_eq!(seen, by_rendition);
    for owners in [Owners::Mine, Owners::Others, Owners::Anyone] {
        let filter = ImageFilter { owners, ..ImageFilter::default() };
        let listed = catalog.list_images(user, &filter, None, 1000).await.expect("a page");
        let listed = listed.into_iter().find(|listed| listed.image.id == image.id);
        let expected = seen.clone().filter(|seen| owners == Owners::Anyone || (seen.access == Access::Owner) == (owners == Owners::Mine));
        assert_eq!(listed, expected, "{owners:?}");
    }
    assert!(seen.as_ref().is_none_or(|seen| seen.image == *image));
    seen.map(|seen| (seen.access, seen.named))
}

pub(super) async fn an_image_is_seen_by_those_it_is_shared_with(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob, eve) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await, user(&*catalog, "eve").await);
    let image = create(&*catalog, png(ada), BEGIN).await;
    let other = create(&*catalog, png(ada), BEGIN).await;
    let seen = async || {
        assert_eq!(access(&*catalog, bob, &other).await, None);
        assert_eq!(access(&*catalog, ada, &image).await, Some((Access::Owner, true)));
        (access(&*catalog, bob, &image).await, access(&*catalog, eve, &image).await)
    };
    assert_eq!(seen().await, (None, None));
    share(&*catalog, image.id, &named("bob"), ShareRole::Viewer).await;
    assert_eq!(seen().await, (Some((Access::Viewer, true)), None));
    share(&*catalog, image.id, &named("bob"), ShareRole::Editor).await;
    assert_eq!(seen().await, (Some((Access::Editor, true)), None));
    share(&*catalog, image.id, &Party::Everyone, ShareRole::Viewer).await;
    assert_eq!(seen().await, (Some((Access::Editor, true)), Some((Access::Viewer, false))), "the most counts");
    share(&*catalog, image.id, &named("bob"), ShareRole::Viewer).await;
    share(&*catalog, image.id, &Party::Everyone, ShareRole::Editor).await;
    assert_eq!(seen().await, (Some((Access::Editor, true)), Some((Access::Editor, false))));
    for _ in 0..2 {
        catalog.unshare_image(image.id, &named("bob"), BEGIN).await.expect("also when there is no share");
        assert_eq!(seen().await, (Some((Access::Editor, false)), Some((Access::Editor, false))));
    }
    catalog.unshare_image(image.id, &Party::Everyone, BEGIN).await.expect("an answer");
    assert_eq!(seen().await, (None, None));
    assert_eq!(catalog.seen_images(bob, &[]).await.expect("an answer"), []);
    assert_eq!(catalog.seen_image_of(ada, RenditionId(99)).await.expect("an answer"), None);
}

pub(super) async fn sharing_again_changes_the_role(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    user(&*catalog, "bob").await;
    let image = create(&*catalog, png(ada), BEGIN).await;
    assert_eq!(catalog.shares(image.id).await.expect("shares"), []);
    for (at, party, role) in [
        (1, named("bob"), ShareRole::Viewer),
        (2, Party::Everyone, ShareRole::Viewer),
        (3, named("bob"), ShareRole::Editor),
        (4, named("Zoë"), ShareRole::Viewer),
    ] {
        let shared = catalog.share_image(image.id, &party, role, MANY, second(at)).await.expect("an answer");
        assert!(matches!(shared, Sharing::Done(_)), "{shared:?}");
    }
    let shares = catalog.shares(image.id).await.expect("shares");
    let seen: Vec<_> = shares.into_iter().map(|share| (share.party, share.role, share.created_at)).collect();
    let expected = [
        (Party::Everyone, ShareRole::Viewer, second(2)),
        (named("Zoë"), ShareRole::Viewer, second(4)),
        (named("bob"), ShareRole::Editor, second(1)),
    ];
    assert_eq!(seen, expected);
    let missing = catalog.share_image(ImageId(image.id.0 + 1), &Party::Everyone, ShareRole::Viewer, MANY, BEGIN).await;
    assert_eq!(missing.expect("an answer"), Sharing::Missing);
}

pub(super) async fn a_share_with_nobody_looks_like_any_other(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let image = create(&*catalog, png(ada), BEGIN).await;
    for name in ["bob", "eve"] {
        share(&*catalog, image.id, &named(name), ShareRole::Viewer).await;
    }
    let listed = catalog.shares(image.id).await.expect("shares");

    assert!(matches!(catalog.delete_user(bob, BEGIN).await.expect("an answer"), UserWrite::Done(_)));
    assert_eq!(catalog.forget_deleted_users().await.expect("a count"), 1);
    assert_eq!(catalog.shares(image.id).await.expect("shares"), listed, "nobody can tell that the user is gone");
    for name in ["bob", "eve"] {
        let new = user(&*catalog, name).await;
        assert_eq!(access(&*catalog, new, &image).await, None, "it was not shared with this {name}");
        share(&*catalog, image.id, &named(name), ShareRole::Viewer).await;
        assert_eq!(access(&*catalog, new, &image).await, Some((Access::Viewer, true)));
    }
    assert_eq!(catalog.shares(image.id).await.expect("shares"), listed);
}

pub(super) async fn no_more_shares_than_allowed_also_at_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    let ada = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(ada), BEGIN).await.id;
    let answers = at_once(12, |index| {
        let catalog = catalog.clone();
        async move { catalog.share_image(image, &named(&format!("{index}")), ShareRole::Viewer, 5, BEGIN).await.expect("an answer") }
    })
    .await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Sharing::Done(_))).count(), 5);
    let shares = catalog.shares(image).await.expect("shares");
    assert_eq!(shares.len(), 5);
    let again = catalog.share_image(image, &shares[0].party, ShareRole::Editor, 5, BEGIN).await.expect("an answer");
    assert!(matches!(again, Sharing::Done(_)), "it is no new one: {again:?}");
    assert_eq!(catalog.share_image(image, &Party::Everyone, ShareRole::Viewer, 5, BEGIN).await.expect("an answer"), Sharing::TooMany);
}

pub(super) async fn what_a_deleted_user_shared_is_not_seen(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob, eve) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await, user(&*catalog, "eve").await);
    let image = create(&*catalog, png(ada), BEGIN).await;
    share(&*catalog, image.id, &named("bob"), ShareRole::Editor).await;
    share(&*catalog, image.id, &Party::Everyone, ShareRole::Viewer).await;
    assert!(matches!(catalog.delete_user(ada, BEGIN).await.expect("an answer"), UserWrite::Done(_)));
    for user in [bob, eve] {
        assert_eq!(access(&*catalog, user, &image).await, None);
        assert_eq!(catalog.watched_images(user, ImageId(0), 10).await.expect("a page"), []);
    }
    assert!(catalog.delete_image(image.id, BEGIN).await.expect("an answer"));
    assert_eq!(catalog.shares(image.id).await.expect("shares"), []);
    assert_eq!(catalog.forget_deleted_users().await.expect("a count"), 1);
}

/// All pages of `limit` images.
async fn pages(catalog: &dyn Catalog, user: UserId, filter: &ImageFilter, limit: u32) -> Vec<ImageId> {
    let mut all: Vec<ImageId> = Vec::new();
    loop {
        let page: Vec<SeenImage> = catalog.list_images(user, filter, all.last().copied(), limit).await.expect("a page");
        assert!(page.len() <= limit as usize);
        if page.is_empty() {
            return all;
        }
        all.extend(page.iter().map(|seen| seen.image.id));
    }
}

pub(super) async fn lists_and_walks_show_all_that_is_seen_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob, eve) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await, user(&*catalog, "eve").await);
    let (mut own, mut direct, mut everyone) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for index in 0..48 {
        let owner = [ada, bob, eve][index % 3];
        let file_name = ["cat.png", "dog.png"][index / 3 % 2].to_owned();
        let id = create(&*catalog, NewImage { file_name, ..png(owner) }, second(index as u64)).await.id;
        if owner == bob {
            own.insert(id);
        } else if index % 5 < 2 {
            share(&*catalog, id, &named("bob"), ShareRole::Viewer).await;
            direct.insert(id);
        }
        if index % 4 == 0 {
            share(&*catalog, id, &Party::Everyone, ShareRole::Editor).await;
            everyone.insert(id);
        }
    }
    let others: BTreeSet<_> = direct.iter().chain(&everyone).filter(|id| !own.contains(id)).copied().collect();
    let anyone: BTreeSet<_> = own.union(&others).copied().collect();
    assert!(direct.len() > 5 && everyone.intersection(&own).count() > 2 && everyone.intersection(&direct).count() > 2);
    for (owners, expected) in [(Owners::Mine, &own), (Owners::Others, &others), (Owners::Anyone, &anyone)] {
        for limit in [1, 3, 1000] {
            let listed = pages(&*catalog, bob, &ImageFilter { owners, ..ImageFilter::default() }, limit).await;
            assert_eq!(listed, expected.iter().rev().copied().collect::<Vec<_>>(), "{owners:?}, pages of {limit}");
        }
        let cats = ImageFilter { owners, file_name_contains: Some("cat".to_owned()), ..ImageFilter::default() };
        let listed = pages(&*catalog, bob, &cats, 2).await;
        let ids: Vec<_> = expected.iter().copied().collect();
        let found = catalog.images(&ids).await.expect("images").into_iter().rev().filter(|image| image.file_name == "cat.png");
        assert_eq!(listed, found.map(|image| image.id).collect::<Vec<_>>(), "{owners:?}");
    }
    for limit in [1, 7, 1000] {
        let mut met = Vec::new();
        loop {
            let page = catalog.watched_images(bob, met.last().copied().unwrap_or(ImageId(0)), limit).await.expect("a page");
            assert!(page.len() <= limit as usize && page.iter().all(|seen| seen.named));
            if page.is_empty() {
                break;
            }
            met.extend(page.iter().map(|seen| seen.image.id));
        }
        assert_eq!(met, own.union(&direct).copied().collect::<Vec<_>>(), "pages of {limit}");
    }
}

/// What this part of the log says after `position`.
async fn told(catalog: &dyn Catalog, audience: UserId, position: i64) -> Vec<Change> {
    catalog.changes_after(0, ALL).await.expect("positions are given");
    catalog.changes_of(audience, position, ALL).await.expect("changes").expect("nothing is pruned")
}

pub(super) async fn those_it_is_shared_with_are_told_of_every_change(fresh: Fresh) {
    use ChangeKind::{Created, Deleted, RenditionChanged, Updated};
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let image = create(&*catalog, png(ada), BEGIN).await;
    share(&*catalog, image.id, &named("bob"), ShareRole::Viewer).await;
    for _ in 0..2 {
        share(&*catalog, image.id, &named("bob"), ShareRole::Editor).await;
    }
    share(&*catalog, image.id, &named("nobody"), ShareRole::Viewer).await;
    let job = claim(&*catalog, image.renditions[0].id, second(1)).await;
    share(&*catalog, image.id, &Party::Everyone, ShareRole::Viewer).await;
    assert_eq!(catalog.complete(&job, &output(&job), &PICTURE, second(2)).await.expect("a commit"), Commit::Done);
    catalog.unshare_image(image.id, &named("bob"), second(3)).await.expect("an answer");
    claim(&*catalog, image.renditions[1].id, second(4)).await;
    share(&*catalog, image.id, &named("bob"), ShareRole::Viewer).await;
    assert!(catalog.delete_image(image.id, second(5)).await.expect("an answer"));

    for (audience, viewer, expected) in [
        (ada, None, vec![Created, RenditionChanged, RenditionChanged, RenditionChanged, Deleted]),
        (bob, Some(bob), vec![Created, Updated, RenditionChanged, RenditionChanged, Deleted, Created, Deleted]),
        (Party::EVERYONE, Some(Party::EVERYONE), vec![Created, RenditionChanged, RenditionChanged, Deleted]),
    ] {
        let changes = told(&*catalog, audience, 0).await;
        assert_eq!(changes.iter().map(|change| change.kind).collect::<Vec<_>>(), expected, "{audience}");
        assert!(changes.iter().all(|change| change.viewer == viewer && change.owner == ada && change.image == image.id));
        assert!(changes.is_sorted_by(|a, b| a.position < b.position));
    }
    let ready =
        |changes: &[Change]| changes.iter().filter_map(|change| change.rendition).find(|moved| moved.state == RenditionState::Ready);
    let [for_owner, for_viewer] = [told(&*catalog, ada, 0).await, told(&*catalog, bob, 0).await].map(|changes| ready(&changes));
    assert!(for_owner.is_some_and(|moved| moved.id == job.rendition));
    assert_eq!(for_owner, for_viewer);
}

/// Whoever is told of a share and then looks either sees what changed, or is told of it later.
pub(super) async fn no_change_falls_between_a_share_and_its_news(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    for _ in 0..40 {
        let image = create(&*catalog, png(ada), BEGIN).await;
        let job = claim(&*catalog, image.renditions[0].id, BEGIN).await;
        let begin = catalog.last_position().await.expect("a position");
        let follower = tokio::spawn({
            let (catalog, id) = (catalog.clone(), image.id);
            async move {
                while told(&*catalog, bob, begin).await.is_empty() {
                    tokio::task::yield_now().await;
                }
                catalog.seen_images(bob, &[id]).await.expect("an answer").pop().expect("it is shared").image
            }
        });
        at_once(2, |index| {
            let (catalog, job, id) = (catalog.clone(), job.clone(), image.id);
            async move {
                if index == 0 {
                    share(&*catalog, id, &named("bob"), ShareRole::Viewer).await;
                } else {
                    assert_eq!(catalog.complete(&job, &output(&job), &PICTURE, BEGIN).await.expect("a commit"), Commit::Done);
                }
            }
        })
        .await;
        let seen = follower.await.expect("no panic");
        let changes = told(&*catalog, bob, begin).await;
        let moved = |change: &Change| change.rendition.is_some_and(|moved| moved.state == RenditionState::Ready);
        let state = seen.renditions.iter().find(|rendition| rendition.id == job.rendition).expect("it has it").state;
        assert!(state == RenditionState::Ready || changes.iter().any(moved), "{state:?}, and then {changes:?}");
    }
}
