//! Uploads the files named on the command line on one stream and prints the id of each.
//!
//! `cargo run -p tintype-client --example upload -- cat.png dog.jpeg`

use futures_util::StreamExt as _;
use tintype_client::{Client, Result};

#[tokio::main]
async fn main() -> Result<()> {
    let client = Client::builder("http://127.0.0.1:50051").password("admin", "Admin555").build()?;
    let files: Vec<_> = std::env::args().skip(1).map(|path| client.upload(path.as_str())).collect();

    let mut outcomes = client.upload_many(files);
    while let Some(outcome) = outcomes.next().await {
        match outcome.result {
            Ok(image) => println!("{}: image {}, {} x {} pixels", outcome.file_name, image.id, image.width, image.height),
            Err(error) => eprintln!("{}: {error}", outcome.file_name),
        }
    }
    Ok(())
}
