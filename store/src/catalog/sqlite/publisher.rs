use async_trait::async_trait;
use sqlx::{query, query_scalar};

use super::Sqlite;
use crate::{Commit, StoreError, Timestamp, catalog::Publisher};

#[async_trait]
impl Publisher for Sqlite {
    async fn hold_publisher(&self, holder: &str, until: Timestamp, now: Timestamp) -> Result<Option<i64>, StoreError> {
        let held = query_scalar(
            "UPDATE event_publisher SET holder = $1, lease_until = $2 WHERE holder = $1 OR lease_until <= $3 RETURNING position",
        );
        Ok(held.bind(holder).bind(until.0).bind(now.0).fetch_optional(&self.writer).await?)
    }

    async fn published(&self, holder: &str, position: i64) -> Result<Commit, StoreError> {
        let noted = query("UPDATE event_publisher SET position = $2 WHERE holder = $1").bind(holder).bind(position);
        let noted = noted.execute(&self.writer).await?;
        Ok(if noted.rows_affected() == 1 { Commit::Done } else { Commit::LeaseLost })
    }
}
