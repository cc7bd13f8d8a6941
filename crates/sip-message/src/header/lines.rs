//! The header lines of one message, in order (RFC 3261 section 7.3).
//!
//! A value never holds CR or LF: the parser undoes folding, and what is pushed has both replaced
//! by spaces. So no value can begin a header of its own when it is printed.

use bytes::{Bytes, BytesMut};

use super::HeaderName;
use crate::grammar::{self, CommaSplit};

/// Ordered header lines. Cloning shares the bytes.
///
/// ```
/// use sip_message::{HeaderName, Headers};
/// let mut headers = Headers::default();
/// headers.push(HeaderName::Route, "<sip:p1.example.com;lr>, <sip:p2.example.com;lr>");
/// headers.push_front(HeaderName::Route, "<sip:p0.example.com;lr>");
/// assert_eq!(headers.get_all(&HeaderName::Route).count(), 2);
/// assert_eq!(headers.values(&HeaderName::Route).count(), 3);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Headers(Vec<Line>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: HeaderName,
    value: Bytes,
}

impl Headers {
    pub(crate) fn with_capacity(lines: usize) -> Self {
        Self(Vec::with_capacity(lines))
    }

    /// Adds a line whose value is known to hold no line end.
    pub(crate) fn push_checked(&mut self, name: HeaderName, value: Bytes) {
        self.0.push(Line { name, value });
    }

    /// All lines, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&HeaderName, &Bytes)> {
        self.0.iter().map(|line| (&line.name, &line.value))
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The value of the first line of this name.
    pub fn get(&self, name: &HeaderName) -> Option<&Bytes> {
        self.0.iter().find(|line| line.name == *name).map(|line| &line.value)
    }

    /// The value of every line of this name; one line may hold several values.
    pub fn get_all<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = &'a Bytes> {
        self.0.iter().filter(move |line| line.name == *name).map(|line| &line.value)
    }

    /// Every value of this name, with lines split at commas outside quotes and brackets.
    pub fn values<'a>(&'a self, name: &'a HeaderName) -> impl Iterator<Item = Bytes> + 'a {
        self.get_all(name).flat_map(|line| {
            CommaSplit::new(line).filter(|part| !part.is_empty()).map(|part| line.slice_ref(part))
        })
    }

    /// Whether there is a line of this name.
    pub fn contains(&self, name: &HeaderName) -> bool {
        self.get(name).is_some()
    }

    /// Adds a line at the end.
    pub fn push(&mut self, name: HeaderName, value: impl Into<Bytes>) {
        self.push_checked(name, one_line(value.into()));
    }

    /// Adds a line before the first of its name, or before all when there is none.
    pub fn push_front(&mut self, name: HeaderName, value: impl Into<Bytes>) {
        let value = one_line(value.into());
        let at = self.0.iter().position(|line| line.name == name).unwrap_or(0);
        self.0.insert(at, Line { name, value });
    }

    /// Replaces all lines of this name by one, at the place of the first or at the end.
    pub fn set(&mut self, name: HeaderName, value: impl Into<Bytes>) {
        let value = one_line(value.into());
        match self.0.iter().position(|line| line.name == name) {
            None => self.0.push(Line { name, value }),
            Some(first) => {
                self.0[first].value = value;
                let mut index = 0;
                self.0.retain(|line| {
                    index += 1;
                    index <= first + 1 || line.name != name
                });
            }
        }
    }

    /// Removes every line of this name; returns how many there were.
    pub fn remove(&mut self, name: &HeaderName) -> usize {
        let before = self.0.len();
        self.0.retain(|line| line.name != *name);
        before - self.0.len()
    }

    /// Keeps the lines for which `keep` says so.
    pub fn retain(&mut self, mut keep: impl FnMut(&HeaderName, &Bytes) -> bool) {
        self.0.retain(|line| keep(&line.name, &line.value));
    }

    /// Removes the topmost Via value; others on its line stay.
    pub fn pop_via(&mut self) {
        self.pop_value(&HeaderName::Via);
    }

    /// Removes the topmost Route value; others on its line stay.
    pub fn pop_route(&mut self) {
        self.pop_value(&HeaderName::Route);
    }

    fn pop_value(&mut self, name: &HeaderName) {
        let Some(at) = self.0.iter().position(|line| line.name == *name) else {
            return;
        };
        let value = &self.0[at].value;
        let rest = grammar::top_level_comma(value)
            .map(|comma| value.slice_ref(grammar::trim(&value[comma + 1..])))
            .filter(|rest| !rest.is_empty());
        match rest {
            Some(rest) => self.0[at].value = rest,
            None => {
                self.0.remove(at);
            }
        }
    }
}

/// The value as it may stand on one line.
fn one_line(value: Bytes) -> Bytes {
    let trimmed = grammar::trim(&value);
    // Most values are as they should be; a slice would cost the sharing of their bytes.
    let value = if trimmed.len() == value.len() { value } else { value.slice_ref(trimmed) };
    if memchr::memchr2(b'\r', b'\n', &value).is_none() {
        return value;
    }
    let mut out = BytesMut::from(&value[..]);
    for byte in out.iter_mut() {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    let out = out.freeze();
    out.slice_ref(grammar::trim(&out))
}

#[cfg(test)]
mod tests;
