//! From settings to stores: the URL scheme picks the adapter.

use std::{
    error::Error,
    fmt,
    fs::{File, OpenOptions, TryLockError},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::{info, warn};

use crate::{
    Kind, StoreError, StoreId,
    blobs::{
        Blobs,
        folder::Folder,
        s3::{S3, S3Config},
    },
    catalog::{Catalog, postgres::Postgres, sqlite::Sqlite},
    events::EventStream,
    jobs::{JobQueue, Nudges, jetstream::JetStream, local::Local},
    random_hex,
};

/// How long a starting process waits for the one before it to let go of the data folder.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// How long a starting process waits for stores elsewhere to answer, and a worker for a server to have made them ready.
pub(crate) const START_PATIENCE: Duration = Duration::from_mins(5);
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How often it says that it still waits.
const REMINDER: Duration = Duration::from_secs(30);

/// `sqlite:PATH` (relative to the data folder) or `postgres://…`.
#[derive(Clone, PartialEq, Eq)]
pub enum CatalogUrl {
    /// One file.
    Sqlite(PathBuf),
    /// A server; the whole URL.
    Postgres(String),
}

/// `file:PATH` (relative to the data folder) or `s3://…`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BlobsUrl {
    /// A local or shared folder.
    Folder(PathBuf),
    /// A bucket.
    S3(S3Config),
}

/// `local:` or `nats://…`.
#[derive(Clone, PartialEq, Eq)]
pub enum JobsUrl {
    /// Inside this process.
    Local,
    /// A server with JetStream; the whole URL, or several with commas between them.
    Nats(String),
}

impl FromStr for CatalogUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = path_of(text, "sqlite:") {
            return Ok(Self::Sqlite(path));
        }
        match scheme(text) {
            Some("postgres" | "postgresql") => Ok(Self::Postgres(text.to_owned())),
            _ => Err(unknown("catalog", text, "sqlite:PATH and postgres://USER@HOST/DATABASE")),
        }
    }
}

impl FromStr for BlobsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(path) = path_of(text, "file:") {
            return Ok(Self::Folder(path));
        }
        match scheme(text) {
            Some("s3") => text.parse().map(Self::S3),
            _ => Err(unknown("blob store", text, "file:PATH and s3://BUCKET/PREFIX")),
        }
    }
}

impl FromStr for JobsUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match scheme(text) {
            _ if text == "local:" => Ok(Self::Local),
            Some("nats" | "tls") => Ok(Self::Nats(text.to_owned())),
            _ => Err(unknown("queue", text, "local: and nats://HOST:PORT")),
        }
    }
}

/// Never shows the URL of a server: there may be a password in it.
impl fmt::Debug for CatalogUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => f.debug_tuple("Sqlite").field(path).finish(),
            Self::Postgres(_) => f.write_str("Postgres(..)"),
        }
    }
}

/// Never shows the URL of a server: there may be a password in it.
impl fmt::Debug for JobsUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Local => "Local",
            Self::Nats(_) => "Nats(..)",
        })
    }
}

/// The path after the scheme, with or without `//` between them.
fn path_of(text: &str, scheme: &str) -> Option<PathBuf> {
    let path = text.strip_prefix(scheme)?;
    let path = path.strip_prefix("//").unwrap_or(path);
    (!path.is_empty()).then(|| PathBuf::from(path))
}

fn scheme(text: &str) -> Option<&str> {
    text.split_once("://").map(|(scheme, _)| scheme)
}

/// Names what is known and of the URL only its scheme: there may be a password in the rest.
fn unknown(what: &str, text: &str, known: &str) -> String {
    let is_scheme = |scheme: &&str| !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'+');
    match text.split_once(':').map(|(scheme, _)| scheme).filter(is_scheme) {
        Some(scheme) => format!("a {what} cannot be opened by this {scheme}: URL; known are {known}"),
        None => format!("the URL of the {what} has no scheme; known are {known}"),
    }
}

/// Where everything is.
#[derive(Debug, Clone)]
pub struct StoreConfig {
    /// The data folder, for whatever is local.
    pub data: PathBuf,
    /// The catalog.
    pub catalog: CatalogUrl,
    /// The blob store.
    pub blobs: BlobsUrl,
    /// The queue.
    pub jobs: JobsUrl,
}

