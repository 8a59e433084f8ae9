//! What an ICC profile says of four inks. Computed for every colour as the profile has it: a coarser table of results, as colour management often
//! makes one first, is off by up to several ΔE where inks are dark, or where a profile has strong curves.

use moxcms::{
    ColorProfile, DataColorSpace, LutDataType, LutMultidimensionalType, LutStore, LutType, LutWarehouse, ProfileVersion, SRGB_MATRIX,
    ToneReprCurve, Vector3f,
};

/// D50, the white of every profile's connection (ICC.1:2022, 7.2.16).
const WHITE: [f32; 3] = [0.9642, 1.0, 0.8249];

/// The black of perceptual intents since version 4 (ICC.1:2022, annex D.1).
const PERCEPTUAL_BLACK: [f32; 3] = [0.003_36, 0.003_473_1, 0.002_87];

/// Y of L* 50 (CIE 15). Nobody's darkest ink is lighter.
const LIGHTEST_BLACK: f32 = 0.184_186_5;

/// Points that a curve of a formula is looked up by.
const CURVE_POINTS: u16 = 4096;

/// From inks to linear light of sRGB by the perceptual table of a profile (ICC.1:2022, 10.10 to 10.12), with black point compensation: the
/// darkest colour becomes black and white stays, by a line for each of X, Y and Z (Adobe's paper of 2006).
pub(super) struct InkProfile {
    inks: [Curve; 4],
    grid: Grid,
    middle: [Curve; 3],
    /// Three factors and an offset for each.
    matrix: [[f32; 4]; 3],
    last: [Curve; 3],
    connection: Connection,
    black: [f32; 3],
}

/// What the three values of a table are.
#[derive(Clone, Copy)]
enum Connection {
    /// L*, a* and b*; one is 1 divided by the factor (of version 2 with 16 bit, 0xFF00 is 100).
    Lab {
        factor: f32,
    },
    Xyz,
}

impl InkProfile {
    /// `None` where it is broken, or is for something else than cyan, magenta, yellow and black.
    pub(super) fn read(profile: &[u8]) -> Option<Self> {
        let profile = ColorProfile::new_from_slice(profile).ok()?;
        Self::new(&profile, profile.version())
    }

    fn new(profile: &ColorProfile, version: ProfileVersion) -> Option<Self> {
        if profile.color_space != DataColorSpace::Cmyk {
            return None;
        }
        let tables = [&profile.lut_a_to_b_perceptual, &profile.lut_a_to_b_colorimetric, &profile.lut_a_to_b_saturation];
        let table = tables.into_iter().flatten().next()?;
        let is_short_lab = matches!(table, LutWarehouse::Lut(lut) if lut.lut_type == LutType::Lut16);
        let connection = match profile.pcs {
            DataColorSpace::Lab => Connection::Lab { factor: if is_short_lab { 65_535.0 / 65_280.0 } else { 1.0 } },
            DataColorSpace::Xyz => Connection::Xyz,
            _ => return None,
        };
        let mut profile_of_inks = match table {
            LutWarehouse::Lut(lut) => Self::from_lut(lut, connection)?,
            LutWarehouse::Multidimensional(lut) => Self::from_curves(lut, connection)?,
        };
        profile_of_inks.black = if version >= ProfileVersion::V4_0 {
            PERCEPTUAL_BLACK
        } else {
            let darkest = profile_of_inks.xyz([1.0; 4]);
            if darkest[1] <= LIGHTEST_BLACK { darkest } else { [0.0; 3] }
        };
        Some(profile_of_inks)
    }

    fn from_lut(lut: &LutDataType, connection: Connection) -> Option<Self> {
        let points = usize::from(lut.num_clut_grid_points);
        let inks = curves(&values(&lut.input_table), usize::from(lut.num_input_table_entries))?;
        let last = curves(&values(&lut.output_table), usize::from(lut.num_output_table_entries))?;
        let grid = Grid::new([points; 4], &values(&lut.clut_table))?;
        Some(Self { inks, grid, middle: unchanged(), matrix: UNCHANGED, last, connection, black: [0.0; 3] })
    }

