//! What rows would cost in a file, tried out rather than foretold: how much repeats is what tells filters apart.

use super::{
    deflate,
    matches::{Finder, Search, Sequence},
};

/// Working space.
pub(super) struct Trial {
    finder: Finder,
    sequences: Vec<Sequence>,
}

impl Trial {
    pub(super) fn new() -> Self {
        Self { finder: Finder::new(Search::Quick), sequences: Vec::new() }
    }

    /// About how many bits the filtered rows from this byte on take when they are deflated behind those before.
    pub(super) fn bits(&mut self, filtered: &[u8], from: usize) -> u64 {
        self.finder.begin();
        self.finder.find(filtered, 0..from, &mut self.sequences);
        self.sequences.clear();
        self.finder.find(filtered, from..filtered.len(), &mut self.sequences);
        deflate::data_bits(&filtered[from..], &self.sequences)
    }
}
