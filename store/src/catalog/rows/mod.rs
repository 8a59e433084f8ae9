//! Rows as both databases return them, and the `SELECT`s that name their columns.

mod codec;

use std::collections::HashMap;

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use crate::{
    Access, BlobKey, Change, ChangedRendition, Colours, ContentDigest, Denied, FailedRendition, Failure, FailureReason, Hold, Image,
    ImageHeader, ImageId, Job, LeaseToken, OpenUpload, OpenWrite, Output, PartialBlob, Party, Picture, QuotaUsedUp, Rendition, RenditionId,
    RenditionState, Requested, SeenImage, Share, SignedIn, Spec, StoredBlob, Timestamp, Token, TokenId, Totals, User, UserId, Worker,
};

/// `FromRow` for rows of either database.
macro_rules! from_row {
    ($type:ty, |$row:ident| $body:expr) => {
        impl<'r, R> FromRow<'r, R> for $type
        where
            R: Row,
            &'static str: ColumnIndex<R>,
            bool: Decode<'r, R::Database> + Type<R::Database>,
            i64: Decode<'r, R::Database> + Type<R::Database>,
            String: Decode<'r, R::Database> + Type<R::Database>,
            Vec<u8>: Decode<'r, R::Database> + Type<R::Database>,
        {
            fn from_row($row: &'r R) -> sqlx::Result<Self> {
                Ok($body)
            }
        }
    };
}

/// Columns of [`User`].
macro_rules! user_columns {
    () => {
        "users.id AS user_id, users.name, users.role, users.password_hash, users.disabled, users.quota_bytes, users.used_bytes, \
         users.unfinished_bytes, users.created_at"
    };
}

/// Columns of [`Token`].
macro_rules! token_columns {
    () => {
        "tokens.id AS token_id, tokens.user_id AS token_user_id, tokens.label, tokens.scopes, tokens.created_at AS token_created_at, \
         tokens.expires_at"
    };
}

/// Selects [`ImageRow`]s of the images in `$source`, a row for every rendition and one for an image without any; the source is `i`.
macro_rules! select_images {
    ($source:literal) => {
        concat!("SELECT ", image_columns!(), " FROM ", $source, " i ", image_joins!())
    };
}

/// Selects [`SeenRow`]s of those images of `$source` that the user `$1` sees. The source are images, and is `m`.
macro_rules! select_seen_images {
    ($($source:tt)+) => {
        concat!(
            "SELECT i.access, i.named, ",
            image_columns!(),
            " FROM (
                  -- By their names: others that a newer version adds might be called like those of the next lines.
                  SELECT m.id, m.owner_id, m.file_name, m.labels, m.format, m.width, m.height, m.frame_count, m.original_key, m.created_at,
                      m.updated_at, m.size_bytes, m.sha256, m.thumbhash, m.owner_id = $1 OR EXISTS (SELECT 1 FROM shares s WHERE s.image_id = m.id AND s.user_id = $1) AS named,
                      CASE WHEN m.owner_id = $1 THEN 'owner' ELSE (
                          -- By name an editor comes before a viewer, which is what every other role is here. What a deleted user left behind
                          -- is shared with nobody.
                          SELECT min(CASE s.role WHEN 'editor' THEN s.role ELSE 'viewer' END) FROM shares s JOIN users u ON u.id = m.owner_id
                          WHERE s.image_id = m.id AND s.user_id IN (0, $1) AND u.deleted_at IS NULL
                      ) END AS access
                  FROM ",
            $($source)+,
            ") i ",
            image_joins!(),
            "WHERE i.access IS NOT NULL"
        )
    };
}

macro_rules! image_columns {
    () => {
        concat!(
            "i.id AS image_id, i.owner_id, i.file_name, CAST(i.labels AS TEXT) AS labels, i.format AS image_format, i.width, i.height, ",
            "i.frame_count, i.original_key, i.created_at AS image_created_at, coalesce(i.updated_at, i.created_at) AS updated_at, ",
            "i.size_bytes, i.sha256, i.thumbhash, ",
            rendition_columns!()
        )
    };
}

macro_rules! image_joins {
    () => {
        "LEFT JOIN renditions r ON r.image_id = i.id "
    };
}

/// Selects [`Rendition`]s; their table is `r`.
macro_rules! select_renditions {
    () => {
        concat!("SELECT ", rendition_columns!(), " FROM renditions r ")
    };
}

