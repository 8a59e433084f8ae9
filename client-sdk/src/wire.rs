//! Between messages and plain values. Numbers that make no sense become the nearest that do; what is missing altogether is an error.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tintype_proto::v1;

use crate::{
    DownloadInfo, Effort, Error, Event, Fit, Format, Image, Limits, Rendition, RenditionFailure, RenditionSpec, RenditionState, Result,
    Role, Scope, TokenInfo, User, colours::colours, shares,
};

pub(crate) fn image(image: Option<v1::Image>) -> Result<Image> {
    let image = image.ok_or_else(|| Error::bad_answer("the answer holds no image"))?;
    Ok(Image {
        id: image.id,
        owner_id: image.owner_id,
        format: format(image.format),
        size_bytes: unsigned(image.size_bytes),
        width: unsigned_32(image.width),
        height: unsigned_32(image.height),
        frame_count: unsigned_32(image.frame_count),
        sha256: digest(&image.sha256).ok_or_else(|| Error::bad_answer(format!("image {} has no SHA-256", image.id)))?,
        created_at: time(image.create_time.as_ref()),
        thumbhash: (!image.thumbhash.is_empty()).then(|| image.thumbhash.to_vec()),
        labels: image.labels,
        updated_at: time(image.update_time.as_ref().or(image.create_time.as_ref())),
        renditions: image.renditions.into_iter().map(rendition_value).collect(),
        access: shares::access(image.access),
        file_name: image.file_name,
    })
}

pub(crate) fn rendition(rendition: Option<v1::Rendition>) -> Result<Rendition> {
    rendition.map(rendition_value).ok_or_else(|| Error::bad_answer("the answer holds no rendition"))
}

fn rendition_value(rendition: v1::Rendition) -> Rendition {
    Rendition {
        id: rendition.id,
        image_id: rendition.image_id,
        format: format(rendition.format),
        spec: spec(rendition.spec.unwrap_or_else(|| v1::RenditionSpec { format: rendition.format, ..Default::default() })),
        state: rendition_state(rendition.state),
        size_bytes: unsigned(rendition.size_bytes),
        width: unsigned_32(rendition.width),
        height: unsigned_32(rendition.height),
        frame_count: unsigned_32(rendition.frame_count),
        first_frame_only: rendition.first_frame_only,
        colours: colours(rendition.colour_type, rendition.bits_per_channel),
        sha256: digest(&rendition.sha256),
        attempt_count: unsigned_32(rendition.attempt_count),
        failure: rendition.failure.map(|failure| RenditionFailure { reason: failure_reason(failure.reason), message: failure.message }),
        created_at: time(rendition.create_time.as_ref()),
        finished_at: rendition.finish_time.as_ref().map(|finished| time(Some(finished))),
        file_name: rendition.file_name,
    }
}

fn spec(spec: v1::RenditionSpec) -> RenditionSpec {
    let number = |number| Some(unsigned_32(number)).filter(|number| *number > 0);
    RenditionSpec {
        format: format(spec.format),
        quality: number(spec.quality),
        lossless: spec.lossless,
        width: number(spec.width),
        height: number(spec.height),
        fit: match v1::ResizeFit::try_from(spec.fit) {
            Ok(v1::ResizeFit::Unspecified | v1::ResizeFit::Contain) => Fit::Contain,
            Ok(v1::ResizeFit::Cover) => Fit::Cover,
            Ok(v1::ResizeFit::Fill) => Fit::Fill,
            Err(_) => Fit::Other(spec.fit),
        },
        enlarge: spec.enlarge,
        background: Some(spec.background).filter(|colour| !colour.is_empty()),
        effort: match v1::Effort::try_from(spec.effort) {
            Ok(v1::Effort::Fast) => Effort::Fast,
            Ok(v1::Effort::Unspecified | v1::Effort::Balanced) => Effort::Balanced,
            Ok(v1::Effort::Small) => Effort::Small,
            Err(_) => Effort::Other(spec.effort),
        },
        keep_metadata: spec.keep_metadata,
    }
}

pub(crate) fn fit_number(fit: Fit) -> i32 {
    match fit {
        Fit::Contain => v1::ResizeFit::Contain.into(),
        Fit::Cover => v1::ResizeFit::Cover.into(),
        Fit::Fill => v1::ResizeFit::Fill.into(),
        Fit::Other(number) => number,
    }
}

