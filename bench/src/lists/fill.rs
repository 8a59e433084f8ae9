//! Catalogs of many images, written by SQL: one at a time through the catalog would take hours.

use anyhow::Context as _;
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, SqliteConnection};

/// Users whose images lie mixed.
pub(super) const USERS: u64 = 5;
/// Of each 100 images one rendition failed and one is pending; one of each 10,000 is running.
const STATE: &str =
    "CASE WHEN i % 100 = 0 THEN 'failed' WHEN i % 100 = 1 THEN 'pending' WHEN i % 10000 = 2 THEN 'running' ELSE 'ready' END";
/// The first image was created then; the others follow, a second apart.
pub(super) const BEGIN_MICROSECONDS: i64 = 1_700_000_000_000_000;

/// What differs between the databases.
struct Dialect {
    /// Selects the numbers of all images as `i`.
    numbers: String,
    /// 32 random hexadecimal digits.
    random_hex: &'static str,
    /// 32 bytes.
    digest: &'static str,
    /// Four bytes.
    checksums: &'static str,
}

/// Fills a SQLite file whose schema and users are there.
pub(super) async fn sqlite(connection: &mut SqliteConnection, images: u64) -> anyhow::Result<()> {
    // Nobody will miss this file after a crash.
    for pragma in ["synchronous = OFF", "foreign_keys = OFF", "cache_size = -1000000", "temp_store = MEMORY"] {
        connection.execute(AssertSqlSafe(format!("PRAGMA {pragma}"))).await?;
    }
    let dialect = Dialect {
        numbers: format!("WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {images}) SELECT i FROM n"),
        random_hex: "lower(hex(randomblob(16)))",
        digest: "randomblob(32)",
        checksums: "randomblob(4)",
    };
    fill(&dialect, async |sql| {
        connection.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    })
    .await?;
    // On the disk before anything is measured, so that nothing is still being written meanwhile.
    connection.execute("PRAGMA synchronous = FULL").await?;
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await?;
    Ok(())
}

/// Fills a PostgreSQL database whose schema and users are there.
pub(super) async fn postgres(connection: &mut PgConnection, images: u64) -> anyhow::Result<()> {
    for setting in ["synchronous_commit = off", "session_replication_role = replica", "work_mem = '256MB'"] {
        connection.execute(AssertSqlSafe(format!("SET {setting}"))).await?;
    }
    let dialect = Dialect {
        numbers: format!("SELECT i FROM generate_series(1, {images}) i"),
        random_hex: "replace(gen_random_uuid()::TEXT, '-', '')",
        digest: "sha256(i::TEXT::BYTEA)",
        checksums: "'\\x01020304'::BYTEA",
    };
    fill(&dialect, async |sql| {
        connection.execute(AssertSqlSafe(sql)).await?;
        Ok(())
    })
    .await?;
    connection.execute("SELECT setval(pg_get_serial_sequence('images', 'id'), (SELECT max(id) FROM images))").await?;
    // As the database would do by itself after a while.
    connection.execute("VACUUM ANALYZE").await.context("cannot vacuum")?;
    Ok(())
}

