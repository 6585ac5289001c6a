//! The commit metadata: which records beyond the watermark are still open.
//!
//! ```text
//! "b1." + base64url( crc32 of offset and the rest, 4 bytes
//!                  | until - offset, varint
//!                  | parameter k of the Rice code, 1 byte
//!                  | for each open record, the gap to the one before it, Rice-coded, bit by bit )
//! ```
//!
//! Everything in `[offset, until)` that is not listed is settled. A broker keeps at most 4,096 bytes; what does not
//! fit is left off from the end and `until` says how far the list reaches: then less is remembered and more is
//! repeated, which is correct. Text that is not ours, or is damaged, or belongs to another offset, says nothing.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest text; brokers allow 4,096 bytes unless they are configured otherwise.
pub const MAX_CHARS: usize = 4000;

const PREFIX: &str = "b1.";
/// What the longest text leaves for bits, after the prefix, the checksum, a varint and `k`.
const MAX_BITS: usize = ((MAX_CHARS - PREFIX.len()) * 3 / 4 - 4 - 10 - 1) * 8;
/// A gap of more than 2^40 offsets is not encoded but ends the list.
const MAX_K: u8 = 40;
/// A quotient in unary longer than this means that `k` does not fit the data; the list ends there.
const MAX_QUOTIENT: u64 = 512;

/// What a commit's metadata says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inherited {
    /// Up to this offset it is known what is open.
    pub until: i64,
    /// The open records below `until`, rising.
    pub open: Vec<i64>,
}

/// Encodes the open records in `[offset, until)`, given in rising order; empty if nothing beyond `offset` is settled.
pub fn encode(offset: i64, until: i64, open: impl Iterator<Item = i64> + Clone) -> String {
    let count = open.clone().count() as u64;
    let span = u64::try_from(until - offset).unwrap_or(0);
    if span <= count {
        return String::new();
    }
    let k = parameter(span, count);
    let mut bits = BitWriter::default();
    let mut reached = until;
    let mut next = offset;
    for record in open {
        let gap = u64::try_from(record - next).unwrap_or(0);
        if !bits.push_rice(gap, k) {
            reached = record;
            break;
        }
        next = record + 1;
    }
    let mut payload = Vec::with_capacity(bits.bytes.len() + 11);
    push_varint(&mut payload, u64::try_from(reached - offset).unwrap_or(0));
    payload.push(k);
    payload.extend_from_slice(&bits.bytes);
    let mut sealed = checksum(offset, &payload).to_be_bytes().to_vec();
    sealed.extend_from_slice(&payload);
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(sealed))
}

/// Reads what [`encode`] wrote for a commit at `offset`; `None` if it is anything else.
#[must_use]
pub fn decode(metadata: &str, offset: i64) -> Option<Inherited> {
    let text = metadata.strip_prefix(PREFIX).filter(|text| text.len() <= MAX_CHARS)?;
    let sealed = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (sum, payload) = sealed.split_first_chunk::<4>()?;
    if u32::from_be_bytes(*sum) != checksum(offset, payload) {
        return None;
    }
    let (span, rest) = read_varint(payload)?;
    let (&k, bits) = rest.split_first()?;
    let until = offset.checked_add(i64::try_from(span).ok()?)?;
    if k > MAX_K {
        return None;
    }
    let mut reader = BitReader { bytes: bits, at: 0 };
    let mut open = Vec::new();
    let mut next = offset;
    while let Some(gap) = reader.read_rice(k) {
        let record = next.checked_add(i64::try_from(gap).ok()?)?;
        // The last byte is filled up with ones, which no gap ends on.
        if record >= until {
            break;
        }
        open.push(record);
        next = record + 1;
    }
    Some(Inherited { until, open })
}

/// The Rice parameter that suits gaps of that mean.
fn parameter(span: u64, count: u64) -> u8 {
    let mean = (span - count) / count.max(1);
    let k = u64::BITS - mean.leading_zeros();
    u8::try_from(k.saturating_sub(1)).unwrap_or(MAX_K).min(MAX_K)
}

fn checksum(offset: i64, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&offset.to_be_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(0x80 | u8::try_from(value & 0x7f).unwrap_or(0));
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap_or(0));
}

fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0_u64;
    for (place, &byte) in bytes.iter().enumerate().take(9) {
        value |= u64::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[place + 1..]));
        }
    }
    None
}

