//! Blobs as files of a local or shared folder.
//!
//! `<root>/staging/<32 hexadecimal digits>` while a blob is written, `<root>/user_1/<32 hexadecimal digits>/original.png` once it is
//! published, and `<root>/store-id`. Only this process's user can read any of it.

mod layout;
mod list;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    collections::HashSet,
    fs::{self, DirBuilder, File},
    io,
    ops::Range,
    os::unix::fs::{DirBuilderExt, FileExt},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use tokio::time::timeout;

use self::{
    layout::{BlobPath, Layout},
    list::{Walk, file_time, timestamp},
    writer::{FolderWriter, Staged},
};
use super::{BlobWriter, Blobs, CHECKSUM_BLOCK_BYTES};
use crate::{BlobKey, Kind, ListedBlob, PartialBlob, StoreError, StoreId, Timestamp};

/// How long a folder may take to answer a ping.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Blobs in a folder. Cheap to clone; all clones are one. Any number of processes may use one folder.
#[derive(Debug, Clone)]
pub struct Folder {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    layout: Layout,
    /// What [`Blobs::store_id`] last answered: should another folder turn up in the place of this one, it must not pass for it.
    seen_id: OnceLock<StoreId>,
    /// Whose turn it is to look whether the folder answers: a hung one holds one thread, not one for each time it is asked.
    looking: Arc<tokio::sync::Mutex<()>>,
    /// Users whose folder is known to be durable in the root.
    durable_users: Mutex<HashSet<PathBuf>>,
}

impl Folder {
    /// Opens the folder and makes it when there is none.
    pub async fn open(root: &Path) -> Result<Self, StoreError> {
        let layout = Layout::new(root);
        blocking(move || {
            create_private_folders(&layout.staging()).map_err(|error| io_error(format!("make the blob folder {layout}"), error))?;
            let (seen_id, looking, durable_users) = (OnceLock::new(), Arc::default(), Mutex::default());
            Ok(Self { shared: Arc::new(Shared { layout, seen_id, looking, durable_users }) })
        })
        .await
    }

    async fn with<T: Send + 'static>(&self, work: impl FnOnce(&Shared) -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared);
        blocking(move || work(&shared)).await
    }

    /// Streams the bytes of a file with those of a blob.
    async fn read_file(
        &self,
        key: &BlobKey,
        path: PathBuf,
        range: Range<u64>,
    ) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let (end, name) = (range.end, key.clone());
        let file = Arc::new(self.with(move |shared| shared.open_blob(&name, &path, end)).await?);
        let key = key.clone();
        let pieces = stream::try_unfold(range, move |left| {
            let (file, key) = (Arc::clone(&file), key.clone());
            async move {
                if left.is_empty() {
                    return Ok(None);
                }
                let block = CHECKSUM_BLOCK_BYTES as u64;
                let piece = left.start..left.end.min((left.start / block + 1) * block);
                let rest = piece.end..left.end;
                let bytes = blocking(move || read_piece(&file, &key, &piece)).await?;
                Ok(Some((bytes, rest)))
            }
        });
        Ok(pieces.boxed())
    }
}

#[async_trait]
impl Blobs for Folder {
    async fn create(&self, key: &BlobKey) -> Result<Box<dyn BlobWriter>, StoreError> {
        let path = self.shared.layout.blob(key)?;
        let staged = self.with(|shared| Staged::create(&shared.layout)).await?;
        Ok(Box::new(FolderWriter::new(Arc::clone(&self.shared), staged, path)))
    }

