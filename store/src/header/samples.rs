//! Small files of every format, built by hand, with what their headers say.

use super::png::crc32;
use crate::{Format, ImageHeader};

/// A file and its header.
pub(super) struct Sample {
    pub(super) name: &'static str,
    pub(super) bytes: Vec<u8>,
    pub(super) header: ImageHeader,
}

pub(super) fn all() -> Vec<Sample> {
    let sample = |name, format, (width, height), frame_count, bytes| {
        let header = ImageHeader { format, width, height, frame_count };
        Sample { name, bytes, header }
    };
    vec![
        sample("still PNG", Format::Png, (70_000, 3), 1, png(70_000, 3, &[(b"tEXt", b"k\0v"), (b"IDAT", &[7; 30]), (b"IEND", b"")])),
        sample("APNG with a default image", Format::Png, (4, 5), 2, apng(4, 5, 2)),
        sample("JPEG", Format::Jpeg, (640, 480), 1, jpeg(0xc0, 8, 640, 480, 3)),
        sample("progressive CMYK JPEG", Format::Jpeg, (17, 65_535), 1, jpeg(0xc2, 8, 17, 65_535, 4)),
        sample("lossy WebP", Format::WebP, (300, 200), 1, riff(&[(b"VP8 ", &[0x10, 0, 0, 0x9d, 1, 0x2a, 0x2c, 0x41, 200, 0x80, 9])])),
        sample("lossless WebP", Format::WebP, (16_384, 2), 1, riff(&[(b"VP8L", &[0x2f, 0xff, 0x7f, 0, 0, 1])])),
        sample("extended WebP", Format::WebP, (0x02_0304, 1), 1, riff(&[(b"VP8X", &extended(0x10, 0x02_0303, 0))])),
        sample("animated WebP", Format::WebP, (9, 8), 3, animated_webp(9, 8, 3)),
        sample("GIF", Format::Gif, (320, 65_535), 1, gif(320, 65_535, 1)),
        sample("animated GIF", Format::Gif, (3, 2), 4, gif(3, 2, 4)),
        sample("TIFF", Format::Tiff, (1000, 70_000), 1, tiff(false, 1000, 70_000, 1)),
        sample("big-endian TIFF with pages", Format::Tiff, (12, 13), 3, tiff(true, 12, 13, 3)),
        sample("BigTIFF", Format::Tiff, (5, 6), 2, big_tiff(5, 6, 2)),
        sample("BMP", Format::Bmp, (3_000_000, 2_000_000), 1, bmp(40, 3_000_000, 2_000_000)),
        sample("BMP of version 5, top down", Format::Bmp, (8, 9), 1, bmp(124, 8, -9)),
        sample("BMP with a core header", Format::Bmp, (8, 9), 1, core_bmp(8, 9)),
        sample("ICO", Format::Ico, (256, 256), 3, ico(&[(16, 16, 32), (0, 0, 8), (48, 48, 32)])),
        sample("AVIF", Format::Avif, (300, 70_000), 1, avif(300, 70_000, &[])),
        sample("AVIF on its side", Format::Avif, (200, 300), 1, avif(300, 200, &[(b"irot", &[1])])),
        sample("QOI", Format::Qoi, (1, 0x0100_0001), 1, [b"qoif\0\0\0\x01\x01\0\0\x01\x04\0".as_slice(), &[1; 40]].concat()),
        sample("PBM", Format::Pnm, (3, 2), 1, b"P1 3 2\n1 0 1 0 1 0\n".to_vec()),
        sample("PPM with comments", Format::Pnm, (31, 2), 1, b"P6#x 9 9\n# 7 7\r\n31#y\n \t2\n255\n......".to_vec()),
        sample("PAM", Format::Pnm, (227, 149), 1, b"P7\n# a\nTUPLTYPE WIDTH 5\nDEPTH 3\nHEIGHT 149\nWIDTH 227\nENDHDR\n...".to_vec()),
    ]
}

