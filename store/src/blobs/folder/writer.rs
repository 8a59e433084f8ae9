use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;

use super::{
    Shared, begin, blocking, io_error,
    layout::{BlobPath, Layout},
    sync_folder,
};
use crate::{
    Kind, StoreError, StoreId,
    blobs::{BlobWriter, Persisting},
    random_hex,
};

/// A file of the staging folder. Dropping it removes the file unless that is to be kept or has got another name.
#[derive(Debug)]
pub(super) struct Staged {
    path: PathBuf,
    file: File,
    kept: AtomicBool,
}

impl Staged {
    pub(super) fn create(layout: &Layout) -> Result<Self, StoreError> {
        let path = layout.staging().join(random_hex());
        let file = OpenOptions::new()
            .append(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| io_error(format!("make {}", path.display()), error))?;
        Ok(Self { path, file, kept: AtomicBool::new(false) })
    }

    fn append(&self, bytes: &[u8]) -> Result<(), StoreError> {
        (&self.file).write_all(bytes).map_err(|error| io_error(format!("write to {}", self.path.display()), error))
    }

    fn persist(&self) -> Result<(), StoreError> {
        self.file.sync_data().map_err(|error| io_error(format!("flush {}", self.path.display()), error))
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Relaxed) {
            return;
        }
        // What cannot be removed now, or is already published, needs no word: the sweeper takes what stays.
        let _ = fs::remove_file(&self.path);
    }
}

/// Writes a blob in the staging folder.
pub(super) struct FolderWriter {
    shared: Arc<Shared>,
    staged: Arc<Staged>,
    size_bytes: u64,
    path: BlobPath,
}

impl FolderWriter {
    pub(super) fn new(shared: Arc<Shared>, staged: Staged, path: BlobPath) -> Self {
        Self { shared, staged: Arc::new(staged), size_bytes: 0, path }
    }
}

#[async_trait]
impl BlobWriter for FolderWriter {
    fn persist_every_bytes(&self) -> u64 {
        8 << 20
    }

    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let (staged, size_bytes) = (Arc::clone(&self.staged), bytes.len() as u64);
        blocking(move || staged.append(&bytes)).await?;
        self.size_bytes += size_bytes;
        Ok(())
    }

    async fn persist(&mut self) -> Result<Persisting, StoreError> {
        let (staged, size_bytes) = (Arc::clone(&self.staged), self.size_bytes);
        Ok(Box::pin(begin(move || staged.persist().map(|()| size_bytes))))
    }

    async fn keep(&mut self, _: u64) -> Result<String, StoreError> {
        if !self.staged.kept.load(Ordering::Relaxed) {
            let staging = self.shared.layout.staging();
            // The name has to be found again after a crash as well as the bytes.
            blocking(move || sync_folder(&staging).map_err(|error| io_error(format!("flush {}", staging.display()), error))).await?;
            self.staged.kept.store(true, Ordering::Relaxed);
        }
        let name = self.staged.path.file_name().unwrap_or_default();
        Ok(name.to_string_lossy().into_owned())
    }

    async fn publish(self: Box<Self>) -> Result<(), StoreError> {
        blocking(move || {
            self.staged.persist()?;
            publish(&self.shared, &self.staged, &self.path).map_err(|error| {
                let file = self.path.file.display();
                if error.kind() == io::ErrorKind::NotFound && !self.staged.path.exists() {
                    return StoreError::caused_by(Kind::Conflict, format!("what was written of {file} was removed"), error);
                }
                io_error(format!("publish {file}"), error)
            })
        })
        .await
    }
}

/// Gives flushed bytes their name. The blob's own folder is made here and by nobody else, so the rename replaces nothing.
fn publish(shared: &Shared, staged: &Staged, path: &BlobPath) -> io::Result<()> {
    let private = || {
        let mut builder = DirBuilder::new();
        builder.mode(0o700);
        builder
    };
    let user_is_new = match private().create(&path.user) {
        Ok(()) => true,
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => false,
        Err(error) => return Err(error),
    };
    private().create(&path.folder)?;
    // The staging folder needs no flush: should its old entry come back after a crash, it is swept.
    let named = fs::rename(&staged.path, &path.file)
        .and_then(|()| sync_folder(&path.folder))
        .and_then(|()| sync_folder(&path.user))
        .and_then(|()| shared.sync_user(&path.user, user_is_new));
    if named.is_err() {
        // Nobody knows the key yet. What cannot be removed stays behind, without a row that names it.
        let _ = fs::remove_file(&path.file).and_then(|()| fs::remove_dir(&path.folder));
    }
    named
}

/// Writes the id beside its place and links it there, which the first of several alone can do, and only with all of its bytes.
pub(super) fn write_store_id(layout: &Layout, id: &StoreId) -> Result<(), StoreError> {
    let path = layout.store_id();
    let staged = Staged::create(layout)?;
    staged.append(format!("{id}\n").as_bytes())?;
    staged.persist()?;
    match fs::hard_link(&staged.path, &path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(io_error(format!("name the store in {}", path.display()), error)),
        // Also when another one was quicker: its name must be durable too before anybody relies on it.
        _ => sync_folder(layout.root()).map_err(|error| io_error(format!("flush {layout}"), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_from_one_that_is_away() {
        let kind = |kind| io_error("write", io::Error::from(kind)).kind();
        assert_eq!(kind(io::ErrorKind::StorageFull), Kind::Full);
        assert_eq!(kind(io::ErrorKind::QuotaExceeded), Kind::Full);
        assert_eq!(kind(io::ErrorKind::StaleNetworkFileHandle), Kind::Unavailable);
    }
}
