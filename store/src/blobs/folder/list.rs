use std::{
    fs::{self, ReadDir},
    io,
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{
    BlobKey, ListedBlob, Timestamp,
    blobs::keys::{KeyParts, is_user},
};

/// Folders of blobs that are looked into at a time.
const BATCH: usize = 100;

/// A walk through all blobs, in no order, that holds two open folders and no more of them in memory than [`BATCH`].
#[derive(Debug)]
pub(super) struct Walk {
    users: ReadDir,
    /// The user at hand and the folders of that user's blobs.
    folders: Option<(String, ReadDir)>,
}

impl Walk {
    pub(super) fn begin(root: &Path) -> io::Result<Self> {
        Ok(Self { users: fs::read_dir(root)?, folders: None })
    }

    /// The next few blobs, none of them in what is not a folder of blobs; `None` at the end.
    pub(super) fn next_batch(&mut self) -> io::Result<Option<Vec<ListedBlob>>> {
        let Some((user, folders)) = &mut self.folders else {
            let Some(entry) = self.users.next().transpose()? else { return Ok(None) };
            if let Ok(user) = entry.file_name().into_string()
                && is_user(&user)
                && let Some(folders) = unless_gone(fs::read_dir(entry.path()))?
            {
                self.folders = Some((user, folders));
            }
            return Ok(Some(Vec::new()));
        };
        let mut blobs = Vec::new();
        for _ in 0..BATCH {
            let Some(entry) = folders.next().transpose()? else {
                self.folders = None;
                break;
            };
            let Ok(folder) = entry.file_name().into_string() else { continue };
            let Some(files) = unless_gone(fs::read_dir(entry.path()))? else { continue };
            for file in files {
                let file = file?;
                let key = format!("{user}/{folder}/{}", file.file_name().to_string_lossy());
                if KeyParts::parse(&key).is_some()
                    && let Some(metadata) = unless_gone(file.metadata())?
                {
                    blobs.push(ListedBlob { key: BlobKey(key), size_bytes: metadata.len(), written_at: timestamp(metadata.modified()?) });
                }
            }
        }
        Ok(Some(blobs))
    }
}

/// The time of a file as the rest of the store counts it.
pub(super) fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp(time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64))
}

pub(super) fn file_time(time: Timestamp) -> SystemTime {
    UNIX_EPOCH + time.since(Timestamp(0))
}

/// What is removed while the walk goes on, or is a file where folders are expected, is passed over.
fn unless_gone<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}
