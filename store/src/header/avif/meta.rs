use super::{
    AvifItem, HeaderError,
    boxes::{Reader, corrupt},
};

/// Pictures that belong to another one among which its alpha is looked for.
const MAX_AUXILIARIES: usize = 8;

/// What the `meta` box says of the picture that a file is for, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvifMeta {
    /// In pixels, as stored.
    pub width: u32,
    /// In pixels, as stored.
    pub height: u32,
    /// How often the stored picture is to be turned clockwise by 90°: 0 to 3.
    pub quarter_turns: u8,
    /// Whether left and right are exchanged after that.
    pub is_mirrored: bool,
    /// Bits of a stored sample: 8, 10 or 12.
    pub channel_bits: u8,
    /// Whether there is no colour.
    pub is_grey: bool,
    /// AV1 data of the picture.
    pub colours: AvifItem,
    /// AV1 data of its alpha.
    pub alpha: Option<AvifItem>,
    /// Whether the colours are multiplied by the alpha.
    pub is_premultiplied: bool,
    /// An EXIF block behind 4 bytes that say how many more are before it.
    pub exif: Option<AvifItem>,
    /// What the colours mean, if it is said by numbers.
    pub cicp: Option<Cicp>,
    /// What the colours mean, if it is said by a profile.
    pub icc_profile: Option<Vec<u8>>,
}

/// Code points of ITU-T H.273.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cicp {
    /// Of red, green and blue.
    pub primaries: u16,
    /// The tone curve.
    pub transfer: u16,
    /// How luma and chroma are made of red, green and blue.
    pub matrix: u16,
    /// Whether samples use all of their values.
    pub is_full_range: bool,
}

/// The boxes in a `meta` box that matter.
#[derive(Default)]
struct Boxes<'a> {
    primary: Option<Reader<'a>>,
    kinds: Option<Reader<'a>>,
    places: Option<Reader<'a>>,
    references: Option<Reader<'a>>,
    idat: Option<Reader<'a>>,
    properties: Vec<([u8; 4], Reader<'a>)>,
    associations: Vec<Reader<'a>>,
}

impl AvifMeta {
    /// Reads the content of a `meta` box.
    pub fn read(meta: &[u8]) -> Result<Self, HeaderError> {
        let boxes = Boxes::read(Reader(meta))?;
        let primary = boxes.primary()?;
        let kinds = boxes.kinds()?;
        let kind = kinds.iter().find(|(item, _)| *item == primary).map(|(_, kind)| kind);
        match kind {
            Some(b"av01") => {}
            Some(b"grid") => return Err(HeaderError::Unsupported("AVIF of several tiles (a grid)")),
            Some(b"iden" | b"iovl" | b"tmap") => return Err(HeaderError::Unsupported("AVIF that is derived from other pictures")),
            Some(b"hvc1") => return Err(HeaderError::Unsupported("HEIC")),
            Some(_) => return Err(HeaderError::Unsupported("HEIF")),
            None => return Err(corrupt("it does not say which picture it is for")),
        }
        let mut found = Self {
            width: 0,
            height: 0,
            quarter_turns: 0,
            is_mirrored: false,
            channel_bits: 0,
            is_grey: false,
            colours: boxes.place(primary)?,
            alpha: None,
            is_premultiplied: false,
            exif: None,
            cicp: None,
            icc_profile: None,
        };
        for (kind, content, is_essential) in boxes.properties_of(primary)? {
            found.take_property(kind, content, is_essential)?;
        }
        if found.width == 0 || found.height == 0 {
            return Err(corrupt("its width or height is zero"));
        }
        if found.channel_bits == 0 {
            return Err(corrupt("it does not say how its picture is coded"));
        }
        let references = boxes.references()?;
        let of_primary = references.iter().filter(|(kind, _, to)| kind == b"auxl" && *to == primary);
        for (_, from, _) in of_primary.take(MAX_AUXILIARIES) {
            if kinds.contains(&(*from, *b"av01")) && boxes.is_alpha(*from)? {
                found.alpha = Some(boxes.place(*from)?);
                found.is_premultiplied = references.contains(&(*b"prem", primary, *from));
            }
        }
        let exif = kinds.iter().find(|(_, kind)| kind == b"Exif").filter(|(item, _)| references.contains(&(*b"cdsc", *item, primary)));
        found.exif = exif.and_then(|(item, _)| boxes.place(*item).ok());
        Ok(found)
    }

