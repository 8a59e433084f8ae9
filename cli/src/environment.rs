//! What is read from the environment beside the flags: secrets, which a flag would show to everybody on the machine, and folders.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// The token that goes before any kept one.
pub(crate) fn token() -> anyhow::Result<Option<String>> {
    text("TINTYPE_TOKEN")
}

/// The password that is not asked for.
pub(crate) fn password() -> anyhow::Result<Option<String>> {
    text("TINTYPE_PASSWORD")
}

/// The password to set that is not asked for.
pub(crate) fn new_password() -> anyhow::Result<Option<String>> {
    text("TINTYPE_NEW_PASSWORD")
}

/// The folder of this program's settings, below the user's; it need not be there yet.
pub(crate) fn config_folder() -> anyhow::Result<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|folder: &PathBuf| folder.is_absolute());
    let folder = absolute("XDG_CONFIG_HOME").or_else(|| absolute("HOME").map(|home| home.join(".config")));
    Ok(folder.context("neither XDG_CONFIG_HOME nor HOME names a folder")?.join(Path::new("tintype")))
}

/// Set to nothing counts as not set.
fn text(name: &'static str) -> anyhow::Result<Option<String>> {
    let value = env::var_os(name).filter(|value| !value.is_empty()).map(OsString::into_string).transpose();
    value.map_err(|_| anyhow::anyhow!("{name} is not valid UTF-8"))
}
