//! Between protobuf and the domain: the one place where requests are parsed. Inner code never checks again.

use std::time::Duration;

use prost_types::{Duration as ProtoDuration, FieldMask, Timestamp as ProtoTimestamp};
use tintype_proto::v1;
use tintype_store::{
    Access, ColourType, FailureReason, Format, Image, ImageFilter, ImageId, Rendition, RenditionState, Role, Scope, Timestamp, Token, User,
    UserChange, rendition_file_name,
};
use unicode_normalization::UnicodeNormalization;

use crate::{
    limits::Limits,
    status::Refusal,
    wire_edits,
    wire_shares::{owners, proto_access},
};

/// An id of a request: from 1.
pub(crate) fn id(field: &'static str, value: i64) -> Result<i64, Refusal> {
    if value > 0 { Ok(value) } else { Err(Refusal::field(field, format_args!("must be 1 or more, not {value}"))) }
}

/// A size or an offset of a request: from 0.
pub(crate) fn size(field: &'static str, value: i64) -> Result<u64, Refusal> {
    u64::try_from(value).map_err(|_| Refusal::field(field, format_args!("must be 0 or more, not {value}")))
}

/// A SHA-256 that may be left out.
pub(crate) fn sha256(field: &'static str, value: &[u8]) -> Result<Option<[u8; 32]>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    let digest = value.try_into().map_err(|_| Refusal::field(field, format_args!("must have 32 bytes, not {}", value.len())))?;
    Ok(Some(digest))
}

/// A text of a bounded number of bytes, at least one.
pub(crate) fn text(field: &'static str, value: String, max_bytes: usize) -> Result<String, Refusal> {
    match value.len() {
        0 => Err(Refusal::field(field, "must not be empty")),
        len if len > max_bytes => Err(Refusal::field(field, format_args!("must have {max_bytes} bytes at most, not {len}"))),
        _ => Ok(value),
    }
}

/// A user's name.
pub(crate) fn username(field: &'static str, value: String) -> Result<String, Refusal> {
    no_control(field, text(field, value, Limits::MAX_USERNAME_BYTES)?)
}

/// A user's password.
pub(crate) fn password(field: &'static str, value: String) -> Result<String, Refusal> {
    text(field, value, Limits::MAX_PASSWORD_BYTES)
}

/// What a token is for; may be empty.
pub(crate) fn label(field: &'static str, value: String) -> Result<String, Refusal> {
    if value.is_empty() {
        return Ok(value);
    }
    no_control(field, text(field, value, Limits::MAX_LABEL_BYTES)?)
}

fn no_control(field: &'static str, value: String) -> Result<String, Refusal> {
    match value.chars().find(|c| c.is_control()) {
        Some(bad) => Err(Refusal::field(field, format_args!("must not contain {bad:?}"))),
        None => Ok(value),
    }
}

/// How long a token is good.
pub(crate) fn ttl(field: &'static str, value: ProtoDuration) -> Result<Duration, Refusal> {
    duration(field, value, Limits::MAX_TTL)
}

/// A time from a second up to `max`, which is of whole days or whole minutes.
pub(crate) fn duration(field: &'static str, value: ProtoDuration, max: Duration) -> Result<Duration, Refusal> {
    const SECOND: Duration = Duration::from_secs(1);
    // By hand: the conversion of prost-types overflows on what is far out of range.
    let parts = u64::try_from(value.seconds).ok().zip(u32::try_from(value.nanos).ok().filter(|nanos| *nanos < 1_000_000_000));
    let ttl = parts.map(|(seconds, nanos)| Duration::new(seconds, nanos)).filter(|ttl| (SECOND..=max).contains(ttl));
    let (count, unit) = match max.as_secs() {
        seconds if seconds % 86_400 == 0 => (seconds / 86_400, "days"),
        seconds => (seconds / 60, "minutes"),
    };
    ttl.ok_or_else(|| Refusal::field(field, format_args!("must be 1 second to {count} {unit}")))
}

