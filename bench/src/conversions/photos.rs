//! What is converted: pictures of any size, put together from photos of a folder, or invented when there are none.

use std::{
    f32::consts::TAU,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use image::{DynamicImage, GenericImage, GrayImage, ImageReader, Rgb, RgbImage, Rgba, imageops};

/// A photo of fewer pixels a side says little.
const SMALLEST_SIDE: u32 = 200;
/// Photos that are looked at; each is one tile, and larger ones come first.
const MOST_PHOTOS: usize = 24;

/// Photos, of which pictures of any size are made.
#[derive(Debug)]
pub(crate) struct Photos {
    tiles: Vec<RgbImage>,
    /// What they are, for people.
    pub(super) source: String,
}

impl Photos {
    /// The largest photos among the JPEGs under a folder, or invented ones without one.
    pub(crate) fn open(folder: Option<&Path>) -> anyhow::Result<Self> {
        let Some(folder) = folder else {
            let tiles = (0..8).map(|number| invented(1_200, 900, number)).collect();
            return Ok(Self { tiles, source: "invented pictures: TINTYPE_CORPUS or --photos names no folder".to_owned() });
        };
        let mut files = Vec::new();
        jpegs(folder, &mut files)?;
        let mut tiles: Vec<RgbImage> = Vec::new();
        // Large files are photos; small ones are test patterns.
        files.sort_by_key(|(size_bytes, path)| (u64::MAX - size_bytes, path.clone()));
        for (_, path) in files {
            let Ok(reader) = ImageReader::open(&path).and_then(ImageReader::with_guessed_format) else { continue };
            let Ok(DynamicImage::ImageRgb8(photo)) = reader.decode() else { continue };
            let is_large = photo.width().min(photo.height()) >= SMALLEST_SIDE;
            // The same photo stored eight times is still one.
            let is_new = tiles.iter().all(|tile| !alike(tile, &photo));
            if is_large && is_new {
                tiles.push(photo);
            }
            if tiles.len() == MOST_PHOTOS {
                break;
            }
        }
        anyhow::ensure!(!tiles.is_empty(), "no JPEG photo of {SMALLEST_SIDE} pixels a side in {}", folder.display());
        let source = format!("put together, not enlarged, from {} photos of a folder", tiles.len());
        Ok(Self { tiles, source })
    }

    /// A picture of this size: photos beside each other as they are. Every `variant` is another one.
    pub(crate) fn mosaic(&self, width: u32, height: u32, variant: usize) -> RgbImage {
        let mut mosaic = RgbImage::new(width, height);
        let (mut y, mut number) = (0, variant);
        while y < height {
            let (mut x, mut row_height) = (0, height - y);
            while x < width {
                let tile = &self.tiles[number % self.tiles.len()];
                let tile =
                    if (number / self.tiles.len() + variant).is_multiple_of(2) { tile.clone() } else { imageops::flip_horizontal(tile) };
                // Cut off a little, such that no two mosaics share their blocks.
                let (left, top) = (variant as u32 * 13 % (SMALLEST_SIDE / 4), variant as u32 * 7 % (SMALLEST_SIDE / 4));
                let part_width = (tile.width() - left).min(width - x);
                let part_height = (tile.height() - top).min(height - y);
                let part = imageops::crop_imm(&tile, left, top, part_width, part_height).to_image();
                mosaic.copy_from(&part, x, y).expect("the part was cut to fit");
                row_height = row_height.min(part_height);
                x += part_width;
                number += 1;
            }
            y += row_height;
        }
        mosaic
    }
}

/// A photo with a soft round edge: half-transparent pixels as cut-out pictures have.
pub(super) fn cut_out(photo: &RgbImage) -> DynamicImage {
    let (width, height) = photo.dimensions();
    let radius = width.min(height) as f32 / 2.0;
    let mut picture = DynamicImage::ImageRgb8(photo.clone()).into_rgba8();
    for (x, y, Rgba([_, _, _, alpha])) in picture.enumerate_pixels_mut() {
        let distance = (x as f32 - width as f32 / 2.0).hypot(y as f32 - height as f32 / 2.0);
        *alpha = ((radius - distance) / radius * 1_020.0).clamp(0.0, 255.0) as u8;
    }
    DynamicImage::ImageRgba8(picture)
}

/// Like a picture of a screen: areas of one colour, and lines of small dark marks.
pub(super) fn screenshot(width: u32, height: u32) -> RgbImage {
    let mut picture = RgbImage::from_pixel(width, height, Rgb([250, 250, 252]));
    let mut state = 7_u32;
    let mut next = |most: u32| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) % most
    };
    for panel in 0..24 {
        let (x, y) = (next(width - 200), next(height - 200));
        let colour = Rgb([next(256) as u8, next(256) as u8, next(256) as u8]);
        let (right, bottom) = (x + 40 + next(160), y + 20 + next(180));
        (y..bottom)
            .for_each(|y| (x..right).for_each(|x| picture.put_pixel(x, y, if panel % 3 == 0 { colour } else { Rgb([255, 255, 255]) })));
    }
    let marks: Vec<GrayImage> =
        (0..64).map(|_| GrayImage::from_fn(7, 11, |_, _| image::Luma([if next(3) == 0 { 40 } else { 255 }]))).collect();
    for line in 0..height / 18 {
        let end = 20 + next(width * 2 / 3);
        for column in (10..end).step_by(8) {
            let mark = &marks[next(64) as usize];
            for (x, y, value) in mark.enumerate_pixels().filter(|(_, _, value)| value.0[0] < 255) {
                picture.put_pixel(column + x, line * 18 + y, Rgb([value.0[0]; 3]));
            }
        }
    }
    picture
}

