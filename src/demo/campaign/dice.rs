//! Dice that fall the same way for the same seed, in every version and on every machine.
//!
//! SplitMix64 (Steele, Lea, Flood 2014): eight bytes of state and good enough for samples; never for secrets. Thrown
//! by the campaign only.

/// Crockford's base 32, the digits of a ULID.
const ULID_DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// A ULID's digits: 48 bits of time and 80 of chance, five bits each.
const ULID_LENGTH: u32 = 26;

/// Seeded dice.
#[derive(Debug)]
pub(super) struct Dice {
    state: u64,
}

impl Dice {
    pub(super) const fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// 64 fair bits.
    pub(super) const fn bits(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `limit` without it; the bias is below 1 in 2^32 for limits of a sample's size.
    pub(super) const fn below(&mut self, limit: u64) -> u64 {
        self.bits() % limit
    }

    /// From 0.0 to 1.0 without it.
    pub(super) fn unit(&mut self) -> f64 {
        let high = u32::try_from(self.bits() >> 32).expect("32 bits are left");
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }

    /// Whether something of this probability happens.
    pub(super) fn happens(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of the items, of which there must be some.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        let place = usize::try_from(self.below(items.len() as u64)).expect("an index fits");
        &items[place]
    }

    /// A ULID for a second: sorts by time, and is different from every other.
    pub(super) fn ulid(&mut self, time: u64) -> String {
        let chance = u128::from(self.bits()) << 16 | u128::from(self.bits() >> 48);
        let millis = u128::from(time.saturating_mul(1000)) & ((1 << 48) - 1);
        let bits = millis << 80 | chance;
        let digit = |place: u32| {
            let index = usize::try_from(bits >> (place * 5) & 31).expect("five bits fit");
            char::from(ULID_DIGITS[index])
        };
        (0..ULID_LENGTH).rev().map(digit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_falls_the_same_way_in_every_version() {
        let mut dice = Dice::new(0);
        // The published first outputs of SplitMix64 for the seed 0.
        assert_eq!(dice.bits(), 0xE220_A839_7B1D_CDAF);
        assert_eq!(dice.bits(), 0x6E78_9E6A_A1B9_65F4);
    }

    #[test]
    fn shares_are_met() {
        let mut dice = Dice::new(7);
        let happened = (0..100_000).filter(|_| dice.happens(0.3)).count();
        assert!((29_500..30_500).contains(&happened), "{happened}");
        assert!(!dice.happens(0.0) && dice.happens(1.0));
    }

    #[test]
    fn a_ulid_sorts_by_its_time() {
        let mut dice = Dice::new(7);
        let (early, late) = (dice.ulid(1_760_090_581), dice.ulid(1_760_090_582));
        assert_eq!(early.len(), 26);
        assert_eq!(early[..10], *"01K76S5T08");
        assert!(early < late);
        assert_ne!(dice.ulid(1_760_090_581), early);
    }
}
