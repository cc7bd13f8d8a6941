//! Work of reading one INVITE of about 700 bytes, and of reading what names its call.
//!
//! Counted in instructions, which are the same in every run and on every machine of a kind:
//!
//! ```text
//! valgrind --tool=callgrind --toggle-collect='parse::read' BENCH parse
//! valgrind --tool=callgrind --toggle-collect='parse::read' BENCH keys
//! ```
//!
//! where `BENCH` is the binary that `cargo bench -p sip-message --no-run` names. Divide by
//! [`ROUNDS`].

use std::hint::black_box;

use sip_message::{Bytes, Limits, Message, parse_datagram};

/// Messages read in one run.
const ROUNDS: usize = 1_000;

const INVITE: &str = "INVITE sip:bob@example.com SIP/2.0\r\n\
    Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bK74bf9-1234567890;rport\r\n\
    Max-Forwards: 70\r\n\
    From: \"Alice\" <sip:alice@example.com>;tag=9fxced76sl-0001\r\n\
    To: Bob <sip:bob@example.com>\r\n\
    Call-ID: 3848276298220188511@192.0.2.1\r\n\
    CSeq: 1 INVITE\r\n\
    Contact: <sip:alice@192.0.2.1:5060;transport=udp>\r\n\
    Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE\r\n\
    Supported: timer, replaces\r\n\
    User-Agent: Deskphone/4.2.1\r\n\
    Content-Type: application/sdp\r\n\
    Content-Length: 185\r\n\
    \r\n\
    v=0\r\n\
    o=alice 2890844526 2890844526 IN IP4 192.0.2.1\r\n\
    s=-\r\n\
    c=IN IP4 192.0.2.1\r\n\
    t=0 0\r\n\
    m=audio 49172 RTP/AVP 0 8 101\r\n\
    a=rtpmap:0 PCMU/8000\r\n\
    a=rtpmap:101 telephone-event/8000\r\n\
    a=sendrecv\r\n";

fn main() {
    let wants_keys = std::env::args().any(|word| word == "keys");
    let bytes = Bytes::from_static(INVITE.as_bytes());
    let limits = Limits::default();
    assert!(read(&bytes, &limits, wants_keys).is_some(), "the message is sound");
    for _ in 1..ROUNDS {
        black_box(read(&bytes, &limits, wants_keys));
    }
    println!("read {ROUNDS} messages of {} bytes", bytes.len());
}

/// Reads the message, and perhaps the headers that a call is found by.
#[inline(never)]
fn read(bytes: &Bytes, limits: &Limits, wants_keys: bool) -> Option<Message> {
    let message = parse_datagram(bytes, limits).ok()?;
    if wants_keys {
        let headers = message.headers();
        black_box(headers.via_top().ok()?);
        black_box(headers.from().ok()?);
        black_box(headers.to().ok()?);
        black_box(headers.call_id().ok()?);
        black_box(headers.cseq().ok()?);
    }
    Some(message)
}
