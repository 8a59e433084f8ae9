use super::{samples::Sample, *};
use crate::Format;

/// The answer when the bytes come in pieces; what is known must only ever grow.
fn read_in_pieces(bytes: &[u8], piece_bytes: usize) -> Result<ImageHeader, HeaderError> {
    let mut scanner = HeaderScanner::new();
    let mut before: Option<ImageHeader> = None;
    for piece in bytes.chunks(piece_bytes) {
        scanner.push(piece)?;
        let now = scanner.so_far();
        if let Some(before) = before {
            let now = now.expect("what was known stays known");
            assert_eq!(before, ImageHeader { frame_count: before.frame_count, ..now });
            assert!(before.frame_count <= now.frame_count);
        }
        before = now;
    }
    scanner.finish()
}

#[track_caller]
fn assert_refused(bytes: &[u8], message: &str) {
    assert_eq!(read_header(bytes).map_err(|error| error.to_string()), Err(message.to_owned()));
}

#[test]
fn every_sample_is_read() {
    for Sample { name, bytes, header } in samples::all() {
        assert_eq!(read_header(&bytes), Ok(header), "{name}");
    }
}

#[test]
fn pieces_of_any_size_give_the_same_answer() {
    for Sample { name, bytes, header } in samples::all() {
        for piece_bytes in 1..=bytes.len() {
            assert_eq!(read_in_pieces(&bytes, piece_bytes), Ok(header), "{name} in pieces of {piece_bytes} bytes");
        }
    }
}

#[test]
fn a_cut_file_is_refused_until_its_header_is_whole() {
    for Sample { name, bytes, header } in samples::all() {
        let mut before: Option<ImageHeader> = None;
        for length in 0..bytes.len() {
            match (before, read_header(&bytes[..length])) {
                (_, Ok(now)) => {
                    assert_eq!(ImageHeader { frame_count: header.frame_count, ..now }, header, "{name} cut to {length} bytes");
                    assert!(now.frame_count <= header.frame_count, "{name} cut to {length} bytes");
                    assert!(before.is_none_or(|before| before.frame_count <= now.frame_count), "{name} cut to {length} bytes");
                    before = Some(now);
                }
                (Some(_), Err(error)) => panic!("{name} cut to {length} bytes is refused again: {error}"),
                (None, Err(HeaderError::Unsupported(what))) => panic!("{name} cut to {length} bytes is not {what}"),
                (None, Err(_)) => {}
            }
        }
    }
}

#[test]
fn any_damage_gives_an_answer_whatever_the_pieces() {
    for Sample { name, bytes, .. } in samples::all() {
        for at in 0..bytes.len() {
            for byte in [0x00, 0x01, 0x7f, 0x80, 0xfe, 0xff, bytes[at] ^ 0x20] {
                let mut damaged = bytes.clone();
                damaged[at] = byte;
                let whole = read_header(&damaged);
                for piece_bytes in [1, 63] {
                    assert_eq!(read_in_pieces(&damaged, piece_bytes), whole, "{name} with {byte:#04x} at {at}");
                }
            }
        }
    }
}

#[test]
fn a_long_body_does_not_change_the_answer() {
    const BODY_BYTES: usize = 50 << 20;
    let zeros = vec![0; 256 << 10];
    for Sample { name, bytes, header } in samples::all() {
        let mut scanner = HeaderScanner::new();
        scanner.push(&bytes).expect("it is whole");
        for _ in 0..BODY_BYTES / zeros.len() {
            scanner.push(&zeros).expect("what follows a header is not judged");
        }
        assert_eq!(scanner.finish(), Ok(header), "{name}");
    }
}

#[test]
fn frames_behind_a_long_body_are_counted() {
    let body = vec![0; 3 << 20];
    let animation = samples::png(
        2,
        2,
        &[(b"acTL", &[0; 8]), (b"fcTL", &[0; 26]), (b"IDAT", &body), (b"fcTL", &[0; 26]), (b"fdAT", &body), (b"IEND", b"")],
    );
    for piece_bytes in [1 << 16, animation.len()] {
        assert_eq!(read_in_pieces(&animation, piece_bytes).map(|header| header.frame_count), Ok(2));
    }
}