pub(crate) fn effort_number(effort: Effort) -> i32 {
    match effort {
        Effort::Fast => v1::Effort::Fast.into(),
        Effort::Balanced => v1::Effort::Balanced.into(),
        Effort::Small => v1::Effort::Small.into(),
        Effort::Other(number) => number,
    }
}

pub(crate) fn download_info(info: v1::DownloadInfo) -> Result<DownloadInfo> {
    Ok(DownloadInfo {
        image_id: info.image_id,
        rendition_id: (info.rendition_id != 0).then_some(info.rendition_id),
        format: format(info.format),
        size_bytes: unsigned(info.size_bytes),
        width: unsigned_32(info.width),
        height: unsigned_32(info.height),
        sha256: digest(&info.sha256).ok_or_else(|| Error::bad_answer("the download has no SHA-256"))?,
        offset_bytes: unsigned(info.offset_bytes),
        length_bytes: unsigned(info.length_bytes),
        not_modified: info.not_modified,
        file_name: info.file_name,
    })
}

/// `None` for an event that this crate does not know.
pub(crate) fn event(response: v1::WatchImagesResponse) -> Result<Option<Event>> {
    use v1::watch_images_response::Message;
    let at = time(response.change_time.as_ref());
    Ok(match response.message {
        Some(Message::Existing(existing)) => Some(Event::Existing(image(existing.image)?)),
        Some(Message::Created(created)) => Some(Event::Created { image: image(created.image)?, at }),
        Some(Message::RenditionChanged(v1::RenditionChanged { image: changed, rendition_id, state })) => {
            Some(Event::RenditionChanged { image: image(changed)?, rendition_id, state: rendition_state(state), at })
        }
        Some(Message::Updated(updated)) => Some(Event::Updated { image: image(updated.image)?, at }),
        Some(Message::Deleted(v1::ImageDeleted { image_id })) => Some(Event::Deleted { image_id, at }),
        Some(Message::CaughtUp(v1::CaughtUp {})) => Some(Event::CaughtUp),
        None => None,
    })
}

pub(crate) fn limits(answer: v1::GetLimitsResponse) -> Result<Limits> {
    let limits = answer.limits.ok_or_else(|| Error::bad_answer("the answer holds no limits"))?;
    Ok(Limits {
        max_file_bytes: unsigned(limits.max_file_bytes),
        max_side_pixels: unsigned_32(limits.max_side_pixels),
        max_frame_pixels: unsigned(limits.max_frame_pixels),
        max_total_pixels: unsigned(limits.max_total_pixels),
        max_frames: unsigned_32(limits.max_frames),
        conversion_timeout: duration(limits.conversion_timeout.as_ref()),
        conversion_memory_bytes: unsigned(limits.conversion_memory_bytes),
        max_attempts: unsigned_32(limits.max_attempts),
        max_file_name_bytes: unsigned_32(limits.max_file_name_bytes),
        max_streams_per_connection: unsigned_32(limits.max_streams_per_connection),
        advised_chunk_bytes: unsigned_32(limits.advised_chunk_bytes),
        max_chunk_bytes: unsigned_32(limits.max_chunk_bytes),
        stream_idle_timeout: duration(limits.stream_idle_timeout.as_ref()),
        min_stream_bytes_per_second: unsigned(limits.min_stream_bytes_per_second),
        default_page_size: unsigned_32(limits.default_page_size),
        max_page_size: unsigned_32(limits.max_page_size),
        max_wait: duration(limits.max_wait.as_ref()),
        user_quota_bytes: unsigned(limits.user_quota_bytes),
        requests_per_second: unsigned_32(limits.requests_per_second),
        request_burst: unsigned_32(limits.request_burst),
        max_calls_per_user: unsigned_32(limits.max_calls_per_user),
        max_watched_images: unsigned_32(limits.max_watched_images),
        watch_heartbeat: duration(limits.watch_heartbeat.as_ref()),
        max_renditions_per_image: unsigned_32(limits.max_renditions_per_image),
        max_labels_bytes: unsigned_32(limits.max_labels_bytes),
        max_shares_per_image: unsigned_32(limits.max_shares_per_image),
        upload_expiry: duration(limits.upload_expiry.as_ref()),
        max_upload_url_ttl: duration(limits.max_upload_url_ttl.as_ref()),
        max_download_url_ttl: duration(limits.max_download_url_ttl.as_ref()),
        max_bulk_pictures: unsigned_32(limits.max_bulk_pictures),
        input_formats: answer.input_formats.into_iter().map(format).collect(),
        output_formats: answer.output_formats.into_iter().map(format).collect(),
        automatic_formats: answer.automatic_formats.into_iter().map(format).collect(),
    })
}