macro_rules! rendition_columns {
    () => {
        "r.id AS rendition_id, r.image_id AS rendition_image_id, r.spec, r.format AS rendition_format, r.state, r.attempt, r.output_key, \
         r.output_size_bytes, r.output_sha256, r.output_width, r.output_height, r.output_frame_count, r.output_colour_type, \
         r.output_channel_bits, r.first_frame_only, r.failure_reason, r.failure_message, r.created_at AS rendition_created_at, r.finished_at"
    };
}

/// Selects the [`Job`] of a claimed rendition in `$source`; the source is `r`.
macro_rules! select_job {
    ($source:literal) => {
        concat!(
            "SELECT r.id AS rendition_id, r.spec, r.attempt, r.lease_token, r.requested, i.id AS image_id, i.owner_id, ",
            "i.format AS image_format, i.width, i.height, i.frame_count, o.key, o.size_bytes, o.sha256, o.block_crc32c, ",
            "u.quota_bytes, u.used_bytes FROM ",
            $source,
            " r JOIN images i ON i.id = r.image_id JOIN blobs o ON o.key = i.original_key JOIN users u ON u.id = i.owner_id "
        )
    };
}

/// Columns of [`OpenUpload`](crate::OpenUpload).
macro_rules! upload_columns {
    () => {
        "owner_id, upload_id, hold, key, place, size_bytes, block_crc32c, updated_at"
    };
}

/// Selects [`Change`]s.
macro_rules! select_changes {
    () => {
        "SELECT position, image_id, owner_id, viewer_id, kind, rendition_id, rendition_format, rendition_state, at FROM changes "
    };
}

/// Selects [`Totals`] but for its failures: one row, one snapshot. Reads users' rows and partial indexes, never a table of images.
macro_rules! select_totals {
    () => {
        "SELECT u.*, p.*, r.*, d.*, w.* FROM (
             SELECT count(*) FILTER (WHERE deleted_at IS NULL) AS user_count,
                 count(*) FILTER (WHERE deleted_at IS NULL AND disabled) AS disabled_user_count,
                 CAST(coalesce(sum(image_count) FILTER (WHERE deleted_at IS NULL), 0) AS BIGINT) AS image_count,
                 CAST(coalesce(sum(original_bytes) FILTER (WHERE deleted_at IS NULL), 0) AS BIGINT) AS original_bytes,
                 CAST(coalesce(sum(used_bytes - original_bytes) FILTER (WHERE deleted_at IS NULL), 0) AS BIGINT) AS rendition_bytes,
                 CAST(coalesce(sum(unfinished_bytes) FILTER (WHERE deleted_at IS NULL), 0) AS BIGINT) AS unfinished_bytes,
                 CAST(coalesce(sum(ready_count) FILTER (WHERE deleted_at IS NULL), 0) AS BIGINT) AS ready_count,
                 CAST(coalesce(sum(image_count) FILTER (WHERE deleted_at IS NOT NULL), 0) AS BIGINT) AS images_of_deleted_users
             FROM users
         ) u, (
             SELECT count(*) AS pending_count, min(due_at) AS pending_since FROM renditions WHERE state = 'pending'
         ) p, (
             SELECT count(*) AS running_count, min(lease_until) AS first_lease_until FROM renditions WHERE state = 'running'
         ) r, (
             SELECT count(*) AS doomed_blob_count, min(doomed_at) AS doomed_since FROM blobs WHERE doomed_at IS NOT NULL
         ) d, (
             SELECT count(*) AS open_write_count, min(begun_at) AS open_write_since FROM writes
         ) w"
    };
}

/// Selects the [`FailedCount`]s.
macro_rules! select_failed_counts {
    () => {
        "SELECT failure_reason, count(*) AS failed_count FROM renditions WHERE state = 'failed' GROUP BY failure_reason"
    };
}

/// Selects [`FailedRendition`]s of the failed renditions in `$source`, the latest failure first.
macro_rules! select_failures {
    ($source:literal) => {
        concat!(
            "SELECT i.file_name, i.owner_id, u.name AS owner_name, ",
            rendition_columns!(),
            " FROM ",
            $source,
            " r JOIN images i ON i.id = r.image_id JOIN users u ON u.id = i.owner_id
              ORDER BY r.finished_at DESC, r.id DESC"
        )
    };
}

mod asked;
mod integrity;
mod links;

pub(super) use self::asked::{Asked, select_asked};
use self::codec::{
    access, change_kind, checksums_from_bytes, colour_type, failure_reason, format, formats, role, scopes, sha256, share_role, spec, state,
    thumbhash, undecodable,
};
pub(super) use self::codec::{checksums_to_bytes, format_list, labels_json, scope_list};
pub(super) use self::integrity::{select_originals, select_outputs};
pub(super) use self::links::link_columns;
pub(super) use {
    image_columns, image_joins, rendition_columns, select_changes, select_failed_counts, select_failures, select_images, select_job,
    select_renditions, select_seen_images, select_totals, token_columns, upload_columns, user_columns,
};

