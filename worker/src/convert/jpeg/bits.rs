//! The entropy-coded part of a baseline JPEG, bit by bit (ITU-T T.81, annex F.2).
#![expect(clippy::inline_always, reason = "a call for each code takes longer than reading it")]

/// Bits that are looked up at once; longer codes are rare.
const LOOKED_UP_BITS: u32 = 10;
/// The same where values are passed over: room for several.
const SKIPPED_BITS: u32 = 13;

/// What codes stand for.
pub(super) struct Codes {
    /// Length and value of the code that begins with these bits; length 0 for those that are longer.
    short: Box<[(u8, u8); 1 << LOOKED_UP_BITS]>,
    /// Behind the last code of each length, in 16 bits, and where its values begin less the first code.
    ends: [(u32, i32); 17],
    values: Vec<u8>,
}

/// What one look at the next bits tells of values that are not wanted.
#[derive(Debug, Clone, Copy, Default)]
struct Skip {
    /// Of whole codes and what belongs to them; 0 when the first one is longer than what was looked at.
    bits: u8,
    /// How many places of the block they fill.
    places: u8,
    /// The last one is the end of the block.
    is_end: bool,
}

/// Tells how far to go where values are not wanted, several of them at a time.
pub(super) struct Skips(Box<[Skip; 1 << SKIPPED_BITS]>);

impl Skips {
    pub(super) fn new(codes: &Codes) -> Self {
        let mut skips: Box<[Skip; 1 << SKIPPED_BITS]> =
            vec![Skip::default(); 1 << SKIPPED_BITS].into_boxed_slice().try_into().expect("it has this length");
        for (next, skip) in skips.iter_mut().enumerate() {
            while !skip.is_end {
                let left = SKIPPED_BITS - u32::from(skip.bits);
                // Zeros stand for bits that are not known.
                let known = next & ((1 << left) - 1);
                let looked_up = if left < LOOKED_UP_BITS { known << (LOOKED_UP_BITS - left) } else { known >> (left - LOOKED_UP_BITS) };
                let (length, run_and_size) = codes.short[looked_up];
                let (run, size) = (run_and_size >> 4, run_and_size & 15);
                if length == 0 || u32::from(length + size) > left {
                    break;
                }
                skip.bits += length + size;
                skip.is_end = size == 0 && run < 15;
                if !skip.is_end {
                    skip.places += run + 1;
                }
            }
        }
        Self(skips)
    }
}

impl Codes {
    /// `None` when there are more codes than fit into their lengths.
    pub(super) fn new(counts: &[u8; 16], values: &[u8]) -> Option<Self> {
        let mut codes = Self { short: Box::new([(0, 0); 1 << LOOKED_UP_BITS]), ends: [(0, 0); 17], values: values.to_vec() };
        let (mut code, mut index) = (0_u32, 0_usize);
        for (length, count) in (1_u32..).zip(counts.iter().map(|count| usize::from(*count))) {
            codes.ends[length as usize].1 = index as i32 - code as i32;
            for value in values.get(index..index + count)? {
                if length <= LOOKED_UP_BITS {
                    let spare = LOOKED_UP_BITS - length;
                    codes.short.get_mut((code as usize) << spare..(code as usize + 1) << spare)?.fill((length as u8, *value));
                }
                code += 1;
            }
            index += count;
            if code > 1 << length {
                return None;
            }
            codes.ends[length as usize].0 = code << (16 - length);
            code <<= 1;
        }
        Some(codes)
    }

    /// The length and value of a code that is too long to be looked up, in the next 16 bits.
    #[cold]
    fn long(&self, next: u32) -> Option<(u32, u8)> {
        let length = (LOOKED_UP_BITS + 1..=16).find(|length| next < self.ends[*length as usize].0)?;
        let index = (next >> (16 - length)) as i32 + self.ends[length as usize].1;
        Some((length, *self.values.get(usize::try_from(index).ok()?)?))
    }
}

/// Reads bits up to the next marker.
pub(super) struct Bits<'a> {
    rest: &'a [u8],
    /// The next bits, the first one highest; zeros behind them.
    buffer: u64,
    held: u32,
    /// Zeros that were read because there was nothing else.
    made_up: u32,
}