impl From<v1::User> for User {
    fn from(user: v1::User) -> User {
        let role = match v1::Role::try_from(user.role) {
            Ok(v1::Role::User) => Role::User,
            Ok(v1::Role::Admin) => Role::Admin,
            Ok(v1::Role::Unspecified) | Err(_) => Role::Other(user.role),
        };
        User {
            id: user.id,
            role,
            created_at: time(user.create_time.as_ref()),
            disabled: user.disabled,
            quota_bytes: unsigned(user.quota_bytes),
            used_bytes: unsigned(user.used_bytes),
            user_name: user.username,
        }
    }
}

pub(crate) fn user(user: Option<v1::User>) -> Result<User> {
    user.map(User::from).ok_or_else(|| Error::bad_answer("the answer holds no user"))
}

pub(crate) fn role_number(role: Role) -> i32 {
    match role {
        Role::User => v1::Role::User.into(),
        Role::Admin => v1::Role::Admin.into(),
        Role::Other(number) => number,
    }
}

impl From<v1::TokenInfo> for TokenInfo {
    fn from(token: v1::TokenInfo) -> TokenInfo {
        TokenInfo {
            id: token.id,
            user_id: token.user_id,
            label: token.label,
            scopes: token.scopes.into_iter().map(scope).collect(),
            created_at: time(token.create_time.as_ref()),
            expires_at: token.expire_time.as_ref().map(|expires| time(Some(expires))),
        }
    }
}

fn scope(number: i32) -> Scope {
    match v1::TokenScope::try_from(number) {
        Ok(v1::TokenScope::Read) => Scope::Read,
        Ok(v1::TokenScope::Write) => Scope::Write,
        Ok(v1::TokenScope::Admin) => Scope::Admin,
        Ok(v1::TokenScope::Unspecified) | Err(_) => Scope::Other(number),
    }
}

pub(crate) fn scope_number(scope: Scope) -> i32 {
    match scope {
        Scope::Read => v1::TokenScope::Read.into(),
        Scope::Write => v1::TokenScope::Write.into(),
        Scope::Admin => v1::TokenScope::Admin.into(),
        Scope::Other(number) => number,
    }
}

pub(crate) fn proto_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration { seconds: signed(duration.as_secs()), nanos: duration.subsec_nanos().cast_signed() }
}

pub(crate) fn format(number: i32) -> Format {
    use v1::ImageFormat as Wire;
    match Wire::try_from(number) {
        Ok(Wire::Jpeg) => Format::Jpeg,
        Ok(Wire::Png) => Format::Png,
        Ok(Wire::Webp) => Format::WebP,
        Ok(Wire::Gif) => Format::Gif,
        Ok(Wire::Tiff) => Format::Tiff,
        Ok(Wire::Bmp) => Format::Bmp,
        Ok(Wire::Ico) => Format::Ico,
        Ok(Wire::Avif) => Format::Avif,
        Ok(Wire::Qoi) => Format::Qoi,
        Ok(Wire::Pnm) => Format::Pnm,
        Ok(Wire::Unspecified) | Err(_) => Format::Other(number),
    }
}

pub(crate) fn format_number(format: Format) -> i32 {
    use v1::ImageFormat as Wire;
    let known = match format {
        Format::Jpeg => Wire::Jpeg,
        Format::Png => Wire::Png,
        Format::WebP => Wire::Webp,
        Format::Gif => Wire::Gif,
        Format::Tiff => Wire::Tiff,
        Format::Bmp => Wire::Bmp,
        Format::Ico => Wire::Ico,
        Format::Avif => Wire::Avif,
        Format::Qoi => Wire::Qoi,
        Format::Pnm => Wire::Pnm,
        Format::Other(number) => return number,
    };
    known.into()
}

