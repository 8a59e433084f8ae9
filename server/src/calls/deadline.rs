use std::time::Duration;

use axum::http::HeaderMap;

use crate::status::Refusal;

const HEADER: &str = "grpc-timeout";
/// As many digits as gRPC allows.
const MAX_DIGITS: usize = 8;
/// The longest that a call is timed for; whoever asks for more means "as long as it takes".
const LONGEST: Duration = Duration::from_hours(24 * 365);

/// How long the caller gives the call: up to 8 digits and one of the units H, M, S, m, u, n, as "gRPC over HTTP/2" has it.
pub(super) fn timeout(headers: &HeaderMap) -> Result<Option<Duration>, Refusal> {
    let Some(value) = headers.get(HEADER) else { return Ok(None) };
    let text = value.to_str().unwrap_or("?");
    match parse(text) {
        Some(timeout) => Ok(Some(timeout.min(LONGEST))),
        None => Err(Refusal::field(HEADER, format_args!("must be 1 to 8 digits and one of the units H, M, S, m, u, n, not {text:?}"))),
    }
}

fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > MAX_DIGITS || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(count * 3_600),
        "M" => Duration::from_secs(count * 60),
        "S" => Duration::from_secs(count),
        "m" => Duration::from_millis(count),
        "u" => Duration::from_micros(count),
        "n" => Duration::from_nanos(count),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    fn of(value: &'static str) -> Result<Option<Duration>, Code> {
        let headers = HeaderMap::from_iter([(HEADER.parse().expect("a name"), value.parse().expect("a value"))]);
        timeout(&headers).map_err(|refusal| Status::from(refusal).code())
    }

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        assert_eq!(timeout(&HeaderMap::new()).expect("none"), None);
        let cases = [("1H", 3_600_000), ("2M", 120_000), ("3S", 3_000), ("4m", 4), ("5000u", 5), ("6000000n", 6), ("0n", 0)];
        for (text, milliseconds) in cases {
            assert_eq!(of(text), Ok(Some(Duration::from_millis(milliseconds))), "{text}");
        }
        assert_eq!(of("99999999H"), Ok(Some(LONGEST)), "longer than anybody lives");
        for text in ["", "5", "S", "-1S", "1.5S", "1 S", "1s", "123456789S", "1\u{e9}", "+1S"] {
            assert_eq!(of(text), Err(Code::InvalidArgument), "{text:?}");
        }
    }
}
