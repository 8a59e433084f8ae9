//! From luma and chroma to red, green and blue (ITU-T H.273).

use image::{DynamicImage, ImageBuffer};
use tintype_store::header::Cicp;

use super::{
    ConvertError,
    decoder::{Frame, Layout},
};

/// How samples that were made of red, green and blue become these again.
#[derive(Debug, Clone, Copy)]
enum Matrix {
    /// Green, blue and red as they are.
    Identity,
    /// What red and blue have in luma.
    Luma { red: f32, blue: f32 },
    /// Sums and differences.
    YCgCo,
}

impl Matrix {
    fn from_number(number: u16) -> Result<Self, ConvertError> {
        let (red, blue) = match number {
            0 => return Ok(Self::Identity),
            1 => (0.2126, 0.0722),
            4 => (0.30, 0.11),
            // Unspecified is taken for what most files have.
            2 | 5 | 6 => (0.299, 0.114),
            7 => (0.212, 0.087),
            8 => return Ok(Self::YCgCo),
            9 => (0.2627, 0.0593),
            other => return Err(ConvertError::unsupported_input(format!("AVIF with matrix coefficients {other} is not read here"))),
        };
        Ok(Self::Luma { red, blue })
    }

    /// Luma is from 0 to 1, chroma from -0.5 to 0.5; with [`Matrix::Identity`] all are from 0 to 1.
    fn rgb(self, luma: f32, first: f32, second: f32) -> [f32; 3] {
        match self {
            Self::Identity => [second, luma, first],
            Self::Luma { red: red_part, blue: blue_part } => {
                let red = luma + 2.0 * (1.0 - red_part) * second;
                let blue = luma + 2.0 * (1.0 - blue_part) * first;
                [red, (luma - red_part * red - blue_part * blue) / (1.0 - red_part - blue_part), blue]
            }
            Self::YCgCo => [luma - first + second, luma + first, luma - first - second],
        }
    }
}

/// Where black and the largest value lie.
#[derive(Debug, Clone, Copy)]
struct Range {
    zero: f32,
    span: f32,
}

impl Range {
    fn luma(bits: u32, is_full: bool) -> Self {
        let step = (1_u32 << (bits - 8)) as f32;
        if is_full { Self { zero: 0.0, span: ((1_u32 << bits) - 1) as f32 } } else { Self { zero: 16.0 * step, span: 219.0 * step } }
    }

    fn chroma(bits: u32, is_full: bool) -> Self {
        let zero = (1_u32 << (bits - 1)) as f32;
        let step = (1_u32 << (bits - 8)) as f32;
        Self { zero, span: if is_full { ((1_u32 << bits) - 1) as f32 } else { 224.0 * step } }
    }

    fn of(self, sample: u16) -> f32 {
        (f32::from(sample) - self.zero) / self.span
    }
}

/// In 8 bit, or in 16 what was kept in 10 or 12.
pub(super) fn image(picture: &Frame, alpha: Option<&Frame>, cicp: Cicp) -> Result<DynamicImage, ConvertError> {
    let matrix = Matrix::from_number(cicp.matrix)?;
    let layout = picture.layout();
    if matches!(matrix, Matrix::Identity) && matches!(layout, Layout::SharedAcross | Layout::SharedBothWays) {
        return Err(ConvertError::corrupt("its blue and red are coarser than its green"));
    }
    let (width, height) = (picture.width() as u32, picture.height() as u32);
    let is_grey = layout == Layout::Grey;
    let wrong = || ConvertError::corrupt("it has fewer samples than pixels");
    if picture.bits() == 8 {
        let samples = interleaved(picture, alpha, cicp, matrix, |value| (value * 255.0 + 0.5) as u8);
        match (is_grey, alpha.is_some()) {
            (true, false) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLuma8),
            (true, true) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA8),
            (false, false) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb8),
            (false, true) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgba8),
        }
    } else {
        let samples = interleaved(picture, alpha, cicp, matrix, |value| (value * 65_535.0 + 0.5) as u16);
        match (is_grey, alpha.is_some()) {
            (true, false) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLuma16),
            (true, true) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageLumaA16),
            (false, false) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgb16),
            (false, true) => ImageBuffer::from_raw(width, height, samples).map(DynamicImage::ImageRgba16),
        }
    }
    .ok_or_else(wrong)
}

/// `store` gets values from 0 to 1, and what rounding or damage leaves beyond, which a cast cuts off.
fn interleaved<T>(picture: &Frame, alpha: Option<&Frame>, cicp: Cicp, matrix: Matrix, store: impl Fn(f32) -> T) -> Vec<T> {
    let (width, height) = (picture.width(), picture.height());
    let is_grey = picture.layout() == Layout::Grey;
    let luma = Range::luma(picture.bits(), cicp.is_full_range);
    let chroma = if matches!(matrix, Matrix::Identity) { luma } else { Range::chroma(picture.bits(), cicp.is_full_range) };
    let opacity = alpha.map(|alpha| Range::luma(alpha.bits(), alpha.cicp().is_full_range));
    let channels = if is_grey { 1 } else { 3 } + usize::from(alpha.is_some());
    let mut samples = Vec::with_capacity(width * height * channels);
    let [mut y, mut a] = [Vec::new(), Vec::new()];
    let [mut u, mut v] = [Chroma::new(1), Chroma::new(2)];
    for row in 0..height {
        picture.read_row(0, row, &mut y);
        if !is_grey {
            u.read_row(picture, row);
            v.read_row(picture, row);
        }
        if let Some(alpha) = alpha {
            alpha.read_row(0, row, &mut a);
        }
        for column in 0..width {
            let y = luma.of(y[column]);
            if is_grey {
                samples.push(store(y));
            } else {
                let at = |chroma_row: &Chroma| (chroma_row.values[column] - chroma.zero) / chroma.span;
                samples.extend(matrix.rgb(y, at(&u), at(&v)).map(&store));
            }
            if let Some(opacity) = opacity {
                samples.push(store(opacity.of(a[column])));
            }
        }
    }
    samples
}

/// The chroma of a row, a value for each pixel: that of its place, mixed of the nearest ones where they are shared.
struct Chroma {
    plane: usize,
    near: Vec<u16>,
    far: Vec<u16>,
    values: Vec<f32>,
}

impl Chroma {
    fn new(plane: usize) -> Self {
        Self { plane, near: Vec::new(), far: Vec::new(), values: Vec::new() }
    }

    fn read_row(&mut self, picture: &Frame, row: usize) {
        self.values.clear();
        let (near, far) = match picture.layout() {
            Layout::SharedBothWays => neighbours(row, picture.height().div_ceil(2)),
            _ => (row, row),
        };
        picture.read_row(self.plane, near, &mut self.near);
        picture.read_row(self.plane, far, &mut self.far);
        let mixed = |column: usize| 0.75 * f32::from(self.near[column]) + 0.25 * f32::from(self.far[column]);
        if picture.layout() == Layout::Full {
            self.values.extend(self.near.iter().map(|sample| f32::from(*sample)));
            return;
        }
        let count = self.near.len();
        self.values.extend((0..picture.width()).map(|column| {
            let (near, far) = neighbours(column, count);
            0.75 * mixed(near) + 0.25 * mixed(far)
        }));
    }
}

/// Which shared sample a place has, and the other one that is nearest to it.
fn neighbours(place: usize, count: usize) -> (usize, usize) {
    let near = place / 2;
    let far = if place.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(count - 1) };
    (near, far)
}