impl<'a> Bits<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { rest: data, buffer: 0, held: 0, made_up: 0 }
    }

    /// Whether more was read than there is.
    pub(super) fn is_exhausted(&self) -> bool {
        self.made_up > self.held
    }

    /// Whether all was read up to the end of the picture, or of the file, but for what fills the last byte.
    pub(super) fn is_at_end(&self) -> bool {
        let unread = self.held.checked_sub(self.made_up);
        unread.is_some_and(|unread| unread < 8) && (self.rest.is_empty() || self.rest.starts_with(&[0xFF, 0xD9]))
    }

    /// Goes on behind the restart marker of this number.
    pub(super) fn restart(&mut self, number: u8) -> Option<()> {
        (self.buffer, self.held, self.made_up) = (0, 0, 0);
        let after = self.rest.strip_prefix(&[0xFF, 0xD0 + number])?;
        self.rest = after;
        Some(())
    }

    /// Called when fewer than 32 bits are held; afterwards there are more.
    fn fill(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHEST: u64 = 0x8080_8080_8080_8080;
        if let Some(next) = self.rest.first_chunk::<8>() {
            let next = u64::from_be_bytes(*next);
            if (!next).wrapping_sub(ONES) & next & HIGHEST == 0 {
                let bytes = (u64::BITS - self.held) / 8;
                self.buffer |= next >> self.held;
                self.held += bytes * 8;
                // What was taken of the byte after these is taken again, to the same place.
                self.buffer &= !(u64::MAX >> (self.held - 1) >> 1);
                self.rest = &self.rest[bytes as usize..];
                return;
            }
        }
        while self.held <= 56 {
            let byte = match self.rest {
                [0xFF, 0, after @ ..] => {
                    self.rest = after;
                    0xFF
                }
                [byte, after @ ..] if *byte != 0xFF => {
                    self.rest = after;
                    *byte
                }
                _ => {
                    self.made_up += 8;
                    0
                }
            };
            self.buffer |= u64::from(byte) << (56 - self.held);
            self.held += 8;
        }
    }

    #[inline]
    pub(super) fn skip(&mut self, bits: u32) {
        self.buffer <<= bits;
        self.held -= bits;
    }

    /// The next value of a table. `None` for a code that it does not have.
    #[inline]
    pub(super) fn value(&mut self, codes: &Codes) -> Option<u8> {
        let (length, value) = self.peek(codes)?;
        self.skip(length);
        Some(value)
    }

    /// Passes over the values of a block from the one at `at` to its end. `None` for a code that there is not, or one that leads out of the block.
    #[inline(always)]
    pub(super) fn skip_values(&mut self, codes: &Codes, skips: &Skips, mut at: usize) -> Option<()> {
        while at < 64 {
            if self.held < 32 {
                self.fill();
            }
            let skip = skips.0[(self.buffer >> (u64::BITS - SKIPPED_BITS)) as usize];
            let next = at + usize::from(skip.places);
            // Behind the last place no end is told, and what follows is another block's.
            if skip.bits > 0 && next + usize::from(skip.is_end) <= 64 {
                self.skip(u32::from(skip.bits));
                if skip.is_end {
                    return Some(());
                }
                at = next;
                continue;
            }
            let (length, run_and_size) = self.peek(codes)?;
            let (run, size) = (usize::from(run_and_size >> 4), u32::from(run_and_size & 15));
            self.skip(length + size);
            if size == 0 && run < 15 {
                return Some(());
            }
            at += run + 1;
        }
        (at == 64).then_some(())
    }

    /// The length of the next code and what it stands for. 15 bits more can be read behind it.
    #[inline(always)]
    pub(super) fn peek(&mut self, codes: &Codes) -> Option<(u32, u8)> {
        if self.held < 32 {
            self.fill();
        }
        let (length, value) = codes.short[(self.buffer >> (u64::BITS - LOOKED_UP_BITS)) as usize];
        if length > 0 { Some((u32::from(length), value)) } else { codes.long((self.buffer >> 48) as u32) }
    }

    /// The value of a size class, up to 15 bits.
    #[inline]
    pub(super) fn of_class(&mut self, size: u32) -> i32 {
        if size == 0 {
            return 0;
        }
        let bits = (self.buffer >> (u64::BITS - size)) as i32;
        self.skip(size);
        // Those that begin with a zero are negative.
        if bits >> (size - 1) == 0 { bits - (1 << size) + 1 } else { bits }
    }
}