/// An image, and one of its renditions if it has any.
pub(super) struct ImageRow {
    image: Image,
    rendition: Option<Rendition>,
}

/// Puts images together from their rows, whatever the order of these.
pub(super) fn images(rows: Vec<ImageRow>) -> std::collections::BTreeMap<ImageId, Image> {
    let mut images = std::collections::BTreeMap::new();
    for row in rows {
        let image: &mut Image = images.entry(row.image.id).or_insert(row.image);
        image.renditions.extend(row.rendition);
    }
    for image in images.values_mut() {
        image.renditions.sort_unstable_by_key(|rendition| rendition.id);
    }
    images
}

/// The image, if that user may edit it. Asked while nobody else changes with whom it is shared.
pub(super) fn editable(seen: Option<SeenImage>) -> Result<Image, Denied> {
    let seen = seen.ok_or(Denied::Missing)?;
    if seen.access >= Access::Editor { Ok(seen.image) } else { Err(Denied::NotPermitted) }
}

/// Why `spec` is not recorded for this image; `None` when it is. One decision for both databases, made while nobody else changes the image.
pub(super) fn refused_rendition(image: Image, owner: Option<&User>, spec: &Spec, max_renditions: u32) -> Option<Requested> {
    let rendition_count = image.renditions.len() as u32;
    let wanted = spec.canonical();
    if let Some(standing) = image.renditions.into_iter().find(|rendition| rendition.spec == wanted) {
        return Some(Requested::Standing(standing));
    }
    match owner {
        None => Some(Requested::Denied(Denied::Missing)),
        _ if rendition_count >= max_renditions => Some(Requested::TooMany { rendition_count }),
        Some(&User { quota_bytes, used_bytes, .. }) if used_bytes >= quota_bytes => Some(Requested::OverQuota { quota_bytes, used_bytes }),
        Some(_) => None,
    }
}

/// The same of an image as a user sees it.
pub(super) struct SeenRow {
    row: ImageRow,
    access: Access,
    named: bool,
}

/// Puts images together from their rows, whatever the order of these; the smallest id first.
pub(super) fn seen_images(rows: Vec<SeenRow>) -> Vec<SeenImage> {
    let seen: HashMap<_, _> = rows.iter().map(|row| (row.row.image.id, (row.access, row.named))).collect();
    let images = images(rows.into_iter().map(|row| row.row).collect());
    images
        .into_values()
        .map(|image| {
            let (access, named) = seen[&image.id];
            SeenImage { image, access, named }
        })
        .collect()
}

from_row!(User, |row| User {
    id: UserId(row.try_get("user_id")?),
    name: row.try_get("name")?,
    role: role(&row.try_get::<String, _>("role")?),
    password_hash: row.try_get("password_hash")?,
    disabled: row.try_get("disabled")?,
    quota_bytes: row.try_get::<i64, _>("quota_bytes")? as u64,
    used_bytes: row.try_get::<i64, _>("used_bytes")? as u64,
    unfinished_bytes: row.try_get::<i64, _>("unfinished_bytes")? as u64,
    created_at: Timestamp(row.try_get("created_at")?),
});

from_row!(Token, |row| Token {
    id: TokenId(row.try_get("token_id")?),
    user: UserId(row.try_get("token_user_id")?),
    label: row.try_get("label")?,
    scopes: scopes(&row.try_get::<String, _>("scopes")?),
    created_at: Timestamp(row.try_get("token_created_at")?),
    expires_at: row.try_get::<Option<i64>, _>("expires_at")?.map(Timestamp),
});

from_row!(SignedIn, |row| SignedIn { token: Token::from_row(row)?, user: User::from_row(row)? });

from_row!(ImageHeader, |row| ImageHeader {
    format: format(&row.try_get::<String, _>("image_format")?),
    width: row.try_get::<i64, _>("width")? as u32,
    height: row.try_get::<i64, _>("height")? as u32,
    frame_count: row.try_get::<i64, _>("frame_count")? as u32,
});

