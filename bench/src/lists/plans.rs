//! Overhears which statements a catalog sends, and what PostgreSQL tells of them.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex, PoisonError},
};

use tracing::{Event, Subscriber, field::Field, field::Visit};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::{Context, Layer, SubscriberExt as _},
    registry,
    util::SubscriberInitExt as _,
};

const STATEMENTS: &str = "sqlx::query";
const NOTICES: &str = "sqlx::postgres::notice";

/// What was overheard since it was last taken.
#[derive(Debug, Clone, Default)]
pub(super) struct Overheard(Arc<Mutex<Vec<(bool, String)>>>);

impl Overheard {
    /// Listens from now on, once in a process.
    pub(super) fn listen() -> anyhow::Result<Self> {
        let overheard = Self::default();
        let wanted = Targets::new().with_target(STATEMENTS, LevelFilter::DEBUG).with_target(NOTICES, LevelFilter::INFO);
        registry().with(overheard.clone().with_filter(wanted)).try_init()?;
        Ok(overheard)
    }

    /// The statements that were sent.
    pub(super) fn statements(&self) -> Vec<String> {
        self.take(true)
    }

    /// The plans that PostgreSQL told of.
    pub(super) fn notices(&self) -> Vec<String> {
        self.take(false)
    }

    fn take(&self, statements: bool) -> Vec<String> {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.drain(..).filter(|(is_statement, _)| *is_statement == statements).map(|(_, text)| text).collect()
    }
}

impl<S: Subscriber> Layer<S> for Overheard {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let is_statement = event.metadata().target() == STATEMENTS;
        // The summary is all there is of a statement that is short.
        let said = if text.statement.trim().is_empty() { text.other } else { text.statement };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push((is_statement, said.trim().to_owned()));
    }
}

#[derive(Default)]
struct Text {
    statement: String,
    other: String,
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "db.statement" => value.clone_into(&mut self.statement),
            "summary" | "message" => value.clone_into(&mut self.other),
            _ => {}
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            self.other = format!("{value:?}");
        }
    }
}
