//! Two sites that live and do not hear each other, each told to take the other's calls.

use std::time::Duration;

use admin_api::BackupReply;

use crate::cli::ask;
use crate::harness::ground::Ground;
use crate::harness::many_sites::{Layout, ManySite, ManySites};
use crate::harness::pair::{End, Pair};
use crate::harness::{sized, wait_for};

const SOON: Duration = Duration::from_secs(30);
const T1: Duration = Duration::from_millis(500);

/// Waits until nothing of the site would be lost with it; its calls.
fn settled(site: &mut ManySite) -> u64 {
    wait_for("nothing at risk", SOON, || (site.at_risk() == 0).then_some(()));
    site.active()
}

/// D38: each call lives at both sites then, and phones change those of site 1 at site 2, which all
/// traffic is sent to; when the sites meet each call is one again, as it was changed, and at home.
#[test]
fn d38_both_sites_are_told_to_take_over() {
    let mut ground = Ground::start("wan_split", Layout::default());
    let half = sized(20_usize, 200);
    let (calls, all) = (2 * half, 2 * half as u64);
    let mut pair = Pair::new(&ground.stage, ground.callee, ground.sites.edge, T1);
    let mut talks = Vec::new();
    for site in [1, 2] {
        let weights = [(1, u32::from(site == 1)), (2, u32::from(site == 2))];
        ground.sites.balancer.admin().routes(&[(1, 1), (2, 2)], &weights);
        talks.extend((0..half).map(|_| pair.call().expect("the call is answered")));
    }
    let begun = [settled(&mut ground.sites.one), settled(&mut ground.sites.two)];
    assert_eq!(begun, [half as u64; 2]);
    wait_for("every copy", SOON, || {
        let copies = [ground.sites.two.dormant(1), ground.sites.one.dormant(2)];
        (copies == begun).then_some(())
    });

    ground.wan.say("cut one two");
    let ManySites { one, two, .. } = &mut ground.sites;
    for (site, other) in [(&mut *one, "2"), (&mut *two, "1")] {
        site.wait_silent(other.parse().expect("a number"));
        let _woken: BackupReply =
            ask(&site.keeper(), &["backup", "activate", "--site", other, "--wait"]);
        assert_eq!(site.active(), all, "not every call lives at each site");
    }
    ground.sites.balancer.admin().routes(&[(1, 2), (2, 2)], &[(1, 0), (2, 1)]);
    for (number, talk) in talks.iter_mut().enumerate().take(half) {
        let end = if number % 2 == 0 { End::Caller } else { End::Callee };
        pair.re_invite(talk, end).unwrap_or_else(|what| panic!("{number}: {what}"));
    }

    ground.wan.say("heal all");
    let ManySites { one, two, .. } = &mut ground.sites;
    one.wait_linked_to(2);
    two.wait_linked_to(1);
    wait_for("one home for each call", SOON, || {
        let (at_one, at_two) = (one.living(), two.living());
        let is_one = at_one.is_disjoint(&at_two) && at_one.len() + at_two.len() == calls;
        (is_one && [one.active(), two.active()] == begun).then_some(())
    });
    ground.sites.balancer.admin().routes(&[(1, 1), (2, 2)], &[(1, 1), (2, 1)]);
    pair.hang_up_all(&mut talks);
    ground.stage.say(&format!(
        "{begun:?} calls begun at sites 1 and 2; cut apart, each told to wake the other's: {all} \
         live at both, {half} changed where they were taken; the way healed: each is one again and \
         at home, {all} BYEs answered"
    ));
}
