use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{Sqlite, json_array};
use crate::{BlobKey, OpenWrite, StoreError, Timestamp, catalog::Writes};

#[async_trait]
impl Writes for Sqlite {
    async fn note_write(&self, write: &OpenWrite, now: Timestamp) -> Result<(), StoreError> {
        query(
            "INSERT INTO writes (key, multipart_id, begun_at) VALUES ($1, $2, $3)
             ON CONFLICT (key) DO UPDATE SET multipart_id = excluded.multipart_id, begun_at = excluded.begun_at",
        )
        .bind(&write.key.0)
        .bind(&write.multipart_id)
        .bind(now.0)
        .execute(&self.writer)
        .await?;
        Ok(())
    }

    async fn forget_write(&self, key: &BlobKey) -> Result<(), StoreError> {
        query("DELETE FROM writes WHERE key = $1").bind(&key.0).execute(&self.writer).await?;
        Ok(())
    }

    async fn stale_writes(&self, before: Timestamp, limit: u32) -> Result<Vec<OpenWrite>, StoreError> {
        let writes = query_as(
            "SELECT key, multipart_id FROM writes
             WHERE begun_at < $1 AND NOT EXISTS (SELECT 1 FROM uploads WHERE uploads.key = writes.key)
             ORDER BY begun_at LIMIT $2",
        );
        Ok(writes.bind(before.0).bind(limit).fetch_all(&self.readers).await?)
    }

    async fn unrecorded(&self, keys: &[BlobKey]) -> Result<Vec<BlobKey>, StoreError> {
        let unrecorded = query_scalar(
            "SELECT given.value FROM json_each($1) AS given
             WHERE NOT EXISTS (SELECT 1 FROM blobs WHERE blobs.key = given.value)
                 AND NOT EXISTS (SELECT 1 FROM uploads WHERE uploads.key = given.value)
                 AND NOT EXISTS (SELECT 1 FROM upload_links WHERE upload_links.key = given.value)",
        );
        let unrecorded: Vec<String> = unrecorded.bind(json_array(keys)).fetch_all(&self.readers).await?;
        Ok(unrecorded.into_iter().map(BlobKey).collect())
    }
}
