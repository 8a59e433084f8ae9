//! Uploads an image, waits for its JPEG and saves it.
//!
//! `cargo run -p tintype-client --example download -- cat.png cat.jpeg`

use std::{error::Error, time::Duration};

use tintype_client::{Client, Format};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let paths: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = paths.as_slice() else { return Err("give the image to upload and the file to write".into()) };

    let client = Client::builder("http://127.0.0.1:50051").password("admin", "Admin555").build()?;
    let image = client.upload(from.as_str()).progress(|at| eprint!("\r{} bytes sent", at.sent_bytes)).send().await?;
    let saving = client.download(image.id).format(Format::Jpeg).wait().to_path(to);
    let info = timeout(Duration::from_mins(1), saving).await??;
    println!("\n{to}: {} x {} pixels, {} bytes", info.width, info.height, info.size_bytes);
    Ok(())
}
