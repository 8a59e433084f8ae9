//! Asks whether the server is there, on a connection beside those of the pool, which may all be busy.

use std::{mem, time::Duration};

use sqlx::{Connection, PgConnection, query};
use tokio::{sync::Mutex, time::timeout};

use super::Pool;
use crate::{Kind, StoreError};

/// How long a server that is busy may take to answer the smallest question: with what comes before and after, shorter than the 3 s within
/// which clients are told of an outage.
const PATIENCE: Duration = Duration::from_millis(2_200);

/// One question at a time. Whoever waits behind a question that nobody answered, whether its asker gave up or this did, is told so, too, and not
/// what a new connection says: the statements that wait are on connections that may be as silent as that one.
#[derive(Debug, Default)]
pub(super) struct Pulse(Mutex<State>);

#[derive(Debug, Default)]
enum State {
    #[default]
    New,
    /// The last question was answered on it.
    Heard(PgConnection),
    /// A question is asked, or was and has no answer.
    Asked,
}

impl Pulse {
    pub(super) async fn ask(&self, pool: &Pool) -> Result<(), StoreError> {
        let silent = || StoreError::new(Kind::Unavailable, "the database does not answer");
        let asked = timeout(PATIENCE, async {
            let mut state = self.0.lock().await;
            // A connection that does not answer is dropped with the question, and not asked again.
            let connection = match mem::replace(&mut *state, State::Asked) {
                State::New => None,
                State::Heard(connection) => Some(connection),
                State::Asked => {
                    *state = State::New;
                    return Err(silent());
                }
            };
            let answered = question(connection, pool).await;
            let (next, answer) = answered.map_or_else(|error| (State::New, Err(error.into())), |heard| (State::Heard(heard), Ok(())));
            *state = next;
            answer
        });
        asked.await.unwrap_or_else(|_| Err(silent()))
    }
}

async fn question(connection: Option<PgConnection>, pool: &Pool) -> Result<PgConnection, sqlx::Error> {
    let mut connection = match connection {
        Some(connection) => connection,
        None => PgConnection::connect_with(&pool.connect_options()).await?,
    };
    query("SELECT id FROM store").fetch_optional(&mut connection).await?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{catalog::postgres::Postgres, conformance::catalog::support::with_database};

    #[tokio::test]
    async fn a_question_that_was_given_up_is_no_answer_for_whoever_asks_next() {
        with_database(async |url| {
            Postgres::connect(&url, true).await.expect("a catalog");
            let (pool, pulse) = (Pool::new(url.parse().expect("a URL")), Pulse::default());
            assert!(pulse.ask(&pool).now_or_never().is_none(), "a new connection takes a while, and its asker is gone");
            assert_eq!(pulse.ask(&pool).await.map_err(|error| error.kind()), Err(Kind::Unavailable));
            pulse.ask(&pool).await.expect("a new connection answers");
            pulse.ask(&pool).await.expect("it answers again");
        })
        .await;
    }
}
