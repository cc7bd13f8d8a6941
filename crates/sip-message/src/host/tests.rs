//! Hosts with and without ports.

use super::*;

fn check(text: &str, expect: Option<(&str, Option<u16>)>) {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let read = HostScan::with_port(&bytes);
    let read = read.map(|(host, port)| (host.keep(&bytes).to_string(), port));
    assert_eq!(read, expect.map(|(host, port)| (host.to_owned(), port)), "{text:?}");
}

#[test]
fn names_addresses_and_ports() {
    check("example.com", Some(("example.com", None)));
    check("example.com:5060", Some(("example.com", Some(5060))));
    check("example.com : 05060", Some(("example.com", Some(5060))));
    check("hlau_4100", Some(("hlau_4100", None)));
    check("192.0.2.1", Some(("192.0.2.1", None)));
    check("192.0.2.256", Some(("192.0.2.256", None)));
    check("[2001:db8::10:5070]", Some(("[2001:db8::10:5070]", None)));
    check("[2001:db8::10]:5070", Some(("[2001:db8::10]", Some(5070))));
    check("[::ffff:192.0.2.10]:19823", Some(("[::ffff:192.0.2.10]", Some(19823))));
    // RFC 5118 section 4.10.
    check("[2001:db8:::192.0.2.1]", Some(("[2001:db8::c000:201]", None)));
    for bad in [
        "",
        ":5060",
        "a:",
        "a:0",
        "a:65536",
        "a:abc",
        "a:-1",
        "2001:db8::10",
        "[2001:db8::10",
        "[]",
        "[1:::2]",
        "a b",
        "a/b",
        "[192.0.2.1]",
        "[fe80::1%eth0]",
    ] {
        check(bad, None);
    }
}

#[test]
fn a_host_from_text_cannot_break_a_message() {
    assert_eq!(Host::from("a\r\nEvil: b").to_string(), "aEvilb");
    assert_eq!(Host::from("2001:db8::1"), Host::Ip("2001:db8::1".parse().expect("an address")));
    assert!(Host::from("A.example").equivalent(&Host::from("a.EXAMPLE")));
}

#[test]
fn addresses_are_those_of_the_standard_library() {
    for text in [
        "0.0.0.0",
        "192.0.2.1",
        "255.255.255.255",
        "256.0.0.1",
        "1.2.3",
        "1.2.3.",
        "1.2.3.4.",
        "1.2.3.4.5",
        "01.2.3.4",
        "1.2.3.00",
        "1..2.3",
        ".1.2.3",
        "1.2.3.4567",
        "1.2.3.4a",
        "",
        "7",
        "1.2.3.65537",
        "0.0.0.-1",
    ] {
        assert_eq!(ipv4(text.as_bytes()), text.parse().ok(), "{text}");
        if let Ok(ip) = text.parse::<IpAddr>() {
            let mut out = BytesMut::new();
            Host::Ip(ip).print_into(&mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
