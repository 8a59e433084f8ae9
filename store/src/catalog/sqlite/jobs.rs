use std::time::Duration;

use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{
    Sqlite,
    changes::append_rendition_changed,
    images::{Counted, count, insert_blob},
    json_array,
    shares::seen_image,
};
use crate::{
    Claim, Commit, Denied, Drawn, Failure, ImageId, Job, Rendition, RenditionId, Retry, StoreError, StoredBlob, Timestamp, UserId,
    catalog::{
        Jobs,
        rows::{Asked, editable, rendition_columns, select_asked, select_job, select_renditions},
    },
};

#[async_trait]
impl Jobs for Sqlite {
    async fn claim(&self, id: RenditionId, worker: &str, lease: Duration, now: Timestamp) -> Result<Claim, StoreError> {
        let mut tx = self.write().await?;
        let asked = query_as(select_asked!()).bind(id.0).fetch_optional(&mut *tx).await?;
        if let Some(refused) = Asked::refused(asked, now) {
            return Ok(refused);
        }
        let moved: i64 = query_scalar(
            "UPDATE renditions SET state = 'running', attempt = attempt + 1, lease_token = lease_token + 1, lease_until = $2, worker_id = $3,
                 due_at = NULL, told_at = NULL
             WHERE id = $1 RETURNING id",
        )
        .bind(id.0)
        .bind(now.plus(lease).0)
        .bind(worker)
        .fetch_one(&mut *tx)
        .await?;
        let job: Job = query_as(concat!(select_job!("renditions"), "WHERE r.id = $1")).bind(id.0).fetch_one(&mut *tx).await?;
        append_rendition_changed(&mut tx, &[moved], now).await?;
        tx.commit().await?;
        Ok(Claim::Granted(Box::new(job)))
    }

    async fn renew(&self, job: &Job, until: Timestamp) -> Result<Commit, StoreError> {
        let renewed = query("UPDATE renditions SET lease_until = $3 WHERE id = $1 AND lease_token = $2 AND state = 'running'")
            .bind(job.rendition.0)
            .bind(job.lease.0)
            .bind(until.0)
            .execute(&self.writer)
            .await?;
        Ok(if renewed.rows_affected() == 1 { Commit::Done } else { Commit::LeaseLost })
    }

    async fn complete(&self, job: &Job, output: &StoredBlob, drawn: &Drawn, now: Timestamp) -> Result<Commit, StoreError> {
        let mut tx = self.write().await?;
        let held = query_scalar(
            "SELECT CASE state WHEN 'running' THEN TRUE ELSE FALSE END FROM renditions
             WHERE id = $1 AND lease_token = $2 AND (state = 'running' OR output_key = $3)",
        );
        match held.bind(job.rendition.0).bind(job.lease.0).bind(&output.key.0).fetch_optional(&mut *tx).await? {
            Some(true) => {}
            Some(false) => return Ok(Commit::Done),
            None => return Ok(Commit::LeaseLost),
        }
        insert_blob(&mut tx, output, now).await?;
        let rendition_bytes = output.digest.size_bytes as i64;
        count(&mut tx, job.owner, Counted { ready: 1, rendition_bytes, ..Counted::default() }).await?;
        let Drawn { picture, colours, thumbhash } = drawn;
        query(
            "UPDATE renditions SET state = 'ready', lease_until = NULL, worker_id = NULL, finished_at = $2, output_key = $3,
                 output_width = $4, output_height = $5, output_frame_count = $6, first_frame_only = $7, output_size_bytes = $8,
                 output_sha256 = $9, output_colour_type = $10, output_channel_bits = $11
             WHERE id = $1",
        )
        .bind(job.rendition.0)
        .bind(now.0)
        .bind(&output.key.0)
        .bind(picture.width)
        .bind(picture.height)
        .bind(picture.frame_count)
        .bind(picture.first_frame_only)
        .bind(rendition_bytes)
        .bind(output.digest.sha256.as_slice())
        .bind(colours.map(|colours| colours.kind.name()))
        .bind(colours.map(|colours| colours.channel_bits))
        .execute(&mut *tx)
        .await?;
        if let Some(thumbhash) = thumbhash {
            query("UPDATE images SET thumbhash = $2 WHERE id = $1 AND thumbhash IS NULL")
                .bind(job.image.0)
                .bind(thumbhash.as_bytes())
                .execute(&mut *tx)
                .await?;
        }
        append_rendition_changed(&mut tx, &[job.rendition.0], now).await?;
        tx.commit().await?;
        Ok(Commit::Done)
    }

    async fn fail(&self, job: &Job, failure: &Failure, now: Timestamp) -> Result<Commit, StoreError> {
        let mut tx = self.write().await?;
        let failed = query(
            "UPDATE renditions SET state = 'failed', lease_until = NULL, worker_id = NULL, finished_at = $3, failure_reason = $4,
                 failure_message = $5
             WHERE id = $1 AND lease_token = $2 AND state = 'running'",
        )
        .bind(job.rendition.0)
        .bind(job.lease.0)
        .bind(now.0)
        .bind(failure.reason.name())
        .bind(&failure.message)
        .execute(&mut *tx)
        .await?;
        if failed.rows_affected() == 0 {
            return Ok(Commit::LeaseLost);
        }
        append_rendition_changed(&mut tx, &[job.rendition.0], now).await?;
        tx.commit().await?;
        Ok(Commit::Done)
    }

