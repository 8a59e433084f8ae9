//! What a file says about itself, for those who ask to keep it.

use std::io::{Cursor, Read};

use flate2::read::ZlibDecoder;
use image::{
    ImageDecoder,
    codecs::{gif::GifDecoder, webp::WebPDecoder},
    metadata::Orientation,
};
use tintype_store::Format;
use zune_jpeg::{JpegDecoder, zune_core::bytestream::ZCursor};

use super::{
    avif, png,
    tiff::{Directory, exif},
};

/// Copied as it is, but for the orientation, which the pixels have already. Empty unless it was asked for.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Metadata {
    /// A TIFF header and its directories.
    pub(super) exif: Option<Vec<u8>>,
    /// An XML packet.
    pub(super) xmp: Option<Vec<u8>>,
    /// The text chunks of a PNG: their name and content.
    pub(super) text: Vec<([u8; 4], Vec<u8>)>,
}

/// The keyword under which PNG keeps XMP.
const XMP_KEYWORD: &[u8] = b"XML:com.adobe.xmp\0";

/// What XMP may be unpacked: a few bytes stand for very many.
const MAX_UNPACKED_XMP_BYTES: u64 = 4 << 20;

impl Metadata {
    /// What cannot be read counts as absent: the pixels are what matters.
    pub(super) fn read(input: &[u8], format: Format) -> Self {
        let reader = Cursor::new(input);
        let mut found = match format {
            Format::Jpeg => of_jpeg(input),
            Format::Png => of_png(input),
            Format::WebP => WebPDecoder::new(reader).map(of).unwrap_or_default(),
            Format::Gif => GifDecoder::new(reader).map(of).unwrap_or_default(),
            Format::Tiff => Directory::first(input).map(|page| of_tiff(&page)).unwrap_or_default(),
            Format::Avif => Self { exif: avif::exif(input), ..Self::default() },
            Format::Bmp | Format::Ico | Format::Qoi | Format::Pnm | Format::Unknown => Self::default(),
        };
        if let Some(exif) = &mut found.exif {
            // An orientation that is none stays, and viewers take it for upright.
            let _ = Orientation::remove_from_exif_chunk(exif);
        }
        found
    }

    /// The chunks of a PNG that hold all of this.
    pub(super) fn png_chunks(&self) -> Vec<([u8; 4], Vec<u8>)> {
        const NOT_COMPRESSED_NO_LANGUAGE: [u8; 4] = [0; 4];
        let exif = self.exif.iter().map(|exif| (*b"eXIf", exif.clone()));
        let xmp = self.xmp.iter().map(|xmp| (*b"iTXt", [XMP_KEYWORD, &NOT_COMPRESSED_NO_LANGUAGE, xmp].concat()));
        exif.chain(xmp).chain(self.text.iter().cloned()).collect()
    }

    /// The APP1 segments of a JPEG that hold all of this, with their markers. What does not fit into one segment is left out.
    pub(super) fn jpeg_segments(&self) -> Vec<u8> {
        let exif = self.exif.iter().map(|exif| [b"Exif\0\0", &exif[..]].concat());
        let xmp = self.xmp.iter().map(|xmp| [b"http://ns.adobe.com/xap/1.0/\0", &xmp[..]].concat());
        let mut segments = Vec::new();
        for content in exif.chain(xmp) {
            if let Ok(length) = u16::try_from(content.len() + 2) {
                segments.extend_from_slice(&[0xFF, 0xE1]);
                segments.extend_from_slice(&length.to_be_bytes());
                segments.extend_from_slice(&content);
            }
        }
        segments
    }
}

fn of(mut decoder: impl ImageDecoder) -> Metadata {
    let (exif, xmp) = (decoder.exif_metadata().ok().flatten(), decoder.xmp_metadata().ok().flatten());
    Metadata { exif, xmp, text: Vec::new() }
}

fn of_jpeg(input: &[u8]) -> Metadata {
    let mut decoder = JpegDecoder::new(ZCursor::new(input));
    match decoder.decode_headers() {
        Ok(()) => Metadata { exif: decoder.exif().cloned(), xmp: decoder.xmp().cloned(), text: Vec::new() },
        Err(_) => Metadata::default(),
    }
}

/// Most of its fields are about how the pixels are stored; the others make a block of their own.
fn of_tiff(page: &Directory<'_>) -> Metadata {
    const XMP: u16 = 700;
    Metadata { exif: exif(page), xmp: page.bytes(XMP).map(<[u8]>::to_vec), text: Vec::new() }
}

/// All of it may also stand behind the pixels.
fn of_png(input: &[u8]) -> Metadata {
    let (xmp, text): (Vec<_>, Vec<_>) = text_of_png(input).into_iter().partition(|(_, data)| data.starts_with(XMP_KEYWORD));
    let xmp = xmp.iter().filter(|(name, _)| name == b"iTXt").find_map(|(_, data)| xmp_of(data));
    Metadata { exif: png::exif(input).map(<[u8]>::to_vec), xmp, text }
}

/// The text of an `iTXt` chunk that holds XMP.
fn xmp_of(data: &[u8]) -> Option<Vec<u8>> {
    let [is_compressed, _, rest @ ..] = data.strip_prefix(XMP_KEYWORD)? else { return None };
    // Behind the language and the translated keyword.
    let text = rest.splitn(3, |byte| *byte == 0).nth(2)?;
    if *is_compressed == 0 {
        return Some(text.to_vec());
    }
    let mut unpacked = Vec::new();
    ZlibDecoder::new(text).take(MAX_UNPACKED_XMP_BYTES + 1).read_to_end(&mut unpacked).ok()?;
    (unpacked.len() as u64 <= MAX_UNPACKED_XMP_BYTES).then_some(unpacked)
}

/// Text chunks from anywhere in the file.
fn text_of_png(input: &[u8]) -> Vec<([u8; 4], Vec<u8>)> {
    let text = png::chunks(input).filter(|chunk| matches!(&chunk.name, b"tEXt" | b"zTXt" | b"iTXt") && chunk.is_whole());
    text.map(|chunk| (chunk.name, chunk.data.to_vec())).collect()
}
