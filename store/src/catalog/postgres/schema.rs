//! Which tables there are, and who makes them.

use std::time::Duration;

use super::{
    OLDEST_SERVER,
    pool::{ANSWER_TIMEOUT, Pool, heard},
};
use crate::{Kind, StoreError, catalog::compatibility::check_compatible, open::patiently};
use sqlx::{
    Connection, PgConnection, SqlSafeStr,
    migrate::{Migrate, MigrateError, Migration, MigrationType, Migrator},
    query, query_scalar,
};
use tokio::time::sleep;

/// Version, name and text of every migration, in order.
const MIGRATIONS: [(i64, &str, &str); 12] = [
    (1, "initial", include_str!("../../../migrations/postgres/0001_initial.sql")),
    (2, "users", include_str!("../../../migrations/postgres/0002_users.sql")),
    (3, "watch", include_str!("../../../migrations/postgres/0003_watch.sql")),
    (4, "writes", include_str!("../../../migrations/postgres/0004_writes.sql")),
    (5, "shares", include_str!("../../../migrations/postgres/0005_shares.sql")),
    (6, "edits", include_str!("../../../migrations/postgres/0006_edits.sql")),
    (7, "overview", include_str!("../../../migrations/postgres/0007_overview.sql")),
    (8, "looks", include_str!("../../../migrations/postgres/0008_looks.sql")),
    (9, "uploads", include_str!("../../../migrations/postgres/0009_uploads.sql")),
    (10, "links", include_str!("../../../migrations/postgres/0010_links.sql")),
    (11, "compatibility", include_str!("../../../migrations/postgres/0011_compatibility.sql")),
    (12, "requested", include_str!("../../../migrations/postgres/0012_requested.sql")),
];

/// The version this program works with.
const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// How long a migration waits for a table: whoever asks for that table meanwhile waits behind it, and has less patience with it
/// ([`LOCK_TIMEOUT`](super::LOCK_TIMEOUT)).
const TABLE_PATIENCE: Duration = Duration::from_millis(100);
/// How long others go first before it asks for the table again.
const OTHERS_FIRST: Duration = Duration::from_secs(1);

/// Brings the catalog to the newest version; of several at once, one works and the others wait for it. A newer one is left as it is.
/// `Kind::Unavailable` when others hold a table for longer than [`TABLE_PATIENCE`].
pub(super) async fn migrate(pool: &Pool) -> Result<(), StoreError> {
    // A connection of its own, for it is kept from nothing by timeouts: a migration may well take minutes. With it the lock goes.
    let mut connection = pool.acquire().await?.detach();
    heard(ANSWER_TIMEOUT, set_timeouts(&mut connection, Duration::ZERO)).await?;
    connection.lock().await?;
    // Asked under the lock: a newer program may have migrated while this one waited for it.
    if version(&mut connection).await? <= NEWEST {
        heard(ANSWER_TIMEOUT, set_timeouts(&mut connection, TABLE_PATIENCE)).await?;
        let migrated = migrator(&MIGRATIONS).set_locking(false).run_direct(None, &mut connection, false).await.map_err(unless_held);
        if migrated.as_ref().is_err_and(|error| error.kind() == Kind::Unavailable) {
            sleep(OTHERS_FIRST).await;
        }
        migrated?;
    }
    Ok(connection.close().await?)
}

/// How long a statement may take: for ever; and wait for a lock: so long, for ever if zero.
async fn set_timeouts(connection: &mut PgConnection, lock: Duration) -> Result<(), StoreError> {
    let set = query("SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', $1, false)");
    set.bind(lock.as_millis().to_string()).execute(connection).await?;
    Ok(())
}