/// Writes bits from the highest of each byte; the unused end of the last byte is ones.
#[derive(Default)]
struct BitWriter {
    bytes: Vec<u8>,
    bits: usize,
}

impl BitWriter {
    /// The quotient in unary, as ones and a zero, then `k` bits. Refuses what does not fit.
    fn push_rice(&mut self, value: u64, k: u8) -> bool {
        let quotient = value >> k;
        let fits = quotient <= MAX_QUOTIENT
            && self.bits + usize::try_from(quotient).unwrap_or(MAX_BITS) + 1 + usize::from(k)
                <= MAX_BITS;
        if fits {
            (0..quotient).for_each(|_| self.push(true));
            self.push(false);
            (0..k).rev().for_each(|bit| self.push(value >> bit & 1 == 1));
        }
        fits
    }

    fn push(&mut self, bit: bool) {
        if self.bits.is_multiple_of(8) {
            self.bytes.push(0xff);
        }
        if !bit && let Some(last) = self.bytes.last_mut() {
            *last &= !(0x80 >> (self.bits % 8));
        }
        self.bits += 1;
    }
}

struct BitReader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl BitReader<'_> {
    fn read_rice(&mut self, k: u8) -> Option<u64> {
        let mut quotient = 0_u64;
        while self.read()? {
            quotient += 1;
        }
        let mut value = quotient;
        for _ in 0..k {
            value = value << 1 | u64::from(self.read()?);
        }
        Some(value)
    }

    fn read(&mut self) -> Option<bool> {
        let byte = self.bytes.get(self.at / 8)?;
        let bit = byte << (self.at % 8) & 0x80 != 0;
        self.at += 1;
        Some(bit)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn round_trip(offset: i64, until: i64, open: &[i64]) -> Inherited {
        let text = encode(offset, until, open.iter().copied());
        assert!(text.len() <= MAX_CHARS, "{} characters", text.len());
        decode(&text, offset).unwrap_or(Inherited { until: offset, open: vec![] })
    }

    #[test]
    fn nothing_settled_beyond_the_watermark_needs_no_text() {
        assert_eq!(encode(5, 5, [].into_iter()), "");
        assert_eq!(encode(5, 8, [5, 6, 7].into_iter()), "");
    }

    #[test]
    fn four_thousand_open_of_eighty_thousand_fit() {
        let open: Vec<i64> = (0..3_900).map(|n| n * 20).collect();
        let inherited = round_trip(0, 78_000, &open);
        assert_eq!(inherited.until, 78_000);
        assert_eq!(inherited.open, open);
    }

    #[test]
    fn what_does_not_fit_is_left_off_from_the_end() {
        let open: Vec<i64> = (0..50_000).map(|n| n * 3).collect();
        let inherited = round_trip(0, 150_000, &open);
        assert!(inherited.until < 150_000 && inherited.until > 10_000, "{}", inherited.until);
        let expected: Vec<i64> = open.into_iter().filter(|&o| o < inherited.until).collect();
        assert_eq!(inherited.open, expected);
    }

    #[test]
    fn foreign_and_damaged_text_says_nothing() {
        let text = encode(7, 100, [7, 50].into_iter());
        assert!(decode(&text, 7).is_some());
        assert_eq!(decode(&text, 8), None, "another offset's");
        assert_eq!(decode(&text[..text.len() - 1], 7), None);
        for foreign in ["", "b1.", "b1.AAAA", "{\"a\":1}", "NO_METADATA", "b2.xxxx", "b1.ä"] {
            assert_eq!(decode(foreign, 7), None, "{foreign:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_read_is_what_was_written(
            offset in 0_i64..1 << 50,
            gaps in prop::collection::vec(0_i64..2_000, 0..800),
            tail in 0_i64..5_000,
        ) {
            let mut open = Vec::new();
            let mut next = offset;
            for gap in gaps {
                open.push(next + gap);
                next += gap + 1;
            }
            let until = next + tail;
            let inherited = round_trip(offset, until, &open);
            let expected: Vec<i64> = open.iter().copied().filter(|&o| o < inherited.until).collect();
            prop_assert!(inherited.until <= until);
            prop_assert_eq!(inherited.open, expected);
        }

        #[test]
        fn arbitrary_text_never_panics(text in "b1\\.[A-Za-z0-9_-]{0,80}|.{0,40}", offset in any::<i64>()) {
            let _ = decode(&text, offset);
        }
    }
}
