//! The torture messages of RFC 4475 and RFC 5118, by the tables that come with them.
//!
//! Outcomes that belong to a user agent, proxy or registrar are not decided here: such a message
//! must be read.

use std::collections::BTreeMap;
use std::path::PathBuf;

use sip_message::{Bytes, Host, Limits, Message, ParseError, Uri, parse_datagram};

/// Marked as the concern of an application, but a message that cannot be routed is ours to refuse.
const REFUSED_HERE: [&str; 3] = ["insuf.msg", "multi01.msg", "mcl01.msg"];

/// Where we take the tolerated alternative: "may ignore the Date header".
const TOLERATED: [&str; 1] = ["baddate.msg"];

fn folder(name: &str) -> PathBuf {
    let corpora = std::env::var_os("REHOME_CORPORA").map_or_else(
        || {
            let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
            manifest.join("../../..").join("shared").join("corpora")
        },
        PathBuf::from,
    );
    let folder = corpora.join(name);
    assert!(
        folder.join("manifest.csv").is_file(),
        "the {name} torture messages are not in {}: unpack the messages of Appendix A of that RFC \
         there, with their manifest.csv, or set REHOME_CORPORA to the folder that holds {name}/",
        folder.display(),
    );
    folder
}

fn bytes_of(corpus: &str, file: &str) -> Bytes {
    let path = folder(corpus).join(file);
    let bytes = std::fs::read(&path);
    bytes.unwrap_or_else(|error| panic!("{}: {error}", path.display())).into()
}

fn read(corpus: &str, file: &str) -> Result<Message, ParseError> {
    parse_datagram(&bytes_of(corpus, file), &Limits::default())
}

