//! No `Retry-After` makes a lane wait longer than an hour.
#![no_main]

use std::time::Duration;

use barnabas::engine::outcome::parse_retry_after;
use barnabas::engine::time::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, u32)| {
    let pause = parse_retry_after(input.0, Timestamp::from_secs(input.1.into()));
    assert!(pause.is_none_or(|pause| pause <= Duration::from_secs(3600)));
});
