//! The loop on real stores in a temporary folder, with converters that do what each test needs.

mod blobs;

use std::{
    io::Cursor,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{TryStreamExt, future::join_all};
use image::{DynamicImage, ImageFormat, RgbImage};
use tempfile::TempDir;
use tintype_process::Shutdown;
use tintype_store::{
    BlobKey, Claim, Commit, Created, FailureReason, Format, Image, NewImage, NewUser, Presence, Rendition, RenditionState, Role,
    StoredBlob, Timestamp,
    blobs::{BlobSink, read_checked},
    header::read_header,
    open::{BlobsUrl, CatalogUrl, JobsUrl, Opener, StoreConfig, Stores},
};
use tokio::{
    sync::{Semaphore, oneshot},
    task::yield_now,
};

use self::blobs::{Away, Bar, Barred};
use crate::{Converters, WorkerConfig, backoff::Failures, convert::convert, converters::Engine, job::Workplace, run::run};

#[tokio::test]
async fn a_hint_becomes_a_ready_rendition_whose_bytes_can_be_read() {
    let service = Service::new().await;
    let image = service.upload(&picture()).await;
    service.follow(&image, Arc::new(convert)).await;

    let rendition = service.rendition(&image).await;
    assert_eq!((rendition.state, rendition.attempt), (RenditionState::Ready, 1));
    let output = rendition.output.expect("a ready one has an output");
    assert_eq!((output.picture.width, output.picture.height), (40, 30));
    let stored = service.stores.catalog.blob(&output.blob).await.expect("the catalog answers").expect("it knows the blob");
    let bytes = service.read(&stored).await;
    assert_eq!(bytes.len() as u64, output.size_bytes);
    assert_eq!(read_header(&bytes).expect("the result has a header").format, Format::Jpeg);
}

#[tokio::test]
async fn a_hint_that_comes_twice_changes_nothing() {
    let service = Service::new().await;
    let image = service.upload(&picture()).await;
    service.follow(&image, Arc::new(convert)).await;
    let first = service.rendition(&image).await;
    service.follow(&image, Arc::new(|_, _, _, _| panic!("there is nothing to convert"))).await;
    assert_eq!(service.rendition(&image).await, first);
    assert_eq!(service.renditions_on_disk(), 1);
}

#[tokio::test]
async fn damaged_pixels_fail_at_once_with_the_reason() {
    let service = Service::new().await;
    let mut png = picture();
    let data = png.windows(4).position(|chunk| chunk == b"IDAT").expect("it has pixels");
    png[data + 8] ^= 0x55;
    let image = service.upload(&png).await;
    service.follow(&image, Arc::new(convert)).await;

    let rendition = service.rendition(&image).await;
    assert_eq!((rendition.state, rendition.attempt), (RenditionState::Failed, 1));
    assert_eq!(rendition.failure.expect("it failed").reason, FailureReason::CorruptInput);
}

#[tokio::test]
async fn a_picture_beyond_a_limit_fails_at_once_with_the_limit() {
    let mut service = Service::new().await;
    let image = service.upload(&picture()).await;
    service.config.limits.image.max_side_pixels = 39;
    service.follow(&image, Arc::new(convert)).await;
    let rendition = service.rendition(&image).await;
    assert_eq!((rendition.state, rendition.attempt), (RenditionState::Failed, 1));
    let failure = rendition.failure.expect("it failed");
    assert_eq!(failure.reason, FailureReason::ResourceLimit);
    assert!(failure.message.contains("40, more than the limit of 39"), "{}", failure.message);
}

#[tokio::test]
async fn a_missing_original_fails_at_once() {
    let service = Service::new().await;
    let image = service.upload(&picture()).await;
    service.stores.blobs.delete(&image.blob).await.expect("blobs can be deleted");
    service.follow(&image, Arc::new(convert)).await;
    assert_eq!(service.rendition(&image).await.failure.expect("it failed").reason, FailureReason::OriginalDamaged);
}

#[tokio::test]
async fn a_crash_of_the_converter_ends_only_its_job_and_fails_it_the_second_time() {
    let service = Service::new().await;
    let image = service.upload(&picture()).await;
    let crash: Engine = Arc::new(|_, _, _, _| panic!("poison"));
    service.follow(&image, Arc::clone(&crash)).await;
    let rendition = service.rendition(&image).await;
    assert_eq!((rendition.state, rendition.attempt, rendition.failure), (RenditionState::Pending, 1, None));

    let other = service.upload(&picture()).await;
    service.begin_once_in_vain(&other).await;
    service.follow(&other, crash).await;
    let rendition = service.rendition(&other).await;
    assert_eq!((rendition.state, rendition.attempt), (RenditionState::Failed, 2));
    assert_eq!(rendition.failure.expect("it failed").reason, FailureReason::DecoderCrash);
    assert_eq!(service.renditions_on_disk(), 0);
}

#[tokio::test]
async fn a_conversion_inside_that_takes_too_long_fails_at_once_and_keeps_its_slot_until_it_ends() {
    let mut service = Service::new().await;
    service.config.limits.timeout = Duration::from_millis(5);
    let image = service.upload(&picture()).await;
    let (gate, engine) = Gate::new();
    service.follow(&image, engine).await;
    assert_eq!(service.rendition(&image).await.failure.expect("it failed").reason, FailureReason::DecoderTimeout);
    assert_eq!(service.slots.available_permits(), 0);
    gate.open();
    // Returns only because the thread has given the slot back.
    let _slot = service.slots.acquire().await.expect("nobody closes the semaphore");
}

#[tokio::test]
async fn blobs_that_are_away_give_the_rendition_back_uncounted() {
    let mut service = Service::new().await;
    let image = service.upload(&picture()).await;
    service.stores.blobs = Arc::new(Away);
    let before = Timestamp::now();
    service.follow(&image, Arc::new(convert)).await;
    let rendition = service.rendition(&image).await;
    assert_eq!((rendition.state, rendition.attempt), (RenditionState::Pending, 0));
    let claim = service.stores.catalog.claim(rendition.id, "test", service.config.lease, before).await.expect("the catalog answers");
    assert!(matches!(claim, Claim::NotBefore(at) if at >= before.plus(Duration::from_secs(1))), "{claim:?}");
}

#[tokio::test]
async fn a_result_that_came_too_late_is_removed() {
    let service = Service::new().await;
    let image = service.upload(&picture()).await;
    let (catalog, id, runtime) = (Arc::clone(&service.stores.catalog), image.id, tokio::runtime::Handle::current());
    let engine: Engine = Arc::new(move |input, header, spec, limits| {
        let deleted = runtime.block_on(catalog.delete_image(id, Timestamp::now())).expect("the catalog answers");
        assert!(deleted);
        convert(input, header, spec, limits)
    });
    service.follow(&image, engine).await;
    assert_eq!(service.renditions_on_disk(), 0);
}

#[tokio::test]
async fn a_lost_lease_ends_the_job_while_it_converts() {
    let mut service = Service::new().await;
    service.config.lease = Duration::from_millis(15);
    let image = service.upload(&picture()).await;
    let (mut gate, engine) = Gate::new();
    let (following, deleted) = tokio::join!(service.follow(&image, engine), async {
        gate.entered().await;
        service.stores.catalog.delete_image(image.id, Timestamp::now()).await
    });
    // Both returned although the conversion still waits at the gate.
    let ((), true) = (following, deleted.expect("the catalog answers")) else { panic!("the image was there") };
    gate.open();
    assert_eq!(service.renditions_on_disk(), 0);
}

#[tokio::test]
async fn the_lease_is_held_while_a_result_is_written() {
    let mut service = Service::new().await;
    service.config.lease = Duration::from_millis(30);
    let image = service.upload(&picture()).await;
    let bar = service.bar_publishing();
    tokio::join!(service.follow(&image, Arc::new(convert)), async {
        bar.reached(1).await;
        let held_until = async || service.stores.catalog.totals().await.expect("the catalog answers").first_lease_until;
        let first = held_until().await.expect("it is leased");
        while held_until().await == Some(first) {
            yield_now().await;
        }
        bar.lift();
    });
    let rendition = service.rendition(&image).await;
    assert_eq!((rendition.state, rendition.attempt), (RenditionState::Ready, 1));
}

#[tokio::test]
async fn results_are_not_made_far_faster_than_they_are_written() {
    const IMAGES: usize = 6;
    let mut service = Service::new().await;
    let picture = picture();
    let images: Vec<_> = join_all((0..IMAGES).map(|_| service.upload(&picture))).await;
    let bar = service.bar_publishing();
    let made = Arc::new(AtomicUsize::new(0));
    let engine: Engine = Arc::new({
        let made = Arc::clone(&made);
        move |input, header, spec, limits| {
            made.fetch_add(1, Ordering::SeqCst);
            convert(input, header, spec, limits)
        }
    });
    let shutdown = Shutdown::new();
    let worker = tokio::spawn(service.run(engine, &shutdown));
    for image in &images {
        service.tell(image).await;
    }
    // Two are being written for the one slot, and the third keeps the slot until there is a place for it.
    bar.reached(2).await;
    while made.load(Ordering::SeqCst) < 3 {
        yield_now().await;
    }
    for _ in 0..100 {
        service.stores.catalog.totals().await.expect("the catalog answers");
    }
    assert_eq!(made.load(Ordering::SeqCst), 3);
    bar.lift();
    bar.reached(IMAGES as u32 - 2).await;
    shutdown.drain();
    worker.await.expect("the worker ends");
    for image in &images {
        assert_eq!(service.rendition(image).await.state, RenditionState::Ready);
    }
}

#[tokio::test]
async fn a_result_that_the_store_spoils_is_not_blamed_on_the_original() {
    let mut service = Service::new().await;
    let image = service.upload(&picture()).await;
    let bar = service.bar_publishing();
    bar.spoil();
    service.follow(&image, Arc::new(convert)).await;
    let rendition = service.rendition(&image).await;
    assert_eq!((rendition.state, rendition.attempt, rendition.failure), (RenditionState::Pending, 1, None), "another attempt follows");
}

#[tokio::test]
async fn draining_finishes_what_has_begun() {
    let service = Service::new().await;
    let image = service.upload(&picture()).await;
    let (mut gate, engine) = Gate::new();
    let shutdown = Shutdown::new();
    let worker = tokio::spawn(service.run(engine, &shutdown));
    service.tell(&image).await;
    gate.entered().await;
    shutdown.drain();
    gate.open();
    worker.await.expect("the worker ends");
    assert_eq!(service.rendition(&image).await.state, RenditionState::Ready);
}

#[tokio::test]
async fn stopping_at_once_gives_back_what_has_begun_uncounted() {
    let service = Service::new().await;
    let image = service.upload(&picture()).await;
    let (mut gate, engine) = Gate::new();
    let shutdown = Shutdown::new();
    shutdown.spawn(service.run(engine, &shutdown));
    service.tell(&image).await;
    gate.entered().await;
    shutdown.drain();
    shutdown.drained(Duration::ZERO).await;
    let rendition = service.rendition(&image).await;
    assert_eq!((rendition.state, rendition.attempt), (RenditionState::Pending, 0));
    gate.open();
}

#[tokio::test]
async fn a_worker_says_that_it_is_there_and_what_it_can_do() {
    let service = Service::new().await;
    let image = service.upload(&picture()).await;
    let (mut gate, engine) = Gate::new();
    let shutdown = Shutdown::new();
    let worker = tokio::spawn(service.run(engine, &shutdown));
    service.tell(&image).await;
    gate.entered().await;
    gate.open();
    shutdown.drain();
    worker.await.expect("the worker ends");
    let workers = service.stores.catalog.workers(Timestamp(0)).await.expect("the catalog answers");
    let [seen] = &workers[..] else { panic!("{workers:?}") };
    assert_eq!((seen.slots, seen.sandbox.as_str()), (service.config.slots as u32, "none"));
    assert!(seen.output_formats.contains(&Format::Jpeg) && seen.input_formats.contains(&Format::Gif));
}

/// Stores of one test and what is needed around them.
struct Service {
    stores: Stores,
    config: WorkerConfig,
    slots: Arc<Semaphore>,
    folder: TempDir,
}

impl Service {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("there is a folder for temporary files");
        let config = StoreConfig {
            data: folder.path().to_owned(),
            catalog: CatalogUrl::Sqlite("catalog.db".into()),
            blobs: BlobsUrl::Folder("blobs".into()),
            jobs: JobsUrl::Local,
        };
        let stores = Stores::open(&config, Opener::Server).await.expect("the stores open");
        Self { stores, config: WorkerConfig { slots: 1, ..WorkerConfig::default() }, slots: Arc::new(Semaphore::new(1)), folder }
    }

    /// An image of a user of its own with one rendition to make, a JPEG.
    async fn upload(&self, bytes: &[u8]) -> Image {
        let name = tintype_store::random_hex();
        let user = NewUser { name, role: Role::User, password_hash: String::new(), quota_bytes: NewUser::DEFAULT_QUOTA_BYTES };
        let owner = self.stores.catalog.create_user(user, Timestamp::now()).await.expect("the name is new").id;
        let key = BlobKey::original(owner, Format::Png);
        let mut sink = BlobSink::create(&*self.stores.blobs, key).await.expect("blobs can be written");
        sink.write(Bytes::copy_from_slice(bytes)).await.expect("blobs can be written");
        let original = sink.publish().await.expect("blobs can be written");
        let header = read_header(bytes).expect("the header is good");
        let (file_name, labels) = ("test.png".to_owned(), tintype_store::Labels::new());
        let new = NewImage { owner, file_name, labels, header, original, renditions: vec![Format::Jpeg], request_id: None };
        match self.stores.catalog.create_image(new, Timestamp::now()).await.expect("the catalog answers") {
            Created::New(image) => image,
            other => panic!("not created: {other:?}"),
        }
    }

    async fn tell(&self, image: &Image) {
        self.stores.jobs.publish(&[image.renditions[0].id]).await.expect("the queue takes hints");
    }

    /// Sends a hint and follows it, as the loop does.
    async fn follow(&self, image: &Image, engine: Engine) {
        self.tell(image).await;
        let delivery = self.stores.jobs.lease(1).await.expect("the queue answers").pop().expect("there is a hint");
        assert_eq!(delivery.rendition(), image.renditions[0].id);
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("nobody closes the semaphore");
        let place = Workplace {
            worker_id: "test".to_owned(),
            stores: self.stores.clone(),
            presence: Presence::always(),
            config: self.config.clone(),
            converters: Converters::inside(engine, &self.config),
            shutdown: Shutdown::new(),
            outages: Failures::default(),
            aside: Arc::new(Semaphore::new(1)),
            writing: Arc::new(Semaphore::new(1)),
        };
        place.follow(delivery, slot).await;
    }

    /// The loop itself.
    fn run(&self, engine: Engine, shutdown: &Shutdown) -> impl Future<Output = ()> + Send + 'static {
        let converters = Converters::inside(engine, &self.config);
        run(self.stores.clone(), self.config.clone(), converters, shutdown.clone())
    }

    /// Uses up one attempt.
    async fn begin_once_in_vain(&self, image: &Image) {
        let (catalog, now) = (&self.stores.catalog, Timestamp::now());
        let claim = catalog.claim(image.renditions[0].id, "other", self.config.lease, now).await.expect("the catalog answers");
        let Claim::Granted(job) = claim else { panic!("it was free: {claim:?}") };
        assert_eq!(catalog.release(&job, now, false, now).await.expect("the catalog answers"), Commit::Done);
    }

    /// From now on no blob is published before the bar is lifted.
    fn bar_publishing(&mut self) -> Arc<Bar> {
        let bar = Arc::<Bar>::default();
        self.stores.blobs = Arc::new(Barred { blobs: Arc::clone(&self.stores.blobs), bar: Arc::clone(&bar) });
        bar
    }

    async fn rendition(&self, image: &Image) -> Rendition {
        self.stores.catalog.rendition(image.renditions[0].id).await.expect("the catalog answers").expect("there is one")
    }

    async fn read(&self, blob: &StoredBlob) -> Vec<u8> {
        let blocks = read_checked(&*self.stores.blobs, blob, 0..blob.digest.size_bytes).await.expect("blobs can be read");
        blocks.try_collect::<Vec<_>>().await.expect("every block is whole").concat()
    }

    fn renditions_on_disk(&self) -> usize {
        fn count(folder: &Path) -> usize {
            let entries = std::fs::read_dir(folder).expect("the folder can be read");
            let paths = entries.map(|entry| entry.expect("the folder can be read").path());
            paths.map(|path| if path.is_dir() { count(&path) } else { usize::from(path.to_string_lossy().contains("converted_img")) }).sum()
        }
        count(self.folder.path())
    }
}

