//! One bucket: how long its answers are waited for, and what they mean.

use std::{
    fmt::Display,
    future::Future,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use object_store::{
    Error, ObjectStore, ObjectStoreExt, PutMode, PutPayload,
    aws::AmazonS3,
    multipart::MultipartStore,
    path::Path,
    signer::{SignedUrlOptions, Signer},
};
use reqwest::Method;
use tokio::{
    sync::Semaphore,
    time::{Instant, sleep_until, timeout},
};

use super::{PART_BYTES, S3Config};
use crate::{
    BlobKey, Kind, StoreError, StoreId,
    blobs::keys::{KeyParts, parse_store_id},
};

/// When nothing was heard of the bucket for the interval, it is asked something small; without an answer to that it is away. Both together are
/// shorter than the 3 s within which clients are told of an outage.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
const LOOK_TIMEOUT: Duration = Duration::from_millis(1_500);
/// The longest that an answer, or the next piece of one, may take from a bucket that answers other questions meanwhile: a request may hang
/// where others pass.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// The slowest line that is worth waiting for, 4 Mbit/s: what is sent may take the time in which it would carry everything that is on its way
/// at once, and after that the answer its own.
const SLOWEST_LINE_BYTES_A_SECOND: u64 = 512 << 10;
/// Parts of one process that are on their way at once: enough to fill a line, few enough that each of them arrives soon.
const TRANSFERS_AT_ONCE: usize = 8;
/// As much as can be on its way at once. Nothing is waited for longer than this may take.
const MAX_MOVING_BYTES: u64 = (TRANSFERS_AT_ONCE * PART_BYTES) as u64;

/// How long a signed list may be asked for.
const LIST_URL_TTL: Duration = Duration::from_mins(1);

const STORE: &str = "S3";
const STORE_ID: &str = "store-id";
/// More than any id has, with a line end.
const MAX_STORE_ID_BYTES: u64 = 100;

/// A bucket, or what has a prefix in it.
#[derive(Debug)]
pub(super) struct Bucket {
    pub(super) client: AmazonS3,
    /// Signs under the name by which clients reach the bucket.
    pub(super) signer: AmazonS3,
    /// Whether the store knows the condition that an object must not be there yet.
    pub(super) creates_once: bool,
    /// For the one call that the client has not.
    plain: reqwest::Client,
    prefix: String,
    /// How messages call it.
    name: String,
    /// What [`store_id`](Self::store_id) last answered: should another bucket turn up in the place of this one, it must not pass for it.
    seen_id: OnceLock<StoreId>,
    /// When a request of this process was last answered as it should be.
    last_heard: Mutex<Option<Instant>>,
    transfers: Semaphore,
    /// The bytes of all transfers whose turn it is.
    moving_bytes: AtomicU64,
}

impl Bucket {
    pub(super) fn new(config: &S3Config) -> Result<Self, StoreError> {
        let separator = if config.prefix.is_empty() { "" } else { "/" };
        Ok(Self {
            client: config.client()?,
            signer: config.signer()?,
            creates_once: S3Config::creates_once(),
            plain: config.plain_client()?,
            prefix: format!("{}{separator}", config.prefix),
            name: format!("bucket s3://{}{separator}{}", config.bucket, config.prefix),
            seen_id: OnceLock::new(),
            last_heard: Mutex::default(),
            transfers: Semaphore::new(TRANSFERS_AT_ONCE),
            moving_bytes: AtomicU64::default(),
        })
    }

    /// What all names have before them, for a list.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The key of an object; `None` for what is not a blob.
    pub(super) fn key(&self, path: &Path) -> Option<BlobKey> {
        let key = path.as_ref().strip_prefix(&self.prefix)?;
        KeyParts::parse(key).map(|_| BlobKey(key.to_owned()))
    }

    /// Where a blob is.
    pub(super) fn path(&self, key: &BlobKey) -> Result<Path, StoreError> {
        KeyParts::of(key)?;
        Ok(self.object(&key.0))
    }

    fn object(&self, name: &str) -> Path {
        Path::from(format!("{}{name}", self.prefix))
    }

    /// Waits for what is answered at once by a bucket that is well.
    pub(super) async fn soon<T>(&self, work: impl Future<Output = object_store::Result<T>>) -> object_store::Result<T> {
        self.unless_away(|| ANSWER_TIMEOUT, work).await
    }

    /// Waits for its turn, as long as those before it may take, and then for what carries so many bytes, a part at most, there or back.
    pub(super) async fn transfer<T>(
        &self,
        size_bytes: u64,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        let patience = || time_to_move(self.moving_bytes.load(Ordering::Relaxed));
        let _turn = tokio::select! {
            biased;
            turn = self.transfers.acquire() => turn.expect("nobody closes the semaphore"),
            error = self.until_silent(patience) => return Err(error),
        };
        let _load = Load::add(&self.moving_bytes, size_bytes);
        self.unless_away(patience, work).await
    }

    /// Waits for what the bucket does with so many bytes that it has. They are not on the line: nobody else waits longer for them.
    pub(super) async fn rearrange<T>(
        &self,
        size_bytes: u64,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        self.unless_away(|| time_to_move(size_bytes), work).await
    }

    /// Waits as long as `patience` ever says, and no longer than the bucket is heard of. A slow bucket and one that is away are told apart by
    /// whether it answers anything at all.
    async fn unless_away<T>(
        &self,
        patience: impl Fn() -> Duration,
        work: impl Future<Output = object_store::Result<T>>,
    ) -> object_store::Result<T> {
        tokio::select! {
            biased;
            result = work => {
                if result.is_ok() {
                    self.heard();
                }
                result
            }
            error = self.until_silent(patience) => Err(error),
        }
    }

    async fn until_silent(&self, patience: impl Fn() -> Duration) -> Error {
        let begin = Instant::now();
        let mut limit = patience();
        while begin.elapsed() < limit {
            let quiet_since = self.last_heard().map_or(begin, |heard| heard.max(begin));
            sleep_until((quiet_since + LOOK_INTERVAL).min(begin + limit)).await;
            // Others may have come upon the line meanwhile, and have gone again when it is looked at next.
            limit = limit.max(patience());
            if self.last_heard() > Some(quiet_since) || quiet_since.elapsed() < LOOK_INTERVAL {
                continue;
            }
            match timeout(LOOK_TIMEOUT, self.client.head(&self.object(STORE_ID))).await {
                Ok(Ok(_) | Err(Error::NotFound { .. })) => self.heard(),
                Ok(Err(error)) => return error,
                // Too busy for this question, but not for others.
                Err(_) if self.last_heard() > Some(quiet_since) => {}
                Err(_) => return silent(LOOK_INTERVAL + LOOK_TIMEOUT),
            }
        }
        silent(limit)
    }

    fn heard(&self) {
        *self.last_heard.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn last_heard(&self) -> Option<Instant> {
        *self.last_heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fails unless the bucket was heard of just now or can be, and is the one that it was.
    pub(super) async fn ping(&self) -> Result<(), StoreError> {
        if self.last_heard().is_some_and(|heard| heard.elapsed() < LOOK_INTERVAL) { Ok(()) } else { self.check_same_bucket().await }
    }

    /// Fails with `Kind::Misconfigured` unless there is such a bucket and these credentials may read it.
    pub(super) async fn check_settings(&self) -> Result<(), StoreError> {
        let wrong = |what, error| Err(StoreError::caused_by(Kind::Misconfigured, format!("{what} the {}", self.name), error));
        match self.soon(self.client.get(&self.object(STORE_ID))).await {
            Ok(_) => Ok(()),
            Err(error) if is_no_bucket(&error) => wrong("there is no such bucket as", error),
            Err(Error::NotFound { .. }) => Ok(()),
            Err(error @ (Error::PermissionDenied { .. } | Error::Unauthenticated { .. })) => wrong("these credentials may not read", error),
            Err(error) => Err(self.failed("reach", error)),
        }
    }

    /// The id in the bucket; `None` in a new one.
    async fn read_store_id(&self) -> Result<Option<StoreId>, StoreError> {
        let place = self.object(STORE_ID);
        let read = self.soon(async {
            let found = self.client.get(&place).await?;
            if found.meta.size > MAX_STORE_ID_BYTES { Ok(Bytes::new()) } else { found.bytes().await }
        });
        match read.await {
            Ok(bytes) => parse_store_id(&String::from_utf8_lossy(&bytes), format_args!("{STORE_ID} in the {}", self.name)).map(Some),
            Err(error) if matches!(error, Error::NotFound { .. }) && !is_no_bucket(&error) => Ok(None),
            Err(error) => Err(self.failed("read the id of", error)),
        }
    }

    pub(super) async fn store_id(&self) -> Result<Option<StoreId>, StoreError> {
        let id = self.read_store_id().await?;
        if let Some(id) = &id {
            self.seen_id.get_or_init(|| id.clone());
        }
        Ok(id)
    }

    pub(super) async fn set_store_id(&self, id: &StoreId) -> Result<(), StoreError> {
        // Before a store without conditions replaces it.
        if self.read_store_id().await?.is_some() {
            return Ok(());
        }
        let place = self.object(STORE_ID);
        match self.soon(self.create(&place, Bytes::from(format!("{id}\n")))).await {
            Ok(()) => Ok(()),
            // Another one was quicker, or the answer of an earlier try got lost.
            Err(error) if !is_silent(&error) && self.read_store_id().await?.is_some() => Ok(()),
            Err(error) => Err(self.failed("name", error)),
        }
    }

    /// Fails unless the bucket still is the one whose id was asked for.
    pub(super) async fn check_same_bucket(&self) -> Result<(), StoreError> {
        match (self.seen_id.get(), self.read_store_id().await?) {
            (Some(seen), now) if now.as_ref() != Some(seen) => {
                Err(StoreError::new(Kind::Unavailable, format!("the {} is not the store {seen} that it was before", self.name)))
            }
            _ => Ok(()),
        }
    }

    /// Writes an object that must not be there yet. A store without such a condition writes it all the same: blobs have fresh keys.
    pub(super) async fn create(&self, path: &Path, bytes: Bytes) -> object_store::Result<()> {
        let payload = PutPayload::from_bytes(bytes);
        match self.client.put_opts(path, payload.clone(), PutMode::Create.into()).await {
            Err(Error::NotImplemented { .. }) => self.client.put(path, payload).await.map(drop),
            put => put.map(drop),
        }
    }

    /// Whether an object could not be [created](Self::create) because it is there already with these bytes.
    pub(super) async fn is_taken_by(&self, path: &Path, bytes: &Bytes, error: &Error) -> bool {
        if !matches!(error, Error::AlreadyExists { .. } | Error::Precondition { .. }) {
            return false;
        }
        let found = self.transfer(bytes.len() as u64, async { self.client.get(path).await?.bytes().await });
        found.await.is_ok_and(|found| found == bytes)
    }

    /// Ends a multipart upload and removes its parts.
    pub(super) async fn abort(&self, path: &Path, id: &str) -> object_store::Result<()> {
        self.soon(self.client.abort_multipart(path, &id.to_owned())).await
    }

    /// Ids of the multipart uploads to `path` that are open, as many as one answer holds.
    pub(super) async fn open_uploads(&self, path: &Path) -> object_store::Result<Vec<String>> {
        // The client has no such call, but it can sign one.
        let query = [("uploads", ""), ("prefix", path.as_ref())];
        let options = SignedUrlOptions::default().with_query(query);
        self.soon(async {
            let url = self.client.signed_url_opts(Method::GET, &Path::default(), LIST_URL_TTL, &options).await?;
            let answer = async { self.plain.get(url).send().await?.error_for_status()?.text().await };
            let answer = answer.await.map_err(|error| Error::Generic { store: STORE, source: Box::new(error.without_url()) })?;
            Ok(uploads_in(&answer, path.as_ref()))
        })
        .await
    }

    /// What a failure means for the caller; `what` was to be done with the bucket or in it.
    pub(super) fn failed(&self, what: impl Display, error: Error) -> StoreError {
        let kind = match &error {
            error if is_full(error) => Kind::Full,
            error if is_no_bucket(error) => Kind::Unavailable,
            // A fresh key that is taken, or a multipart upload that was swept meanwhile.
            Error::AlreadyExists { .. } | Error::Precondition { .. } | Error::NotFound { .. } => Kind::Conflict,
            // Rights too: keys expire and clocks go wrong, and both are mended without a restart.
            _ => Kind::Unavailable,
        };
        StoreError::caused_by(kind, format!("cannot {what} the {}", self.name), error)
    }
}

/// Bytes on their way, until it is dropped.
struct Load<'a> {
    moving_bytes: &'a AtomicU64,
    size_bytes: u64,
}

impl<'a> Load<'a> {
    fn add(moving_bytes: &'a AtomicU64, size_bytes: u64) -> Self {
        moving_bytes.fetch_add(size_bytes, Ordering::Relaxed);
        Self { moving_bytes, size_bytes }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        self.moving_bytes.fetch_sub(self.size_bytes, Ordering::Relaxed);
    }
}

/// How long an answer may take while so many bytes are moved: 5 s to 133 s.
fn time_to_move(moving_bytes: u64) -> Duration {
    ANSWER_TIMEOUT + Duration::from_millis(moving_bytes.min(MAX_MOVING_BYTES) * 1_000 / SLOWEST_LINE_BYTES_A_SECOND)
}

/// Ids of the uploads to `path` in the answer to `ListMultipartUploads`: of keys and ids nothing is escaped there.
fn uploads_in(answer: &str, path: &str) -> Vec<String> {
    let uploads = answer.split("<Upload>").skip(1).filter_map(|upload| {
        let field = |begin, end| upload.split_once(begin)?.1.split_once(end).map(|(value, _)| value);
        (field("<Key>", "</Key>")? == path).then(|| field("<UploadId>", "</UploadId>").map(str::to_owned))?
    });
    uploads.collect()
}

/// Nothing was heard for so long.
#[derive(Debug, thiserror::Error)]
#[error("no answer for {0:?}")]
struct Silence(Duration);

fn silent(patience: Duration) -> Error {
    Error::Generic { store: STORE, source: Box::new(Silence(patience)) }
}

pub(super) fn is_silent(error: &Error) -> bool {
    matches!(error, Error::Generic { source, .. } if source.is::<Silence>())
}

/// Both come as 404, and the code is in the body only.
fn is_no_bucket(error: &Error) -> bool {
    error.to_string().contains("NoSuchBucket")
}

/// How stores say that there is no room: the status of Ceph and others, the codes of `MinIO` and Ceph.
fn is_full(error: &Error) -> bool {
    let text = error.to_string();
    ["507 Insufficient Storage", "XMinioStorageFull", "QuotaExceeded"].iter().any(|code| text.contains(code))
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::future::{join, join_all};
    use tokio::time::sleep;

    use super::*;

    const PART: u64 = PART_BYTES as u64;
    /// What the slowest line takes for eight parts, and for the answer after them.
    const EIGHT_PARTS: Duration = Duration::from_secs(128);
    const LONGEST: Duration = Duration::from_secs(133);

    /// What comes of `work` with a bucket that is heard of all the time, and how long that takes by the clock of the test.
    async fn with_a_lively_bucket<T>(work: impl AsyncFnOnce(&Bucket) -> T) -> (T, Duration) {
        let config: S3Config = "s3://the-bucket".parse().expect("a URL of a bucket");
        let config = S3Config { endpoint: Some("http://127.0.0.1:1".to_owned()), ..config };
        let bucket = Bucket::new(&config).expect("settings");
        let begin = Instant::now();
        let lively = async {
            loop {
                bucket.heard();
                sleep(LOOK_INTERVAL / 2).await;
            }
        };
        tokio::select! {
            biased;
            done = work(&bucket) => (done, begin.elapsed()),
            () = lively => unreachable!("it is heard of for ever"),
        }
    }

    async fn hangs() -> object_store::Result<()> {
        pending().await
    }

    fn is_given_up(result: &object_store::Result<()>) -> bool {
        result.as_ref().is_err_and(is_silent)
    }

    #[tokio::test(start_paused = true)]
    async fn a_transfer_that_hangs_is_given_up_when_a_slow_line_had_carried_all_that_is_on_it() {
        for (transfers, limit) in [(1, Duration::from_secs(21)), (2, Duration::from_secs(37)), (TRANSFERS_AT_ONCE, LONGEST)] {
            let (ended, after) =
                with_a_lively_bucket(async |bucket| join_all((0..transfers).map(|_| bucket.transfer(PART, hangs()))).await).await;
            assert!(ended.iter().all(is_given_up), "{ended:?}");
            assert_eq!(after, limit, "{transfers} transfers");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_bucket_does_within_itself_is_bounded_and_makes_nobody_else_wait() {
        for size_bytes in [PART, 50 << 20, u64::MAX / 2] {
            let (ended, after) = with_a_lively_bucket(async |bucket| {
                let inside = join_all((0..20).map(|_| bucket.rearrange(size_bytes, hangs())));
                let begin = Instant::now();
                let transfer = async { (bucket.transfer(PART, hangs()).await, begin.elapsed()) };
                join(inside, transfer).await
            })
            .await;
            let (inside, (transfer, transfer_after)) = ended;
            assert!(is_given_up(&transfer) && inside.iter().all(is_given_up), "{transfer:?} {inside:?}");
            assert_eq!(transfer_after, Duration::from_secs(21), "a part beside {size_bytes} bytes in the bucket");
            assert!(after <= LONGEST, "{size_bytes} bytes in the bucket took {after:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_a_turn_gets_it_after_eight_parts_on_the_slowest_line() {
        let (ended, after) = with_a_lively_bucket(async |bucket| {
            let before = join_all((0..TRANSFERS_AT_ONCE).map(|_| {
                bucket.transfer(PART, async {
                    sleep(EIGHT_PARTS).await;
                    Ok(())
                })
            }));
            join(before, bucket.transfer(PART, async { Ok(()) })).await
        })
        .await;
        let (before, ninth) = ended;
        assert!(before.iter().all(Result::is_ok), "{before:?}");
        ninth.expect("its turn came");
        assert_eq!(after, EIGHT_PARTS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_turn_that_does_not_come_is_not_waited_for_longer_than_those_before_it_may_take() {
        let (ended, after) = with_a_lively_bucket(async |bucket| {
            let stuck = join_all((0..TRANSFERS_AT_ONCE).map(|_| async {
                let _turn = bucket.transfers.acquire().await;
                let _load = Load::add(&bucket.moving_bytes, 1 << 20);
                pending::<()>().await;
            }));
            tokio::select! {
                biased;
                _ = stuck => unreachable!("they hang for ever"),
                ninth = bucket.transfer(PART, async { Ok(()) }) => ninth,
            }
        })
        .await;
        assert!(is_given_up(&ended), "{ended:?}");
        assert_eq!(after, Duration::from_secs(21), "8 MiB before it");
    }
}
