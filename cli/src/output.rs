//! Results on standard output: tab separated text or JSON, each line whole and at once.

use std::{
    error::Error as _,
    io::{self, Write as _},
    time::{SystemTime, UNIX_EPOCH},
};

use data_encoding::{BASE64, HEXLOWER};
use serde_json::{Value, json};
use tintype_client::{Error, ErrorKind, Image, Rendition};

use crate::{args::OutputKind, exit::OutputClosed};

impl OutputKind {
    /// Prints the text or the JSON of a result.
    pub(crate) fn line(self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> anyhow::Result<()> {
        match self {
            OutputKind::Text => print(&text()),
            OutputKind::Json => print(&json().to_string()),
        }
    }
}

/// Prints a line and flushes it, so that a script can act on it at once.
pub(crate) fn print(line: &str) -> anyhow::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdout.flush()).map_err(output_error)
}

/// Tells a reader that has gone from an output that is broken.
pub(crate) fn output_error(error: io::Error) -> anyhow::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => OutputClosed.into(),
        _ => anyhow::Error::new(error).context("cannot write the output"),
    }
}

/// The same for an archive, which the client library writes.
pub(crate) fn archive_error(error: Error) -> anyhow::Error {
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>()).map(io::Error::kind);
    // A connection that broke is no reader that has gone.
    if error.kind() == ErrorKind::Local && cause == Some(io::ErrorKind::BrokenPipe) { OutputClosed.into() } else { error.into() }
}

/// Numbers of 64 bits are texts, as in the JSON of protobuf.
pub(crate) fn image_json(image: &Image) -> Value {
    json!({
        "id": image.id.to_string(),
        "owner_id": image.owner_id.to_string(),
        "access": image.access.to_string(),
        "file_name": image.file_name,
        "state": image.state().to_string(),
        "format": image.format.to_string(),
        "size_bytes": image.size_bytes.to_string(),
        "width": image.width,
        "height": image.height,
        "frame_count": image.frame_count,
        "sha256": HEXLOWER.encode(&image.sha256),
        "thumbhash": image.thumbhash.as_ref().map(|hash| BASE64.encode(hash)),
        "labels": image.labels,
        "create_time": utc(image.created_at),
        "update_time": utc(image.updated_at),
        "renditions": image.renditions.iter().map(rendition_json).collect::<Vec<_>>(),
    })
}

/// Id, file name, state and what was asked for.
pub(crate) fn rendition_line(rendition: &Rendition) -> String {
    format!("{}\t{}\t{}\t{}", rendition.id, rendition.file_name, rendition.state, rendition.spec)
}

/// Each label as `key=value` behind `before`.
pub(crate) fn labels_text(image: &Image, before: &str) -> String {
    image.labels.iter().flat_map(|(key, value)| [before, key, "=", value]).collect()
}

pub(crate) fn rendition_json(rendition: &Rendition) -> Value {
    json!({
        "id": rendition.id.to_string(),
        "image_id": rendition.image_id.to_string(),
        "file_name": rendition.file_name,
        "state": rendition.state.to_string(),
        "format": rendition.format.to_string(),
        "spec": rendition.spec.to_string(),
        "size_bytes": rendition.size_bytes.to_string(),
        "width": rendition.width,
        "height": rendition.height,
        "frame_count": rendition.frame_count,
        "first_frame_only": rendition.first_frame_only,
        "colour_type": rendition.colours.map(|colours| colours.colour_type.to_string()),
        "bits_per_channel": rendition.colours.map(|colours| colours.bits_per_channel),
        "sha256": rendition.sha256.map(|digest| HEXLOWER.encode(&digest)),
        "attempt_count": rendition.attempt_count,
        "failure": rendition.failure.as_ref().map(|failure| json!({ "reason": failure.reason, "message": failure.message })),
        "create_time": utc(rendition.created_at),
        "finish_time": rendition.finished_at.map(utc),
    })
}

/// As `2026-11-22T18:00:00Z`; moments before 1970 count as its first.
pub(crate) fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let (days, second_of_day) = (seconds / 86_400, seconds % 86_400);
    // Counted in years that begin in March, so that a leap day is the last of its year; day 0 is 0000-03-01.
    let day = days + 719_468;
    let (era, day_of_era) = (day / 146_097, day % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (second_of_day / 3_600, second_of_day / 60 % 60, second_of_day % 60);
    format!("{year:04}-{month:02}-{day_of_month:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_utc() {
        let cases = [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_400, "2000-02-29T00:00:00Z"),
            (951_868_799, "2000-02-29T23:59:59Z"),
            (1_795_392_000, "2026-11-23T00:00:00Z"),
            (4_107_542_399, "2100-02-28T23:59:59Z"),
            (4_107_542_400, "2100-03-01T00:00:00Z"),
        ];
        for (seconds, text) in cases {
            assert_eq!(utc(UNIX_EPOCH + Duration::from_secs(seconds)), text);
        }
    }
}
