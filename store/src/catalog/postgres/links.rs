use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{
    Postgres, images,
    pool::PooledConnection,
    uploads::{count, lock_owner},
};
use crate::{
    BlobKey, Created, LinkCreated, LinkKey, NewImage, StoreError, Timestamp, UploadLink, UserId,
    catalog::{
        Links,
        rows::{labels_json, link_columns},
    },
};

#[async_trait]
impl Links for Postgres {
    async fn create_upload_link(&self, new: UploadLink, now: Timestamp) -> Result<LinkCreated, StoreError> {
        let mut tx = self.pool.begin().await?;
        // Others with the same upload id wait here, and then find it.
        if !lock_owner(&mut tx, new.owner).await? {
            return Ok(LinkCreated::OwnerMissing);
        }
        match open(&mut tx, new.owner, &new.upload_id).await? {
            Some(earlier) if earlier.expires_at > now => return Ok(LinkCreated::Done(earlier)),
            Some(expired) => drop(close(&mut tx, &expired).await?),
            None => {}
        }
        let stored = query_as("SELECT quota_bytes, used_bytes + unfinished_bytes FROM users WHERE id = $1");
        let (quota_bytes, used_bytes): (i64, i64) = stored.bind(new.owner.0).fetch_one(&mut *tx).await?;
        let (quota_bytes, used_bytes) = (quota_bytes as u64, used_bytes as u64);
        if used_bytes.saturating_add(new.file.size_bytes) > quota_bytes {
            return Ok(LinkCreated::OverQuota { quota_bytes, used_bytes });
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
        let mut connection = self.pool.acquire().await?;
        Ok(open(&mut connection, owner, upload_id).await?)
    }

    async fn upload_link(&self, id: &str) -> Result<Option<UploadLink>, StoreError> {
        let link = query_as(concat!(
            "SELECT ",
            link_columns!(),
            " FROM upload_links WHERE id = $1 AND NOT closed
                 AND EXISTS (SELECT FROM users WHERE users.id = upload_links.owner_id AND NOT users.disabled)"
        ));
        Ok(link.bind(id).fetch_optional(&self.pool).await?)
    }

    async fn receive_upload(&self, id: &str, key: &BlobKey) -> Result<bool, StoreError> {
        let received = query(
            "UPDATE upload_links SET key = $2 WHERE id = $1 AND key IS NULL AND NOT closed
                 AND EXISTS (SELECT FROM users WHERE users.id = upload_links.owner_id AND NOT users.disabled)",
        );
        Ok(received.bind(id).bind(&key.0).execute(&self.pool).await?.rows_affected() > 0)
    }

    async fn finish_upload_link(&self, new: NewImage, link: &UploadLink, now: Timestamp) -> Result<Option<Created>, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_owner(&mut tx, new.owner).await?;
        let Some(counted_bytes) = close(&mut tx, link).await? else {
            tx.rollback().await?;
            return images::repeated(self, &new).await;
        };
        Ok(Some(match self.create(tx, new, now).await? {
            // Looked at after the link was open again, whose bytes are in the image already.
            Created::OverQuota { quota_bytes, used_bytes } => {
                Created::OverQuota { quota_bytes, used_bytes: used_bytes.saturating_sub(counted_bytes) }
            }
            created => created,
        }))
    }

    async fn close_upload_link(&self, link: &UploadLink) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_owner(&mut tx, link.owner).await?;
        let closed = close(&mut tx, link).await?;
        tx.commit().await?;
        Ok(closed.is_some())
    }

    async fn forget_upload_link(&self, link: &UploadLink) -> Result<(), StoreError> {
        let mut tx = self.pool.begin().await?;
        lock_owner(&mut tx, link.owner).await?;
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
        Ok(links.bind(before.0).bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }

    async fn make_link_key(&self, key: &LinkKey) -> Result<LinkKey, StoreError> {
        query("INSERT INTO link_keys (id, secret, expires_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
            .bind(key.id)
            .bind(key.secret.as_slice())
            .bind(key.expires_at.0)
            .execute(&self.pool)
            .await?;
        let made = query_as("SELECT id, secret, expires_at FROM link_keys WHERE id = $1");
        Ok(made.bind(key.id).fetch_one(&self.pool).await?)
    }

    async fn link_key(&self, id: i64) -> Result<Option<LinkKey>, StoreError> {
        let key = query_as("SELECT id, secret, expires_at FROM link_keys WHERE id = $1");
        Ok(key.bind(id).fetch_optional(&self.pool).await?)
    }
}

async fn open(connection: &mut PooledConnection, owner: UserId, upload_id: &str) -> sqlx::Result<Option<UploadLink>> {
    let link = query_as(concat!("SELECT ", link_columns!(), " FROM upload_links WHERE owner_id = $1 AND upload_id = $2 AND NOT closed"));
    link.bind(owner.0).bind(upload_id).fetch_optional(connection).await
}

/// Closes a link, which counts no more then, and returns its size. `None` when it was not open.
async fn close(connection: &mut PooledConnection, link: &UploadLink) -> sqlx::Result<Option<u64>> {
    let closed = query_scalar("UPDATE upload_links SET closed = TRUE WHERE id = $1 AND NOT closed RETURNING size_bytes");
    let closed: Option<i64> = closed.bind(&link.id).fetch_optional(&mut *connection).await?;
    if let Some(size_bytes) = closed {
        count(connection, link.owner, -size_bytes).await?;
    }
    Ok(closed.map(|size_bytes| size_bytes as u64))
}