impl StoreConfig {
    /// `Kind::Misconfigured`, with the reason, when these backends cannot work together or not for this opener.
    fn check(&self, opener: Opener) -> Result<(), StoreError> {
        let reason = match (&self.catalog, &self.jobs, opener) {
            (CatalogUrl::Sqlite(_), JobsUrl::Nats(_), _) => {
                "a SQLite catalog serves one process, so there is nobody to tell through NATS; use local: as the queue, or PostgreSQL"
            }
            (CatalogUrl::Sqlite(_), _, Opener::Worker) => {
                "a SQLite catalog serves one process, the server with its embedded workers; a worker of its own needs PostgreSQL and NATS"
            }
            (_, JobsUrl::Local, Opener::Worker) => {
                "a local: queue is inside the server, so a worker of its own would never hear of work; use NATS"
            }
            _ => return Ok(()),
        };
        Err(StoreError::new(Kind::Misconfigured, reason))
    }
}

/// Who opens the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opener {
    /// Migrates the catalog, under a lock, and names a new store.
    Server,
    /// Waits until a server has done so.
    Worker,
}

/// The open stores. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Stores {
    /// The truth.
    pub catalog: Arc<dyn Catalog>,
    /// The bytes.
    pub blobs: Arc<dyn Blobs>,
    /// The hints.
    pub jobs: Arc<dyn JobQueue>,
    /// To be told after every committed change of an image, so that whoever follows the change log need not wait.
    pub nudges: Arc<dyn Nudges>,
    /// Where changes are told to other services; `None` where there is no such place.
    pub events: Option<Arc<dyn EventStream>>,
    /// No other process can be using the catalog: it is a file under a lock that this process holds.
    pub exclusive: bool,
    /// Holds that lock until the last clone is dropped.
    _lock: Option<Arc<File>>,
}

impl Stores {
    /// Stores that are open already, without a lock of a folder and without events.
    pub fn of(catalog: Arc<dyn Catalog>, blobs: Arc<dyn Blobs>, jobs: Arc<dyn JobQueue>, nudges: Arc<dyn Nudges>) -> Self {
        Self { catalog, blobs, jobs, nudges, events: None, exclusive: false, _lock: None }
    }

    /// Opens all three and checks that they belong together: a combination that cannot work, or a catalog and a blob store with different
    /// ids, is `Kind::Misconfigured`. Waits, and says so in the log, up to 10 s for the lock of the data folder, and up to 5 minutes for a
    /// catalog and a blob store elsewhere to answer, and as a worker for a server to have made them ready; `Kind::Unavailable` after that. A
    /// queue that is away is no reason not to open.
    pub async fn open(config: &StoreConfig, opener: Opener) -> Result<Self, StoreError> {
        config.check(opener)?;
        let (catalog, lock) = match (&config.catalog, opener) {
            (CatalogUrl::Postgres(_), Opener::Server) => {
                patiently("the catalog", START_PATIENCE, || Self::open_catalog(config, opener)).await?
            }
            // Opening these waits by itself: for the lock of the folder, for the schema that a server makes.
            (CatalogUrl::Sqlite(_), _) | (_, Opener::Worker) => Self::open_catalog(config, opener).await?,
        };
        let blobs: Arc<dyn Blobs> = match &config.blobs {
            BlobsUrl::Folder(path) => Arc::new(Folder::open(&config.data.join(path)).await?),
            BlobsUrl::S3(bucket) => Arc::new(patiently("the blob store", START_PATIENCE, || S3::open(bucket, catalog.clone())).await?),
        };
        patiently("the blob store", START_PATIENCE, || async {
            if opener == Opener::Server && blobs.store_id().await?.is_none() {
                blobs.set_store_id(&StoreId(random_hex())).await?;
            }
            check_same_store(&*catalog, &*blobs).await
        })
        .await?;
        let exclusive = lock.is_some();
        let lock = lock.map(Arc::new);
        Ok(match &config.jobs {
            JobsUrl::Local => {
                let local = Arc::new(Local::default());
                Self { catalog, blobs, jobs: local.clone(), nudges: local, events: None, exclusive, _lock: lock }
            }
            JobsUrl::Nats(url) => {
                let nats = Arc::new(JetStream::connect(url).await?);
                Self { catalog, blobs, jobs: nats.clone(), nudges: nats.clone(), events: Some(nats), exclusive, _lock: lock }
            }
        })
    }

