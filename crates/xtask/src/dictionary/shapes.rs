//! Shapes of calls that samples are taken of, and the peers' names, which differ in each call.

use super::dice::Dice;

/// What calls of one kind have in common.
pub(super) struct Shape {
    pub(super) name: &'static str,
    /// Headers of the INVITE, Contact among them. `[fieldN]` is a field of [`fields`].
    caller: &'static [&'static str],
    /// Headers of the 200.
    callee: &'static [&'static str],
    /// Media of both sides.
    sdp: &'static [&'static str],
}

const ALLOW: &str = "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK, INFO, REFER, NOTIFY";

/// The kinds: a softphone, a carrier's trunk behind a proxy on both sides, a gateway, a mobile
/// network's long offer, and a browser behind a WebSocket proxy.
pub(super) const SHAPES: &[Shape] = &[
    Shape {
        name: "softphone",
        caller: &[
            "Contact: <sip:[field0]@[field9]:[field7];ob>",
            ALLOW,
            "Supported: replaces, timer, 100rel, norefersub",
            "Session-Expires: 1800",
        ],
        callee: &[
            "Contact: <sip:[field5]@[local_ip]:[local_port]>",
            ALLOW,
            "Supported: replaces, timer",
        ],
        sdp: &[
            "m=audio [field7] RTP/AVP 96 8 0 101",
            "a=rtpmap:96 opus/48000/2",
            "a=fmtp:96 useinbandfec=1",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-16",
            "a=sendrecv",
        ],
    },
    Shape {
        name: "trunk",
        caller: &[
            "Record-Route: <sip:[field1];lr>",
            "Contact: <sip:[field0]@[field9]:5060;transport=udp>",
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS",
            "P-Asserted-Identity: <sip:[field0]@[field1];user=phone>",
        ],
        callee: &[
            "Record-Route: <sip:[local_ip]:[local_port];lr>",
            "Contact: <sip:[field5]@[field9]:5060;transport=udp>",
            "Allow: INVITE, ACK, CANCEL, BYE, OPTIONS",
        ],
        sdp: &[
            "m=audio [field7] RTP/AVP 8 101",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
        ],
    },
    Shape {
        name: "gateway",
        caller: &["Contact: <sip:[field9]:[field7]>", "Allow: INVITE, ACK, CANCEL, BYE"],
        callee: &["Contact: <sip:[local_ip]:[local_port]>", "Allow: INVITE, ACK, CANCEL, BYE"],
        sdp: &[
            "m=audio [field7] RTP/AVP 18 8 0",
            "a=rtpmap:18 G729/8000",
            "a=fmtp:18 annexb=no",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:0 PCMU/8000",
            "a=ptime:20",
            "a=sendrecv",
        ],
    },
    Shape {
        name: "mobile",
        caller: &[
            "Record-Route: <sip:[field9]:5060;lr>, <sip:[field1];lr>",
            "Contact: <sip:[field0]@[field9]:[field7];transport=udp>;\
             +g.3gpp.icsi-ref=\"urn:urn-7\"",
            ALLOW,
            "Supported: 100rel, timer, precondition",
            "Session-Expires: 1800;refresher=uac",
        ],
        callee: &[
            "Record-Route: <sip:[local_ip]:[local_port];lr>",
            "Contact: <sip:[field5]@[field9]:[field7]>",
            ALLOW,
            "Supported: timer",
        ],
        sdp: &[
            "m=audio [field7] RTP/AVP 104 102 101",
            "b=AS:41",
            "a=rtpmap:104 AMR-WB/16000/1",
            "a=fmtp:104 mode-change-capability=2;max-red=0",
            "a=rtpmap:102 AMR/8000/1",
            "a=fmtp:102 mode-change-capability=2;max-red=0",
            "a=rtpmap:101 telephone-event/8000",
            "a=fmtp:101 0-15",
            "a=ptime:20",
            "a=maxptime:240",
            "a=sendrecv",
        ],
    },
    Shape {
        name: "browser",
        caller: &[
            "Record-Route: <sip:[field1];transport=ws;lr>",
            "Contact: <sip:[field3]@[field9];transport=ws;ob>",
            ALLOW,
            "Supported: outbound, timer",
        ],
        callee: &[
            "Record-Route: <sip:[local_ip]:[local_port];lr>",
            "Contact: <sip:[field5]@[field9]:[field7]>",
            ALLOW,
        ],
        sdp: &[
            "m=audio [field7] UDP/TLS/RTP/SAVPF 111 0 8 126",
            "a=rtpmap:111 opus/48000/2",
            "a=fmtp:111 minptime=10;useinbandfec=1",
            "a=rtpmap:0 PCMU/8000",
            "a=rtpmap:8 PCMA/8000",
            "a=rtpmap:126 telephone-event/8000",
            "a=setup:actpass",
            "a=mid:0",
            "a=rtcp-mux",
            "a=sendrecv",
        ],
    },
];

impl Shape {
    /// The scenario of a side, from its template.
    pub(super) fn fill(&self, template: &str) -> String {
        template
            .replace("{caller-headers}", &self.caller.join("\n"))
            .replace("{callee-headers}", &self.callee.join("\n"))
            .replace("{sdp}", &self.sdp.join("\n"))
    }
}

/// One line of SIPp's file of fields: who calls whom, from where, and everything by which one call
/// differs from another.
pub(super) fn fields(dice: &mut Dice) -> String {
    let user = user(dice);
    let host = host(dice);
    let display = match dice.below(3) {
        0 => String::new(),
        1 => format!("\"{}\"", dice.letters(8)),
        _ => format!("\"{} {}\"", dice.letters(5), dice.letters(7)),
    };
    let tag = match dice.below(3) {
        0 => dice.hex(8),
        1 => dice.hex(16),
        _ => format!("{}-{}", dice.letters(6), dice.below(100_000_000)),
    };
    let call_id = match dice.below(3) {
        0 => dice.hex(32),
        1 => format!("{}-{}-{}", dice.hex(8), dice.hex(4), dice.hex(12)),
        _ => format!("{}@{}", dice.below(1 << 40), address(dice)),
    };
    let (called, there, media) = (self::user(dice), self::host(dice), address(dice));
    let (session, port) = (dice.below(1 << 32), 10_000 + 2 * dice.below(20_000));
    format!("{user};{host};{display};{tag};{call_id};{called};{session};{port};{there};{media};\n")
}

fn user(dice: &mut Dice) -> String {
    match dice.below(3) {
        0 => dice.letters(6),
        1 => format!("{}", 100 + dice.below(9_900)),
        _ => format!("+{}", 10_000_000_000 + dice.below(890_000_000_000)),
    }
}

fn host(dice: &mut Dice) -> String {
    match dice.below(3) {
        0 => address(dice),
        1 => format!("{}.{}.{}", dice.letters(3), dice.letters(7), dice.letters(3)),
        _ => format!("{}.{}", dice.letters(9), dice.letters(2)),
    }
}

fn address(dice: &mut Dice) -> String {
    let [a, b, c, d] = [dice.below(223), dice.below(256), dice.below(256), dice.below(254)];
    format!("{}.{b}.{c}.{}", a + 1, d + 1)
}