    async fn read(&self, key: &BlobKey, range: Range<u64>) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let path = self.shared.layout.blob(key)?.file;
        self.read_file(key, path, range).await
    }

    async fn read_partial(&self, partial: &PartialBlob) -> Result<BoxStream<'static, Result<Bytes, StoreError>>, StoreError> {
        let path = self.shared.layout.staged(&partial.place)?;
        let (key, staged) = (partial.key.clone(), path.clone());
        // Its time begins anew, as that of the upload does.
        self.with(move |shared| {
            let file = shared.open_blob(&key, &staged, 0)?;
            file.set_modified(file_time(Timestamp::now())).map_err(|error| io_error(format!("keep what there is of blob {key}"), error))
        })
        .await?;
        self.read_file(&partial.key, path, 0..partial.size_bytes).await
    }

    async fn discard(&self, partial: &PartialBlob) -> Result<(), StoreError> {
        let path = self.shared.layout.staged(&partial.place)?;
        let key = partial.key.clone();
        blocking(move || match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error(format!("remove what there is of blob {key}"), error)),
            _ => Ok(()),
        })
        .await?;
        self.delete(&partial.key).await
    }

    async fn delete(&self, key: &BlobKey) -> Result<(), StoreError> {
        let path = self.shared.layout.blob(key)?;
        let key = key.clone();
        self.with(move |shared| shared.delete(&key, &path)).await
    }

    async fn size_bytes(&self, key: &BlobKey) -> Result<Option<u64>, StoreError> {
        let path = self.shared.layout.blob(key)?.file;
        let key = key.clone();
        self.with(move |shared| match fs::metadata(&path) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => shared.check_same_folder().map(|()| None),
            Err(error) => Err(io_error(format!("look at blob {key}"), error)),
        })
        .await
    }

    fn list(&self) -> BoxStream<'static, Result<ListedBlob, StoreError>> {
        let folder = self.clone();
        let batches = stream::try_unfold(None::<Walk>, move |walk| {
            let folder = folder.clone();
            async move {
                let next = folder.with(move |shared| {
                    let walk = walk.map_or_else(|| Walk::begin(shared.layout.root()), Ok);
                    let next = walk.and_then(|mut walk| Ok(walk.next_batch()?.map(|batch| (batch, walk))));
                    next.map_err(|error| io_error(format!("list the blobs of {}", shared.layout), error))
                });
                Ok::<_, StoreError>(next.await?.map(|(batch, walk)| (stream::iter(batch.into_iter().map(Ok)), Some(walk))))
            }
        });
        batches.try_flatten().boxed()
    }

    async fn store_id(&self) -> Result<Option<StoreId>, StoreError> {
        self.with(|shared| {
            let id = shared.layout.read_store_id()?;
            if let Some(id) = &id {
                shared.seen_id.get_or_init(|| id.clone());
            }
            Ok(id)
        })
        .await
    }

    async fn set_store_id(&self, id: &StoreId) -> Result<(), StoreError> {
        let id = id.clone();
        self.with(move |shared| writer::write_store_id(&shared.layout, &id)).await
    }

    async fn sweep_unpublished(&self, before: Timestamp) -> Result<u64, StoreError> {
        self.with(move |shared| {
            shared.sweep_staging(before).map_err(|error| io_error(format!("sweep the staging folder of {}", shared.layout), error))
        })
        .await
    }

    async fn ping(&self) -> Result<(), StoreError> {
        let look = async {
            let turn = Arc::clone(&self.shared.looking).lock_owned().await;
            self.with(move |shared| {
                // Until the folder answers, however long ago whoever asked went away.
                let _turn = turn;
                shared.check_same_folder()?;
                // Dropped at once, which removes it: an empty file tells a folder that can be written from one that cannot.
                Staged::create(&shared.layout).map(drop)
            })
            .await
        };
        let hangs = |_| {
            let message = format!("the blob folder {} did not answer for {} s", self.shared.layout, PING_TIMEOUT.as_secs());
            Err(StoreError::new(Kind::Unavailable, message))
        };
        timeout(PING_TIMEOUT, look).await.unwrap_or_else(hangs)
    }
}

