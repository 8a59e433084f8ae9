//! From the bytes of a row to samples of 8 or 16 bit.

use super::{super::ConvertError, directory::number};

/// Tag 339.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Unsigned,
    Signed,
    Float,
}

/// What is stored for each sample, and how.
#[derive(Debug, Clone, Copy)]
pub(super) struct Samples {
    pub(super) kind: Kind,
    pub(super) bits: u32,
    pub(super) big_endian: bool,
    /// Samples of a pixel that lie side by side.
    pub(super) side_by_side: usize,
    pub(super) prediction: Prediction,
}

/// Tag 317.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prediction {
    None,
    Horizontal,
    Float,
}

impl Samples {
    pub(super) fn check(&self) -> Result<(), ConvertError> {
        let known = match self.kind {
            Kind::Unsigned | Kind::Signed => (1..=16).contains(&self.bits) || matches!(self.bits, 24 | 32 | 64),
            Kind::Float => matches!(self.bits, 16 | 24 | 32 | 64),
        };
        let fits = self.prediction != Prediction::Float || self.kind == Kind::Float;
        if known && fits {
            return Ok(());
        }
        let Self { kind, bits, prediction, .. } = self;
        Err(ConvertError::unsupported_input(format!("a TIFF of {bits} bit {kind:?} with {prediction:?} prediction is not read here")))
    }

    /// Whether more than 8 bit are worth keeping.
    pub(super) fn is_deep(&self) -> bool {
        self.bits > 8
    }

    pub(super) fn row_bytes(&self, pixels: usize) -> usize {
        (pixels * self.side_by_side * self.bits as usize).div_ceil(8)
    }

    /// The stored values of a row, in their own bits.
    pub(super) fn values(&self, row: &[u8], pixels: usize) -> Vec<u64> {
        let count = pixels * self.side_by_side;
        let size = self.bits as usize / 8;
        let mut values: Vec<u64> = match self.prediction {
            Prediction::Float => {
                let mut sums = row[..count * size].to_vec();
                for at in self.side_by_side..sums.len() {
                    sums[at] = sums[at].wrapping_add(sums[at - self.side_by_side]);
                }
                // The first bytes of all values, then the second ones.
                (0..count).map(|at| (0..size).fold(0, |value, byte| value << 8 | u64::from(sums[byte * count + at]))).collect()
            }
            _ if self.bits == 8 => row[..count].iter().map(|byte| u64::from(*byte)).collect(),
            _ if self.bits.is_multiple_of(8) => row.chunks_exact(size).take(count).map(|bytes| number(bytes, self.big_endian)).collect(),
            _ => self.odd_bits(row, count),
        };
        if self.prediction == Prediction::Horizontal {
            let mask = self.max();
            for at in self.side_by_side..values.len() {
                values[at] = values[at].wrapping_add(values[at - self.side_by_side]) & mask;
            }
        }
        values
    }

    /// A value as a sample of 8 bit, or of 16 where the page is deep. Signed ones are moved up, so that the lowest is black; of floating
    /// point 0 is black and 1 is white.
    pub(super) fn scaled(&self, value: u64) -> u16 {
        let value = match self.kind {
            Kind::Unsigned => value,
            Kind::Signed => value ^ 1 << (self.bits - 1),
            Kind::Float => return (float(value, self.bits).clamp(0.0, 1.0) * 65_535.0).round() as u16,
        };
        let white = if self.is_deep() { 65_535 } else { 255 };
        match self.bits {
            8 | 16 => value as u16,
            24..=64 => (value >> (self.bits - 16)) as u16,
            _ => ((value * white + self.max() / 2) / self.max()) as u16,
        }
    }

    fn max(&self) -> u64 {
        u64::MAX >> (u64::BITS - self.bits)
    }

