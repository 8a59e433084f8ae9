//! Values as both databases keep them in a column.
//!
//! A name that is not known was written by a newer version: the row is read all the same, so that it does not take the others of a list with it.

use std::error::Error;

use crate::{Access, ChangeKind, ColourType, FailureReason, Format, Labels, RenditionState, Role, Scope, ShareRole, Spec, Thumbhash};

/// The column `block_crc32c`: little-endian, one after the other.
pub(in crate::catalog) fn checksums_to_bytes(checksums: &[u32]) -> Vec<u8> {
    checksums.iter().flat_map(|checksum| checksum.to_le_bytes()).collect()
}

pub(super) fn checksums_from_bytes(bytes: &[u8]) -> Vec<u32> {
    bytes.as_chunks().0.iter().copied().map(u32::from_le_bytes).collect()
}

/// The columns `input_formats` and `output_formats`: names, separated by commas.
pub(in crate::catalog) fn format_list(formats: &[Format]) -> String {
    formats.iter().map(|format| format.name()).collect::<Vec<_>>().join(",")
}

/// The column `labels`: a JSON object of texts.
pub(in crate::catalog) fn labels_json(labels: &Labels) -> String {
    labels.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect::<serde_json::Value>().to_string()
}

/// The column `scopes`: names, separated by commas.
pub(in crate::catalog) fn scope_list(scopes: &[Scope]) -> String {
    scopes.iter().map(|scope| scope.name()).collect::<Vec<_>>().join(",")
}

/// A scope that is not known counts: without it the list might be empty, which is good for everything.
pub(super) fn scopes(list: &str) -> Vec<Scope> {
    list.split_terminator(',').map(|name| known(Scope::ALL, Scope::name, name).unwrap_or(Scope::Unknown)).collect()
}

/// Those that are known: of the others nobody here can ask for anything.
pub(super) fn formats(list: &str) -> Vec<Format> {
    list.split_terminator(',').filter_map(|name| name.parse().ok()).collect()
}

pub(super) fn format(name: &str) -> Format {
    name.parse().unwrap_or(Format::Unknown)
}

pub(super) fn spec(text: &str) -> Spec {
    text.parse().unwrap_or(Spec::new(Format::Unknown))
}

pub(super) fn role(name: &str) -> Role {
    known(Role::ALL, Role::name, name).unwrap_or(Role::Unknown)
}

/// Every share lets look, whatever else.
pub(super) fn share_role(name: &str) -> ShareRole {
    known(ShareRole::ALL, ShareRole::name, name).unwrap_or(ShareRole::Viewer)
}

pub(super) fn access(name: &str) -> Access {
    known(Access::ALL, Access::name, name).unwrap_or(Access::Viewer)
}

/// Whatever happened to it, the image is worth another look.
pub(super) fn change_kind(name: &str) -> ChangeKind {
    known(ChangeKind::ALL, ChangeKind::name, name).unwrap_or(ChangeKind::Updated)
}

pub(super) fn failure_reason(name: &str) -> FailureReason {
    known(FailureReason::ALL, FailureReason::name, name).unwrap_or(FailureReason::Unknown)
}

pub(super) fn state(name: &str) -> RenditionState {
    known(RenditionState::ALL, RenditionState::name, name).unwrap_or(RenditionState::Unknown)
}

pub(super) fn colour_type(name: &str) -> Option<ColourType> {
    known(ColourType::ALL, ColourType::name, name)
}

fn known<T: Copy, const N: usize>(all: [T; N], name_of: fn(T) -> &'static str, name: &str) -> Option<T> {
    all.into_iter().find(|known| name_of(*known) == name)
}

pub(super) fn sha256(column: &str, bytes: Vec<u8>) -> sqlx::Result<[u8; 32]> {
    bytes.try_into().map_err(|bytes: Vec<u8>| undecodable(column, format!("{} bytes are no SHA-256", bytes.len())))
}

pub(super) fn thumbhash(bytes: &[u8]) -> sqlx::Result<Thumbhash> {
    Thumbhash::new(bytes).ok_or_else(|| undecodable("thumbhash", format!("{} bytes are no thumbhash", bytes.len())))
}

pub(super) fn undecodable(column: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}
