use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::io_error;
use crate::{BlobKey, Kind, StoreError, StoreId};

/// Where everything is under the root.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    root: PathBuf,
}

/// Where a blob's file is: `<user>/<folder>/<file>`, each a full path.
#[derive(Debug)]
pub(super) struct BlobPath {
    pub(super) user: PathBuf,
    pub(super) folder: PathBuf,
    pub(super) file: PathBuf,
}

impl Layout {
    pub(super) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn staging(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(super) fn store_id(&self) -> PathBuf {
        self.root.join("store-id")
    }

    /// Only what a key can look like becomes a path: nothing leaves the root, whatever the catalog says.
    pub(super) fn blob(&self, key: &BlobKey) -> Result<BlobPath, StoreError> {
        let parts: Vec<&str> = key.0.split('/').collect();
        match parts[..] {
            [user, folder, file] if is_user(user) && is_random_hex(folder) && is_file(file) => {
                let user = self.root.join(user);
                let folder = user.join(folder);
                Ok(BlobPath { file: folder.join(file), folder, user })
            }
            _ => Err(StoreError::new(Kind::Internal, format!("{:?} is not the key of a blob", key.0))),
        }
    }

    /// The id in the folder; `None` in a new one.
    pub(super) fn read_store_id(&self) -> Result<Option<StoreId>, StoreError> {
        let path = self.store_id();
        match fs::read_to_string(&path) {
            Ok(text) if is_random_hex(text.trim_end()) => Ok(Some(StoreId(text.trim_end().to_owned()))),
            Ok(_) => Err(StoreError::new(Kind::Misconfigured, format!("{} does not hold the id of a store", path.display()))),
            // A root that is not there is not a new store.
            Err(error) if error.kind() == io::ErrorKind::NotFound && self.root.is_dir() => Ok(None),
            Err(error) => Err(io_error(format!("read {}", path.display()), error)),
        }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.display().fmt(f)
    }
}

fn is_user(part: &str) -> bool {
    part.strip_prefix("user_").is_some_and(|id| !id.is_empty() && id.len() <= 19 && id.bytes().all(|byte| byte.is_ascii_digit()))
}

fn is_random_hex(part: &str) -> bool {
    part.len() == 32 && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_file(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.');
    part.len() <= 64 && !part.starts_with('.') && !part.is_empty() && part.bytes().all(allowed)
}
