use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{Sqlite, json_array};
use crate::{
    BlobKey, StoreError, StoreId, Timestamp, Worker,
    catalog::{Upkeep, rows::format_list},
    random_hex,
};

#[async_trait]
impl Upkeep for Sqlite {
    async fn ping(&self) -> Result<(), StoreError> {
        query("SELECT id FROM store").fetch_optional(&self.readers).await?;
        Ok(())
    }

    async fn store_id(&self, wanted: Option<&StoreId>) -> Result<StoreId, StoreError> {
        let mut tx = self.write().await?;
        let decided: Option<String> = query_scalar("SELECT id FROM store").fetch_optional(&mut *tx).await?;
        if let Some(id) = decided {
            return Ok(StoreId(id));
        }
        let id = wanted.cloned().unwrap_or_else(|| StoreId(random_hex()));
        query("INSERT INTO store (id) VALUES ($1)").bind(&id.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(id)
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
        .bind(worker.slots)
        .bind(worker.started_at.0)
        .bind(worker.seen_at.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn workers(&self, since: Timestamp) -> Result<Vec<Worker>, StoreError> {
        let workers = query_as(
            "SELECT id, version, input_formats, output_formats, sandbox, slots, started_at, seen_at FROM workers
             WHERE seen_at >= $1 ORDER BY id",
        );
        Ok(workers.bind(since.0).fetch_all(&self.readers).await?)
    }

    async fn doomed_blobs(&self, limit: u32) -> Result<Vec<BlobKey>, StoreError> {
        let keys = query_scalar("SELECT key FROM blobs WHERE doomed_at IS NOT NULL ORDER BY doomed_at LIMIT $1");
        let keys: Vec<String> = keys.bind(limit).fetch_all(&self.readers).await?;
        Ok(keys.into_iter().map(BlobKey).collect())
    }

    async fn forget_blobs(&self, keys: &[BlobKey]) -> Result<(), StoreError> {
        query("DELETE FROM blobs WHERE doomed_at IS NOT NULL AND key IN (SELECT value FROM json_each($1))")
            .bind(json_array(keys))
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn postpone_blobs(&self, keys: &[BlobKey], now: Timestamp) -> Result<(), StoreError> {
        query("UPDATE blobs SET doomed_at = $2 WHERE doomed_at IS NOT NULL AND key IN (SELECT value FROM json_each($1))")
            .bind(json_array(keys))
            .bind(now.0)
            .execute(&self.writer)
            .await?;
        Ok(())
    }

    async fn prune(&self, before: Timestamp, limit: u32) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        for delete in [
            "DELETE FROM requests WHERE rowid IN (SELECT rowid FROM requests WHERE created_at < $1 ORDER BY created_at LIMIT $2)",
            "UPDATE change_log SET pruned_position = max(pruned_position, coalesce((
                 SELECT max(position) FROM (SELECT position FROM changes WHERE at < $1 ORDER BY at LIMIT $2)), 0))",
            "DELETE FROM changes WHERE position IN (SELECT position FROM changes WHERE at < $1 ORDER BY at LIMIT $2)",
            "DELETE FROM workers WHERE id IN (SELECT id FROM workers WHERE seen_at < $1 ORDER BY seen_at LIMIT $2)",
            "DELETE FROM tokens WHERE id IN (SELECT id FROM tokens WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
            "DELETE FROM link_keys WHERE id IN (SELECT id FROM link_keys WHERE expires_at < $1 ORDER BY expires_at LIMIT $2)",
        ] {
            query(delete).bind(before.0).bind(limit).execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }
}
