use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{Postgres, changes::Meanwhile};
use crate::{
    BlobKey, StoreError, StoreId, Timestamp, Worker,
    catalog::{Upkeep, rows::format_list},
    random_hex,
};

#[async_trait]
impl Upkeep for Postgres {
    async fn ping(&self) -> Result<(), StoreError> {
        self.pulse.ask(&self.pool).await
    }

    async fn store_id(&self, wanted: Option<&StoreId>) -> Result<StoreId, StoreError> {
        let proposed = wanted.cloned().unwrap_or_else(|| StoreId(random_hex()));
        query("INSERT INTO store (id) VALUES ($1) ON CONFLICT (single_row) DO NOTHING").bind(&proposed.0).execute(&self.pool).await?;
        Ok(StoreId(query_scalar("SELECT id FROM store").fetch_one(&self.pool).await?))
    }

    async fn heartbeat(&self, worker: &Worker) -> Result<(), StoreError> {
        query(
            "INSERT INTO workers (id, version, input_formats, output_formats, sandbox, slots, started_at, seen_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (id) DO UPDATE SET version = excluded.version, input_formats = excluded.input_formats,
                 output_formats = excluded.output_formats, sandbox = excluded.sandbox, slots = excluded.slots,
                 started_at = excluded.started_at, seen_at = excluded.seen_at",
        )
        .bind(&worker.id)
        .bind(&worker.version)
        .bind(format_list(&worker.input_formats))
        .bind(format_list(&worker.output_formats))
        .bind(&worker.sandbox)
        .bind(i64::from(worker.slots))
        .bind(worker.started_at.0)
        .bind(worker.seen_at.0)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<Worker>, StoreError> {
        let workers = query_as(
            "SELECT id, version, input_formats, output_formats, sandbox, slots, started_at, seen_at FROM workers
             WHERE seen_at >= $1 ORDER BY id COLLATE \"C\"",
        );
        Ok(workers.bind(since.0).fetch_all(&self.pool).await?)
    }

    async fn doomed_blobs(&self, limit: u32) -> Result<Vec<BlobKey>, StoreError> {
        let keys = query_scalar("SELECT key FROM blobs WHERE doomed_at IS NOT NULL ORDER BY doomed_at LIMIT $1");
        let keys: Vec<String> = keys.bind(i64::from(limit)).fetch_all(&self.pool).await?;
        Ok(keys.into_iter().map(BlobKey).collect())
    }

    async fn forget_blobs(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        query("DELETE FROM blobs WHERE doomed_at IS NOT NULL AND key = ANY ($1)")
            .bind(keys.iter().map(|key| key.0.as_str()).collect::<Vec<_>>())
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn postpone_blobs(&self, keys: &[BlobKey], now: Timestamp) -> Result<(), StoreError> {
        query("UPDATE blobs SET doomed_at = $2 WHERE doomed_at IS NOT NULL AND key = ANY ($1)")
            .bind(keys.iter().map(|key| key.0.as_str()).collect::<Vec<_>>())
            .bind(now.0)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<(), StoreError> {
        // What nobody has read has no position yet, and what has none cannot be told to be missing.
        while self.give_positions(Meanwhile::Waits).await? {}
        let mut tx = self.pool.begin().await?;
        // Rows that somebody else is at are left for the next time, so that no two wait for each other.
        for delete in [
            "DELETE FROM requests WHERE (owner_id, request_id) IN (
                 SELECT owner_id, request_id FROM requests WHERE created_at < $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            "DELETE FROM workers WHERE id IN (
                 SELECT id FROM workers WHERE seen_at < $1 ORDER BY seen_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            "DELETE FROM tokens WHERE id IN (
                 SELECT id FROM tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            "DELETE FROM link_keys WHERE id IN (
                 SELECT id FROM link_keys WHERE expires_at < $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
            // Last, for nobody gives positions while the row of the log is locked.
            "WITH pruned AS (
                 DELETE FROM changes WHERE id IN (
                     SELECT id FROM changes WHERE at < $1 AND position IS NOT NULL ORDER BY at LIMIT $2 FOR UPDATE SKIP LOCKED)
                 RETURNING position
             )
             UPDATE change_log SET pruned_position = greatest(pruned_position, p.last) FROM (SELECT max(position) AS last FROM pruned) p
             WHERE p.last IS NOT NULL",
        ] {
            query(delete).bind(before.0).bind(i64::from(limit)).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}
