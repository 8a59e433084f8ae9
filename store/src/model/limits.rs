use std::time::Duration;

use super::ImageHeader;

/// Bounds on what an image may be, checked from its header before anything is decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLimits {
    /// Size of a file in bytes.
    pub max_file_bytes: u64,
    /// Width and height in pixels.
    pub max_side_pixels: u32,
    /// Pixels of one frame.
    pub max_frame_pixels: u64,
    /// Pixels of all frames together.
    pub max_total_pixels: u64,
    /// Frames.
    pub max_frames: u32,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_file_bytes: 50 << 20,
            max_side_pixels: 16_383,
            max_frame_pixels: 50_000_000,
            max_total_pixels: 100_000_000,
            max_frames: 500,
        }
    }
}

/// A limit that something went beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{what} is {seen}, more than the limit of {value} ({limit})")]
pub struct LimitExceeded {
    /// What was measured, with its unit: `width in pixels`.
    pub what: &'static str,
    /// The limit's name in `GetLimits`.
    pub limit: &'static str,
    /// The limit's value.
    pub value: u64,
    /// What was seen.
    pub seen: u64,
}

impl ImageLimits {
    /// Checks everything that a header tells.
    pub fn check(&self, header: &ImageHeader) -> Result<(), LimitExceeded> {
        let frame_pixels = u64::from(header.width) * u64::from(header.height);
        let total_pixels = frame_pixels.saturating_mul(u64::from(header.frame_count));
        let side = u64::from(self.max_side_pixels);
        at_most("width in pixels", "max_side_pixels", side, u64::from(header.width))?;
        at_most("height in pixels", "max_side_pixels", side, u64::from(header.height))?;
        at_most("number of pixels of a frame", "max_frame_pixels", self.max_frame_pixels, frame_pixels)?;
        at_most("number of frames", "max_frames", u64::from(self.max_frames), u64::from(header.frame_count))?;
        at_most("number of pixels of all frames", "max_total_pixels", self.max_total_pixels, total_pixels)
    }

    /// Checks a file's size.
    pub fn check_size(&self, size_bytes: u64) -> Result<(), LimitExceeded> {
        at_most("size of the file in bytes", "max_file_bytes", self.max_file_bytes, size_bytes)
    }
}

fn at_most(what: &'static str, limit: &'static str, value: u64, seen: u64) -> Result<(), LimitExceeded> {
    if seen > value { Err(LimitExceeded { what, limit, value, seen }) } else { Ok(()) }
}

/// Bounds on one conversion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConversionLimits {
    /// What the image may be.
    pub image: ImageLimits,
    /// Wall-clock time.
    pub timeout: Duration,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// How often a rendition is begun before it counts as failed.
    pub max_attempts: u32,
}

impl Default for ConversionLimits {
    fn default() -> Self {
        Self { image: ImageLimits::default(), timeout: Duration::from_secs(30), memory_bytes: 1 << 30, max_attempts: 3 }
    }
}
