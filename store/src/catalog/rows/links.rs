//! What is kept of links.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::codec::{sha256, undecodable};
use crate::{AnnouncedFile, BlobKey, LinkKey, Timestamp, UploadLink, UserId};

/// Columns of [`UploadLink`].
macro_rules! link_columns {
    () => {
        "id, owner_id, upload_id, file_name, labels, content_type, size_bytes, sha256, direct, key, expires_at"
    };
}

pub(in crate::catalog) use link_columns;

from_row!(UploadLink, |row| UploadLink {
    id: row.try_get("id")?,
    owner: UserId(row.try_get("owner_id")?),
    upload_id: row.try_get("upload_id")?,
    file: AnnouncedFile {
        file_name: row.try_get("file_name")?,
        labels: serde_json::from_str(&row.try_get::<String, _>("labels")?).map_err(|error| undecodable("labels", error))?,
        content_type: row.try_get("content_type")?,
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
        sha256: sha256("sha256", row.try_get("sha256")?)?,
    },
    direct: row.try_get("direct")?,
    key: row.try_get::<Option<String>, _>("key")?.map(BlobKey),
    expires_at: Timestamp(row.try_get("expires_at")?),
});

from_row!(LinkKey, |row| LinkKey {
    id: row.try_get("id")?,
    secret: sha256("secret", row.try_get("secret")?)?,
    expires_at: Timestamp(row.try_get("expires_at")?),
});
