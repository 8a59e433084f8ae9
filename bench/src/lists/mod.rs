//! Whether lists and counts stay quick in large catalogs.

mod fill;
mod gallery;
mod plans;

use std::time::Instant;

use tintype_store::{
    FailureFilter, FailurePosition, Format, ImageFilter, ImageId, Owners, RenditionId, RenditionState, Timestamp, UserId, catalog::Catalog,
};

use self::{gallery::Gallery, plans::Overheard};
use crate::report::{Figure, Line, Report, Target};

/// As in `ListImages` when nobody says another.
const PAGE: u32 = 100;
/// A page of a large catalog may take so many times as long as one of the smallest.
const MOST_TIMES: f64 = 1.2;
/// What counting everything may take at any size, in milliseconds.
const STATS_MILLISECONDS: f64 = 50.0;

/// What to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Sizes of the catalogs in images; each is compared with the first.
    #[arg(long, value_delimiter = ',', default_value = "1000,100000,1000000", value_name = "IMAGES",
          value_parser = clap::value_parser!(u64).range(1_000..))]
    sizes: Vec<u64>,
    /// How often each page is asked for.
    #[arg(long, default_value_t = 301, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// A PostgreSQL server to measure on, too: the URL of a superuser.
    #[arg(long, env = "TINTYPE_TEST_POSTGRES", value_name = "URL", hide_env_values = true)]
    postgres: Option<String>,
    /// Also print how the database of the last size gets at each page. Listening for that makes everything a little slower.
    #[arg(long)]
    plans: bool,
}

/// What is asked of a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Question {
    FirstPage,
    DeepPage,
    PageAnywhere,
    PageOfAFormat,
    PageOfAState,
    PageOfAName,
    PageBeforeATime,
    PageOfOthers,
    PageOfAnyone,
    FirstFailures,
    FailuresAnywhere,
    Stats,
}

impl Question {
    const ALL: [Self; 12] = [
        Self::FirstPage,
        Self::DeepPage,
        Self::PageAnywhere,
        Self::PageOfAFormat,
        Self::PageOfAState,
        Self::PageOfAName,
        Self::PageBeforeATime,
        Self::PageOfOthers,
        Self::PageOfAnyone,
        Self::FirstFailures,
        Self::FailuresAnywhere,
        Self::Stats,
    ];

    fn title(self) -> &'static str {
        match self {
            Self::FirstPage => "images, first page",
            Self::DeepPage => "images, a deep page",
            Self::PageAnywhere => "images, a page that nobody saw lately",
            Self::PageOfAFormat => "images of one format, a deep page",
            Self::PageOfAState => "images with a ready rendition, a deep page",
            Self::PageOfAName => "images by part of the name, a deep page",
            Self::PageBeforeATime => "images before a time, first page",
            Self::PageOfOthers => "images that others share, a deep page",
            Self::PageOfAnyone => "images of anyone, a deep page",
            Self::FirstFailures => "failures, first page",
            Self::FailuresAnywhere => "failures, a page that nobody saw lately",
            Self::Stats => "all counts",
        }
    }

    fn target(self) -> Option<Target> {
        match self {
            Self::Stats => Some(Target::AtMost(STATS_MILLISECONDS)),
            // The smallest catalog has no whole page of failures, and of images before a time all later ones are passed over.
            Self::FirstFailures | Self::FailuresAnywhere | Self::PageBeforeATime => None,
            // It shows what the database does not keep in memory, which is little of a large catalog.
            Self::PageAnywhere => None,
            _ => Some(Target::AtMost(MOST_TIMES)),
        }
    }

    /// Asks it at a place that `number` chooses. Returns how many things came.
    async fn ask(self, catalog: &dyn Catalog, images: u64, number: u64) -> anyhow::Result<usize> {
        let owner = UserId((1 + number % fill::USERS) as i64);
        // So many images below it that a page is full, whatever the filter of this list.
        let lowest = fill::USERS * 2 * u64::from(PAGE);
        let highest = images.max(lowest + 1);
        let place = match self {
            Self::PageAnywhere | Self::FailuresAnywhere => lowest + number / fill::USERS % (highest - lowest),
            // Nine tenths of the way down.
            _ => (images / 10).max(lowest),
        };
        let before = Some(ImageId(place as i64));
        let at = Timestamp(fill::BEGIN_MICROSECONDS + place as i64 * 1_000_000);
        let none = ImageFilter::default;
        let (filter, before) = match self {
            Self::FirstPage => (none(), None),
            Self::DeepPage | Self::PageAnywhere => (none(), before),
            Self::PageOfAFormat => (ImageFilter { formats: vec![Format::Png], ..none() }, before),
            Self::PageOfAState => (ImageFilter { rendition_states: vec![RenditionState::Ready], ..none() }, before),
            Self::PageOfAName => (ImageFilter { file_name_contains: Some("photo".to_owned()), ..none() }, before),
            Self::PageBeforeATime => (ImageFilter { created_before: Some(at), ..none() }, None),
            Self::PageOfOthers => (ImageFilter { owners: Owners::Others, ..none() }, before),
            Self::PageOfAnyone => (ImageFilter { owners: Owners::Anyone, ..none() }, before),
            Self::FirstFailures => return Ok(catalog.list_failures(&FailureFilter::default(), None, PAGE).await?.len()),
            Self::FailuresAnywhere => {
                let position = FailurePosition { failed_at: at, rendition: RenditionId(place as i64) };
                return Ok(catalog.list_failures(&FailureFilter::default(), Some(position), PAGE).await?.len());
            }
            Self::Stats => {
                let totals = catalog.totals().await?;
                anyhow::ensure!(totals.image_count == images, "{} images are counted, {images} are there", totals.image_count);
                return Ok(1);
            }
        };
        let page = catalog.list_images(owner, &filter, before, PAGE).await?;
        // Of 1,000 images a user has 200, of which 100 or so are of the format asked for.
        anyhow::ensure!(page.len() >= PAGE as usize - 2, "a page of {} instead of {PAGE}: {self:?} before {place}", page.len());
        Ok(page.len())
    }
}

