//! Codes for a block: how long each is, and what it looks like.

/// Huffman's lengths, none longer than `max_bits`; 0 for what never occurs. At least two symbols get one.
pub(super) fn code_lengths<const N: usize>(counts: &[u32; N], max_bits: usize) -> [u8; N] {
    let mut used: Vec<(u32, usize)> = (0..N).map(|symbol| (counts[symbol], symbol)).filter(|(count, _)| *count > 0).collect();
    let unused = (0..N).filter(|symbol| counts[*symbol] == 0).map(|symbol| (1, symbol));
    used.extend(unused.take(2_usize.saturating_sub(used.len())));
    used.sort_unstable();
    // Leaves in order, then the nodes as they are made, which are in order as well.
    let mut weights: Vec<u64> = used.iter().map(|(count, _)| u64::from(*count)).collect();
    let leaves = weights.len();
    let mut parents = vec![0; 2 * leaves - 1];
    let (mut leaf, mut node) = (0, leaves);
    for made in leaves..2 * leaves - 1 {
        let mut take = || {
            let takes_leaf = leaf < leaves && (node >= made || weights[leaf] <= weights[node]);
            let next = if takes_leaf { &mut leaf } else { &mut node };
            *next += 1;
            *next - 1
        };
        let (one, other) = (take(), take());
        (parents[one], parents[other]) = (made, made);
        weights.push(weights[one] + weights[other]);
    }
    let mut depths = vec![0_usize; 2 * leaves - 1];
    for at in (0..2 * leaves - 2).rev() {
        depths[at] = depths[parents[at]] + 1;
    }
    // Where codes are cut to the limit, others have to grow until all have room (Kraft's inequality), the rarest first.
    let mut bits: Vec<usize> = depths[..leaves].iter().map(|depth| (*depth).min(max_bits)).collect();
    let mut room = (1_i64 << max_bits) - bits.iter().map(|bits| 1_i64 << (max_bits - bits)).sum::<i64>();
    while room < 0 {
        let grows = (0..leaves).filter(|at| bits[*at] < max_bits).max_by_key(|at| (bits[*at], leaves - at));
        let grows = grows.expect("with all codes at the limit there is room for more symbols than there are");
        room += 1 << (max_bits - bits[grows] - 1);
        bits[grows] += 1;
    }
    // Decoders want no room left: the most frequent ones take it. What is left always fits the longest codes at least.
    while room > 0 {
        let shrinks = (0..leaves).rev().find(|at| bits[*at] > 1 && 1 << (max_bits - bits[*at]) <= room);
        let shrinks = shrinks.expect("the room is a multiple of what the longest code takes");
        room -= 1 << (max_bits - bits[shrinks]);
        bits[shrinks] -= 1;
    }
    let mut lengths = [0; N];
    for ((_, symbol), bits) in used.iter().zip(bits) {
        lengths[*symbol] = bits as u8;
    }
    lengths
}

/// RFC 1951, section 3.2.2, with the first bit lowest.
pub(super) fn canonical_codes<const N: usize>(lengths: &[u8; N]) -> [(u16, u8); N] {
    let mut codes = [(0, 0); N];
    let mut code = 0_u16;
    for length in 1..=15_u8 {
        for symbol in (0..N).filter(|symbol| lengths[*symbol] == length) {
            codes[symbol] = (code.reverse_bits() >> (16 - length), length);
            code += 1;
        }
        code <<= 1;
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_code_is_longer_than_the_limit_and_together_they_leave_no_room() {
        let mut counts = [0_u32; 286];
        let (mut one, mut two) = (1_u32, 1_u32);
        for count in counts.iter_mut().take(40) {
            *count = one;
            (one, two) = (two, one + two);
        }
        let lengths = code_lengths(&counts, 12);
        let used = lengths.iter().filter(|length| **length > 0);
        assert!(used.clone().all(|length| usize::from(*length) <= 12));
        assert_eq!(used.map(|length| 1 << (12 - usize::from(*length))).sum::<u32>(), 1 << 12);
    }
}
