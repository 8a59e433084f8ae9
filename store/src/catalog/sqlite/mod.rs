//! The catalog in one SQLite file.

mod changes;
mod edits;
mod images;
mod integrity;
mod jobs;
mod links;
mod overview;
mod publisher;
mod schema;
mod shares;
mod upkeep;
mod uploads;
mod users;
mod writes;

use std::{fs::OpenOptions, future::ready, path::Path, time::Duration};

use sqlx::{
    Connection, SqlitePool, SqliteTransaction,
    error::DatabaseError,
    query_scalar,
    sqlite::{SqliteConnectOptions, SqliteError, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};

use super::Catalog;
use crate::{Kind, StoreError};

/// Earlier versions can damage a file in WAL mode: <https://www.sqlite.org/wal.html#walresetbug>.
const OLDEST_SAFE_VERSION: (u32, u32, u32) = (3, 51, 3);
/// How long a statement waits for another process, say a backup, to let go of the file: clients are told of an outage within 3 s.
const BUSY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a write waits for its turn after those of this process.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Readers see a snapshot and wait for nobody; a few are enough for a file in the page cache.
const READERS: u32 = 4;

/// A catalog in one file. Cheap to clone; all clones are one.
///
/// One connection writes, so that writers wait for their turn here and never find the file busy; a few others read.
#[derive(Debug, Clone)]
pub struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Catalog for Sqlite {}

impl Sqlite {
    /// Opens the catalog in the file at `path`. Makes the file, for the user alone, when there is none, and migrates it.
    ///
    /// `Kind::Misconfigured` when the file cannot be made or was migrated by a newer version.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        create_private(path).map_err(|error| {
            StoreError::caused_by(Kind::Misconfigured, format!("cannot open the catalog file {}", path.display()), error)
        })?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT);
        let writer = pool().max_connections(1).connect_with(options.clone()).await?;
        let version: String = query_scalar("SELECT sqlite_version()").fetch_one(&writer).await?;
        if parse_version(&version) < Some(OLDEST_SAFE_VERSION) {
            let (major, minor, patch) = OLDEST_SAFE_VERSION;
            return Err(StoreError::new(
                Kind::Misconfigured,
                format!("SQLite {version} can damage the catalog; {major}.{minor}.{patch} is the first version that is safe"),
            ));
        }
        schema::migrate(&writer).await?;
        let readers = pool().max_connections(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        Ok(Self { writer, readers })
    }

    /// Begins a transaction that may write from its first statement on: one that starts reading and then writes fails when somebody else
    /// wrote in between.
    async fn write(&self) -> sqlx::Result<SqliteTransaction<'static>> {
        self.writer.begin_with("BEGIN IMMEDIATE").await
    }
}

/// A pool that hands out no connection which counts as in a transaction. SQLite ends a transaction by itself where the disk is full or fails; the
/// ROLLBACK that follows then fails as well, and sqlx takes the transaction for open as long as the connection lasts.
fn pool() -> SqlitePoolOptions {
    SqlitePoolOptions::new()
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .before_acquire(|connection, _| Box::pin(ready(Ok(!connection.is_in_transaction()))))
}

/// Makes the file, readable by its owner alone, unless there is one. SQLite gives the same rights to the files it puts beside it.
fn create_private(path: &Path) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)?;
    // The name must survive as well as what is committed under it.
    #[cfg(unix)]
    if let Some(folder) = path.parent() {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        std::fs::File::open(folder)?.sync_all()?;
    }
    Ok(())
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// What a result code of SQLite means for the caller: <https://www.sqlite.org/rescode.html>.
pub(super) fn kind_of(error: &SqliteError) -> Kind {
    const BUSY: i32 = 5;
    const LOCKED: i32 = 6;
    const IO_ERROR: i32 = 10;
    const CORRUPT: i32 = 11;
    const FULL: i32 = 13;
    const CANNOT_OPEN: i32 = 14;
    const NOT_A_DATABASE: i32 = 26;
    // The low byte of an extended code is its primary code.
    match error.code().and_then(|code| code.parse::<i32>().ok()).map(|code| code & 0xff) {
        Some(BUSY | LOCKED | IO_ERROR | CANNOT_OPEN) => Kind::Unavailable,
        Some(FULL) => Kind::Full,
        Some(CORRUPT | NOT_A_DATABASE) => Kind::Corrupt,
        _ => Kind::Internal,
    }
}

/// A list of plain words, such as keys, ids and names of formats, as JSON: the form in which SQLite takes an array.
fn json_array<T: ToString>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| format!("\"{}\"", word.to_string())).collect();
    format!("[{}]", words.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[tokio::test]
    async fn the_file_is_for_its_owner_alone() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().expect("a temporary folder");
        let catalog = Sqlite::open(&folder.path().join("catalog.db")).await.expect("a new catalog");
        catalog.write().await.expect("a transaction").commit().await.expect("a commit");
        for entry in std::fs::read_dir(folder.path()).expect("the folder can be read") {
            let entry = entry.expect("an entry");
            let mode = entry.metadata().expect("its metadata").permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
        }
    }

    #[tokio::test]
    async fn a_transaction_that_found_no_room_does_not_keep_others_from_writing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let catalog = Sqlite::open(&folder.path().join("catalog.db")).await.expect("a new catalog");
        sqlx::query("CREATE TABLE room (bytes BLOB)").execute(&catalog.writer).await.expect("a table");
        // SQLite takes it for as many pages as there are, and the next connection knows nothing of it: then there is room again.
        sqlx::query("PRAGMA max_page_count = 1").execute(&catalog.writer).await.expect("a connection");
        let mut tx = catalog.write().await.expect("a transaction");
        let refused = sqlx::query("INSERT INTO room VALUES (zeroblob(1000000))").execute(&mut *tx).await;
        drop(tx);
        assert_eq!(refused.map(drop).map_err(|error| StoreError::from(error).kind()), Err(Kind::Full));
        catalog.write().await.expect("a transaction").commit().await.expect("a commit");
    }

    #[tokio::test]
    async fn a_file_that_is_no_catalog_is_refused_as_corrupt() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("catalog.db");
        std::fs::write(&path, b"certainly not a database, and long enough for a header of one hundred bytes, which is what is read first")
            .expect("a file");
        let error = Sqlite::open(&path).await.expect_err("not a catalog");
        assert_eq!(error.kind(), Kind::Corrupt);
    }
}
