//! The tokens that `login` keeps: one JSON file, readable by its owner alone.

use std::{
    fs, io,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use serde_json::{Map, Value, json};
use tempfile::NamedTempFile;

use crate::environment;

/// Tokens by server.
#[derive(Debug)]
pub(crate) struct Credentials {
    path: PathBuf,
}

impl Credentials {
    /// The file of the user who runs this.
    pub(crate) fn of_user() -> anyhow::Result<Credentials> {
        Ok(Credentials::at(environment::config_folder()?.join("credentials")))
    }

    fn at(path: PathBuf) -> Credentials {
        Credentials { path }
    }

    /// The token kept for that server.
    pub(crate) fn token(&self, server: &str) -> anyhow::Result<Option<String>> {
        let token = self.read()?.get(&key(server)).and_then(|entry| entry["token"].as_str()).map(str::to_owned);
        Ok(token)
    }

    /// Keeps a token, in place of the one before. Atomic and durable when it returns.
    pub(crate) fn keep(&self, server: &str, user: &str, token: &str) -> anyhow::Result<()> {
        let mut all = self.read()?;
        all.insert(key(server), json!({ "user": user, "token": token }));
        self.write(all)
    }

    /// Forgets the token of that server, and tells whether there was one.
    pub(crate) fn forget(&self, server: &str) -> anyhow::Result<bool> {
        let mut all = self.read()?;
        let was_there = all.remove(&key(server)).is_some();
        if was_there {
            self.write(all)?;
        }
        Ok(was_there)
    }

    fn read(&self) -> anyhow::Result<Map<String, Value>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Map::new()),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        };
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged; delete it and log in again", self.path.display()))
    }

    fn write(&self, all: Map<String, Value>) -> anyhow::Result<()> {
        let replace = || {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
            // A new file each time: its mode is right from the first byte, whatever the mode of the one before.
            let file = tempfile::Builder::new().permissions(fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
            serde_json::to_writer_pretty(file.as_file(), &Value::Object(all))?;
            file.as_file().sync_all()?;
            persist(file, &self.path)
        };
        replace().with_context(|| format!("cannot write {}", self.path.display()))
    }
}

fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.persist(path).map(drop).map_err(|error| error.error)
}

/// The same server is the same key with or without a slash at the end.
fn key(server: &str) -> String {
    server.trim_end_matches('/').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_token_is_kept_for_its_server_alone() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::at(folder.path().join("config/tintype/credentials"));
        assert_eq!(credentials.token("http://a:1").unwrap(), None);
        credentials.keep("http://a:1/", "ada", "tt_1").unwrap();
        credentials.keep("http://b:1", "ada", "tt_2").unwrap();
        assert_eq!(credentials.token("http://a:1").unwrap().as_deref(), Some("tt_1"));
        assert!(credentials.forget("http://a:1").unwrap());
        assert!(!credentials.forget("http://a:1").unwrap());
        assert_eq!(credentials.token("http://b:1").unwrap().as_deref(), Some("tt_2"));
    }

    #[test]
    fn only_the_owner_can_read_it_even_if_others_could_before() {
        let folder = tempfile::tempdir().unwrap();
        let credentials = Credentials::at(folder.path().join("tintype/credentials"));
        credentials.keep("http://a:1", "ada", "tt_1").unwrap();
        assert_eq!((mode(&credentials.path), mode(&folder.path().join("tintype"))), (0o600, 0o700));
        fs::set_permissions(&credentials.path, fs::Permissions::from_mode(0o644)).unwrap();
        credentials.keep("http://a:1", "ada", "tt_2").unwrap();
        assert_eq!(mode(&credentials.path), 0o600);
    }

    #[test]
    fn a_damaged_file_is_told_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("credentials");
        fs::write(&path, "{ half").unwrap();
        let credentials = Credentials::at(path.clone());
        assert!(credentials.token("http://a:1").is_err() && credentials.keep("http://a:1", "ada", "tt_1").is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "{ half");
    }
}