fn rendition_state(number: i32) -> RenditionState {
    use v1::RenditionState as Wire;
    match Wire::try_from(number) {
        Ok(Wire::Pending) => RenditionState::Pending,
        Ok(Wire::Running) => RenditionState::Running,
        Ok(Wire::Ready) => RenditionState::Ready,
        Ok(Wire::Failed) => RenditionState::Failed,
        Ok(Wire::Unspecified) | Err(_) => RenditionState::Other(number),
    }
}

pub(crate) fn rendition_state_number(state: RenditionState) -> i32 {
    use v1::RenditionState as Wire;
    let known = match state {
        RenditionState::Pending => Wire::Pending,
        RenditionState::Running => Wire::Running,
        RenditionState::Ready => Wire::Ready,
        RenditionState::Failed => Wire::Failed,
        RenditionState::Other(number) => return number,
    };
    known.into()
}

pub(crate) fn failure_reason(number: i32) -> String {
    match v1::FailureReason::try_from(number) {
        Ok(reason) => reason.as_str_name().trim_start_matches("FAILURE_REASON_").to_owned(),
        Err(_) => format!("REASON_{number}"),
    }
}

/// As 32 bytes, or `None` for any other length.
fn digest(bytes: &[u8]) -> Option<[u8; 32]> {
    bytes.try_into().ok()
}

pub(crate) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

pub(crate) fn unsigned_32(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// A size or an offset for the wire, where it is signed.
pub(crate) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A small number for the wire, where it is signed.
pub(crate) fn signed_32(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

pub(crate) fn duration(duration: Option<&prost_types::Duration>) -> Duration {
    let (seconds, nanos) = duration.map_or((0, 0), |duration| (duration.seconds, duration.nanos));
    Duration::from_secs(unsigned(seconds)).saturating_add(Duration::from_nanos(unsigned_32(nanos).into()))
}

/// The epoch when it is missing or lies beyond what the machine can tell.
pub(crate) fn time(timestamp: Option<&prost_types::Timestamp>) -> SystemTime {
    let (seconds, nanos) = timestamp.map_or((0, 0), |timestamp| (timestamp.seconds, timestamp.nanos));
    let whole = match u64::try_from(seconds) {
        Ok(after) => UNIX_EPOCH.checked_add(Duration::from_secs(after)),
        Err(_) => UNIX_EPOCH.checked_sub(Duration::from_secs(seconds.unsigned_abs())),
    };
    let nanos = Duration::from_nanos(nanos.clamp(0, 999_999_999).unsigned_abs().into());
    whole.and_then(|whole| whole.checked_add(nanos)).unwrap_or(UNIX_EPOCH)
}

pub(crate) fn timestamp(time: SystemTime) -> prost_types::Timestamp {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => prost_types::Timestamp { seconds: signed(after.as_secs()), nanos: after.subsec_nanos().cast_signed() },
        Err(error) => {
            // Before 1970 the seconds are rounded down, so that the nanoseconds always count forward.
            let before = error.duration();
            let part = before.subsec_nanos();
            let seconds = -signed(before.as_secs()) - i64::from(part > 0);
            prost_types::Timestamp { seconds, nanos: if part > 0 { 1_000_000_000 - part.cast_signed() } else { 0 } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_the_way_there_and_back() {
        let half = Duration::from_millis(1500);
        for moment in [UNIX_EPOCH, UNIX_EPOCH + half, UNIX_EPOCH - half, UNIX_EPOCH + Duration::from_secs(1_795_000_000)] {
            assert_eq!(time(Some(&timestamp(moment))), moment);
        }
    }

    #[test]
    fn odd_times_do_not_panic() {
        for (seconds, nanos) in [(i64::MIN, i32::MIN), (i64::MAX, i32::MAX), (0, -1)] {
            time(Some(&prost_types::Timestamp { seconds, nanos }));
            duration(Some(&prost_types::Duration { seconds, nanos }));
        }
        assert_eq!(time(Some(&prost_types::Timestamp { seconds: 0, nanos: -1 })), UNIX_EPOCH);
    }

    #[test]
    fn numbers_newer_than_this_crate_are_kept() {
        assert_eq!(format(77), Format::Other(77));
        assert_eq!(format_number(Format::Other(77)), 77);
        assert_eq!(rendition_state(9), RenditionState::Other(9));
        for known in Format::ALL {
            assert_eq!(format(format_number(known)), known);
        }
    }
}
