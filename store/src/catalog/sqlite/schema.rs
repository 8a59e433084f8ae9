//! Which tables there are.

use sqlx::{
    SqlSafeStr, SqlitePool,
    migrate::{Migration, MigrationType, Migrator},
    query_scalar,
};

use crate::{StoreError, catalog::compatibility::check_compatible};

/// Version, name and text of every migration, in order.
const MIGRATIONS: [(i64, &str, &str); 12] = [
    (1, "initial", include_str!("../../../migrations/sqlite/0001_initial.sql")),
    (2, "users", include_str!("../../../migrations/sqlite/0002_users.sql")),
    (3, "watch", include_str!("../../../migrations/sqlite/0003_watch.sql")),
    (4, "writes", include_str!("../../../migrations/sqlite/0004_writes.sql")),
    (5, "shares", include_str!("../../../migrations/sqlite/0005_shares.sql")),
    (6, "edits", include_str!("../../../migrations/sqlite/0006_edits.sql")),
    (7, "overview", include_str!("../../../migrations/sqlite/0007_overview.sql")),
    (8, "looks", include_str!("../../../migrations/sqlite/0008_looks.sql")),
    (9, "uploads", include_str!("../../../migrations/sqlite/0009_uploads.sql")),
    (10, "links", include_str!("../../../migrations/sqlite/0010_links.sql")),
    (11, "compatibility", include_str!("../../../migrations/sqlite/0011_compatibility.sql")),
    (12, "requested", include_str!("../../../migrations/sqlite/0012_requested.sql")),
];

/// The version this program works with.
const NEWEST: i64 = MIGRATIONS[MIGRATIONS.len() - 1].0;

/// Brings the catalog to the newest version. A newer one is left as it is, and is `Kind::Misconfigured` when this program is too old for it.
pub(super) async fn migrate(pool: &SqlitePool) -> Result<(), StoreError> {
    if version(pool).await? <= NEWEST {
        migrator(&MIGRATIONS).run(pool).await?;
    }
    Ok(())
}

fn migrator(migrations: &[(i64, &'static str, &'static str)]) -> Migrator {
    let migration = |&(version, name, sql): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, sql.into_sql_str(), false)
    };
    Migrator::with_migrations(migrations.iter().map(migration).collect())
}

/// The version of the catalog's schema; 0 when it is new. `Kind::Misconfigured` when this program is too old for it.
async fn version(pool: &SqlitePool) -> Result<i64, StoreError> {
    let tables: i64 = query_scalar("SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'").fetch_one(pool).await?;
    if tables == 0 {
        return Ok(0);
    }
    let found = query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success").fetch_one(pool).await?;
    if found > NEWEST {
        let oldest_program = query_scalar("SELECT oldest_program FROM compatibility").fetch_one(pool).await?;
        check_compatible(NEWEST, found, oldest_program)?;
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use sqlx::{raw_sql, sqlite::SqliteConnectOptions};

    use super::*;
    use crate::{
        ImageId,
        catalog::{Changes, sqlite::Sqlite},
        conformance::catalog::support::{check_migrated, rows_of_version_1},
    };

    #[tokio::test]
    async fn what_an_older_version_wrote_is_kept() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("catalog.db");
        let older = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path).create_if_missing(true)).await.expect("a file");
        migrator(&MIGRATIONS[..1]).run(&older).await.expect("the first version");
        raw_sql(rows_of_version_1("zeroblob(32)")).execute(&older).await.expect("its rows");
        let changes = "INSERT INTO changes (image_id, owner_id, kind, at) VALUES (1, 1, 'created', 0), (2, 1, 'created', 0);
                       DELETE FROM changes WHERE image_id = 2";
        raw_sql(changes).execute(&older).await.expect("its log, of which the end was pruned");
        older.close().await;
        let catalog = Sqlite::open(&path).await.expect("a catalog");
        check_migrated(&catalog).await;
        let changes = catalog.changes_after(0, 10).await.expect("changes");
        assert_eq!(changes.iter().map(|change| (change.position, change.image)).collect::<Vec<_>>(), [(1, ImageId(1))]);
        assert_eq!(catalog.last_position().await.expect("a position"), 2, "no position is given twice");
    }
}
