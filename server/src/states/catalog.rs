use std::{
    path::{Path, PathBuf},
    pin::pin,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread::{self, Thread},
    time::Duration,
};

use async_trait::async_trait;
use tintype_store::{
    BlobKey, Change, Claim, Commit, Created, Drawn, FailedRendition, Failure, FailureFilter, FailurePosition, FinishedUpload, Hold, Image,
    ImageChange, ImageFilter, ImageId, ImageWrite, Job, LinkCreated, LinkKey, NewImage, NewToken, NewUser, OpenUpload, OpenWrite, Party,
    Recorded, RecordedBlob, Rendition, RenditionId, Requested, Retry, SeenImage, Share, ShareRole, Sharing, SignedIn, Spec, StoreError,
    StoreId, StoredBlob, Timestamp, Token, TokenId, Totals, UploadLink, User, UserChange, UserId, UserWrite, Worker,
    catalog::{
        Catalog, Changes, Edits, Images, Integrity, Jobs, Links, Overview, Publisher, Shares, Upkeep, Uploads, Users, Writes,
        sqlite::Sqlite,
    },
};
use tokio::{runtime::Runtime, task::coop::unconstrained};

use super::{clock::Clock, faults::Faults};

/// SQLite works on threads and timers of its own, which know nothing of the clock of a run.
static DATABASE: LazyLock<Runtime> = LazyLock::new(|| {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    runtime.worker_threads(2).enable_all().build().expect("threads can be started")
});

/// Waits here for a call to SQLite: for those who run on this thread it takes no time, and nobody gets in between.
pub(super) fn at_once<T>(call: impl Future<Output = T>) -> T {
    /// With a flag of its own, because others on this thread may use up what `unpark` leaves.
    struct Unpark {
        thread: Thread,
        woken: AtomicBool,
    }
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::Release);
            self.thread.unpark();
        }
    }
    let _database = DATABASE.enter();
    let unpark = Arc::new(Unpark { thread: thread::current(), woken: AtomicBool::new(false) });
    let waker = Waker::from(Arc::clone(&unpark));
    // Polled outside its runtime a call has no turns to give up.
    let mut call = pin!(unconstrained(call));
    loop {
        match call.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => {
                while !unpark.woken.swap(false, Ordering::Acquire) {
                    thread::park();
                }
            }
        }
    }
}

/// An empty catalog, copied again and again: to migrate one takes longer than most runs.
pub(super) struct Template(tempfile::TempDir);

impl Template {
    pub(super) fn make() -> Self {
        // What is in memory is flushed at once.
        let memory = Path::new("/dev/shm");
        let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let template = Self(folder.expect("a temporary folder can be made"));
        let path = template.path("template");
        drop(at_once(Sqlite::open(&path)).expect("a new catalog opens"));
        // The last connection closes on a thread of its own, and takes the log with it.
        while PathBuf::from(format!("{}-wal", path.display())).exists() {
            thread::yield_now();
        }
        template
    }

    pub(super) fn open(&self, seed: u64) -> Arc<Sqlite> {
        let path = self.path(&seed.to_string());
        std::fs::copy(self.path("template"), &path).expect("a file can be copied");
        Arc::new(at_once(Sqlite::open(&path)).expect("a copied catalog opens"))
    }

