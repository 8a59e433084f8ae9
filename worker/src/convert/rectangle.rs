//! The part of a frame that is not what the canvas shows already.

use image::RgbaImage;

pub(super) struct Rectangle {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Rectangle {
    pub(super) fn whole(image: &RgbaImage) -> Self {
        Self { x: 0, y: 0, width: image.width(), height: image.height() }
    }

    /// The smallest one that holds every changed pixel; a frame has to have one, so without a change it is the first pixel.
    pub(super) fn of_changes(before: &RgbaImage, after: &RgbaImage) -> Self {
        let row_bytes = after.width() as usize * 4;
        let rows = || before.chunks_exact(row_bytes).zip(after.chunks_exact(row_bytes)).enumerate();
        let changed_rows = || rows().filter(|(_, (before, after))| before != after);
        let Some((top, _)) = changed_rows().next() else { return Self { x: 0, y: 0, width: 1, height: 1 } };
        let (mut left, mut right, mut bottom) = (usize::MAX, 0, top);
        for (row, (before, after)) in changed_rows() {
            let differs = |column: &usize| before[column * 4..][..4] != after[column * 4..][..4];
            left = (0..row_bytes / 4).find(differs).unwrap_or(left).min(left);
            right = (0..row_bytes / 4).rev().find(differs).unwrap_or(right).max(right);
            bottom = row;
        }
        Self { x: left as u32, y: top as u32, width: (right - left + 1) as u32, height: (bottom - top + 1) as u32 }
    }

    /// Grown to the left and upwards where it begins at an odd pixel.
    pub(super) fn starting_even(self) -> Self {
        let (odd_x, odd_y) = (self.x % 2, self.y % 2);
        Self { x: self.x - odd_x, y: self.y - odd_y, width: self.width + odd_x, height: self.height + odd_y }
    }

    pub(super) fn cut_out_of(&self, image: &RgbaImage) -> RgbaImage {
        let row_bytes = image.width() as usize * 4;
        let (left, length) = (self.x as usize * 4, self.width as usize * 4);
        let rows = image.chunks_exact(row_bytes).skip(self.y as usize).take(self.height as usize);
        let samples = rows.flat_map(|row| &row[left..][..length]).copied().collect();
        RgbaImage::from_raw(self.width, self.height, samples).expect("as many samples were cut out as there are pixels in it")
    }
}
