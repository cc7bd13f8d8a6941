//! Numbers that look random and follow from a seed (SplitMix64).

pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    pub(super) fn letters(&mut self, count: usize) -> String {
        self.of(b"abcdefghijklmnopqrstuvwxyz", count)
    }

    pub(super) fn hex(&mut self, count: usize) -> String {
        self.of(b"0123456789abcdef", count)
    }

    fn of(&mut self, letters: &[u8], count: usize) -> String {
        let letter = |_| char::from(letters[self.below(letters.len() as u64) as usize]);
        (0..count).map(letter).collect()
    }
}
