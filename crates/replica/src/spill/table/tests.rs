//! What is kept of a call is found again, in every order that is asked for.

use tier_protocol::CopiedState;
use vocab::{LockToken, Version, ViewNumber};

use super::*;

const HERE: SiteId = SiteId(1);
const THERE: SiteId = SiteId(2);
const THIRD: SiteId = SiteId(3);

fn key(number: u8) -> CallKey {
    CallKey([number; 16])
}

fn parts(home: SiteId, origin: SiteId) -> Parts {
    let token = LockToken { view: ViewNumber(u64::MAX), counter: 3 };
    Parts {
        stamp: Stamp { epoch: Epoch { n: u64::MAX - 1, site: home }, token, version: Version(9) },
        digest: u64::MAX,
        due_at: None,
        origin,
        activated_from: None,
        state: CopiedState { is_dormant: home != HERE, ..CopiedState::default() },
    }
}

fn table(all: &[(u8, Parts)]) -> Table {
    let mut table = Table::default();
    for (number, parts) in all {
        table.insert(HERE, key(*number), Spilled::new(parts));
    }
    table
}

fn numbers(keys: impl Iterator<Item = CallKey>) -> Vec<u8> {
    keys.map(|key| key.0[0]).collect()
}

#[test]
fn what_is_kept_is_found_again() {
    let state = CopiedState { at_boundary: true, end_told: true, ..CopiedState::default() };
    let from = Some(Epoch { n: 7, site: THERE });
    let due_at = Some(Instant(5));
    let full = Parts { due_at, activated_from: from, state, ..parts(HERE, THERE) };
    for given in [full, parts(HERE, HERE), parts(THERE, THERE)] {
        let found = Spilled::new(&given).parts();
        assert_eq!(format!("{given:?}"), format!("{found:?}"));
    }
}

#[test]
fn calls_are_gone_through_by_key_by_home_and_by_origin() {
    let from_third = Some(Epoch { n: 7, site: THIRD });
    let mut table = table(&[
        (5, parts(HERE, HERE)),
        (1, parts(THERE, THERE)),
        (4, parts(THERE, HERE)),
        (2, parts(HERE, THERE)),
        (3, Parts { activated_from: from_third, ..parts(HERE, THERE) }),
    ]);
    assert_eq!(numbers(table.keys_after(None)), [1, 2, 3, 4, 5]);
    assert_eq!(numbers(table.keys_after(Some(key(2)))), [3, 4, 5]);
    assert_eq!(numbers(table.dormant_after(THERE, None)), [1, 4]);
    assert!(numbers(table.dormant_after(HERE, None)).is_empty());
    assert_eq!(numbers(table.moved_after(THERE, None)), [2, 3]);
    assert_eq!(numbers(table.moved_after(THIRD, Some(key(1)))), [3]);
    assert_eq!((table.len(), table.active_len()), (5, 3));
    assert_eq!((table.dormant_len(THERE), table.moved_len(THERE)), (2, 2));
    for number in [1, 3, 3, 9] {
        table.remove(key(number));
    }
    assert_eq!(numbers(table.keys_after(None)), [2, 4, 5]);
    assert_eq!((table.len(), table.moved_len(THIRD)), (3, 0));
}

#[test]
fn a_call_is_due_once() {
    let due = |at| Parts { due_at: Some(Instant(at)), ..parts(HERE, HERE) };
    let mut table = table(&[(1, due(30)), (2, due(20)), (3, parts(HERE, HERE))]);
    assert_eq!(table.first_due(), Some((Instant(20), key(2))));
    table.take_due(Instant(20), key(2));
    assert_eq!(table.first_due(), Some((Instant(30), key(1))));
    assert_eq!(table.get(key(2)).expect("kept").due_at(), Some(Instant(20)));
    table.set_due(key(1), Instant(40));
    assert_eq!(table.first_due(), Some((Instant(40), key(1))));
    table.insert(HERE, key(1), Spilled::new(&due(50)));
    assert_eq!(table.first_due(), Some((Instant(50), key(1))));
    table.remove(key(1));
    assert_eq!(table.first_due(), None);
}

/// The tree of the standard library has nodes of eleven places, of which splits leave at least
/// five or six. What an allocator really takes is measured by the test `spilled_ram`.
#[test]
fn a_call_is_small() {
    assert_eq!(size_of::<(CallKey, Spilled)>(), 80);
    assert_eq!(size_of::<(Instant, CallKey)>(), 24);
}
