//! What is encoded is read back, and nothing else is.

use proptest::prelude::*;

use super::*;

fn secret() -> TokenSecret {
    TokenSecret::new(*b"0123456789abcdef0123456789ABCDEF")
}

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address in a test")
}

fn frames() -> Vec<EdgeFrame> {
    let bytes = Bytes::from_static(b"INVITE sip:a@b SIP/2.0\r\n\r\n\0\xff");
    vec![
        EdgeFrame::Inbound {
            source: addr("192.0.2.1:5060"),
            offered_by: None,
            bytes: bytes.clone(),
        },
        EdgeFrame::Inbound {
            source: addr("[2001:db8::1]:65535"),
            offered_by: Some(SiteId(2)),
            bytes: bytes.clone(),
        },
        EdgeFrame::Outbound { to: addr("192.0.2.1:1"), bytes: Bytes::new() },
        EdgeFrame::Ping { nonce: u64::MAX },
        EdgeFrame::Pong {
            nonce: 7,
            engine: EngineId(9),
            serving: true,
            peers: vec![(SiteId(2), true), (SiteId(65_535), false)],
        },
        EdgeFrame::Pong { nonce: 7, engine: EngineId(9), serving: false, peers: Vec::new() },
        EdgeFrame::Report(Report {
            witness: "w1".into(),
            life: 1 << 50,
            number: 3,
            valid_for: Duration::from_millis(6_000),
            sites: vec![(SiteId(1), false), (SiteId(2), true)],
        }),
        EdgeFrame::Bounce { source: addr("192.0.2.7:5070"), to: SiteId(65_535), bytes },
    ]
}

#[test]
fn what_was_encoded_is_read_back() {
    for frame in frames() {
        assert_eq!(EdgeFrame::decode(&frame.encode(&secret()), &secret()), Ok(frame));
    }
}

#[test]
fn the_layout_is_fixed() {
    let frame = EdgeFrame::Inbound {
        source: addr("192.0.2.1:5060"),
        offered_by: Some(SiteId(2)),
        bytes: Bytes::from_static(b"x"),
    };
    let encoded = frame.encode(&secret());
    let mut expected = b"RHE1\x01\x01\x00\x02\x04\x13\xc4\xc0\x00\x02\x01".to_vec();
    expected.resize(27, 0);
    assert_eq!(&encoded[..27], &expected[..]);
    assert_eq!(encoded.len(), HEADER_BYTES + 1);
    assert_eq!(&encoded[HEADER_BYTES..], b"x");
}

/// A frame whose payload the other release wrote: `bytes`, with our header.
fn framed(kind: u8, bytes: &[u8]) -> Bytes {
    let header = header(kind, FLAG_SERVING, SiteId(0), None);
    let mut out = header.to_vec();
    out.put_u64(mac(&secret(), &header, bytes));
    out.extend_from_slice(bytes);
    Bytes::from(out)
}

#[test]
fn a_pong_of_the_release_before_tells_of_no_site() {
    let payload = [7_u64.to_be_bytes(), 9_u64.to_be_bytes()].concat();
    let read = EdgeFrame::decode(&framed(PONG, &payload), &secret());
    let peers = Vec::new();
    let pong = EdgeFrame::Pong { nonce: 7, engine: EngineId(9), serving: true, peers };
    assert_eq!(read, Ok(pong));
}

#[test]
fn a_report_that_makes_no_sense_is_refused() {
    let mut payload = vec![0; 20];
    assert_eq!(EdgeFrame::decode(&framed(REPORT, &payload), &secret()), Err(FrameError::Unknown));
    payload.extend_from_slice(&[5, b'w']);
    assert_eq!(EdgeFrame::decode(&framed(REPORT, &payload), &secret()), Err(FrameError::Unknown));
    payload.extend_from_slice(&[255, 255, 255, 255]);
    assert_eq!(EdgeFrame::decode(&framed(REPORT, &payload), &secret()), Err(FrameError::Unknown));
    payload[20] = 33;
    payload.resize(60, b'w');
    assert_eq!(EdgeFrame::decode(&framed(REPORT, &payload), &secret()), Err(FrameError::Unknown));
}

#[test]
fn no_changed_byte_of_a_report_is_accepted() {
    let frames = frames();
    let report = frames.iter().find(|frame| matches!(frame, EdgeFrame::Report(_)));
    let encoded = report.expect("there is one").encode(&secret());
    for at in 0..encoded.len() {
        let mut forged = encoded.to_vec();
        forged[at] ^= 1;
        assert!(EdgeFrame::decode(&Bytes::from(forged), &secret()).is_err(), "{at}");
    }
}

#[test]
fn no_changed_header_byte_is_accepted() {
    for frame in frames() {
        let encoded = frame.encode(&secret());
        for at in 0..HEADER_BYTES {
            let mut forged = encoded.to_vec();
            forged[at] ^= 1;
            assert!(EdgeFrame::decode(&Bytes::from(forged), &secret()).is_err(), "{frame:?} {at}");
        }
    }
}

#[test]
fn a_changed_length_is_not_accepted() {
    for frame in frames() {
        let mut longer = frame.encode(&secret()).to_vec();
        longer.push(0);
        assert!(EdgeFrame::decode(&Bytes::from(longer), &secret()).is_err());
    }
}

#[test]
fn another_deployment_reads_nothing() {
    let other = TokenSecret::new([9; 32]);
    for frame in frames() {
        assert_eq!(EdgeFrame::decode(&frame.encode(&other), &secret()), Err(FrameError::NotOurs));
    }
}

#[test]
fn a_mapped_address_is_the_ipv4_peer() {
    let frame = EdgeFrame::Outbound { to: addr("[::ffff:192.0.2.1]:5060"), bytes: Bytes::new() };
    let read = EdgeFrame::decode(&frame.encode(&secret()), &secret());
    assert_eq!(read, Ok(EdgeFrame::Outbound { to: addr("192.0.2.1:5060"), bytes: Bytes::new() }));
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_refused_quietly(bytes in prop::collection::vec(any::<u8>(), 0..128)) {
        let mut bytes = bytes;
        prop_assert!(EdgeFrame::decode(&Bytes::from(bytes.clone()), &secret()).is_err());
        bytes.splice(0..0, *b"RHE1\x01");
        prop_assert!(EdgeFrame::decode(&Bytes::from(bytes), &secret()).is_err());
    }
}
