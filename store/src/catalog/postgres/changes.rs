use async_trait::async_trait;
use sqlx::{query_as, query_scalar};

use super::Postgres;
use crate::{
    Change, StoreError, UserId,
    catalog::{Changes, rows::select_changes},
};

/// Changes that get their positions in one transaction: few enough to take milliseconds.
const POSITIONS_AT_ONCE: i64 = 10_000;

#[async_trait]
impl Changes for Postgres {
    async fn changes_after(&self, position: i64, limit: u32) -> Result<Vec<Change>, StoreError> {
        self.give_positions().await?;
        let changes = query_as(concat!(select_changes!(), "WHERE position > $1 ORDER BY position LIMIT $2"));
        Ok(changes.bind(position).bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }

    async fn last_position(&self) -> Result<i64, StoreError> {
        while self.give_positions().await? {}
        Ok(query_scalar("SELECT last_position FROM change_log").fetch_one(&self.pool).await?)
    }

    async fn changes_of(&self, audience: UserId, position: i64, limit: u32) -> Result<Option<Vec<Change>>, StoreError> {
        let changes = query_as(concat!(
            select_changes!(),
            // Equality would let the planner walk through everybody's changes.
            "WHERE audience_id <= $1 AND (audience_id, position) > ($1, $2) ORDER BY audience_id, position LIMIT $3"
        ));
        let changes = changes.bind(audience.0).bind(position).bind(i64::from(limit)).fetch_all(&self.pool).await?;
        // Asked afterwards: what is still there now was there a moment ago.
        let pruned: i64 = query_scalar("SELECT pruned_position FROM change_log").fetch_one(&self.pool).await?;
        Ok((pruned <= position).then_some(changes))
    }
}

impl Postgres {
    /// Gives positions, in the order of their ids, to committed changes that have none. Whether there may be more of them.
    ///
    /// Whoever holds the row of `change_log` is the only one who does, until its transaction is over: positions become visible in their
    /// order, and a change that commits later gets a later one. When somebody else is at it, there is nothing to do here.
    pub(super) async fn give_positions(&self) -> Result<bool, StoreError> {
        let waiting = query_scalar("SELECT EXISTS (SELECT 1 FROM changes WHERE position IS NULL)");
        if !waiting.fetch_one(&self.pool).await? {
            return Ok(false);
        }
        let mut tx = self.pool.begin().await?;
        // A statement of its own: the next one must not look at the changes as they were before this lock was had.
        let last: Option<i64> =
            query_scalar("SELECT last_position FROM change_log FOR UPDATE SKIP LOCKED").fetch_optional(&mut *tx).await?;
        let Some(last) = last else {
            return Ok(false);
        };
        let given: Option<i64> = query_scalar(
            "WITH waiting AS (
                 SELECT id FROM changes WHERE position IS NULL ORDER BY id LIMIT $2
             ), given AS (
                 UPDATE changes c SET position = $1 + w.place FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM waiting) w
                 WHERE c.id = w.id RETURNING c.position
             )
             UPDATE change_log SET last_position = g.last FROM (SELECT max(position) AS last, count(*) AS given FROM given) g
             WHERE g.last IS NOT NULL RETURNING g.given",
        )
        .bind(last)
        .bind(POSITIONS_AT_ONCE)
        .fetch_optional(&mut *tx)
        .await?;
        tx.commit().await?;
        Ok(given.is_some_and(|given| given == POSITIONS_AT_ONCE))
    }
}
