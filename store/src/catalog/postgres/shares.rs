use async_trait::async_trait;
use sqlx::{query, query_as, query_scalar};

use super::{Postgres, pool::PooledConnection};
use crate::{
    ChangeKind, ImageId, Party, RenditionId, SeenImage, Share, ShareRole, Sharing, StoreError, Timestamp, UserId,
    catalog::{
        Shares,
        rows::{self, SeenRow, image_columns, image_joins, rendition_columns, select_seen_images},
    },
};

#[async_trait]
impl Shares for Postgres {
    async fn share_image(
        &self,
        image: ImageId,
        party: &Party,
        role: ShareRole,
        max_shares: u32,
        now: Timestamp,
    ) -> Result<Sharing, StoreError> {
        let mut tx = self.pool.begin().await?;
        let owner: Option<i64> =
            query_scalar("SELECT owner_id FROM images WHERE id = $1 FOR UPDATE").bind(image.0).fetch_optional(&mut *tx).await?;
        let Some(owner) = owner else {
            return Ok(Sharing::Missing);
        };
        // Waits for changes that are under way and did not see the share: whoever is told of it sees what they made.
        query("SELECT FROM renditions WHERE image_id = $1 ORDER BY id FOR UPDATE").bind(image.0).execute(&mut *tx).await?;
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
        let mut tx = self.pool.begin().await?;
        // Waits for what an editor is writing, and has the next one see that there is no share any more.
        query("SELECT FROM images WHERE id = $1 FOR UPDATE").bind(image.0).execute(&mut *tx).await?;
        query(
            "WITH unshared AS (DELETE FROM shares WHERE image_id = $1 AND user_name = $2 RETURNING user_id)
             INSERT INTO changes (image_id, owner_id, viewer_id, kind, at)
             SELECT i.id, i.owner_id, u.user_id, 'deleted', $3 FROM unshared u JOIN images i ON i.id = $1 WHERE u.user_id IS NOT NULL",
        )
        .bind(image.0)
        .bind(party.user_name())
        .bind(now.0)
        .execute(&mut *tx)
        .await?;
        Ok(tx.commit().await?)
    }

    async fn shares(&self, image: ImageId) -> Result<Vec<Share>, StoreError> {
        let shares = query_as("SELECT user_name, role, created_at FROM shares WHERE image_id = $1 ORDER BY user_name COLLATE \"C\"");
        Ok(shares.bind(image.0).fetch_all(&self.pool).await?)
    }

    async fn seen_images(&self, user: UserId, ids: &[ImageId]) -> Result<Vec<SeenImage>, StoreError> {
        let rows = query_as::<_, SeenRow>(select_seen_images!("images m WHERE m.id = ANY ($2)"));
        let rows = rows.bind(user.0).bind(ids.iter().map(|id| id.0).collect::<Vec<_>>()).fetch_all(&self.pool).await?;
        Ok(rows::seen_images(rows))
    }

    async fn seen_image_of(&self, user: UserId, rendition: RenditionId) -> Result<Option<SeenImage>, StoreError> {
        let rows = query_as::<_, SeenRow>(select_seen_images!("images m WHERE m.id = (SELECT image_id FROM renditions WHERE id = $2)"));
        let rows = rows.bind(user.0).bind(rendition.0).fetch_all(&self.pool).await?;
        Ok(rows::seen_images(rows).pop())
    }

    async fn watched_images(&self, user: UserId, after: ImageId, limit: u32) -> Result<Vec<SeenImage>, StoreError> {
        // Equality would let the planner walk through everybody's images, and a plain join through all of them.
        let rows = query_as::<_, SeenRow>(concat!(
            "SELECT seen.* FROM (SELECT id FROM (
                  (SELECT id FROM images WHERE owner_id <= $1 AND (owner_id, id) > ($1, $2) ORDER BY owner_id, id LIMIT $3)
                  UNION
                  (SELECT s.image_id FROM shares s CROSS JOIN LATERAL (
                       SELECT FROM images i JOIN users u ON u.id = i.owner_id WHERE i.id = s.image_id AND u.deleted_at IS NULL OFFSET 0
                   ) there
                   WHERE s.user_id <= $1 AND (s.user_id, s.image_id) > ($1, $2) ORDER BY s.user_id, s.image_id LIMIT $3)
              ) watched ORDER BY id LIMIT $3) p CROSS JOIN LATERAL (",
            select_seen_images!("images m WHERE m.id = p.id"),
            " OFFSET 0) seen"
        ));
        let rows = rows.bind(user.0).bind(after.0).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        Ok(rows::seen_images(rows))
    }
}

