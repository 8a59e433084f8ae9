//! Conversions beside sharp, ImageMagick and oximg: time, CPU time, sizes, how much of the picture was kept, and memory.

mod contestants;
pub(crate) mod photos;
mod quality;
mod tasks;

use std::{fs, io::Cursor, path::PathBuf};

use bytes::Bytes;
use image::{DynamicImage, ImageFormat, RgbImage};
use tempfile::TempDir;
use tintype_store::header::read_header;
use tokio::runtime::Handle;

use self::{
    contestants::{CommandLine, Contestant, Input, Measured, Sharp, Tintype},
    photos::Photos,
    tasks::{Claim, Task},
};
use crate::report::{Figure, Line, Report, Target};

/// Inputs of one kind: one after the other, so that nobody can remember what was just converted.
const VARIANTS: usize = 3;
/// Memory per byte of a longer picture's pixels; what keeps all pixels has 1 or more.
const MOST_GROWTH: f64 = 0.1;

/// What to convert, and beside whom.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A folder of JPEG photos, of which the inputs are put together; without one they are invented.
    #[arg(long, env = "TINTYPE_CORPUS", value_name = "FOLDER")]
    photos: Option<PathBuf>,
    /// Sizes of the photos in megapixels.
    #[arg(long, value_delimiter = ',', default_value = "2,9,24", value_name = "MEGAPIXELS", value_parser = clap::value_parser!(u32).range(1..=40))]
    sizes: Vec<u32>,
    /// How often each conversion is measured.
    #[arg(long, default_value_t = 15, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Where `scripts/bench` has put the peers; without it only Tintype is measured.
    #[arg(long, env = "TINTYPE_BENCH_PEERS", value_name = "FOLDER")]
    peers: Option<PathBuf>,
}

/// One row of comparisons: a task on inputs of one kind.
struct Case {
    what: String,
    task: Task,
    inputs: Vec<(Input, RgbImage)>,
    is_photo: bool,
}

pub(crate) fn run(args: &Args, runtime: &Handle) -> anyhow::Result<Report> {
    // A worker tells in its log what it does not believe of a converter.
    tracing_subscriber::fmt().with_max_level(tracing::Level::WARN).with_writer(std::io::stderr).init();
    let photos = Photos::open(args.photos.as_deref())?;
    eprintln!("inputs: {}", photos.source);
    let folder = tempfile::tempdir()?;
    let mut tintype = Tintype::start(runtime.clone())?;
    let mut peers: Vec<Box<dyn Contestant>> = Vec::new();
    if let Some(found) = &args.peers {
        peers.push(Box::new(Sharp::start(found, folder.path())?));
        peers.push(Box::new(CommandLine::image_magick(folder.path())));
        peers.push(Box::new(CommandLine::oximg(found, folder.path())));
    }
    let mut report = Report::default();
    for megapixels in &args.sizes {
        let (width, height) = sides(*megapixels);
        let pictures: Vec<_> = (0..VARIANTS).map(|variant| photos.mosaic(width, height, variant)).collect();
        for task in [Task::PngToJpeg, Task::JpegToPng, Task::JpegToPngFast, Task::JpegToThumbnail, Task::JpegToWebP] {
            let what = format!("{}, photo of {megapixels} MP", task.title());
            let inputs =
                pictures.iter().map(|picture| Ok((input(&DynamicImage::ImageRgb8(picture.clone()), task, &folder)?, picture.clone())));
            let case = Case { what, task, inputs: inputs.collect::<anyhow::Result<_>>()?, is_photo: true };
            compare(&case, args.rounds, &mut tintype, &mut peers, &mut report)?;
        }
    }
    for (kind, task, picture) in others(&photos) {
        let what = format!("{}, {kind}", task.title());
        let inputs = vec![(input(&picture, task, &folder)?, picture.to_rgb8())];
        compare(&Case { what, task, inputs, is_photo: false }, args.rounds, &mut tintype, &mut peers, &mut report)?;
    }
    for task in [Task::PngToJpeg, Task::JpegToPngFast] {
        report.0.push(memory(task, &photos, &mut tintype, &folder)?);
    }
    Ok(report)
}

/// Pictures that are not plain photos. About nobody's speed with them anything is claimed.
fn others(photos: &Photos) -> Vec<(&'static str, Task, DynamicImage)> {
    let (width, height) = sides(4);
    let photo = photos.mosaic(width, height, 0);
    let screen = DynamicImage::ImageRgb8(photos::screenshot(2_560, 1_440));
    vec![
        ("picture of a screen", Task::PngToJpeg, screen.clone()),
        ("picture of a screen", Task::JpegToPng, screen),
        ("half-transparent edges, 4 MP", Task::PngToJpeg, photos::cut_out(&photo)),
        ("16 bit, 4 MP", Task::PngToJpeg, DynamicImage::ImageRgb16(DynamicImage::ImageRgb8(photo).into_rgb16())),
    ]
}

/// Width and height of a picture of 3 : 2, in whole blocks of no size that a camera would have.
fn sides(megapixels: u32) -> (u32, u32) {
    let height = (f64::from(megapixels) * 1e6 / 1.5).sqrt() as u32;
    (height + height / 2, height)
}

