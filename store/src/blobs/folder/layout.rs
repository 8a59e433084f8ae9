use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use super::io_error;
use crate::{
    BlobKey, Kind, StoreError, StoreId,
    blobs::keys::{KeyParts, is_random_hex, parse_store_id},
};

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

    /// The staged file at this place, as the catalog has kept it: nothing leads out of the staging folder.
    pub(super) fn staged(&self, place: &str) -> Result<PathBuf, StoreError> {
        if is_random_hex(place) {
            Ok(self.staging().join(place))
        } else {
            Err(StoreError::new(Kind::Internal, format!("{place:?} is not the place of a staged file")))
        }
    }

    pub(super) fn store_id(&self) -> PathBuf {
        self.root.join("store-id")
    }

    /// Only what a key can look like becomes a path: nothing leaves the root, whatever the catalog says.
    pub(super) fn blob(&self, key: &BlobKey) -> Result<BlobPath, StoreError> {
        let KeyParts { user, folder, file } = KeyParts::of(key)?;
        let user = self.root.join(user);
        let folder = user.join(folder);
        Ok(BlobPath { file: folder.join(file), folder, user })
    }

    /// The id in the folder; `None` in a new one.
    pub(super) fn read_store_id(&self) -> Result<Option<StoreId>, StoreError> {
        let path = self.store_id();
        match fs::read_to_string(&path) {
            Ok(text) => parse_store_id(&text, path.display()).map(Some),
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
