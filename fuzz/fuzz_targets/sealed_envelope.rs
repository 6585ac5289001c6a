//! A sealed secret's text is an envelope or named as what it is not; never a panic.
#![no_main]

use barnabas::secrets::Envelope;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = Envelope::parse(text);
});