pub(super) fn png(width: u32, height: u32, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let ihdr = [&width.to_be_bytes()[..], &height.to_be_bytes(), &[8, 6, 0, 0, 0]].concat();
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [(b"IHDR", &ihdr[..])].iter().chain(chunks) {
        let start = file.len();
        file.extend((data.len() as u32).to_be_bytes());
        file.extend_from_slice(*kind);
        file.extend_from_slice(data);
        file.extend(crc32(&file[start + 4..]).to_be_bytes());
    }
    file
}

fn apng(width: u32, height: u32, frames: usize) -> Vec<u8> {
    let frame: [(&[u8; 4], &[u8]); 2] = [(b"fcTL", &[0; 26]), (b"fdAT", &[0; 21])];
    let mut chunks: Vec<(&[u8; 4], &[u8])> = vec![(b"acTL", &[0; 8]), (b"IDAT", &[0; 5])];
    chunks.extend(frame.iter().cycle().take(frames * 2));
    chunks.push((b"IEND", b""));
    png(width, height, &chunks)
}

/// With a large segment, one of another kind, and fill bytes before the frame header.
pub(super) fn jpeg(frame: u8, precision: u8, width: u16, height: u16, components: u8) -> Vec<u8> {
    let mut file = b"\xff\xd8\xff\xe1\x02\x02".to_vec();
    file.extend([0xc0; 0x200]);
    file.extend(b"\xff\xdb\x00\x04ab\xff\xff\xff");
    file.extend([frame, 0, 8 + 3 * components, precision]);
    file.extend(height.to_be_bytes());
    file.extend(width.to_be_bytes());
    file.push(components);
    file.extend((0..components).flat_map(|component| [component, 0x11, 0]));
    file.extend(b"\xff\xda\0\x08pixels\xff\xd9");
    file
}

pub(super) fn riff(chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut body = b"WEBP".to_vec();
    for (kind, data) in chunks {
        body.extend_from_slice(*kind);
        body.extend((data.len() as u32).to_le_bytes());
        body.extend_from_slice(data);
        body.resize(body.len().next_multiple_of(2), 0);
    }
    [b"RIFF".as_slice(), &(body.len() as u32).to_le_bytes(), &body].concat()
}

pub(super) fn extended(flags: u8, width_minus_one: u32, height_minus_one: u32) -> Vec<u8> {
    [&[flags, 0, 0, 0], &width_minus_one.to_le_bytes()[..3], &height_minus_one.to_le_bytes()[..3]].concat()
}

fn animated_webp(width: u32, height: u32, frames: usize) -> Vec<u8> {
    let head = extended(0b10, width - 1, height - 1);
    let mut chunks: Vec<(&[u8; 4], &[u8])> = vec![(b"VP8X", &head), (b"ANIM", &[0; 6])];
    chunks.extend(std::iter::repeat_n((b"ANMF", [0; 31].as_slice()), frames));
    chunks.push((b"EXIF", &[0; 7]));
    let mut file = riff(&chunks);
    // What lies behind the end that the file states is no frame.
    file.extend(b"ANMF\0\0\0\0");
    file
}

