use std::ops::Range;

/// What a `Range` header asks for of a picture of that size (RFC 9110, section 14.1.2).
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// All of it: there is no such header, or one that means nothing here, such as one with several ranges.
    All,
    Part(Range<u64>),
    /// Nothing that there is.
    Nothing,
}

pub(crate) fn asked(header: Option<&str>, size: u64) -> Asked {
    let Some(range) = header.and_then(|header| header.split_once('=')).filter(|(unit, _)| unit.trim().eq_ignore_ascii_case("bytes")) else {
        return Asked::All;
    };
    let Some((first, last)) = range.1.trim().split_once('-') else { return Asked::All };
    // A number that is too large for a size is only larger than any size.
    let number = |text: &str| match text.parse::<u64>() {
        Ok(number) if !text.starts_with('+') => Some(number),
        _ if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) => Some(u64::MAX),
        _ => None,
    };
    let part = match (first, last, number(first), number(last)) {
        ("", _, _, Some(suffix)) => size.saturating_sub(suffix)..size,
        (_, "", Some(first), _) => first..size,
        (_, _, Some(first), Some(last)) if first <= last => first..last.saturating_add(1).min(size),
        _ => return Asked::All,
    };
    if part.start < part.end { Asked::Part(part) } else { Asked::Nothing }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_range_is_served_and_what_means_nothing_is_ignored() {
        let ten = |header| asked(Some(header), 10);
        assert_eq!(ten("bytes=0-0"), Asked::Part(0..1));
        assert_eq!(ten("bytes=4-"), Asked::Part(4..10));
        assert_eq!(ten("Bytes=4-99"), Asked::Part(4..10));
        assert_eq!(ten("bytes=-3"), Asked::Part(7..10));
        assert_eq!(ten("bytes=-99"), Asked::Part(0..10));
        assert_eq!(ten("bytes=0-99999999999999999999"), Asked::Part(0..10));
        for nothing in ["bytes=10-", "bytes=10-12", "bytes=-0", "bytes=99999999999999999999-"] {
            assert_eq!(ten(nothing), Asked::Nothing, "{nothing}");
        }
        for all in ["bytes=", "bytes=-", "bytes=3-2", "bytes=x-3", "bytes=0-1,3-4", "lines=0-1", "bytes", "bytes=+1-2"] {
            assert_eq!(ten(all), Asked::All, "{all}");
        }
        assert_eq!(asked(None, 10), Asked::All);
        assert_eq!(asked(Some("bytes=0-"), 0), Asked::Nothing);
    }
}
