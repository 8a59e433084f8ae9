//! What a failed statement means for the caller; what a database's own codes mean is said beside its adapter.

use sqlx::{Error, migrate::MigrateError, postgres::PgDatabaseError, sqlite::SqliteError};

use super::{postgres, sqlite};
use crate::{Kind, StoreError};

impl From<Error> for StoreError {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Database(cause) => {
                let cause = cause.as_error();
                if let Some(cause) = cause.downcast_ref::<PgDatabaseError>() {
                    postgres::kind_of(cause)
                } else if let Some(cause) = cause.downcast_ref::<SqliteError>() {
                    sqlite::kind_of(cause)
                } else {
                    Kind::Internal
                }
            }
            // A connection that is cut during its handshake reads as one that speaks another protocol.
            Error::Protocol(_) => Kind::Unavailable,
            Error::Io(_) | Error::Tls(_) | Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed => Kind::Unavailable,
            Error::Configuration(_) => Kind::Misconfigured,
            _ => Kind::Internal,
        };
        let message = match kind {
            Kind::Unavailable => "the catalog is not reachable",
            Kind::Full => "the catalog's disk is full",
            Kind::Conflict => "the catalog was changed meanwhile",
            Kind::Corrupt => "the catalog is damaged",
            Kind::Misconfigured => "the catalog cannot be used with these settings",
            Kind::AlreadyExists | Kind::Internal => "the catalog failed",
        };
        Self::caused_by(kind, message, error)
    }
}

impl From<MigrateError> for StoreError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            other => Self::caused_by(Kind::Misconfigured, "the catalog's schema does not fit this program", other),
        }
    }
}
