//! A URL that is accepted is accepted again in the form that is stored, as the same endpoint, and is https.
#![no_main]

use barnabas::engine::address::{AddressRule, EgressConfig, Host};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let rule = AddressRule::new(&EgressConfig::default(), Vec::new());
    let Ok(endpoint) = rule.check_url(text) else { return };
    assert!(endpoint.as_str().starts_with("https://"));
    assert!(matches!(endpoint.host(), Host::Name(name) if name.contains('.')));
    assert_eq!(endpoint.port(), 443);
    assert_eq!(rule.check_url(endpoint.as_str()), Ok(endpoint));
});