/// What a token is good for, each scope once.
pub(crate) fn scopes(field: &'static str, values: &[i32]) -> Result<Vec<Scope>, Refusal> {
    let known = |value: i32| Scope::ALL.into_iter().find(|scope| proto_scope(*scope) as i32 == value);
    if let Some(bad) = values.iter().find(|value| known(**value).is_none()) {
        return Err(Refusal::field(field, format_args!("has no scope {bad}")));
    }
    Ok(Scope::ALL.into_iter().filter(|scope| values.contains(&(proto_scope(*scope) as i32))).collect())
}

/// A role of a request; `None` when it is left out.
pub(crate) fn role(field: &'static str, value: i32) -> Result<Option<Role>, Refusal> {
    match v1::Role::try_from(value) {
        Ok(v1::Role::Unspecified) => Ok(None),
        Ok(v1::Role::User) => Ok(Some(Role::User)),
        Ok(v1::Role::Admin) => Ok(Some(Role::Admin)),
        Err(_) => Err(Refusal::field(field, format_args!("has no role {value}"))),
    }
}

/// The fields of a user that a mask names.
pub(crate) fn user_change(field: &'static str, user: &v1::User, mask: &FieldMask) -> Result<UserChange, Refusal> {
    let mut change = UserChange::default();
    for path in &mask.paths {
        match path.as_str() {
            "role" => {
                let missing = || Refusal::field("user.role", "must be said when the mask names it");
                change.role = Some(role("user.role", user.role)?.ok_or_else(missing)?);
            }
            "disabled" => change.disabled = Some(user.disabled),
            "quota_bytes" => change.quota_bytes = Some(size("user.quota_bytes", user.quota_bytes)?),
            other => return Err(Refusal::field(field, format_args!("must name role, disabled or quota_bytes, not {other:?}"))),
        }
    }
    Ok(change)
}

/// A file name in Unicode NFC: metadata that people see and browsers save by, never part of a path here.
pub(crate) fn file_name(field: &'static str, value: &str) -> Result<String, Refusal> {
    let name: String = value.nfc().collect();
    if name.len() > Limits::MAX_FILE_NAME_BYTES {
        let (limit, seen) = (Limits::MAX_FILE_NAME_BYTES, name.len());
        let refusal = Refusal::field(field, format_args!("must have {limit} bytes at most, not {seen} (max_file_name_bytes)"));
        return Err(refusal.with("limit", "max_file_name_bytes").with("value", limit).with("seen", seen));
    }
    let name = text(field, name, Limits::MAX_FILE_NAME_BYTES)?;
    if let Some(bad) = name.chars().find(|c| c.is_control() || matches!(c, '/' | '\\')) {
        return Err(Refusal::field(field, format_args!("must not contain {bad:?}")));
    }
    if name == "." || name == ".." {
        return Err(Refusal::field(field, format_args!("must not be {name:?}")));
    }
    Ok(name)
}

/// A client's name for an upload; `None` when it is left out.
pub(crate) fn request_id(field: &'static str, value: String) -> Result<Option<String>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    let value = text(field, value, Limits::MAX_REQUEST_ID_BYTES)?;
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(Some(value))
    } else {
        Err(Refusal::field(field, "must be printable ASCII without spaces"))
    }
}

/// A format of a request; `None` when it is left out.
pub(crate) fn format(field: &'static str, value: i32) -> Result<Option<Format>, Refusal> {
    let wire = v1::ImageFormat::try_from(value).map_err(|_| Refusal::field(field, format_args!("has no format {value}")))?;
    Ok(Format::ALL.into_iter().find(|format| proto_format(*format) == wire))
}

/// A page size of a request.
pub(crate) fn page_size(value: i32) -> Result<u32, Refusal> {
    match u32::try_from(value) {
        Ok(0) => Ok(Limits::DEFAULT_PAGE_SIZE),
        Ok(size) if size <= Limits::MAX_PAGE_SIZE => Ok(size),
        _ => {
            let refusal = Refusal::field("page_size", format_args!("must be 0 to {}, not {value}", Limits::MAX_PAGE_SIZE));
            Err(refusal.with("limit", "max_page_size").with("value", Limits::MAX_PAGE_SIZE).with("seen", value))
        }
    }
}

