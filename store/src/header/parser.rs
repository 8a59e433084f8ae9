use std::fmt;

use super::{HeaderError, WINDOW_BYTES};
use crate::{Format, ImageHeader};

/// Walks through the files of one format.
pub(super) trait Parser: fmt::Debug + Send + Sync {
    /// What it wants first, counted from the first byte of the file, whose signature was checked.
    fn first(&self) -> Step;

    /// Gets exactly the bytes that its last step wanted.
    fn next(&mut self, bytes: &[u8], found: &mut Found) -> Result<Step, HeaderError>;
}

/// What a parser wants next.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step {
    /// Passes over `skip` bytes, then gives `read` bytes in one piece: 1 to [`WINDOW_BYTES`].
    Want { skip: u64, read: usize },
    /// The rest of the file says nothing new.
    Done,
}

impl Step {
    pub(super) fn read(read: usize) -> Self {
        Self::skip_and_read(0, read)
    }

    pub(super) fn skip_and_read(skip: u64, read: usize) -> Self {
        debug_assert!((1..=WINDOW_BYTES).contains(&read), "a step reads something, and no more than the window holds");
        Self::Want { skip, read }
    }
}

/// What a parser has found so far.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) format: Format,
    size: Option<(u32, u32)>,
    frame_count: u32,
}

impl Found {
    pub(super) fn new(format: Format) -> Self {
        Self { format, size: None, frame_count: 0 }
    }

    /// Numbers are kept as they are, however absurd, because limits are the caller's; only an empty image is refused.
    pub(super) fn set_size(&mut self, width: u32, height: u32) -> Result<(), HeaderError> {
        if width == 0 || height == 0 {
            return Err(self.corrupt("its width or height is zero"));
        }
        self.size = Some((width, height));
        Ok(())
    }

    pub(super) fn add_frame(&mut self) {
        self.frame_count = self.frame_count.saturating_add(1);
    }

    pub(super) fn corrupt(&self, what: &'static str) -> HeaderError {
        HeaderError::Corrupt { format: self.format, what }
    }

    /// `None` until the size is known. Formats without frames, and files cut before their first one, count as one frame.
    pub(super) fn header(&self) -> Option<ImageHeader> {
        let (width, height) = self.size?;
        Some(ImageHeader { format: self.format, width, height, frame_count: self.frame_count.max(1) })
    }
}

/// The number that up to 8 bytes spell, most significant first.
pub(super) fn big_endian(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The number that up to 8 bytes spell, least significant first.
pub(super) fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}