    fn from_curves(lut: &LutMultidimensionalType, connection: Connection) -> Option<Self> {
        let points = lut.grid_points.map(usize::from);
        let grid = Grid::new(*points.first_chunk()?, &values(lut.clut.as_ref()?))?;
        let (middle, matrix) = if lut.m_curves.is_empty() {
            (unchanged(), UNCHANGED)
        } else {
            let (factors, offsets) = (lut.matrix.to_f32().v, lut.bias.v);
            let row = |at: usize| [factors[at][0], factors[at][1], factors[at][2], offsets[at] as f32];
            (sampled(&lut.m_curves)?, [row(0), row(1), row(2)])
        };
        Some(Self { inks: sampled(&lut.a_curves)?, grid, middle, matrix, last: sampled(&lut.b_curves)?, connection, black: [0.0; 3] })
    }

    /// Inks from 0 to 1. What sRGB cannot hold is below 0 or above 1.
    pub(super) fn light(&self, inks: [f32; 4]) -> [f32; 3] {
        const FROM_XYZ: moxcms::Matrix3f = SRGB_MATRIX.inverse().to_f32();
        let xyz = self.xyz(inks);
        let v = [0, 1, 2].map(|at| (xyz[at] - self.black[at]) / (WHITE[at] - self.black[at]) * WHITE[at]);
        FROM_XYZ.mul_vector(Vector3f { v }).v
    }

    fn xyz(&self, inks: [f32; 4]) -> [f32; 3] {
        let values = self.grid.at([0, 1, 2, 3].map(|at| self.inks[at].at(inks[at])));
        let values = [0, 1, 2].map(|at| self.middle[at].at(values[at]));
        let mixed = self.matrix.map(|[first, second, third, offset]| first * values[0] + second * values[1] + third * values[2] + offset);
        let values = [0, 1, 2].map(|at| self.last[at].at(mixed[at]));
        match self.connection {
            // 1 is 1 + 32,767 / 32,768 (ICC.1:2022, 6.3.4.2).
            Connection::Xyz => values.map(|value| value * (1.0 + 32_767.0 / 32_768.0)),
            Connection::Lab { factor } => {
                let [lightness, a, b] = values.map(|value| value * factor);
                xyz_of_lab(lightness * 100.0, a * 255.0 - 128.0, b * 255.0 - 128.0)
            }
        }
    }
}

/// CIE 15, 8.2.1.
fn xyz_of_lab(lightness: f32, a: f32, b: f32) -> [f32; 3] {
    let light = |value: f32| {
        if value > 24.0 / 116.0 { value.powi(3) } else { (value - 16.0 / 116.0) * 108.0 / 841.0 }
    };
    let y = (lightness + 16.0) / 116.0;
    [light(y + a / 500.0) * WHITE[0], light(y), light(y - b / 200.0) * WHITE[2]]
}

const UNCHANGED: [[f32; 4]; 3] = [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0]];

fn unchanged() -> [Curve; 3] {
    [(); 3].map(|()| Curve(vec![0.0, 1.0]))
}

fn values(store: &LutStore) -> Vec<f32> {
    match store {
        LutStore::Store8(values) => values.iter().map(|value| f32::from(*value) / 255.0).collect(),
        LutStore::Store16(values) => values.iter().map(|value| f32::from(*value) / 65_535.0).collect(),
    }
}

/// One after the other.
fn curves<const CURVES: usize>(values: &[f32], points: usize) -> Option<[Curve; CURVES]> {
    if points < 2 || values.len() != points * CURVES {
        return None;
    }
    let curves: Vec<_> = values.chunks_exact(points).map(|points| Curve(points.to_vec())).collect();
    curves.try_into().ok()
}

fn sampled<const CURVES: usize>(curves: &[ToneReprCurve]) -> Option<[Curve; CURVES]> {
    let sampled: Option<Vec<_>> = curves
        .iter()
        .map(|curve| {
            let curve = curve.make_linear_evaluator().ok()?;
            let points = (0..CURVE_POINTS).map(|at| curve.evaluate_value(f32::from(at) / f32::from(CURVE_POINTS - 1)));
            Some(Curve(points.collect()))
        })
        .collect();
    sampled?.try_into().ok()
}

