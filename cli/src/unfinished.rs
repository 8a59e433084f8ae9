//! Uploads that have not come to their end: a small file for each beside the token, by which the next run goes on with them.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::environment;

/// Smaller files are sent again as quickly as they are looked up.
const MIN_BYTES: u64 = 8 << 20;
/// Servers know nothing of an upload after this time.
const KEEP: Duration = Duration::from_hours(7 * 24);

/// The unfinished uploads of one user at one server.
#[derive(Debug, Clone)]
pub(crate) struct Unfinished {
    folder: PathBuf,
    server: String,
    user: String,
}

/// One of them. No other run begins it as long as this one has it.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) upload_id: String,
    /// An earlier run began it.
    pub(crate) is_old: bool,
    path: PathBuf,
    /// Locked.
    _file: File,
}

impl Unfinished {
    /// Those of the user who runs this, kept in the user's config folder.
    pub(crate) fn of_user(server: &str, user: &str) -> anyhow::Result<Unfinished> {
        Ok(Unfinished::at(environment::config_folder()?.join("uploads"), server, user))
    }

    fn at(folder: PathBuf, server: &str, user: &str) -> Unfinished {
        Unfinished { folder, server: server.trim_end_matches('/').to_ascii_lowercase(), user: user.to_owned() }
    }

    /// Whether it is worth while to note the upload of this file.
    pub(crate) fn is_large(path: &Path) -> bool {
        path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() >= MIN_BYTES)
    }

    /// The upload of a file that was begun and has not changed since, or a new one, noted before it begins. `None` for what is small, for what
    /// another run is sending, and where nothing can be noted: such a file is sent from its first byte.
    pub(crate) fn begin(&self, path: &Path) -> Option<Entry> {
        if !Unfinished::is_large(path) {
            return None;
        }
        let note = self.note(path).ok()?;
        match self.entries(|kept| *kept == note).first() {
            Some(found) => lock(found).ok(),
            None => self.add(&note).ok(),
        }
    }

    /// The uploads of this path that were begun, whatever the file holds by now.
    pub(crate) fn of_path(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let note = self.note(path)?;
        Ok(self.entries(|kept| ["server", "user", "path"].iter().all(|key| kept[key] == note[key])))
    }

    /// What tells this version of this file from every other.
    fn note(&self, path: &Path) -> io::Result<Value> {
        let (path, metadata) = (path.canonicalize()?, path.metadata()?);
        let path = path.to_str().ok_or(io::ErrorKind::InvalidFilename)?;
        let modified = metadata.modified()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (size_bytes, modified_nanos) = (metadata.len(), u64::try_from(modified.as_nanos()).unwrap_or(u64::MAX));
        Ok(json!({
            "server": self.server, "user": self.user, "path": path, "size_bytes": size_bytes, "modified_nanos": modified_nanos
        }))
    }

    /// Those whose note is like that. What is too old to be known anywhere is removed on the way.
    fn entries(&self, is_wanted: impl Fn(&Value) -> bool) -> Vec<PathBuf> {
        let Ok(folder) = fs::read_dir(&self.folder) else { return Vec::new() };
        let mut wanted = Vec::new();
        for path in folder.filter_map(|entry| Some(entry.ok()?.path())) {
            let age = path.metadata().and_then(|metadata| metadata.modified()).ok().and_then(|modified| modified.elapsed().ok());
            if age.is_some_and(|age| age > KEEP) {
                forget(&path);
            } else if fs::read(&path).is_ok_and(|note| serde_json::from_slice(&note).is_ok_and(|note| is_wanted(&note))) {
                wanted.push(path);
            }
        }
        wanted
    }

    fn add(&self, note: &Value) -> io::Result<Entry> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        // 131 random bits: the name of the file is the upload's.
        let new =
            tempfile::Builder::new().prefix("").rand_bytes(22).permissions(Permissions::from_mode(0o600)).tempfile_in(&self.folder)?;
        new.as_file().try_lock().map_err(io::Error::from)?;
        new.as_file().write_all(note.to_string().as_bytes())?;
        let (file, path) = new.keep().map_err(|error| error.error)?;
        Ok(Entry { upload_id: upload_id(&path), is_old: false, path, _file: file })
    }
}

