use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, anyhow};
use futures_util::StreamExt as _;
use tintype_client::{Client, Error, ErrorKind, Image, ImageState, RetryPolicy, Uploaded};

use super::Tally;
use crate::{
    args::{Common, OutputKind, Upload},
    files,
    output::image_json,
    progress::Bar,
};

/// How many images are waited for at once, while further files are sent.
const WAITS: usize = 64;

pub(super) async fn run(common: &Common, upload: Upload) -> anyhow::Result<ExitCode> {
    // Many files are worth more patience: a server that restarts meanwhile is waited for.
    let client = super::signed_in(common)?.retry(RetryPolicy::default()).build()?;
    let paths = if upload.recursive { files::within(upload.files).context("cannot walk the folders")? } else { upload.files };
    let bar = Bar::of_files(&paths);

    let (sender, reporting) = (client.clone(), bar.clone());
    let uploads = paths.clone().into_iter().map(move |path| {
        let file = sender.upload(path).progress(reporting.reporter());
        upload.label.iter().fold(file, |file, (key, value)| file.label(key, value))
    });
    let settled = |uploaded| settle(&client, uploaded, upload.wait);
    let mut outcomes = client.upload_many(uploads).map(settled).buffered(WAITS);

    let mut tally = Tally::default();
    while let Some((index, file_name, result)) = outcomes.next().await {
        bar.say(format!("{} of {} files", index + 1, paths.len()));
        let result = result.and_then(|image| {
            bar.above(|| print(common.output, &file_name, &image))?;
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

async fn settle(client: &Client, uploaded: Uploaded, wait: bool) -> (usize, String, anyhow::Result<Image>) {
    let result = match uploaded.result {
        Ok(image) if wait => client.wait_ready(image.id).await,
        other => other,
    };
    (uploaded.index, uploaded.file_name, result.map_err(Into::into))
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
