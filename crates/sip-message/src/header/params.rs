//! Parameters of a header value or a URI: an ordered list (`generic-param`, RFC 3261 25.1).
//!
//! Names compare without case. Values are kept as written, quotes included.

use std::fmt;

use bytes::{BufMut, Bytes, BytesMut};

use super::HeaderErrorKind;
use crate::grammar::{self, ParamScan};

/// Ordered parameters; each has a name and perhaps a value.
///
/// ```
/// use sip_message::Params;
/// let mut params = Params::default();
/// params.set("lr", None);
/// params.set("tag", Some("a1"));
/// assert_eq!(params.to_string(), ";lr;tag=a1");
/// assert_eq!(params.get("LR"), Some(None));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Params(Vec<(Bytes, Option<Bytes>)>);

impl Params {
    /// Reads `*( SEMI generic-param )`; `rest` is a part of `parent`.
    pub(crate) fn read(parent: &Bytes, rest: &[u8]) -> Result<Params, HeaderErrorKind> {
        let mut params = Params::default();
        let mut scan = ParamScan::new(rest);
        while let Some((name, value)) = scan.read()? {
            params.push(parent.slice_ref(name), value.map(|value| parent.slice_ref(value)));
        }
        Ok(params)
    }

    pub(crate) fn push(&mut self, name: Bytes, value: Option<Bytes>) {
        self.0.push((name, value));
    }

    /// Keeps the parameters whose names `keep` says so for.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&Bytes) -> bool) {
        self.0.retain(|(name, _)| keep(name));
    }

    /// The first parameter of this name: `Some(None)` when it has no value.
    pub fn get(&self, name: &str) -> Option<Option<&Bytes>> {
        self.iter()
            .find(|(written, _)| written.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// The value of the first parameter of this name.
    pub fn value(&self, name: &str) -> Option<&Bytes> {
        self.get(name).flatten()
    }

    /// Whether there is a parameter of this name.
    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// Sets a parameter, in its place when it exists. A value that is not plain is quoted.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.set_bytes(name, value.map(|value| Bytes::copy_from_slice(value.as_bytes())));
    }

    /// As [`Params::set`], for a value that need not be text.
    pub fn set_bytes(&mut self, name: &str, value: Option<Bytes>) {
        let value = value.map(plain_or_quoted);
        let same = |written: &Bytes| written.eq_ignore_ascii_case(name.as_bytes());
        if let Some(param) = self.0.iter_mut().find(|(written, _)| same(written)) {
            param.1 = value;
        } else {
            let name: Bytes = name.bytes().filter(|&byte| grammar::is_token(&[byte])).collect();
            if !name.is_empty() {
                self.0.push((name, value));
            }
        }
    }

    /// Removes every parameter of this name; returns how many there were.
    pub fn remove(&mut self, name: &str) -> usize {
        let before = self.0.len();
        self.0.retain(|(written, _)| !written.eq_ignore_ascii_case(name.as_bytes()));
        before - self.0.len()
    }

    /// All, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Bytes, Option<&Bytes>)> {
        self.0.iter().map(|(name, value)| (name, value.as_ref()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Appends `;name=value` for each.
    pub fn print_into(&self, out: &mut BytesMut) {
        for (name, value) in self.iter() {
            out.put_u8(b';');
            out.extend_from_slice(name);
            if let Some(value) = value {
                out.put_u8(b'=');
                out.extend_from_slice(value);
            }
        }
    }
}

/// Quotes a value that could be read as something else; a value already quoted stays.
fn plain_or_quoted(value: Bytes) -> Bytes {
    let quoted = value.first() == Some(&b'"')
        && grammar::take_quoted(&value).is_ok_and(|(_, rest)| rest.is_empty());
    if quoted || grammar::is_param_value(&value) {
        return value;
    }
    let mut out = BytesMut::with_capacity(value.len() + 2);
    out.put_u8(b'"');
    for &byte in &value {
        match byte {
            b'\r' | b'\n' => out.put_u8(b' '),
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            _ => out.put_u8(byte),
        }
    }
    out.put_u8(b'"');
    out.freeze()
}

impl fmt::Display for Params {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = BytesMut::new();
        self.print_into(&mut out);
        f.write_str(&String::from_utf8_lossy(&out))
    }
}
