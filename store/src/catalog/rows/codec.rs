//! Values as both databases keep them in a column.

use std::error::Error;

use crate::{ColourType, FailureReason, Format, Labels, RenditionState, Scope, Spec, Thumbhash};

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

pub(super) fn scopes(list: &str) -> sqlx::Result<Vec<Scope>> {
    let scope = |name| Scope::ALL.into_iter().find(|scope| scope.name() == name);
    let unknown = |name| undecodable("scopes", format!("unknown scope {name:?}"));
    list.split_terminator(',').map(|name| scope(name).ok_or_else(|| unknown(name))).collect()
}

pub(super) fn formats(column: &str, list: &str) -> sqlx::Result<Vec<Format>> {
    list.split_terminator(',').map(|name| format(column, name)).collect()
}

pub(super) fn format(column: &str, name: &str) -> sqlx::Result<Format> {
    name.parse().map_err(|error: String| undecodable(column, error))
}

pub(super) fn spec(text: &str) -> sqlx::Result<Spec> {
    text.parse().map_err(|error: String| undecodable("spec", error))
}

pub(super) fn failure_reason(name: &str) -> sqlx::Result<FailureReason> {
    let known = FailureReason::ALL.into_iter().find(|known| known.name() == name);
    known.ok_or_else(|| undecodable("failure_reason", format!("unknown reason {name:?}")))
}

pub(super) fn state(column: &str, name: &str) -> sqlx::Result<RenditionState> {
    let known = RenditionState::ALL.into_iter().find(|known| known.name() == name);
    known.ok_or_else(|| undecodable(column, format!("unknown state {name:?}")))
}

pub(super) fn sha256(column: &str, bytes: Vec<u8>) -> sqlx::Result<[u8; 32]> {
    bytes.try_into().map_err(|bytes: Vec<u8>| undecodable(column, format!("{} bytes are no SHA-256", bytes.len())))
}

pub(super) fn colour_type(name: &str) -> sqlx::Result<ColourType> {
    let known = ColourType::ALL.into_iter().find(|known| known.name() == name);
    known.ok_or_else(|| undecodable("output_colour_type", format!("unknown colour type {name:?}")))
}

pub(super) fn thumbhash(bytes: &[u8]) -> sqlx::Result<Thumbhash> {
    Thumbhash::new(bytes).ok_or_else(|| undecodable("thumbhash", format!("{} bytes are no thumbhash", bytes.len())))
}

pub(super) fn undecodable(column: &str, source: impl Into<Box<dyn Error + Send + Sync>>) -> sqlx::Error {
    sqlx::Error::ColumnDecode { index: column.to_owned(), source: source.into() }
}
