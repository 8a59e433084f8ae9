use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use anyhow::{Context as _, anyhow};
use futures_util::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use tintype_client::{Client, Code, Error, ErrorKind, Image, ImageState, RetryPolicy, Upload, UploadProgress, Uploaded};

use super::Tally;
use crate::{
    args::{self, Common, OutputKind},
    files,
    output::image_json,
    progress::Bar,
    unfinished::{Entry, Unfinished},
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

    // A signed URL is for all of a file at once.
    let resumable = if upload.direct { &[][..] } else { &paths };
    let notes = Notes::of(&client, common, resumable).await;
    let (sender, noting, reporting) = (client.clone(), notes.clone(), bar.clone());
    let uploads = paths.clone().into_iter().enumerate().map(move |(index, path)| {
        let report = reporting.reporter();
        let file = match noting.begin(index, &path) {
            None => sender.upload(path).progress(report),
            Some((upload_id, is_old)) => {
                let tell = going_on(path.clone(), is_old, reporting.clone());
                let both = move |at| {
                    report(at);
                    tell(at);
                };
                sender.upload(path).request_id(upload_id).progress(both)
            }
        };
        upload.label.iter().fold(file, |file, (key, value)| file.label(key, value))
    });
    let uploaded = if upload.direct {
        directly(&client, uploads)
    } else {
        client.upload_many(uploads).inspect(move |uploaded| notes.ended(uploaded)).map(|uploaded| uploaded.result).boxed()
    };
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

/// Tells once from where the upload of an earlier run goes on.
fn going_on(path: PathBuf, is_old: bool, bar: Bar) -> impl Fn(UploadProgress) + Send + Sync + 'static {
    let told = AtomicBool::new(!is_old);
    move |at| {
        if at.resumed_bytes > 0 && !told.swap(true, Ordering::Relaxed) {
            let total = at.total_bytes.map(|bytes| format!(" of {bytes}")).unwrap_or_default();
            bar.above(|| eprintln!("tintype: {}: goes on from byte {}{total}", path.display(), at.resumed_bytes));
        }
    }
}

/// The uploads of this run that another one could go on with. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
struct Notes {
    /// `None` where nothing can be noted, or nothing is worth it.
    unfinished: Option<Unfinished>,
    /// By the file's place among all.
    entries: Arc<Mutex<HashMap<usize, Entry>>>,
}

impl Notes {
    async fn of(client: &Client, common: &Common, paths: &[PathBuf]) -> Notes {
        // Whatever stands in the way of this, the uploads will tell.
        let user = if paths.iter().any(|path| Unfinished::is_large(path)) { client.current_user().await.ok() } else { None };
        let unfinished = user.and_then(|user| Unfinished::of_user(&common.server, &user.user_name).ok());
        Notes { unfinished, entries: Arc::default() }
    }

    /// The name of the upload, and whether an earlier run began it.
    fn begin(&self, index: usize, path: &Path) -> Option<(String, bool)> {
        let entry = self.unfinished.as_ref()?.begin(path)?;
        let begun = (entry.upload_id.clone(), entry.is_old);
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(index, entry);
        Some(begun)
    }

    /// Forgets an upload of which nothing is left to go on with.
    fn ended(&self, uploaded: &Uploaded) {
        let entry = self.entries.lock().unwrap_or_else(PoisonError::into_inner).remove(&uploaded.index);
        let is_over = match &uploaded.result {
            Ok(_) => true,
            Err(error) => matches!(error.code(), Some(Code::InvalidArgument | Code::NotFound)),
        };
        if let Some(entry) = entry.filter(|_| is_over) {
            entry.forget();
        }
    }
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