fn jpegs(folder: &Path, found: &mut Vec<(u64, PathBuf)>) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let (path, metadata) = entry.and_then(|entry| Ok((entry.path(), entry.metadata()?)))?;
        if metadata.is_dir() {
            jpegs(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "jpg" || extension == "jpeg") {
            found.push((metadata.len(), path));
        }
    }
    Ok(())
}

/// Whether two photos show the same, also turned: their colours are there as often.
fn alike(one: &RgbImage, other: &RgbImage) -> bool {
    let counts = |photo: &RgbImage| {
        let mut counts = [0_f32; 64];
        for Rgb([red, green, blue]) in photo.pixels() {
            counts[usize::from(red >> 6) << 4 | usize::from(green >> 6) << 2 | usize::from(blue >> 6)] += 1.0;
        }
        counts.map(|count| count / (photo.width() * photo.height()) as f32)
    };
    counts(one).iter().zip(counts(other)).map(|(one, other)| (one - other).abs()).sum::<f32>() < 0.05
}

/// Slow changes, edges, texture and the grain of a sensor.
fn invented(width: u32, height: u32, number: u32) -> RgbImage {
    let mut state = 1 + number;
    let seed = number as f32;
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32, y as f32 / height as f32);
        let hills = (TAU * (u * 1.7 + seed * 0.13)).sin() * 0.3 + (TAU * (v * 2.3 + u + seed * 0.31)).cos() * 0.25;
        let texture = (TAU * (u * 61.0 + (v * 17.0).sin() * 3.0)).sin() * (TAU * v * 43.0).cos() * 0.08;
        let edge = if (hills + v - 0.5).abs() < 0.15 { 0.25 } else { 0.0 };
        let light = 0.5 + hills * 0.6 + texture + edge;
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let grain = ((state >> 16 & 15) as f32 + (state >> 24 & 15) as f32 - 15.0) / 255.0 * 0.35;
        let tint = [1.0, 0.85 + 0.1 * u, 0.7 + 0.2 * v];
        Rgb(tint.map(|tint| ((light * tint + grain) * 255.0).clamp(0.0, 255.0) as u8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mosaics_have_their_size_and_every_variant_is_another() {
        let photos = Photos::open(None).unwrap();
        let [one, other] = [0, 1].map(|variant| photos.mosaic(2_000, 1_500, variant));
        assert_eq!(one.dimensions(), (2_000, 1_500));
        assert_ne!(one, other);
        assert!(one.rows().next_back().unwrap().any(|pixel| pixel.0 != [0; 3]), "it is filled to its end");
    }

    #[test]
    fn a_photo_and_its_mirror_image_are_one_photo() {
        let photo = invented(300, 200, 1);
        assert!(alike(&photo, &imageops::rotate90(&photo)));
        assert!(!alike(&photo, &screenshot(300, 300)));
    }
}
