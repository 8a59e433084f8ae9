use tintype_store::random_hex;

use crate::number;

/// Numbers that look random and are the same for the same seed (`SplitMix64`: Steele, Lea and Flood, 2014).
#[derive(Debug, Clone)]
pub struct Random(u64);

impl Random {
    /// Begins with this seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`, which must not be 0.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// The seed in `TINTYPE_TEST_SEED`, else a new one; shown when the test fails.
pub fn seed() -> u64 {
    let fresh = u32::from_str_radix(&random_hex()[..8], 16).expect("it is hexadecimal");
    let seed = number("TINTYPE_TEST_SEED", fresh as usize) as u64;
    println!("TINTYPE_TEST_SEED={seed}");
    seed
}
