use std::{error::Error, fmt};

/// What a caller does about a [`StoreError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A name that must be unique is taken: ask for another one.
    AlreadyExists,
    /// Somebody else changed the same thing at the same time: do the whole operation again.
    Conflict,
    /// The backend cannot be reached or does not answer: wait and try again.
    Unavailable,
    /// There is no room left: wait for an operator.
    Full,
    /// Stored bytes are missing or do not match their checksum: nothing to retry.
    Corrupt,
    /// The settings name backends that cannot work, or not together: an operator must change them.
    Misconfigured,
    /// A defect, here or in a backend.
    Internal,
}

/// The one error of this crate: a [`Kind`] to decide on, a message for the log, and the cause.
#[derive(Debug)]
pub struct StoreError {
    kind: Kind,
    message: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl StoreError {
    /// An error without a cause. The message is lower case and has no full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// An error with the error that caused it.
    pub fn caused_by(kind: Kind, message: impl Into<String>, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { kind, message: message.into(), source: Some(source.into()) }
    }

    /// What to do about it.
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
