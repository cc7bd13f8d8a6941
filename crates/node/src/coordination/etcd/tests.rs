//! A real etcd that dies, stops, forgets, refuses, and is a cluster that loses a member.

use std::collections::BTreeMap;

use super::super::tests::{Owner, store, stored};
use super::super::{Current, ReadOutcome, Store};
use super::*;
use crate::config::file::Secret;
use crate::scratch::Scratch;
use crate::servers::etcd::Etcd;
use crate::servers::free_port;

fn setting(store: Store) -> EtcdSetting {
    match store {
        Store::Etcd(setting) => setting,
        Store::Fixed { .. } => panic!("it is etcd that is tested here"),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_change_by_another_is_told_by_the_watch_long_before_the_poll() {
    let scratch = Scratch::new("watch");
    let etcd = Etcd::start(scratch.path());
    let mut slow = setting(store(&[&etcd]));
    slow.timeout = Duration::from_secs(60);
    let mut one = Owner::start(Store::Etcd(slow), "1");
    one.present_are(&["1"]).await;
    let mut two = Owner::start(store(&[&etcd]), "2");
    one.present_are(&["1", "2"]).await;
    let revision = two.write(0, "by two").await;
    one.document_is("by two").await;
    two.write(revision, "by two again").await;
    one.document_is("by two again").await;
    two.coordination.end().await;
    one.present_are(&["1"]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_process_that_dies_is_gone_when_its_lease_lapses_and_not_before() {
    let scratch = Scratch::new("lapse");
    let etcd = Etcd::start(scratch.path());
    let ttl = setting(store(&[&etcd])).ttl;
    let mut one = Owner::start(store(&[&etcd]), "1");
    let mut two = Owner::start(store(&[&etcd]), "2");
    one.present_are(&["1", "2"]).await;
    two.present_are(&["1", "2"]).await;
    let died_at = Instant::now();
    drop(two);
    one.present_are(&["1"]).await;
    let took = died_at.elapsed();
    assert!(took < ttl + Duration::from_secs(1), "{took:?}");
    assert!(took > ttl / 2, "{took:?}: the lease was not what kept it present");
}

#[tokio::test(flavor = "current_thread")]
async fn a_presence_that_was_lost_is_renewed() {
    let scratch = Scratch::new("renew");
    let etcd = Etcd::start(scratch.path());
    let mut one = Owner::start(store(&[&etcd]), "1");
    let mut two = Owner::start(store(&[&etcd]), "2");
    two.present_are(&["1", "2"]).await;
    let key = json::base64("/rehome/site1/present/1");

    // The key alone.
    etcd.ask("/v3/kv/deleterange", &format!("{{\"key\":\"{key}\"}}"));
    two.present_are(&["2"]).await;
    two.present_are(&["1", "2"]).await;

    // The lease, and the key with it.
    let found = etcd.ask("/v3/kv/range", &format!("{{\"key\":\"{key}\"}}"));
    let lease = found.split("\"lease\":\"").nth(1).and_then(|rest| rest.split('"').next());
    etcd.ask("/v3/lease/revoke", &format!("{{\"ID\":\"{}\"}}", lease.unwrap()));
    two.present_are(&["2"]).await;
    two.present_are(&["1", "2"]).await;
    one.present_are(&["1", "2"]).await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_restart_of_etcd_is_told_and_everything_goes_on() {
    let scratch = Scratch::new("restart");
    let mut etcd = Etcd::start(scratch.path());
    let mut one = Owner::start(store(&[&etcd]), "1");
    let mut two = Owner::start(store(&[&etcd]), "2");
    one.is_back().await;
    two.is_back().await;
    let first = one.write(0, "before").await;
    two.document_is("before").await;

    etcd.kill();
    one.is_away().await;
    two.is_away().await;
    assert_eq!(one.cas(first, "meanwhile").await, CasOutcome::Away { may_have_happened: false });
    assert_eq!(one.try_read().await, ReadOutcome::Away);
    etcd.start_again();
    one.is_back().await;
    two.is_back().await;
    assert_eq!(one.read().await.stored, stored(first, "before"));
    let second = one.write(first, "after").await;
    two.document_is("after").await;
    two.write(second, "by the other").await;
    one.document_is("by the other").await;
}

#[tokio::test(flavor = "current_thread")]
async fn without_an_answer_it_is_open_whether_a_write_happened() {
    let scratch = Scratch::new("stopped");
    let etcd = Etcd::start(scratch.path());
    let mut one = Owner::start(store(&[&etcd]), "1");
    let revision = one.write(0, "before").await;
    one.is_back().await;
    etcd.pause();
    assert_eq!(one.cas(revision, "unsure").await, CasOutcome::Away { may_have_happened: true });
    let why = one.is_away().await;
    assert!(why.contains("no answer within"), "{why}");
    etcd.resume();
    one.is_back().await;
    // Either is right, and whichever it is, the next write builds on it.
    let found = one.read().await.stored.unwrap();
    assert!(found.bytes == "unsure" || found.revision == revision, "{found:?}");
    one.write_in_the_end("sure").await;
}

#[tokio::test(flavor = "current_thread")]
async fn where_nobody_listens_nothing_happened() {
    let mut nobody = setting(store(&[]));
    nobody.endpoints = (0..2).map(|_| format!("http://127.0.0.1:{}", free_port())).collect();
    let mut one = Owner::start(Store::Etcd(nobody.clone()), "1");
    assert_eq!(one.cas(0, "never").await, CasOutcome::Away { may_have_happened: false });
    assert_eq!(one.try_read().await, ReadOutcome::Away);
    let why = one.is_away().await;
    assert!(why.contains("refused"), "{why}");
    one.coordination.end().await;

    // One endpoint of several is enough, for a write, too.
    let scratch = Scratch::new("nobody");
    let etcd = Etcd::start(scratch.path());
    nobody.endpoints.push(etcd.endpoint());
    let mut one = Owner::start(Store::Etcd(nobody), "1");
    one.write(0, "at the third").await;
    one.is_back().await;
}

#[tokio::test(flavor = "current_thread")]
async fn of_two_that_race_one_wins_each_revision_and_nothing_is_lost() {
    const EACH: usize = 200;
    let scratch = Scratch::new("race");
    let etcd = Etcd::start(scratch.path());
    let race = async |name: &'static str| {
        let mut owner = Owner::start(store(&[&etcd]), name);
        let mut current = owner.read().await;
        let (mut wins, mut losses) = (Vec::new(), 0);
        while wins.len() < EACH {
            let found = current.stored.as_ref();
            let expected = found.map_or(0, |found| found.revision);
            let mut bytes = found.map(|found| found.bytes.to_vec()).unwrap_or_default();
            bytes.extend_from_slice(format!("{name}{} ", wins.len()).as_bytes());
            current = match owner.cas(expected, bytes.clone()).await {
                CasOutcome::Written { revision } => {
                    wins.push(revision);
                    Current { store_revision: revision, stored: stored(revision, bytes) }
                }
                CasOutcome::Lost(current) => {
                    losses += 1;
                    current
                }
                CasOutcome::Away { .. } => panic!("etcd is away"),
            };
        }
        (owner, wins, losses)
    };
    let began_at = Instant::now();
    let ((mut owner, a, lost_a), (_b, b, lost_b)) = tokio::join!(race("a"), race("b"));
    let took = began_at.elapsed();
    let winners: BTreeMap<u64, &str> = a.iter().map(|one| (*one, "a")).collect();
    assert!(b.iter().all(|revision| !winners.contains_key(revision)), "two winners");
    // The document tells the whole story, in the order of the revisions.
    let mut all: Vec<(u64, String)> = Vec::new();
    all.extend(a.iter().enumerate().map(|(at, revision)| (*revision, format!("a{at} "))));
    all.extend(b.iter().enumerate().map(|(at, revision)| (*revision, format!("b{at} "))));
    all.sort();
    let story: String = all.into_iter().map(|(_, word)| word).collect();
    assert_eq!(owner.read().await.stored.unwrap().bytes, story);
    println!("{EACH} wins each beside {lost_a} and {lost_b} losses, in {took:?}");
}

#[tokio::test(flavor = "current_thread")]
async fn what_is_compacted_away_is_read_anew() {
    let scratch = Scratch::new("compacted");
    let etcd = Etcd::start(scratch.path());
    let client = Client::new(setting(store(&[&etcd])));
    let mut revision = 0;
    for bytes in ["one", "two", "three"] {
        let written = client.compare_and_set(revision, &bytes.into()).await;
        let Ok(CasOutcome::Written { revision: next }) = written else { panic!("{written:?}") };
        revision = next;
    }
    etcd.ask("/v3/kv/compaction", &format!("{{\"revision\":\"{revision}\",\"physical\":true}}"));
    let mut watching = client.watch(1).await.unwrap();
    let failure = loop {
        match watching.next().await {
            Ok(changes) => assert!(changes.is_empty(), "{changes:?}"),
            Err(failure) => break failure.to_string(),
        }
    };
    assert!(failure.contains(&format!("compacted at {revision}")), "{failure}");

    // So a process that was away for long begins with a read.
    let mut one = Owner::start(store(&[&etcd]), "1");
    one.document_is("three").await;
    one.write(revision, "four").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_store_that_went_back_is_not_believed() {
    let scratch = Scratch::new("back");
    let mut etcd = Etcd::start(scratch.path());
    let mut one = Owner::start(store(&[&etcd]), "1");
    let revision = one.write(0, "one").await;
    let revision = one.write(revision, "two").await;
    etcd.kill();
    one.is_away().await;
    etcd.start_empty();
    // It stays away: there is no `Back`, and no document.
    let never = CasOutcome::Away { may_have_happened: false };
    while one.cas(revision, "three").await != never {}
    assert_eq!(one.try_read().await, ReadOutcome::Away);
    let mut fresh = Owner::start(store(&[&etcd]), "2");
    fresh.is_back().await;
    assert_eq!(fresh.read().await.stored, None, "nothing was written to it");
    assert_eq!(one.try_read().await, ReadOutcome::Away);
}

#[tokio::test(flavor = "current_thread")]
async fn a_user_is_authenticated_and_again_when_the_token_is_over() {
    let scratch = Scratch::new("user");
    let mut etcd = Etcd::start(scratch.path());
    etcd.ask("/v3/auth/user/add", "{\"name\":\"root\",\"password\":\"pass\"}");
    etcd.ask("/v3/auth/role/add", "{\"name\":\"root\"}");
    etcd.ask("/v3/auth/user/grant", "{\"user\":\"root\",\"role\":\"root\"}");
    let enabled = etcd.ask("/v3/auth/enable", "{}");
    assert!(enabled.contains("200 OK"), "{enabled}");

    let with = |credentials: Option<(&str, &str)>| {
        let credentials =
            credentials.map(|(user, password)| (user.into(), Secret(password.into())));
        // A password takes etcd a while, on purpose, and longer on a busy machine.
        let timeout = Duration::from_secs(2);
        Store::Etcd(EtcdSetting { credentials, timeout, ..setting(store(&[&etcd])) })
    };
    for wrong in [None, Some(("root", "wrong")), Some(("nobody", "pass"))] {
        let mut one = Owner::start(with(wrong), "1");
        let why = one.is_away().await;
        assert!(why.contains("etcd refuses"), "{why}");
        assert_eq!(one.cas(0, "no").await, CasOutcome::Away { may_have_happened: false });
    }
    let mut one = Owner::start(with(Some(("root", "pass"))), "1");
    one.is_back().await;
    let revision = one.write(0, "by root").await;
    one.present_are(&["1"]).await;
    // Tokens are in etcd's memory.
    etcd.kill();
    one.is_away().await;
    etcd.start_again();
    one.is_back().await;
    one.write(revision, "by root again").await;
}

#[tokio::test(flavor = "current_thread")]
async fn a_cluster_of_three_goes_on_without_one() {
    let scratch = Scratch::new("cluster");
    let mut members = Etcd::cluster(scratch.path(), 3);
    let all = store(&members.iter().collect::<Vec<_>>());
    let mut one = Owner::start(all.clone(), "1");
    // The other begins at another member.
    let mut turned = setting(all);
    turned.endpoints.rotate_left(1);
    let mut two = Owner::start(Store::Etcd(turned), "2");
    one.present_are(&["1", "2"]).await;
    two.present_are(&["1", "2"]).await;

    // The member that has the first one's watch stops, and takes connections all the same.
    members[0].pause();
    two.write_in_the_end("while one is stopped").await;
    one.document_is("while one is stopped").await;
    members[0].resume();

    members[1].kill();
    one.write_in_the_end("while one is dead").await;
    two.document_is("while one is dead").await;
    two.write_in_the_end("by the other").await;
    one.document_is("by the other").await;

    // Two of three are no majority; with the second one back they are.
    members[2].kill();
    one.is_away().await;
    members[1].start_again();
    one.is_back().await;
    one.write_in_the_end("together again").await;
    two.document_is("together again").await;
    one.present_are(&["1", "2"]).await;
}
