//! Every change of a job is one statement: the row, the blob and the change log together, in one round trip.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{Postgres, shares::locked_image};
use crate::{
    Claim, Commit, Denied, Drawn, Failure, ImageId, Job, Rendition, RenditionId, Retry, StoreError, StoredBlob, Thumbhash, Timestamp,
    UserId,
    catalog::{
        Jobs,
        rows::{Asked, checksums_to_bytes, editable, rendition_columns, select_asked, select_job, select_renditions},
    },
};

/// Appends to the change log that the renditions in `moved`, which has their `id`, `image_id`, `format` and `state`, went to that state at `$2`.
macro_rules! log_moved {
    () => {
        "logged AS (
             INSERT INTO changes (image_id, owner_id, kind, at, rendition_id, rendition_format, rendition_state)
             SELECT i.id, i.owner_id, 'rendition_changed', $2, m.id, m.format, m.state FROM moved m JOIN images i ON i.id = m.image_id
         ) "
    };
}

pub(super) use log_moved;

#[async_trait]
impl Jobs for Postgres {
    async fn claim(&self, id: RenditionId, worker: &str, lease: Duration, now: Timestamp) -> Result<Claim, StoreError> {
        // Neither the spec nor the original ever changes, so what is known here is known below.
        let asked = query_as(select_asked!()).bind(id.0).fetch_optional(&self.pool).await?;
        if let Some(refused) = Asked::refused(asked, now) {
            return Ok(refused);
        }
        let job = query_as(concat!(
            "WITH moved AS (
                 UPDATE renditions SET state = 'running', attempt = attempt + 1, lease_token = lease_token + 1, lease_until = $3,
                     worker_id = $4, due_at = NULL, told_at = NULL
                 WHERE id = $1 AND state = 'pending' AND due_at <= $2
                 RETURNING id, image_id, spec, format, state, attempt, lease_token, requested
             ), ",
            log_moved!(),
            select_job!("moved")
        ))
        .bind(id.0)
        .bind(now.0)
        .bind(now.plus(lease).0)
        .bind(worker)
        .fetch_optional(&self.pool)
        .await?;
        Ok(job.map_or(Claim::Nothing, |job| Claim::Granted(Box::new(job))))
    }

    async fn renew(&self, job: &Job, until: Timestamp) -> Result<Commit, StoreError> {
        let renewed = query("UPDATE renditions SET lease_until = $3 WHERE id = $1 AND lease_token = $2 AND state = 'running'")
            .bind(job.rendition.0)
            .bind(job.lease.0)
            .bind(until.0)
            .execute(&self.pool)
            .await?;
        Ok(done_if(renewed.rows_affected() == 1))
    }

    async fn complete(&self, job: &Job, output: &StoredBlob, drawn: &Drawn, now: Timestamp) -> Result<Commit, StoreError> {
        let Drawn { picture, colours, thumbhash } = drawn;
        let completed = query(concat!(
            "WITH unseen AS MATERIALIZED (
                 -- Locked before the rendition, as where images are deleted.
                 SELECT id FROM images WHERE id = $13 AND thumbhash IS NULL AND $14::BYTEA IS NOT NULL FOR NO KEY UPDATE
             ), moved AS (
                 UPDATE renditions SET state = 'ready', lease_until = NULL, worker_id = NULL, finished_at = $2, output_key = $4,
                     output_width = $5, output_height = $6, output_frame_count = $7, first_frame_only = $8, output_size_bytes = $9,
                     output_sha256 = $10, output_colour_type = $15, output_channel_bits = $16
                 WHERE id = $1 AND lease_token = $3 AND state = 'running' AND (SELECT count(*) FROM unseen) >= 0
                 RETURNING id, image_id, format, state
             ), seen AS (
                 UPDATE images i SET thumbhash = $14 FROM unseen, moved WHERE i.id = unseen.id
             ), stored AS (
                 INSERT INTO blobs (key, size_bytes, sha256, block_crc32c, created_at) SELECT $4, $9, $10, $11, $2 FROM moved
             ), counted AS (
                 UPDATE users u SET ready_count = ready_count + 1, used_bytes = used_bytes + $9 FROM moved WHERE u.id = $12
             ), ",
            log_moved!(),
            "SELECT 1 FROM moved"
        ))
        .bind(job.rendition.0)
        .bind(now.0)
        .bind(job.lease.0)
        .bind(&output.key.0)
        .bind(i64::from(picture.width))
        .bind(i64::from(picture.height))
        .bind(i64::from(picture.frame_count))
        .bind(picture.first_frame_only)
        .bind(output.digest.size_bytes as i64)
        .bind(output.digest.sha256.as_slice())
        .bind(checksums_to_bytes(&output.digest.block_crc32c))
        .bind(job.owner.0)
        .bind(job.image.0)
        .bind(thumbhash.as_ref().map(Thumbhash::as_bytes))
        .bind(colours.map(|colours| colours.kind.name()))
        .bind(colours.map(|colours| i64::from(colours.channel_bits)))
        .fetch_optional(&self.pool)
        .await?;
        if completed.is_some() {
            return Ok(Commit::Done);
        }
        // Maybe this very result was committed, and only the answer got lost.
        let before = query("SELECT 1 FROM renditions WHERE id = $1 AND lease_token = $2 AND output_key = $3")
            .bind(job.rendition.0)
            .bind(job.lease.0)
            .bind(&output.key.0)
            .fetch_optional(&self.pool)
            .await?;
        Ok(done_if(before.is_some()))
    }

    async fn fail(&self, job: &Job, failure: &Failure, now: Timestamp) -> Result<Commit, StoreError> {
        let failed = query(concat!(
            "WITH moved AS (
                 UPDATE renditions SET state = 'failed', lease_until = NULL, worker_id = NULL, finished_at = $2, failure_reason = $4,
                     failure_message = $5
                 WHERE id = $1 AND lease_token = $3 AND state = 'running' RETURNING id, image_id, format, state
             ), ",
            log_moved!(),
            "SELECT 1 FROM moved"
        ))
        .bind(job.rendition.0)
        .bind(now.0)
        .bind(job.lease.0)
        .bind(failure.reason.name())
        .bind(&failure.message)
        .fetch_optional(&self.pool)
        .await?;
        Ok(done_if(failed.is_some()))
    }

    async fn release(&self, job: &Job, retry_at: Timestamp, uncounted: bool, now: Timestamp) -> Result<Commit, StoreError> {
        let released = query(concat!(
            "WITH moved AS (
                 UPDATE renditions SET state = 'pending', lease_until = NULL, worker_id = NULL, due_at = $4, told_at = $2,
                     attempt = attempt - $5
                 WHERE id = $1 AND lease_token = $3 AND state = 'running' RETURNING id, image_id, format, state
             ), ",
            log_moved!(),
            "SELECT 1 FROM moved"
        ))
        .bind(job.rendition.0)
        .bind(now.0)
        .bind(job.lease.0)
        .bind(retry_at.0)
        .bind(i64::from(uncounted))
        .fetch_optional(&self.pool)
        .await?;
        Ok(done_if(released.is_some()))
    }

    async fn retry(&self, editor: Option<UserId>, id: RenditionId, now: Timestamp) -> Result<Retry, StoreError> {
        let mut tx = self.pool.begin().await?;
        if let Some(editor) = editor {
            let image = query_scalar("SELECT image_id FROM renditions WHERE id = $1").bind(id.0).fetch_optional(&mut *tx).await?;
            let Some(image) = image else {
                return Ok(Retry::Denied(Denied::Missing));
            };
            if let Err(denied) = editable(locked_image(&mut tx, editor, ImageId(image)).await?) {
                return Ok(Retry::Denied(denied));
            }
        }
        let retried = query(concat!(
            "WITH moved AS (
                 UPDATE renditions SET state = 'pending', attempt = 0, due_at = $2, told_at = $2, finished_at = NULL,
                     failure_reason = NULL, failure_message = NULL
                 WHERE id = $1 AND state = 'failed' RETURNING id, image_id, format, state
             ), ",
            log_moved!(),
            "SELECT 1 FROM moved"
        ))
        .bind(id.0)
        .bind(now.0)
        .fetch_optional(&mut *tx)
        .await?;
        let rendition: Option<Rendition> =
            query_as(concat!(select_renditions!(), "WHERE r.id = $1")).bind(id.0).fetch_optional(&mut *tx).await?;
        tx.commit().await?;
        Ok(match rendition {
            Some(rendition) if retried.is_some() => Retry::Pending(rendition),
            Some(rendition) => Retry::NotFailed(rendition.state),
            None => Retry::Denied(Denied::Missing),
        })
    }

    async fn expire_leases(&self, max_attempts: u32, limit: u32, now: Timestamp) -> Result<u64, StoreError> {
        let expired: i64 = query_scalar(concat!(
            "WITH expired AS (
                 SELECT id, attempt < $1 AS again FROM renditions WHERE state = 'running' AND lease_until < $2
                 ORDER BY lease_until LIMIT $3 FOR UPDATE SKIP LOCKED
             ), moved AS (
                 UPDATE renditions r SET lease_until = NULL, worker_id = NULL,
                     state = CASE WHEN e.again THEN 'pending' ELSE 'failed' END,
                     due_at = CASE WHEN e.again THEN $2 END,
                     told_at = CASE WHEN e.again THEN 0 END,
                     finished_at = CASE WHEN e.again THEN NULL ELSE $2 END,
                     failure_reason = CASE WHEN e.again THEN NULL ELSE 'ATTEMPTS_EXHAUSTED' END,
                     failure_message = CASE WHEN e.again THEN NULL ELSE 'begun ' || r.attempt || ' times without a result' END
                 FROM expired e WHERE r.id = e.id RETURNING r.id, r.image_id, r.format, r.state
             ), ",
            log_moved!(),
            "SELECT count(*) FROM moved"
        ))
        .bind(i64::from(max_attempts))
        .bind(now.0)
        .bind(i64::from(limit))
        .fetch_one(&self.pool)
        .await?;
        Ok(expired as u64)
    }

    async fn pull_back_times(&self, farthest: Timestamp, now: Timestamp) -> Result<u64, StoreError> {
        let pulled: i64 = query_scalar(
            "WITH leases AS (
                 UPDATE renditions SET lease_until = $1 WHERE state = 'running' AND lease_until > $1 RETURNING id
             ), waits AS (
                 UPDATE renditions SET due_at = $2, told_at = 0 WHERE state = 'pending' AND told_at > $1 RETURNING id
             ), publisher AS (
                 UPDATE event_publisher SET lease_until = $1 WHERE lease_until > $1
             )
             SELECT (SELECT count(*) FROM leases) + (SELECT count(*) FROM waits)",
        )
        .bind(farthest.0)
        .bind(now.0)
        .fetch_one(&self.pool)
        .await?;
        Ok(pulled as u64)
    }

    async fn void_leases(&self, now: Timestamp) -> Result<u64, StoreError> {
        let voided = query("UPDATE renditions SET lease_until = least(lease_until, $1 - 1) WHERE state = 'running'");
        let voided = voided.bind(now.0).execute(&self.pool).await?;
        Ok(voided.rows_affected())
    }

    async fn untold(&self, told_before: Timestamp, limit: u32, now: Timestamp) -> Result<Vec<RenditionId>, StoreError> {
        let ids: Vec<i64> = query_scalar(
            "WITH untold AS (
                 SELECT id, told_at FROM renditions WHERE state = 'pending' AND told_at < $1 AND due_at <= $2
                 ORDER BY told_at, id LIMIT $3 FOR UPDATE SKIP LOCKED
             ), told AS (
                 UPDATE renditions r SET told_at = $2 FROM untold u WHERE r.id = u.id RETURNING r.id, u.told_at
             )
             SELECT id FROM told ORDER BY told_at, id",
        )
        .bind(told_before.0)
        .bind(now.0)
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        Ok(ids.into_iter().map(RenditionId).collect())
    }
}

fn done_if(written: bool) -> Commit {
    if written { Commit::Done } else { Commit::LeaseLost }
}
