//! From upload to ready: what the whole service adds to bare conversions, embedded and as a cluster.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Context;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use image::DynamicImage;
use nix::{
    time::{ClockId, clock_getcpuclockid, clock_gettime},
    unistd::Pid,
};
use tintype_proto::v1::{RenditionState, upload_images_response::Message};
use tintype_store::{ConversionLimits, Format, Spec, header::read_header};
use tintype_tests::{Client, Program, Tintype, Told, Upload, Watcher};
use tintype_worker::convert::convert;

use crate::{
    conversions::photos::Photos,
    report::{Figure, Line, Report, Target},
    transfers::refused,
};

const LEAST_THROUGHPUT: f64 = 0.75;
/// CPU time that the service may add to a conversion, in milliseconds an image.
const MOST_ADDED_EMBEDDED: f64 = 15.0;
const MOST_ADDED_CLUSTER: f64 = 20.0;
const UPLOADS_AT_ONCE: usize = 8;
const WORKERS: usize = 2;
/// Two megapixels, as photos for the web have.
const SIDES: (u32, u32) = (1_734, 1_156);

/// What to upload.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder of JPEG photos, of which the inputs are put together; without one they are invented.
    #[arg(long, env = "TINTYPE_CORPUS", value_name = "FOLDER")]
    photos: Option<std::path::PathBuf>,
    /// How many photos, half of them PNG and half of them JPEG.
    #[arg(long, default_value_t = 200, value_name = "N", value_parser = clap::value_parser!(u32).range(2..))]
    count: u32,
    /// How often all of it is done; the middle one counts.
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
}

/// All of it done once.
#[derive(Debug, Clone, Copy)]
struct Run {
    wall: Duration,
    cpu: Duration,
}

/// How long images took, from the last byte that was sent.
#[derive(Debug, Default)]
struct Latencies {
    to_done: Vec<Duration>,
    to_ready: Vec<Duration>,
}

pub(crate) async fn run(args: &Args) -> anyhow::Result<Report> {
    let photos = Photos::open(args.photos.as_deref())?;
    let files: Vec<Bytes> = (0..args.count).map(|number| file(&photos, number)).collect::<anyhow::Result<_>>()?;
    let mut runs: [Vec<Run>; 3] = Default::default();
    let mut latencies: [Latencies; 2] = Default::default();
    for round in 0..args.rounds {
        // In turns, so that whatever else the machine does meets all of them alike.
        for turn in 0..3 {
            let which = (turn + round as usize) % 3;
            runs[which].push(match which {
                0 => bare(&files)?,
                1 => service(Tintype::embedded().await, &files, &mut latencies[0]).await?,
                _ => service(Tintype::cluster(WORKERS).await, &files, &mut latencies[1]).await?,
            });
        }
    }
    let middle = |which: usize| {
        let mut sorted = runs[which].clone();
        sorted.sort_by_key(|run| run.wall);
        sorted[sorted.len() / 2]
    };
    let [bare, embedded, cluster] = [0, 1, 2].map(middle);
    let count = f64::from(args.count);
    let mut report = Report::default();
    let names = ["embedded".to_owned(), format!("PostgreSQL, NATS, {WORKERS} workers")];
    let targets = [(Some(LEAST_THROUGHPUT), MOST_ADDED_EMBEDDED), (None, MOST_ADDED_CLUSTER)];
    for (((run, name), (least, most_added)), latencies) in [embedded, cluster].into_iter().zip(names).zip(targets).zip(latencies) {
        let seconds = |run: Run| Figure::of(run.wall.as_secs_f64(), "s");
        let what = format!("{} photos of 2 MP until all are ready, {name}", args.count);
        let bare_runs = ("the bare conversions on all cores", seconds(bare));
        report.0.push(Line::faster(what.clone(), seconds(run), bare_runs, least.map(Target::AtLeast)));
        let added = Figure::of((run.cpu.as_secs_f64() - bare.cpu.as_secs_f64()) * 1e3 / count, "ms");
        let beside = format!("{:.1} ms with the conversion, which is {:.1} ms", per_image(run, count), per_image(bare, count));
        report.0.push(Line::alone(format!("{what}: CPU added an image"), added, Some(Target::AtMost(most_added))).beside(beside));
        for (what_for, durations) in [("`done`", latencies.to_done), ("READY", latencies.to_ready)] {
            let what = format!("{what}: last byte to {what_for}, p50");
            let p99 = format!("p99 {:.1} ms, {UPLOADS_AT_ONCE} uploads at once", percentile_99(&durations).as_secs_f64() * 1e3);
            report.0.push(Line::alone(what, Figure::median(durations), None).beside(p99));
        }
    }
    Ok(report)
}

fn per_image(run: Run, count: f64) -> f64 {
    run.cpu.as_secs_f64() * 1e3 / count
}

