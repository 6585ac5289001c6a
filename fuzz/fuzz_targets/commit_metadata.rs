//! Whatever stands in a commit, a tracker resumes at its offset, and what it writes is read back the same.
#![no_main]

use barnabas::engine::offsets::OffsetTracker;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (i64, &str)| {
    let (offset, metadata) = input;
    let offset = offset & 0xffff_ffff_ffff;
    let tracker = OffsetTracker::resume(offset, metadata);
    assert!(tracker.watermark() >= offset);
    let progress = tracker.progress();
    assert!(progress.metadata.len() <= 4000);
    let again = OffsetTracker::resume(progress.offset, &progress.metadata);
    assert_eq!(again.watermark(), tracker.watermark());
});
