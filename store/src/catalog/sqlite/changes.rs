use async_trait::async_trait;
use sqlx::{SqliteConnection, query, query_as, query_scalar};

use super::Sqlite;
use crate::{Change, ChangeKind, ImageId, StoreError, Timestamp, UserId, catalog::Changes};

#[async_trait]
impl Changes for Sqlite {
    async fn changes_after(&self, position: i64, limit: u32) -> Result<Vec<Change>, StoreError> {
        let changes = query_as("SELECT position, image_id, owner_id, kind, at FROM changes WHERE position > $1 ORDER BY position LIMIT $2");
        Ok(changes.bind(position).bind(limit).fetch_all(&self.readers).await?)
    }

    async fn last_position(&self) -> Result<i64, StoreError> {
        // The counter behind AUTOINCREMENT: it stays when the log is pruned.
        let last = query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'changes'");
        Ok(last.fetch_optional(&self.readers).await?.unwrap_or(0))
    }
}

/// Appends to the change log, in the transaction of the change itself.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    image: ImageId,
    owner: UserId,
    kind: ChangeKind,
    now: Timestamp,
) -> sqlx::Result<()> {
    query("INSERT INTO changes (image_id, owner_id, kind, at) VALUES ($1, $2, $3, $4)")
        .bind(image.0)
        .bind(owner.0)
        .bind(kind.name())
        .bind(now.0)
        .execute(connection)
        .await?;
    Ok(())
}

/// Appends that a rendition of each of these images went to another state.
pub(super) async fn append_rendition_changed(connection: &mut SqliteConnection, images: &[i64], now: Timestamp) -> sqlx::Result<()> {
    for image in images {
        query("INSERT INTO changes (image_id, owner_id, kind, at) SELECT id, owner_id, 'rendition_changed', $2 FROM images WHERE id = $1")
            .bind(image)
            .bind(now.0)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
