//! Two telephones and the call between them, in SIP written by hand.

use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

const WITHIN: Duration = Duration::from_secs(20);
/// RFC 3261's T1: what nobody answers is sent again.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

struct Phone {
    socket: UdpSocket,
    edge: SocketAddr,
}

impl Phone {
    fn new(edge: SocketAddr) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(AGAIN_AFTER)).unwrap();
        Self { socket, edge }
    }

    fn address(&self) -> SocketAddr {
        self.socket.local_addr().unwrap()
    }

    fn send(&self, text: &str) {
        self.socket.send_to(text.as_bytes(), self.edge).unwrap();
    }

    /// The next message that begins with `start`; others are dropped. `again` is sent while
    /// nothing comes.
    fn wait_for(&self, start: &str, again: Option<&str>) -> String {
        let began = Instant::now();
        let mut area = [0; 65_536];
        while began.elapsed() < WITHIN {
            match self.socket.recv(&mut area) {
                Ok(read) => {
                    let text = String::from_utf8_lossy(&area[..read]).into_owned();
                    if text.starts_with(start) {
                        return text;
                    }
                }
                Err(_) => {
                    if let Some(again) = again {
                        self.send(again);
                    }
                }
            }
        }
        panic!("no {start} came");
    }
}

fn header<'a>(message: &'a str, name: &str) -> &'a str {
    let line = message.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    line.unwrap_or_else(|| panic!("no {name} in\n{message}"))
}

fn uri_of(contact: &str) -> &str {
    contact.split(['<', '>']).nth(1).unwrap_or(contact)
}

/// The answer to `request`, with a tag of ours and a Contact.
fn answer(request: &str, status: &str, tag: &str, contact: SocketAddr, body: &str) -> String {
    let mut text = format!("SIP/2.0 {status}\r\n");
    for line in request.lines().filter(|line| line.starts_with("Via: ")) {
        text += &format!("{line}\r\n");
    }
    let to = header(request, "To");
    let to = if to.contains("tag=") { to.into() } else { format!("{to};tag={tag}") };
    let (from, call_id) = (header(request, "From"), header(request, "Call-ID"));
    let cseq = header(request, "CSeq");
    text += &format!("From: {from}\r\nTo: {to}\r\nCall-ID: {call_id}\r\nCSeq: {cseq}\r\n");
    text += &format!("Contact: <sip:callee@{contact}>\r\n");
    if !body.is_empty() {
        text += "Content-Type: application/sdp\r\n";
    }
    text + &format!("Content-Length: {}\r\n\r\n{body}", body.len())
}

fn sdp(address: SocketAddr) -> String {
    format!(
        "v=0\r\no=- 1 1 IN IP4 {ip}\r\ns=-\r\nc=IN IP4 {ip}\r\nt=0 0\r\n\
         m=audio {port} RTP/AVP 0\r\n",
        ip = address.ip(),
        port = address.port(),
    )
}

/// A call from one telephone to the other through the edge.
pub(crate) struct Call {
    caller: Phone,
    callee: Phone,
    call_id: String,
    /// Of the answer: what requests within the dialog need.
    to: String,
    target: String,
    cseq: u32,
}

impl Call {
    pub(crate) fn new(edge: SocketAddr) -> Self {
        let (caller, callee) = (Phone::new(edge), Phone::new(edge));
        let call_id = format!("{}@127.0.0.1", caller.address().port());
        Self { caller, callee, call_id, to: String::new(), target: String::new(), cseq: 1 }
    }

    pub(crate) fn callee_address(&self) -> SocketAddr {
        self.callee.address()
    }

    fn request(&self, method: &str, branch: &str, body: &str) -> String {
        let (here, cseq) = (self.caller.address(), self.cseq);
        let (target, to) = match self.to.as_str() {
            "" => (format!("sip:callee@{}", self.caller.edge), "<sip:callee@example.com>"),
            to => (self.target.clone(), to),
        };
        let kind = if body.is_empty() { "" } else { "Content-Type: application/sdp\r\n" };
        format!(
            "{method} {target} SIP/2.0\r\n\
             Via: SIP/2.0/UDP {here};branch=z9hG4bK{branch}{cseq};rport\r\n\
             Max-Forwards: 70\r\nFrom: <sip:caller@example.com>;tag=caller\r\nTo: {to}\r\n\
             Call-ID: {}\r\nCSeq: {cseq} {method}\r\nContact: <sip:caller@{here}>\r\n\
             {kind}Content-Length: {}\r\n\r\n{body}",
            self.call_id,
            body.len()
        )
    }

    /// INVITE, 180, 200, ACK, through to both ends.
    pub(crate) fn set_up(&mut self) {
        let invite = self.request("INVITE", "invite", &sdp(self.caller.address()));
        self.caller.send(&invite);
        let offered = self.callee.wait_for("INVITE ", None);
        let contact = self.callee.address();
        self.callee.send(&answer(&offered, "180 Ringing", "callee", contact, ""));
        self.caller.wait_for("SIP/2.0 180", Some(&invite));
        let ok = answer(&offered, "200 OK", "callee", contact, &sdp(contact));
        self.callee.send(&ok);
        let answered = self.caller.wait_for("SIP/2.0 200", Some(&invite));
        self.to = header(&answered, "To").into();
        self.target = uri_of(header(&answered, "Contact")).into();
        self.caller.send(&self.request("ACK", "ack", ""));
        self.callee.wait_for("ACK ", Some(&ok));
    }

    /// A message within the dialog, answered by the other end.
    pub(crate) fn say_something(&mut self) {
        self.cseq += 1;
        let info = self.request("INFO", "info", "");
        self.caller.send(&info);
        let heard = self.callee.wait_for("INFO ", None);
        self.callee.send(&answer(&heard, "200 OK", "callee", self.callee.address(), ""));
        self.caller.wait_for("SIP/2.0 200", Some(&info));
    }

    /// BYE from the caller, answered, and heard by the callee.
    pub(crate) fn hang_up(&mut self) {
        self.cseq += 1;
        let bye = self.request("BYE", "bye", "");
        self.caller.send(&bye);
        self.caller.wait_for("SIP/2.0 200", Some(&bye));
        let heard = self.callee.wait_for("BYE ", None);
        self.callee.send(&answer(&heard, "200 OK", "callee", self.callee.address(), ""));
    }
}
