use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, anyhow};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tintype_client::{Client, Error, ErrorKind, Image, ImageState, RetryPolicy, Upload};

use super::Tally;
use crate::{
    args::{self, Common, OutputKind},
    files,
    output::image_json,
    progress::Bar,
};

/// How many images are waited for at once, while further files are sent.
const WAITS: usize = 64;
/// How many files are sent at once by signed URLs, each on a connection of its own.
const DIRECT_AT_ONCE: usize = 4;

pub(super) async fn run(common: &Common, upload: args::Upload) -> anyhow::Result<ExitCode> {
    // Many files are worth more patience: a server that restarts meanwhile is waited for.
    let client = super::signed_in(common)?.retry(RetryPolicy::default()).build()?;
    let paths = if upload.recursive { files::within(upload.files).context("cannot walk the folders")? } else { upload.files };
    let bar = Bar::of_files(&paths);

    let (sender, reporting) = (client.clone(), bar.clone());
    let uploads = paths.clone().into_iter().map(move |path| {
        let file = sender.upload(path).progress(reporting.reporter());
        upload.label.iter().fold(file, |file, (key, value)| file.label(key, value))
    });
    let uploaded =
        if upload.direct { directly(&client, uploads) } else { client.upload_many(uploads).map(|uploaded| uploaded.result).boxed() };
    let settled = |(index, result)| settle(&client, index, result, upload.wait);
    let mut outcomes = uploaded.enumerate().map(settled).buffered(WAITS);

    let mut tally = Tally::default();
    while let Some((index, result)) = outcomes.next().await {
        bar.say(format!("{} of {} files", index + 1, paths.len()));
        let result = result.and_then(|image| {
            bar.above(|| print(common.output, &base_name(&paths[index]), &image))?;
            if upload.wait && image.state() == ImageState::Failed { Err(failure(&image)) } else { Ok(()) }
        });
        let counted = bar.above(|| tally.count(result.map_err(|error| about(&paths[index], error))));
        if let Err(error) = counted {
            bar.finish();
            let left = paths.len() - index - 1;
            return Err(if left > 0 { error.context(format!("given up with {left} more files to go")) } else { error });
        }
    }
    bar.finish();
    Ok(tally.exit_code())
}

/// Sends files by signed URLs, a few at a time, and tells of them in their order.
fn directly(client: &Client, uploads: impl Iterator<Item = Upload> + Send + 'static) -> BoxStream<'static, Result<Image, Error>> {
    let client = client.clone();
    let sent = stream::iter(uploads).map(move |upload| {
        let client = client.clone();
        async move { client.upload_direct(upload).await }
    });
    sent.buffered(DIRECT_AT_ONCE).boxed()
}

async fn settle(client: &Client, index: usize, result: Result<Image, Error>, wait: bool) -> (usize, anyhow::Result<Image>) {
    let result = match result {
        Ok(image) if wait => client.wait_ready(image.id).await,
        other => other,
    };
    (index, result.map_err(Into::into))
}

fn base_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn print(output: OutputKind, base_name: &str, image: &Image) -> anyhow::Result<()> {
    output.line(|| format!("{}\t{base_name}\t{}", image.id, image.state()), || image_json(image))
}

/// Names the file, unless the error does so itself.
fn about(path: &Path, error: anyhow::Error) -> anyhow::Error {
    match error.downcast_ref::<Error>().map(Error::kind) {
        Some(ErrorKind::Local) => error,
        _ => error.context(path.display().to_string()),
    }
}

/// The image is stored, but not all that was waited for came.
fn failure(image: &Image) -> anyhow::Error {
    let failed = image.renditions.iter().find_map(|rendition| Some((rendition, rendition.failure.as_ref()?)));
    match failed {
        Some((rendition, failure)) => anyhow!("stored, but its {} could not be made: {}", rendition.format, failure.message),
        None => anyhow!("stored, but a rendition could not be made"),
    }
}
