use futures_util::{StreamExt as _, TryStreamExt as _};
use tintype_client::{Image, Owner, RenditionState};

use crate::{
    args::{Common, Ls, State, Whose},
    output::{image_json, utc},
};

/// Id, file name, state, pixels, bytes, time, then each rendition's file name with its state.
pub(super) async fn run(common: &Common, ls: Ls) -> anyhow::Result<()> {
    let mut list = super::signed_in(common)?.build()?.images().owner(ls.owner.into());
    for format in ls.format {
        list = list.format(format);
    }
    for state in ls.state {
        list = list.rendition_state(state.into());
    }
    if let Some(text) = ls.name {
        list = list.file_name_contains(text);
    }
    for (key, value) in ls.label {
        list = list.label(key, value);
    }
    if let Some(limit) = ls.limit.and_then(|limit| u32::try_from(limit).ok()).filter(|limit| (1..100).contains(limit)) {
        list = list.page_size(limit);
    }
    let mut images = list.stream().take(ls.limit.unwrap_or(usize::MAX));
    while let Some(image) = images.try_next().await? {
        common.output.line(|| line(&image), || image_json(&image))?;
    }
    Ok(())
}

fn line(image: &Image) -> String {
    let renditions = image.renditions.iter().map(|rendition| format!("\t{} {}", rendition.file_name, rendition.state));
    format!(
        "{}\t{}\t{}\t{}x{}\t{}\t{}{}",
        image.id,
        image.file_name,
        image.state(),
        image.width,
        image.height,
        image.size_bytes,
        utc(image.created_at),
        renditions.collect::<String>()
    )
}

impl From<Whose> for Owner {
    fn from(whose: Whose) -> Owner {
        match whose {
            Whose::Me => Owner::Me,
            Whose::Others => Owner::Others,
            Whose::Anyone => Owner::Anyone,
        }
    }
}

impl From<State> for RenditionState {
    fn from(state: State) -> RenditionState {
        match state {
            State::Pending => RenditionState::Pending,
            State::Running => RenditionState::Running,
            State::Ready => RenditionState::Ready,
            State::Failed => RenditionState::Failed,
        }
    }
}
