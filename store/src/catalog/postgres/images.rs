use async_trait::async_trait;
use sqlx::{PgExecutor, query, query_as, query_scalar};

use super::{
    Postgres, is_storable,
    pool::{PooledConnection, Transaction},
};
use crate::{
    BlobKey, ChangeKind, Created, Image, ImageFilter, ImageId, Kind, NewImage, Owners, Rendition, RenditionId, SeenImage, StoreError,
    StoredBlob, Timestamp, UserId,
    catalog::{
        Images, Users,
        rows::{
            self, SeenRow, checksums_to_bytes, image_columns, image_joins, labels_json, rendition_columns, select_images,
            select_renditions, select_seen_images,
        },
    },
};

/// Whether the image `l` matches the filter in `$3` to `$11`.
macro_rules! matches {
    () => {
        "($3 OR l.format = ANY ($4))
         AND ($5 OR EXISTS (SELECT FROM renditions WHERE image_id = l.id AND state = ANY ($6)))
         AND strpos(l.file_name, $7) > 0
         AND l.created_at >= $8 AND l.created_at < $9
         AND ($10 OR l.labels @> $11::JSONB)"
    };
}

/// `$what` of up to `$12` of the images that the user `$1` owns, that match and have an id below `$2`, the largest id first.
macro_rules! own {
    ($what:literal) => {
        concat!(
            "(SELECT ",
            $what,
            " FROM images l
              WHERE l.owner_id >= $1 AND (l.owner_id, l.id) < ($1, $2) -- equality would let the planner walk through everybody's images
                AND ",
            matches!(),
            " ORDER BY l.owner_id DESC, l.id DESC LIMIT $12)"
        )
    };
}

/// The ids of up to `$12` of other people's images that are shared with `$party`, that match and have an id below `$2`, the largest first.
macro_rules! shared {
    ($party:literal) => {
        concat!(
            "(SELECT l.id FROM shares s CROSS JOIN LATERAL (
                  -- A plain join would let the planner walk through all images.
                  SELECT i.* FROM images i JOIN users u ON u.id = i.owner_id WHERE i.id = s.image_id AND u.deleted_at IS NULL OFFSET 0
              ) l
              WHERE s.user_id >= ",
            $party,
            " AND (s.user_id, s.image_id) < (",
            $party,
            ", $2) AND l.owner_id <> $1 AND ",
            matches!(),
            " ORDER BY s.user_id DESC, s.image_id DESC LIMIT $12)"
        )
    };
}

/// The first `$12` of these images.
macro_rules! select_listed {
    ($($ids:tt)+) => {
        concat!(
            "SELECT seen.* FROM (SELECT id FROM (",
            $($ids)+,
            ") listed ORDER BY id DESC LIMIT $12) p CROSS JOIN LATERAL (", // a plain join would walk through all images
            select_seen_images!("images m WHERE m.id = p.id"),
            " OFFSET 0) seen"
        )
    };
}

#[async_trait]
impl Images for Postgres {
    async fn create_image(&self, new: NewImage, now: Timestamp) -> Result<Created, StoreError> {
        let tx = self.pool.begin().await?;
        self.create(tx, new, now).await
    }

    async fn image_by_request(&self, owner: UserId, request_id: &str) -> Result<Option<Option<Image>>, StoreError> {
        if !is_storable(request_id) {
            return Ok(None);
        }
        let id = query_scalar("SELECT image_id FROM requests WHERE owner_id = $1 AND request_id = $2")
            .bind(owner.0)
            .bind(request_id)
            .fetch_optional(&self.pool)
            .await?;
        match id {
            Some(id) => Ok(Some(image(&self.pool, ImageId(id)).await?)),
            None => Ok(None),
        }
    }

    async fn image(&self, id: ImageId) -> Result<Option<Image>, StoreError> {
        Ok(image(&self.pool, id).await?)
    }

    async fn images(&self, ids: &[ImageId]) -> Result<Vec<Image>, StoreError> {
        let rows = query_as(concat!(select_images!("images"), "WHERE i.id = ANY ($1)"));
        let rows = rows.bind(ids.iter().map(|id| id.0).collect::<Vec<_>>()).fetch_all(&self.pool).await?;
        Ok(rows::images(rows).into_values().collect())
    }

    async fn rendition(&self, id: RenditionId) -> Result<Option<Rendition>, StoreError> {
        let rendition = query_as(concat!(select_renditions!(), "WHERE r.id = $1"));
        Ok(rendition.bind(id.0).fetch_optional(&self.pool).await?)
    }

