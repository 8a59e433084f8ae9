//! What the first bytes of a file say about its format. File names and content types never take part.

use super::{
    HeaderError,
    avif::Avif,
    bmp::Bmp,
    gif::Gif,
    ico::Ico,
    jpeg::Jpeg,
    parser::{Parser, big_endian},
    png::Png,
    pnm::Pnm,
    qoi::Qoi,
    tiff::Tiff,
    webp::WebP,
};
use crate::Format;

/// What a signature stands for.
enum Meaning {
    Image(Format, fn() -> Box<dyn Parser>),
    Unsupported(&'static str),
    NotAnImage(&'static str),
}
use Meaning::{Image, NotAnImage, Unsupported};

/// The first row that fits counts; a `?` stands for any byte.
const SIGNATURES: &[(&[u8], Meaning)] = &[
    (b"\x89PNG\r\n\x1a\n", Image(Format::Png, || Box::<Png>::default())),
    (b"\xff\xd8\xff", Image(Format::Jpeg, || Box::<Jpeg>::default())),
    (b"RIFF????WEBP", Image(Format::WebP, || Box::<WebP>::default())),
    (b"GIF87a", Image(Format::Gif, || Box::<Gif>::default())),
    (b"GIF89a", Image(Format::Gif, || Box::<Gif>::default())),
    (b"II*\0????CR", Unsupported("Canon CR2 raw photo")),
    (b"II*\0", Image(Format::Tiff, || Box::<Tiff>::default())),
    (b"MM\0*", Image(Format::Tiff, || Box::<Tiff>::default())),
    (b"II+\0", Image(Format::Tiff, || Box::<Tiff>::default())),
    (b"MM\0+", Image(Format::Tiff, || Box::<Tiff>::default())),
    (b"BM", Image(Format::Bmp, || Box::<Bmp>::default())),
    (b"\0\0\x01\0", Image(Format::Ico, || Box::<Ico>::default())),
    (b"qoif", Image(Format::Qoi, || Box::<Qoi>::default())),
    (b"P1", Image(Format::Pnm, || Box::<Pnm>::default())),
    (b"P2", Image(Format::Pnm, || Box::<Pnm>::default())),
    (b"P3", Image(Format::Pnm, || Box::<Pnm>::default())),
    (b"P4", Image(Format::Pnm, || Box::<Pnm>::default())),
    (b"P5", Image(Format::Pnm, || Box::<Pnm>::default())),
    (b"P6", Image(Format::Pnm, || Box::<Pnm>::default())),
    (b"P7", Image(Format::Pnm, || Box::<Pnm>::default())),
    // A cursor has a number of entries where these TGAs have no colour map.
    (b"\0\0\x02\0\0\0\0\0", Unsupported("TGA")),
    (b"\0\0\x03\0\0\0\0\0", Unsupported("TGA")),
    (b"\0\0\x0a\0\0\0\0\0", Unsupported("TGA")),
    (b"\0\0\x0b\0\0\0\0\0", Unsupported("TGA")),
    (b"\0\0\x02\0", Unsupported("Windows cursor (CUR)")),
    (b"RIFF????ACON", Unsupported("animated Windows cursor (ANI)")),
    (b"\x8aMNG\r\n\x1a\n", Unsupported("MNG")),
    (b"\x8bJNG\r\n\x1a\n", Unsupported("JNG")),
    (b"\xff\x0a", Unsupported("JPEG XL")),
    (b"\0\0\0\x0cJXL \r\n\x87\n", Unsupported("JPEG XL")),
    (b"\0\0\0\x0cjP  \r\n\x87\n", Unsupported("JPEG 2000")),
    (b"\xff\x4f\xff\x51", Unsupported("JPEG 2000")),
    (b"II\xbc\x01", Unsupported("JPEG XR")),
    (b"8BPS", Unsupported("Photoshop document (PSD)")),
    (b"gimp xcf", Unsupported("GIMP document (XCF)")),
    (b"%PDF-", Unsupported("PDF")),
    (b"%!PS", Unsupported("PostScript")),
    (b"\xc5\xd0\xd3\xc6", Unsupported("EPS")),
    (b"AT&TFORM", Unsupported("DjVu")),
    (b"<svg", Unsupported("SVG")),
    (b"<!DOCTYPE svg", Unsupported("SVG")),
    (b"<?xml", Unsupported("SVG or another kind of XML")),
    (b"\xef\xbb\xbf<?xml", Unsupported("SVG or another kind of XML")),
    (b"\x76\x2f\x31\x01", Unsupported("OpenEXR")),
    (b"#?RADIANCE", Unsupported("Radiance HDR")),
    (b"#?RGBE", Unsupported("Radiance HDR")),
    (b"PF\n", Unsupported("portable float map (PFM)")),
    (b"Pf\n", Unsupported("portable float map (PFM)")),
    (b"DDS ", Unsupported("DirectDraw surface (DDS)")),
    (b"\xabKTX ", Unsupported("KTX texture")),
    (b"farbfeld", Unsupported("farbfeld")),
    (b"icns", Unsupported("Apple icon (ICNS)")),
    (b"BPG\xfb", Unsupported("BPG")),
    (b"FLIF", Unsupported("FLIF")),
    (b"SIMPLE  =", Unsupported("FITS")),
    (b"\x97JB2\r\n\x1a\n", Unsupported("JBIG2")),
    (b"\xd7\xcd\xc6\x9a", Unsupported("Windows metafile (WMF)")),
    (b"\x59\xa6\x6a\x95", Unsupported("Sun raster")),
    (b"\x01\xda\0?\0", Unsupported("SGI image")),
    (b"\x01\xda\x01?\0", Unsupported("SGI image")),
    (b"/* XPM */", Unsupported("XPM")),
    (b"FUJIFILMCCD-RAW", Unsupported("Fujifilm raw photo")),
    (b"IIRO", Unsupported("Olympus raw photo")),
    (b"IIU\0", Unsupported("Panasonic raw photo")),
    (b"<!DOCTYPE html", NotAnImage("it is a web page")),
    (b"<!doctype html", NotAnImage("it is a web page")),
    (b"<html", NotAnImage("it is a web page")),
    (b"PK\x03\x04", NotAnImage("it is a ZIP archive")),
    (b"\x1f\x8b", NotAnImage("it is compressed with gzip")),
];

/// Brands of ISO base media files (ISO/IEC 14496-12, section 4.3) that hold pictures; the first that is among a file's brands counts.
const BRANDS: &[(&[u8; 4], &str)] = &[
    (b"avis", "AVIF image sequence"),
    (b"heic", "HEIC"),
    (b"heix", "HEIC"),
    (b"heim", "HEIC"),
    (b"heis", "HEIC"),
    (b"hevc", "HEIC"),
    (b"hevx", "HEIC"),
    (b"crx ", "Canon CR3 raw photo"),
    (b"mif1", "HEIF"),
    (b"msf1", "HEIF"),
];

/// The format of a file that begins with `start`: its first [`WINDOW_BYTES`](super::WINDOW_BYTES) bytes, or all it has.
pub(super) fn recognise(start: &[u8]) -> Result<(Format, Box<dyn Parser>), HeaderError> {
    if fits(b"????ftyp", start) {
        let size_bytes = big_endian(&start[..4]) as usize;
        return iso_media(&start[8..size_bytes.clamp(8, start.len())]);
    }
    match SIGNATURES.iter().find(|(signature, _)| fits(signature, start)) {
        Some((_, Image(format, parser))) => Ok((*format, parser())),
        Some((_, Unsupported(name))) => Err(HeaderError::Unsupported(name)),
        Some((_, NotAnImage(what))) => Err(HeaderError::NotAnImage(what)),
        None => Err(HeaderError::NotAnImage("it begins like no known image format")),
    }
}

fn fits(signature: &[u8], start: &[u8]) -> bool {
    start.len() >= signature.len() && signature.iter().zip(start).all(|(expected, byte)| *expected == b'?' || expected == byte)
}

/// `brands` begins with the major brand and a version; compatible brands follow, of which those in the window are enough.
fn iso_media(brands: &[u8]) -> Result<(Format, Box<dyn Parser>), HeaderError> {
    let has = |brand: &[u8; 4]| brands.chunks_exact(4).any(|theirs| theirs == brand);
    if has(b"avif") && !has(b"avis") {
        return Ok((Format::Avif, Box::<Avif>::default()));
    }
    match BRANDS.iter().find(|(brand, _)| has(brand)) {
        Some((_, name)) => Err(HeaderError::Unsupported(name)),
        None => Err(HeaderError::NotAnImage("it is a video")),
    }
}
