//! When a wait is over, and what is said until then.

use std::collections::BTreeMap;

use admin_api::{DormantOfSite, Evacuation, Retarget, ReturnStatus};

use super::*;

#[test]
fn an_evacuation_is_over_when_every_partition_says_that_no_call_is_left() {
    let evacuation = Some(Evacuation { to: 2, left: 7, wanted: true });
    let mut sites = SitesReply { evacuation, partitions: 2, ..SitesReply::default() };
    let seen = evacuated(&sites).expect("it is on");
    assert_eq!(seen, Seen { left: 7, is_over: false, said: "7 left".into() });
    sites.evacuation = Some(Evacuation { to: 2, left: 0, wanted: false });
    sites.partitions_told = 1;
    let seen = evacuated(&sites).expect("it is on");
    assert!(!seen.is_over && seen.said.contains("NO CALLS"), "{seen:?}");
    sites.partitions_told = 2;
    assert!(evacuated(&sites).expect("it is on").is_over);
    sites.evacuation = None;
    assert!(evacuated(&sites).is_err(), "somebody ended it");
}

#[test]
fn a_return_is_over_when_nothing_is_awaited_in_either_direction() {
    let mut sites = SitesReply::default();
    sites.returning = ReturnStatus { state: "runs".into(), refill_left: 1, ..sites.returning };
    sites.returning.hand_back_left.insert(2, 3);
    assert_eq!(returned(&sites).expect("it runs").left, 4);
    sites.returning.refill_left = 0;
    sites.returning.hand_back_left.clear();
    sites.returning.keyset_awaited = vec![2];
    let seen = returned(&sites).expect("it runs");
    assert!(!seen.is_over && seen.said.contains("site 2"), "{seen:?}");
    sites.returning.keyset_awaited.clear();
    assert!(returned(&sites).expect("it runs").is_over);
    sites.returning.state = "paused".into();
    assert!(returned(&sites).is_err());
}

#[test]
fn a_retarget_is_over_when_the_site_says_so_and_not_at_a_lucky_moment() {
    let retarget = Some(Retarget { to: 3, at_risk: 0, complete: false });
    let mut sites = SitesReply { retarget, ..SitesReply::default() };
    assert!(!retargeted(3, &sites).expect("in force").is_over);
    assert!(retargeted(2, &sites).is_err());
    sites.retarget = Some(Retarget { to: 3, at_risk: 5, complete: true });
    assert!(retargeted(3, &sites).expect("in force").is_over);
}

#[test]
fn an_activation_ends_where_its_site_answers_again() {
    let kept = |calls, alive| {
        let of_site = DormantOfSite { calls, alive, ..DormantOfSite::default() };
        BackupReply { kept: BTreeMap::from([(1, of_site)]), ..BackupReply::default() }
    };
    assert_eq!(awake(1, false, &kept(3, false)).expect("it is gone").left, 3);
    assert!(awake(1, false, &kept(0, false)).expect("it is gone").is_over);
    assert!(awake(1, false, &kept(3, true)).is_err());
    assert_eq!(awake(1, true, &kept(3, true)).expect("by force").left, 3);
}
