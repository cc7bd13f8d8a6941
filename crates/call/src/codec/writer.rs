//! Writes protocol buffers straight from the call, without building the structs that read them.
//!
//! A put is written in every turn, and to build, measure and drop a tree of messages costs several
//! times as much as to write their bytes. What is written is what the structs would write: fields
//! in the order of their numbers, and no field at all for a 0, a `false` or no bytes, unless it is
//! optional and there.

use bytes::Bytes;

/// Usual size of a section.
const USUAL_BYTES: usize = 1024;

const VARINT: u32 = 0;
const LENGTH: u32 = 2;

pub(super) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    /// The bytes of one message.
    pub(super) fn written(fields: impl FnOnce(&mut Self)) -> Bytes {
        let mut writer = Self { out: Vec::with_capacity(USUAL_BYTES) };
        fields(&mut writer);
        writer.out.into()
    }

    pub(super) fn uint(&mut self, tag: u32, value: impl Into<u64>) {
        let value = value.into();
        if value != 0 {
            self.some_uint(tag, value);
        }
    }

    pub(super) fn optional_uint(&mut self, tag: u32, value: Option<impl Into<u64>>) {
        if let Some(value) = value {
            self.some_uint(tag, value.into());
        }
    }

    pub(super) fn sint(&mut self, tag: u32, value: i64) {
        self.uint(tag, zigzag(value));
    }

    pub(super) fn optional_sint(&mut self, tag: u32, value: Option<i64>) {
        self.optional_uint(tag, value.map(zigzag));
    }

    pub(super) fn bool(&mut self, tag: u32, value: bool) {
        self.uint(tag, u64::from(value));
    }

    /// Bytes, or a string.
    pub(super) fn bytes(&mut self, tag: u32, value: &[u8]) {
        if !value.is_empty() {
            self.some_bytes(tag, value);
        }
    }

    pub(super) fn optional_bytes(&mut self, tag: u32, value: Option<&Bytes>) {
        if let Some(value) = value {
            self.some_bytes(tag, value);
        }
    }

    /// One of repeated bytes.
    pub(super) fn some_bytes(&mut self, tag: u32, value: &[u8]) {
        self.key(tag, LENGTH);
        self.varint(value.len() as u64);
        self.out.extend_from_slice(value);
    }

    /// Fields that this build does not know, as they came: behind those of known numbers.
    pub(super) fn newer(&mut self, fields: &[u8]) {
        self.out.extend_from_slice(fields);
    }

    pub(super) fn message(&mut self, tag: u32, fields: impl FnOnce(&mut Self)) {
        self.key(tag, LENGTH);
        let at = self.out.len();
        fields(self);
        let end = self.out.len();
        // The length goes before what it counts: it is written behind that, then brought forward.
        self.varint((end - at) as u64);
        let length_bytes = self.out.len() - end;
        self.out[at..].rotate_right(length_bytes);
    }

    fn some_uint(&mut self, tag: u32, value: u64) {
        self.key(tag, VARINT);
        self.varint(value);
    }

    fn key(&mut self, tag: u32, kind: u32) {
        self.varint(u64::from(tag << 3 | kind));
    }

    #[inline]
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.out.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.out.push(value as u8);
    }
}

/// Numbers near 0 become small ones, whatever their sign.
fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}
