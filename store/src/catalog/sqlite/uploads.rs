use async_trait::async_trait;
use sqlx::{SqliteConnection, query, query_as};

use super::{Sqlite, images, users};
use crate::{
    Created, FinishedUpload, Hold, NewImage, OpenUpload, PartialBlob, Recorded, StoreError, Timestamp, UserId,
    catalog::{
        Uploads,
        rows::{checksums_to_bytes, upload_columns},
    },
};

#[async_trait]
impl Uploads for Sqlite {
    async fn open_upload(&self, owner: UserId, upload_id: &str) -> Result<Option<OpenUpload>, StoreError> {
        let upload = query_as(concat!("SELECT ", upload_columns!(), " FROM uploads WHERE owner_id = $1 AND upload_id = $2"));
        Ok(upload.bind(owner.0).bind(upload_id).fetch_optional(&self.readers).await?)
    }

    async fn take_upload(&self, owner: UserId, upload_id: &str, now: Timestamp) -> Result<Option<OpenUpload>, StoreError> {
        // Most uploads are new, and a look costs less than a write that changes nothing.
        if self.open_upload(owner, upload_id).await?.is_none() {
            return Ok(None);
        }
        let upload = query_as(concat!(
            "UPDATE uploads SET hold = max(hold + 1, $3), updated_at = $3 WHERE owner_id = $1 AND upload_id = $2 RETURNING ",
            upload_columns!()
        ));
        Ok(upload.bind(owner.0).bind(upload_id).bind(now.0).fetch_optional(&self.writer).await?)
    }

    async fn record_upload(&self, upload: &OpenUpload, first: bool) -> Result<Recorded, StoreError> {
        let mut tx = self.write().await?;
        if users::user(&mut tx, upload.owner).await?.is_none() {
            return Ok(Recorded::TakenOver);
        }
        let before = query_as(concat!("SELECT ", upload_columns!(), " FROM uploads WHERE owner_id = $1 AND upload_id = $2"));
        let before: Option<OpenUpload> = before.bind(upload.owner.0).bind(&upload.upload_id).fetch_optional(&mut *tx).await?;
        let taken_over = match &before {
            Some(before) => before.hold > upload.hold,
            // What comes late of a stream finds the upload finished by another one.
            None => !first || images::image_of_request(&mut tx, upload.owner, &upload.upload_id).await?.is_some(),
        };
        if taken_over {
            return Ok(Recorded::TakenOver);
        }
        query(
            "INSERT INTO uploads (owner_id, upload_id, hold, key, place, size_bytes, block_crc32c, updated_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (owner_id, upload_id) DO UPDATE SET hold = excluded.hold, key = excluded.key, place = excluded.place,
                 size_bytes = excluded.size_bytes, block_crc32c = excluded.block_crc32c, updated_at = excluded.updated_at",
        )
        .bind(upload.owner.0)
        .bind(&upload.upload_id)
        .bind(upload.hold.0)
        .bind(&upload.partial.key.0)
        .bind(&upload.partial.place)
        .bind(upload.partial.size_bytes as i64)
        .bind(checksums_to_bytes(&upload.partial.block_crc32c))
        .bind(upload.updated_at.0)
        .execute(&mut *tx)
        .await?;
        let counted_bytes = before.as_ref().map_or(0, |before| before.partial.size_bytes);
        count(&mut tx, upload.owner, upload.partial.size_bytes as i64 - counted_bytes as i64).await?;
        tx.commit().await?;
        Ok(Recorded::done(upload, before))
    }

    async fn finish_upload(&self, new: NewImage, hold: Hold, first: bool, now: Timestamp) -> Result<Option<FinishedUpload>, StoreError> {
        let mut tx = self.write().await?;
        let upload_id = new.request_id.clone().unwrap_or_default();
        if let Some(repeated) = images::repeated(&mut tx, &new).await? {
            return Ok(Some(FinishedUpload::repeated(repeated)));
        }
        let before = match remove(&mut tx, new.owner, &upload_id, hold).await? {
            Removal::Removed(before) => Some(before),
            Removal::Absent if first => None,
            Removal::Absent | Removal::Held => return Ok(None),
        };
        let original = new.original.key.clone();
        let created = images::create(&mut tx, new, now).await?;
        if matches!(created, Created::New(_)) {
            tx.commit().await?;
        }
        Ok(Some(FinishedUpload::of(created, before, &original)))
    }

    async fn drop_upload(&self, owner: UserId, upload_id: &str, hold: Hold) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let removal = remove(&mut tx, owner, upload_id, hold).await?;
        tx.commit().await?;
        Ok(matches!(removal, Removal::Removed(_)))
    }

    async fn stale_uploads(&self, before: Timestamp, limit: u32) -> Result<Vec<OpenUpload>, StoreError> {
        let uploads = query_as(concat!(
            "SELECT ",
            upload_columns!(),
            " FROM uploads WHERE updated_at < $1 OR owner_id IN (SELECT id FROM users WHERE deleted_at IS NOT NULL) LIMIT $2"
        ));
        Ok(uploads.bind(before.0).bind(limit).fetch_all(&self.readers).await?)
    }
}

enum Removal {
    Removed(PartialBlob),
    Absent,
    /// Somebody has a later hold.
    Held,
}

/// Removes an upload under this hold, or an earlier one; it counts no more then.
async fn remove(connection: &mut SqliteConnection, owner: UserId, upload_id: &str, hold: Hold) -> sqlx::Result<Removal> {
    let found = query_as(concat!("SELECT ", upload_columns!(), " FROM uploads WHERE owner_id = $1 AND upload_id = $2"));
    let found: Option<OpenUpload> = found.bind(owner.0).bind(upload_id).fetch_optional(&mut *connection).await?;
    let Some(OpenUpload { hold: held, partial, .. }) = found else { return Ok(Removal::Absent) };
    if held > hold {
        return Ok(Removal::Held);
    }
    query("DELETE FROM uploads WHERE owner_id = $1 AND upload_id = $2").bind(owner.0).bind(upload_id).execute(&mut *connection).await?;
    count(connection, owner, -(partial.size_bytes as i64)).await?;
    Ok(Removal::Removed(partial))
}

pub(super) async fn count(connection: &mut SqliteConnection, owner: UserId, more_bytes: i64) -> sqlx::Result<()> {
    let count = query("UPDATE users SET unfinished_bytes = unfinished_bytes + $2 WHERE id = $1");
    count.bind(owner.0).bind(more_bytes).execute(connection).await?;
    Ok(())
}
