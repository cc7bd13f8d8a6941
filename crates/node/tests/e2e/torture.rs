//! The 49 messages of RFC 4475 at the SIP port: the process stays alive and answers as the
//! manifest says, or as it tolerates, for an element that is a user agent without a registrar.
//!
//! Each message is sent from an address of its own, so that repetitions of one answer are not taken
//! for the answer to another message.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::{Limits, Message, Method, Request, Response, StatusCode, parse_datagram};

use crate::harness::config::{self, Door};
use crate::harness::process::Node;
use crate::harness::stage::Stage;

/// A message that got no answer within this is taken to be discarded.
const SILENT_AFTER: Duration = Duration::from_millis(600);
/// "Alive" means that OPTIONS is answered within this.
const ALIVE_WITHIN: Duration = Duration::from_secs(1);
/// Ports at which the Vias of the messages want their answers.
const ANSWER_PORTS: [u16; 3] = [5060, 5050, 5070];

/// Where we differ from the manifest, and why that is right.
const OTHERWISE: [(&str, &str); 0] = [];

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    /// The first answer other than 100.
    Answered(u16),
    /// It went on to the callee.
    Forwarded,
    /// Nothing came.
    Silence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    AsManifest,
    Tolerated,
    Otherwise,
}

#[test]
fn rfc_4475_at_the_port() {
    let stage = Stage::new("torture");
    let [sip, admin, callee_at, probe_at] = [(); 4].map(|()| stage.address());
    let data = stage.path("data");
    std::fs::create_dir_all(&data).expect("the test's folder is writable");
    let text = config::head("all", 1, Some(&data), admin)
        + &config::sip(sip, &Door::Listen(sip), callee_at, 500);
    let mut node = Node::start(&stage, "site1", &text, admin);
    node.wait_serving();
    let callee = Callee::new(callee_at);
    let probe = listen(probe_at);
    let (mut counts, mut others) = ([0_u32; 3], Vec::new());
    let mut slowest = Duration::ZERO;
    for (number, row) in manifest().iter().enumerate() {
        let outcome = send(row, number, sip, &callee);
        slowest = slowest.max(check_alive(&probe, sip, number, &row["file"]));
        let verdict = judge(row, outcome);
        if row["class"] == "extra" {
            assert_ne!(verdict, Verdict::Otherwise, "{}: {outcome:?}", row["file"]);
            continue;
        }
        counts[verdict as usize] += 1;
        if verdict == Verdict::Otherwise {
            let expected = &row["expected"];
            others.push((row["file"].clone(), format!("{expected} expected, {outcome:?}")));
        }
    }
    assert!(node.try_status().is_some(), "it lives");
    let [as_manifest, tolerated, otherwise] = counts;
    stage.say(&format!(
        "torture: {as_manifest} of {} as the manifest says, {tolerated} tolerated, {otherwise} \
         otherwise; alive after each within {} ms",
        counts.iter().sum::<u32>(),
        slowest.as_millis(),
    ));
    for (file, what) in &others {
        let reason = OTHERWISE.iter().find(|(known, _)| known == file).map(|(_, reason)| *reason);
        println!("  otherwise: {file}: {what}: {}", reason.unwrap_or("NO REASON IS KNOWN"));
    }
    let unknown = others.iter().filter(|(file, _)| !OTHERWISE.iter().any(|(one, _)| one == file));
    assert_eq!(unknown.count(), 0, "{others:#?}");
    assert_eq!(counts.iter().sum::<u32>(), 49, "RFC 4475 has 49 messages");
}