    pub(super) fn remove(&self, seed: u64) {
        for suffix in ["", "-wal", "-shm"] {
            // SQLite itself may have removed the last two.
            let _ = std::fs::remove_file(format!("{}{suffix}", self.path(&seed.to_string()).display()));
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(format!("{name}.db"))
    }
}

/// The catalog as one process has it: the real one, with the clock of the run and the faults of the process around every call.
#[derive(Debug)]
pub(super) struct FaultyCatalog {
    pub(super) inner: Arc<Sqlite>,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
}

impl Catalog for FaultyCatalog {}

/// Passes every call on. `at` names arguments that are times, `by` and `by_ref` how else the clock tells an argument, `then` what it makes of the answer.
macro_rules! faulty {
    ($($port:ident { $(
        fn $call:ident($($name:ident: $type:ty),*) $(at($($time:ident),*))? $(by($told:ident: $how:expr))? $(by_ref($shown:ident: $show:expr))? -> $answer:ty $(, then $then:expr)?;
    )* })*) => { $(
        #[async_trait]
        impl $port for FaultyCatalog {
            $(async fn $call(&self, $($name: $type),*) -> Result<$answer, StoreError> {
                self.faults.around(|| {
                    $($(let $time = self.clock.of_run($time);)*)?
                    $(let $told = $how(&self.clock, $told);)?
                    $(let $shown = &$show(&self.clock, $shown);)?
                    let answer = at_once(self.inner.$call($($name),*));
                    $(let answer = answer.map(|answer| $then(&self.clock, answer));)?
                    answer
                }).await
            })*
        }
    )* };
}

faulty! {
    Users {
        fn create_user(new: NewUser, now: Timestamp) at(now) -> User;
        fn user_by_name(name: &str) -> Option<User>;
        fn user(id: UserId) -> Option<User>;
        fn list_users(after: Option<UserId>, limit: u32) -> Vec<User>;
        fn update_user(id: UserId, change: &UserChange) -> UserWrite;
        fn delete_user(id: UserId, now: Timestamp) at(now) -> UserWrite;
        fn images_of_deleted_users(limit: u32) -> Vec<ImageId>;
        fn forget_deleted_users() -> u64;
        fn has_users() -> bool;
        fn create_token(new: NewToken, now: Timestamp) at(now) -> Option<Token>;
        fn list_tokens(user: UserId, before: Option<TokenId>, limit: u32, now: Timestamp) at(now) -> Vec<Token>;
        fn revoke_token(user: UserId, id: TokenId) -> bool;
        fn signed_in(secret_sha256: &[u8; 32], now: Timestamp) at(now) -> Option<SignedIn>;
        fn valid_tokens(ids: &[TokenId], now: Timestamp) at(now) -> Vec<TokenId>;
    }
    Images {
        fn create_image(new: NewImage, now: Timestamp) at(now) -> Created;
        fn image_by_request(owner: UserId, request_id: &str) -> Option<Option<Image>>;
        fn image(id: ImageId) -> Option<Image>;
        fn images(ids: &[ImageId]) -> Vec<Image>;
        fn rendition(id: RenditionId) -> Option<Rendition>;
        fn list_images(user: UserId, filter: &ImageFilter, before: Option<ImageId>, limit: u32) -> Vec<SeenImage>;
        fn delete_image(id: ImageId, now: Timestamp) at(now) -> bool;
        fn blob(key: &BlobKey) -> Option<StoredBlob>;
    }
    Uploads {
        fn open_upload(owner: UserId, upload_id: &str) -> Option<OpenUpload>;
        fn take_upload(owner: UserId, upload_id: &str, now: Timestamp) by(now: Clock::taking) -> Option<OpenUpload>;
        fn record_upload(upload: &OpenUpload, first: bool) by_ref(upload: Clock::upload) -> Recorded;
        fn finish_upload(new: NewImage, hold: Hold, first: bool, now: Timestamp) at(now) by(hold: Clock::hold) -> Option<FinishedUpload>;
        fn drop_upload(owner: UserId, upload_id: &str, hold: Hold) by(hold: Clock::hold) -> bool;
        fn stale_uploads(before: Timestamp, limit: u32) at(before) -> Vec<OpenUpload>;
    }
    Links {
        fn create_upload_link(new: UploadLink, now: Timestamp) at(now) -> LinkCreated;
        fn open_upload_link(owner: UserId, upload_id: &str) -> Option<UploadLink>;
        fn upload_link(id: &str) -> Option<UploadLink>;
        fn receive_upload(id: &str, key: &BlobKey) -> bool;
        fn finish_upload_link(new: NewImage, link: &UploadLink, now: Timestamp) at(now) -> Option<Created>;
        fn close_upload_link(link: &UploadLink) -> bool;
        fn forget_upload_link(link: &UploadLink) -> ();
        fn stale_upload_links(before: Timestamp, limit: u32) at(before) -> Vec<UploadLink>;
        fn make_link_key(key: &LinkKey) -> LinkKey;
        fn link_key(id: i64) -> Option<LinkKey>;
    }
    Edits {
        fn create_rendition(editor: UserId, id: ImageId, spec: &Spec, max_renditions: u32, now: Timestamp) at(now) -> Requested;
        fn update_image(editor: UserId, id: ImageId, change: &ImageChange, now: Timestamp) at(now) -> ImageWrite;
    }
    Shares {
        fn share_image(image: ImageId, party: &Party, role: ShareRole, max_shares: u32, now: Timestamp) at(now) -> Sharing;
        fn unshare_image(image: ImageId, party: &Party, now: Timestamp) at(now) -> ();
        fn shares(image: ImageId) -> Vec<Share>;
        fn seen_images(user: UserId, ids: &[ImageId]) -> Vec<SeenImage>;
        fn seen_image_of(user: UserId, rendition: RenditionId) -> Option<SeenImage>;
        fn watched_images(user: UserId, after: ImageId, limit: u32) -> Vec<SeenImage>;
    }
    Jobs {
        fn claim(id: RenditionId, worker: &str, lease: Duration, now: Timestamp) at(now) -> Claim, then Clock::claim;
        fn renew(job: &Job, until: Timestamp) at(until) -> Commit;
        fn complete(job: &Job, output: &StoredBlob, drawn: &Drawn, now: Timestamp) at(now) -> Commit;
        fn fail(job: &Job, failure: &Failure, now: Timestamp) at(now) -> Commit;
        fn release(job: &Job, retry_at: Timestamp, uncounted: bool, now: Timestamp) at(retry_at, now) -> Commit;
        fn retry(editor: Option<UserId>, id: RenditionId, now: Timestamp) at(now) -> Retry;
        fn expire_leases(max_attempts: u32, limit: u32, now: Timestamp) at(now) -> u64;
        fn void_leases(now: Timestamp) at(now) -> u64;
        fn pull_back_times(farthest: Timestamp, now: Timestamp) at(farthest, now) -> u64;
        fn untold(told_before: Timestamp, limit: u32, now: Timestamp) at(told_before, now) -> Vec<RenditionId>;
    }
    Changes {
        fn changes_after(position: i64, limit: u32) -> Vec<Change>;
        fn last_position() -> i64;
        fn changes_of(audience: UserId, position: i64, limit: u32) -> Option<Vec<Change>>;
    }
    Publisher {
        fn hold_publisher(holder: &str, until: Timestamp, now: Timestamp) at(until, now) -> Option<i64>;
        fn published(holder: &str, position: i64) -> Commit;
    }
    Upkeep {
        fn ping() -> ();
        fn store_id(wanted: Option<&StoreId>) -> StoreId;
        fn heartbeat(worker: &Worker) -> ();
        fn workers(since: Timestamp) at(since) -> Vec<Worker>;
        fn doomed_blobs(limit: u32) -> Vec<BlobKey>;
        fn forget_blobs(keys: &[BlobKey]) -> ();
        fn postpone_blobs(keys: &[BlobKey], now: Timestamp) at(now) -> ();
        fn prune(before: Timestamp, limit: u32) at(before) -> ();
    }
    Writes {
        fn note_write(write: &OpenWrite, now: Timestamp) at(now) -> ();
        fn forget_write(key: &BlobKey) -> ();
        fn stale_writes(before: Timestamp, limit: u32) at(before) -> Vec<OpenWrite>;
        fn unrecorded(keys: &[BlobKey]) -> Vec<BlobKey>;
    }
    Overview {
        fn totals() -> Totals;
        fn list_failures(filter: &FailureFilter, before: Option<FailurePosition>, limit: u32) -> Vec<FailedRendition>;
    }
    Integrity {
        fn originals_after(after: ImageId, limit: u32) -> Vec<RecordedBlob>;
        fn outputs_after(after: RenditionId, limit: u32) -> Vec<RecordedBlob>;
        fn remake(id: RenditionId, output: &BlobKey, now: Timestamp) at(now) -> bool;
    }
}