/// Somebody held a table that the migration changes. Nothing of that migration is left, so it can begin again.
fn unless_held(error: MigrateError) -> StoreError {
    match StoreError::from(error) {
        error if error.kind() == Kind::Conflict => {
            StoreError::caused_by(Kind::Unavailable, "a table that is to be migrated is in use, say by a backup", error)
        }
        error => error,
    }
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

/// Returns when the catalog has the newest version or a newer one: `Kind::Unavailable` when that takes longer than `patience`.
pub(super) async fn wait(pool: &Pool, patience: Duration) -> Result<(), StoreError> {
    patiently("the catalog", patience, || check_migrated(pool)).await
}

/// `Kind::Unavailable` while the catalog is older than this program.
async fn check_migrated(pool: &Pool) -> Result<(), StoreError> {
    let found = version(&mut *pool.acquire().await?).await?;
    if found >= NEWEST {
        return Ok(());
    }
    let message = format!("the catalog has schema version {found} and needs {NEWEST}: start a server of this version, which migrates it");
    Err(StoreError::new(Kind::Unavailable, message))
}

/// The version of the catalog's schema; 0 when it is new. `Kind::Misconfigured` when this program or the server is too old for it.
async fn version(connection: &mut PgConnection) -> Result<i64, StoreError> {
    heard(ANSWER_TIMEOUT, read_version(connection)).await
}

async fn read_version(connection: &mut PgConnection) -> Result<i64, StoreError> {
    if let Some(server) = connection.server_version_num()
        && server < OLDEST_SERVER
    {
        let (server, oldest) = (server / 10_000, OLDEST_SERVER / 10_000);
        return Err(StoreError::new(Kind::Misconfigured, format!("PostgreSQL {server} is too old: {oldest} or newer is needed")));
    }
    let exists: bool = query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL").fetch_one(&mut *connection).await?;
    if !exists {
        return Ok(0);
    }
    let found = query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success").fetch_one(&mut *connection).await?;
    if found > NEWEST {
        let oldest_program = query_scalar("SELECT oldest_program FROM compatibility").fetch_one(connection).await?;
        check_compatible(NEWEST, found, oldest_program)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::join_all;
    use sqlx::{PgPool, raw_sql};
    use tokio::time::Instant;

    use super::*;
    use crate::{
        catalog::{
            Upkeep,
            postgres::{Postgres, pool::ACQUIRE_TIMEOUT},
        },
        conformance::catalog::{
            support::{check_migrated, rows_of_version_1, with_database},
            versions::NEWER,
        },
    };

    #[tokio::test]
    async fn servers_that_start_at_once_migrate_once_while_a_worker_waits() {
        with_database(async |url| {
            for catalog in join_all([false, true, true, true].map(|migrate| Postgres::connect(&url, migrate))).await {
                catalog.expect("a catalog").ping().await.expect("an answer");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn a_schema_that_does_not_come_is_not_waited_for_for_ever() {
        with_database(async |url| {
            let error = wait(&Pool::new(url.parse().expect("a URL")), Duration::ZERO).await.expect_err("there is no schema");
            assert_eq!(error.kind(), Kind::Unavailable);
            assert!(error.to_string().contains(&format!("version 0 and needs {NEWEST}")), "{error}");
        })
        .await;
    }

    #[tokio::test]
    async fn what_an_older_version_wrote_is_kept() {
        with_database(async |url| {
            let older = PgPool::connect(&url).await.expect("a database");
            migrator(&MIGRATIONS[..1]).run(&older).await.expect("the first version");
            raw_sql(rows_of_version_1("decode(repeat('00', 32), 'hex')")).execute(&older).await.expect("its rows");
            older.close().await;
            check_migrated(&Postgres::connect(&url, true).await.expect("a catalog")).await;
        })
        .await;
    }

    #[tokio::test]
    async fn a_newer_program_that_migrates_first_lets_older_ones_start_after_it() {
        with_database(async |url| {
            Postgres::connect(&url, true).await.expect("a catalog");
            let mut newer = PgConnection::connect(&url).await.expect("a database");
            newer.lock().await.expect("the lock of those who migrate");
            let [server, worker] = [true, false].map(|migrate| tokio::spawn(Postgres::connect(url.clone().leak(), migrate)));
            worker.await.expect("no panic").expect("nobody migrates for it, so it waits for nobody");
            // The server is in the middle: it waits for the lock, and has not yet looked at what is there.
            let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";
            while query_scalar::<_, i64>(waiting).fetch_one(&mut newer).await.expect("a count") == 0 {
                assert!(!server.is_finished(), "it does not wait");
            }
            raw_sql(NEWER).execute(&mut newer).await.expect("a migration from the future");
            newer.unlock().await.expect("it is done");
            server.await.expect("no panic").expect("it works with what the newer one left").ping().await.expect("an answer");
            Postgres::connect(&url, false).await.expect("so does a worker");
        })
        .await;
    }

    #[tokio::test]
    async fn a_migration_makes_nobody_wait_behind_a_backup() {
        with_database(async |url| {
            let older = PgPool::connect(&url).await.expect("a database");
            migrator(&MIGRATIONS[..1]).run(&older).await.expect("the first version");
            let mut backup = older.begin().await.expect("a transaction");
            query("LOCK TABLE users IN ACCESS SHARE MODE").execute(&mut *backup).await.expect("what every reader has");
            // Up to three times: a machine that stands still makes everybody wait, whoever migrates.
            let (bound, mut shortest) = (Duration::from_secs(2), Duration::MAX);
            for _ in 0..3 {
                let (mut migrating, mut longest) = (pin!(Postgres::connect(&url, true)), Duration::ZERO);
                let error = loop {
                    let (begin, count) = (Instant::now(), query_scalar::<_, i64>("SELECT count(*) FROM users"));
                    tokio::select! {
                        error = &mut migrating => break error.expect_err("the table is in use"),
                        found = count.fetch_one(&older) => assert_eq!(found.expect("an answer"), 0),
                    }
                    longest = longest.max(begin.elapsed());
                };
                assert_eq!(error.kind(), Kind::Unavailable, "{error}: it is tried again");
                shortest = shortest.min(longest);
                if shortest < bound {
                    break;
                }
            }
            assert!(shortest < bound, "somebody waited for {shortest:?}");
            backup.rollback().await.expect("the backup ends");
            Postgres::connect(&url, true).await.expect("a catalog");
        })
        .await;
    }

    #[test]
    fn a_migration_that_takes_something_from_older_programs_says_so() {
        let takes = |sql: &str| {
            let lines = sql.lines().map(|line| line.split("--").next().unwrap_or_default().to_uppercase());
            lines.into_iter().any(|line| {
                let is_demanding = line.contains("ADD COLUMN") && line.contains("NOT NULL");
                ["DROP TABLE", "DROP COLUMN", "DROP DEFAULT", "SET NOT NULL", "RENAME ", " TYPE "].iter().any(|words| line.contains(words))
                    || is_demanding && !line.contains("DEFAULT") && !line.contains("GENERATED")
            })
        };
        let taking: Vec<_> = MIGRATIONS.iter().filter(|(_, _, sql)| takes(sql)).collect();
        let versions: Vec<_> = taking.iter().map(|(version, ..)| *version).filter(|version| *version <= 11).collect();
        assert_eq!(versions, [2, 7], "those before there was a number to raise");
        let raised = "UPDATE compatibility SET oldest_program = ";
        for (version, name, sql) in taking.into_iter().filter(|(version, ..)| *version > 11) {
            assert!(sql.contains(raised), "{version} ({name}) takes something away, so it has to say: {raised}N");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_absent_server_is_unavailable_within_three_seconds() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let silent = format!("postgres://nobody@{}/none", listener.local_addr().expect("its address"));
        for url in ["postgres://nobody@127.0.0.1:1/none", &silent] {
            let (begin, pool) = (Instant::now(), Pool::with_patience(ACQUIRE_TIMEOUT, url.parse().expect("a URL")));
            let error = migrate(&pool).await.expect_err("nobody answers");
            assert_eq!(error.kind(), Kind::Unavailable, "{url}");
            assert!(begin.elapsed() < Duration::from_secs(3), "{url}");
        }
    }
}