#[test]
fn the_header_is_known_before_the_file_ends() {
    let file = samples::bmp(40, 3_000_000, 2_000_000);
    let mut scanner = HeaderScanner::new();
    scanner.push(&file[..10]).expect("nothing is wrong yet");
    assert_eq!(scanner.so_far(), None);
    scanner.push(&file[10..]).expect("nothing is wrong with it");
    let expected = ImageHeader { format: Format::Bmp, width: 3_000_000, height: 2_000_000, frame_count: 1 };
    assert_eq!(scanner.so_far(), Some(expected));
}

#[test]
fn a_refusal_stays() {
    let mut scanner = HeaderScanner::new();
    let refusal = scanner.push(&[b'x'; WINDOW_BYTES]).expect_err("it is no image");
    assert_eq!(scanner.push(&samples::bmp(40, 1, 1)), Err(refusal));
    assert_eq!(scanner.finish(), Err(refusal));
}

#[test]
fn what_is_no_image_is_refused_as_such() {
    assert_refused(b"", "not an image: the file is empty");
    assert_refused(b"plain text", "not an image: it begins like no known image format");
    assert_refused(&[0; 1000], "not an image: it begins like no known image format");
    assert_refused(b"PK\x03\x04rest", "not an image: it is a ZIP archive");
    assert_refused(b"<!DOCTYPE html><html>", "not an image: it is a web page");
    assert_refused(b"\0\0\0\x18ftypmp42\0\0\0\0isommp42", "not an image: it is a video");
    assert_refused(b"BMW is a maker of cars", "not an image: it begins like a BMP but has none of its headers");
    assert_refused(b"P2P is peer to peer", "not an image: it begins like a PNM but has none of its headers");
}

#[test]
fn formats_known_by_name_are_named() {
    assert_refused(b"\0\0\0\x1cftypavis\0\0\0\0avifavismsf1", "unsupported image: AVIF image sequence");
    assert_refused(
        &samples::avif(9, 9, &[(b"clap", &[0; 32])]),
        "unsupported image: AVIF that shows a part of its picture (a clean aperture)",
    );
    assert_refused(&samples::avif(9, 9, &[(b"colr", &vec![0; 300_000])]), "unsupported image: AVIF with a meta box of more than 256 KiB");
    assert_refused(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "unsupported image: HEIC");
    assert_refused(b"\0\0\0\x14ftypmif1\0\0\0\0mif1", "unsupported image: HEIF");
    assert_refused(b"%PDF-1.7", "unsupported image: PDF");
    assert_refused(b"<svg xmlns=", "unsupported image: SVG");
    assert_refused(b"<?xml version=", "unsupported image: SVG or another kind of XML");
    assert_refused(b"8BPS\0\x01", "unsupported image: Photoshop document (PSD)");
    assert_refused(b"\xff\x0a\0", "unsupported image: JPEG XL");
    assert_refused(b"\0\0\0\x0cJXL \r\n\x87\n", "unsupported image: JPEG XL");
    assert_refused(b"\0\0\0\x0cjP  \r\n\x87\n", "unsupported image: JPEG 2000");
    assert_refused(b"\0\0\x02\0\x01\0", "unsupported image: Windows cursor (CUR)");
    assert_refused(b"II*\0\x10\0\0\0CR\x02\0", "unsupported image: Canon CR2 raw photo");
}

#[test]
fn jpeg_processes_that_no_decoder_here_knows_are_named() {
    for (frame, name) in [
        (0xc3, "lossless JPEG"),
        (0xc5, "hierarchical JPEG"),
        (0xc9, "JPEG with arithmetic coding"),
        (0xcf, "hierarchical JPEG"),
        (0xf7, "JPEG-LS"),
    ] {
        assert_refused(&samples::jpeg(frame, 8, 1, 1, 3), &format!("unsupported image: {name}"));
    }
    assert_refused(&samples::jpeg(0xc1, 12, 1, 1, 3), "unsupported image: JPEG with 12 bits a sample");
    assert_refused(&samples::jpeg(0xc0, 8, 1, 1, 2), "unsupported image: JPEG with neither 1, 3 nor 4 components");
    assert_refused(&samples::jpeg(0xc0, 8, 1, 0, 1), "unsupported image: JPEG that tells its height only after its first scan (DNL)");
}