from_row!(ImageRow, |row| ImageRow {
    image: Image {
        id: ImageId(row.try_get("image_id")?),
        owner: UserId(row.try_get("owner_id")?),
        file_name: row.try_get("file_name")?,
        header: ImageHeader::from_row(row)?,
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
        sha256: sha256("sha256", row.try_get("sha256")?)?,
        thumbhash: row.try_get::<Option<Vec<u8>>, _>("thumbhash")?.map(|bytes| thumbhash(&bytes)).transpose()?,
        blob: BlobKey(row.try_get("original_key")?),
        labels: serde_json::from_str(&row.try_get::<String, _>("labels")?).map_err(|error| undecodable("labels", error))?,
        created_at: Timestamp(row.try_get("image_created_at")?),
        updated_at: Timestamp(row.try_get("updated_at")?),
        renditions: Vec::new(),
    },
    rendition: match row.try_get::<Option<i64>, _>("rendition_id")? {
        Some(_) => Some(Rendition::from_row(row)?),
        None => None,
    },
});

from_row!(SeenRow, |row| SeenRow {
    row: ImageRow::from_row(row)?,
    access: access(&row.try_get::<String, _>("access")?),
    named: row.try_get("named")?,
});

from_row!(Share, |row| {
    let name = row.try_get::<String, _>("user_name")?;
    Share {
        party: if name.is_empty() { Party::Everyone } else { Party::User(name) },
        role: share_role(&row.try_get::<String, _>("role")?),
        created_at: Timestamp(row.try_get("created_at")?),
    }
});

from_row!(Rendition, |row| {
    let state = state(&row.try_get::<String, _>("state")?);
    Rendition {
        id: RenditionId(row.try_get("rendition_id")?),
        image: ImageId(row.try_get("rendition_image_id")?),
        spec: spec(&row.try_get::<String, _>("spec")?),
        format: format(&row.try_get::<String, _>("rendition_format")?),
        state,
        attempt: row.try_get::<i64, _>("attempt")? as u32,
        output: if state == RenditionState::Ready { Some(Output::from_row(row)?) } else { None },
        failure: if state == RenditionState::Failed { Some(Failure::from_row(row)?) } else { None },
        created_at: Timestamp(row.try_get("rendition_created_at")?),
        finished_at: row.try_get::<Option<i64>, _>("finished_at")?.map(Timestamp),
    }
});

from_row!(Output, |row| Output {
    blob: BlobKey(row.try_get("output_key")?),
    size_bytes: row.try_get::<i64, _>("output_size_bytes")? as u64,
    sha256: sha256("output_sha256", row.try_get("output_sha256")?)?,
    picture: Picture {
        width: row.try_get::<i64, _>("output_width")? as u32,
        height: row.try_get::<i64, _>("output_height")? as u32,
        frame_count: row.try_get::<i64, _>("output_frame_count")? as u32,
        first_frame_only: row.try_get("first_frame_only")?,
    },
    colours: match row.try_get::<Option<String>, _>("output_colour_type")? {
        Some(name) => {
            let channel_bits = row.try_get::<i64, _>("output_channel_bits")? as u8;
            colour_type(&name).map(|kind| Colours { kind, channel_bits })
        }
        None => None,
    },
});

from_row!(Failure, |row| Failure {
    reason: failure_reason(&row.try_get::<String, _>("failure_reason")?),
    message: row.try_get("failure_message")?,
});

from_row!(FailedRendition, |row| FailedRendition {
    rendition: Rendition::from_row(row)?,
    failed_at: Timestamp(row.try_get("finished_at")?),
    file_name: row.try_get("file_name")?,
    owner: UserId(row.try_get("owner_id")?),
    owner_name: row.try_get("owner_name")?,
});

/// How many renditions failed for one reason.
pub(super) struct FailedCount(pub(super) FailureReason, pub(super) u64);

from_row!(FailedCount, |row| FailedCount(
    failure_reason(&row.try_get::<String, _>("failure_reason")?),
    row.try_get::<i64, _>("failed_count")? as u64,
));

from_row!(Totals, |row| Totals {
    user_count: row.try_get::<i64, _>("user_count")? as u64,
    disabled_user_count: row.try_get::<i64, _>("disabled_user_count")? as u64,
    image_count: row.try_get::<i64, _>("image_count")? as u64,
    original_bytes: row.try_get::<i64, _>("original_bytes")? as u64,
    rendition_bytes: row.try_get::<i64, _>("rendition_bytes")? as u64,
    unfinished_bytes: row.try_get::<i64, _>("unfinished_bytes")? as u64,
    ready_count: row.try_get::<i64, _>("ready_count")? as u64,
    pending_count: row.try_get::<i64, _>("pending_count")? as u64,
    pending_since: row.try_get::<Option<i64>, _>("pending_since")?.map(Timestamp),
    running_count: row.try_get::<i64, _>("running_count")? as u64,
    first_lease_until: row.try_get::<Option<i64>, _>("first_lease_until")?.map(Timestamp),
    failed_counts: Vec::new(),
    images_of_deleted_users: row.try_get::<i64, _>("images_of_deleted_users")? as u64,
    doomed_blob_count: row.try_get::<i64, _>("doomed_blob_count")? as u64,
    doomed_since: row.try_get::<Option<i64>, _>("doomed_since")?.map(Timestamp),
    open_write_count: row.try_get::<i64, _>("open_write_count")? as u64,
    open_write_since: row.try_get::<Option<i64>, _>("open_write_since")?.map(Timestamp),
});