    /// Opens the catalog alone, for upkeep that needs nothing else, with the lock of its folder where it is a file: nobody else can use it
    /// until that is dropped. Waits as [`open`](Self::open) does.
    pub async fn open_catalog(config: &StoreConfig, opener: Opener) -> Result<(Arc<dyn Catalog>, Option<File>), StoreError> {
        Ok(match &config.catalog {
            CatalogUrl::Sqlite(path) => {
                let path = config.data.join(path);
                let folder = path.parent().unwrap_or(&config.data);
                create_private_folder(folder).await?;
                let lock = lock_folder(folder, LOCK_PATIENCE).await?;
                (Arc::new(Sqlite::open(&path).await?), Some(lock))
            }
            CatalogUrl::Postgres(url) => (Arc::new(Postgres::connect(url, opener == Opener::Server).await?), None),
        })
    }

    /// `Kind::Misconfigured` when the blob store is not, or no more, the one that belongs to the catalog.
    pub async fn check_same_store(&self) -> Result<(), StoreError> {
        check_same_store(&*self.catalog, &*self.blobs).await
    }
}

/// Compares the id of the blob store with that of the catalog, which takes it over if it has none.
///
/// A new blob store is named before a new catalog: so a crash between the two is mended by the next start, and a folder that is empty
/// because nothing is mounted there never passes for the one that the catalog knows.
async fn check_same_store(catalog: &dyn Catalog, blobs: &dyn Blobs) -> Result<(), StoreError> {
    let Some(of_blobs) = blobs.store_id().await? else {
        return Err(StoreError::new(
            Kind::Unavailable,
            "no server has named the blob store yet; is it the right one, and if it is a folder, is it mounted",
        ));
    };
    let of_catalog = catalog.store_id(Some(&of_blobs)).await?;
    if of_catalog == of_blobs {
        return Ok(());
    }
    let message = format!(
        "the catalog belongs to the store {of_catalog} but the blob store is {of_blobs}: one of the two settings is wrong, \
         or a folder is not mounted"
    );
    Err(StoreError::new(Kind::Misconfigured, message))
}