    /// Reads the `meta` box of a whole file.
    pub fn of_file(file: &[u8]) -> Result<Self, HeaderError> {
        let mut file = Reader(file);
        while let Some((kind, content)) = file.next_box()? {
            if kind == *b"meta" {
                return Self::read(content.0);
            }
        }
        Err(corrupt("it has no meta box"))
    }

    /// Width and height as people see them.
    pub fn upright_size(&self) -> (u32, u32) {
        if self.quarter_turns.is_multiple_of(2) { (self.width, self.height) } else { (self.height, self.width) }
    }

    fn take_property(&mut self, kind: [u8; 4], mut content: Reader<'_>, is_essential: bool) -> Result<(), HeaderError> {
        match &kind {
            b"ispe" => {
                content.version_and_flags()?;
                (self.width, self.height) = (content.id(true)?, content.id(true)?);
            }
            b"av1C" => {
                let flags = content.take(3)?[2];
                self.is_grey = flags & 0x10 != 0;
                self.channel_bits = match (flags & 0x40 != 0, flags & 0x20 != 0) {
                    (false, _) => 8,
                    (true, false) => 10,
                    (true, true) => 12,
                };
            }
            b"irot" => {
                let against_the_clock = content.take(1)?[0] & 3;
                let clockwise = 4 - against_the_clock;
                self.turn(clockwise);
            }
            b"imir" => {
                // Exchanging top and bottom is exchanging left and right, and then half a turn.
                let exchanges_sides = content.take(1)?[0] & 1 == 1;
                self.is_mirrored = !self.is_mirrored;
                if !exchanges_sides {
                    self.turn(2);
                }
            }
            b"colr" => self.take_colours(content)?,
            b"clap" => return Err(HeaderError::Unsupported("AVIF that shows a part of its picture (a clean aperture)")),
            b"pixi" | b"pasp" | b"auxC" | b"a1lx" | b"clli" | b"mdcv" | b"cclv" | b"amve" => {}
            _ if is_essential => {
                return Err(HeaderError::Unsupported("AVIF with a property that nothing here knows and it cannot be shown without"));
            }
            _ => {}
        }
        Ok(())
    }

    /// A turn of what is mirrored already is the opposite turn before that.
    fn turn(&mut self, clockwise: u8) {
        let clockwise = if self.is_mirrored { 4 - clockwise % 4 } else { clockwise };
        self.quarter_turns = (self.quarter_turns + clockwise) % 4;
    }

    fn take_colours(&mut self, mut content: Reader<'_>) -> Result<(), HeaderError> {
        match content.take(4)? {
            b"nclx" => {
                let mut number = || content.number(2).map(|number| number as u16);
                let (primaries, transfer, matrix) = (number()?, number()?, number()?);
                self.cicp = Some(Cicp { primaries, transfer, matrix, is_full_range: content.take(1)?[0] & 0x80 != 0 });
            }
            // One is all that a picture may have; copying each of thousands would take long.
            b"prof" | b"rICC" if self.icc_profile.is_none() => self.icc_profile = Some(content.0.to_vec()),
            _ => {}
        }
        Ok(())
    }
}

impl<'a> Boxes<'a> {
    fn read(mut meta: Reader<'a>) -> Result<Self, HeaderError> {
        let mut found = Self::default();
        meta.version_and_flags()?;
        while let Some((kind, content)) = meta.next_box()? {
            match &kind {
                b"pitm" => found.primary = Some(content),
                b"iinf" => found.kinds = Some(content),
                b"iloc" => found.places = Some(content),
                b"iref" => found.references = Some(content),
                b"idat" => found.idat = Some(content),
                b"iprp" => found.take_properties(content)?,
                _ => {}
            }
        }
        Ok(found)
    }

