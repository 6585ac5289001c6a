//! Points at which the fault harness ends the process or plants a fault: `tests/faults` alone uses them.
//!
//! Without the feature `failpoints` every call is empty and no release has them. With it,
//! `BARNABAS_FAILPOINTS=after-2xx=17,drop-delivery=~50` ends the process at the 17th pass of one point and plants a
//! fault at every 50th pass of another. Nothing here decides what a planted fault is: the place that asks does.

use bytes::Bytes;

/// Ends the process as `kill -9` would, if this is the pass that was asked for.
#[inline]
pub fn kill(point: &str) {
    #[cfg(feature = "failpoints")]
    if armed::is_struck(point) {
        // No destructor, no flush, no goodbye.
        std::process::abort();
    }
    #[cfg(not(feature = "failpoints"))]
    let _ = point;
}

/// Panics in this pass.
#[allow(clippy::panic, reason = "that is what it is for")]
#[inline]
pub fn panic(point: &str) {
    if is_planted(point) {
        std::panic::panic_any("a planted panic");
    }
}

/// Bytes that are one bit off in this pass.
#[inline]
#[must_use]
pub fn bytes(point: &str, bytes: Bytes) -> Bytes {
    if !is_planted(point) {
        return bytes;
    }
    let mut planted = bytes.to_vec();
    if let Some(last) = planted.last_mut() {
        *last ^= 1;
    }
    planted.into()
}

/// Whether a fault is to be planted in this pass.
#[inline]
#[must_use]
pub fn is_planted(point: &str) -> bool {
    #[cfg(feature = "failpoints")]
    return armed::is_struck(point);
    #[cfg(not(feature = "failpoints"))]
    {
        let _ = point;
        false
    }
}

#[cfg(feature = "failpoints")]
mod armed {
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    const VARIABLE: &str = "BARNABAS_FAILPOINTS";

    struct Point {
        name: String,
        /// The pass that counts.
        pass: u64,
        /// Whether every multiple of it counts too.
        repeats: bool,
        passed: AtomicU64,
    }

    pub(super) fn is_struck(name: &str) -> bool {
        static POINTS: OnceLock<Vec<Point>> = OnceLock::new();
        let points = POINTS.get_or_init(|| parse(&std::env::var(VARIABLE).unwrap_or_default()));
        let Some(point) = points.iter().find(|point| point.name == name) else { return false };
        let passed = point.passed.fetch_add(1, Ordering::Relaxed) + 1;
        passed == point.pass || (point.repeats && passed.is_multiple_of(point.pass))
    }

    fn parse(text: &str) -> Vec<Point> {
        let point = |part: &str| {
            let (name, pass) = part.split_once('=')?;
            let repeats = pass.starts_with('~');
            let pass = pass.trim_start_matches('~').parse().ok().filter(|pass| *pass > 0)?;
            Some(Point { name: name.to_owned(), pass, repeats, passed: AtomicU64::new(0) })
        };
        text.split(',').filter_map(point).collect()
    }
}