/// Tries again while the answer is `Kind::Unavailable`, until it has taken `patience`.
pub(crate) async fn patiently<T, Attempt>(what: &str, patience: Duration, mut attempt: impl FnMut() -> Attempt) -> Result<T, StoreError>
where
    Attempt: Future<Output = Result<T, StoreError>>,
{
    let begin = Instant::now();
    let mut remind_at = begin;
    loop {
        match attempt().await {
            Err(error) if error.kind() == Kind::Unavailable && begin.elapsed() < patience => {
                if Instant::now() >= remind_at {
                    warn!(error = &error as &dyn Error, "waiting for {what}, up to {} s", patience.as_secs());
                    remind_at += REMINDER;
                }
                sleep(POLL_INTERVAL).await;
            }
            Ok(answer) => {
                if remind_at > begin {
                    info!(waited_ms = begin.elapsed().as_millis(), "no longer waiting for {what}");
                }
                return Ok(answer);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn create_private_folder(path: &Path) -> Result<(), StoreError> {
    let made = tokio::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).await;
    made.map_err(|error| StoreError::caused_by(Kind::Misconfigured, format!("cannot make the folder {}", path.display()), error))
}

/// Holds the folder against every other process until the file is dropped. The system lets go of it when this process dies.
async fn lock_folder(folder: &Path, patience: Duration) -> Result<File, StoreError> {
    let path = folder.join("lock");
    let away = |error| StoreError::caused_by(Kind::Misconfigured, format!("cannot lock {}", path.display()), error);
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(away)?;
    let in_use = || StoreError::new(Kind::Unavailable, format!("the data folder {} is in use by another process", folder.display()));
    let lock = || match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(in_use()),
        Err(TryLockError::Error(error)) => Err(away(error)),
    };
    patiently("the lock of the data folder", patience, || std::future::ready(lock())).await?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use std::{cell::Cell, os::unix::fs::PermissionsExt};

    use futures_util::FutureExt;

    use super::*;

    fn config(data: &Path) -> StoreConfig {
        StoreConfig {
            data: data.to_owned(),
            catalog: CatalogUrl::Sqlite("catalog.db".into()),
            blobs: BlobsUrl::Folder("blobs".into()),
            jobs: JobsUrl::Local,
        }
    }

    async fn kind(config: &StoreConfig, opener: Opener) -> Option<Kind> {
        Stores::open(config, opener).await.err().map(|error| error.kind())
    }

    #[test]
    fn schemes_pick_the_backend() {
        assert_eq!("sqlite:catalog.db".parse(), Ok(CatalogUrl::Sqlite("catalog.db".into())));
        assert_eq!("sqlite:///var/catalog.db".parse(), Ok(CatalogUrl::Sqlite("/var/catalog.db".into())));
        assert_eq!("postgres://h/d".parse(), Ok(CatalogUrl::Postgres("postgres://h/d".into())));
        assert_eq!("postgresql://h/d".parse(), Ok(CatalogUrl::Postgres("postgresql://h/d".into())));
        assert_eq!("file:blobs".parse(), Ok(BlobsUrl::Folder("blobs".into())));
        assert_eq!("file:/mnt/blobs".parse(), Ok(BlobsUrl::Folder("/mnt/blobs".into())));
        assert_eq!("s3://bucket/a/b".parse(), "s3://bucket/a/b".parse().map(BlobsUrl::S3));
        assert_eq!("local:".parse(), Ok(JobsUrl::Local));
        assert_eq!("nats://a:1,nats://b:2".parse(), Ok(JobsUrl::Nats("nats://a:1,nats://b:2".into())));
    }

    #[test]
    fn unknown_urls_are_refused_with_what_is_known_and_without_secrets() {
        let catalog = |text: &str| text.parse::<CatalogUrl>().expect_err("it is unknown");
        assert_eq!(
            catalog("mysql://user:secret@host/db"),
            "a catalog cannot be opened by this mysql: URL; known are sqlite:PATH and postgres://USER@HOST/DATABASE"
        );
        for text in ["", "secret", "sqlite:", "postgres:secret", "//user:secret@host", "us er:secret@host"] {
            let error = catalog(text);
            assert!(error.contains("known are") && !error.contains("secret"), "{error}");
        }
        assert!("blobs".parse::<BlobsUrl>().is_err_and(|error| error.contains("file:PATH")));
        assert!("local:x".parse::<JobsUrl>().is_err_and(|error| error.contains("nats://HOST:PORT")));
    }

    #[test]
    fn debug_output_holds_no_secrets() {
        let config = StoreConfig {
            catalog: CatalogUrl::Postgres("postgres://user:secret@host/db".into()),
            jobs: JobsUrl::Nats("nats://secret@host".into()),
            ..config(Path::new("data"))
        };
        assert!(!format!("{config:?}").contains("secret"), "{config:?}");
    }

    #[tokio::test]
    async fn what_cannot_work_together_is_refused_before_anything_is_touched() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let embedded = config(&folder.path().join("data"));
        let split = StoreConfig { catalog: CatalogUrl::Postgres("postgres://nobody".into()), ..embedded.clone() };
        let nats = StoreConfig { jobs: JobsUrl::Nats("nats://nobody".into()), ..embedded.clone() };
        assert_eq!(kind(&nats, Opener::Server).await, Some(Kind::Misconfigured), "SQLite and NATS");
        assert_eq!(kind(&embedded, Opener::Worker).await, Some(Kind::Misconfigured), "a worker on SQLite");
        assert_eq!(kind(&split, Opener::Worker).await, Some(Kind::Misconfigured), "a worker on a local queue");
        assert!(!embedded.data.exists());
    }

    #[tokio::test]
    async fn a_new_store_is_named_once_and_for_its_user_alone() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = config(&folder.path().join("a/data"));
        let mut ids = Vec::new();
        for _ in 0..2 {
            let stores = Stores::open(&config, Opener::Server).await.expect("it opens");
            assert!(stores.exclusive);
            ids.push((stores.blobs.store_id().await.expect("it answers"), stores.catalog.store_id(None).await.expect("it answers")));
        }
        assert_eq!(ids[0], ids[1]);
        assert_eq!(ids[0].0.as_ref(), Some(&ids[0].1));
        assert_eq!(config.data.metadata().expect("it is there").permissions().mode() & 0o777, 0o700);
    }

    #[tokio::test]
    async fn a_catalog_and_blobs_of_different_stores_are_refused() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let [a, b] = ["a", "b"].map(|name| config(&folder.path().join(name)));
        let mut ids = Vec::new();
        for config in [&a, &b] {
            let stores = Stores::open(config, Opener::Server).await.expect("it opens");
            ids.push(stores.catalog.store_id(None).await.expect("it answers").to_string());
        }
        let mixed = StoreConfig { blobs: BlobsUrl::Folder(b.data.join("blobs")), ..a.clone() };
        let error = Stores::open(&mixed, Opener::Server).await.expect_err("they do not belong together");
        assert_eq!(error.kind(), Kind::Misconfigured);
        assert!(ids.iter().all(|id| error.to_string().contains(id)), "both ids are named: {error}");
        let empty = StoreConfig { blobs: BlobsUrl::Folder("not-mounted".into()), ..a.clone() };
        assert_eq!(kind(&empty, Opener::Server).await, Some(Kind::Misconfigured), "an empty folder is not the catalog's store");
        assert_eq!(kind(&a, Opener::Server).await, None);
    }

    #[tokio::test]
    async fn a_start_that_ended_between_the_two_names_is_mended() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = config(folder.path());
        let id = StoreId(random_hex());
        let blobs = Folder::open(&folder.path().join("blobs")).await.expect("it opens");
        blobs.set_store_id(&id).await.expect("it can be named");
        let stores = Stores::open(&config, Opener::Server).await.expect("it opens");
        assert_eq!(stores.catalog.store_id(None).await.expect("it answers"), id);
    }

    #[tokio::test]
    async fn a_second_process_waits_until_the_first_lets_go() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let config = config(folder.path());
        let first = Stores::open(&config, Opener::Server).await.expect("it opens");
        let clone = first.clone();
        drop(first);
        let refused = lock_folder(folder.path(), Duration::ZERO).await.expect_err("a clone holds it");
        assert_eq!(refused.kind(), Kind::Unavailable);
        let mut second = tokio::spawn(async move { Stores::open(&config, Opener::Server).await });
        assert!((&mut second).now_or_never().is_none());
        drop(clone);
        second.await.expect("it does not panic").expect("it opens");
    }

    #[tokio::test]
    async fn a_blob_store_without_a_name_is_waited_for() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let blobs = Folder::open(&folder.path().join("blobs")).await.expect("it opens");
        let catalog = Sqlite::open(&folder.path().join("catalog.db")).await.expect("it opens");
        let error = check_same_store(&catalog, &blobs).await.expect_err("nobody named it");
        assert_eq!(error.kind(), Kind::Unavailable);
        assert_eq!(blobs.store_id().await.expect("it answers"), None, "looking does not name it");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends() {
        let attempts = Cell::new(0);
        let fails = |kind| {
            attempts.set(attempts.get() + 1);
            std::future::ready(if attempts.get() < 30 { Err(StoreError::new(kind, "no")) } else { Ok(attempts.get()) })
        };
        assert_eq!(patiently("it", Duration::from_mins(1), || fails(Kind::Unavailable)).await.ok(), Some(30));
        attempts.set(0);
        assert!(patiently("it", Duration::from_secs(1), || fails(Kind::Unavailable)).await.is_err());
        assert!((10..=12).contains(&attempts.get()), "{} attempts in a second", attempts.get());
        attempts.set(0);
        assert!(patiently("it", Duration::from_mins(1), || fails(Kind::Misconfigured)).await.is_err());
        assert_eq!(attempts.get(), 1, "what waiting cannot mend is told at once");
    }
}
