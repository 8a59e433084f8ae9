//! Programs and schemas of different versions.

use tracing::info;

use crate::{Kind, StoreError};

/// Whether a program that knows the schema up to version `known` can work with one of the newer version `found`, which says the oldest
/// version that a program must know: `Kind::Misconfigured` when it cannot.
pub(super) fn check_compatible(known: i64, found: i64, oldest_program: i64) -> Result<(), StoreError> {
    if known >= oldest_program {
        info!(schema.found = found, schema.known = known, "the catalog has schema version {found}, newer than the {known} of this program");
        return Ok(());
    }
    let message = format!(
        "the catalog has schema version {found}, which needs a program that knows version {oldest_program} or newer; \
         this one knows version {known}: start a newer one"
    );
    Err(StoreError::new(Kind::Misconfigured, message))
}
