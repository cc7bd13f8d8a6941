//! The bytes of stamps sort as stamps do; a changed column is noticed.

use proptest::prelude::*;

use super::*;

/// Numbers that meet often, and the ends of the range.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..4_u64,
        Just(i64::MAX.cast_unsigned()),
        Just(1 << 63),
        Just(u64::MAX),
        any::<u64>()
    ]
}

fn stamp() -> impl Strategy<Value = Stamp> {
    let site = prop_oneof![0..3_u16, Just(255), Just(256), Just(u16::MAX), any::<u16>()];
    (number(), site, number(), number(), number()).prop_map(|(n, site, view, counter, version)| {
        Stamp {
            epoch: Epoch { n, site: SiteId(site) },
            token: LockToken { view: ViewNumber(view), counter },
            version: Version(version),
        }
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn bytes_sort_as_stamps_do(one in stamp(), other in stamp()) {
        prop_assert_eq!(stamp_bytes(&one).cmp(&stamp_bytes(&other)), one.cmp(&other));
    }

    #[test]
    fn a_stamp_is_read_back(one in stamp()) {
        prop_assert_eq!(stamp_of(&stamp_bytes(&one)), Some(one));
    }
}

#[test]
fn the_lower_site_sorts_higher() {
    let of = |site| Stamp {
        epoch: Epoch { n: 7, site: SiteId(site) },
        token: LockToken::default(),
        version: Version(0),
    };
    assert!(stamp_bytes(&of(1)) > stamp_bytes(&of(2)));
    assert_eq!(stamp_of(&[0; STAMP_BYTES - 1]), None);
}

#[test]
fn a_changed_column_is_corrupt() {
    let row = Row {
        key: CallKey([7; 16]),
        stamp: stamp_of(&[1; STAMP_BYTES]).unwrap(),
        view: ViewNumber(6),
        body: Bytes::from_static(b"a record"),
        put_at: WallTime(5),
        deadline: Some(WallTime(0)),
    };
    let stamp = stamp_bytes(&row.stamp);
    let whole = Columns {
        slot: slot_column(&row.key),
        key: &row.key.0,
        stamp: &stamp,
        view: 6,
        put_at: 5,
        deadline: Some(0),
        checksum: checksum_of(&row),
        body: &row.body,
    };
    assert_eq!(whole.read(), Ok(row.clone()));
    let later = Row { view: ViewNumber(9), ..row.clone() };
    assert_eq!(Columns { view: 9, ..whole }.read(), Ok(later), "a later writer left the rest");
    for changed in [
        Columns { slot: whole.slot + 1, ..whole },
        Columns { key: &[8; 16], ..whole },
        Columns { stamp: &[2; STAMP_BYTES], ..whole },
        Columns { stamp: &stamp[1..], ..whole },
        Columns { put_at: 6, ..whole },
        Columns { deadline: None, ..whole },
        Columns { checksum: whole.checksum ^ 1, ..whole },
        Columns { body: b"A record", ..whole },
        Columns { body: b"", ..whole },
    ] {
        assert!(changed.read().is_err(), "{changed:?}");
    }
}
