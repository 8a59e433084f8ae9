use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{Postgres, jobs::log_moved, shares::locked_image};
use crate::{
    Image, ImageChange, ImageId, ImageWrite, MAX_LABELS_BYTES, Rendition, Requested, Spec, StoreError, Timestamp, User, UserId,
    catalog::{
        Edits,
        rows::{editable, labels_json, refused_rendition, rendition_columns, select_renditions, user_columns},
    },
    labels_bytes,
};

#[async_trait]
impl Edits for Postgres {
    async fn create_rendition(
        &self,
        editor: UserId,
        id: ImageId,
        spec: &Spec,
        max_renditions: u32,
        now: Timestamp,
    ) -> Result<Requested, StoreError> {
        let mut tx = self.pool.begin().await?;
        let image = match editable(locked_image(&mut tx, editor, id).await?) {
            Ok(image) => image,
            Err(denied) => return Ok(Requested::Denied(denied)),
        };
        let owner = query_as(concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1 AND deleted_at IS NULL"));
        let owner: Option<User> = owner.bind(image.owner.0).fetch_optional(&mut *tx).await?;
        if let Some(refused) = refused_rendition(image, owner.as_ref(), spec, max_renditions) {
            return Ok(refused);
        }
        let made: i64 = query_scalar(concat!(
            "WITH moved AS (
                 INSERT INTO renditions (image_id, spec, format, state, requested, created_at, due_at, told_at)
                 VALUES ($1, $3, $4, 'pending', TRUE, $2, $2, $2)
                 RETURNING id, image_id, format, state
             ), ",
            log_moved!(),
            "SELECT id FROM moved"
        ))
        .bind(id.0)
        .bind(now.0)
        .bind(spec.to_string())
        .bind(spec.format.name())
        .fetch_one(&mut *tx)
        .await?;
        let rendition: Rendition = query_as(concat!(select_renditions!(), "WHERE r.id = $1")).bind(made).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(Requested::New(rendition))
    }

    async fn update_image(&self, editor: UserId, id: ImageId, change: &ImageChange, now: Timestamp) -> Result<ImageWrite, StoreError> {
        let mut tx = self.pool.begin().await?;
        let image = match editable(locked_image(&mut tx, editor, id).await?) {
            Ok(image) => image,
            Err(denied) => return Ok(ImageWrite::Denied(denied)),
        };
        let changed = change.applied(&image);
        if changed == image {
            return Ok(ImageWrite::Done(Box::new(image)));
        }
        let size_bytes = labels_bytes(&changed.labels);
        if size_bytes > MAX_LABELS_BYTES {
            return Ok(ImageWrite::LabelsTooLarge { size_bytes });
        }
        query(
            "WITH changed AS (
                 UPDATE images SET file_name = $3, labels = $4::JSONB, updated_at = $2 WHERE id = $1 RETURNING id, owner_id
             )
             INSERT INTO changes (image_id, owner_id, kind, at) SELECT id, owner_id, 'updated', $2 FROM changed",
        )
        .bind(id.0)
        .bind(now.0)
        .bind(&changed.file_name)
        .bind(labels_json(&changed.labels))
        .execute(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(ImageWrite::Done(Box::new(Image { updated_at: now, ..changed })))
    }
}
