use async_trait::async_trait;
use sqlx::{SqliteConnection, query, query_as, query_scalar};

use super::{Sqlite, images, uploads::count, users};
use crate::{
    BlobKey, Created, LinkCreated, LinkKey, NewImage, StoreError, Timestamp, UploadLink, UserId,
    catalog::{
        Links,
        rows::{labels_json, link_columns},
    },
};

#[async_trait]
impl Links for Sqlite {
    async fn create_upload_link(&self, new: UploadLink, now: Timestamp) -> Result<LinkCreated, StoreError> {
        let mut tx = self.write().await?;
        let Some(owner) = users::user(&mut tx, new.owner).await? else {
            return Ok(LinkCreated::OwnerMissing);
        };
        let mut used_bytes = owner.used_bytes + owner.unfinished_bytes;
        match open(&mut tx, new.owner, &new.upload_id).await? {
            Some(earlier) if earlier.expires_at > now => return Ok(LinkCreated::Done(earlier)),
            Some(expired) => {
                close(&mut tx, &expired).await?;
                used_bytes = used_bytes.saturating_sub(expired.file.size_bytes);
            }
            None => {}
        }
        if used_bytes.saturating_add(new.file.size_bytes) > owner.quota_bytes {
            return Ok(LinkCreated::OverQuota { quota_bytes: owner.quota_bytes, used_bytes });
        }
        count(&mut tx, new.owner, new.file.size_bytes as i64).await?;
        query(
            "INSERT INTO upload_links (id, owner_id, upload_id, file_name, labels, content_type, size_bytes, sha256, direct, key, expires_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        )
        .bind(&new.id)
        .bind(new.owner.0)
        .bind(&new.upload_id)
        .bind(&new.file.file_name)
        .bind(labels_json(&new.file.labels))
        .bind(&new.file.content_type)
        .bind(new.file.size_bytes as i64)
        .bind(new.file.sha256.as_slice())
        .bind(new.direct)
        .bind(new.key.as_ref().map(|key| &key.0))
        .bind(new.expires_at.0)
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(LinkCreated::Done(new))
    }

    async fn open_upload_link(&self, owner: UserId, upload_id: &str) -> Result<Option<UploadLink>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        Ok(open(&mut reader, owner, upload_id).await?)
    }

    async fn upload_link(&self, id: &str) -> Result<Option<UploadLink>, StoreError> {
        let link = query_as(concat!(
            "SELECT ",
            link_columns!(),
            " FROM upload_links WHERE id = $1 AND NOT closed
                 AND EXISTS (SELECT 1 FROM users WHERE users.id = upload_links.owner_id AND NOT users.disabled)"
        ));
        Ok(link.bind(id).fetch_optional(&self.readers).await?)
    }

    async fn receive_upload(&self, id: &str, key: &BlobKey) -> Result<bool, StoreError> {
        let received = query(
            "UPDATE upload_links SET key = $2 WHERE id = $1 AND key IS NULL AND NOT closed
                 AND EXISTS (SELECT 1 FROM users WHERE users.id = upload_links.owner_id AND NOT users.disabled)",
        );
        Ok(received.bind(id).bind(&key.0).execute(&self.writer).await?.rows_affected() > 0)
    }

    async fn finish_upload_link(&self, new: NewImage, link: &UploadLink, now: Timestamp) -> Result<Option<Created>, StoreError> {
        let mut tx = self.write().await?;
        if let Some(repeated) = images::repeated(&mut tx, &new).await? {
            return Ok(Some(repeated));
        }
        if !close(&mut tx, link).await? {
            return Ok(None);
        }
        let created = images::create(&mut tx, new, now).await?;
        if matches!(created, Created::New(_)) {
            tx.commit().await?;
        }
        Ok(Some(created))
    }

    async fn close_upload_link(&self, link: &UploadLink) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let closed = close(&mut tx, link).await?;
        tx.commit().await?;
        Ok(closed)
    }

    async fn forget_upload_link(&self, link: &UploadLink) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        close(&mut tx, link).await?;
        query("DELETE FROM upload_links WHERE id = $1").bind(&link.id).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    async fn stale_upload_links(&self, before: Timestamp, limit: u32) -> Result<Vec<UploadLink>, StoreError> {
        let links = query_as(concat!(
            "SELECT ",
            link_columns!(),
            " FROM upload_links WHERE expires_at < $1 OR owner_id IN (SELECT id FROM users WHERE deleted_at IS NOT NULL) LIMIT $2"
        ));
        Ok(links.bind(before.0).bind(limit).fetch_all(&self.readers).await?)
    }

    async fn make_link_key(&self, key: &LinkKey) -> Result<LinkKey, StoreError> {
        query("INSERT INTO link_keys (id, secret, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
            .bind(key.id)
            .bind(key.secret.as_slice())
            .bind(key.expires_at.0)
            .execute(&self.writer)
            .await?;
        let made = query_as("SELECT id, secret, expires_at FROM link_keys WHERE id = $1");
        Ok(made.bind(key.id).fetch_one(&self.writer).await?)
    }

    async fn link_key(&self, id: i64) -> Result<Option<LinkKey>, StoreError> {
        let key = query_as("SELECT id, secret, expires_at FROM link_keys WHERE id = $1");
        Ok(key.bind(id).fetch_optional(&self.readers).await?)
    }
}

async fn open(connection: &mut SqliteConnection, owner: UserId, upload_id: &str) -> sqlx::Result<Option<UploadLink>> {
    let link = query_as(concat!("SELECT ", link_columns!(), " FROM upload_links WHERE owner_id = $1 AND upload_id = $2 AND NOT closed"));
    link.bind(owner.0).bind(upload_id).fetch_optional(connection).await
}

/// Closes a link, which counts no more then. `false` when it was not open.
async fn close(connection: &mut SqliteConnection, link: &UploadLink) -> sqlx::Result<bool> {
    let closed = query_scalar("UPDATE upload_links SET closed = TRUE WHERE id = $1 AND NOT closed RETURNING size_bytes");
    let closed: Option<i64> = closed.bind(&link.id).fetch_optional(&mut *connection).await?;
    if let Some(size_bytes) = closed {
        count(connection, link.owner, -size_bytes).await?;
    }
    Ok(closed.is_some())
}
