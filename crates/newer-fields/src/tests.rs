//! A message of the next version passes through this one unharmed, at every level.

use bytes::Bytes;
use prost::Message;

use super::{Fields, Kept};

#[derive(Clone, PartialEq, Message)]
struct Inner {
    #[prost(uint32, tag = "1")]
    a: u32,
}

#[derive(Clone, PartialEq, Message)]
struct Outer {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    inner: Vec<Kept<Inner>>,
}

impl Fields for Inner {
    const LAST: u32 = 1;
}

impl Fields for Outer {
    const LAST: u32 = 2;
}

/// The same two, one version on.
#[derive(Clone, Copy, PartialEq, Message)]
struct InnerNext {
    #[prost(uint32, tag = "1")]
    a: u32,
    #[prost(sint64, tag = "2")]
    b: i64,
    #[prost(fixed32, tag = "3")]
    c: u32,
}

#[derive(Clone, PartialEq, Message)]
struct OuterNext {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    inner: Vec<InnerNext>,
    #[prost(bytes = "bytes", repeated, tag = "3")]
    more: Vec<Bytes>,
    #[prost(fixed64, optional, tag = "900")]
    far: Option<u64>,
    #[prost(message, optional, tag = "901")]
    deep: Option<InnerNext>,
}

fn next() -> OuterNext {
    OuterNext {
        name: "n".into(),
        inner: vec![InnerNext { a: 1, b: -2, c: 3 }, InnerNext { a: 4, b: 0, c: 0 }],
        more: vec![Bytes::from_static(b"one"), Bytes::new()],
        far: Some(0),
        deep: Some(InnerNext { a: 9, b: i64::MIN, c: 8 }),
    }
}

#[test]
fn fields_of_the_next_version_are_written_again() {
    let bytes = next().encode_to_vec();
    let mut read = Kept::<Outer>::decode(&bytes[..]).expect("what is not known is kept");
    assert_eq!(read.known.name, "n");
    assert_eq!((read.known.inner[0].known.a, read.known.inner[1].known.a), (1, 4));
    assert_eq!(read.encode_to_vec(), bytes);
    assert_eq!(read.encoded_len(), bytes.len());
    // What this version changes and what it does not know live beside each other.
    read.known.name = "other".into();
    read.known.inner.remove(1);
    let again = OuterNext::decode(&read.encode_to_vec()[..]).expect("the next version reads it");
    let before = next();
    let expect = OuterNext { name: "other".into(), inner: vec![before.inner[0]], ..before };
    assert_eq!(again, expect);
}

#[test]
fn nothing_is_kept_of_this_version() {
    let inner = vec![Kept { known: Inner { a: 7 }, newer: Vec::new() }];
    let bytes = Outer { name: "n".into(), inner }.encode_to_vec();
    let (_, newer) = Kept::<Outer>::decode(&bytes[..]).expect("its own bytes").into_parts();
    assert_eq!(newer, Bytes::new());
}

#[test]
fn damaged_and_grouped_fields_are_not_kept() {
    // Number 3: a length beyond the end, a varint without one, half a fixed number.
    for bytes in [&[0x1a, 5, 1][..], &[0x18, 0x80], &[0x1d, 1, 2], &[0x19, 1, 2, 3, 4]] {
        assert!(Kept::<Outer>::decode(bytes).is_err(), "{bytes:?}");
    }
    // A group of number 3 around a varint, and a field after it.
    let read = Kept::<Outer>::decode(&[0x1b, 0x08, 1, 0x1c, 0x20, 5][..]).expect("it is skipped");
    assert_eq!(read.newer, [0x20, 5]);
}
