//! Tells what happens to the user's images. Ends with an error when the server stays away.
//!
//! `cargo run -p tintype-client --example watch`

use tintype_client::{Client, Event, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::builder("http://127.0.0.1:50051").password("admin", "Admin555").build()?;
    let mut watching = client.watch().start();
    loop {
        match watching.next().await? {
            Event::Existing(image) => println!("{} {} is {}", image.id, image.file_name, image.state()),
            Event::Created { image, .. } => println!("{} {} was uploaded", image.id, image.file_name),
            Event::RenditionChanged { image, rendition_id, state, .. } => println!("{} rendition {rendition_id} is {state}", image.id),
            Event::Deleted { image_id, .. } => println!("{image_id} was deleted"),
            _ => {}
        }
    }
}