/// A filter of a request.
pub(crate) fn filter(value: v1::ImageFilter) -> Result<ImageFilter, Refusal> {
    let formats = value.formats.into_iter().map(|value| {
        format("filter.formats", value)?.ok_or_else(|| Refusal::field("filter.formats", "must not contain IMAGE_FORMAT_UNSPECIFIED"))
    });
    let states = value.rendition_states.into_iter().map(|value| {
        let wire = v1::RenditionState::try_from(value).ok();
        let state = RenditionState::ALL.into_iter().find(|state| Some(proto_state(*state)) == wire);
        state.ok_or_else(|| Refusal::field("filter.rendition_states", format_args!("has no state {value}")))
    });
    let contains = value.file_name_contains;
    Ok(ImageFilter {
        owners: owners("filter.owner", value.owner)?,
        formats: formats.collect::<Result<_, _>>()?,
        rendition_states: states.collect::<Result<_, _>>()?,
        file_name_contains: if contains.is_empty() {
            None
        } else {
            Some(text("filter.file_name_contains", contains.nfc().collect(), Limits::MAX_FILE_NAME_BYTES)?)
        },
        created_from: value.created_from.map(|value| time("filter.created_from", value)).transpose()?,
        created_before: value.created_before.map(|value| time("filter.created_before", value)).transpose()?,
        labels: wire_edits::labels("filter.labels", value.labels)?,
    })
}

pub(crate) fn time(field: &'static str, value: ProtoTimestamp) -> Result<Timestamp, Refusal> {
    // The bounds of google.protobuf.Timestamp: years 1 to 9999.
    const SECONDS: std::ops::RangeInclusive<i64> = -62_135_596_800..=253_402_300_799;
    if SECONDS.contains(&value.seconds) && (0..1_000_000_000).contains(&value.nanos) {
        Ok(Timestamp(value.seconds * 1_000_000 + i64::from(value.nanos) / 1000))
    } else {
        Err(Refusal::field(field, "is not a time of the years 1 to 9999"))
    }
}

pub(crate) fn proto_time(value: Timestamp) -> ProtoTimestamp {
    ProtoTimestamp { seconds: value.0.div_euclid(1_000_000), nanos: (value.0.rem_euclid(1_000_000) * 1000) as i32 }
}

pub(crate) fn proto_format(format: Format) -> v1::ImageFormat {
    match format {
        Format::Jpeg => v1::ImageFormat::Jpeg,
        Format::Png => v1::ImageFormat::Png,
        Format::WebP => v1::ImageFormat::Webp,
        Format::Gif => v1::ImageFormat::Gif,
        Format::Tiff => v1::ImageFormat::Tiff,
        Format::Bmp => v1::ImageFormat::Bmp,
        Format::Ico => v1::ImageFormat::Ico,
        Format::Avif => v1::ImageFormat::Avif,
        Format::Qoi => v1::ImageFormat::Qoi,
        Format::Pnm => v1::ImageFormat::Pnm,
        Format::Unknown => v1::ImageFormat::Unspecified,
    }
}

pub(crate) fn proto_state(state: RenditionState) -> v1::RenditionState {
    match state {
        RenditionState::Pending => v1::RenditionState::Pending,
        RenditionState::Running => v1::RenditionState::Running,
        RenditionState::Ready => v1::RenditionState::Ready,
        RenditionState::Failed => v1::RenditionState::Failed,
        RenditionState::Unknown => v1::RenditionState::Unspecified,
    }
}

pub(crate) fn proto_reason(reason: FailureReason) -> v1::FailureReason {
    match reason {
        FailureReason::CorruptInput => v1::FailureReason::CorruptInput,
        FailureReason::UnsupportedInput => v1::FailureReason::UnsupportedInput,
        FailureReason::UnsupportedOutput => v1::FailureReason::UnsupportedOutput,
        FailureReason::ResourceLimit => v1::FailureReason::ResourceLimit,
        FailureReason::DecoderTimeout => v1::FailureReason::DecoderTimeout,
        FailureReason::DecoderCrash => v1::FailureReason::DecoderCrash,
        FailureReason::AttemptsExhausted => v1::FailureReason::AttemptsExhausted,
        FailureReason::OriginalDamaged => v1::FailureReason::OriginalDamaged,
        FailureReason::QuotaExceeded => v1::FailureReason::QuotaExceeded,
        FailureReason::Unknown => v1::FailureReason::Unspecified,
    }
}

