//! The connections of one process, and what becomes of those on which nothing is heard any more.
//!
//! A server whose machine vanished, or a balancer that forgot a connection, ends nothing: whatever is sent is taken, and no answer comes. Only
//! the kernel gives up, after a quarter of an hour at best. So everything here that waits for an answer waits for a bounded time, and a
//! connection of which nothing was heard is closed, not lent again. In particular its place in the pool is free then.

use std::{
    io,
    ops::{Deref, DerefMut},
    time::Duration,
};

use futures_util::{
    StreamExt, TryStreamExt,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use sqlx::{
    Connection, Either, Error, Execute, Executor, PgConnection, PgPool, Postgres, SqlStr,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions, PgQueryResult, PgRow, PgStatement, PgTypeInfo},
    raw_sql,
};
use tokio::{runtime::Handle, time::timeout};
use tracing::debug;

use super::{STATEMENT_TIMEOUT, unhurried};

/// Connections of one process, besides one to ask whether the server is there. Ten processes leave PostgreSQL's default of 100 some room only if few are busy: raise it there.
const CONNECTIONS: u32 = 10;
/// How long a call waits for a connection: clients are told of an outage within 3 s.
pub(super) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection may take to show that it is alive, when it is lent and when it comes back, which includes whatever was left open on it.
/// What is left of the 2 s is for a new one in its place.
const SIGN_OF_LIFE_TIMEOUT: Duration = Duration::from_secs(1);
/// How long the next row, or the end, of an answer may take: longer than the server takes to end a statement by itself.
pub(super) const ANSWER_TIMEOUT: Duration = STATEMENT_TIMEOUT.saturating_add(Duration::from_secs(2));

/// Connections to one database, made when they are needed. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Pool(PgPool);

impl Pool {
    pub(super) fn new(options: PgConnectOptions) -> Self {
        Self::with_patience(unhurried(ACQUIRE_TIMEOUT), options)
    }

    /// One whose calls wait so long for a connection.
    pub(super) fn with_patience(acquire_timeout: Duration, options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS)
            .acquire_timeout(acquire_timeout)
            // It would ask without a bound of its own, and a connection that is silent would take all the time there is for another one.
            .test_before_acquire(false)
            .before_acquire(|connection, _| Box::pin(async move { heard(SIGN_OF_LIFE_TIMEOUT, connection.ping()).await.map(|()| true) }));
        Self(pool.connect_lazy_with(options))
    }

    /// How its connections are made.
    pub(super) fn connect_options(&self) -> PgConnectOptions {
        (*self.0.connect_options()).clone()
    }

    /// A connection that is alive.
    pub(super) async fn acquire(&self) -> Result<PooledConnection, Error> {
        Ok(PooledConnection { lent: Some(self.0.acquire().await?), in_transaction: false })
    }

    /// Begins a transaction. Dropped before it is [committed](Transaction::commit) it is rolled back.
    pub(super) async fn begin(&self) -> Result<Transaction, Error> {
        self.begin_with("BEGIN").await
    }

    /// Begins a transaction by another statement than `BEGIN`.
    pub(super) async fn begin_with(&self, statement: &'static str) -> Result<Transaction, Error> {
        let mut connection = self.acquire().await?;
        // Before it is so: nobody knows what an interrupted beginning came to.
        connection.in_transaction = true;
        raw_sql(statement).execute(&mut connection).await?;
        Ok(Transaction(connection))
    }
}

/// A connection of the pool, which goes back when it is dropped if it is alive then.
#[derive(Debug)]
pub(super) struct PooledConnection {
    /// `None` once it is on its way back.
    lent: Option<PoolConnection<Postgres>>,
    in_transaction: bool,
}

impl PooledConnection {
    /// Takes it out of the pool.
    pub(super) fn detach(mut self) -> PgConnection {
        self.lent.take().expect("it is lent until it is dropped").detach()
    }
}

impl Deref for PooledConnection {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.lent.as_ref().expect("it is lent until it is dropped")
    }
}

impl DerefMut for PooledConnection {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.lent.as_mut().expect("it is lent until it is dropped")
    }
}

impl Drop for PooledConnection {
    fn drop(&mut self) {
        let Some(mut lent) = self.lent.take() else { return };
        let in_transaction = self.in_transaction;
        // Without a runtime the program is at its end, and so is the connection.
        let Ok(runtime) = Handle::try_current() else { return drop(lent.detach()) };
        runtime.spawn(async move {
            if in_transaction && let Err(error) = heard(SIGN_OF_LIFE_TIMEOUT, raw_sql("ROLLBACK").execute(&mut *lent)).await {
                // A statement that nobody waits for may still run, so the transaction may be open: nobody else may get into it.
                debug!(%error, "a connection to the catalog was closed");
                return drop(lent.detach());
            }
            // What dropping it would do, but for the bound: it is asked for a sign of life there, and holds its place until one comes.
            if timeout(SIGN_OF_LIFE_TIMEOUT, lent.return_to_pool()).await.is_err() {
                debug!("a connection to the catalog on which nothing was heard was closed");
            }
        });
    }
}

/// A transaction under way.
#[derive(Debug)]
pub(super) struct Transaction(PooledConnection);

impl Transaction {
    /// Durable when it returns. After an error, `Io` in particular, nobody knows whether it is.
    pub(super) async fn commit(self) -> Result<(), Error> {
        self.end("COMMIT").await
    }

