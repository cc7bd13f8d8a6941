//! Fuzzes the SIP parser: no input panics, what was read prints to something that reads the same,
//! and a refusal is a complete response. Knows nothing of calls.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sip_message::{Bytes, HeaderName, Limits, parse_datagram, sdp};

fuzz_target!(|data: &[u8]| {
    let limits = Limits::default();
    let message = match parse_datagram(&Bytes::copy_from_slice(data), &limits) {
        Ok(message) => message,
        Err(error) => {
            if let Some(answer) = error.response() {
                assert!(answer.headers.contains(&HeaderName::Via));
                assert!(answer.print().len() <= data.len() + 256);
            }
            return;
        }
    };
    let headers = message.headers();
    let _ = (headers.vias(), headers.contacts(), headers.route(), headers.record_route());
    let _ = (headers.session_expires(), headers.min_se(), headers.expires(), headers.retry_after());
    assert!(headers.from().is_ok() && headers.to().is_ok() && headers.cseq().is_ok());
    let _ = sdp::add_to_version(message.body(), 7);
    let printed = message.print();
    let again = parse_datagram(&printed, &limits);
    // Long names for compact ones can take a message over a limit; nothing else may refuse it.
    if let Ok(again) = again {
        assert_eq!(again.print(), printed);
        assert_eq!(again.body(), message.body());
    } else {
        assert!(printed.len() > data.len());
    }
});