    async fn list_images(
        &self,
        user: UserId,
        filter: &ImageFilter,
        before: Option<ImageId>,
        limit: u32,
    ) -> Result<Vec<SeenImage>, StoreError> {
        let file_name_contains = filter.file_name_contains.as_deref().unwrap_or_default();
        let mut texts = filter.labels.iter().flat_map(|(key, value)| [key, value]);
        if !is_storable(file_name_contains) || !texts.all(|text| is_storable(text)) {
            return Ok(Vec::new());
        }
        let rows = query_as::<_, SeenRow>(match filter.owners {
            Owners::Mine => {
                concat!("SELECT 'owner' AS access, TRUE AS named, ", image_columns!(), " FROM ", own!("*"), " i ", image_joins!())
            }
            Owners::Others => select_listed!(shared!("$1"), " UNION ", shared!("0")),
            Owners::Anyone => select_listed!(own!("l.id"), " UNION ", shared!("$1"), " UNION ", shared!("0")),
        })
        .bind(user.0)
        .bind(before.map_or(i64::MAX, |id| id.0))
        .bind(filter.formats.is_empty())
        .bind(filter.formats.iter().map(|format| format.name()).collect::<Vec<_>>())
        .bind(filter.rendition_states.is_empty())
        .bind(filter.rendition_states.iter().map(|state| state.name()).collect::<Vec<_>>())
        // Every name contains the empty text.
        .bind(file_name_contains)
        .bind(filter.created_from.map_or(i64::MIN, |from| from.0))
        .bind(filter.created_before.map_or(i64::MAX, |before| before.0))
        .bind(filter.labels.is_empty())
        .bind(labels_json(&filter.labels))
        .bind(i64::from(limit))
        .fetch_all(&self.pool)
        .await?;
        let mut page = rows::seen_images(rows);
        page.reverse();
        Ok(page)
    }

    async fn delete_image(&self, id: ImageId, now: Timestamp) -> Result<bool, StoreError> {
        let mut tx = self.pool.begin().await?;
        // The image first, then its renditions: whoever else locks several of them does it in this order.
        let locked: Option<(i64, String)> =
            query_as("SELECT owner_id, original_key FROM images WHERE id = $1 FOR UPDATE").bind(id.0).fetch_optional(&mut *tx).await?;
        let Some((owner, original)) = locked else {
            return Ok(false);
        };
        // Waits for a commit that is under way and returns the blob that it brought.
        let outputs: Vec<Option<String>> =
            query_scalar("DELETE FROM renditions WHERE image_id = $1 RETURNING output_key").bind(id.0).fetch_all(&mut *tx).await?;
        let keys: Vec<String> = outputs.into_iter().flatten().chain([original.clone()]).collect();
        query(
            "WITH doomed AS (
                 UPDATE blobs SET doomed_at = $3 WHERE key = ANY ($4) RETURNING key, size_bytes
             ), freed AS (
                 UPDATE users u SET image_count = u.image_count - 1, original_bytes = u.original_bytes - d.original,
                     ready_count = u.ready_count - d.outputs, used_bytes = u.used_bytes - d.bytes
                 FROM (
                     SELECT sum(size_bytes)::BIGINT AS bytes, (sum(size_bytes) FILTER (WHERE key = $6))::BIGINT AS original,
                         count(*) - 1 AS outputs
                     FROM doomed
                 ) d
                 WHERE u.id = $2
             )
             INSERT INTO changes (image_id, owner_id, kind, at) VALUES ($1, $2, $5, $3)",
        )
        .bind(id.0)
        .bind(owner)
        .bind(now.0)
        .bind(keys)
        .bind(ChangeKind::Deleted.name())
        .bind(original)
        .execute(&mut *tx)
        .await?;
        // A statement of its own: those with whom it was shared are told at the end of the one before.
        query("WITH unshared AS (DELETE FROM shares WHERE image_id = $1) DELETE FROM images WHERE id = $1")
            .bind(id.0)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(true)
    }

    async fn blob(&self, key: &BlobKey) -> Result<Option<StoredBlob>, StoreError> {
        let blob = query_as("SELECT key, size_bytes, sha256, block_crc32c FROM blobs WHERE key = $1 AND doomed_at IS NULL");
        Ok(blob.bind(&key.0).fetch_optional(&self.pool).await?)
    }
}