impl Entry {
    /// Nothing is left to go on with.
    pub(crate) fn forget(self) {
        forget(&self.path);
    }
}

/// The name by which the server knows the upload of this entry.
pub(crate) fn upload_id(entry: &Path) -> String {
    entry.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Removes an entry. One that cannot be removed does no harm: what it names is unknown or finished.
pub(crate) fn forget(entry: &Path) {
    let _ = fs::remove_file(entry);
}

fn lock(entry: &Path) -> io::Result<Entry> {
    let file = File::open(entry)?;
    file.try_lock().map_err(io::Error::from)?;
    Ok(Entry { upload_id: upload_id(entry), is_old: true, path: entry.to_owned(), _file: file })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn large(folder: &Path, name: &str, more_bytes: u64) -> PathBuf {
        let path = folder.join(name);
        File::create(&path).unwrap().set_len(MIN_BYTES + more_bytes).unwrap();
        path
    }

    #[test]
    fn an_upload_is_found_again_by_the_same_user_server_and_unchanged_file_alone() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = |server, user| Unfinished::at(folder.path().join("tintype/uploads"), server, user);
        let ada = uploads("http://a:1", "ada");
        let file = large(folder.path(), "a.png", 0);
        let first = ada.begin(&file).unwrap();
        assert!(!first.is_old && first.upload_id.len() == 22);
        assert!(ada.begin(&file).is_none(), "this run has it");
        let (id, note) = (first.upload_id.clone(), first.path.clone());
        drop(first);
        let modes = [&note, &folder.path().join("tintype/uploads")].map(|path| fs::metadata(path).unwrap().permissions().mode() & 0o777);
        assert_eq!(modes, [0o600, 0o700]);
        let again = uploads("http://A:1/", "ada").begin(&file).unwrap();
        assert_eq!((again.is_old, &again.upload_id), (true, &id));
        for other in [uploads("http://b:1", "ada"), uploads("http://a:1", "bob")] {
            assert!(!other.begin(&file).unwrap().is_old);
        }
        drop(again);
        assert!(!ada.begin(&large(folder.path(), "a.png", 1)).unwrap().is_old, "it has changed");
        assert_eq!(ada.of_path(&file).unwrap().len(), 2, "both are given up with it");
        ada.begin(&file).unwrap().forget();
        assert!(!ada.begin(&file).unwrap().is_old, "it was forgotten");
    }

    #[test]
    fn what_is_small_or_cannot_be_noted_is_sent_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let small = folder.path().join("small.png");
        fs::write(&small, "few bytes").unwrap();
        let uploads = Unfinished::at(folder.path().join("uploads"), "http://a:1", "ada");
        assert!(uploads.begin(&small).is_none() && uploads.begin(Path::new("missing")).is_none());
        let nowhere = Unfinished::at(small.join("uploads"), "http://a:1", "ada");
        assert!(nowhere.begin(&large(folder.path(), "large.png", 0)).is_none());
    }

    #[test]
    fn what_is_too_old_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = Unfinished::at(folder.path().join("uploads"), "http://a:1", "ada");
        let file = large(folder.path(), "a.png", 0);
        let entry = uploads.begin(&file).unwrap();
        let old = entry.path.metadata().unwrap().modified().unwrap() - KEEP - Duration::from_mins(1);
        File::options().write(true).open(&entry.path).unwrap().set_modified(old).unwrap();
        drop(entry);
        assert!(!uploads.begin(&file).unwrap().is_old);
        assert_eq!(fs::read_dir(&uploads.folder).unwrap().count(), 1);
    }
}