/// Holds a conversion until it is opened, or dropped.
struct Gate {
    entered: Option<oneshot::Receiver<()>>,
    opened: mpsc::Sender<()>,
}

impl Gate {
    fn new() -> (Self, Engine) {
        let (enter, entered) = oneshot::channel();
        let (opened, wait) = mpsc::channel();
        let inside = Mutex::new((Some(enter), wait));
        let engine: Engine = Arc::new(move |input, header, spec, limits| {
            let mut inside = inside.lock().expect("one conversion at a time");
            if let Some(enter) = inside.0.take() {
                // Not every test waits for this.
                let _ = enter.send(());
            }
            // An error means that the gate is gone, which opens it as well.
            let _ = inside.1.recv();
            convert(input, header, spec, limits)
        });
        (Self { entered: Some(entered), opened }, engine)
    }

    async fn entered(&mut self) {
        self.entered.take().expect("asked for once").await.expect("the conversion begins");
    }

    fn open(self) {
        self.opened.send(()).expect("the conversion waits");
    }
}

fn picture() -> Vec<u8> {
    let image = RgbImage::from_fn(40, 30, |x, y| image::Rgb([(x * 6) as u8, (y * 8) as u8, 99]));
    let mut bytes = Cursor::new(Vec::new());
    DynamicImage::ImageRgb8(image).write_to(&mut bytes, ImageFormat::Png).expect("it can be encoded");
    bytes.into_inner()
}