fn input(picture: &DynamicImage, task: Task, folder: &TempDir) -> anyhow::Result<Input> {
    let mut png = Cursor::new(Vec::new());
    if task.reads_png() {
        picture.write_to(&mut png, ImageFormat::Png)?;
    } else {
        DynamicImage::ImageRgb8(picture.to_rgb8()).write_to(&mut png, ImageFormat::Pnm)?;
    }
    let mut bytes = png.into_inner();
    if !task.reads_png() {
        // As a camera makes them: baseline, 4:2:0.
        let header = read_header(&bytes)?;
        let spec = "jpeg quality=92".parse().expect("it is a spec");
        bytes = tintype_worker::convert::convert(&bytes, &header, &spec, &contestants::limits())?.bytes;
    }
    let number = fs::read_dir(folder)?.count();
    let path = folder.path().join(format!("{number}.{}", if task.reads_png() { "png" } else { "jpg" }));
    fs::write(&path, &bytes)?;
    Ok(Input { bytes: Bytes::from(bytes), path })
}

/// All of them in turns, in another order each round; the first round warms up.
fn compare(case: &Case, rounds: u32, tintype: &mut Tintype, peers: &mut [Box<dyn Contestant>], report: &mut Report) -> anyhow::Result<()> {
    let mut contestants: Vec<&mut dyn Contestant> = vec![tintype];
    contestants.extend(peers.iter_mut().map(|peer| &mut **peer as &mut dyn Contestant));
    let count = contestants.len();
    let mut measured: Vec<Vec<Measured>> = (0..count).map(|_| Vec::new()).collect();
    for round in 0..=rounds as usize {
        let (input, _) = &case.inputs[round % case.inputs.len()];
        for turn in 0..count {
            let number = (turn + round) % count;
            if let Some(one) = contestants[number].convert(case.task, input)?
                && round > 0
            {
                measured[number].push(one);
            }
        }
    }
    let (_, last_picture) = &case.inputs[rounds as usize % case.inputs.len()];
    let names: Vec<_> = contestants.iter().map(|contestant| contestant.name()).collect();
    let (ours, theirs) = measured.split_first().expect("Tintype takes part");
    let kept = kept(case, ours, last_picture)?;
    if theirs.iter().all(Vec::is_empty) {
        report.0.push(Line::alone(case.what.clone(), wall(ours), None).beside(kept.clone()));
    }
    for (name, theirs) in names[1..].iter().zip(theirs).filter(|(_, theirs)| !theirs.is_empty()) {
        let claim = if case.is_photo { case.task.claim(name) } else { Claim::default() };
        let beside = format!("{kept}; {name}: {}", self::kept(case, theirs, last_picture)?);
        report.0.push(Line::faster(case.what.clone(), wall(ours), (*name, wall(theirs)), claim.wall).beside(beside));
        report.0.push(Line::faster(format!("{}: CPU", case.what), cpu(ours), (*name, cpu(theirs)), claim.cpu));
        report.0.push(Line::share(format!("{}: size", case.what), size(ours), (*name, size(theirs)), claim.bytes));
    }
    Ok(())
}

fn wall(measured: &[Measured]) -> Figure {
    Figure::median(measured.iter().map(|one| one.wall))
}

fn cpu(measured: &[Measured]) -> Figure {
    Figure::median(measured.iter().map(|one| one.cpu))
}

fn size(measured: &[Measured]) -> Figure {
    let sum: usize = measured.iter().map(|one| one.bytes.len()).sum();
    Figure::of(sum as f64 / measured.len() as f64 / 1024.0, "KiB")
}

/// How near the last result is to its picture.
fn kept(case: &Case, measured: &[Measured], picture: &RgbImage) -> anyhow::Result<String> {
    let last = measured.last().expect("it was measured");
    if !case.task.keeps_size() {
        return Ok("resized".to_owned());
    }
    Ok(format!("{:.1} dB", quality::psnr(&quality::decode(&last.bytes)?, picture)?))
}

/// What a picture of the same width and six times the height needs more, in bytes for each byte of pixels.
fn memory(task: Task, photos: &Photos, tintype: &mut Tintype, folder: &TempDir) -> anyhow::Result<Line> {
    const WIDTH: u32 = 2_000;
    const HEIGHTS: [u32; 2] = [2_000, 12_000];
    let mut peaks = [0; 2];
    for (peak, height) in peaks.iter_mut().zip(HEIGHTS) {
        let picture = DynamicImage::ImageRgb8(photos.mosaic(WIDTH, height, 0));
        *peak = tintype.peak_memory_bytes(task, &input(&picture, task, folder)?)?;
    }
    let [short, long] = peaks;
    let more_pixel_bytes = f64::from(WIDTH * 3 * (HEIGHTS[1] - HEIGHTS[0]));
    let growth = Figure::of((long as f64 - short as f64).max(0.0) / more_pixel_bytes, "bytes");
    let what = format!("{}: memory for each byte of pixels more", task.title());
    let beside = format!("{} MiB for {WIDTH} × {}, {} MiB for {WIDTH} × {}", short >> 20, HEIGHTS[0], long >> 20, HEIGHTS[1]);
    Ok(Line::alone(what, growth, Some(Target::AtMost(MOST_GROWTH))).beside(beside))
}
