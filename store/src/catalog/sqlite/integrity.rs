use async_trait::async_trait;
use sqlx::{query, query_as};

use super::{
    Sqlite,
    changes::append_rendition_changed,
    images::{Counted, count},
};
use crate::{
    BlobKey, ImageId, RecordedBlob, RenditionId, StoreError, Timestamp, UserId,
    catalog::{
        Integrity,
        rows::{select_originals, select_outputs},
    },
};

#[async_trait]
impl Integrity for Sqlite {
    async fn originals_after(&self, after: ImageId, limit: u32) -> Result<Vec<RecordedBlob>, StoreError> {
        Ok(query_as(select_originals!()).bind(after.0).bind(limit).fetch_all(&self.readers).await?)
    }

    async fn outputs_after(&self, after: RenditionId, limit: u32) -> Result<Vec<RecordedBlob>, StoreError> {
        Ok(query_as(select_outputs!()).bind(after.0).bind(limit).fetch_all(&self.readers).await?)
    }

    async fn remake(&self, id: RenditionId, output: &BlobKey, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let ready: Option<(i64, i64)> = query_as(
            "SELECT i.owner_id, r.output_size_bytes FROM renditions r JOIN images i ON i.id = r.image_id
             WHERE r.id = $1 AND r.state = 'ready' AND r.output_key = $2",
        )
        .bind(id.0)
        .bind(&output.0)
        .fetch_optional(&mut *tx)
        .await?;
        let Some((owner, size_bytes)) = ready else { return Ok(false) };
        query(
            "UPDATE renditions SET state = 'pending', attempt = 0, due_at = $2, told_at = $2, finished_at = NULL, output_key = NULL,
                 output_width = NULL, output_height = NULL, output_frame_count = NULL, first_frame_only = NULL, output_size_bytes = NULL,
                 output_sha256 = NULL, output_colour_type = NULL, output_channel_bits = NULL
             WHERE id = $1",
        )
        .bind(id.0)
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        query("UPDATE blobs SET doomed_at = $2 WHERE key = $1").bind(&output.0).bind(now.0).execute(&mut *tx).await?;
        count(&mut tx, UserId(owner), Counted { ready: -1, rendition_bytes: -size_bytes, ..Counted::default() }).await?;
        append_rendition_changed(&mut tx, &[id.0], now).await?;
        tx.commit().await?;
        Ok(true)
    }
}
