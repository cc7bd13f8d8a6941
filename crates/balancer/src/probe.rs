//! A witness's probe: an OPTIONS outside any dialog that only an engine of one site may answer.
//!
//! The engine takes it like any stranger's: it locks a call, puts its state to every replica of a
//! partition, and answers when that is stored (RFC 3261 §11.2). So an answer with a To tag of a
//! call of that site proves balancer, engine and state tier together. Each probe is another call,
//! and so, in turn, of another partition.
//!
//! What aims it is a token of ours in its request-URI. It holds for its own Call-ID and From tag
//! alone: a stranger who has seen it can send the same probe again, which is absorbed as a
//! repetition (§17.2.3), and nothing else.

use std::net::SocketAddr;

use vocab::{CallKey, SiteId, Token, TokenKind, TokenSecret};

use crate::scan::{Kind, Scan, first_value, parameter};

/// One probe, as it is sent and as its answer is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    pub(crate) site: SiteId,
    pub(crate) call_id: String,
    branch: String,
    pub(crate) text: String,
}

/// What an answer proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Proof {
    /// An engine of the site stored a call before it said this.
    Answered,
    /// It answers another request, or none.
    Foreign,
    /// A final answer of somebody else: an edge, another site, or an engine without a state tier.
    Elsewhere(String),
}

/// A run of letters and digits for a Call-ID, a tag or a branch.
fn word(secret: &TokenSecret, what: &[u8], parts: [u64; 3]) -> String {
    let parts = parts.map(u64::to_be_bytes);
    format!("{:016x}", secret.authenticate(&[what, &parts[0], &parts[1], &parts[2]]))
}

impl Probe {
    /// `life` and `number` tell it from any other of the witness `name`; answers come to `from`.
    pub(crate) fn new(
        secret: &TokenSecret,
        site: SiteId,
        to: SocketAddr,
        from: SocketAddr,
        (name, life, number): (&str, u64, u64),
    ) -> Self {
        let parts = [life, number, site.0.into()];
        let call_id = format!("{}@{name}", word(secret, b"probe call", parts));
        let tag = word(secret, b"probe tag", parts);
        let branch = format!("z9hG4bK{}", word(secret, b"probe branch", parts));
        let key = secret.call_key(&[call_id.as_bytes(), tag.as_bytes()]);
        let token = Token { key, site, kind: TokenKind::Probe, salt: 0, ordinal: 0 };
        let aim = secret.mint(&token);
        let text = format!(
            "OPTIONS sip:{aim}@{to} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {from};rport;branch={branch}\r\n\
             Max-Forwards: 70\r\n\
             From: <sip:{name}@{from}>;tag={tag}\r\n\
             To: <sip:{to}>\r\n\
             Call-ID: {call_id}\r\n\
             CSeq: 1 OPTIONS\r\n\
             Accept: application/sdp\r\n\
             Content-Length: 0\r\n\r\n"
        );
        Self { site, call_id, branch, text }
    }

    /// Reads what came from an edge.
    pub(crate) fn read(&self, secret: &TokenSecret, datagram: &[u8]) -> Proof {
        let scan = Scan::of(datagram);
        let branch = scan.via.map(first_value).and_then(|via| parameter(via, b"branch"));
        let is_mine = scan.kind == Kind::Response
            && branch == Some(self.branch.as_bytes())
            && scan.call_id == Some(self.call_id.as_bytes());
        let Some(status) = status_of(datagram).filter(|_| is_mine) else { return Proof::Foreign };
        if status < 200 {
            return Proof::Foreign;
        }
        let tag = scan.to.and_then(|to| parameter(to, b"tag"));
        match tag.and_then(|tag| secret.read(tag)).filter(|token| token.kind == TokenKind::Tag) {
            Some(token) if token.site == self.site => Proof::Answered,
            Some(token) => Proof::Elsewhere(format!("site {} answered {status}", token.site.0)),
            None => Proof::Elsewhere(format!("{status} without a call")),
        }
    }
}

fn status_of(datagram: &[u8]) -> Option<u16> {
    let line = datagram.split(|&c| c == b'\r' || c == b'\n').find(|line| !line.is_empty())?;
    let word = line.split(|&c| c == b' ').nth(1)?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// The site that a probe is for; `None` for anything else, and for a token that was taken from
/// another message.
pub(crate) fn aim(scan: &Scan<'_>, token: &Token, secret: &TokenSecret) -> Option<SiteId> {
    let is_probe = token.kind == TokenKind::Probe
        && matches!(scan.kind, Kind::Request { method: b"OPTIONS", .. });
    let tag = scan.from.filter(|_| is_probe).and_then(|from| parameter(from, b"tag"))?;
    let key: CallKey = secret.call_key(&[scan.call_id?, tag]);
    (key == token.key).then_some(token.site)
}

#[cfg(test)]
mod tests;
