//! Whose fault a failed connect is; the rest is tested through the client.

use super::*;

fn kind_of(number: i32, address: &str) -> DialError {
    DialError::of_connect(io::Error::from_raw_os_error(number), address.parse().unwrap())
}

#[test]
fn want_of_descriptors_memory_and_ports_is_our_fault() {
    // EMFILE, ENFILE, ENOMEM, ENOBUFS, EADDRNOTAVAIL
    for number in [24, 23, 12, 105, 99] {
        let error = kind_of(number, "192.0.2.1");
        assert!(matches!(error, DialError::Exhausted(_)), "{number}: {error}");
    }
}

#[test]
fn refusal_and_unreachability_are_the_endpoints_fault() {
    // ECONNREFUSED, ENETUNREACH, EHOSTUNREACH, ETIMEDOUT
    for number in [111, 101, 113, 110] {
        let error = kind_of(number, "192.0.2.1");
        assert!(matches!(error, DialError::Connect(_)), "{number}: {error}");
    }
}

#[test]
fn a_host_without_ipv6_is_not_out_of_ports() {
    assert!(matches!(kind_of(99, "2001:200::1"), DialError::Connect(_)));
}