/// Puts the numbers of failures into [`Totals`], in the order of their reasons.
pub(super) fn totals(mut totals: Totals, failed: &[FailedCount]) -> Totals {
    let count_of = |reason| failed.iter().filter(|count| count.0 == reason).map(|count| count.1).sum();
    let counts = FailureReason::ALL.into_iter().chain([FailureReason::Unknown]).map(|reason| (reason, count_of(reason)));
    totals.failed_counts = counts.filter(|(_, count)| *count > 0).collect();
    totals
}

from_row!(StoredBlob, |row| StoredBlob {
    key: BlobKey(row.try_get("key")?),
    digest: ContentDigest {
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
        sha256: sha256("sha256", row.try_get("sha256")?)?,
        block_crc32c: checksums_from_bytes(&row.try_get::<Vec<u8>, _>("block_crc32c")?),
    },
});

from_row!(QuotaUsedUp, |row| QuotaUsedUp {
    quota_bytes: row.try_get::<i64, _>("quota_bytes")? as u64,
    used_bytes: row.try_get::<i64, _>("used_bytes")? as u64,
});

from_row!(Job, |row| Job {
    rendition: RenditionId(row.try_get("rendition_id")?),
    image: ImageId(row.try_get("image_id")?),
    owner: UserId(row.try_get("owner_id")?),
    spec: spec(&row.try_get::<String, _>("spec")?),
    header: ImageHeader::from_row(row)?,
    original: StoredBlob::from_row(row)?,
    over_quota: if row.try_get("requested")? {
        Some(QuotaUsedUp::from_row(row)?).filter(|quota| quota.used_bytes >= quota.quota_bytes)
    } else {
        None
    },
    attempt: row.try_get::<i64, _>("attempt")? as u32,
    lease: LeaseToken(row.try_get("lease_token")?),
});

from_row!(Change, |row| Change {
    position: row.try_get("position")?,
    image: ImageId(row.try_get("image_id")?),
    owner: UserId(row.try_get("owner_id")?),
    viewer: row.try_get::<Option<i64>, _>("viewer_id")?.map(UserId),
    kind: change_kind(&row.try_get::<String, _>("kind")?),
    rendition: match row.try_get::<Option<i64>, _>("rendition_id")? {
        Some(id) => Some(ChangedRendition {
            id: RenditionId(id),
            format: format(&row.try_get::<String, _>("rendition_format")?),
            state: state(&row.try_get::<String, _>("rendition_state")?),
        }),
        None => None,
    },
    at: Timestamp(row.try_get("at")?),
});

from_row!(OpenUpload, |row| OpenUpload {
    owner: UserId(row.try_get("owner_id")?),
    upload_id: row.try_get("upload_id")?,
    hold: Hold(row.try_get("hold")?),
    partial: PartialBlob {
        key: BlobKey(row.try_get("key")?),
        place: row.try_get("place")?,
        size_bytes: row.try_get::<i64, _>("size_bytes")? as u64,
        block_crc32c: checksums_from_bytes(&row.try_get::<Vec<u8>, _>("block_crc32c")?),
    },
    updated_at: Timestamp(row.try_get("updated_at")?),
});

from_row!(OpenWrite, |row| OpenWrite { key: BlobKey(row.try_get("key")?), multipart_id: row.try_get("multipart_id")? });

from_row!(Worker, |row| Worker {
    id: row.try_get("id")?,
    version: row.try_get("version")?,
    input_formats: formats(&row.try_get::<String, _>("input_formats")?),
    output_formats: formats(&row.try_get::<String, _>("output_formats")?),
    sandbox: row.try_get("sandbox")?,
    slots: row.try_get::<i64, _>("slots")? as u32,
    started_at: Timestamp(row.try_get("started_at")?),
    seen_at: Timestamp(row.try_get("seen_at")?),
});
