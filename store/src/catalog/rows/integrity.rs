//! What an integrity check reads.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::{ImageId, RecordedBlob, RenditionId, StoredBlob};

/// Selects the [`RecordedBlob`]s of originals. Size and SHA-256 are those that clients are told, the checksums those that reads are compared with.
macro_rules! select_originals {
    () => {
        "SELECT i.id AS image_id, CAST(NULL AS BIGINT) AS rendition_id, b.key, i.size_bytes, i.sha256, b.block_crc32c
         FROM images i JOIN blobs b ON b.key = i.original_key WHERE i.id > $1 ORDER BY i.id LIMIT $2"
    };
}

/// Selects those of outputs.
macro_rules! select_outputs {
    () => {
        "SELECT r.image_id, r.id AS rendition_id, b.key, r.output_size_bytes AS size_bytes, r.output_sha256 AS sha256, b.block_crc32c
         FROM renditions r JOIN blobs b ON b.key = r.output_key WHERE r.id > $1 AND r.state = 'ready' ORDER BY r.id LIMIT $2"
    };
}

pub(in crate::catalog) use {select_originals, select_outputs};

from_row!(RecordedBlob, |row| RecordedBlob {
    image: ImageId(row.try_get("image_id")?),
    rendition: row.try_get::<Option<i64>, _>("rendition_id")?.map(RenditionId),
    blob: StoredBlob::from_row(row)?,
});
