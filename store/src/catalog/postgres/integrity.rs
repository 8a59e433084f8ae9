use async_trait::async_trait;
use sqlx::{query, query_as};

use super::{Postgres, jobs::log_moved};
use crate::{
    BlobKey, ImageId, RecordedBlob, RenditionId, StoreError, Timestamp,
    catalog::{
        Integrity,
        rows::{select_originals, select_outputs},
    },
};

#[async_trait]
impl Integrity for Postgres {
    async fn originals_after(&self, after: ImageId, limit: u32) -> Result<Vec<RecordedBlob>, StoreError> {
        Ok(query_as(select_originals!()).bind(after.0).bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }

    async fn outputs_after(&self, after: RenditionId, limit: u32) -> Result<Vec<RecordedBlob>, StoreError> {
        Ok(query_as(select_outputs!()).bind(after.0).bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }

    async fn remake(&self, id: RenditionId, output: &BlobKey, now: Timestamp) -> Result<bool, StoreError> {
        let remade = query(concat!(
            "WITH ready AS MATERIALIZED (
                 SELECT id, output_size_bytes FROM renditions WHERE id = $1 AND state = 'ready' AND output_key = $3 FOR UPDATE
             ), moved AS (
                 UPDATE renditions r SET state = 'pending', attempt = 0, due_at = $2, told_at = $2, finished_at = NULL, output_key = NULL,
                     output_width = NULL, output_height = NULL, output_frame_count = NULL, first_frame_only = NULL,
                     output_size_bytes = NULL, output_sha256 = NULL, output_colour_type = NULL, output_channel_bits = NULL
                 FROM ready WHERE r.id = ready.id RETURNING r.id, r.image_id, r.format, r.state, ready.output_size_bytes AS freed
             ), doomed AS (
                 UPDATE blobs SET doomed_at = $2 FROM moved WHERE blobs.key = $3
             ), counted AS (
                 UPDATE users u SET ready_count = u.ready_count - 1, used_bytes = u.used_bytes - m.freed
                 FROM moved m JOIN images i ON i.id = m.image_id WHERE u.id = i.owner_id
             ), ",
            log_moved!(),
            "SELECT 1 FROM moved"
        ))
        .bind(id.0)
        .bind(now.0)
        .bind(&output.0)
        .fetch_optional(&self.pool)
        .await?;
        Ok(remade.is_some())
    }
}
