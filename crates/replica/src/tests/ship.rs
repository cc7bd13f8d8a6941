//! Batches that the youngest member builds: what it sends, what it must not, who sends instead.

use tier_protocol::PeerWord;

use super::many::{Site, next};
use super::*;
use crate::Sender;

const MEMBERS: [u64; 3] = [1, 2, 3];
const PRIMARY: u64 = 1;
const YOUNGEST: u64 = 3;

fn site(sender: Sender) -> Site {
    let mut site = Site::of_sender(&MEMBERS, Some(sender));
    let alive = vec![SiteStatus {
        site: THERE,
        state: SiteState::Serving,
        start: 1,
        dictionary: 1,
        course: Course::default(),
    }];
    for number in MEMBERS {
        let (here, waiting) = (SiteState::Serving, Vec::new());
        let steering = crate::Steering::default();
        let status = SiteInput::Status { here, alive: alive.clone(), waiting, steering };
        site.input(number, Input::Site(status));
    }
    site.gate.clear();
    site
}

/// Lets time pass; words between the replicas that `keeps` does not want are lost.
fn pass(site: &mut Site, time: Duration, keeps: impl Fn(&PeerWord) -> bool) {
    for _ in 0..time.as_millis() / 20 {
        site.now = site.now + ms(20);
        for number in MEMBERS {
            site.input(number, Input::Wake);
        }
        site.words.retain(|(.., word)| keeps(word));
        site.carry_words();
    }
}

/// The batches that were published: by whom, their numbers, their entries.
fn published(site: &mut Site) -> Vec<(u64, u64, Vec<Entry>)> {
    let said = std::mem::take(&mut site.gate).into_iter();
    let batches = said.filter_map(|(by, word)| match word {
        GateBound::Publish { id, bytes, .. } => {
            Some((by, id, batch::decode(&bytes, BYTES_MAX).expect("our own batch")))
        }
        _ => None,
    });
    batches.collect()
}

fn at_risk(site: &Site, number: u64) -> u64 {
    site.replicas[&number].stats(site.now).outbound[&THERE].at_risk
}

fn stored(site: &mut Site, id: u64) {
    site.input(PRIMARY, Input::Site(SiteInput::BatchStored { site: THERE, id }));
}

#[test]
fn the_youngest_sends_what_the_primary_says_and_all_learn_of_the_acknowledgement() {
    for (sender, by) in [(Sender::Primary, PRIMARY), (Sender::Youngest, YOUNGEST)] {
        let mut site = site(sender);
        let stamps = [key(1), key(2)].map(|key| site.turn(A, key));
        pass(&mut site, ms(400), |_| true);
        let batches = published(&mut site);
        let [(who, id, entries)] = &batches[..] else { panic!("{batches:?}") };
        assert_eq!(*who, by);
        assert_eq!(entries.iter().map(Entry::stamp).collect::<Vec<_>>(), stamps);
        assert_eq!(at_risk(&site, PRIMARY), 2);
        stored(&mut site, *id);
        pass(&mut site, ms(100), |_| true);
        assert_eq!(MEMBERS.map(|number| at_risk(&site, number)), [0; 3]);
        let stats = site.replicas[&PRIMARY].stats(site.now);
        let out = &stats.outbound[&THERE];
        assert_eq!((out.batches, out.entries, out.stored, out.in_flight), (1, 2, 1, 0));
        assert!(out.bytes > 0 && out.raw_bytes >= out.bytes);
        assert_eq!(site.replicas[&YOUNGEST].stats(site.now).counts.shipped, u64::from(by == 3));
        // Nothing is sent twice.
        pass(&mut site, ms(20_000), |_| true);
        assert!(published(&mut site).is_empty());
    }
}

#[test]
fn a_removal_goes_by_the_youngest_too() {
    let mut site = site(Sender::Youngest);
    site.turn(A, key(1));
    pass(&mut site, ms(400), |_| true);
    let id = published(&mut site)[0].1;
    stored(&mut site, id);
    pass(&mut site, ms(100), |_| true);
    let (token, record, _) = site.lock(A, key(1));
    let base = record.expect("it is held").header.stamp;
    let stamp = Stamp { token, version: Version(base.version.0 + 1), ..base };
    let view = site.replicas[&PRIMARY].view().number;
    let tombstone = Tombstone { key: key(1), stamp };
    for command in
        [Command::Delete { view, tombstone, base }, Command::Unlock { view, key: key(1), token }]
    {
        for number in MEMBERS {
            site.input(number, Input::Command { engine: A, command: command.clone() });
        }
    }
    pass(&mut site, ms(400), |_| true);
    let batches = published(&mut site);
    let [(YOUNGEST, id, entries)] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!(entries[..], [Entry::Tombstone(tombstone)]);
    stored(&mut site, *id);
    pass(&mut site, ms(20_000), |_| true);
    assert!(published(&mut site).is_empty(), "it is acknowledged");
}

