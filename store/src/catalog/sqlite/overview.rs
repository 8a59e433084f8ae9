use async_trait::async_trait;
use sqlx::query_as;

use super::{Sqlite, json_array};
use crate::{
    FailedRendition, FailureFilter, FailurePosition, StoreError, Totals,
    catalog::{
        Overview,
        rows::{self, FailedCount, rendition_columns, select_failed_counts, select_failures, select_totals},
    },
};

#[async_trait]
impl Overview for Sqlite {
    async fn totals(&self) -> Result<Totals, StoreError> {
        let mut snapshot = self.readers.begin().await?;
        let totals: Totals = query_as(select_totals!()).fetch_one(&mut *snapshot).await?;
        let failed: Vec<FailedCount> = query_as(select_failed_counts!()).fetch_all(&mut *snapshot).await?;
        Ok(rows::totals(totals, &failed))
    }

    async fn list_failures(
        &self,
        filter: &FailureFilter,
        before: Option<FailurePosition>,
        limit: u32,
    ) -> Result<Vec<FailedRendition>, StoreError> {
        let upper = filter.upper(before);
        let failures = query_as(select_failures!(
            "(SELECT * FROM renditions f
              WHERE state = 'failed' AND (finished_at, id) < ($1, $2) AND finished_at >= $3
                AND ($4 OR failure_reason IN (SELECT value FROM json_each($5)))
                AND NOT EXISTS (SELECT 1 FROM images i JOIN users u ON u.id = i.owner_id WHERE i.id = f.image_id AND u.deleted_at IS NOT NULL)
              ORDER BY finished_at DESC, id DESC LIMIT $6)"
        ))
        .bind(upper.failed_at.0)
        .bind(upper.rendition.0)
        .bind(filter.failed_from.map_or(i64::MIN, |from| from.0))
        .bind(filter.reasons.is_empty())
        .bind(json_array(filter.reasons.iter().map(|reason| reason.name())))
        .bind(limit);
        Ok(failures.fetch_all(&self.readers).await?)
    }
}
