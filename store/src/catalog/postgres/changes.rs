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
        self.give_positions(Meanwhile::Leaves).await?;
        let changes = query_as(concat!(select_changes!(), "WHERE position > $1 ORDER BY position LIMIT $2"));
        Ok(changes.bind(position).bind(i64::from(limit)).fetch_all(&self.pool).await?)
    }

    async fn last_position(&self) -> Result<i64, StoreError> {
        while self.give_positions(Meanwhile::Waits).await? {}
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

/// What whoever wants positions given does while somebody else is at it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meanwhile {
    /// Goes on without them.
    Leaves,
    /// Does not look before they are given.
    Waits,
}

impl Postgres {
    /// Gives positions, in the order of their ids, to committed changes that have none. Whether there may be more of them.
    ///
    /// Whoever holds the row of `change_log` is the only one who does, until its transaction is over: positions become visible in their
    /// order, and a change that commits later gets a later one.
    pub(super) async fn give_positions(&self, meanwhile: Meanwhile) -> Result<bool, StoreError> {
        let waiting = query_scalar("SELECT EXISTS (SELECT 1 FROM changes WHERE position IS NULL)");
        if !waiting.fetch_one(&self.pool).await? {
            return Ok(false);
        }
        let mut tx = self.pool.begin().await?;
        // A statement of its own: the next one must not look at the changes as they were before this lock was had.
        let last = match meanwhile {
            Meanwhile::Leaves => "SELECT last_position FROM change_log FOR UPDATE SKIP LOCKED",
            Meanwhile::Waits => "SELECT last_position FROM change_log FOR UPDATE",
        };
        let last: Option<i64> = query_scalar(last).fetch_optional(&mut *tx).await?;
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

#[cfg(test)]
mod tests {
    use sqlx::query;

    use super::*;
    use crate::conformance::catalog::support::{BEGIN, create, png, user, with_database};

    #[tokio::test]
    async fn the_last_position_is_that_of_the_latest_change_even_while_positions_are_given() {
        with_database(async |url| {
            let catalog = Postgres::connect(&url, true).await.expect("a catalog");
            let owner = user(&catalog, "ada").await;
            let mut giving = catalog.pool.begin().await.expect("a transaction");
            query("SELECT FROM change_log FOR UPDATE").execute(&mut *giving).await.expect("a lock");
            create(&catalog, png(owner), BEGIN).await;
            assert!(catalog.changes_after(0, 10).await.expect("changes").is_empty(), "a follower waits for nobody");
            let asking = tokio::spawn({
                let catalog = catalog.clone();
                async move { catalog.last_position().await }
            });
            catalog.somebody_waits(&asking).await;
            giving.commit().await.expect("a commit");
            let position = asking.await.expect("no panic").expect("a position");
            let changes = catalog.changes_after(0, 10).await.expect("changes");
            assert_eq!(changes.last().map(|change| change.position), Some(position));
        })
        .await;
    }
}