/// A user, with what has arrived of unfinished uploads.
pub(crate) fn proto_user(user: &User, arriving_bytes: u64) -> v1::User {
    let role = match user.role {
        Role::User => v1::Role::User,
        Role::Admin => v1::Role::Admin,
        Role::Unknown => v1::Role::Unspecified,
    };
    v1::User {
        id: user.id.0,
        username: user.name.clone(),
        role: role.into(),
        create_time: Some(proto_time(user.created_at)),
        disabled: user.disabled,
        quota_bytes: user.quota_bytes as i64,
        used_bytes: user.used_bytes.saturating_add(user.unfinished_bytes).saturating_add(arriving_bytes) as i64,
    }
}

fn proto_scope(scope: Scope) -> v1::TokenScope {
    match scope {
        Scope::Read => v1::TokenScope::Read,
        Scope::Write => v1::TokenScope::Write,
        Scope::Admin => v1::TokenScope::Admin,
        Scope::Unknown => v1::TokenScope::Unspecified,
    }
}

pub(crate) fn proto_token(token: &Token) -> v1::TokenInfo {
    v1::TokenInfo {
        id: token.id.0,
        user_id: token.user.0,
        label: token.label.clone(),
        scopes: token.scopes.iter().map(|scope| proto_scope(*scope).into()).collect(),
        create_time: Some(proto_time(token.created_at)),
        expire_time: token.expires_at.map(proto_time),
    }
}

/// An image for somebody who has that access to it.
pub(crate) fn proto_image(image: Image, access: Access) -> v1::Image {
    v1::Image {
        id: image.id.0,
        owner_id: image.owner.0,
        file_name: image.file_name,
        format: proto_format(image.header.format).into(),
        size_bytes: image.size_bytes as i64,
        width: image.header.width as i32,
        height: image.header.height as i32,
        frame_count: image.header.frame_count as i32,
        sha256: image.sha256.to_vec().into(),
        create_time: Some(proto_time(image.created_at)),
        renditions: image.renditions.into_iter().map(proto_rendition).collect(),
        labels: image.labels,
        update_time: Some(proto_time(image.updated_at)),
        thumbhash: image.thumbhash.map(|hash| hash.as_bytes().to_vec().into()).unwrap_or_default(),
        access: proto_access(access).into(),
    }
}

pub(crate) fn proto_rendition(rendition: Rendition) -> v1::Rendition {
    let output = rendition.output.as_ref();
    let colours = output.and_then(|output| output.colours);
    v1::Rendition {
        id: rendition.id.0,
        image_id: rendition.image.0,
        format: proto_format(rendition.format).into(),
        state: proto_state(rendition.state).into(),
        file_name: rendition_file_name(rendition.format),
        size_bytes: output.map_or(0, |output| output.size_bytes as i64),
        width: output.map_or(0, |output| output.picture.width as i32),
        height: output.map_or(0, |output| output.picture.height as i32),
        frame_count: output.map_or(0, |output| output.picture.frame_count as i32),
        first_frame_only: output.is_some_and(|output| output.picture.first_frame_only),
        sha256: output.map(|output| output.sha256.to_vec().into()).unwrap_or_default(),
        attempt_count: rendition.attempt as i32,
        failure: rendition
            .failure
            .map(|failure| v1::RenditionFailure { reason: proto_reason(failure.reason).into(), message: failure.message }),
        create_time: Some(proto_time(rendition.created_at)),
        finish_time: rendition.finished_at.map(proto_time),
        spec: Some(wire_edits::proto_spec(&rendition.spec)),
        colour_type: colours.map(|colours| proto_colour_type(colours.kind)).unwrap_or_default().into(),
        bits_per_channel: colours.map_or(0, |colours| colours.channel_bits.into()),
    }
}

