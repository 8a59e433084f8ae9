//! Poison among good pictures, through a whole worker.

use std::{
    env,
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tempfile::TempDir;
use tintype_process::Shutdown;
use tintype_store::{
    BlobKey, ConversionLimits, Created, FailureReason, Format, Image, ImageHeader, NewImage, NewUser, Rendition, RenditionState, Role,
    Timestamp, UserId,
    blobs::BlobSink,
    header::read_header,
    open::{BlobsUrl, CatalogUrl, JobsUrl, Opener, StoreConfig, Stores},
};
use tintype_worker::{Converters, Sandbox, WorkerConfig, convert, run};

use crate::setup::NamedTrial;

const POISONS: [(&str, FailureReason); 3] =
    [("hang", FailureReason::DecoderTimeout), ("crash", FailureReason::DecoderCrash), ("eat", FailureReason::ResourceLimit)];
/// After so many good pictures comes one that is not.
const GOOD_FOR_EACH: u32 = 9;
const SLOTS: usize = 2;
/// A good picture, which takes its time to make.
static PICTURE: OnceLock<Vec<u8>> = OnceLock::new();

const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn trials() -> Vec<NamedTrial> {
    vec![
        ("pictures_that_hang_hold_up_no_others", pictures_that_hang_hold_up_no_others),
        ("poison_fails_for_its_reason_and_good_pictures_among_it_are_made", poison_fails_and_good_pictures_are_made),
    ]
}

fn pictures_that_hang_hold_up_no_others() {
    block_on(async {
        // More than there are slots, before anything good, and for longer than all of the good take.
        let service = Service::new(Duration::from_mins(10)).await;
        let mut hanging = Vec::new();
        for _ in 0..=SLOTS {
            hanging.push(service.upload_poison("hang").await);
        }
        let good = service.upload_good(GOOD_FOR_EACH).await;
        let worker = service.start().await;
        for image in &good {
            assert_eq!(service.settled(image).await.state, RenditionState::Ready);
        }
        for image in &hanging {
            let rendition = service.rendition(image).await;
            assert_eq!((rendition.state, rendition.attempt), (RenditionState::Running, 1));
        }
        worker.drain();
        worker.drained(Duration::ZERO).await;
    });
}

/// What it costs the good ones is printed; `TINTYPE_TEST_POISONS` makes it more of both.
fn poison_fails_and_good_pictures_are_made() {
    let poisons = number("TINTYPE_TEST_POISONS", POISONS.len());
    block_on(async {
        let alone = Service::new(TIMEOUT).await.run(poisons, false).await;
        let mixed = Service::new(TIMEOUT).await.run(poisons, true).await;
        let good = poisons * GOOD_FOR_EACH as usize;
        let speed = alone.as_secs_f64() / mixed.as_secs_f64();
        println!("{good} good pictures alone: {alone:.2?}; with {poisons} that are not: {mixed:.2?}, {speed:.2} of their speed");
    });
}

fn block_on(future: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().expect("a runtime starts").block_on(future);
}

#[expect(clippy::disallowed_methods, reason = "the one place where these trials read a setting")]
fn number(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// A worker on stores of its own.
struct Service {
    stores: Stores,
    owner: UserId,
    config: WorkerConfig,
    _folder: TempDir,
}

impl Service {
    async fn new(timeout: Duration) -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let config = StoreConfig {
            data: folder.path().to_owned(),
            catalog: CatalogUrl::Sqlite("catalog.db".into()),
            blobs: BlobsUrl::Folder("blobs".into()),
            jobs: JobsUrl::Local,
        };
        let stores = Stores::open(&config, Opener::Server).await.expect("the stores open");
        let user =
            NewUser { name: "a".to_owned(), role: Role::User, password_hash: String::new(), quota_bytes: NewUser::DEFAULT_QUOTA_BYTES };
        let owner = stores.catalog.create_user(user, Timestamp::now()).await.expect("the name is new").id;
        let limits = ConversionLimits { timeout, memory_bytes: 256 << 20, ..ConversionLimits::default() };
        let budget_bytes = Some(2 << 30);
        let config = WorkerConfig { slots: SLOTS, sandbox: Sandbox::Require, limits, budget_bytes, ..WorkerConfig::default() };
        Self { stores, owner, config, _folder: folder }
    }

    /// Works until the shutdown has drained.
    async fn start(&self) -> Shutdown {
        let shutdown = Shutdown::new();
        let converters = Converters::start(&self.config).await.expect("converters start here");
        shutdown.spawn(run(self.stores.clone(), self.config.clone(), converters, shutdown.clone()));
        shutdown
    }

    /// Has good pictures made, and poison between them. Returns how long the good ones took; panics unless every other one fails for its
    /// reason, after its two attempts.
    async fn run(self, poisons: usize, is_mixed: bool) -> Duration {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for number in 0..poisons {
            let (poison, reason) = POISONS[number % POISONS.len()];
            if is_mixed {
                bad.push((self.upload_poison(poison).await, reason));
            }
            good.extend(self.upload_good(GOOD_FOR_EACH).await);
        }
        let begun = Instant::now();
        let worker = self.start().await;
        for image in &good {
            let rendition = self.settled(image).await;
            assert_eq!(rendition.state, RenditionState::Ready, "{:?}", rendition.failure);
        }
        let taken = begun.elapsed();
        for (image, reason) in &bad {
            let rendition = self.settled(image).await;
            let failure = rendition.failure.expect("it failed");
            assert_eq!((failure.reason, rendition.attempt), (reason.to_owned(), 2), "{}", failure.message);
        }
        worker.drain();
        worker.drained(Duration::ZERO).await;
        taken
    }

    async fn upload_poison(&self, poison: &str) -> Image {
        self.upload(poison.as_bytes(), ImageHeader { format: Format::Png, width: 64, height: 64, frame_count: 1 }).await
    }

    async fn upload_good(&self, count: u32) -> Vec<Image> {
        let picture = PICTURE.get_or_init(picture);
        let header = read_header(picture).expect("it has a header");
        let mut images = Vec::new();
        for _ in 0..count {
            images.push(self.upload(picture, header).await);
        }
        images
    }

    async fn upload(&self, bytes: &[u8], header: ImageHeader) -> Image {
        let mut sink =
            BlobSink::create(&*self.stores.blobs, BlobKey::original(self.owner, Format::Png)).await.expect("blobs can be written");
        sink.write(Bytes::copy_from_slice(bytes)).await.expect("blobs can be written");
        let original = sink.publish().await.expect("blobs can be written");
        let new = NewImage {
            owner: self.owner,
            file_name: "a.png".to_owned(),
            labels: tintype_store::Labels::new(),
            header,
            original,
            renditions: vec![Format::Jpeg],
            request_id: None,
        };
        let Created::New(image) = self.stores.catalog.create_image(new, Timestamp::now()).await.expect("the catalog answers") else {
            panic!("nothing refuses it")
        };
        self.stores.jobs.publish(&[image.renditions[0].id]).await.expect("the queue takes hints");
        image
    }

    async fn rendition(&self, image: &Image) -> Rendition {
        self.stores.catalog.rendition(image.renditions[0].id).await.expect("the catalog answers").expect("there is one")
    }

    /// The rendition once it is READY or FAILED.
    async fn settled(&self, image: &Image) -> Rendition {
        let mut nudges = self.stores.nudges.listen().await.expect("nudges can be heard");
        loop {
            let rendition = self.rendition(image).await;
            if matches!(rendition.state, RenditionState::Ready | RenditionState::Failed) {
                return rendition;
            }
            nudges.nudged().await;
        }
    }
}

/// About what a photo of a quarter of a megapixel costs.
fn picture() -> Vec<u8> {
    let mut state = 1_u32;
    let mut pnm = b"P6 450 350 255\n".to_vec();
    pnm.extend((0..450 * 350 * 3).map(|index: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (index / 3 % 450 / 5) as u8 + (state >> 29) as u8
    }));
    let header = read_header(&pnm).expect("it has a header");
    let spec = "png effort=fast".parse().expect("it is a spec");
    convert::convert(&pnm, &header, &spec, &ConversionLimits::default()).expect("a good picture").bytes
}
