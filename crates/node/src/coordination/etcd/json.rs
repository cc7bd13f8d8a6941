//! What etcd's JSON gateway says: numbers of 64 bits are strings, bytes are base64, zeros are left
//! out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::http::Failure;

/// `code` of gRPC where etcd gives none.
const UNKNOWN: u32 = 2;

/// On every answer.
#[derive(Debug, Default, Deserialize)]
pub(super) struct Header {
    /// Of the whole store.
    #[serde(default, deserialize_with = "number")]
    pub(super) revision: u64,
}

/// One key.
#[derive(Debug, Deserialize)]
pub(super) struct KeyValue {
    #[serde(deserialize_with = "bytes")]
    pub(super) key: Bytes,
    #[serde(default, deserialize_with = "bytes")]
    pub(super) value: Bytes,
    #[serde(default, deserialize_with = "number")]
    pub(super) mod_revision: u64,
}

/// Of `/v3/kv/range`.
#[derive(Debug, Deserialize)]
pub(super) struct Range {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
}

/// Of `/v3/kv/put` and others of which only success counts.
#[derive(Debug, Deserialize)]
pub(super) struct Done {
    pub(super) header: Header,
}

/// Of `/v3/kv/txn`, whose other branch is one read.
#[derive(Debug, Deserialize)]
pub(super) struct Transaction {
    pub(super) header: Header,
    #[serde(default)]
    pub(super) succeeded: bool,
    #[serde(default)]
    pub(super) responses: Vec<Response>,
}

/// One operation of a transaction.
#[derive(Debug, Deserialize)]
pub(super) struct Response {
    pub(super) response_range: Option<Found>,
}

/// A read inside a transaction.
#[derive(Debug, Deserialize)]
pub(super) struct Found {
    #[serde(default)]
    pub(super) kvs: Vec<KeyValue>,
}

/// Of `/v3/lease/grant`, and inside of `/v3/lease/keepalive`.
#[derive(Debug, Deserialize)]
pub(super) struct Lease {
    #[serde(rename = "ID", default, deserialize_with = "number")]
    pub(super) id: u64,
    /// Seconds; none are left of a lease that is over.
    #[serde(rename = "TTL", default, deserialize_with = "number")]
    pub(super) ttl: u64,
}

/// Of `/v3/auth/authenticate`.
#[derive(Debug, Deserialize)]
pub(super) struct Token {
    pub(super) token: String,
}

/// A line of a stream.
#[derive(Debug, Deserialize)]
pub(super) struct Line<T> {
    pub(super) result: Option<T>,
}

/// A line of `/v3/watch`.
#[derive(Debug, Deserialize)]
pub(super) struct Watched {
    #[serde(default)]
    pub(super) canceled: bool,
    #[serde(default)]
    pub(super) cancel_reason: String,
    #[serde(default, deserialize_with = "number")]
    pub(super) compact_revision: u64,
    #[serde(default)]
    pub(super) events: Vec<Event>,
}

/// One change.
#[derive(Debug, Deserialize)]
pub(super) struct Event {
    /// `DELETE`, or left out for a put.
    #[serde(rename = "type", default)]
    pub(super) sort: String,
    pub(super) kv: KeyValue,
}

/// An error, in the forms of the gateway's versions.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Refusal {
    message: String,
    error: serde_json::Value,
    code: Option<u32>,
    grpc_code: Option<u32>,
}

/// Reads an answer.
pub(super) fn read<T: DeserializeOwned>(answer: &[u8]) -> Result<T, Failure> {
    serde_json::from_slice(answer)
        .map_err(|error| Failure::Unanswered(format!("an answer that makes no sense: {error}")))
}

/// Reads a line of a stream: a result, or an error.
pub(super) fn read_line<T: DeserializeOwned>(line: &[u8]) -> Result<T, Failure> {
    let read: Line<T> = read(line)?;
    read.result.ok_or_else(|| refusal(0, line))
}

/// Reads an error. `status` is told where there is nothing to read.
pub(super) fn refusal(status: u16, answer: &[u8]) -> Failure {
    let outer: Refusal = serde_json::from_slice(answer).unwrap_or_default();
    // In a stream, the error is an object.
    let inner = serde_json::from_value::<Refusal>(outer.error.clone()).unwrap_or_default();
    let words = [&outer.message, &inner.message].into_iter().find(|words| !words.is_empty());
    let message = match (words, outer.error.as_str()) {
        (Some(words), _) => words.clone(),
        (None, Some(words)) => words.into(),
        (None, None) => format!("HTTP status {status}"),
    };
    let codes = [outer.code, outer.grpc_code, inner.grpc_code, inner.code];
    let code = codes.into_iter().flatten().next().unwrap_or(UNKNOWN);
    Failure::Refused { code, message }
}

/// As keys and values are written.
pub(super) fn base64(bytes: impl AsRef<[u8]>) -> String {
    BASE64.encode(bytes)
}

fn bytes<'de, D: Deserializer<'de>>(from: D) -> Result<Bytes, D::Error> {
    let text = <std::borrow::Cow<'de, str>>::deserialize(from)?;
    BASE64.decode(text.as_bytes()).map(Bytes::from).map_err(serde::de::Error::custom)
}

/// A number, in quotes or without.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Number {
        Bare(u64),
        Quoted(String),
    }
    match Number::deserialize(from)? {
        Number::Bare(number) => Ok(number),
        Number::Quoted(text) => text.parse().map_err(serde::de::Error::custom),
    }
}

#[cfg(test)]
mod tests;