#[test]
fn broken_headers_are_corrupt() {
    let zero = "its width or height is zero";
    let png = samples::png(1, 1, &[]);
    let damaged_png = |at: usize| [&png[..at], &[0x55], &png[at + 1..]].concat();
    assert_refused(&png[..20], "corrupt PNG: the file ends inside its header");
    assert_refused(&samples::png(0, 1, &[]), &format!("corrupt PNG: {zero}"));
    assert_refused(&damaged_png(13), "corrupt PNG: it does not begin with an IHDR chunk");
    assert_refused(&damaged_png(17), "corrupt PNG: the checksum of its IHDR chunk does not match");
    assert_refused(&samples::jpeg(0xc0, 8, 0, 1, 3), &format!("corrupt JPEG: {zero}"));
    assert_refused(b"\xff\xd8\xff\xe0\0\x01", "corrupt JPEG: a segment is shorter than its length");
    assert_refused(b"\xff\xd8\xff\xda\0\x02", "corrupt JPEG: it has no frame header");
    assert_refused(
        &[b"\xff\xd8\xff".as_slice(), &vec![0; 100_000]].concat(),
        "corrupt JPEG: there is no frame header among its first segments",
    );
    assert_refused(&samples::gif(0, 0, 1), &format!("corrupt GIF: {zero}"));
    assert_refused(&samples::riff(&[(b"EXIF", &[0; 20])]), "corrupt WebP: its first chunk is none of VP8, VP8L and VP8X");
    assert_refused(&samples::riff(&[(b"VP8 ", &[1; 10])]), "corrupt WebP: it does not begin with a key frame");
    assert_refused(b"II*\0\0\0\0\0", "corrupt TIFF: it has no first directory");
    assert_refused(b"MM\0*\0\0\0\x08\0\0\0\0\0\0", "corrupt TIFF: its first page has no width or no height");
    assert_refused(&samples::bmp(40, 1, 0), &format!("corrupt BMP: {zero}"));
    assert_refused(&samples::bmp(40, -1, 1), "corrupt BMP: its width is negative");
    assert_refused(&samples::ico(&[]), "corrupt ICO: it has no entries");
    assert_refused(&samples::avif(0, 1, &[]), &format!("corrupt AVIF: {zero}"));
    assert_refused(&samples::avif(3, 2, &[])[..60], "corrupt AVIF: the file ends inside its header");
    assert_refused(b"\0\0\0\x10ftypavif\0\0\0\0\0\0\0\x05meta", "corrupt AVIF: a box is shorter than what it holds");
    assert_refused(b"qoif\0\0\0\x01\0\0\0\x01\x05\0", "corrupt QOI: its channels or colour space are unknown");
    assert_refused(b"P5 12 x", "corrupt PNM: the file ends inside its header");
    assert_refused(b"P5 12 x ", "corrupt PNM: its width or height is not a number");
    assert_refused(b"P7\nWIDTH 3\nENDHDR\n", "corrupt PNM: its header has no width or no height");
    assert_refused(&[b"P5 #".as_slice(), &vec![b'.'; 100_000]].concat(), "corrupt PNM: its header does not end");
}

#[test]
fn the_best_icon_is_the_largest_and_then_the_deepest() {
    let size = |entries: &[(u8, u8, u8)]| read_header(&samples::ico(entries)).map(|header| (header.width, header.height));
    assert_eq!(size(&[(16, 16, 32), (64, 32, 4), (32, 16, 32)]), Ok((64, 32)));
    assert_eq!(size(&[(64, 32, 4), (32, 64, 8)]), Ok((32, 64)));
    assert_eq!(size(&[(255, 255, 32), (0, 255, 1)]), Ok((256, 255)));
}
