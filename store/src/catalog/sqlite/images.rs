use async_trait::async_trait;
use sqlx::{SqliteConnection, query, query_as, query_scalar};

use super::{Sqlite, changes, json_array, users};
use crate::{
    BlobKey, ChangeKind, Created, Image, ImageFilter, ImageId, Kind, NewImage, Owners, Rendition, RenditionId, SeenImage, StoreError,
    StoredBlob, Timestamp, UserId,
    catalog::{
        Images,
        rows::{
            self, SeenRow, checksums_to_bytes, image_columns, image_joins, labels_json, rendition_columns, select_images,
            select_renditions, select_seen_images,
        },
    },
};

/// Whether the image `l` matches the filter in `$3` to `$10`.
macro_rules! matches {
    () => {
        "($3 OR l.format IN (SELECT value FROM json_each($4)))
         AND ($5 OR EXISTS (SELECT 1 FROM renditions
                            WHERE image_id = l.id AND state IN (SELECT value FROM json_each($6))))
         AND instr(l.file_name, $7) > 0
         AND l.created_at >= $8 AND l.created_at < $9
         AND NOT EXISTS (SELECT 1 FROM json_each($10) w
                         WHERE NOT EXISTS (SELECT 1 FROM json_each(l.labels) h WHERE h.key = w.key AND h.value = w.value))"
    };
}

/// `$what` of up to `$11` of the images that the user `$1` owns, that match and have an id below `$2`, the largest id first.
macro_rules! own {
    ($what:literal) => {
        concat!("SELECT ", $what, " FROM images l WHERE l.owner_id = $1 AND l.id < $2 AND ", matches!(), " ORDER BY l.id DESC LIMIT $11")
    };
}

/// The ids of up to `$11` of other people's images that are shared with `$party`, that match and have an id below `$2`, the largest first.
macro_rules! shared {
    ($party:literal) => {
        concat!(
            "SELECT id FROM (
                 -- In this order: SQLite reorders any other join.
                 SELECT l.id FROM shares s CROSS JOIN images l ON l.id = s.image_id CROSS JOIN users u ON u.id = l.owner_id
                 WHERE s.user_id = ",
            $party,
            " AND s.image_id < $2 AND l.owner_id <> $1 AND u.deleted_at IS NULL AND ",
            matches!(),
            " ORDER BY s.image_id DESC LIMIT $11)"
        )
    };
}

/// The first `$11` of these images.
macro_rules! select_listed {
    ($($ids:tt)+) => {
        select_seen_images!("images m WHERE m.id IN (", $($ids)+, " ORDER BY id DESC LIMIT $11)")
    };
}

#[async_trait]
impl Images for Sqlite {
    async fn create_image(&self, new: NewImage, now: Timestamp) -> Result<Created, StoreError> {
        let mut tx = self.write().await?;
        if let Some(repeated) = repeated(&mut tx, &new).await? {
            return Ok(repeated);
        }
        let created = create(&mut tx, new, now).await?;
        if std::matches!(created, Created::New(_)) {
            tx.commit().await?;
        }
        Ok(created)
    }