fn proto_colour_type(kind: ColourType) -> v1::ColourType {
    match kind {
        ColourType::Grey => v1::ColourType::Grey,
        ColourType::GreyAlpha => v1::ColourType::GreyAlpha,
        ColourType::Rgb => v1::ColourType::Rgb,
        ColourType::Rgba => v1::ColourType::Rgba,
        ColourType::Palette => v1::ColourType::Palette,
    }
}

/// The image of a request.
pub(crate) fn image_id(field: &'static str, value: i64) -> Result<ImageId, Refusal> {
    id(field, value).map(ImageId)
}

/// The images of a watch.
pub(crate) fn watched_images(ids: &[i64]) -> Result<Vec<ImageId>, Refusal> {
    let (limit, seen) = (Limits::MAX_WATCHED_IMAGES, ids.len());
    if seen > limit {
        let message = format!("{seen} images are more than the limit of {limit} (max_watched_images)");
        let refusal = Refusal::new(v1::ErrorReason::LimitExceeded, message);
        return Err(refusal.with("limit", "max_watched_images").with("value", limit).with("seen", seen));
    }
    ids.iter().map(|id| image_id("image_ids", *id)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_names_and_nothing_else() {
        assert_eq!(file_name("name", "Cafe\u{301}.png").expect("a name"), "Caf\u{e9}.png");
        for bad in ["", ".", "..", "../x.png", "a/b", "a\\b", "a\nb", "a\0b", "\u{85}", &"x".repeat(256)] {
            assert!(file_name("name", bad).is_err(), "{bad:?}");
        }
        assert!(file_name("name", &"x".repeat(255)).is_ok());
    }

    #[test]
    fn every_format_and_state_has_a_place_on_the_wire() {
        for name in Format::ALL {
            assert_eq!(format("format", proto_format(name).into()).expect("known"), Some(name));
        }
        assert!(format("format", 99).is_err());
        assert_eq!(format("format", 0).expect("unset"), None);
        let states = v1::ImageFilter { rendition_states: (1..=4).collect(), ..Default::default() };
        assert_eq!(filter(states).expect("known").rendition_states, RenditionState::ALL);
        assert!(filter(v1::ImageFilter { rendition_states: vec![0], ..Default::default() }).is_err());
    }

    #[test]
    fn tokens_last_a_second_to_ten_years() {
        let seconds = |seconds| ttl("ttl", ProtoDuration { seconds, nanos: 0 });
        assert_eq!(seconds(1).expect("a second"), Duration::from_secs(1));
        assert_eq!(seconds(3650 * 86_400).expect("ten years"), Limits::MAX_TTL);
        for bad in [i64::MIN, -1, 0, 3650 * 86_400 + 1, i64::MAX] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
        assert!(ttl("ttl", ProtoDuration { seconds: 0, nanos: 999_999_999 }).is_err());
    }

    #[test]
    fn scopes_are_known_and_count_once() {
        assert_eq!(scopes("scopes", &[3, 1, 3]).expect("known"), [Scope::Read, Scope::Admin]);
        assert_eq!(scopes("scopes", &[]).expect("none"), []);
        assert!(scopes("scopes", &[0]).is_err() && scopes("scopes", &[1, 4]).is_err());
    }

    #[test]
    fn only_what_the_mask_names_is_taken() {
        let user = v1::User { quota_bytes: 5, disabled: true, ..v1::User::default() };
        let of = |paths: &[&str]| user_change("update_mask", &user, &FieldMask { paths: paths.iter().map(ToString::to_string).collect() });
        let change = of(&["quota_bytes"]).expect("a change");
        assert_eq!((change.role, change.disabled, change.quota_bytes), (None, None, Some(5)));
        assert_eq!(of(&["disabled"]).expect("a change").disabled, Some(true));
        assert!(of(&["role"]).is_err(), "it is not said");
        assert!(of(&["username"]).is_err() && of(&["*"]).is_err());
    }

    #[test]
    fn odd_times_are_refused_and_even_ones_survive() {
        let at = Timestamp(-1);
        assert_eq!(time("t", proto_time(at)).expect("a time"), at);
        assert!(time("t", ProtoTimestamp { seconds: i64::MAX, nanos: 0 }).is_err());
        assert!(time("t", ProtoTimestamp { seconds: 0, nanos: -1 }).is_err());
    }
}
