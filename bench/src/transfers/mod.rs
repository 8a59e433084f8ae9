//! How near uploads and downloads come to what the disk and the transport allow, and what memory many uploads take.

pub(crate) mod bare;

use std::{
    fs::{self, File},
    io::{Seek, SeekFrom, Write},
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::future::try_join_all;
use tintype_proto::v1::{DeleteImageRequest, DownloadImageRequest, DownloadImageResponse, download_image_response::Message};
use tintype_tests::{Client, Program, Refused, Tintype, Upload, pictures};
use tonic::Streaming;

use crate::report::{Figure, Line, Report, Target};

/// As the server sends them.
const CHUNK_BYTES: usize = 256 << 10;
/// Of the speed of what is under it.
const LEAST_PART: f64 = 0.7;
const UPLOADS_AT_ONCE: usize = 32;
const MOST_MEMORY_MEBIBYTES: f64 = 96.0;

/// How often to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// How often each transfer is measured.
    #[arg(long, default_value_t = 21, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    // A BMP gets no other format than its own: nothing is converted meanwhile.
    let tintype = Tintype::embedded_with(&[("TINTYPE_AUTO_FORMATS", "bmp"), ("TINTYPE_LOG", "warn")]).await;
    let client = tintype.client().await;
    // As large as a file may be, and nothing that a file system could store in less.
    let file = Bytes::from(pictures::bmp(4_096, 4_264, 1));
    let mut report = Report::default();
    report.0.push(upload(&client, &tintype.blobs(), &file, args.rounds).await?);
    report.0.extend(download(&client, &tintype.grpc_url, &file, args.rounds).await?);
    report.0.push(memory(&tintype, &file).await?);
    Ok(report)
}

async fn upload(client: &Client, folder: &Path, file: &Bytes, rounds: u32) -> anyhow::Result<Line> {
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    for round in 0..=rounds {
        for turn in 0..2 {
            if (turn + round) % 2 == 0 {
                let begin = Instant::now();
                let image = client.upload(Upload::new("photo.bmp", file.clone())).await.map_err(refused)?;
                keep(&mut ours, round, begin.elapsed());
                client.images().delete_image(DeleteImageRequest { id: image.id }).await?;
            } else {
                let (path, file) = (folder.join(format!("bare-{round}")), file.clone());
                keep(&mut bare, round, tokio::task::spawn_blocking(move || write_and_sync(&path, &file)).await??);
            }
        }
    }
    let what = format!("durable upload, one stream of {}", mebibytes(file.len()));
    let peer = ("write and fsync", Figure::median(bare));
    Ok(Line::faster(what, Figure::median(ours), peer, Some(Target::AtLeast(LEAST_PART))).beside("each file is deleted again"))
}

/// What any durable store has to do: the file, and its name.
fn write_and_sync(path: &Path, bytes: &[u8]) -> anyhow::Result<Duration> {
    let folder = File::open(path.parent().expect("a file is in a folder"))?;
    let begin = Instant::now();
    let mut file = File::create_new(path)?;
    for chunk in bytes.chunks(CHUNK_BYTES) {
        file.write_all(chunk)?;
    }
    file.sync_all()?;
    folder.sync_all()?;
    let taken = begin.elapsed();
    anyhow::ensure!(file.seek(SeekFrom::End(0))? == bytes.len() as u64);
    fs::remove_file(path)?;
    Ok(taken)
}

async fn download(client: &Client, url: &str, file: &Bytes, rounds: u32) -> anyhow::Result<[Line; 2]> {
    let image = client.upload(Upload::new("photo.bmp", file.clone())).await.map_err(refused)?;
    let request = DownloadImageRequest { image_id: image.id, format: image.format, ..DownloadImageRequest::default() };
    let mut bare_server = Program::own("tintype-bench", &["bare", &file.len().to_string()], [("PATH", "")]);
    let mut bare_client =
        bare::Client::connect(bare_server.line(|line| line.starts_with("http://").then(|| line.to_owned())).await).await?;
    let library = tintype_client::Client::builder(url).token(client.token.clone().unwrap_or_default()).build()?;
    let [mut ours, mut checked, mut bare] = [Vec::new(), Vec::new(), Vec::new()];
    for round in 0..=rounds {
        for turn in 0..3 {
            let begin = Instant::now();
            let (size, into) = match (turn + round) % 3 {
                0 => (received(client.images().download_image(request.clone()).await?.into_inner()).await?, &mut ours),
                1 => (library.download(image.id).format(tintype_client::Format::Bmp).bytes().await?.len(), &mut checked),
                _ => (received(bare_client.download().await?).await?, &mut bare),
            };
            keep(into, round, begin.elapsed());
            anyhow::ensure!(size == file.len(), "{size} bytes came");
        }
    }
    let bare = ("a bare tonic stream", Figure::median(bare));
    let what = format!("download, one stream of {}", mebibytes(file.len()));
    let ours = Line::faster(what.clone(), Figure::median(ours), bare, Some(Target::AtLeast(LEAST_PART)));
    let checked = Line::faster(format!("{what}, by the client library"), Figure::median(checked), bare, None);
    Ok([ours, checked.beside("checks the SHA-256 and gathers the bytes")])
}

async fn received(mut stream: Streaming<DownloadImageResponse>) -> anyhow::Result<usize> {
    let mut size = 0;
    while let Some(message) = stream.message().await? {
        if let Some(Message::Chunk(chunk)) = message.message {
            size += chunk.data.len();
        }
    }
    Ok(size)
}

async fn memory(tintype: &Tintype, file: &Bytes) -> anyhow::Result<Line> {
    let token = tintype.client().await.token;
    let uploads = (0..UPLOADS_AT_ONCE).map(|number| {
        let (token, file) = (token.clone(), file.clone());
        async move {
            // Connections of their own: each comes with its own windows.
            let mut client = tintype.stranger().await;
            client.token = token;
            client.upload(Upload::new(&format!("{number}.bmp"), file)).await.map_err(refused)
        }
    });
    try_join_all(uploads).await?;
    let peak = tintype.server.as_ref().expect("it runs").peak_memory_bytes();
    let what = format!("peak memory of the server, {UPLOADS_AT_ONCE} uploads of {} at once", mebibytes(file.len()));
    Ok(Line::alone(what, Figure::of(peak as f64 / f64::from(1 << 20), "MiB"), Some(Target::AtMost(MOST_MEMORY_MEBIBYTES))))
}

/// The first round warms up.
fn keep(durations: &mut Vec<Duration>, round: u32, duration: Duration) {
    if round > 0 {
        durations.push(duration);
    }
}

fn mebibytes(bytes: usize) -> String {
    format!("{} MiB", bytes >> 20)
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(crate) fn refused(refused: Refused) -> anyhow::Error {
    anyhow::anyhow!("{:?} {}: {}", refused.code, refused.reason, refused.message)
}
