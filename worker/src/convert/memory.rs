//! How much memory a conversion is given, by what the header says.

use tintype_store::{ConversionLimits, ImageHeader, Spec};

/// What a pixel may take: two copies in 16 bit with alpha. Most take less, so this is a bound and no forecast.
const PIXEL_BYTES: u64 = 16;

/// How much more than that a decoder may ask for before the file is one whose header does not tell what is in it: rare kinds take several
/// copies, of 32 or 64 bit.
const MARGIN: u64 = 4;

/// For files so small that other things count.
const LEAST_BYTES: u64 = 64 << 20;

/// What a conversion of a file of so many bytes may take: file, pixels and result, or the limit of one conversion, which holds it anyway.
pub(crate) fn needed_bytes(size_bytes: u64, header: &ImageHeader, spec: &Spec, limits: &ConversionLimits) -> u64 {
    let pixels = u64::from(header.width) * u64::from(header.height);
    let made = match spec.resize {
        Some(resize) if resize.enlarge => limits.image.max_frame_pixels,
        _ => 0,
    };
    let needed = pixels.max(made).saturating_mul(PIXEL_BYTES).saturating_add(size_bytes.saturating_mul(2));
    needed.min(limits.memory_bytes)
}

/// The limits of one conversion, with no more memory than what is needed makes likely: many small files that hold something large cannot take
/// together what no budget counted.
pub(super) fn limits_of(size_bytes: u64, header: &ImageHeader, spec: &Spec, limits: &ConversionLimits) -> ConversionLimits {
    let memory_bytes = needed_bytes(size_bytes, header, spec, limits).saturating_mul(MARGIN).max(LEAST_BYTES).min(limits.memory_bytes);
    ConversionLimits { memory_bytes, ..limits.clone() }
}

#[cfg(test)]
mod tests {
    use tintype_store::Format;

    use super::*;

    #[test]
    fn the_need_follows_from_the_header_and_ends_at_the_limit_of_a_conversion() {
        let limits = ConversionLimits::default();
        let header = ImageHeader { format: Format::Png, width: 1000, height: 1000, frame_count: 1 };
        let plain = Spec::new(Format::Jpeg);
        assert_eq!(needed_bytes(500_000, &header, &plain, &limits), 17_000_000);
        let larger: Spec = "jpeg width=16000 enlarge".parse().expect("it is a spec");
        assert_eq!(needed_bytes(500_000, &header, &larger, &limits), 801_000_000);
        let huge = ImageHeader { width: 16_000, height: 16_000, ..header };
        assert_eq!(needed_bytes(1, &huge, &plain, &limits), limits.memory_bytes);
        assert_eq!(limits_of(1, &huge, &plain, &limits).memory_bytes, limits.memory_bytes);
        let tiny = ImageHeader { width: 1, height: 1, ..header };
        assert_eq!(limits_of(100, &tiny, &plain, &limits).memory_bytes, 64 << 20);
    }
}