#[test]
fn what_is_in_doubt_at_the_youngest_is_not_sent() {
    let mut site = site(Sender::Youngest);
    let first = site.turn(A, key(1));
    // A put that has reached the youngest alone when it is to send the one before.
    pass(&mut site, ms(400), |word| !matches!(word, PeerWord::Ship { .. }));
    assert!(published(&mut site).is_empty(), "the primary waits for its word");
    let (token, record, _) = site.lock(A, key(1));
    let newer = next(key(1), token, record.as_ref());
    site.put(YOUNGEST, A, &newer, Some(first));
    let view = site.replicas[&PRIMARY].view().number;
    let ship = |site: &mut Site| {
        let (calls, removals) = (vec![(key(1), first)], Vec::new());
        let word = PeerWord::Ship { view, site: THERE, id: 77, calls, removals };
        site.input(YOUNGEST, peer(PRIMARY, word));
    };
    ship(&mut site);
    assert!(published(&mut site).is_empty());
    let said = site.words.pop_back();
    let Some((YOUNGEST, PRIMARY, PeerWord::Shipped { id: 77, missing, bytes: 0, .. })) = said
    else {
        panic!("{said:?}");
    };
    assert_eq!(missing, [key(1)]);
    assert_eq!(site.held(YOUNGEST, key(1)), Some(newer.header.stamp));
}

fn peer(from: u64, word: PeerWord) -> Input {
    Input::Peer { replica: ReplicaId(from), news: crate::door::PeerNews::Said(word) }
}

#[test]
fn what_the_youngest_lacks_the_primary_sends() {
    let mut site = site(Sender::Youngest);
    let stamps = [key(1), key(2)].map(|key| site.turn(A, key));
    // It says that it had one of the two.
    let asked = |word: &PeerWord| !matches!(word, PeerWord::Ship { .. });
    let mut id = None;
    for _ in 0..20 {
        site.now = site.now + ms(20);
        MEMBERS.into_iter().for_each(|number| site.input(number, Input::Wake));
        id = id.or(site.words.iter().find_map(|(.., word)| match word {
            PeerWord::Ship { id, .. } => Some(*id),
            _ => None,
        }));
        site.words.retain(|(.., word)| asked(word));
        site.carry_words();
    }
    let id = id.expect("it was asked");
    let view = site.replicas[&PRIMARY].view().number;
    let missing = vec![key(2)];
    let word = PeerWord::Shipped { view, site: THERE, id, missing, bytes: 9, raw_bytes: 9 };
    // The acknowledgement is first: it says nothing of what was in the batch.
    stored(&mut site, id);
    assert_eq!(at_risk(&site, PRIMARY), 2);
    site.input(PRIMARY, peer(2, word.clone()));
    assert_eq!(at_risk(&site, PRIMARY), 2, "another member was asked");
    site.input(PRIMARY, peer(YOUNGEST, word));
    assert_eq!(at_risk(&site, PRIMARY), 1);
    pass(&mut site, ms(400), |_| true);
    let batches = published(&mut site);
    let [(PRIMARY, _, entries)] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!(entries.iter().map(Entry::stamp).collect::<Vec<_>>(), stamps[1..]);
    // And the youngest again, after a while.
    pass(&mut site, ms(1_000), |_| true);
    site.turn(A, key(3));
    pass(&mut site, ms(400), |_| true);
    assert_eq!(published(&mut site)[0].0, YOUNGEST);
}

#[test]
fn for_a_youngest_that_is_silent_the_primary_sends() {
    let mut site = site(Sender::Youngest);
    let stamp = site.turn(A, key(1));
    let is_old = |word: &PeerWord| !matches!(word, PeerWord::Ship { .. });
    pass(&mut site, ms(900), is_old);
    assert!(published(&mut site).is_empty());
    pass(&mut site, ms(2_000), is_old);
    let batches = published(&mut site);
    let [(PRIMARY, _, entries)] = &batches[..] else { panic!("{batches:?}") };
    assert_eq!(entries[0].stamp(), stamp);
    // It is not asked again at once.
    site.turn(A, key(2));
    pass(&mut site, ms(400), is_old);
    assert_eq!(published(&mut site)[0].0, PRIMARY);
}