impl Postgres {
    /// Writes what a new image consists of and commits the transaction, or gives it up.
    pub(super) async fn create(&self, mut tx: Transaction, new: NewImage, now: Timestamp) -> Result<Created, StoreError> {
        // Before anything else, so that nothing is recorded for an owner who is being deleted.
        if !count_original(&mut tx, &new).await? {
            tx.rollback().await?;
            return self.uncounted(&new).await;
        }
        let id = match &new.request_id {
            None => Some(query_scalar("SELECT nextval(pg_get_serial_sequence('images', 'id'))").fetch_one(&mut *tx).await?),
            // Of several at once, the others wait for the first one's transaction, and then find this.
            Some(request_id) => {
                query_scalar(
                    "INSERT INTO requests (owner_id, request_id, image_id, created_at)
                     VALUES ($1, $2, nextval(pg_get_serial_sequence('images', 'id')), $3)
                     ON CONFLICT (owner_id, request_id) DO NOTHING RETURNING image_id",
                )
                .bind(new.owner.0)
                .bind(request_id)
                .bind(now.0)
                .fetch_optional(&mut *tx)
                .await?
            }
        };
        let Some(id) = id.map(ImageId) else {
            tx.rollback().await?;
            let first = self.image_by_request(new.owner, new.request_id.as_deref().unwrap_or_default()).await?;
            let pruned = || StoreError::new(Kind::Conflict, "the request id was forgotten meanwhile");
            return first.map(Created::Repeated).ok_or_else(pruned);
        };
        query(
            "WITH blob AS (
                 INSERT INTO blobs (key, size_bytes, sha256, block_crc32c, created_at) VALUES ($8, $9, $10, $11, $13)
             ), image AS (
                 INSERT INTO images (id, owner_id, file_name, labels, format, width, height, frame_count, original_key, size_bytes, sha256,
                     created_at)
                 VALUES ($1, $2, $3, $14::JSONB, $4, $5, $6, $7, $8, $9, $10, $13)
             ), made AS (
                 INSERT INTO renditions (image_id, spec, format, state, created_at, due_at, told_at)
                 SELECT $1, w.format, w.format, 'pending', $13, $13, $13 FROM unnest($12) WITH ORDINALITY w (format, place) ORDER BY w.place
             )
             INSERT INTO changes (image_id, owner_id, kind, at) VALUES ($1, $2, 'created', $13)",
        )
        .bind(id.0)
        .bind(new.owner.0)
        .bind(&new.file_name)
        .bind(new.header.format.name())
        .bind(i64::from(new.header.width))
        .bind(i64::from(new.header.height))
        .bind(i64::from(new.header.frame_count))
        .bind(&new.original.key.0)
        .bind(new.original.digest.size_bytes as i64)
        .bind(new.original.digest.sha256.as_slice())
        .bind(checksums_to_bytes(&new.original.digest.block_crc32c))
        .bind(new.renditions.iter().map(|format| format.name()).collect::<Vec<_>>())
        .bind(now.0)
        .bind(labels_json(&new.labels))
        .execute(&mut *tx)
        .await?;
        let created = image(&mut *tx, id).await?;
        tx.commit().await?;
        created.map(Created::New).ok_or_else(|| StoreError::new(Kind::Internal, format!("image {id} is gone before it was committed")))
    }

    /// Why the original of `new` could not be counted. An upload that was finished before is none that goes beyond the quota.
    async fn uncounted(&self, new: &NewImage) -> Result<Created, StoreError> {
        if let Some(repeated) = repeated(self, new).await? {
            return Ok(repeated);
        }
        let owner = self.user(new.owner).await?;
        Ok(owner.map_or(Created::OwnerMissing, |owner| {
            let used_bytes = owner.used_bytes + owner.unfinished_bytes;
            Created::OverQuota { quota_bytes: owner.quota_bytes, used_bytes }
        }))
    }
}

/// What an earlier request of the same name made, if there was one.
pub(super) async fn repeated(catalog: &Postgres, new: &NewImage) -> Result<Option<Created>, StoreError> {
    let Some(request_id) = &new.request_id else { return Ok(None) };
    Ok(catalog.image_by_request(new.owner, request_id).await?.map(Created::Repeated))
}

/// Whether a request of this name has made an image, which may be deleted by now.
pub(super) async fn is_finished(connection: &mut PooledConnection, owner: UserId, request_id: &str) -> sqlx::Result<bool> {
    let finished = query_scalar("SELECT EXISTS (SELECT FROM requests WHERE owner_id = $1 AND request_id = $2)");
    finished.bind(owner.0).bind(request_id).fetch_one(connection).await
}

/// Adds the original to what its owner uses, unless that goes beyond the quota. Holds the owner's row until the transaction is over.
async fn count_original(connection: &mut PooledConnection, new: &NewImage) -> sqlx::Result<bool> {
    let counted = query(
        "UPDATE users SET image_count = image_count + 1, original_bytes = original_bytes + $2, used_bytes = used_bytes + $2
         WHERE id = $1 AND deleted_at IS NULL AND used_bytes + unfinished_bytes + $2 <= quota_bytes",
    );
    let counted = counted.bind(new.owner.0).bind(new.original.digest.size_bytes as i64).execute(connection).await?;
    Ok(counted.rows_affected() > 0)
}

pub(super) async fn image(executor: impl PgExecutor<'_>, id: ImageId) -> sqlx::Result<Option<Image>> {
    let rows = query_as(concat!(select_images!("images"), "WHERE i.id = $1")).bind(id.0).fetch_all(executor).await?;
    Ok(rows::images(rows).into_values().next())
}
