use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{Sqlite, changes, shares::seen_image, users::user};
use crate::{
    ChangeKind, Image, ImageChange, ImageId, ImageWrite, MAX_LABELS_BYTES, Rendition, Requested, Spec, StoreError, Timestamp, UserId,
    catalog::{
        Edits,
        rows::{editable, labels_json, refused_rendition, rendition_columns, select_renditions},
    },
    labels_bytes,
};

#[async_trait]
impl Edits for Sqlite {
    async fn create_rendition(
        &self,
        editor: UserId,
        id: ImageId,
        spec: &Spec,
        max_renditions: u32,
        now: Timestamp,
    ) -> Result<Requested, StoreError> {
        let mut tx = self.write().await?;
        let image = match editable(seen_image(&mut tx, editor, id).await?) {
            Ok(image) => image,
            Err(denied) => return Ok(Requested::Denied(denied)),
        };
        let owner = user(&mut tx, image.owner).await?;
        if let Some(refused) = refused_rendition(image, owner.as_ref(), spec, max_renditions) {
            return Ok(refused);
        }
        let made: i64 = query_scalar(
            "INSERT INTO renditions (image_id, spec, format, state, requested, created_at, due_at, told_at)
             VALUES ($1, $2, $3, 'pending', TRUE, $4, $4, $4)
             RETURNING id",
        )
        .bind(id.0)
        .bind(spec.to_string())
        .bind(spec.format.name())
        .bind(now.0)
        .fetch_one(&mut *tx)
        .await?;
        changes::append_rendition_changed(&mut tx, &[made], now).await?;
        let rendition: Rendition = query_as(concat!(select_renditions!(), "WHERE r.id = $1")).bind(made).fetch_one(&mut *tx).await?;
        tx.commit().await?;
        Ok(Requested::New(rendition))
    }

    async fn update_image(&self, editor: UserId, id: ImageId, change: &ImageChange, now: Timestamp) -> Result<ImageWrite, StoreError> {
        let mut tx = self.write().await?;
        let image = match editable(seen_image(&mut tx, editor, id).await?) {
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
        query("UPDATE images SET file_name = $2, labels = $3, updated_at = $4 WHERE id = $1")
            .bind(id.0)
            .bind(&changed.file_name)
            .bind(labels_json(&changed.labels))
            .bind(now.0)
            .execute(&mut *tx)
            .await?;
        changes::append(&mut tx, id, changed.owner, ChangeKind::Updated, now).await?;
        tx.commit().await?;
        Ok(ImageWrite::Done(Box::new(Image { updated_at: now, ..changed })))
    }
}
