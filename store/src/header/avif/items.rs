use std::borrow::Cow;

use super::{
    HeaderError,
    boxes::{Reader, corrupt},
};

/// Pieces that an item may consist of.
const MAX_PARTS: u64 = 64;

/// Where the bytes of an item are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvifItem {
    /// Those of the `idat` box, if the item is in there and not anywhere in the file.
    inside: Option<Vec<u8>>,
    /// Start and length; a length of 0 is all the rest.
    parts: Vec<(u64, u64)>,
}

impl AvifItem {
    /// Finds it in the content of an `iloc` box.
    pub(super) fn find(mut places: Reader<'_>, wanted: u32, idat: Option<&[u8]>) -> Result<Self, HeaderError> {
        let (version, _) = places.version_and_flags()?;
        let sizes = places.number(2)? as usize;
        let [offset_bytes, length_bytes, base_bytes, index_bytes] = [sizes >> 12, sizes >> 8 & 15, sizes >> 4 & 15, sizes & 15];
        let count = places.id(version >= 2)?;
        for _ in 0..count {
            let item = places.id(version >= 2)?;
            let method = if version >= 1 { places.number(2)? & 15 } else { 0 };
            let data_reference = places.number(2)?;
            let base = places.number(base_bytes)?;
            let part_count = places.number(2)?;
            if part_count > MAX_PARTS {
                return Err(HeaderError::Unsupported("AVIF with a picture in more than 64 pieces"));
            }
            let mut parts = Vec::new();
            for _ in 0..part_count {
                if version >= 1 {
                    places.number(index_bytes)?;
                }
                let offset = base.checked_add(places.number(offset_bytes)?);
                parts.push((offset.ok_or_else(|| corrupt("an item lies beyond the end of the file"))?, places.number(length_bytes)?));
            }
            if item == wanted {
                return match (method, data_reference, idat) {
                    (0, 0, _) => Ok(Self { inside: None, parts }),
                    (1, 0, Some(idat)) => Ok(Self { inside: Some(idat.to_vec()), parts }),
                    (1, 0, None) => Err(corrupt("it has no idat box")),
                    _ => Err(HeaderError::Unsupported("AVIF that is not whole in one file")),
                };
            }
        }
        Err(corrupt("it does not say where its picture is"))
    }

    /// Its bytes in the whole file.
    pub fn bytes<'a>(&'a self, file: &'a [u8]) -> Result<Cow<'a, [u8]>, HeaderError> {
        let all = self.inside.as_deref().unwrap_or(file);
        let part = |(start, length): &(u64, u64)| {
            let rest = all.get(usize::try_from(*start).ok()?..)?;
            if *length == 0 { Some(rest) } else { rest.get(..usize::try_from(*length).ok()?) }
        };
        let beyond = || corrupt("an item lies beyond the end of the file");
        if let [only] = &self.parts[..] {
            return part(only).map(Cow::Borrowed).ok_or_else(beyond);
        }
        let mut joined = Vec::new();
        for piece in &self.parts {
            joined.extend_from_slice(part(piece).ok_or_else(beyond)?);
            if joined.len() > all.len() {
                return Err(corrupt("the pieces of its picture overlap"));
            }
        }
        Ok(Cow::Owned(joined))
    }
}
