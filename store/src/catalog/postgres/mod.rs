//! The catalog in PostgreSQL.

mod changes;
mod edits;
mod images;
mod integrity;
mod jobs;
mod links;
mod overview;
mod pool;
mod publisher;
mod pulse;
mod schema;
mod shares;
mod upkeep;
mod uploads;
mod users;
mod writes;

use std::{str::FromStr, sync::Arc, time::Duration};

use sqlx::{
    error::DatabaseError,
    postgres::{PgConnectOptions, PgDatabaseError},
};

use self::{pool::Pool, pulse::Pulse};
use super::Catalog;
use crate::{Kind, StoreError, open::START_PATIENCE};

/// As `server_version_num` counts.
const OLDEST_SERVER: u32 = 13_00_00;
/// Longer than any statement takes that has an index; ends those that would pile up.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(10);
/// Locks are held for one short transaction.
const LOCK_TIMEOUT: Duration = Duration::from_millis(2_500);
/// Frees the locks of a process that was stopped or cut off in the middle of a transaction, before those who wait for them give up.
const IDLE_IN_TRANSACTION_TIMEOUT: Duration = Duration::from_secs(2);

/// The same time, but ten times as long in the unit tests of this crate: a machine that tests on all its processors may stand still for
/// some seconds. The programs are tested with the time itself.
const fn unhurried(time: Duration) -> Duration {
    if cfg!(test) { time.saturating_mul(10) } else { time }
}

/// A catalog on a server, 13 or newer. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct Postgres {
    pool: Pool,
    pulse: Arc<Pulse>,
}

impl Catalog for Postgres {}

impl Postgres {
    /// Connects to the database at `url`: `postgres://user:password@host:port/database`.
    ///
    /// With `migrate` it brings the schema to the newest version, under a lock that makes others wait; without, it waits until somebody else
    /// has done so, up to 5 minutes, then it is `Kind::Unavailable`. A schema newer than this program or a server older than PostgreSQL 13 is
    /// `Kind::Misconfigured`.
    pub async fn connect(url: &str, migrate: bool) -> Result<Self, StoreError> {
        let milliseconds = |timeout: Duration| timeout.as_millis().to_string();
        let options = PgConnectOptions::from_str(url)?.application_name("tintype").options([
            ("statement_timeout", milliseconds(STATEMENT_TIMEOUT)),
            ("lock_timeout", milliseconds(unhurried(LOCK_TIMEOUT))),
            ("idle_in_transaction_session_timeout", milliseconds(unhurried(IDLE_IN_TRANSACTION_TIMEOUT))),
            // Every statement has one right plan, by its index. Planning for each set of values takes longer than running, and is at times
            // taken in by statistics.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            // A plan for any limit looks dear, and is compiled each time it runs: that takes a hundred times as long as a page.
            ("jit", "off".to_owned()),
        ]);
        let pool = Pool::new(options);
        if migrate {
            schema::migrate(&pool).await?;
        } else {
            schema::wait(&pool, START_PATIENCE).await?;
        }
        Ok(Self { pool, pulse: Arc::default() })
    }
}

#[cfg(test)]
impl Postgres {
    /// Returns when somebody waits for a lock, while the task is still busy.
    async fn somebody_waits<T>(&self, task: &tokio::task::JoinHandle<T>) {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&self.pool).await.expect("a count") == 0 {
            assert!(!task.is_finished(), "it does not wait");
        }
    }
}

/// What a code of PostgreSQL means for the caller: <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
pub(super) fn kind_of(error: &PgDatabaseError) -> Kind {
    let code = DatabaseError::code(error).unwrap_or_default();
    match (code.get(..2).unwrap_or_default(), code.as_ref()) {
        // Connection exceptions; too many connections; shut down by an operator, a crash or a timeout; a standby after a failover.
        ("08", _) | (_, "53300" | "57P01" | "57P02" | "57P03" | "57P05" | "57014" | "25P03" | "25006") => Kind::Unavailable,
        (_, "53100") => Kind::Full,
        // Serialization failure, deadlock, lock timeout.
        (_, "40001" | "40P01" | "55P03") => Kind::Conflict,
        (_, "XX001" | "XX002") => Kind::Corrupt,
        // Wrong credentials, no such database, no right to use it.
        ("28", _) | (_, "3D000" | "42501") => Kind::Misconfigured,
        _ => Kind::Internal,
    }
}

/// Whether PostgreSQL can hold this text: it knows no NUL character. Nothing that is looked up by such a text exists.
fn is_storable(text: &str) -> bool {
    !text.contains('\0')
}