/// At least two points, as far from each other, between which a line is drawn.
struct Curve(Vec<f32>);

impl Curve {
    /// What lies outside of 0 to 1 has the value of its end.
    fn at(&self, value: f32) -> f32 {
        let place = value.clamp(0.0, 1.0) * (self.0.len() - 1) as f32;
        let before = (place as usize).min(self.0.len() - 2);
        between(self.0[before], self.0[before + 1], place - before as f32)
    }
}

fn between(one: f32, other: f32, part: f32) -> f32 {
    one + (other - one) * part
}

/// Colours of combinations of four inks.
struct Grid {
    points: [usize; 4],
    /// How far apart in `colours` neighbours are, by ink; the last ink has its neighbours beside it.
    steps: [usize; 4],
    colours: Vec<[f32; 3]>,
}

impl Grid {
    fn new(points: [usize; 4], values: &[f32]) -> Option<Self> {
        let count = points.into_iter().try_fold(1_usize, usize::checked_mul)?;
        let (colours, rest) = values.as_chunks();
        if points.iter().any(|points| *points < 2) || colours.len() != count || !rest.is_empty() {
            return None;
        }
        let steps = [points[1] * points[2] * points[3], points[2] * points[3], points[3], 1];
        Some(Self { points, steps, colours: colours.to_vec() })
    }

    /// Between its points by a line for the first ink and by tetrahedra for the others, as Little CMS does it.
    fn at(&self, inks: [f32; 4]) -> [f32; 3] {
        let mut corner = 0;
        let mut parts = [0.0; 4];
        for ink in 0..4 {
            let place = inks[ink].clamp(0.0, 1.0) * (self.points[ink] - 1) as f32;
            let before = (place as usize).min(self.points[ink] - 2);
            corner += before * self.steps[ink];
            parts[ink] = place - before as f32;
        }
        let mut order = [1, 2, 3];
        order.sort_unstable_by(|one, other| f32::total_cmp(&parts[*other], &parts[*one]));
        let little = self.in_tetrahedron(corner, order, &parts);
        let much = self.in_tetrahedron(corner + self.steps[0], order, &parts);
        [0, 1, 2].map(|at| between(little[at], much[at], parts[0]))
    }

    /// Along the edges of a cube from `corner`, first for the ink of which there is most.
    fn in_tetrahedron(&self, mut corner: usize, order: [usize; 3], parts: &[f32; 4]) -> [f32; 3] {
        let weights = [1.0 - parts[order[0]], parts[order[0]] - parts[order[1]], parts[order[1]] - parts[order[2]], parts[order[2]]];
        let mut colour = self.colours[corner].map(|value| value * weights[0]);
        for (ink, weight) in order.into_iter().zip(&weights[1..]) {
            corner += self.steps[ink];
            for (sum, value) in colour.iter_mut().zip(self.colours[corner]) {
                *sum += value * weight;
            }
        }
        colour
    }
}

#[cfg(test)]
mod tests {
    use moxcms::Matrix3d;

    use super::*;

    /// Two points an ink, all of any ink is `darkest`, none is white.
    fn lut(lut_type: LutType, white: [u16; 3], darkest: [u16; 3]) -> LutDataType {
        let colours = (0..16).flat_map(|inks| if inks == 0 { white } else { darkest });
        LutDataType {
            num_input_channels: 4,
            num_output_channels: 3,
            num_clut_grid_points: 2,
            matrix: Matrix3d::IDENTITY,
            num_input_table_entries: 2,
            num_output_table_entries: 2,
            input_table: LutStore::Store16([0, u16::MAX].repeat(4)),
            clut_table: LutStore::Store16(colours.collect()),
            output_table: LutStore::Store16([0, u16::MAX].repeat(3)),
            lut_type,
        }
    }