pub(crate) async fn run(args: Args) -> anyhow::Result<Report> {
    let overheard = if args.plans { Some(Overheard::listen()?) } else { None };
    let mut report = Report::default();
    let mut galleries = Vec::new();
    for images in &args.sizes {
        galleries.push(timed(*images, "SQLite", Gallery::sqlite(*images)).await?);
    }
    measure("SQLite", galleries, &args, overheard.as_ref(), &mut report).await?;
    if let Some(server) = &args.postgres {
        let mut galleries = Vec::new();
        for images in &args.sizes {
            galleries.push(timed(*images, "PostgreSQL", Gallery::postgres(server, *images)).await?);
        }
        measure("PostgreSQL", galleries, &args, overheard.as_ref(), &mut report).await?;
    }
    Ok(report)
}

async fn timed(images: u64, backend: &str, filling: impl Future<Output = anyhow::Result<Gallery>>) -> anyhow::Result<Gallery> {
    let begin = Instant::now();
    let gallery = filling.await?;
    eprintln!("filled a {backend} catalog with {images} images in {:.1} s", begin.elapsed().as_secs_f64());
    Ok(gallery)
}

async fn measure(
    backend: &str,
    galleries: Vec<Gallery>,
    args: &Args,
    overheard: Option<&Overheard>,
    report: &mut Report,
) -> anyhow::Result<()> {
    for question in Question::ALL {
        let mut durations = vec![Vec::new(); galleries.len()];
        // In turns, so that whatever else the machine does meets all sizes alike; the first turn warms up.
        for round in 0..=args.rounds {
            for (gallery, durations) in galleries.iter().zip(&mut durations) {
                let begin = Instant::now();
                question.ask(&*gallery.catalog, gallery.images, scattered(round)).await?;
                if round > 0 {
                    durations.push(begin.elapsed());
                }
            }
        }
        let figures: Vec<_> = durations.into_iter().map(Figure::median).collect();
        for (gallery, figure) in galleries.iter().zip(&figures) {
            let what = format!("{backend}: {} of {}", question.title(), gallery.images);
            let base = (format!("of {}", galleries[0].images), figures[0]);
            report.0.push(match question {
                Question::Stats => Line::alone(what, *figure, question.target()),
                _ if gallery.images == galleries[0].images => Line::alone(what, *figure, None),
                _ => Line::share(what, *figure, base, question.target()),
            });
        }
    }
    if let (Some(overheard), Some(gallery)) = (overheard, galleries.last()) {
        print_plans(backend, gallery, overheard).await?;
    }
    for gallery in galleries {
        gallery.remove().await?;
    }
    Ok(())
}

async fn print_plans(backend: &str, gallery: &Gallery, overheard: &Overheard) -> anyhow::Result<()> {
    let explained = gallery.explained().await?;
    for question in Question::ALL {
        println!("== {backend}: {} of {}", question.title(), gallery.images);
        if let Some(explained) = &explained {
            overheard.notices();
            question.ask(explained, gallery.images, scattered(1)).await?;
            for plan in overheard.notices() {
                println!("{plan}");
            }
        } else {
            overheard.statements();
            question.ask(&*gallery.catalog, gallery.images, scattered(1)).await?;
            for statement in overheard.statements().iter().filter(|statement| statement.starts_with("SELECT")) {
                for line in gallery.sqlite_plan(statement).await? {
                    println!("  {line}");
                }
            }
        }
    }
    Ok(())
}

/// A number without a pattern for each round, the same in every run (Knuth's multiplicative hash).
fn scattered(round: u32) -> u64 {
    u64::from(round).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 16
}
