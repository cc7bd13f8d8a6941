//! The calls that are cloned: real ones, set up by SIP peers through an engine.
//!
//! The admin API of a state process lists their keys; their records are read over the tier link.
//! Only steady ones will do: transactions that linger after the set-up hold bytes that were made
//! for the original, and a record with them says nothing about a call that merely stands.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use serde_json::Value;
use tier_protocol::Record;
use vocab::CallKey;

use crate::tier::Client;

/// Originals beyond this say nothing new.
pub(crate) const ORIGINALS_MAX: usize = 64;
/// For one answer of the admin API, or one record.
const ANSWER: Duration = Duration::from_secs(5);

/// Keys of the active calls that the process at `admin` holds.
pub(crate) fn list(admin: SocketAddr) -> Result<Vec<CallKey>, String> {
    let reply = ask(admin, &format!("/v1/calls?limit={ORIGINALS_MAX}"))?;
    let calls = reply["calls"].as_array().cloned().unwrap_or_default();
    let active = calls.iter().filter(|call| call["dormant"] == Value::Bool(false));
    Ok(active.filter_map(|call| call["key"].as_str().and_then(CallKey::from_hex)).collect())
}

/// What the process at `admin` answers to a `GET`.
pub(crate) fn ask(admin: SocketAddr, path: &str) -> Result<Value, String> {
    let body = get(admin, path).map_err(|error| format!("the admin API at {admin}: {error}"))?;
    serde_json::from_str(&body)
        .map_err(|error| format!("the admin API at {admin}: {error}: {body}"))
}

/// HTTP/1.0: the answer ends with the connection.
fn get(admin: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&admin, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {admin}\r\n\r\n").as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| std::io::Error::other("an answer without a body"))
}

/// The records of `keys`, once all are steady.
pub(crate) fn read(
    client: &mut Client,
    keys: &[CallKey],
    patience: Duration,
) -> Result<Vec<Record>, String> {
    let deadline = Instant::now() + patience;
    let mut steady = Vec::new();
    for key in keys {
        loop {
            match client.get(*key, ANSWER)? {
                Some(record) if is_steady(&record) => {
                    steady.push(record);
                    break;
                }
                Some(_) if Instant::now() < deadline => {}
                Some(_) => return Err(format!("call {key} is not steady")),
                None => return Err(format!("there is no call {key}")),
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    Ok(steady)
}

/// Nothing of its set-up lingers: no deadline is left but those that cross, and its applications
/// expect nothing.
fn is_steady(record: &Record) -> bool {
    let header = &record.header;
    header.is_steady() && header.deadline == header.crossing_deadline
}