    fn profile(pcs: DataColorSpace, lut: LutDataType) -> ColorProfile {
        let mut profile = ColorProfile::default();
        (profile.pcs, profile.color_space) = (pcs, DataColorSpace::Cmyk);
        profile.lut_a_to_b_perceptual = Some(LutWarehouse::Lut(lut));
        profile
    }

    fn read(profile: &ColorProfile) -> Option<InkProfile> {
        InkProfile::new(profile, ProfileVersion::V2_4)
    }

    fn assert_light(profile: &InkProfile, inks: [f32; 4], expected: [f32; 3]) {
        let light = profile.light(inks);
        let is_near = light.iter().zip(expected).all(|(found, expected)| (found - expected).abs() < 0.002);
        assert!(is_near, "{inks:?} is {light:?} instead of {expected:?}");
    }

    #[test]
    fn white_stays_and_the_darkest_becomes_black_with_its_hue() {
        // L* 100 and 10 with some red, as version 2 has them in 16 bit.
        let short = lut(LutType::Lut16, [0xFF00, 0x8000, 0x8000], [0x1980, 0x8200, 0x8000]);
        let short = read(&profile(DataColorSpace::Lab, short)).unwrap();
        assert_light(&short, [0.0; 4], [1.0; 3]);
        assert_light(&short, [1.0; 4], [0.0; 3]);
        // Half of one ink is half way in L*: 55 less what black has, and no red is left.
        let half = short.light([0.0, 0.0, 0.0, 0.5]);
        assert!((0.20..0.24).contains(&half[1]), "{half:?}");

        let all = [u16::MAX, 0x8080, 0x8080];
        let long = read(&profile(DataColorSpace::Lab, lut(LutType::Lut8, all, [0x1999, 0x8080, 0x8080]))).unwrap();
        assert_light(&long, [0.0; 4], [1.0; 3]);
        assert_light(&long, [0.0, 1.0, 0.0, 0.0], [0.0; 3]);
    }

    #[test]
    fn light_of_xyz_is_mixed_between_points() {
        let white = WHITE.map(|value| (value * 32_768.0).round() as u16);
        let xyz = read(&profile(DataColorSpace::Xyz, lut(LutType::Lut16, white, [0; 3]))).unwrap();
        assert_light(&xyz, [0.0; 4], [1.0; 3]);
        assert_light(&xyz, [0.25, 0.0, 0.0, 0.0], [0.75; 3]);
        // Of two inks the larger part counts in a tetrahedron; the first is mixed by a line.
        assert_light(&xyz, [0.0, 0.25, 0.5, 0.0], [0.5; 3]);
        assert_light(&xyz, [0.5, 0.0, 0.0, 0.5], [0.25; 3]);
        assert_light(&xyz, [2.0, -1.0, 0.0, 0.0], [0.0; 3]);
    }

    #[test]
    fn ink_that_is_lighter_than_any_is_not_made_black() {
        let pale = lut(LutType::Lut8, [u16::MAX, 0x8080, 0x8080], [0xCCCC, 0x8080, 0x8080]);
        let pale = read(&profile(DataColorSpace::Lab, pale)).unwrap();
        assert_light(&pale, [1.0; 4], [0.567; 3]);
    }

    #[test]
    fn tables_that_do_not_fit_are_no_profile() {
        let whole = || lut(LutType::Lut16, [0xFF00, 0x8000, 0x8000], [0; 3]);
        let fits = |lut| read(&profile(DataColorSpace::Lab, lut)).is_some();
        assert!(fits(whole()));
        assert!(!fits(LutDataType { num_clut_grid_points: 3, ..whole() }));
        assert!(!fits(LutDataType { num_clut_grid_points: 1, ..whole() }));
        assert!(!fits(LutDataType { num_input_table_entries: 1, ..whole() }));
        assert!(!fits(LutDataType { output_table: LutStore::Store8(vec![0; 5]), ..whole() }));
        let mut of_screens = profile(DataColorSpace::Lab, whole());
        of_screens.color_space = DataColorSpace::Rgb;
        assert!(read(&of_screens).is_none());
        assert!(read(&profile(DataColorSpace::Rgb, whole())).is_none());
        assert!(InkProfile::read(b"no profile").is_none());
    }
}
