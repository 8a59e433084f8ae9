use super::support::{BEGIN, Fresh, PICTURE, at_once, claim, create, output, owned, png, second, user};
use crate::{BlobKey, Claim, Commit, Image, ImageId, RecordedBlob, RenditionId, RenditionState, StoredBlob, catalog::Catalog};

/// Makes the first rendition of the image.
async fn make(catalog: &dyn Catalog, image: &Image) -> StoredBlob {
    let job = claim(catalog, image.renditions[0].id, BEGIN).await;
    let output = output(&job);
    assert_eq!(catalog.complete(&job, &output, &PICTURE, BEGIN).await.expect("a commit"), Commit::Done);
    output
}

async fn originals(catalog: &dyn Catalog, after: ImageId, limit: u32) -> Vec<RecordedBlob> {
    catalog.originals_after(after, limit).await.expect("originals")
}

async fn outputs(catalog: &dyn Catalog, after: RenditionId, limit: u32) -> Vec<RecordedBlob> {
    catalog.outputs_after(after, limit).await.expect("outputs")
}

pub(super) async fn every_recorded_blob_is_met_once_and_a_few_at_a_time(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let (mut expected_originals, mut expected_outputs) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let new = png(owner);
        let original = new.original.clone();
        let image = create(&*catalog, new, BEGIN).await;
        expected_originals.push(RecordedBlob { image: image.id, rendition: None, blob: original });
        let blob = make(&*catalog, &image).await;
        expected_outputs.push(RecordedBlob { image: image.id, rendition: Some(image.renditions[0].id), blob });
    }
    let gone = create(&*catalog, png(owner), BEGIN).await;
    make(&*catalog, &gone).await;
    assert!(catalog.delete_image(gone.id, second(1)).await.expect("an answer"));
    for limit in [1, 2, 5, 6] {
        let (mut image, mut rendition) = (ImageId(0), RenditionId(0));
        let (mut seen_originals, mut seen_outputs) = (Vec::new(), Vec::new());
        loop {
            let page = originals(&*catalog, image, limit).await;
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { break };
            image = last.image;
            seen_originals.extend(page);
        }
        while let Some(id) = {
            let page = outputs(&*catalog, rendition, limit).await;
            let last = page.last().and_then(|last| last.rendition);
            seen_outputs.extend(page);
            last
        } {
            rendition = id;
        }
        assert_eq!(seen_originals, expected_originals, "pages of {limit}");
        assert_eq!(seen_outputs, expected_outputs, "pages of {limit}");
    }
}

pub(super) async fn a_remade_rendition_is_pending_and_counts_no_more(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(owner), BEGIN).await;
    let before = catalog.totals().await.expect("totals");
    let output = make(&*catalog, &image).await;
    let position = catalog.last_position().await.expect("a position");
    assert!(catalog.remake(image.renditions[0].id, &output.key, second(9)).await.expect("an answer"));

    let after = catalog.totals().await.expect("totals");
    assert_eq!((after.ready_count, after.rendition_bytes), (before.ready_count, before.rendition_bytes));
    assert_eq!((after.pending_count, after.doomed_blob_count, after.doomed_since), (before.pending_count, 1, Some(second(9))));
    assert_eq!(catalog.user(owner).await.expect("an answer").expect("a user").used_bytes, image.size_bytes);
    let rendition = &owned(&*catalog, owner).await[0].renditions[0];
    assert_eq!((rendition.state, rendition.attempt, &rendition.output, rendition.finished_at), (RenditionState::Pending, 0, &None, None));
    let changes = catalog.changes_after(position, 10).await.expect("changes");
    let states: Vec<_> = changes.iter().filter_map(|change| change.rendition).map(|changed| (changed.id, changed.state)).collect();
    assert_eq!(states, [(rendition.id, RenditionState::Pending)]);

    let job = claim(&*catalog, rendition.id, second(9)).await;
    assert_eq!(catalog.complete(&job, &super::support::output(&job), &PICTURE, second(10)).await.expect("a commit"), Commit::Done);
    assert!(!catalog.remake(rendition.id, &output.key, second(11)).await.expect("an answer"), "it has another output by now");
}

pub(super) async fn only_a_ready_rendition_with_that_output_is_remade_and_once(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let image = create(&*catalog, png(owner), BEGIN).await;
    let output = make(&*catalog, &image).await;
    let (ready, pending) = (image.renditions[0].id, image.renditions[1].id);
    let elsewhere = BlobKey::original(owner, crate::Format::Png);
    let position = catalog.last_position().await.expect("a position");
    for (id, key) in [(ready, &elsewhere), (pending, &output.key), (RenditionId(4_711), &output.key)] {
        assert!(!catalog.remake(id, key, second(1)).await.expect("an answer"), "{id} {key}");
    }
    assert_eq!(catalog.last_position().await.expect("a position"), position, "nothing is written");
    let remade = at_once(8, |_| {
        let (catalog, key) = (catalog.clone(), output.key.clone());
        async move { catalog.remake(ready, &key, second(2)).await.expect("an answer") }
    })
    .await;
    assert_eq!(remade.iter().filter(|remade| **remade).count(), 1);
    assert_eq!(catalog.user(owner).await.expect("an answer").expect("a user").used_bytes, image.size_bytes);
    assert!(matches!(catalog.claim(ready, "worker", super::support::LEASE, second(2)).await.expect("an answer"), Claim::Granted(_)));
}
