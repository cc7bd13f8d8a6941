//! A link that flaps flaps no site, one observer kills none, and a death is acted upon once.

use super::*;

const S1: SiteId = SiteId(1);
const S2: SiteId = SiteId(2);
const S3: SiteId = SiteId(3);
const SECOND: u64 = 1_000;

/// Who says what from now on; `None`: silence.
#[derive(Clone, Copy, Debug, Default)]
struct Says {
    balancer: Option<bool>,
    peer: Option<bool>,
    witness: Option<bool>,
}

const ALL_HEAR: Says = Says { balancer: Some(true), peer: Some(true), witness: Some(true) };
const ALL_MISS: Says = Says { balancer: Some(false), peer: Some(false), witness: Some(false) };

/// Observers that speak every 100 ms, and time that passes between.
struct World {
    judge: Judge,
    now: Instant,
    says: BTreeMap<SiteId, Says>,
    /// What the judge ordered.
    acts: Vec<Output>,
    /// Each standing that site 1 had, in turn.
    standings: Vec<Standing>,
}

fn own(sites: &[SiteId]) -> Policy {
    Policy::own_calls(sites.iter().copied())
}

impl World {
    /// Two sites that back each other up, healthy.
    fn new(auto_failover: bool) -> Self {
        Self::of(&[S1, S2], [(S1, S2), (S2, S1)].into(), auto_failover)
    }

    fn of(sites: &[SiteId], backups: BTreeMap<SiteId, SiteId>, auto_failover: bool) -> Self {
        let now = Instant(1_000_000_000);
        let orderable = sites.iter().copied().collect();
        let config = Config { backups, orderable, auto_failover, ..Config::default() };
        let judge = Judge::new(now, config, sites.iter().copied(), own(sites));
        let says = sites.iter().map(|site| (*site, ALL_HEAR)).collect();
        let (acts, standings) = (Vec::new(), Vec::new());
        let mut world = Self { judge, now, says, acts, standings };
        world.pass(6 * SECOND);
        for site in sites {
            assert_eq!(world.standing(*site), Standing::Healthy);
        }
        world.standings.clear();
        world
    }

    fn standing(&self, site: SiteId) -> Standing {
        self.judge.standing(site).expect("a site of the test")
    }

    fn input(&mut self, input: Input) {
        self.judge.handle_input(self.now, input);
        loop {
            match self.judge.poll_output() {
                Output::WakeAt(at) => {
                    assert!(at > self.now, "a wake in the past is a busy loop");
                    break;
                }
                act @ (Output::SetPolicy(_) | Output::Activate { .. }) => self.acts.push(act),
            }
        }
        let standing = self.standing(S1);
        if self.standings.last() != Some(&standing) {
            self.standings.push(standing);
        }
    }

