//! Pages: complete, disjoint, in order, and nobody else's.

use std::collections::HashSet;

use tintype_proto::v1::{Image, ImageFilter, ImageFormat, ListImagesRequest, RenditionState};
use tintype_tests::{Client, Refused, Tintype, Upload, pictures};
use tonic::Code;

async fn pages(client: &Client, page_size: i32, filter: Option<ImageFilter>) -> Vec<Vec<Image>> {
    let mut pages = Vec::new();
    let mut page_token = String::new();
    loop {
        let request = ListImagesRequest { page_size, page_token, filter: filter.clone() };
        let page = client.images().list_images(request).await.expect("a page").into_inner();
        pages.push(page.images);
        if page.next_page_token.is_empty() {
            return pages;
        }
        page_token = page.next_page_token;
    }
}

async fn pages_are_complete_and_disjoint(tintype: Tintype) {
    let client = tintype.client().await;
    let files = (0..25_u32).map(|seed| match seed % 3 {
        0 => Upload::new(&format!("{seed}-cat.jpg"), pictures::jpeg(16, 16, seed)),
        _ => Upload::new(&format!("{seed}-Dog.png"), pictures::png(16, 16, seed)),
    });
    let outcomes = client.upload_each(files.collect()).await.expect("the stream ends well");
    let ids: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("an image").id).rev().collect();

    for (page_size, page_count) in [(1, 25), (7, 4), (25, 1), (0, 1)] {
        let pages = pages(&client, page_size, None).await;
        assert_eq!(pages.len(), page_count, "page size {page_size}: no empty page at the end");
        let listed: Vec<_> = pages.iter().flatten().map(|image| image.id).collect();
        assert_eq!(listed, ids, "newest first, each once");
    }
    let listed = |filter| async { pages(&client, 4, Some(filter)).await.concat() };
    let jpegs = listed(ImageFilter { formats: vec![ImageFormat::Jpeg.into()], ..ImageFilter::default() }).await;
    assert_eq!(jpegs.len(), 9);
    assert!(jpegs.iter().all(|image| image.format() == ImageFormat::Jpeg));
    let dogs = listed(ImageFilter { file_name_contains: "Dog".to_owned(), ..ImageFilter::default() }).await;
    assert_eq!(dogs.len(), 16);
    assert_eq!(listed(ImageFilter { file_name_contains: "dog".to_owned(), ..ImageFilter::default() }).await.len(), 0, "cases differ");
    assert_eq!(listed(ImageFilter { file_name_contains: "%".to_owned(), ..ImageFilter::default() }).await.len(), 0, "no pattern");

    for id in &ids {
        client.settled(*id).await;
    }
    let ready = ImageFilter { rendition_states: vec![RenditionState::Ready.into()], ..ImageFilter::default() };
    assert_eq!(listed(ready).await.len(), 25);
    let failed = ImageFilter { rendition_states: vec![RenditionState::Failed.into()], ..ImageFilter::default() };
    assert_eq!(listed(failed).await.len(), 0);
    let middle = client.image(ids[10]).await.expect("it is there").create_time;
    let newer = listed(ImageFilter { created_from: middle, ..ImageFilter::default() }).await;
    let older = listed(ImageFilter { created_before: middle, ..ImageFilter::default() }).await;
    assert_eq!(newer.len() + older.len(), 25, "the two halves are all");
    assert_eq!(newer.iter().chain(&older).map(|image| image.id).collect::<HashSet<_>>().len(), 25);
}

#[tokio::test]
async fn pages_are_complete_and_disjoint_embedded() {
    pages_are_complete_and_disjoint(Tintype::embedded().await).await;
}

#[tokio::test]
async fn pages_are_complete_and_disjoint_in_a_cluster() {
    pages_are_complete_and_disjoint(Tintype::cluster(1).await).await;
}

#[tokio::test]
async fn what_is_uploaded_between_two_pages_moves_nothing() {
    let tintype = Tintype::embedded().await;
    let client = tintype.client().await;
    let upload = |seed| Upload::new("a.png", pictures::png(8, 8, seed));
    let outcomes = client.upload_each((0..6).map(upload).collect()).await.expect("the stream ends well");
    let ids: Vec<_> = outcomes.into_iter().map(|outcome| outcome.expect("an image").id).collect();
    let first = ListImagesRequest { page_size: 3, ..ListImagesRequest::default() };
    let first = client.images().list_images(first).await.expect("a page").into_inner();
    client.upload(upload(7)).await.expect("a newer image");
    let second = ListImagesRequest { page_size: 3, page_token: first.next_page_token, filter: None };
    let second = client.images().list_images(second).await.expect("a page").into_inner();
    let seen: Vec<_> = first.images.iter().chain(&second.images).map(|image| image.id).collect();
    assert_eq!(seen, ids.into_iter().rev().collect::<Vec<_>>());
}

#[tokio::test]
async fn a_page_token_is_only_good_for_its_user_and_its_filter() {
    let tintype = Tintype::embedded().await;
    tintype.add_user("other").await;
    let client = tintype.client().await;
    client.upload_each((0..3).map(|seed| Upload::new("a.png", pictures::png(8, 8, seed))).collect()).await.expect("the stream ends well");
    let first = ListImagesRequest { page_size: 1, ..ListImagesRequest::default() };
    let page_token = client.images().list_images(first).await.expect("a page").into_inner().next_page_token;
    assert!(!page_token.is_empty());

    let filter = Some(ImageFilter { file_name_contains: "a".to_owned(), ..ImageFilter::default() });
    let other_filter = ListImagesRequest { page_size: 1, page_token: page_token.clone(), filter };
    let same = ListImagesRequest { page_size: 1, page_token, filter: None };
    let refused = Refused::from(client.images().list_images(other_filter).await.expect_err("another filter"));
    assert_eq!(refused.kind(), (Code::InvalidArgument, "INVALID_FIELD"));
    let refused = Refused::from(tintype.client_of("other").await.images().list_images(same.clone()).await.expect_err("another user"));
    assert_eq!(refused.kind(), (Code::InvalidArgument, "INVALID_FIELD"));
    client.images().list_images(same).await.expect("it is still good where it belongs");
}