/// The rows of a manifest by column name.
fn manifest(corpus: &str) -> Vec<BTreeMap<String, String>> {
    let bytes = bytes_of(corpus, "manifest.csv");
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

/// `"accept"`, `"discard"`, or the status.
fn outcome(result: &Result<Message, ParseError>) -> String {
    match result {
        Ok(_) => "accept".to_owned(),
        Err(error) => match error.refusal() {
            Some((status, _)) => status.to_string(),
            None => "discard".to_owned(),
        },
    }
}

fn expected(row: &BTreeMap<String, String>) -> &str {
    let (file, expected) = (row["file"].as_str(), row["expected"].as_str());
    match row["class"].as_str() {
        "valid" | "compat" | "invalid-tolerate" => "accept",
        "invalid" if TOLERATED.contains(&file) => "accept",
        "invalid" if expected == "error(400)" => "400",
        "invalid" => expected,
        "application" if REFUSED_HERE.contains(&file) => expected,
        "application" | "transaction" => "accept",
        // Not one of the 49: no Via, so nothing says where an answer belongs.
        "extra" => "discard",
        class => panic!("{file}: class {class} is not known here"),
    }
}

fn check(corpus: &str, file: &str, expect: &str) {
    let result = read(corpus, file);
    assert_eq!(outcome(&result), expect, "{file}: {result:?}");
    if let Ok(message) = result {
        let printed = message.print();
        let again = parse_datagram(&printed, &Limits::default());
        let again = again.unwrap_or_else(|error| panic!("{file}: {error}"));
        assert_eq!(again.print(), printed, "{file}");
        assert_eq!(again.body(), message.body(), "{file}");
    }
}

#[test]
fn rfc_4475() {
    let rows = manifest("rfc4475");
    assert!(rows.len() >= 49, "there are 49 messages");
    for row in rows {
        check("rfc4475", &row["file"], expected(&row));
    }
}

#[test]
fn rfc_5118() {
    let rows = manifest("rfc5118");
    for row in &rows {
        if row["expected"] == "do-not-send(archive form)" {
            // Line feeds alone: refused, and nothing worse.
            assert!(read("rfc5118", &row["file"]).is_err());
        } else {
            check("rfc5118", &row["file"], expected(row));
        }
    }
    assert!(rows.len() >= 24, "there are 12 messages in two forms");
}

fn message(corpus: &str, file: &str) -> Message {
    read(corpus, file).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn request_uri(corpus: &str, file: &str) -> Uri {
    match message(corpus, file) {
        Message::Request(request) => request.uri,
        Message::Response(_) => panic!("{file} is a request"),
    }
}

#[test]
fn a_short_tortuous_invite() {
    let message = message("rfc4475", "wsinv.msg");
    let headers = message.headers();
    assert_eq!(headers.to().expect("there").tag(), Some(&"1918181833n".into()));
    assert_eq!(headers.from().expect("there").display, Some("\"J Rosenberg \\\\\\\"\"".into()));
    assert_eq!(headers.max_forwards(), Ok(Some(68)));
    assert_eq!(headers.cseq().expect("there").to_string(), "9 INVITE");
    let vias = headers.vias().expect("well formed");
    let branches: Vec<_> = vias.iter().filter_map(|via| via.branch().cloned()).collect();
    assert_eq!(branches, ["390skdjuw", "z9hG4bK9ikj8", "z9hG4bK30239"]);
    let contact = headers.contact().expect("well formed").expect("there");
    assert_eq!(contact.params.to_string(), ";newparam=newvalue;secondparam;q=0.33");
    assert_eq!(message.body().len(), 150);
}

#[test]
fn escapes_and_unusual_characters() {
    let uri = request_uri("rfc4475", "esc01.msg");
    assert_eq!(uri.user_unescaped(), Some("sips:user@example.com".into()));
    let uri = request_uri("rfc4475", "semiuri.msg");
    assert_eq!(uri.user_unescaped(), Some("user;par=u@example.net".into()));
    let uri = request_uri("rfc4475", "intmeth.msg");
    assert_eq!(uri.user(), Some(&"1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*".into()));
    let contacts = message("rfc4475", "esc02.msg").headers().contacts();
    assert_eq!(contacts.map(|contacts| contacts.len()), Ok(2));
    let message = message("rfc4475", "intmeth.msg");
    let to = message.headers().to().expect("there");
    assert_eq!(to.display, Some("\"BEL:\\\u{7} NUL:\\\0 DEL:\\\u{7f}\"".into()));
}

#[test]
fn what_a_datagram_holds_beyond_its_body_is_dropped() {
    let message = message("rfc4475", "dblreq.msg");
    assert!(message.body().is_empty());
    assert!(!String::from_utf8_lossy(&message.print()).contains("INVITE"));
}

#[test]
fn parameters_inside_and_outside_brackets() {
    let contact = |file| message("rfc4475", file).headers().contact().expect("good").expect("one");
    assert!(contact("cparam01.msg").params.contains("unknownparam"));
    assert!(contact("cparam02.msg").uri.has_param("unknownparam"));
    assert!(contact("regescrt.msg").uri.headers().is_some());
}

#[test]
fn version_6_addresses() {
    let address = |text: &str| Some(Host::from(text));
    let uri = request_uri("rfc5118", "send/port-ambiguous.msg");
    assert_eq!((uri.host().cloned(), uri.port()), (address("[2001:db8::10:5070]"), None));
    let uri = request_uri("rfc5118", "send/port-unambiguous.msg");
    assert_eq!((uri.host().cloned(), uri.port()), (address("[2001:db8::10]"), Some(5070)));
    let uri = request_uri("rfc5118", "send/ipv6-bug-abnf-3-colons.msg");
    assert_eq!(uri.host().cloned(), address("[2001:db8::192.0.2.1]"));
    for file in ["send/via-received-param-with-delim.msg", "send/via-received-param-no-delim.msg"] {
        let via = message("rfc5118", file).headers().via_top().expect("good").expect("one");
        assert_eq!(via.received(), Some("2001:db8::9:255".parse().expect("an address")));
    }
}
