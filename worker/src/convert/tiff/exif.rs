//! What a TIFF says of the photo, as an EXIF block of its own (Exif 3.0, section 4.6): the fields of the page that describe it, those of the
//! camera and those of the place.

use super::directory::{Directory, Field};

/// What a segment of a JPEG has room for; what does not fit any more is left out.
const MAX_BYTES: usize = 65_000;
const HEAD_BYTES: usize = 8;
const ENTRY_BYTES: usize = 12;
const INLINE_BYTES: usize = 4;
/// The type of a pointer, 32 bits.
const LONG: u16 = 4;
/// The last type of a TIFF that is no BigTIFF.
const DOUBLE: u16 = 12;
const CAMERA: u16 = 0x8769;
const PLACE: u16 = 0x8825;
/// Description, make, model, resolution in both directions and its unit, software, time, artist, computer, copyright. The others, the
/// orientation among them, are about how the pixels are stored in this very file.
const DESCRIBING: [u16; 11] = [270, 271, 272, 282, 283, 296, 305, 306, 315, 316, 33_432];
/// Makers' notes and interoperability: they point to places in the file that are not the same any more.
const POINTING: [u16; 2] = [0x927c, 0xa005];

/// `None` when it says nothing.
pub(in super::super) fn exif(page: &Directory<'_>) -> Option<Vec<u8>> {
    let mut room = MAX_BYTES;
    let describing = fitting(page, &mut room, |tag| DESCRIBING.contains(&tag));
    let more = [CAMERA, PLACE].map(|tag| {
        let directory = page.directory(tag);
        (tag, directory.map(|directory| fitting(&directory, &mut room, |tag| !POINTING.contains(&tag))).unwrap_or_default())
    });
    if describing.is_empty() && more.iter().all(|(_, fields)| fields.is_empty()) {
        return None;
    }
    let big_endian = page.is_big_endian();
    let long = |value: usize| if big_endian { (value as u32).to_be_bytes() } else { (value as u32).to_le_bytes() };
    let head = if big_endian { *b"MM\0*" } else { *b"II*\0" };

    // A pointer takes no room of its own, so the first directory is as long with them wherever they point to.
    let present = more.iter().filter(|(_, fields)| !fields.is_empty());
    let mut at = HEAD_BYTES + written_bytes(&describing) + present.clone().count() * ENTRY_BYTES;
    let mut pointers = Vec::new();
    for (tag, fields) in present.clone() {
        pointers.push((*tag, long(at)));
        at += written_bytes(fields);
    }
    let pointers = pointers.iter().map(|(tag, value)| Field { tag: *tag, kind: LONG, count: 1, value });
    let first: Vec<Field<'_>> = describing.iter().copied().chain(pointers).collect();

    let mut block = [head, long(HEAD_BYTES)].concat();
    for fields in [&first].into_iter().chain(present.map(|(_, fields)| fields)) {
        append(&mut block, fields, big_endian);
    }
    Some(block)
}

/// Those that are wanted, as far as there is room, each once.
fn fitting<'a>(directory: &Directory<'a>, room: &mut usize, wanted: impl Fn(u16) -> bool) -> Vec<Field<'a>> {
    let mut fields: Vec<Field<'a>> = Vec::new();
    for field in directory.fields().filter(|field| wanted(field.tag) && field.kind <= DOUBLE) {
        let known = fields.iter().any(|known| known.tag == field.tag);
        if let Some(left) = room.checked_sub(ENTRY_BYTES + outside_bytes(&field)).filter(|_| !known) {
            *room = left;
            fields.push(field);
        }
    }
    fields
}

/// Of a directory: how many entries, the entries, that there is no next one, and the values that have no room in their entries.
fn written_bytes(fields: &[Field<'_>]) -> usize {
    2 + fields.len() * ENTRY_BYTES + 4 + fields.iter().map(outside_bytes).sum::<usize>()
}

/// Values begin at even places.
fn outside_bytes(field: &Field<'_>) -> usize {
    if field.value.len() > INLINE_BYTES { field.value.len().next_multiple_of(2) } else { 0 }
}

fn append(block: &mut Vec<u8>, fields: &[Field<'_>], big_endian: bool) {
    let short = |value: u16| if big_endian { value.to_be_bytes() } else { value.to_le_bytes() };
    let long = |value: usize| if big_endian { (value as u32).to_be_bytes() } else { (value as u32).to_le_bytes() };
    let mut sorted: Vec<&Field<'_>> = fields.iter().collect();
    sorted.sort_unstable_by_key(|field| field.tag);
    let mut outside = Vec::new();
    let outside_at = block.len() + 2 + fields.len() * ENTRY_BYTES + 4;
    block.extend(short(fields.len() as u16));
    for field in sorted {
        block.extend([short(field.tag), short(field.kind)].concat());
        block.extend(long(field.count));
        if field.value.len() > INLINE_BYTES {
            block.extend(long(outside_at + outside.len()));
            outside.extend_from_slice(field.value);
            outside.resize(outside.len().next_multiple_of(2), 0);
        } else {
            let mut inline = [0; INLINE_BYTES];
            inline[..field.value.len()].copy_from_slice(field.value);
            block.extend(inline);
        }
    }
    block.extend([0; 4]);
    block.append(&mut outside);
}
