use super::support::{BEGIN, Fresh, at_once, create, owned, png, second, user};
use crate::{BlobKey, Created, Format, Image, ImageId, NewImage, RenditionId, RenditionState};

pub(super) async fn an_image_reads_back_as_created(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let new = png(owner);
    let image = create(&*catalog, new.clone(), second(3)).await;

    assert!(image.id.0 >= 1);
    assert_eq!((image.owner, image.file_name.as_str(), image.header), (owner, new.file_name.as_str(), new.header));
    assert_eq!((image.size_bytes, image.sha256), (new.original.digest.size_bytes, new.original.digest.sha256));
    assert_eq!((&image.blob, image.created_at), (&new.original.key, second(3)));
    assert_eq!(image.renditions.iter().map(|rendition| rendition.format).collect::<Vec<_>>(), new.renditions);
    assert!(image.renditions.is_sorted_by_key(|rendition| rendition.id));
    for rendition in &image.renditions {
        assert_eq!((rendition.image, rendition.state, rendition.attempt), (image.id, RenditionState::Pending, 0));
        assert_eq!((&rendition.output, &rendition.failure, rendition.finished_at), (&None, &None, None));
        assert_eq!(rendition.created_at, second(3));
        assert_eq!(catalog.rendition(rendition.id).await.expect("an answer").as_ref(), Some(rendition));
    }
    assert_eq!(catalog.image(image.id).await.expect("an answer"), Some(image));
    assert_eq!(catalog.blob(&new.original.key).await.expect("an answer"), Some(new.original));
}

pub(super) async fn an_image_may_have_no_renditions(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, NewImage { renditions: Vec::new(), ..png(owner) }, BEGIN).await;
    assert_eq!(image.renditions, []);
    assert_eq!(catalog.image(image.id).await.expect("an answer"), Some(image));
}

pub(super) async fn ids_are_never_given_twice(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let first = create(&*catalog, png(owner), BEGIN).await;
    assert!(catalog.delete_image(first.id, BEGIN).await.expect("an answer"));
    let second = create(&*catalog, png(owner), BEGIN).await;
    assert!(second.id > first.id);
    assert!(second.renditions[0].id > first.renditions[1].id);
}

pub(super) async fn what_is_not_there_is_none(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    for id in [i64::MIN, -1, 0, 1, i64::MAX] {
        assert_eq!(catalog.image(ImageId(id)).await.expect("an answer"), None);
        assert_eq!(catalog.rendition(RenditionId(id)).await.expect("an answer"), None);
        assert!(!catalog.delete_image(ImageId(id), BEGIN).await.expect("an answer"));
    }
    assert_eq!(catalog.blob(&BlobKey::original(owner, Format::Png)).await.expect("an answer"), None);
    assert_eq!(catalog.image_by_request(owner, "never").await.expect("an answer"), None);
    assert_eq!(catalog.image_by_request(owner, "\0").await.expect("an answer"), None);
}

pub(super) async fn many_images_are_read_at_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    let (ada, bob) = (user(&*catalog, "ada").await, user(&*catalog, "bob").await);
    let mut made = Vec::new();
    for owner in [ada, bob, ada] {
        made.push(create(&*catalog, png(owner), BEGIN).await);
    }
    let ids = [made[2].id, ImageId(i64::MAX), made[0].id, made[1].id, made[0].id];
    assert_eq!(catalog.images(&ids).await.expect("images"), made);
    assert_eq!(catalog.images(&[ImageId(-1)]).await.expect("images"), []);
    assert_eq!(catalog.images(&[]).await.expect("images"), []);
}