/// Sends a message and waits for what becomes of it.
fn send(
    row: &BTreeMap<String, String>,
    number: usize,
    sip: SocketAddr,
    callee: &Callee,
) -> Outcome {
    let ip = Ipv4Addr::new(127, 44, 75, u8::try_from(number + 1).expect("about fifty messages"));
    let sockets = ANSWER_PORTS.map(|port| listen((ip, port).into()));
    let bytes = std::fs::read(folder().join(&row["file"])).expect("the manifest names files");
    callee.clear();
    sockets[0].send_to(&bytes, sip).expect("loopback takes a datagram");
    let began = Instant::now();
    let mut buffer = [0_u8; 65_536];
    while began.elapsed() < SILENT_AFTER {
        if callee.took_a_request() {
            return Outcome::Forwarded;
        }
        for socket in &sockets {
            let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
            let answer = String::from_utf8_lossy(&buffer[..length]).into_owned();
            let status =
                answer.strip_prefix("SIP/2.0 ").and_then(|rest| rest.get(..3)?.parse().ok());
            let status: u16 = status.unwrap_or_else(|| panic!("not a response: {answer}"));
            if status > 100 {
                return Outcome::Answered(status);
            }
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Outcome::Silence
}

/// The manifest's words, for a back-to-back user agent that keeps no registrations.
fn judge(row: &BTreeMap<String, String>, outcome: Outcome) -> Verdict {
    use Outcome::{Answered, Forwarded, Silence};
    let is_response = row["kind"] == "response";
    // A well-formed request is read and gets past the parser; a response for nobody goes nowhere.
    let accepted = match outcome {
        Answered(status) => !matches!(status, 400 | 413 | 500..=599) || status == 501,
        Forwarded => true,
        Silence => is_response,
    };
    let tolerated = if accepted { Verdict::Tolerated } else { Verdict::Otherwise };
    let alternative = row["tolerated_alternative"].as_str();
    let registers = row["expected_detail"].contains("REGISTER");
    match (row["expected"].as_str(), outcome) {
        // It was read, and nobody looked at its bindings.
        ("accept", Answered(405)) if registers => Verdict::Tolerated,
        ("accept", _) if accepted => Verdict::AsManifest,
        ("discard", Silence) | ("error(400)", Answered(400)) => Verdict::AsManifest,
        ("400-or-2543", _) if accepted || outcome == Answered(400) => Verdict::AsManifest,
        ("400-registrar", Answered(400)) | ("415-uas", Answered(415)) => Verdict::AsManifest,
        ("483-proxy", Answered(483)) => Verdict::AsManifest,
        (expected, Answered(status)) if expected == status.to_string() => Verdict::AsManifest,
        // "non-registrar 405": we keep no registrations and say so.
        ("401" | "200" | "400-registrar", Answered(405)) => Verdict::Tolerated,
        ("415-uas" | "483-proxy", _) => tolerated,
        ("400", Silence) if alternative == "discard" => Verdict::Tolerated,
        ("501", Answered(400)) | ("416", Answered(404)) => Verdict::Tolerated,
        ("406", Answered(400)) => Verdict::Tolerated,
        ("400", _) if alternative.contains("may ") => tolerated,
        _ => Verdict::Otherwise,
    }
}

/// Asks the port with a plain OPTIONS; the time until its 200.
fn check_alive(probe: &UdpSocket, sip: SocketAddr, number: usize, after: &str) -> Duration {
    let local = probe.local_addr().expect("it is bound");
    let options = format!(
        "OPTIONS sip:{sip} SIP/2.0\r\nVia: SIP/2.0/UDP {local};branch=z9hG4bKprobe{number}\r\n\
         Max-Forwards: 70\r\nFrom: <sip:probe@{local}>;tag=p\r\nTo: <sip:{sip}>\r\n\
         Call-ID: probe-{number}\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
    );
    let began = Instant::now();
    probe.send_to(options.as_bytes(), sip).expect("loopback takes a datagram");
    let wanted = format!("Call-ID: probe-{number}\r\n");
    let mut buffer = [0_u8; 65_536];
    while began.elapsed() < ALIVE_WITHIN {
        let Ok((length, _)) = probe.recv_from(&mut buffer) else {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        };
        let answer = String::from_utf8_lossy(&buffer[..length]);
        if answer.starts_with("SIP/2.0 200") && answer.contains(&wanted) {
            return began.elapsed();
        }
    }
    panic!("no answer to OPTIONS within {ALIVE_WITHIN:?} after {after}");
}

/// Where calls go on to. It is busy, so that no call of this test lives on.
struct Callee(UdpSocket);

impl Callee {
    fn new(at: SocketAddr) -> Self {
        Self(listen(at))
    }

    /// Forgets what came late for the message before.
    fn clear(&self) {
        while self.answer_next().is_some() {}
    }

    fn took_a_request(&self) -> bool {
        self.answer_next().is_some_and(|request| request.method != Method::Ack)
    }

    fn answer_next(&self) -> Option<Request> {
        let mut buffer = [0_u8; 65_536];
        let (length, source) = self.0.recv_from(&mut buffer).ok()?;
        let bytes = Bytes::copy_from_slice(&buffer[..length]);
        // RFC 4475: what is passed on must be well-formed, whatever it was before.
        let message = parse_datagram(&bytes, &Limits::default());
        let Ok(Message::Request(request)) = message else { panic!("passed on: {message:?}") };
        if request.method != Method::Ack {
            let busy = StatusCode::new(486).expect("a status");
            let busy = Response::to_request(&request, busy).print();
            let _lost = self.0.send_to(&busy, source);
        }
        Some(request)
    }
}

fn listen(at: SocketAddr) -> UdpSocket {
    let socket = UdpSocket::bind(at).unwrap_or_else(|error| panic!("{at}: {error}"));
    socket.set_nonblocking(true).expect("a socket can be made non-blocking");
    socket
}

fn folder() -> PathBuf {
    let corpora = std::env::var_os("REHOME_CORPORA").map_or_else(
        || {
            let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
            manifest.join("../../..").join("shared").join("corpora")
        },
        PathBuf::from,
    );
    let folder = corpora.join("rfc4475");
    assert!(
        folder.join("manifest.csv").is_file(),
        "the RFC 4475 torture messages are not in {}: unpack the messages of its Appendix A there, \
         with their manifest.csv, or set REHOME_CORPORA to the folder that holds rfc4475/",
        folder.display(),
    );
    folder
}

/// The rows of the manifest by column name.
fn manifest() -> Vec<BTreeMap<String, String>> {
    let bytes = std::fs::read(folder().join("manifest.csv")).expect("it was found");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let mut lines = text.lines().map(fields);
    let columns = lines.next().expect("the first line names the columns");
    lines.map(|fields| columns.iter().cloned().zip(fields).collect()).collect()
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => fields.last_mut().expect("there is always one").push(letter),
        }
    }
    fields
}
