use std::sync::Arc;

use tintype_process::Shutdown;
use tintype_store::{Format, Schemes, Timestamp, open::Stores};
use tokio::sync::Semaphore;

use crate::{
    auth::{Authorizer, Passwords, Throttle},
    changes::Changes,
    limits::Limits,
    links::Links,
    usage::Usage,
};

/// What every rpc works with.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) stores: Stores,
    pub(crate) authorizer: Authorizer,
    pub(crate) passwords: Passwords,
    pub(crate) throttle: Throttle,
    pub(crate) usage: Usage,
    pub(crate) changes: Changes,
    pub(crate) links: Links,
    pub(crate) limits: Limits,
    /// Formats that every image gets, apart from the one it has.
    pub(crate) auto_formats: Vec<Format>,
    pub(crate) shutdown: Shutdown,
    /// When the server started.
    pub(crate) started_at: Timestamp,
    /// Which backends it has.
    pub(crate) schemes: Schemes,
    /// A place for each watch.
    pub(crate) watches: Arc<Semaphore>,
    /// A place for each integrity check.
    pub(crate) checks: Arc<Semaphore>,
}

/// All rpc families share one.
pub(crate) type SharedCore = Arc<Core>;
