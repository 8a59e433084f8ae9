//! Which keys there can be, the same for every adapter.

use std::fmt::Display;

use crate::{BlobKey, Kind, StoreError, StoreId};

/// The parts of a key, `<user>/<folder>/<file>`.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyParts<'a> {
    pub(super) user: &'a str,
    pub(super) folder: &'a str,
    pub(super) file: &'a str,
}

impl<'a> KeyParts<'a> {
    /// Only what a key can look like has parts: nothing leads out of the store, whatever the catalog says.
    pub(super) fn of(key: &'a BlobKey) -> Result<Self, StoreError> {
        Self::parse(&key.0).ok_or_else(|| StoreError::new(Kind::Internal, format!("{:?} is not the key of a blob", key.0)))
    }

    /// `None` for what is not the key of a blob.
    pub(super) fn parse(key: &'a str) -> Option<Self> {
        let parts: Vec<&str> = key.split('/').collect();
        match parts[..] {
            [user, folder, file] if is_user(user) && is_random_hex(folder) && is_file(file) => Some(Self { user, folder, file }),
            _ => None,
        }
    }
}

/// The id that a store keeps under its name; `Kind::Misconfigured` when it is none.
pub(super) fn parse_store_id(text: &str, place: impl Display) -> Result<StoreId, StoreError> {
    match text.trim_end() {
        id if is_random_hex(id) => Ok(StoreId(id.to_owned())),
        _ => Err(StoreError::new(Kind::Misconfigured, format!("{place} does not hold the id of a store"))),
    }
}

/// Whether a user's blobs can be in a folder of this name.
pub(super) fn is_user(part: &str) -> bool {
    part.strip_prefix("user_").is_some_and(|id| !id.is_empty() && id.len() <= 19 && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// 32 hexadecimal digits.
pub(super) fn is_random_hex(part: &str) -> bool {
    part.len() == 32 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_file(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    part.len() <= 64 && !part.starts_with('.') && !part.is_empty() && part.bytes().all(allowed)
}
