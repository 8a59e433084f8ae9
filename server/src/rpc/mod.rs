//! The rpcs, one file for each family.

mod admin;
mod auth;
pub(crate) mod bulk;
pub(crate) mod download;
mod edits;
mod guard;
mod images;
pub(crate) mod incoming;
mod links;
mod page;
mod resume;
mod shares;
mod sight;
pub(crate) mod unfinished;
pub(crate) mod upload;
mod users;
mod verify;
mod watch;

pub(crate) use admin::AdminRpcs;
pub(crate) use auth::AuthRpcs;
pub(crate) use images::ImageRpcs;
pub(crate) use users::UserRpcs;