async fn fill(dialect: &Dialect, mut execute: impl AsyncFnMut(String) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let Dialect { numbers, random_hex, digest, checksums } = dialect;
    let owner = format!("1 + i % {USERS}");
    let at = format!("{BEGIN_MICROSECONDS} + i * 1000000");
    for sql in [
        "CREATE TEMPORARY TABLE plan (i BIGINT PRIMARY KEY, original_key TEXT NOT NULL, output_key TEXT)".to_owned(),
        format!(
            "INSERT INTO plan SELECT i, 'user_' || ({owner}) || '/' || {random_hex} || '/original.png',
                 CASE WHEN {STATE} = 'ready' THEN 'user_' || ({owner}) || '/' || {random_hex} || '/converted_img.jpeg' END
             FROM ({numbers}) n"
        ),
        format!(
            "INSERT INTO blobs (key, size_bytes, sha256, block_crc32c, created_at)
             SELECT original_key, 4000000 + i, {digest}, {checksums}, {at} FROM plan ORDER BY i"
        ),
        format!(
            "INSERT INTO blobs (key, size_bytes, sha256, block_crc32c, created_at)
             SELECT output_key, 800000 + i, {digest}, {checksums}, {at} FROM plan WHERE output_key IS NOT NULL ORDER BY i"
        ),
        format!(
            "INSERT INTO images (id, owner_id, file_name, format, width, height, frame_count, original_key, size_bytes, sha256,
                 created_at)
             SELECT i, {owner}, 'photo ' || i || '.png', CASE WHEN i / {USERS} % 2 = 0 THEN 'png' ELSE 'webp' END, 4000, 3000, 1,
                 original_key, 4000000 + i, {digest}, {at} FROM plan ORDER BY i"
        ),
        format!(
            "INSERT INTO renditions (image_id, spec, format, state, attempt, created_at, finished_at, due_at, told_at, lease_until, worker_id,
                 output_key, output_size_bytes, output_sha256, output_width, output_height, output_frame_count, first_frame_only, failure_reason, failure_message)
             SELECT i, 'jpeg', 'jpeg', state, 1, {at},
                 CASE WHEN state IN ('ready', 'failed') THEN {at} END,
                 CASE WHEN state = 'pending' THEN {at} END, CASE WHEN state = 'pending' THEN {at} END,
                 CASE WHEN state = 'running' THEN {at} END, CASE WHEN state = 'running' THEN 'worker' END,
                 output_key, CASE WHEN state = 'ready' THEN 800000 + i END, CASE WHEN state = 'ready' THEN {digest} END,
                 CASE WHEN state = 'ready' THEN 4000 END, CASE WHEN state = 'ready' THEN 3000 END,
                 CASE WHEN state = 'ready' THEN 1 END, CASE WHEN state = 'ready' THEN FALSE END,
                 CASE WHEN state = 'failed' THEN CASE WHEN i % 1000 = 0 THEN 'DECODER_TIMEOUT' ELSE 'CORRUPT_INPUT' END END,
                 CASE WHEN state = 'failed' THEN 'the pixels cannot be decoded' END
             FROM (SELECT i, output_key, {STATE} AS state FROM plan) planned ORDER BY i"
        ),
        // Each user's images with the next one, and a tenth of all images with everyone.
        format!(
            "INSERT INTO shares (image_id, user_name, user_id, role, created_at)
             SELECT id, 'user ' || (1 + (id + 1) % {USERS}), 1 + (id + 1) % {USERS}, 'viewer', created_at FROM images ORDER BY id"
        ),
        format!(
            "INSERT INTO shares (image_id, user_name, user_id, role, created_at)
             SELECT id, '', 0, 'viewer', created_at FROM images WHERE id / {USERS} % 10 = 0 ORDER BY id"
        ),
        "UPDATE users SET
             image_count = (SELECT count(*) FROM images WHERE owner_id = users.id),
             original_bytes = (SELECT CAST(coalesce(sum(4000000 + id), 0) AS BIGINT) FROM images WHERE owner_id = users.id)"
            .to_owned(),
        "UPDATE users SET
             ready_count = (SELECT count(*) FROM images i JOIN renditions r ON r.image_id = i.id WHERE owner_id = users.id AND state = 'ready'),
             used_bytes = original_bytes + (
                 SELECT CAST(coalesce(sum(800000 + i.id), 0) AS BIGINT) FROM images i JOIN renditions r ON r.image_id = i.id
                 WHERE i.owner_id = users.id AND r.state = 'ready')"
            .to_owned(),
        "DROP TABLE plan".to_owned(),
    ] {
        execute(sql).await?;
    }
    Ok(())
}