    fn say(&mut self) {
        for (site, says) in self.says.clone() {
            let other = if site == S1 { S2 } else { S1 };
            let words = [
                (Observer::Balancer, says.balancer, 300),
                (Observer::Peer(other), says.peer, 2_000),
                (Observer::Witness("w".into()), says.witness, 4_000),
            ];
            for (observer, answers, valid_ms) in words {
                let Some(answers) = answers else { continue };
                let valid_for = Duration::from_millis(valid_ms);
                self.input(Input::Observed { observer, site, answers, valid_for });
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 100 {
            self.now = self.now + Duration::from_millis(100);
            self.input(Input::Wake);
            self.say();
        }
    }

    fn set(&mut self, site: SiteId, says: Says) {
        self.says.insert(site, says);
    }

    /// The site's process is gone: nobody hears it, and it says nothing of others.
    fn kill(&mut self, site: SiteId) {
        self.set(site, ALL_MISS);
        for (other, says) in &mut self.says {
            if *other != site && self.judge.sites.len() == 2 {
                says.peer = None;
            }
        }
    }

    fn revive(&mut self, site: SiteId) {
        let others: Vec<SiteId> = self.says.keys().copied().collect();
        for other in others {
            if other == site || self.says[&other].peer.is_none() {
                self.set(other, ALL_HEAR);
            }
        }
    }

    fn advice(&self, site: SiteId) -> Option<Advice> {
        let picture = self.judge.picture(self.now);
        picture.into_iter().find(|health| health.site == site).and_then(|health| health.advice)
    }
}

#[test]
fn a_site_that_all_miss_is_dead_after_a_while_and_only_told() {
    let mut world = World::new(false);
    world.kill(S1);
    world.pass(5 * SECOND - 100);
    assert_eq!(world.standing(S1), Standing::Suspected);
    world.pass(300);
    assert_eq!(world.standing(S1), Standing::Dead);
    assert_eq!(world.standing(S2), Standing::Healthy);
    let advice = world.advice(S1).expect("something is to be done");
    assert_eq!(advice.what, "site 1 is dead");
    assert_eq!(
        advice.commands,
        ["rehome route set 1=2 --weights 1=0,2=2", "rehome backup activate --site 1"]
    );
    world.pass(60 * SECOND);
    assert_eq!(world.acts, []);
}

#[test]
fn a_site_comes_back_when_all_hear_it_for_long() {
    let mut world = World::new(false);
    world.kill(S1);
    world.pass(6 * SECOND);
    world.revive(S1);
    world.pass(30 * SECOND - 100);
    assert_eq!(world.standing(S1), Standing::Recovering);
    world.pass(300);
    use Standing::{Dead, Healthy, Recovering, Suspected};
    assert_eq!(world.standings, [Healthy, Suspected, Dead, Recovering, Healthy]);
    assert_eq!(world.advice(S1), None);
}

#[test]
fn a_flapping_link_does_not_flap_the_state() {
    let mut world = World::new(true);
    for _ in 0..300 {
        world.kill(S1);
        world.pass(SECOND);
        world.revive(S1);
        world.pass(SECOND);
    }
    assert_eq!(world.standings, [Standing::Healthy, Standing::Suspected]);
    world.pass(6 * SECOND);
    assert_eq!(world.standing(S1), Standing::Healthy);
    // The same on the way back: dead, then up and down for ten minutes.
    world.kill(S1);
    world.pass(6 * SECOND);
    world.standings.clear();
    for _ in 0..300 {
        world.revive(S1);
        world.pass(SECOND);
        world.kill(S1);
        world.pass(SECOND);
    }
    assert_eq!(world.standings, [Standing::Dead, Standing::Recovering]);
    assert_eq!(world.acts.len(), 2, "one policy, one order: {:?}", world.acts);
    world.pass(6 * SECOND);
    assert_eq!(world.standing(S1), Standing::Dead);
}

#[test]
fn a_cut_link_between_living_sites_is_no_death() {
    let mut world = World::new(true);
    for site in [S1, S2] {
        world.set(site, Says { peer: Some(false), witness: None, ..ALL_HEAR });
    }
    world.pass(600 * SECOND);
    assert_eq!(world.standings, [Standing::Healthy, Standing::Suspected]);
    assert_eq!(world.acts, []);
    assert_eq!(world.advice(S1), None);
}

#[test]
fn one_who_misses_it_kills_no_site() {
    let (hear, miss) = (Some(true), Some(false));
    for (balancer, peer, witness) in [
        // The witness's own line is cut; the peer hears one way only; the edges are cut off.
        (hear, hear, miss),
        (hear, None, miss),
        (hear, miss, hear),
        (hear, miss, miss),
        (miss, hear, None),
        (miss, miss, hear),
        // Nobody confirms the balancer, or the balancer nobody.
        (miss, None, None),
        (None, miss, miss),
        (None, None, miss),
        (None, miss, None),
    ] {
        let mut world = World::new(true);
        let says = Says { balancer, peer, witness };
        world.set(S1, says);
        world.pass(600 * SECOND);
        assert_eq!(world.standings, [Standing::Healthy, Standing::Suspected], "{says:?}");
        assert_eq!(world.acts, [], "{says:?}");
    }
}

#[test]
fn two_witnesses_are_not_enough_without_the_balancer() {
    let mut world = World::new(true);
    world.says.remove(&S1);
    for _ in 0..100 {
        for name in ["a", "b"] {
            let (observer, valid_for) = (Observer::Witness(name.into()), Duration::from_secs(9));
            world.input(Input::Observed { observer, site: S1, answers: false, valid_for });
        }
        world.pass(SECOND);
    }
    assert_eq!(world.standing(S1), Standing::Suspected);
}

#[test]
fn a_death_is_acted_upon_once() {
    let mut world = World::new(true);
    world.kill(S1);
    world.pass(8 * SECOND);
    let serves = [(S1, S2), (S2, S2)].into();
    let policy = Policy { version: 2, serves, weights: [(S1, 0), (S2, 2)].into() };
    let order = Output::Activate { home: S1, at: S2 };
    assert_eq!(world.acts, [Output::SetPolicy(policy), order]);
    world.input(Input::Activation { home: S1, answer: Ok(7) });
    let advice = world.advice(S1).expect("it is told");
    assert!(advice.what.ends_with("waking them was ordered (7 calls)"), "{}", advice.what);
    assert!(advice.commands.is_empty());
    // It comes back, dies again, comes back: its calls are the operator's.
    for _ in 0..3 {
        world.revive(S1);
        world.pass(40 * SECOND);
        assert_eq!(world.standing(S1), Standing::Healthy);
        let advice = world.advice(S1).expect("it is to be sent home");
        assert_eq!(advice.commands, ["rehome route set 1=1 --weights 1=1,2=1"]);
        world.kill(S1);
        world.pass(10 * SECOND);
        assert_eq!(world.standing(S1), Standing::Dead);
    }
    assert_eq!(world.acts.len(), 2, "{:?}", world.acts);
}

#[test]
fn after_the_operator_sent_the_calls_home_the_next_death_is_a_new_one() {
    let mut world = World::new(true);
    world.kill(S1);
    world.pass(8 * SECOND);
    world.revive(S1);
    world.pass(40 * SECOND);
    let home = Policy { version: 3, ..own(&[S1, S2]) };
    world.input(Input::Policy(home));
    world.acts.clear();
    world.kill(S1);
    world.pass(8 * SECOND);
    assert_eq!(world.acts.len(), 2, "{:?}", world.acts);
}

#[test]
fn calls_that_were_sent_back_to_a_dead_site_stay_there() {
    let mut world = World::new(true);
    world.kill(S1);
    world.pass(8 * SECOND);
    world.acts.clear();
    world.input(Input::Policy(Policy { version: 3, ..own(&[S1, S2]) }));
    world.pass(60 * SECOND);
    assert_eq!(world.acts, []);
    let advice = world.advice(S1).expect("it is dead all the same");
    assert_eq!(advice.what, "site 1 is dead, and its calls were sent back to it by order");
}

#[test]
fn calls_that_were_sent_away_by_order_are_left_there() {
    let mut world = World::new(true);
    let serves = [(S1, S2), (S2, S2)].into();
    world.input(Input::Policy(Policy { version: 2, serves, weights: [(S2, 1)].into() }));
    world.kill(S1);
    world.pass(60 * SECOND);
    assert_eq!(world.standing(S1), Standing::Dead);
    assert_eq!(world.acts, []);
}

#[test]
fn the_last_living_site_is_never_given_up() {
    let mut world = World::new(true);
    world.kill(S1);
    world.kill(S2);
    for site in [S1, S2] {
        world.set(site, ALL_MISS);
    }
    world.pass(60 * SECOND);
    assert_eq!(world.standing(S2), Standing::Dead);
    assert_eq!(world.acts, []);
    let advice = world.advice(S1).expect("it is told");
    assert!(advice.what.contains("site 2, which keeps its copies, is not healthy"));
}

#[test]
fn one_after_the_other_the_first_alone_is_given_up() {
    let mut world = World::of(&[S1, S2, S3], [(S1, S2), (S2, S3), (S3, S1)].into(), true);
    world.kill(S1);
    world.pass(8 * SECOND);
    assert_eq!(world.acts.len(), 2);
    world.kill(S2);
    world.pass(60 * SECOND);
    assert_eq!(world.standing(S2), Standing::Dead);
    assert_eq!(world.acts.len(), 2, "{:?}", world.acts);
    let advice = world.advice(S2).expect("it is told");
    assert_eq!(advice.what, "site 2 is dead, after site 1: no second one is given up by itself");
    let route = "rehome route set 2=3 --weights 1=0,2=0,3=3";
    assert_eq!(advice.commands.first().map(String::as_str), Some(route));
}

#[test]
fn an_order_that_is_refused_is_given_again_while_the_site_is_dead() {
    let mut world = World::new(true);
    world.kill(S1);
    world.pass(8 * SECOND);
    let order = Output::Activate { home: S1, at: S2 };
    for tries in 1..=12 {
        let given = world.acts.iter().filter(|act| **act == order).count();
        assert_eq!(given, tries);
        let answer = Err("site 1 answers".to_owned());
        world.input(Input::Activation { home: S1, answer });
        world.pass(5 * SECOND);
    }
    world.pass(60 * SECOND);
    assert_eq!(world.acts.len(), 13, "{:?}", world.acts);
    let advice = world.advice(S1).expect("the operator is to order it");
    assert!(advice.what.ends_with("could not be ordered: site 1 answers"), "{}", advice.what);
    assert_eq!(advice.commands, ["rehome backup activate --site 1"]);
}

#[test]
fn a_word_that_is_not_said_again_counts_no_more() {
    let mut world = World::new(false);
    world.set(S1, Says { witness: None, peer: None, ..ALL_MISS });
    world.pass(10 * SECOND);
    let picture = world.judge.picture(world.now);
    let told: Vec<_> =
        picture[0].observers.iter().map(|one| (one.answers, one.is_silent)).collect();
    assert_eq!(told, [(true, true), (false, false), (true, true)], "{:?}", picture[0].observers);
    assert_eq!(picture[0].standing, Standing::Suspected);
}

#[test]
fn observers_are_bounded() {
    let mut world = World::new(false);
    for number in 0..1_000 {
        let observer = Observer::Witness(format!("w{number}"));
        let valid_for = Duration::from_secs(9_999);
        world.input(Input::Observed { observer, site: S1, answers: true, valid_for });
    }
    assert_eq!(world.judge.picture(world.now)[0].observers.len(), 64);
    world.pass(61 * SECOND);
    let speak =
        world.judge.picture(world.now)[0].observers.iter().filter(|one| !one.is_silent).count();
    assert_eq!(speak, 3, "nobody is believed for longer than a minute");
}
