//! Whom a probe reaches, who may aim, and what counts as an answer.

use super::*;

fn secret() -> TokenSecret {
    TokenSecret::new(*b"0123456789abcdef0123456789ABCDEF")
}

fn probe(site: u16) -> Probe {
    let (to, from) = (([10, 0, 9, 1], 5060).into(), ([10, 0, 5, 1], 5070).into());
    Probe::new(&secret(), SiteId(site), to, from, ("w1", 7, 1))
}

fn aimed(text: &str) -> Option<u16> {
    let scan = Scan::of(text.as_bytes());
    let token = scan.token(&secret())?;
    aim(&scan, &token, &secret()).map(|site| site.0)
}

/// The answer of a call at `site`, or of nobody's.
fn answer(probe: &Probe, status: &str, site: Option<u16>) -> String {
    let tag = site.map_or("stateless".into(), |site| {
        let (key, site) = (CallKey([3; 16]), SiteId(site));
        secret().mint(&Token { key, site, kind: TokenKind::Tag, salt: 1, ordinal: 1 })
    });
    let line = |name: &str| {
        let mut lines = probe.text.lines();
        lines.find(|line| line.starts_with(name)).expect("a probe has it").to_owned()
    };
    let (via, call_id) = (line("Via"), line("Call-ID"));
    format!("SIP/2.0 {status}\r\n{via}\r\nTo: <sip:x>;tag={tag}\r\n{call_id}\r\n\r\n")
}

#[test]
fn a_probe_reaches_its_site() {
    assert_eq!(aimed(&probe(1).text), Some(1));
    assert_eq!(aimed(&probe(2).text), Some(2));
}

#[test]
fn no_two_probes_are_the_same_call() {
    let (to, from) = (([10, 0, 9, 1], 5060).into(), ([10, 0, 5, 1], 5070).into());
    let all = [(1, ("w1", 7, 1)), (2, ("w1", 7, 1)), (1, ("w1", 7, 2)), (1, ("w1", 8, 1))];
    let calls = all.map(|(site, who)| Probe::new(&secret(), SiteId(site), to, from, who).call_id);
    for (at, call) in calls.iter().enumerate() {
        assert!(!calls[..at].contains(call), "{calls:?}");
    }
}

#[test]
fn a_stranger_cannot_aim() {
    let text = probe(1).text;
    // The token in a request of his own, by its method, its call and its caller.
    for (from, to) in
        [("OPTIONS sip", "INVITE sip"), ("Call-ID: ", "Call-ID: x"), (";tag=", ";tag=x")]
    {
        let forged = text.replacen(from, to, 1);
        assert_ne!(forged, text);
        assert_eq!(aimed(&forged), None, "{forged}");
    }
    let other = TokenSecret::new([7; 32]);
    let (to, from) = (([10, 0, 9, 1], 5060).into(), ([10, 0, 5, 1], 5070).into());
    let strange = Probe::new(&other, SiteId(1), to, from, ("w1", 7, 1)).text;
    assert_eq!(aimed(&strange), None);
}

#[test]
fn only_a_call_of_the_site_proves_it() {
    let probe = probe(1);
    let read = |text: String| probe.read(&secret(), text.as_bytes());
    assert_eq!(read(answer(&probe, "200 OK", Some(1))), Proof::Answered);
    // A site without an application answers so, and has stored a call all the same.
    assert_eq!(read(answer(&probe, "404 Not Found", Some(1))), Proof::Answered);
    let elsewhere = |why: &str| Proof::Elsewhere(why.into());
    assert_eq!(read(answer(&probe, "200 OK", Some(2))), elsewhere("site 2 answered 200"));
    let refused = answer(&probe, "503 Service Unavailable", None);
    assert_eq!(read(refused), elsewhere("503 without a call"));
    assert_eq!(read(answer(&probe, "100 Trying", Some(1))), Proof::Foreign);
}

#[test]
fn an_answer_to_something_else_is_none() {
    let (one, two) = (probe(1), probe(2));
    let text = answer(&two, "200 OK", Some(1));
    assert_eq!(one.read(&secret(), text.as_bytes()), Proof::Foreign);
    for junk in ["", "\r\n\r\n", "SIP/2.0", "SIP/2.0 x", "SIP/2.0 200 OK\r\n\r\n"] {
        assert_eq!(one.read(&secret(), junk.as_bytes()), Proof::Foreign, "{junk:?}");
    }
    assert_eq!(one.read(&secret(), one.text.as_bytes()), Proof::Foreign);
}
