//! What rows would cost in a file, tried out rather than foretold: how much repeats is what tells filters apart.

use super::{
    deflate,
    filter::Layout,
    matches::{Finder, Search},
    tokens::Tokens,
};

/// Working space.
pub(super) struct Trial {
    finder: Finder,
    tokens: Tokens,
}

impl Trial {
    pub(super) fn new(layout: Layout) -> Self {
        Self { finder: Finder::new(Search::Quick, layout), tokens: Tokens::default() }
    }

    /// About how many bits the filtered rows from this byte on take when they are deflated behind those before.
    pub(super) fn bits(&mut self, filtered: &[u8], from: usize) -> u64 {
        self.finder.begin();
        self.finder.find(filtered, 0..from, &mut self.tokens);
        self.tokens.clear();
        self.finder.find(filtered, from..filtered.len(), &mut self.tokens);
        let bits = deflate::data_bits(self.tokens.all());
        self.tokens.clear();
        bits
    }
}
