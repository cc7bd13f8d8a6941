//! Findings in any order, and what is told of them.

use super::*;

fn current(store_revision: u64, stored: Option<(u64, &'static str)>) -> Current {
    let stored = stored.map(|(revision, bytes)| Stored { revision, bytes: bytes.into() });
    Current { store_revision, stored }
}

fn snapshot(at: u64, stored: Option<(u64, &'static str)>, present: &[&'static str]) -> Snapshot {
    let present = present.iter().map(|id| ((*id).into(), Bytes::new())).collect();
    Snapshot { document: current(at, stored), present }
}

fn document(store_revision: u64, stored: Option<(u64, &'static str)>) -> Told {
    Told::Document(current(store_revision, stored))
}

fn present(ids: &[&'static str]) -> Told {
    Told::Present(ids.iter().map(|id| ((*id).into(), Bytes::new())).collect())
}

fn put(at: u64, bytes: &'static str) -> Change {
    Change { at, what: What::Document(Some(bytes.into())) }
}

fn comes(at: u64, id: &str) -> Change {
    Change { at, what: What::Present(id.into(), Some(Bytes::new())) }
}

fn goes(at: u64, id: &str) -> Change {
    Change { at, what: What::Present(id.into(), None) }
}

fn teller() -> Teller {
    Teller::new(None, Signs::default())
}

/// Whether the sign was given since the last look.
async fn is_given(sign: &Notify) -> bool {
    tokio::select! {
        biased;
        () = sign.notified() => true,
        () = std::future::ready(()) => false,
    }
}

#[test]
fn each_thing_is_told_once_and_nothing_after_a_newer_one() {
    let mut teller = teller();
    let first = teller.take(Finding::Polled(snapshot(5, None, &["1"])));
    assert_eq!(first, [Told::Back, document(5, None), present(&["1"])]);
    assert_eq!(teller.take(Finding::Polled(snapshot(6, None, &["1"]))), []);
    let changed = teller.take(Finding::Changed(vec![put(7, "a"), put(8, "b"), comes(9, "2")]));
    let words = [document(7, Some((7, "a"))), document(8, Some((8, "b"))), present(&["1", "2"])];
    assert_eq!(changed, words);
    // Late: a poll and events of moments before.
    assert_eq!(teller.take(Finding::Polled(snapshot(7, Some((7, "a")), &["1"]))), []);
    assert_eq!(teller.take(Finding::Changed(vec![put(7, "a"), comes(6, "3")])), []);
    // A poll that knows more tells what differs.
    let polled = teller.take(Finding::Polled(snapshot(12, Some((8, "b")), &["2"])));
    assert_eq!(polled, [present(&["2"])]);
    // Removed by hand: the truth, at its revision.
    let removed = Change { at: 13, what: What::Document(None) };
    assert_eq!(teller.take(Finding::Changed(vec![removed])), [document(13, None)]);
}

#[test]
fn several_that_go_in_one_revision_all_go() {
    let mut teller = teller();
    teller.take(Finding::Begun(snapshot(5, None, &["1", "2", "3"])));
    let told = teller.take(Finding::Changed(vec![goes(6, "1"), goes(6, "3")]));
    assert_eq!(told, [present(&["2"])]);
    let told = teller.take(Finding::Changed(vec![comes(7, "1"), goes(8, "1")]));
    assert_eq!(told, [], "it came and went between two looks");
}

#[test]
fn answers_come_after_the_document_that_they_know() {
    let mut teller = teller();
    teller.take(Finding::Polled(snapshot(5, None, &[])));
    let read = Finding::Read { ask: 1, read: Some(current(7, Some((7, "a")))) };
    let outcome = ReadOutcome::Current(current(7, Some((7, "a"))));
    let words = [document(7, Some((7, "a"))), Told::ReadAnswer { ask: 1, outcome }];
    assert_eq!(teller.take(read), words);
    // Its write was overwritten before the answer came: that is known already.
    teller.take(Finding::Changed(vec![put(8, "ours"), put(9, "theirs")]));
    let outcome = CasOutcome::Written { revision: 8 };
    let written = Finding::Cas { ask: 2, outcome: outcome.clone(), bytes: "ours".into() };
    assert_eq!(teller.take(written), [Told::CasAnswer { ask: 2, outcome }]);
    // A read that is older than what is known gives what is known.
    let read = Finding::Read { ask: 3, read: Some(current(8, Some((8, "ours")))) };
    let outcome = ReadOutcome::Current(current(9, Some((9, "theirs"))));
    assert_eq!(teller.take(read), [Told::ReadAnswer { ask: 3, outcome }]);
}

#[test]
fn away_and_back_are_told_when_they_change() {
    let mut teller = teller();
    let away = |why: &str| Finding::Away { why: why.into() };
    assert_eq!(teller.take(away("at first")), [Told::Away { why: "at first".into() }]);
    assert_eq!(teller.take(away("still")), []);
    let told = teller.take(Finding::Begun(snapshot(5, None, &[])));
    assert!(!told.contains(&Told::Back), "the poll alone says how the store is");
    assert_eq!(teller.take(Finding::Polled(snapshot(6, None, &[]))), [Told::Back]);
    assert_eq!(teller.take(away("again")), [Told::Away { why: "again".into() }]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_watch_that_misses_something_is_begun_anew() {
    let signs = Signs::default();
    let mut teller = Teller::new(None, signs.clone());
    teller.take(Finding::Begun(snapshot(5, None, &[])));
    teller.take(Finding::Polled(snapshot(6, Some((6, "a")), &[])));
    assert!(!is_given(&signs.is_lagging).await, "it may be on its way");
    teller.take(Finding::Changed(vec![put(6, "a")]));
    teller.take(Finding::Polled(snapshot(7, Some((6, "a")), &[])));
    assert!(!is_given(&signs.is_lagging).await, "it came");
    teller.take(Finding::Polled(snapshot(8, Some((8, "b")), &[])));
    teller.take(Finding::Polled(snapshot(8, Some((8, "b")), &[])));
    assert!(is_given(&signs.is_lagging).await, "a whole poll later it had not");
}

#[tokio::test(flavor = "current_thread")]
async fn a_process_that_is_not_in_the_store_is_told_to_be_present() {
    let signs = Signs::default();
    let mut teller = Teller::new(Some("1".into()), signs.clone());
    teller.take(Finding::Polled(snapshot(5, None, &["1", "2"])));
    assert!(!is_given(&signs.is_absent).await);
    teller.take(Finding::Changed(vec![goes(6, "2")]));
    assert!(!is_given(&signs.is_absent).await);
    teller.take(Finding::Changed(vec![goes(7, "1")]));
    assert!(is_given(&signs.is_absent).await);
}
