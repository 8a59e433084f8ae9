//! What a claim looks at first.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::codec::{format, spec};
use crate::{Claim, Format, Timestamp};

/// Selects the [`Asked`] of a rendition that is pending.
macro_rules! select_asked {
    () => {
        "SELECT r.spec, r.due_at, i.format AS image_format FROM renditions r JOIN images i ON i.id = r.image_id
         WHERE r.id = $1 AND r.state = 'pending'"
    };
}

pub(in crate::catalog) use select_asked;

/// What a pending rendition asks for, before anybody claims it.
pub(in crate::catalog) struct Asked {
    due_at: Timestamp,
    known: bool,
}

impl Asked {
    /// Why it cannot be claimed at `now`; `None` when it can.
    pub(in crate::catalog) fn refused(asked: Option<Self>, now: Timestamp) -> Option<Claim> {
        match asked {
            None => Some(Claim::Nothing),
            Some(asked) if !asked.known => Some(Claim::TooNew),
            Some(asked) if asked.due_at > now => Some(Claim::NotBefore(asked.due_at)),
            Some(_) => None,
        }
    }
}

from_row!(Asked, |row| Asked {
    due_at: Timestamp(row.try_get("due_at")?),
    known: spec(&row.try_get::<String, _>("spec")?).format != Format::Unknown
        && format(&row.try_get::<String, _>("image_format")?) != Format::Unknown,
});