    async fn release(&self, job: &Job, retry_at: Timestamp, uncounted: bool, now: Timestamp) -> Result<Commit, StoreError> {
        let mut tx = self.write().await?;
        let released = query(
            "UPDATE renditions SET state = 'pending', lease_until = NULL, worker_id = NULL, due_at = $3, told_at = $4, attempt = attempt - $5
             WHERE id = $1 AND lease_token = $2 AND state = 'running'",
        )
        .bind(job.rendition.0)
        .bind(job.lease.0)
        .bind(retry_at.0)
        .bind(now.0)
        .bind(i64::from(uncounted))
        .execute(&mut *tx)
        .await?;
        if released.rows_affected() == 0 {
            return Ok(Commit::LeaseLost);
        }
        append_rendition_changed(&mut tx, &[job.rendition.0], now).await?;
        tx.commit().await?;
        Ok(Commit::Done)
    }

    async fn retry(&self, editor: Option<UserId>, id: RenditionId, now: Timestamp) -> Result<Retry, StoreError> {
        let mut tx = self.write().await?;
        let image: Option<i64> = query_scalar("SELECT image_id FROM renditions WHERE id = $1").bind(id.0).fetch_optional(&mut *tx).await?;
        let Some(image) = image else {
            return Ok(Retry::Denied(Denied::Missing));
        };
        if let Some(editor) = editor
            && let Err(denied) = editable(seen_image(&mut tx, editor, ImageId(image)).await?)
        {
            return Ok(Retry::Denied(denied));
        }
        let moved: Option<i64> = query_scalar(
            "UPDATE renditions SET state = 'pending', attempt = 0, due_at = $2, told_at = $2, finished_at = NULL, failure_reason = NULL,
                 failure_message = NULL
             WHERE id = $1 AND state = 'failed' RETURNING id",
        )
        .bind(id.0)
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?;
        let rendition: Rendition = query_as(concat!(select_renditions!(), "WHERE r.id = $1")).bind(id.0).fetch_one(&mut *tx).await?;
        let Some(moved) = moved else {
            return Ok(Retry::NotFailed(rendition.state));
        };
        append_rendition_changed(&mut tx, &[moved], now).await?;
        tx.commit().await?;
        Ok(Retry::Pending(rendition))
    }

    async fn expire_leases(&self, max_attempts: u32, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let expired: Vec<i64> = query_scalar(
            "UPDATE renditions SET lease_until = NULL, worker_id = NULL,
                 state = iif(attempt < $1, 'pending', 'failed'),
                 due_at = iif(attempt < $1, $2, NULL),
                 told_at = iif(attempt < $1, 0, NULL),
                 finished_at = iif(attempt < $1, NULL, $2),
                 failure_reason = iif(attempt < $1, NULL, 'ATTEMPTS_EXHAUSTED'),
                 failure_message = iif(attempt < $1, NULL, 'begun ' || attempt || ' times without a result')
             WHERE id IN (SELECT id FROM renditions WHERE state = 'running' AND lease_until < $2 ORDER BY lease_until LIMIT $3)
             RETURNING id",
        )
        .bind(max_attempts)
        .bind(now.0)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        append_rendition_changed(&mut tx, &expired, now).await?;
        tx.commit().await?;
        Ok(expired.len() as u64)
    }

    async fn pull_back_times(&self, farthest: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
        let mut tx = self.write().await?;
        let leases = query("UPDATE renditions SET lease_until = $1 WHERE state = 'running' AND lease_until > $1");
        let leases = leases.bind(farthest.0).execute(&mut *tx).await?.rows_affected();
        let waits = query("UPDATE renditions SET due_at = $2, told_at = 0 WHERE state = 'pending' AND told_at > $1");
        let waits = waits.bind(farthest.0).bind(now.0).execute(&mut *tx).await?.rows_affected();
        let right = query("UPDATE event_publisher SET lease_until = $1 WHERE lease_until > $1");
        right.bind(farthest.0).execute(&mut *tx).await?;
        tx.commit().await?;
        Ok(leases + waits)
    }

    async fn void_leases(&self, now: Timestamp) -> Result<u64, StoreError> {
        let voided = query("UPDATE renditions SET lease_until = min(lease_until, $1 - 1) WHERE state = 'running'");
        let voided = voided.bind(now.0).execute(&self.writer).await?;
        Ok(voided.rows_affected())
    }

    async fn untold(&self, told_before: Timestamp, limit: u32, now: Timestamp) -> Result<Vec<RenditionId>, StoreError> {
        let mut tx = self.write().await?;
        let ids: Vec<i64> = query_scalar(
            "SELECT id FROM renditions WHERE state = 'pending' AND told_at < $1 AND due_at <= $2 ORDER BY told_at, id LIMIT $3",
        )
        .bind(told_before.0)
        .bind(now.0)
        .bind(limit)
        .fetch_all(&mut *tx)
        .await?;
        if !ids.is_empty() {
            query("UPDATE renditions SET told_at = $2 WHERE id IN (SELECT CAST(value AS INTEGER) FROM json_each($1))")
                .bind(json_array(&ids))
                .bind(now.0)
                .execute(&mut *tx)
                .await?;
            tx.commit().await?;
        }
        Ok(ids.into_iter().map(RenditionId).collect())
    }
}
