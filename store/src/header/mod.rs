//! What the header of an image file says, found while the bytes stream past.
//!
//! No codec takes part and nothing is decoded: the scanner holds a small window and a few numbers, of an AVIF its
//! `meta` box of at most 256 KiB, passes over everything else, and takes time linear in the file. It decides which files are accepted; whether the pixels behind a good header can be decoded is the
//! converter's business. Each format is a small state machine in a file of its own, which names the specification it follows.

mod avif;
mod bmp;
mod colours;
#[cfg(test)]
mod corpus;
mod error;
mod gif;
mod ico;
mod jpeg;
mod parser;
mod png;
mod pnm;
mod qoi;
#[cfg(test)]
mod samples;
mod signature;
#[cfg(test)]
mod tests;
mod tiff;
mod webp;

pub use avif::{AvifItem, AvifMeta, Cicp};
pub use colours::read_colours;
pub use error::HeaderError;

use crate::{Format, ImageHeader};
use parser::{Found, Parser, Step};

/// Formats that the scanner accepts.
pub const ACCEPTED_FORMATS: [Format; 10] = Format::ALL;

/// The first bytes of a file, from which its format is told, and the most that a parser may want at once.
const WINDOW_BYTES: usize = 64;

/// Finds the header of an image while its bytes stream past, in the memory of a small header. Never panics, whatever the bytes.
#[derive(Debug)]
pub struct HeaderScanner {
    format: Option<(Box<dyn Parser>, Found)>,
    /// An error stays: bytes after it are not looked at.
    next: Result<Step, HeaderError>,
    window: [u8; WINDOW_BYTES],
    window_filled: usize,
}

impl Default for HeaderScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl HeaderScanner {
    /// A scanner before the first byte of a file.
    pub fn new() -> Self {
        Self { format: None, next: Ok(Step::read(WINDOW_BYTES)), window: [0; WINDOW_BYTES], window_filled: 0 }
    }

    /// The next bytes, in pieces of any size. Refuses as soon as it is certain that the file cannot be accepted, and from then on always.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<(), HeaderError> {
        while let Step::Want { skip, read } = self.next? {
            let skipped = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
            let skip = skip - skipped as u64;
            let (now, later) = bytes[skipped..].split_at((read - self.window_filled).min(bytes.len() - skipped));
            bytes = later;
            self.window[self.window_filled..][..now.len()].copy_from_slice(now);
            self.window_filled += now.len();
            if self.window_filled < read {
                self.next = Ok(Step::Want { skip, read });
                break;
            }
            self.next = self.take_step();
        }
        Ok(())
    }

    /// The format, once it is certain: after the first bytes, or at the end of a file that is smaller than that.
    pub fn format(&self) -> Option<Format> {
        self.format.as_ref().map(|(_, found)| found.format)
    }

    /// What is known so far: `None` until format, width and height are. Frames are counted as they come, so that limits can be checked on
    /// the way.
    pub fn so_far(&self) -> Option<ImageHeader> {
        self.format.as_ref().and_then(|(_, found)| found.header())
    }

    /// The header, once all bytes of the file were pushed. A file that ends too soon is refused only when its header is cut: pixels that
    /// are missing are the decoder's business, and the frames that came are counted.
    pub fn finish(mut self) -> Result<ImageHeader, HeaderError> {
        self.next?;
        if self.window_filled > 0 && self.format.is_none() {
            self.recognise()?;
        }
        match &self.format {
            Some((_, found)) => found.header().ok_or_else(|| found.corrupt("the file ends inside its header")),
            None => Err(HeaderError::NotAnImage("the file is empty")),
        }
    }

    fn take_step(&mut self) -> Result<Step, HeaderError> {
        let Some((parser, found)) = &mut self.format else {
            self.recognise()?;
            return self.next;
        };
        let bytes = &self.window[..self.window_filled];
        self.window_filled = 0;
        parser.next(bytes, found)
    }

    /// Tells the format from the window and gives the window to its parser, which reads the file from its first byte.
    fn recognise(&mut self) -> Result<(), HeaderError> {
        let start = self.window;
        let start = &start[..self.window_filled];
        let (format, parser) = signature::recognise(start)?;
        self.window_filled = 0;
        self.next = Ok(parser.first());
        self.format = Some((parser, Found::new(format)));
        self.push(start)
    }
}

/// The header of a file that is in memory; the same answer as from a [`HeaderScanner`].
pub fn read_header(bytes: &[u8]) -> Result<ImageHeader, HeaderError> {
    let mut scanner = HeaderScanner::new();
    scanner.push(bytes)?;
    scanner.finish()
}