    fn odd_bits(&self, row: &[u8], count: usize) -> Vec<u64> {
        let (mut held, mut held_bits, mut bytes) = (0_u64, 0, row.iter());
        (0..count)
            .map(|_| {
                while held_bits < self.bits {
                    held = held << 8 | u64::from(bytes.next().copied().unwrap_or(0));
                    held_bits += 8;
                }
                held_bits -= self.bits;
                held >> held_bits & self.max()
            })
            .collect()
    }
}

/// IEEE 754 of 16, 32 and 64 bit, and the 24 bit of TIFF Technical Note 3. What is no number is black.
fn float(value: u64, bits: u32) -> f64 {
    let small = |exponent_bits: u32, fraction_bits: u32| {
        let sign = if value >> (exponent_bits + fraction_bits) & 1 == 1 { -1.0 } else { 1.0 };
        let exponent = (value >> fraction_bits & ((1 << exponent_bits) - 1)) as i32;
        let fraction = (value & ((1 << fraction_bits) - 1)) as f64 / f64::from(1 << fraction_bits);
        let bias = (1 << (exponent_bits - 1)) - 1;
        match exponent {
            0 => sign * fraction * 2_f64.powi(1 - bias),
            top if top == (1 << exponent_bits) - 1 => {
                if fraction == 0.0 {
                    sign * f64::INFINITY
                } else {
                    f64::NAN
                }
            }
            _ => sign * (1.0 + fraction) * 2_f64.powi(exponent - bias),
        }
    };
    let number = match bits {
        16 => small(5, 10),
        24 => small(7, 16),
        32 => f64::from(f32::from_bits(value as u32)),
        _ => f64::from_bits(value),
    };
    if number.is_nan() { 0.0 } else { number }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unsigned(bits: u32) -> Samples {
        Samples { kind: Kind::Unsigned, bits, big_endian: true, side_by_side: 1, prediction: Prediction::None }
    }

    #[test]
    fn the_largest_value_of_any_depth_is_white_and_none_is_black() {
        for bits in (1..=16).chain([24, 32, 64]) {
            let samples = unsigned(bits);
            let white = if bits > 8 { 65_535 } else { 255 };
            assert_eq!((samples.scaled(0), samples.scaled(samples.max())), (0, white), "{bits} bit");
            let signed = Samples { kind: Kind::Signed, ..samples };
            assert_eq!((signed.scaled(1 << (bits - 1)), signed.scaled(samples.max() >> 1)), (0, white), "{bits} bit, signed");
        }
    }

    #[test]
    fn bits_are_taken_from_the_highest_on() {
        assert_eq!(unsigned(3).values(&[0b1011_1001, 0b1000_0000], 3), [0b101, 0b110, 0b011]);
        assert_eq!(unsigned(12).values(&[0xAB, 0xCD, 0xEF], 2), [0xABC, 0xDEF]);
        assert_eq!(Samples { big_endian: false, ..unsigned(16) }.values(&[1, 2, 3, 4], 2), [0x0201, 0x0403]);
    }

    #[test]
    fn differences_are_added_up_within_their_bits() {
        let samples = Samples { prediction: Prediction::Horizontal, side_by_side: 2, ..unsigned(8) };
        assert_eq!(samples.values(&[250, 1, 10, 2, 1, 255], 3), [250, 1, 4, 3, 5, 2]);
    }

    #[test]
    fn floating_point_of_every_size_is_read() {
        for (bits, half, one, none) in
            [(16, 0x3800, 0x3C00, 0x7E00), (24, 0x3E_0000, 0x3F_0000, 0x7F_0001), (32, 0x3F00_0000, 0x3F80_0000, 0x7FC0_0000)]
        {
            assert_eq!([half, one].map(|value| float(value, bits).to_bits()), [0.5_f64, 1.0].map(f64::to_bits), "{bits} bit");
            assert_eq!(float(none, bits).to_bits(), 0.0_f64.to_bits(), "{bits} bit");
        }
        assert_eq!(Samples { kind: Kind::Float, ..unsigned(64) }.scaled(0.5_f64.to_bits()), 32_768);
    }
}
