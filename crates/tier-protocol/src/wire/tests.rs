//! Records on their own, and how far hostile lists can blow up.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;

use super::arbitrary;
use super::list;
use crate::error::DecodeError;
use crate::record::Record;
use crate::site::{KeysetEntry, Superseded};

proptest! {
    #[test]
    fn a_record_is_read_back_as_written(record in arbitrary::record()) {
        let mut out = BytesMut::new();
        record.encode(&mut out);
        prop_assert_eq!(Record::decode(out.freeze()), Ok(record));
    }

    #[test]
    fn any_bytes_are_a_record_or_an_error(
        bytes in proptest::collection::vec(any::<u8>(), 0..300),
    ) {
        let _ = Record::decode(Bytes::from(bytes));
    }
}

#[test]
fn an_empty_record_lacks_its_key() {
    assert_eq!(Record::decode(Bytes::new()), Err(DecodeError::Missing { what: "call key" }));
}

#[test]
fn a_list_of_odd_length_is_refused() {
    let odd = DecodeError::OutOfRange { what: "length of a list", value: 27 };
    assert_eq!(list::unpack::<Superseded>(&[0; 27]), Err(odd));
}

#[test]
fn a_keyset_kind_of_tomorrow_is_refused() {
    let mut entry = [0; 27];
    entry[26] = 9;
    let unknown = DecodeError::Unknown { what: "keyset kind", value: 9 };
    assert_eq!(list::unpack::<KeysetEntry>(&entry), Err(unknown));
}
