//! A connection's record is decoded or named as what it is not; never a panic.
#![no_main]

use std::sync::Arc;

use barnabas::engine::address::{AddressRule, EgressConfig};
use barnabas::engine::catalog::{Catalog, CatalogConfig};
use barnabas::engine::connection::DeliveryConfig;
use barnabas::kafka::record::connection::{ConnectionDecoder, PlaintextSecrets};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|value: &[u8]| {
    let decoder = ConnectionDecoder {
        catalog: Arc::new(Catalog::new(&CatalogConfig::default()).expect("the default is valid")),
        rule: AddressRule::new(&EgressConfig::default(), Vec::new()),
        defaults: DeliveryConfig::default(),
        plaintext: PlaintextSecrets::Accept,
        topic: "barnabas.connections".into(),
        keyring: None,
    };
    let _ = decoder.decode(b"4172/whc_1", Some(value));
    let _ = decoder.decode(value, None);
});
