use super::support::{Fresh, PICTURE, claim, create, original, output, png, second, user};
use crate::{
    Access, Commit, Failure, FailureReason, Format, Image, ImageFilter, ImageHeader, NewImage, Owners, RenditionState, UserId,
    catalog::Catalog,
};

/// All images, `limit` at a time.
async fn pages(catalog: &dyn Catalog, owner: UserId, filter: &ImageFilter, limit: u32) -> Vec<Image> {
    let mut all: Vec<Image> = Vec::new();
    loop {
        let page = catalog.list_images(owner, filter, all.last().map(|image| image.id), limit).await.expect("a page");
        assert!(page.len() <= limit as usize);
        if page.is_empty() {
            return all;
        }
        assert!(page.iter().all(|seen| seen.access == Access::Owner && seen.named));
        all.extend(page.into_iter().map(|seen| seen.image));
    }
}

pub(super) async fn pages_are_complete_and_disjoint(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    let other = user(&*catalog, "bob").await;
    let mut made = Vec::new();
    for index in 0..23 {
        create(&*catalog, png(other), second(index)).await;
        made.push(create(&*catalog, png(owner), second(index)).await);
    }
    made.reverse();
    for limit in [1, 7, 22, 23, 24, 1000] {
        assert_eq!(pages(&*catalog, owner, &ImageFilter::default(), limit).await, made, "pages of {limit}");
    }
    assert_eq!(catalog.list_images(owner, &ImageFilter::default(), None, 0).await.expect("a page"), []);
    let nobody = user(&*catalog, "eve").await;
    assert_eq!(pages(&*catalog, nobody, &ImageFilter::default(), 10).await, []);
}

/// What the filter says, said once more.
fn matches(filter: &ImageFilter, image: &Image) -> bool {
    let any_state = |image: &Image| image.renditions.iter().any(|rendition| filter.rendition_states.contains(&rendition.state));
    (filter.formats.is_empty() || filter.formats.contains(&image.header.format))
        && (filter.rendition_states.is_empty() || any_state(image))
        && filter.file_name_contains.as_ref().is_none_or(|text| image.file_name.contains(text))
        && filter.created_from.is_none_or(|from| image.created_at >= from)
        && filter.created_before.is_none_or(|before| image.created_at < before)
        && filter.labels.iter().all(|(key, value)| image.labels.get(key) == Some(value))
}

fn owned((key, value): (&str, &str)) -> (String, String) {
    (key.to_owned(), value.to_owned())
}

/// Twenty-four images of four formats and four names, a second apart; their first renditions are in each of the states in turn.
async fn gallery(catalog: &dyn Catalog, owner: UserId) {
    let formats = [Format::Png, Format::Jpeg, Format::Gif];
    let names = ["cat.png", "Cat%_\\.png", "a ca't.png", "Grüße.png"];
    let labels = [&[][..], &[("kind", "cat")], &[("kind", "cat"), ("it's", "\"so\"")], &[("kind", "dog"), ("cat", "")]];
    for index in 0..24_usize {
        let format = formats[index % formats.len()];
        let new = NewImage {
            file_name: names[index / 2 % names.len()].to_owned(),
            labels: labels[index / 3 % labels.len()].iter().copied().map(owned).collect(),
            header: ImageHeader { format, width: 10, height: 10, frame_count: 1 },
            original: original(owner, format),
            renditions: if index == 5 { Vec::new() } else { vec![Format::WebP, Format::Bmp] },
            ..png(owner)
        };
        let image = create(catalog, new, second(index as u64)).await;
        let Some(rendition) = image.renditions.first() else { continue };
        let now = second(30);
        match RenditionState::ALL[index % 4] {
            RenditionState::Pending => {}
            RenditionState::Running => {
                claim(catalog, rendition.id, now).await;
            }
            RenditionState::Ready => {
                let job = claim(catalog, rendition.id, now).await;
                assert_eq!(catalog.complete(&job, &output(&job), &PICTURE, now).await.expect("a commit"), Commit::Done);
            }
            RenditionState::Failed => {
                let job = claim(catalog, rendition.id, now).await;
                let failure = Failure { reason: FailureReason::CorruptInput, message: "broken".to_owned() };
                assert_eq!(catalog.fail(&job, &failure, now).await.expect("a commit"), Commit::Done);
            }
            RenditionState::Unknown => unreachable!("it is none of those that are known"),
        }
    }
}

pub(super) async fn filters_show_exactly_what_matches(fresh: Fresh) {
    let catalog = fresh.catalog;
    let owner = user(&*catalog, "ada").await;
    gallery(&*catalog, owner).await;
    let all = pages(&*catalog, owner, &ImageFilter::default(), 1000).await;
    assert_eq!(all.len(), 24);

    let format_choices = [vec![], vec![Format::Png], vec![Format::Gif, Format::Jpeg], vec![Format::Avif]];
    let state_choices =
        [vec![], vec![RenditionState::Pending], vec![RenditionState::Ready, RenditionState::Running], vec![RenditionState::Failed]];
    let name_choices = [None, Some("cat"), Some("%_\\"), Some("'"), Some("üß"), Some("\0")];
    let time_choices = [(None, None), (Some(second(6)), None), (None, Some(second(20))), (Some(second(6)), Some(second(7)))];
    let label_choices =
        [&[][..], &[("kind", "cat")], &[("it's", "\"so\""), ("kind", "cat")], &[("cat", "")], &[("kind", "")], &[("kind", "\0")]];
    for formats in &format_choices {
        for states in &state_choices {
            for name in name_choices {
                for ((created_from, created_before), labels) in
                    time_choices.into_iter().flat_map(|time| label_choices.map(|labels| (time, labels)))
                {
                    let filter = ImageFilter {
                        owners: Owners::Mine,
                        formats: formats.clone(),
                        rendition_states: states.clone(),
                        file_name_contains: name.map(str::to_owned),
                        created_from,
                        created_before,
                        labels: labels.iter().copied().map(owned).collect(),
                    };
                    let expected: Vec<Image> = all.iter().filter(|image| matches(&filter, image)).cloned().collect();
                    assert_eq!(pages(&*catalog, owner, &filter, 4).await, expected, "{filter:?}");
                }
            }
        }
    }
}