impl Shared {
    /// Fails unless the folder still is the one whose id was asked for: when the mount is gone, an empty folder is in its place.
    fn check_same_folder(&self) -> Result<(), StoreError> {
        match (self.seen_id.get(), self.layout.read_store_id()?) {
            (Some(seen), now) if now.as_ref() != Some(seen) => Err(StoreError::new(
                Kind::Unavailable,
                format!("the blob folder {} is not the store {seen} that it was before; is it mounted", self.layout),
            )),
            _ => Ok(()),
        }
    }

    fn open_blob(&self, key: &BlobKey, path: &Path, end: u64) -> Result<File, StoreError> {
        let opened = File::open(path).and_then(|file| Ok((file.metadata()?.len(), file)));
        match opened {
            Ok((size_bytes, file)) if size_bytes >= end => Ok(file),
            Ok((size_bytes, _)) => {
                Err(StoreError::new(Kind::Corrupt, format!("blob {key} ends after {size_bytes} bytes, before byte {end}")))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.check_same_folder()?;
                Err(StoreError::caused_by(Kind::Corrupt, format!("blob {key} is missing"), error))
            }
            Err(error) => Err(io_error(format!("open blob {key}"), error)),
        }
    }

    fn delete(&self, key: &BlobKey, path: &BlobPath) -> Result<(), StoreError> {
        let failed = |error| io_error(format!("remove blob {key}"), error);
        match fs::remove_file(&path.file) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.check_same_folder()?,
            Err(error) => return Err(failed(error)),
        }
        // The user's folder stays: somebody may be about to make a blob in it.
        match fs::remove_dir(&path.folder) {
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty) => Err(failed(error)),
            _ => Ok(()),
        }
    }

    fn sweep_staging(&self, before: Timestamp) -> io::Result<u64> {
        let mut removed = 0;
        for entry in fs::read_dir(self.layout.staging())? {
            let entry = entry?;
            // Whoever is quicker, its writer or another sweeper, may have taken the file away at any point.
            match entry.metadata().and_then(|metadata| metadata.modified()) {
                Ok(modified) if timestamp(modified) >= before => {}
                Ok(_) => match fs::remove_file(entry.path()) {
                    Ok(()) => removed += 1,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error),
                },
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok(removed)
    }

    /// Makes the entry of a user's folder durable in the root, once in the life of this process unless the folder is new.
    fn sync_user(&self, user: &Path, is_new: bool) -> io::Result<()> {
        let known = self.durable_users.lock().unwrap_or_else(PoisonError::into_inner).contains(user);
        if is_new || !known {
            sync_folder(self.layout.root())?;
            self.durable_users.lock().unwrap_or_else(PoisonError::into_inner).insert(user.to_owned());
        }
        Ok(())
    }
}

fn read_piece(file: &File, key: &BlobKey, piece: &Range<u64>) -> Result<Bytes, StoreError> {
    let mut bytes = vec![0; (piece.end - piece.start) as usize];
    match file.read_exact_at(&mut bytes, piece.start) {
        Ok(()) => Ok(bytes.into()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            Err(StoreError::caused_by(Kind::Corrupt, format!("blob {key} ends before byte {}", piece.end), error))
        }
        Err(error) => Err(io_error(format!("read blob {key}"), error)),
    }
}

/// Runs file work where it may take its time.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, StoreError> + Send + 'static) -> Result<T, StoreError> {
    begin(work).await
}

/// Begins file work where it may take its time: it runs whether or not its end is waited for.
fn begin<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> impl Future<Output = Result<T, StoreError>> + Send + 'static {
    let running = tokio::task::spawn_blocking(work);
    async {
        match running.await {
            Ok(result) => result,
            Err(error) => Err(StoreError::caused_by(Kind::Internal, "file work did not come to its end", error)),
        }
    }
}

fn create_private_folders(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the entries of a folder durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

fn io_error(what: impl AsRef<str>, error: io::Error) -> StoreError {
    let kind = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::Full,
        _ => Kind::Unavailable,
    };
    StoreError::caused_by(kind, format!("cannot {}", what.as_ref()), error)
}
