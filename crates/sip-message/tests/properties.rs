//! Properties over generated input: nothing panics, and printing what was read is stable.

use proptest::collection::vec;
use proptest::prelude::*;
use sip_message::{Bytes, Limits, Message, NameAddr, Uri, Via, parse_datagram, sdp};

fn read(bytes: &[u8]) -> Option<Message> {
    let result = parse_datagram(&Bytes::copy_from_slice(bytes), &Limits::default());
    match result {
        Ok(message) => Some(message),
        Err(error) => {
            if let Some(answer) = error.response() {
                assert!(!error.to_string().is_empty());
                assert!(answer.print().ends_with(b"\r\n\r\n"));
            }
            None
        }
    }
}

/// Asks for every typed view; broken ones are errors.
fn look(message: &Message) {
    let headers = message.headers();
    let _ = (headers.vias(), headers.contacts(), headers.route(), headers.record_route());
    let _ = (headers.session_expires(), headers.min_se(), headers.expires(), headers.retry_after());
    assert!(headers.via_top().is_ok_and(|via| via.is_some()));
    assert!(headers.from().is_ok() && headers.to().is_ok() && headers.cseq().is_ok());
    let _ = sdp::add_to_version(message.body(), 7);
}

fn check_stable(message: &Message) {
    let printed = message.print();
    let again = read(&printed).expect("what is printed can be read");
    assert_eq!(again.body(), message.body());
    assert_eq!(again.print(), printed);
}

fn line() -> impl Strategy<Value = String> {
    let name = prop_oneof!["[vftmlk]", "Via|From|To|Call-ID|CSeq|Route|Contact", "[a-zA-Z-]{1,9}"];
    let word = prop_oneof![
        "SIP/2.0/UDP [a-z0-9.:]{1,9}(;[a-z]{1,3}(=[a-z\"<>]{0,3})?){0,3}",
        "(\"[^\r\n]{0,5}\"? )?<?sips?:[a-z%0-9@;?=:\\[\\]]{1,12}>?(;[a-z]{1,3}=[a-z]{1,3})?",
        "[0-9]{1,11} (INVITE|[A-Z]{1,4})",
        "[^\r\n]{0,20}",
    ];
    (name, "[ \t]{0,2}", vec(word, 1..3))
        .prop_map(|(name, space, words)| format!("{name}{space}: {}\r\n", words.join(",")))
}

fn message() -> impl Strategy<Value = Vec<u8>> {
    let start = prop_oneof![
        "(INVITE|[A-Z]{1,5}) sips?:[a-z0-9@:;=.]{1,12} SIP/2.0",
        "SIP/2.0 [1-6][0-9][0-9] [^\r\n]{0,9}",
        Just("INVITE sip:b@example.com SIP/2.0".to_owned()),
    ];
    (start, vec(line(), 0..5), vec(any::<u8>(), 0..20)).prop_map(|(start, lines, body)| {
        let mut text = format!(
            "{start}\r\nVia: SIP/2.0/UDP h;branch=z9hG4bK1\r\nFrom: <sip:a@e>;tag=1\r\n\
             To: <sip:b@e>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\n"
        );
        // Those that may stand once are mostly left out, so that many messages are accepted.
        let once = ["from", "to", "call-id", "cseq", "f", "t", "l"];
        for line in lines {
            let name = line.split([':', ' ', '\t']).next().unwrap_or_default().to_lowercase();
            if !once.contains(&name.as_str()) || line.len() % 7 == 0 {
                text.push_str(&line);
            }
        }
        text.push_str("\r\n");
        [text.into_bytes(), body].concat()
    })
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,40}",
        "sip:[!-~]{0,30}",
        "\"?[a-z ]{0,4}\"? ?<?sip:[!-~]{1,20}>?[;=a-z\"]{0,9}",
        "SIP/2.0/UDP [ -~]{1,20}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes(bytes in vec(any::<u8>(), 0..600)) {
        if let Some(message) = read(&bytes) {
            look(&message);
            check_stable(&message);
        }
    }

    #[test]
    fn any_message(bytes in message()) {
        if let Some(message) = read(&bytes) {
            look(&message);
            check_stable(&message);
        }
    }

    #[test]
    fn any_damage(
        mut bytes in message(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Some(message) = read(bytes) {
                look(&message);
                check_stable(&message);
            }
        }
    }

    #[test]
    fn any_text(text in text()) {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        if let Ok(uri) = Uri::parse(&bytes) {
            prop_assert_eq!(uri.as_bytes(), &bytes);
            prop_assert!(uri.equivalent(&uri.clone()));
            let more = uri.with_param("x", Some("y z"));
            prop_assert_eq!(Uri::parse(more.as_bytes()), Ok(more.clone()));
            let (less, none) = (more.without_param("x"), uri.without_param("x"));
            prop_assert_eq!(less.params(), none.params());
        }
        if let Ok(address) = NameAddr::parse(&bytes) {
            prop_assert_eq!(NameAddr::parse(&address.print()), Ok(address));
        }
        if let Ok(via) = Via::parse(&bytes) {
            prop_assert_eq!(Via::parse(&via.print()), Ok(via));
        }
    }
}
