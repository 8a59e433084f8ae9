//! What the segments before the scan of a baseline JPEG say (ITU-T T.81, annex B).

use super::{bits::Codes, segments};

/// One component of the frame.
pub(super) struct Component {
    id: u8,
    /// Blocks of a unit: 1, 2 or 4.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Which tables are its own.
    pub(super) steps: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// A frame of one scan: grey, or three components that are YCbCr.
#[derive(Default)]
pub(super) struct Frame {
    /// In zigzag.
    pub(super) steps: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Codes>; 4],
    pub(super) ac: [Option<Codes>; 4],
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
    /// Units between restart markers; 0 without any.
    pub(super) restart_every: usize,
}

impl Frame {
    /// And what is behind the header of its scan. `None` for every other kind of JPEG, and for a damaged header.
    pub(super) fn read(input: &[u8]) -> Option<(Self, &[u8])> {
        let mut frame = Self::default();
        for (marker, content, behind) in segments(input) {
            match marker {
                0xC0 | 0xC1 => frame.read_frame(content)?,
                0xC4 => frame.read_codes(content)?,
                0xDB => frame.read_steps(content)?,
                0xDD => frame.restart_every = usize::from(u16::from_be_bytes(*content.first_chunk()?)),
                // Components that are no YCbCr.
                0xEE if content.starts_with(b"Adobe") && content.get(11) != Some(&1) => return None,
                0xC2..=0xCF => return None,
                0xDA => {
                    frame.read_scan(content)?;
                    return Some((frame, behind));
                }
                _ => {}
            }
        }
        None
    }

    /// The blocks of a unit across and down, of the component that has most.
    pub(super) fn unit_blocks(&self) -> Option<(usize, usize)> {
        let across = self.components.iter().map(|component| component.across).max()?;
        Some((across, self.components.iter().map(|component| component.down).max()?))
    }

    fn read_steps(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = content.split_first() {
            let (values, rest): (Vec<u16>, _) = if kind >> 4 == 0 {
                (rest.get(..64)?.iter().map(|step| u16::from(*step)).collect(), &rest[64..])
            } else {
                (rest.get(..128)?.as_chunks().0.iter().map(|step| u16::from_be_bytes(*step)).collect(), &rest[128..])
            };
            *self.steps.get_mut(usize::from(kind & 15))? = Some(values.try_into().ok()?);
            content = rest;
        }
        Some(())
    }

    fn read_codes(&mut self, mut content: &[u8]) -> Option<()> {
        while let Some((kind, rest)) = content.split_first() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let (values, rest) = rest.split_at_checked(counts.iter().map(|count| usize::from(*count)).sum())?;
            let tables = if kind >> 4 == 0 { &mut self.dc } else { &mut self.ac };
            *tables.get_mut(usize::from(kind & 15))? = Some(Codes::new(counts, values)?);
            content = rest;
        }
        Some(())
    }

    fn read_frame(&mut self, content: &[u8]) -> Option<()> {
        let [8, height_high, height_low, width_high, width_low, count, components @ ..] = content else { return None };
        self.height = usize::from(u16::from_be_bytes([*height_high, *height_low]));
        self.width = usize::from(u16::from_be_bytes([*width_high, *width_low]));
        let components = components.as_chunks::<3>().0.get(..usize::from(*count))?;
        // Without JFIF or Adobe's word these letters mean that the colours are what they are called.
        let are_rgb = components.iter().map(|component| component[0]).eq(*b"RGB");
        if self.width == 0 || self.height == 0 || !matches!(count, 1 | 3) || are_rgb || !self.components.is_empty() {
            return None;
        }
        for [id, factors, steps] in components {
            let (across, down) = (usize::from(factors >> 4), usize::from(factors & 15));
            // A grey picture has one block a unit, whatever it says.
            let (across, down) = if *count == 1 { (1, 1) } else { (across, down) };
            if !matches!((across, down), (1 | 2 | 4, 1 | 2 | 4)) {
                return None;
            }
            self.components.push(Component { id: *id, across, down, steps: usize::from(*steps), dc: 0, ac: 0 });
        }
        Some(())
    }

    fn read_scan(&mut self, content: &[u8]) -> Option<()> {
        let (count, rest) = content.split_first()?;
        if usize::from(*count) != self.components.len() || self.components.is_empty() {
            return None;
        }
        for (component, [id, tables]) in self.components.iter_mut().zip(rest.as_chunks::<2>().0.get(..usize::from(*count))?) {
            (component.dc, component.ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            if component.id != *id || component.dc > 3 || component.ac > 3 || component.steps > 3 {
                return None;
            }
        }
        Some(())
    }
}
