//! Rows on their way into a file: some at a time, filtered and deflated by whoever has time.

use std::{collections::VecDeque, mem::take};

use super::{
    super::companion::{self, Shared},
    choice::{BAND_ROWS, Chooser},
    deflate::{Deflater, Part, Search, Stream},
    filter::{self, Layout},
};

/// Bytes of rows that are deflated together, about: enough that what repeats earlier parts is not missed.
const PART_BYTES: usize = 1 << 19;

/// Parts that are not in the file yet. The companion is done with the first of so many, or nearly.
const MAX_UNDER_WAY: usize = 4;

/// What makes a part of rows.
struct Maker {
    chooser: Chooser,
    deflater: Deflater,
}

/// Takes rows in order. The bytes do not depend on how many come at once.
pub(super) struct Parts {
    layout: Layout,
    part_bytes: usize,
    search: Search,
    /// The last row of the part before; zeros at first.
    above: Vec<u8>,
    rows: Vec<u8>,
    /// Each comes back with what made it.
    under_way: VecDeque<Shared<(Part, Maker)>>,
    makers: Vec<Maker>,
    stream: Stream,
}

impl Parts {
    pub(super) fn new(layout: Layout, search: Search) -> Self {
        let row_bytes = layout.row_bytes;
        let part_rows = (PART_BYTES / row_bytes).next_multiple_of(BAND_ROWS).max(BAND_ROWS);
        Self {
            layout,
            part_bytes: part_rows * row_bytes,
            search,
            above: vec![0; row_bytes],
            rows: Vec::new(),
            under_way: VecDeque::new(),
            makers: Vec::new(),
            stream: Stream::new(),
        }
    }

    /// The next whole rows. Returns bytes of the file, when there are some.
    pub(super) fn write(&mut self, mut rows: &[u8]) -> Vec<u8> {
        while !rows.is_empty() {
            let (now, later) = rows.split_at(rows.len().min(self.part_bytes - self.rows.len()));
            self.rows.reserve_exact(self.part_bytes - self.rows.len());
            self.rows.extend_from_slice(now);
            rows = later;
            if self.rows.len() == self.part_bytes {
                self.begin_part();
            }
        }
        self.stream.take()
    }

    /// The last bytes of the file.
    pub(super) fn finish(mut self) -> Vec<u8> {
        if !self.rows.is_empty() {
            self.begin_part();
        }
        while self.append_first() {}
        self.stream.finish()
    }

    /// Has the rows that came made a part, by the companion if it has time.
    fn begin_part(&mut self) {
        let rows = take(&mut self.rows);
        let last = rows[rows.len() - self.layout.row_bytes..].to_vec();
        let above = std::mem::replace(&mut self.above, last);
        let Self { layout, search, .. } = *self;
        let maker = self.makers.pop();
        let mut maker = maker.unwrap_or_else(|| Maker { chooser: Chooser::new(layout), deflater: Deflater::new(search, layout) });
        self.under_way.push_back(companion::share(move || {
            let filtered = filter::filtered(&rows, &above, layout, &mut maker.chooser);
            (maker.deflater.part(&filtered), maker)
        }));
        while self.under_way.len() > MAX_UNDER_WAY && self.append_first() {}
    }

    fn append_first(&mut self) -> bool {
        let Some(first) = self.under_way.pop_front() else { return false };
        let (part, maker) = first.wait();
        self.makers.push(maker);
        self.stream.append(&part);
        true
    }
}