    async fn image_by_request(&self, owner: UserId, request_id: &str) -> Result<Option<Option<Image>>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        match image_of_request(&mut reader, owner, request_id).await? {
            Some(id) => Ok(Some(image(&mut reader, id).await?)),
            None => Ok(None),
        }
    }

    async fn image(&self, id: ImageId) -> Result<Option<Image>, StoreError> {
        let mut reader = self.readers.acquire().await?;
        Ok(image(&mut reader, id).await?)
    }

    async fn images(&self, ids: &[ImageId]) -> Result<Vec<Image>, StoreError> {
        let rows = query_as(concat!(select_images!("images"), "WHERE i.id IN (SELECT CAST(value AS INTEGER) FROM json_each($1))"));
        let rows = rows.bind(json_array(ids)).fetch_all(&self.readers).await?;
        Ok(rows::images(rows).into_values().collect())
    }

    async fn rendition(&self, id: RenditionId) -> Result<Option<Rendition>, StoreError> {
        let rendition = query_as(concat!(select_renditions!(), "WHERE r.id = $1"));
        Ok(rendition.bind(id.0).fetch_optional(&self.readers).await?)
    }

    async fn list_images(
        &self,
        user: UserId,
        filter: &ImageFilter,
        before: Option<ImageId>,
        limit: u32,
    ) -> Result<Vec<SeenImage>, StoreError> {
        let formats = filter.formats.iter().map(|format| format.name());
        let states = filter.rendition_states.iter().map(|state| state.name());
        let rows = query_as::<_, SeenRow>(match filter.owners {
            Owners::Mine => {
                concat!("SELECT 'owner' AS access, TRUE AS named, ", image_columns!(), " FROM (", own!("*"), ") i ", image_joins!())
            }
            Owners::Others => select_listed!(shared!("$1"), " UNION ", shared!("0")),
            Owners::Anyone => select_listed!("SELECT id FROM (", own!("l.id"), ") UNION ", shared!("$1"), " UNION ", shared!("0")),
        })
        .bind(user.0)
        .bind(before.map_or(i64::MAX, |id| id.0))
        .bind(filter.formats.is_empty())
        .bind(json_array(formats))
        .bind(filter.rendition_states.is_empty())
        .bind(json_array(states))
        // Every name contains the empty text.
        .bind(filter.file_name_contains.as_deref().unwrap_or_default())
        .bind(filter.created_from.map_or(i64::MIN, |from| from.0))
        .bind(filter.created_before.map_or(i64::MAX, |before| before.0))
        .bind(labels_json(&filter.labels))
        .bind(limit)
        .fetch_all(&self.readers)
        .await?;
        let mut page = rows::seen_images(rows);
        page.reverse();
        Ok(page)
    }

    async fn delete_image(&self, id: ImageId, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.write().await?;
        let Some(image) = image(&mut tx, id).await? else {
            return Ok(false);
        };
        // First, as long as there is somebody with whom it is shared.
        changes::append(&mut tx, id, image.owner, ChangeKind::Deleted, now).await?;
        for delete in
            ["DELETE FROM shares WHERE image_id = $1", "DELETE FROM renditions WHERE image_id = $1", "DELETE FROM images WHERE id = $1"]
        {
            query(delete).bind(id.0).execute(&mut *tx).await?;
        }
        let outputs: Vec<_> = image.renditions.into_iter().filter_map(|rendition| rendition.output).collect();
        let freed = Counted {
            images: -1,
            original_bytes: -(image.size_bytes as i64),
            ready: -(outputs.len() as i64),
            rendition_bytes: -outputs.iter().map(|output| output.size_bytes as i64).sum::<i64>(),
        };
        count(&mut tx, image.owner, freed).await?;
        let outputs = outputs.into_iter().map(|output| output.blob);
        for key in outputs.chain([image.blob]) {
            query("UPDATE blobs SET doomed_at = $2 WHERE key = $1").bind(key.0).bind(now.0).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    async fn blob(&self, key: &BlobKey) -> Result<Option<StoredBlob>, StoreError> {
        let blob = query_as("SELECT key, size_bytes, sha256, block_crc32c FROM blobs WHERE key = $1 AND doomed_at IS NULL");
        Ok(blob.bind(&key.0).fetch_optional(&self.readers).await?)
    }
}

/// What an earlier request of the same name made, if there was one.
pub(super) async fn repeated(connection: &mut SqliteConnection, new: &NewImage) -> Result<Option<Created>, StoreError> {
    let Some(request_id) = &new.request_id else { return Ok(None) };
    match image_of_request(&mut *connection, new.owner, request_id).await? {
        Some(first) => Ok(Some(Created::Repeated(image(connection, first).await?))),
        None => Ok(None),
    }
}

/// Writes what a new image consists of, in a transaction of the caller's.
pub(super) async fn create(connection: &mut SqliteConnection, new: NewImage, now: Timestamp) -> Result<Created, StoreError> {
    let Some(owner) = users::user(connection, new.owner).await? else {
        return Ok(Created::OwnerMissing);
    };
    let used_bytes = owner.used_bytes + owner.unfinished_bytes;
    if used_bytes + new.original.digest.size_bytes > owner.quota_bytes {
        return Ok(Created::OverQuota { quota_bytes: owner.quota_bytes, used_bytes });
    }
    let original_bytes = new.original.digest.size_bytes as i64;
    count(connection, new.owner, Counted { images: 1, original_bytes, ..Counted::default() }).await?;
    insert_blob(connection, &new.original, now).await?;
    let id = query_scalar(
        "INSERT INTO images (owner_id, file_name, format, width, height, frame_count, original_key, size_bytes, sha256, created_at, labels)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
    )
    .bind(new.owner.0)
    .bind(&new.file_name)
    .bind(new.header.format.name())
    .bind(new.header.width)
    .bind(new.header.height)
    .bind(new.header.frame_count)
    .bind(&new.original.key.0)
    .bind(original_bytes)
    .bind(new.original.digest.sha256.as_slice())
    .bind(now.0)
    .bind(labels_json(&new.labels))
    .fetch_one(&mut *connection)
    .await
    .map(ImageId)?;
    for format in &new.renditions {
        query(
            "INSERT INTO renditions (image_id, spec, format, state, created_at, due_at, told_at)
             VALUES ($1, $2, $2, 'pending', $3, $3, $3)",
        )
        .bind(id.0)
        .bind(format.name())
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    }
    if let Some(request_id) = &new.request_id {
        query("INSERT INTO requests (owner_id, request_id, image_id, created_at) VALUES ($1, $2, $3, $4)")
            .bind(new.owner.0)
            .bind(request_id)
            .bind(id.0)
            .bind(now.0)
            .execute(&mut *connection)
            .await?;
    }
    changes::append(connection, id, new.owner, ChangeKind::Created, now).await?;
    let created = image(connection, id).await?;
    created.map(Created::New).ok_or_else(|| StoreError::new(Kind::Internal, format!("image {id} is gone before it was committed")))
}

pub(super) async fn insert_blob(connection: &mut SqliteConnection, blob: &StoredBlob, now: Timestamp) -> sqlx::Result<()> {
    query("INSERT INTO blobs (key, size_bytes, sha256, block_crc32c, created_at) VALUES ($1, $2, $3, $4, $5)")
        .bind(&blob.key.0)
        .bind(blob.digest.size_bytes as i64)
        .bind(blob.digest.sha256.as_slice())
        .bind(checksums_to_bytes(&blob.digest.block_crc32c))
        .bind(now.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// What a user's row counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Counted {
    pub(super) images: i64,
    pub(super) original_bytes: i64,
    pub(super) ready: i64,
    pub(super) rendition_bytes: i64,
}

/// Adds to what a user's row counts.
pub(super) async fn count(connection: &mut SqliteConnection, user: UserId, more: Counted) -> sqlx::Result<()> {
    query(
        "UPDATE users SET image_count = image_count + $2, original_bytes = original_bytes + $3, ready_count = ready_count + $4,
             used_bytes = used_bytes + $3 + $5
         WHERE id = $1",
    )
    .bind(user.0)
    .bind(more.images)
    .bind(more.original_bytes)
    .bind(more.ready)
    .bind(more.rendition_bytes)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn image(connection: &mut SqliteConnection, id: ImageId) -> sqlx::Result<Option<Image>> {
    let rows = query_as(concat!(select_images!("images"), "WHERE i.id = $1")).bind(id.0).fetch_all(connection).await?;
    Ok(rows::images(rows).into_values().next())
}

pub(super) async fn image_of_request(connection: &mut SqliteConnection, owner: UserId, request_id: &str) -> sqlx::Result<Option<ImageId>> {
    let image = query_scalar("SELECT image_id FROM requests WHERE owner_id = $1 AND request_id = $2");
    Ok(image.bind(owner.0).bind(request_id).fetch_optional(connection).await?.map(ImageId))
}