fn percentile_99(durations: &[Duration]) -> Duration {
    let mut sorted = durations.to_vec();
    sorted.sort_unstable();
    sorted[(sorted.len() - 1) * 99 / 100]
}

/// Each its own photo; every other one a PNG.
fn file(photos: &Photos, number: u32) -> anyhow::Result<Bytes> {
    let picture = photos.mosaic(SIDES.0, SIDES.1, number as usize);
    let mut pnm = std::io::Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(picture).write_to(&mut pnm, image::ImageFormat::Pnm)?;
    let pnm = pnm.into_inner();
    let spec: Spec = if number.is_multiple_of(2) { "png" } else { "jpeg quality=92" }.parse().expect("it is a spec");
    Ok(Bytes::from(convert(&pnm, &read_header(&pnm)?, &spec, &ConversionLimits::default())?.bytes))
}

/// The same conversions with nothing around them, on every core.
fn bare(files: &[Bytes]) -> anyhow::Result<Run> {
    let next = AtomicUsize::new(0);
    let cores = thread::available_parallelism()?.get();
    let cpu_before = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    let begin = Instant::now();
    thread::scope(|scope| {
        let work = || -> anyhow::Result<()> {
            while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
                let header = read_header(file)?;
                let format = if header.format == Format::Png { Format::Jpeg } else { Format::Png };
                convert(file, &header, &Spec::new(format), &ConversionLimits::default())?;
            }
            Ok(())
        };
        let threads: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("conversions do not panic"))
    })?;
    let wall = begin.elapsed();
    let cpu_after = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID)?;
    Ok(Run { wall, cpu: (cpu_after - cpu_before).into() })
}

/// All files through a service that was just started, until the last rendition is ready.
async fn service(tintype: Tintype, files: &[Bytes], latencies: &mut Latencies) -> anyhow::Result<Run> {
    let client = tintype.client().await;
    let mut watcher = Watcher::start(&client, &[], "").await.map_err(refused)?;
    let programs: Vec<&Program> = tintype.server.iter().chain(&tintype.workers).collect();
    let cpu_before = cpu(&programs)?;
    let begin = Instant::now();
    let uploads = stream::iter(files.iter().enumerate())
        .map(|(number, file)| upload(&client, number, file.clone()))
        .buffer_unordered(UPLOADS_AT_ONCE)
        .collect::<Vec<_>>();
    let (uploaded, ready) = tokio::join!(uploads, all_ready(&mut watcher, files.len()));
    let ready = ready?;
    let wall = begin.elapsed();
    let cpu = cpu(&programs)?.saturating_sub(cpu_before);
    for uploaded in uploaded {
        let (id, sent, done) = uploaded?;
        latencies.to_done.push(done - sent);
        latencies.to_ready.push(ready[&id] - sent);
    }
    Ok(Run { wall, cpu })
}

/// The image, when its last byte was given away, and when it was done.
async fn upload(client: &Client, number: usize, file: Bytes) -> anyhow::Result<(i64, Instant, Instant)> {
    let sent = Arc::new(Mutex::new(Instant::now()));
    let telling = Arc::clone(&sent);
    let messages =
        Upload::new(&format!("{number}"), file).messages().inspect(move |_| *telling.lock().expect("nobody panics") = Instant::now());
    let mut replies = client.images().upload_images(tokio_stream::iter(messages)).await?.into_inner();
    while let Some(reply) = replies.message().await? {
        match reply.message {
            Some(Message::Done(done)) => {
                let done_at = Instant::now();
                let sent = *sent.lock().expect("nobody panics");
                return Ok((done.image.context("done has the image")?.id, sent, done_at));
            }
            Some(Message::Failed(failed)) => anyhow::bail!("{failed:?}"),
            _ => {}
        }
    }
    anyhow::bail!("the stream ended before it was done")
}

/// When the rendition of each image was ready.
async fn all_ready(watcher: &mut Watcher, count: usize) -> anyhow::Result<HashMap<i64, Instant>> {
    let mut ready = HashMap::new();
    let mut failed = HashSet::new();
    while ready.len() + failed.len() < count {
        match watcher.next().await.map_err(refused)? {
            Told::Rendition(id, state) if state == RenditionState::Ready as i32 => drop(ready.insert(id, Instant::now())),
            Told::Rendition(id, state) if state == RenditionState::Failed as i32 => drop(failed.insert(id)),
            _ => {}
        }
    }
    anyhow::ensure!(failed.is_empty(), "{failed:?} failed");
    Ok(ready)
}

/// CPU time of these programs and of their converters.
fn cpu(programs: &[&Program]) -> anyhow::Result<Duration> {
    let pids = programs.iter().flat_map(|program| program.children().into_iter().chain([program.pid()]));
    let mut sum = Duration::ZERO;
    for pid in pids {
        let clock = clock_getcpuclockid(Pid::from_raw(pid.as_raw_nonzero().get()))?;
        sum += Duration::from(clock_gettime(clock)?);
    }
    Ok(sum)
}
