use anyhow::bail;
use tintype_client::{Client, Rendition, RenditionState};

use crate::{
    args::Common,
    edit_args::Render,
    output::{rendition_json, rendition_line},
};

pub(super) async fn run(common: &Common, render: Render) -> anyhow::Result<()> {
    let client = super::signed_in(common)?.build()?;
    let request = render.spec.apply(client.create_rendition(render.id, render.format));
    let mut rendition = request.send().await?;
    if render.wait {
        rendition = settled(&client, rendition).await?;
    }
    common.output.line(|| rendition_line(&rendition), || rendition_json(&rendition))?;
    match rendition.failure {
        Some(failure) if rendition.state == RenditionState::Failed && render.wait => {
            bail!("the {} of image {} could not be made: {}: {}", rendition.spec, rendition.image_id, failure.reason, failure.message)
        }
        _ => Ok(()),
    }
}

/// The rendition once it is ready or has failed.
async fn settled(client: &Client, rendition: Rendition) -> anyhow::Result<Rendition> {
    let mut watching = client.watch().image(rendition.image_id).start();
    loop {
        let event = watching.next().await?;
        let renditions = event.image().map(|image| &image.renditions);
        if let Some(found) = renditions.and_then(|all| all.iter().find(|one| one.id == rendition.id && one.state.is_final())) {
            return Ok(found.clone());
        }
        if event.image().is_none() {
            // The refusal of what is not there any more; otherwise there is more to come.
            client.image(rendition.image_id).await?;
        }
    }
}