pub(super) fn gif(width: u16, height: u16, frames: usize) -> Vec<u8> {
    let mut file = b"GIF89a".to_vec();
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend([0x81, 0, 0]);
    file.extend([b','; 12]);
    file.extend(b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0");
    for frame in 0..frames {
        file.extend(b"!\xf9\x04\0\0\0\0\0,\0\0\0\0\x01\0\x01\0");
        // Every second frame has a colour table of its own.
        file.extend(if frame % 2 == 0 { vec![0] } else { [vec![0x82], vec![0; 24]].concat() });
        file.extend(b"\x02\x03,!;\x02\x4c\x01\0");
    }
    file.push(b';');
    file
}

/// Directories come behind the pixels of their pages.
fn tiff(is_big_endian: bool, width: u32, height: u32, pages: usize) -> Vec<u8> {
    let short = |number: u16| if is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let long = |number: u32| if is_big_endian { number.to_be_bytes() } else { number.to_le_bytes() };
    let mut file = if is_big_endian { b"MM".to_vec() } else { b"II".to_vec() };
    file.extend(short(42));
    for page in 0..pages {
        file.extend(long(file.len() as u32 + 4 + 50));
        file.extend([0xee; 50]);
        file.extend(short(3));
        // A short fills the first half of its field.
        file.extend([short(256), short(3)].concat());
        file.extend(long(1));
        file.extend([short(width as u16 + page as u16), short(0xdead)].concat());
        file.extend([short(257), short(4)].concat());
        file.extend([long(1), long(height)].concat());
        file.extend([short(273), short(4)].concat());
        file.extend([long(1), long(8)].concat());
    }
    // A link back to the first directory: pages are not counted twice.
    file.extend(long(if pages > 1 { 58 } else { 0 }));
    file
}

fn big_tiff(width: u16, height: u16, pages: usize) -> Vec<u8> {
    let mut file = b"II+\0\x08\0\0\0".to_vec();
    for _ in 0..pages {
        file.extend((file.len() as u64 + 8).to_le_bytes());
        file.extend(2u64.to_le_bytes());
        for (tag, value) in [(256u16, width), (257, height)] {
            file.extend(tag.to_le_bytes());
            file.extend(16u16.to_le_bytes());
            file.extend(1u64.to_le_bytes());
            file.extend(u64::from(value).to_le_bytes());
        }
    }
    file.extend(0u64.to_le_bytes());
    file
}

pub(super) fn bmp(header_bytes: u32, width: i32, height: i32) -> Vec<u8> {
    let mut file = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0".to_vec();
    file.extend(header_bytes.to_le_bytes());
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend([1, 0, 24, 0]);
    file.resize(14 + header_bytes as usize + 12, 0);
    file
}

fn core_bmp(width: u16, height: u16) -> Vec<u8> {
    let mut file = b"BM\0\0\0\0\0\0\0\0\x1a\0\0\0\x0c\0\0\0".to_vec();
    file.extend(width.to_le_bytes());
    file.extend(height.to_le_bytes());
    file.extend([1, 0, 24, 0, 1, 2, 3]);
    file
}

pub(super) fn ico(entries: &[(u8, u8, u8)]) -> Vec<u8> {
    let mut file = b"\0\0\x01\0".to_vec();
    file.extend((entries.len() as u16).to_le_bytes());
    for (width, height, depth) in entries {
        file.extend([*width, *height, 0, 0, 1, 0, *depth, 0]);
        file.extend([0; 8]);
    }
    file
}

/// An AVIF with these properties besides its size and how it is coded.
pub(super) fn avif(width: u32, height: u32, properties: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    fn boxed(kind: [u8; 4], content: &[u8]) -> Vec<u8> {
        [&(content.len() as u32 + 8).to_be_bytes(), &kind[..], content].concat()
    }
    let size = [&[0; 4][..], &width.to_be_bytes(), &height.to_be_bytes()].concat();
    let all = [&[(b"ispe", &size[..]), (b"av1C", &[0x81, 0, 0, 0])], properties].concat();
    let ipco = boxed(*b"ipco", &all.iter().flat_map(|(kind, content)| boxed(**kind, content)).collect::<Vec<_>>());
    let indices = 1..=all.len() as u8;
    let ipma = [&[0, 0, 0, 0, 0, 0, 0, 1, 0, 1, all.len() as u8][..], &indices.map(|index| 0x80 | index).collect::<Vec<_>>()].concat();
    let entry = boxed(*b"infe", b"\x02\0\0\0\0\x01\0\0av01\0");
    let meta = [
        vec![0; 4],
        boxed(*b"pitm", &[0, 0, 0, 0, 0, 1]),
        boxed(*b"iloc", &[0, 0, 0, 0, 0x44, 0, 0, 1, 0, 1, 0, 0, 0, 1, 0, 0, 0, 8, 0, 0, 0, 9]),
        boxed(*b"iinf", &[&[0, 0, 0, 0, 0, 1], &entry[..]].concat()),
        boxed(*b"iprp", &[ipco, boxed(*b"ipma", &ipma)].concat()),
    ];
    [boxed(*b"ftyp", b"avif\0\0\0\0avifmif1"), boxed(*b"free", &[0; 70]), boxed(*b"meta", &meta.concat()), boxed(*b"mdat", &[7; 9])]
        .concat()
}
