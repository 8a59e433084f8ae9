//! Which tables there are, and who makes them.

use std::time::Duration;

use super::{OLDEST_SERVER, pool::Pool};
use crate::{Kind, StoreError, open::patiently};
use sqlx::{
    Connection, PgConnection, SqlSafeStr,
    migrate::{Migration, MigrationType, Migrator},
    query, query_scalar,
};

/// Version, name and text of every migration, in order.
const MIGRATIONS: [(i64, &str, &str); 10] = [
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
];

/// The version this program works with.
const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Brings the catalog to the newest version; of several at once, one works and the others wait for it.
pub(super) async fn migrate(pool: &Pool) -> Result<(), StoreError> {
    // A connection of its own, for it is kept from nothing by timeouts: a migration may well take minutes.
    let mut connection = pool.acquire().await?.detach();
    query("SELECT set_config('statement_timeout', '0', false), set_config('lock_timeout', '0', false)").execute(&mut connection).await?;
    version(&mut connection).await?;
    migrator(&MIGRATIONS).run_direct(None, &mut connection, false).await?;
    Ok(connection.close().await?)
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

/// Returns when the catalog has the newest version: `Kind::Unavailable` when that takes longer than `patience`.
pub(super) async fn wait(pool: &Pool, patience: Duration) -> Result<(), StoreError> {
    patiently("the catalog", patience, || check_newest(pool)).await
}

/// `Kind::Unavailable` unless the catalog has the newest version.
async fn check_newest(pool: &Pool) -> Result<(), StoreError> {
    let found = version(&mut *pool.acquire().await?).await?;
    if found == NEWEST {
        return Ok(());
    }
    let message = format!("the catalog has schema version {found} and needs {NEWEST}: start a server of this version, which migrates it");
    Err(StoreError::new(Kind::Unavailable, message))
}

/// The version of the catalog's schema; 0 when it is new. `Kind::Misconfigured` when the schema is too new or the server too old.
async fn version(connection: &mut PgConnection) -> Result<i64, StoreError> {
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
    let found: i64 = query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success").fetch_one(connection).await?;
    if found > NEWEST {
        return Err(StoreError::new(
            Kind::Misconfigured,
            format!("the catalog has schema version {found}, newer than the {NEWEST} this program knows: a newer version wrote it"),
        ));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use sqlx::{PgPool, raw_sql};
    use tokio::time::Instant;

    use super::*;
    use crate::{
        catalog::{Upkeep, postgres::Postgres},
        conformance::catalog::support::{check_migrated, rows_of_version_1, with_database},
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
    async fn a_newer_schema_is_refused() {
        with_database(async |url| {
            let catalog = Postgres::connect(&url, true).await.expect("a catalog");
            query("INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES (999, '', TRUE, '', 0)")
                .execute(&catalog.pool)
                .await
                .expect("a migration from the future");
            for migrate in [true, false] {
                let error = Postgres::connect(&url, migrate).await.expect_err("too new");
                assert_eq!(error.kind(), Kind::Misconfigured);
                assert!(error.to_string().contains(&format!("version 999, newer than the {NEWEST}")), "{error}");
            }
        })
        .await;
    }

    #[tokio::test]
    async fn an_absent_server_is_unavailable_within_three_seconds() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let silent = format!("postgres://nobody@{}/none", listener.local_addr().expect("its address"));
        for url in ["postgres://nobody@127.0.0.1:1/none", &silent] {
            let begin = Instant::now();
            let error = Postgres::connect(url, true).await.expect_err("nobody answers");
            assert_eq!(error.kind(), Kind::Unavailable, "{url}");
            assert!(begin.elapsed() < Duration::from_secs(3), "{url}");
        }
    }
}