    fn take_properties(&mut self, mut both: Reader<'a>) -> Result<(), HeaderError> {
        while let Some((kind, mut content)) = both.next_box()? {
            match &kind {
                b"ipco" => {
                    while let Some(property) = content.next_box()? {
                        self.properties.push(property);
                    }
                }
                b"ipma" => self.associations.push(content),
                _ => {}
            }
        }
        Ok(())
    }

    fn primary(&self) -> Result<u32, HeaderError> {
        let mut content = self.primary.ok_or_else(|| corrupt("it does not say which picture it is for"))?;
        let (version, _) = content.version_and_flags()?;
        content.id(version > 0)
    }

    /// Items and what they are.
    fn kinds(&self) -> Result<Vec<(u32, [u8; 4])>, HeaderError> {
        let mut content = self.kinds.ok_or_else(|| corrupt("it has no list of items"))?;
        let (version, _) = content.version_and_flags()?;
        content.id(version > 0)?;
        let mut kinds = Vec::new();
        while let Some((kind, mut entry)) = content.next_box()? {
            let (version, _) = entry.version_and_flags()?;
            if kind != *b"infe" || version < 2 {
                continue;
            }
            let item = entry.id(version > 2)?;
            let _protection = entry.number(2)?;
            kinds.push((item, *entry.take(4)?.first_chunk().expect("these are four bytes")));
        }
        Ok(kinds)
    }

    /// Kind of the reference, from which item, to which.
    fn references(&self) -> Result<Vec<([u8; 4], u32, u32)>, HeaderError> {
        let Some(mut content) = self.references else { return Ok(Vec::new()) };
        let (version, _) = content.version_and_flags()?;
        let mut references = Vec::new();
        while let Some((kind, mut reference)) = content.next_box()? {
            let from = reference.id(version > 0)?;
            for _ in 0..reference.number(2)? {
                references.push((kind, from, reference.id(version > 0)?));
            }
        }
        Ok(references)
    }

    fn place(&self, item: u32) -> Result<AvifItem, HeaderError> {
        let places = self.places.ok_or_else(|| corrupt("it does not say where its picture is"))?;
        AvifItem::find(places, item, self.idat.map(|idat| idat.0))
    }

    /// Of an item, in the order in which they apply: kind, content, and whether the item cannot be shown without.
    fn properties_of(&self, item: u32) -> Result<Vec<([u8; 4], Reader<'a>, bool)>, HeaderError> {
        let mut found = Vec::new();
        for mut content in self.associations.iter().copied() {
            let (version, flags) = content.version_and_flags()?;
            for _ in 0..content.number(4)? {
                let owner = content.id(version > 0)?;
                for _ in 0..content.number(1)? {
                    let is_long = flags & 1 == 1;
                    let both = content.number(if is_long { 2 } else { 1 })?;
                    let essential_bit = if is_long { 0x8000 } else { 0x80 };
                    let index = (both & (essential_bit - 1)) as usize;
                    if owner == item && index > 0 {
                        let (kind, property) =
                            *self.properties.get(index - 1).ok_or_else(|| corrupt("it has fewer properties than it names"))?;
                        found.push((kind, property, both & essential_bit != 0));
                    }
                }
            }
        }
        Ok(found)
    }

    fn is_alpha(&self, item: u32) -> Result<bool, HeaderError> {
        const ALPHA: [&[u8]; 2] = [b"urn:mpeg:mpegB:cicp:systems:auxiliary:alpha\0", b"urn:mpeg:hevc:2015:auxid:1\0"];
        let properties = self.properties_of(item)?;
        Ok(properties.iter().any(|(kind, content, _)| {
            kind == b"auxC" && content.0.get(4..).is_some_and(|urn| ALPHA.iter().any(|alpha| urn.starts_with(alpha)))
        }))
    }
}