/// The image as the user sees it. Until the transaction is over, nobody else changes or deletes it or ends a share of it. Locked first, so that
/// it is read as the one before left it.
pub(super) async fn locked_image(connection: &mut PooledConnection, user: UserId, id: ImageId) -> sqlx::Result<Option<SeenImage>> {
    query("SELECT FROM images WHERE id = $1 FOR UPDATE").bind(id.0).execute(&mut *connection).await?;
    let rows = query_as::<_, SeenRow>(select_seen_images!("images m WHERE m.id = $2"));
    Ok(rows::seen_images(rows.bind(user.0).bind(id.0).fetch_all(connection).await?).pop())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Access, Denied, ImageChange, ImageWrite,
        catalog::{Edits, Images},
        conformance::catalog::support::{BEGIN, create, png, user, with_database},
    };

    #[tokio::test]
    async fn a_share_waits_for_a_change_that_did_not_see_it() {
        with_database(async |url| {
            let catalog = Postgres::connect(&url, true).await.expect("a catalog");
            let owner = user(&catalog, "ada").await;
            user(&catalog, "bob").await;
            let image = create(&catalog, png(owner), BEGIN).await;
            let mut change = catalog.pool.begin().await.expect("a transaction");
            // Changes as every change of a rendition does: the row, and the log, where nobody is told yet.
            query(
                "WITH moved AS (UPDATE renditions SET attempt = 7 WHERE id = $1)
                 INSERT INTO changes (image_id, owner_id, kind, at) VALUES ($2, $3, 'rendition_changed', 0)",
            )
            .bind(image.renditions[0].id.0)
            .bind(image.id.0)
            .bind(owner.0)
            .execute(&mut *change)
            .await
            .expect("a change");
            let sharing = tokio::spawn({
                let (catalog, id) = (catalog.clone(), image.id);
                async move { catalog.share_image(id, &Party::User("bob".to_owned()), ShareRole::Viewer, 10, BEGIN).await }
            });
            catalog.somebody_waits(&sharing).await;
            change.commit().await.expect("a commit");
            assert!(matches!(sharing.await.expect("no panic").expect("an answer"), Sharing::Done(_)));
        })
        .await;
    }

    #[tokio::test]
    async fn an_end_of_a_share_waits_for_what_an_editor_writes() {
        with_database(async |url| {
            let catalog = Postgres::connect(&url, true).await.expect("a catalog");
            let (owner, editor) = (user(&catalog, "ada").await, user(&catalog, "bob").await);
            let image = create(&catalog, png(owner), BEGIN).await;
            let bob = Party::User("bob".to_owned());
            catalog.share_image(image.id, &bob, ShareRole::Editor, 10, BEGIN).await.expect("an answer");
            let mut edit = catalog.pool.begin().await.expect("a transaction");
            let seen = locked_image(&mut edit, editor, image.id).await.expect("an answer").expect("it is shared");
            assert_eq!(seen.access, Access::Editor);
            let withdrawing = tokio::spawn({
                let (catalog, id) = (catalog.clone(), image.id);
                async move { catalog.unshare_image(id, &bob, BEGIN).await }
            });
            catalog.somebody_waits(&withdrawing).await;
            edit.commit().await.expect("a commit");
            withdrawing.await.expect("no panic").expect("an answer");
        })
        .await;
    }

    #[tokio::test]
    async fn an_edit_that_waited_for_the_end_of_its_share_is_not_written() {
        with_database(async |url| {
            let catalog = Postgres::connect(&url, true).await.expect("a catalog");
            let (owner, editor) = (user(&catalog, "ada").await, user(&catalog, "bob").await);
            let image = create(&catalog, png(owner), BEGIN).await;
            catalog.share_image(image.id, &Party::User("bob".to_owned()), ShareRole::Editor, 10, BEGIN).await.expect("an answer");
            // Withdraws it as `unshare_image` does, and is about to commit.
            let mut withdrawing = catalog.pool.begin().await.expect("a transaction");
            for statement in ["SELECT FROM images WHERE id = $1 FOR UPDATE", "DELETE FROM shares WHERE image_id = $1"] {
                query(statement).bind(image.id.0).execute(&mut *withdrawing).await.expect("an answer");
            }
            let editing = tokio::spawn({
                let (catalog, id) = (catalog.clone(), image.id);
                let change = ImageChange { file_name: Some("late.png".to_owned()), ..ImageChange::default() };
                async move { catalog.update_image(editor, id, &change, BEGIN).await }
            });
            catalog.somebody_waits(&editing).await;
            withdrawing.commit().await.expect("a commit");
            assert_eq!(editing.await.expect("no panic").expect("an answer"), ImageWrite::Denied(Denied::Missing));
            assert_eq!(catalog.image(image.id).await.expect("an answer").expect("an image").file_name, image.file_name);
        })
        .await;
    }
}
