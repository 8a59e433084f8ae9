use async_trait::async_trait;
use sqlx::{SqliteConnection, query, query_as, query_scalar};

use super::{Sqlite, json_array};
use crate::{
    ChangeKind, ImageId, Party, RenditionId, SeenImage, Share, ShareRole, Sharing, StoreError, Timestamp, UserId,
    catalog::{
        Shares,
        rows::{self, SeenRow, image_columns, image_joins, rendition_columns, select_seen_images},
    },
};

#[async_trait]
impl Shares for Sqlite {
    async fn share_image(
        &self,
        image: ImageId,
        party: &Party,
        role: ShareRole,
        max_shares: u32,
        now: Timestamp,
    ) -> Result<Sharing, StoreError> {
        let mut tx = self.write().await?;
        let owner: Option<i64> = query_scalar("SELECT owner_id FROM images WHERE id = $1").bind(image.0).fetch_optional(&mut *tx).await?;
        let Some(owner) = owner else {
            return Ok(Sharing::Missing);
        };
        let before: Vec<(String, Option<i64>, String)> =
            query_as("SELECT user_name, user_id, role FROM shares WHERE image_id = $1").bind(image.0).fetch_all(&mut *tx).await?;
        let same = before.iter().find(|(name, ..)| name == party.user_name());
        if same.is_none() && before.len() >= max_shares as usize {
            return Ok(Sharing::TooMany);
        }
        let viewer: Option<i64> = match party {
            Party::Everyone => Some(Party::EVERYONE.0),
            Party::User(name) => {
                let user = query_scalar("SELECT id FROM users WHERE name = $1 AND deleted_at IS NULL");
                user.bind(name).fetch_optional(&mut *tx).await?
            }
        };
        let share = query_as(
            "INSERT INTO shares (image_id, user_name, user_id, role, created_at) VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (image_id, user_name) DO UPDATE SET user_id = excluded.user_id, role = excluded.role
             RETURNING user_name, role, created_at",
        );
        let share = share.bind(image.0).bind(party.user_name()).bind(viewer).bind(role.name()).bind(now.0).fetch_one(&mut *tx).await?;
        let told = match same {
            Some((_, before, same_role)) if *before == viewer => (same_role != role.name()).then_some(ChangeKind::Updated),
            _ => Some(ChangeKind::Created),
        };
        if let (Some(kind), Some(viewer)) = (told, viewer) {
            let tell = query("INSERT INTO changes (image_id, owner_id, viewer_id, kind, at) VALUES ($1, $2, $3, $4, $5)");
            tell.bind(image.0).bind(owner).bind(viewer).bind(kind.name()).bind(now.0).execute(&mut *tx).await?;
        }
        tx.commit().await?;
        Ok(Sharing::Done(share))
    }

    async fn unshare_image(&self, image: ImageId, party: &Party, now: Timestamp) -> Result<(), StoreError> {
        let mut tx = self.write().await?;
        query(
            "INSERT INTO changes (image_id, owner_id, viewer_id, kind, at)
             SELECT i.id, i.owner_id, s.user_id, 'deleted', $3 FROM shares s JOIN images i ON i.id = s.image_id
             WHERE s.image_id = $1 AND s.user_name = $2 AND s.user_id IS NOT NULL",
        )
        .bind(image.0)
        .bind(party.user_name())
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        let unshare = query("DELETE FROM shares WHERE image_id = $1 AND user_name = $2");
        unshare.bind(image.0).bind(party.user_name()).execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    async fn shares(&self, image: ImageId) -> Result<Vec<Share>, StoreError> {
        let shares = query_as("SELECT user_name, role, created_at FROM shares WHERE image_id = $1 ORDER BY user_name");
        Ok(shares.bind(image.0).fetch_all(&self.readers).await?)
    }

    async fn seen_images(&self, user: UserId, ids: &[ImageId]) -> Result<Vec<SeenImage>, StoreError> {
        let rows = query_as::<_, SeenRow>(select_seen_images!("images m WHERE m.id IN (SELECT CAST(value AS INTEGER) FROM json_each($2))"));
        Ok(rows::seen_images(rows.bind(user.0).bind(json_array(ids)).fetch_all(&self.readers).await?))
    }

    async fn seen_image_of(&self, user: UserId, rendition: RenditionId) -> Result<Option<SeenImage>, StoreError> {
        let rows = query_as::<_, SeenRow>(select_seen_images!("images m WHERE m.id = (SELECT image_id FROM renditions WHERE id = $2)"));
        Ok(rows::seen_images(rows.bind(user.0).bind(rendition.0).fetch_all(&self.readers).await?).pop())
    }

    async fn watched_images(&self, user: UserId, after: ImageId, limit: u32) -> Result<Vec<SeenImage>, StoreError> {
        let rows = query_as::<_, SeenRow>(select_seen_images!(
            "images m WHERE m.id IN (
                 SELECT id FROM (SELECT id FROM images WHERE owner_id = $1 AND id > $2 ORDER BY id LIMIT $3)
                 UNION
                 SELECT image_id FROM (
                     -- In this order: SQLite reorders any other join.
                     SELECT s.image_id FROM shares s CROSS JOIN images i ON i.id = s.image_id CROSS JOIN users u ON u.id = i.owner_id
                     WHERE s.user_id = $1 AND s.image_id > $2 AND u.deleted_at IS NULL ORDER BY s.image_id LIMIT $3)
                 ORDER BY 1 LIMIT $3)"
        ));
        Ok(rows::seen_images(rows.bind(user.0).bind(after.0).bind(limit).fetch_all(&self.readers).await?))
    }
}

/// The image as the user sees it.
pub(super) async fn seen_image(connection: &mut SqliteConnection, user: UserId, id: ImageId) -> sqlx::Result<Option<SeenImage>> {
    let rows = query_as::<_, SeenRow>(select_seen_images!("images m WHERE m.id = $2"));
    Ok(rows::seen_images(rows.bind(user.0).bind(id.0).fetch_all(connection).await?).pop())
}
