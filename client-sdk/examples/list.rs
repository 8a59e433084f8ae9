//! Lists the images that have a rendition that could not be made, and has each of those tried again.
//!
//! `cargo run -p tintype-client --example list`

use futures_util::TryStreamExt as _;
use tintype_client::{Client, RenditionState, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::builder("http://127.0.0.1:50051").password("admin", "Admin555").build()?;
    let mut images = client.images().rendition_state(RenditionState::Failed).stream();
    while let Some(image) = images.try_next().await? {
        for rendition in image.renditions.iter().filter(|rendition| rendition.state == RenditionState::Failed) {
            let why = rendition.failure.as_ref().map_or("", |failure| failure.message.as_str());
            println!("{} ({}) as {}: {why}", image.file_name, image.id, rendition.format);
            client.retry_rendition(rendition.id).await?;
        }
    }
    Ok(())
}