pub(super) async fn a_repeated_request_returns_the_first_image_and_writes_nothing(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let new = || NewImage { request_id: Some("upload 1".to_owned()), ..png(owner) };
    let first = create(&*catalog, new(), BEGIN).await;
    let position = catalog.last_position().await.expect("a position");

    let other = NewImage { file_name: "another.png".to_owned(), ..new() };
    let repeated = catalog.create_image(other.clone(), second(9)).await.expect("a repeat");
    assert_eq!(repeated, Created::Repeated(Some(first.clone())));
    assert_eq!(catalog.image_by_request(owner, "upload 1").await.expect("an answer"), Some(Some(first.clone())));
    assert_eq!(catalog.blob(&other.original.key).await.expect("an answer"), None);
    assert_eq!(catalog.last_position().await.expect("a position"), position);

    // The very same once more, as after an answer that got lost.
    let same = NewImage { original: catalog.blob(&first.blob).await.expect("an answer").expect("its blob"), ..new() };
    assert_eq!(catalog.create_image(same, second(9)).await.expect("a repeat"), Created::Repeated(Some(first)));
}

pub(super) async fn a_request_id_is_its_owners_own(fresh: Fresh) {
    let catalog = fresh.catalog;
    let mut made = Vec::new();
    for name in ["ada", "bob"] {
        let owner = user(&*catalog, name).await;
        made.push(create(&*catalog, NewImage { request_id: Some("same".to_owned()), ..png(owner) }, BEGIN).await.id);
    }
    assert_ne!(made[0], made[1]);
}

pub(super) async fn of_concurrent_requests_one_makes_the_image(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let results = at_once(16, |_| {
        let catalog = catalog.clone();
        let new = NewImage { request_id: Some("raced".to_owned()), ..png(owner) };
        async move { catalog.create_image(new, BEGIN).await.expect("an image") }
    })
    .await;
    let made: Vec<&Image> =
        results.iter().filter_map(|created| if let Created::New(image) = created { Some(image) } else { None }).collect();
    assert_eq!(made.len(), 1);
    for result in &results {
        if let Created::Repeated(image) = result {
            assert_eq!(image.as_ref(), Some(made[0]));
        }
    }
    let listed = owned(&*catalog, owner).await;
    assert_eq!(listed, [made[0].clone()]);
}

pub(super) async fn a_repeated_request_after_deletion_makes_nothing(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let new = || NewImage { request_id: Some("gone".to_owned()), ..png(owner) };
    let first = create(&*catalog, new(), BEGIN).await;
    assert!(catalog.delete_image(first.id, BEGIN).await.expect("an answer"));
    assert_eq!(catalog.create_image(new(), second(1)).await.expect("a repeat"), Created::Repeated(None));
    assert_eq!(catalog.image_by_request(owner, "gone").await.expect("an answer"), Some(None));
}

pub(super) async fn abandoned_calls_leave_nothing_half_done(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    for patience in 0..60 {
        // A caller that goes away at any point of the call, as one does whose client hangs up.
        tokio::select! {
            biased;
            created = catalog.create_image(png(owner), BEGIN) => assert!(created.is_ok()),
            () = async { for _ in 0..patience * patience { tokio::task::yield_now().await } } => {}
        }
        tokio::select! {
            biased;
            changes = catalog.changes_after(0, 1) => assert!(changes.is_ok()),
            () = async { for _ in 0..patience * patience { tokio::task::yield_now().await } } => {}
        }
    }
    let last = create(&*catalog, png(owner), BEGIN).await;
    let images = owned(&*catalog, owner).await;
    // While an abandoned call still lets go of the log, the newest changes may be out of sight.
    let changes = loop {
        let changes = catalog.changes_after(0, 1000).await.expect("changes");
        if changes.len() >= images.len() {
            break changes;
        }
    };
    assert_eq!(images.first(), Some(&last));
    assert!(images.iter().all(|image| image.renditions.len() == 2));
    let mut logged: Vec<ImageId> = changes.iter().map(|change| change.image).collect();
    logged.sort_unstable_by(|a, b| b.cmp(a));
    assert_eq!(logged, images.iter().map(|image| image.id).collect::<Vec<_>>());
}