    pub(super) async fn rollback(self) -> Result<(), Error> {
        self.end("ROLLBACK").await
    }

    async fn end(mut self, statement: &'static str) -> Result<(), Error> {
        raw_sql(statement).execute(&mut self.0).await?;
        self.0.in_transaction = false;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = PooledConnection;

    fn deref(&self) -> &PooledConnection {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut PooledConnection {
        &mut self.0
    }
}

/// The answer to a question, or `Io` with `TimedOut`.
pub(super) async fn heard<T, E: From<Error>>(patience: Duration, answer: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    timeout(patience, answer).await.unwrap_or_else(|_| Err(silence().into()))
}

fn silence() -> Error {
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, "the database says nothing on this connection"))
}

type Answers<'e> = BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>;

impl<'c> Executor<'c> for &'c mut PooledConnection {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Answers<'e>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let answers = self.deref_mut().fetch_many(query);
        let bounded = stream::try_unfold(answers, |mut answers| async move {
            let answer = heard(ANSWER_TIMEOUT, answers.try_next()).await?;
            Ok(answer.map(|answer| (answer, answers)))
        });
        bounded.boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(heard(ANSWER_TIMEOUT, self.deref_mut().fetch_optional(query)))
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(heard(ANSWER_TIMEOUT, self.deref_mut().prepare_with(sql, parameters)))
    }
}

/// Each statement on a connection of its own. The whole answer is in memory before the first row is given out.
impl<'p> Executor<'p> for &Pool {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> Answers<'e>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        let answers = async move {
            let mut connection = pool.acquire().await?;
            let answers: Vec<_> = connection.fetch_many(query).try_collect().await?;
            Ok::<_, Error>(stream::iter(answers.into_iter().map(Ok)))
        };
        stream::once(answers).try_flatten().boxed()
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        E: 'q + Execute<'q, Postgres>,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.fetch_optional(query).await })
    }

    fn prepare_with<'e>(self, sql: SqlStr, parameters: &'e [PgTypeInfo]) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        let pool = self.clone();
        Box::pin(async move { pool.acquire().await?.prepare_with(sql, parameters).await })
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{query_as, query_scalar};
    use tokio::{task::yield_now, time::Instant};

    use super::*;
    use crate::conformance::catalog::support::with_database;

    async fn all_are_back(pool: &Pool) {
        while pool.0.num_idle() < pool.0.size() as usize {
            yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_transaction_given_up_while_a_statement_runs_is_nobody_elses() {
        with_database(async |url| {
            let pool = Pool::new(url.parse().expect("a URL"));
            raw_sql("CREATE TABLE held (id INT); INSERT INTO held VALUES (1)").execute(&pool).await.expect("a table");
            all_are_back(&pool).await;
            let mut holder = PgConnection::connect(&url).await.expect("a connection");
            raw_sql("BEGIN; UPDATE held SET id = 2").execute(&mut holder).await.expect("it holds the row");
            let mut given_up = pool.begin().await.expect("a transaction");
            let somebody_waits = async {
                let waiting =
                    "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')";
                while !query_scalar::<_, bool>(waiting).fetch_one(&mut holder).await.expect("an answer") {
                    yield_now().await;
                }
            };
            tokio::select! {
                answer = raw_sql("UPDATE held SET id = 3").execute(&mut *given_up) => panic!("{answer:?}, though the row is held"),
                () = somebody_waits => drop(given_up),
            }
            // Its place is free before the statement ends.
            while pool.0.size() > 0 {
                yield_now().await;
            }
            raw_sql("ROLLBACK").execute(&mut holder).await.expect("the row is free");
            for _ in 0..2 {
                let transaction: Option<String> =
                    query_scalar("SELECT pg_current_xact_id_if_assigned()::TEXT").fetch_one(&pool).await.expect("an answer");
                assert_eq!(transaction, None);
            }
            raw_sql("UPDATE held SET id = 4").execute(&pool).await.expect("nobody holds the row");
            let seen: i32 = query_scalar("SELECT id FROM held").fetch_one(&mut holder).await.expect("the row");
            assert_eq!(seen, 4, "what was answered is so for others");
        })
        .await;
    }

    #[tokio::test]
    async fn a_transaction_given_up_between_statements_is_rolled_back_and_its_connection_lent_again() {
        with_database(async |url| {
            let pool = Pool::new(url.parse().expect("a URL"));
            raw_sql("CREATE TABLE kept (id INT)").execute(&pool).await.expect("a table");
            all_are_back(&pool).await;
            let mut lent_again = 0;
            while lent_again < 3 {
                let begin = Instant::now();
                let mut given_up = pool.begin().await.expect("a transaction");
                let connection: i32 = query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *given_up).await.expect("an answer");
                raw_sql("INSERT INTO kept VALUES (1)").execute(&mut *given_up).await.expect("a row");
                drop(given_up);
                all_are_back(&pool).await;
                let asked = query_as("SELECT pg_backend_pid(), (SELECT count(*) FROM kept)");
                let (next, rows): (i32, i64) = asked.fetch_one(&pool).await.expect("an answer");
                assert_eq!(rows, 0);
                all_are_back(&pool).await;
                // Where it took longer, the connection may have been closed because nothing was heard on it.
                if begin.elapsed() < SIGN_OF_LIFE_TIMEOUT {
                    assert_eq!((next, pool.0.size()), (connection, 1));
                    lent_again += 1;
                }
            }
        })
        .await;
    }
}
