//! An event's record is decoded, skipped or malformed; never a panic, and never more than the limit is read.
#![no_main]

use barnabas::engine::catalog::{Catalog, CatalogConfig};
use barnabas::kafka::record::event::{Decoded, decode};
use libfuzzer_sys::fuzz_target;

/// Small, so that the fuzzer meets it.
const MAX_BYTES: u32 = 2048;

fuzz_target!(|value: &[u8]| {
    let catalog = Catalog::new(&CatalogConfig::default()).expect("the default is valid");
    let decoded = decode(Some(value), &catalog, MAX_BYTES);
    if value.len() > MAX_BYTES as usize {
        assert!(matches!(decoded, Decoded::Malformed(..)));
    }
});
