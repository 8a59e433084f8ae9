use async_trait::async_trait;
use sqlx::{SqliteConnection, query, query_as, query_scalar};

use super::Sqlite;
use crate::{
    Change, ChangeKind, ImageId, StoreError, Timestamp, UserId,
    catalog::{Changes, rows::select_changes},
};

#[async_trait]
impl Changes for Sqlite {
    async fn changes_after(&self, position: i64, limit: u32) -> Result<Vec<Change>, StoreError> {
        let changes = query_as(concat!(select_changes!(), "WHERE position > $1 ORDER BY position LIMIT $2"));
        Ok(changes.bind(position).bind(limit).fetch_all(&self.readers).await?)
    }

    async fn last_position(&self) -> Result<i64, StoreError> {
        // The counter behind AUTOINCREMENT: it stays when the log is pruned.
        let last = query_scalar("SELECT seq FROM sqlite_sequence WHERE name = 'changes'");
        Ok(last.fetch_optional(&self.readers).await?.unwrap_or(0))
    }

    async fn changes_of(&self, audience: UserId, position: i64, limit: u32) -> Result<Option<Vec<Change>>, StoreError> {
        let changes = query_as(concat!(select_changes!(), "WHERE audience_id = $1 AND position > $2 ORDER BY position LIMIT $3"));
        let changes = changes.bind(audience.0).bind(position).bind(limit).fetch_all(&self.readers).await?;
        // Asked afterwards: what is still there now was there a moment ago.
        let pruned: i64 = query_scalar("SELECT pruned_position FROM change_log").fetch_one(&self.readers).await?;
        Ok((pruned <= position).then_some(changes))
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

/// Appends that each of these renditions went to the state it has now.
pub(super) async fn append_rendition_changed(connection: &mut SqliteConnection, renditions: &[i64], now: Timestamp) -> sqlx::Result<()> {
    for rendition in renditions {
        query(
            "INSERT INTO changes (image_id, owner_id, kind, at, rendition_id, rendition_format, rendition_state)
             SELECT i.id, i.owner_id, 'rendition_changed', $2, r.id, r.format, r.state
             FROM renditions r JOIN images i ON i.id = r.image_id WHERE r.id = $1",
        )
        .bind(rendition)
        .bind(now.0)
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
