//! Three sites, each with a backup site of its own: which site has what, after whom.
//!
//! What one site's replica publishes is applied at the other, as engines do, and acknowledged.

use super::steering::steer;
use super::*;
use crate::Steering;

const ONE: SiteId = SiteId(1);
const TWO: SiteId = SiteId(2);
const THREE: SiteId = SiteId(3);
const CALL: u8 = 1;

struct World {
    sites: Vec<(SiteId, Option<Bench>)>,
    /// How often each has started.
    starts: [u64; 3],
    /// Who does not hear whom.
    cut: Vec<(SiteId, SiteId)>,
    /// Who gives its calls away.
    evacuating: Option<SiteId>,
    /// What the replicas said that no engine has done yet.
    said: Vec<(SiteId, Output)>,
}

fn bench_of(here: SiteId, backup_to: Option<SiteId>) -> Bench {
    Bench::with(|config| (config.here, config.backup_to) = (here, backup_to))
}

impl World {
    fn new(backups: [Option<SiteId>; 3]) -> Self {
        let sites = [ONE, TWO, THREE].into_iter().zip(backups);
        let sites = sites.map(|(site, backup)| (site, Some(bench_of(site, backup))));
        let mut world = Self {
            sites: sites.collect(),
            starts: [1; 3],
            cut: Vec::new(),
            evacuating: None,
            said: Vec::new(),
        };
        world.greet();
        world
    }

    fn at(&mut self, site: SiteId) -> &mut Bench {
        let found = self.sites.iter_mut().find(|(one, _)| *one == site);
        found.and_then(|(_, bench)| bench.as_mut()).expect("it lives")
    }

    /// Every living site hears of every other that it can hear.
    fn greet(&mut self) {
        let living: Vec<SiteId> = self.living();
        for site in &living {
            let mut others = living.clone();
            others.retain(|other| other != site && !self.cut.contains(&(*other, *site)));
            let alive = others.into_iter().map(|site| SiteStatus {
                site,
                state: SiteState::Serving,
                start: self.starts[usize::from(site.0) - 1],
                dictionary: 1,
                course: Course { evacuates: self.evacuating == Some(site), ..Course::default() },
            });
            let alive = alive.collect();
            let bench = self.at(*site);
            let (here, waiting, steering) =
                (SiteState::Serving, Vec::new(), bench.replica.steering.clone());
            let said = bench.site(SiteInput::Status {
                view: ViewNumber::default(),
                here,
                alive,
                waiting,
                steering,
            });
            self.work(*site, said);
        }
    }

    fn living(&self) -> Vec<SiteId> {
        let living = self.sites.iter().filter(|(_, bench)| bench.is_some());
        living.map(|(site, _)| *site).collect()
    }

    fn kill(&mut self, site: SiteId) {
        for (one, bench) in &mut self.sites {
            if *one == site {
                *bench = None;
            }
        }
        self.greet();
    }

    /// It comes back empty.
    fn start_again(&mut self, site: SiteId, backup_to: Option<SiteId>) {
        for (one, bench) in &mut self.sites {
            if *one == site {
                *bench = Some(bench_of(site, backup_to));
            }
        }
        self.starts[usize::from(site.0) - 1] += 1;
        self.greet();
    }

    /// Carries what crosses, for a while.
    fn carry(&mut self) {
        for _ in 0..10 {
            for from in self.living() {
                let outputs = self.at(from).pass(ms(100));
                self.work(from, outputs);
            }
        }
    }

    fn apply(&mut self, to: SiteId, entry: Entry) {
        let bench = self.at(to);
        match entry {
            Entry::Record(record) => bench.store_dormant(record),
            Entry::Tombstone(Tombstone { key, stamp }) => bench.store_tombstone(key, stamp),
        };
        let said = bench.said.clone();
        self.work(to, said);
    }

    /// What `site` says is carried out: batches cross, unless they cannot, and its engine wakes the
    /// calls that it was handed for that.
    fn work(&mut self, site: SiteId, outputs: Vec<Output>) {
        for (_, key, token, cause, record, _) in grants(&outputs) {
            if cause == Cause::Activate {
                self.put_woken(site, key, token, record);
            }
        }
        for (to, id, entries) in batches(&outputs) {
            if self.living().contains(&to) && !self.cut.contains(&(site, to)) {
                entries.into_iter().for_each(|entry| self.apply(to, entry));
                let stored = self.at(site).site(SiteInput::BatchStored { site: to, id });
                self.work(site, stored);
            }
        }
        self.said.extend(outputs.into_iter().map(|output| (site, output)));
    }

    fn put_woken(
        &mut self,
        site: SiteId,
        key: CallKey,
        token: LockToken,
        old: Option<Record>,
    ) -> Stamp {
        let backup = self.at(site).replica.config.backup_to;
        let bench = self.at(site);
        let old = old.expect("it sleeps here");
        let stamp = bench.put_next(key, token, Some(old), BOUNDARY, |record| {
            let stamp = &mut record.header.stamp;
            stamp.epoch = stamp.epoch.woken_at(site);
            record.header.backup = backup;
        });
        bench.unlock(A, key, token);
        stamp
    }

    /// A message wakes the call.
    fn wake(&mut self, site: SiteId) -> Stamp {
        let (token, old) = self.at(site).lock(A, key(CALL));
        self.put_woken(site, key(CALL), token, old)
    }

    /// An engine gives the call to `to`, as the replica asked it to.
    fn give(&mut self, from: SiteId, to: SiteId) {
        let of_giver = std::mem::take(&mut self.said).into_iter();
        let outputs: Vec<Output> =
            of_giver.filter(|(site, _)| *site == from).map(|(_, output)| output).collect();
        let wanted = grants(&outputs).into_iter().find(|it| it.3 == Cause::HandBack { to });
        let (_, key, token, _, record, _) = wanted.expect("it is to be given");
        let bench = self.at(from);
        bench.put_next(key, token, record, BOUNDARY, |record| {
            record.header.stamp.epoch = record.header.stamp.epoch.given_to(to);
        });
        bench.unlock(A, key, token);
    }

    /// Where the call is held: whose home it has, and whether it is active.
    fn held(&mut self) -> Vec<(SiteId, SiteId, bool)> {
        let mut all = Vec::new();
        for site in self.living() {
            let bench = self.at(site);
            let story = bench.replica.get(bench.now, key(CALL));
            if let Some((stamp, dormant)) =
                story.and_then(|story| Some((story.summary.stamp?, story.summary.is_dormant)))
            {
                all.push((site, stamp.epoch.site, !dormant));
            }
        }
        all
    }

    /// Begins the call at site 1, and lets it cross.
    fn begin(&mut self) -> Stamp {
        let backup = self.at(ONE).replica.config.backup_to;
        let stamp = self.at(ONE).turn(key(CALL), BOUNDARY, |record| record.header.backup = backup);
        self.carry();
        stamp
    }

    fn at_risk(&mut self, site: SiteId) -> u64 {
        let bench = self.at(site);
        let stats = bench.replica.stats(bench.now);
        stats.outbound.values().map(|outbound| outbound.at_risk).sum()
    }
}

const RING: [Option<SiteId>; 3] = [Some(TWO), Some(THREE), Some(ONE)];

#[test]
fn in_a_ring_the_new_home_s_own_backup_site_gets_the_call() {
    let mut world = World::new(RING);
    let first = world.begin();
    assert_eq!(world.held(), [(ONE, ONE, true), (TWO, ONE, false)], "and nobody else");
    world.kill(ONE);
    let second = world.wake(TWO);
    assert!(second.epoch > first.epoch);
    assert_eq!(world.at_risk(TWO), 1, "site 3 has nothing of it yet");
    world.carry();
    assert_eq!(world.held(), [(TWO, TWO, true), (THREE, TWO, false)]);
    assert_eq!(world.at_risk(TWO), 0);
    world.kill(TWO);
    let third = world.wake(THREE);
    assert!(third.epoch > second.epoch);
    world.carry();
    assert_eq!(world.held(), [(THREE, THREE, true)]);
    assert_eq!(world.at_risk(THREE), 1, "its backup site is dead");
    // Site 1 is back: it is the backup site, and the call's origin. The call goes home.
    world.start_again(ONE, Some(TWO));
    world.carry();
    world.give(THREE, ONE);
    world.carry();
    assert!(world.held().contains(&(ONE, ONE, true)), "{:?}", world.held());
    assert_eq!(world.at_risk(ONE), 1, "its backup site is dead");
    world.start_again(TWO, Some(THREE));
    world.carry();
    let active: Vec<_> = world.held().into_iter().filter(|held| held.2).collect();
    assert_eq!(active, [(ONE, ONE, true)]);
    assert!(world.held().contains(&(TWO, ONE, false)), "backed up again");
    assert_eq!(world.at_risk(ONE), 0);
}

#[test]
fn several_sites_onto_one_and_that_one_onto_none() {
    let mut world = World::new([Some(THREE), Some(THREE), None]);
    world.begin();
    world.at(TWO).turn(key(2), BOUNDARY, |record| {
        record.header.stamp.epoch = Epoch::of_start(TWO, 1);
        record.header.origin = TWO;
    });
    world.carry();
    let dormant = |world: &mut World| {
        let bench = world.at(THREE);
        bench.replica.stats(bench.now).dormant
    };
    assert_eq!(dormant(&mut world).into_iter().collect::<Vec<_>>(), [(ONE, 1), (TWO, 1)]);
    world.kill(ONE);
    world.wake(THREE);
    world.carry();
    assert_eq!(world.held(), [(THREE, THREE, true)], "site 2 is nobody's backup");
    assert_eq!(world.at_risk(THREE), 0, "nothing is to cross");
    assert_eq!(dormant(&mut world).into_iter().collect::<Vec<_>>(), [(TWO, 1)]);
}

#[test]
fn one_way_a_woken_call_crosses_nowhere_and_goes_home_all_the_same() {
    let mut world = World::new([Some(TWO), None, None]);
    world.begin();
    world.kill(ONE);
    world.wake(TWO);
    world.carry();
    assert_eq!(world.held(), [(TWO, TWO, true)]);
    assert_eq!(world.at_risk(TWO), 0);
    world.start_again(ONE, Some(TWO));
    world.carry();
    world.give(TWO, ONE);
    world.carry();
    assert_eq!(world.held(), [(ONE, ONE, true), (TWO, ONE, false)], "home, and backed up again");
}

/// Evacuates site 1 to site 3.
fn evacuate(world: &mut World) {
    world.evacuating = Some(ONE);
    world.greet();
    let steering = Steering { evacuate_to: Some(THREE), ..world.at(ONE).replica.steering.clone() };
    let said = steer(world.at(ONE), steering);
    world.work(ONE, said);
    world.carry();
    world.give(ONE, THREE);
    world.carry();
}

#[test]
fn an_evacuated_call_is_backed_up_as_its_new_home_says_and_its_old_copy_is_void() {
    let mut world = World::new([Some(TWO), Some(ONE), Some(ONE)]);
    world.begin();
    evacuate(&mut world);
    assert_eq!(world.held(), [(ONE, THREE, false), (THREE, THREE, true)]);
    assert_eq!(world.at_risk(THREE), 0);
}

#[test]
fn a_giver_that_dies_before_its_backup_site_hears_leaves_no_copy_that_could_wake() {
    let mut world = World::new([Some(TWO), Some(ONE), Some(ONE)]);
    world.begin();
    // The giver's word to site 2 is not heard any more.
    world.cut = vec![(ONE, TWO)];
    evacuate(&mut world);
    world.kill(ONE);
    world.carry();
    assert_eq!(world.held(), [(THREE, THREE, true)], "site 3 has said that it is void");
    // A batch of site 1 that was on its way changes nothing.
    let late = record(key(CALL), Stamp { version: Version(9), ..stamp(65_536, ONE, 9) }, ONE);
    assert_eq!(world.at(TWO).store_dormant(late), DormantOutcome::Stale);
}

#[test]
fn who_is_given_a_call_says_nothing_to_those_who_need_not_hear() {
    let given = Epoch { n: 65_537, site: HERE };
    let from_giver = |number, backup| {
        let mut record = record(key(number), Stamp { epoch: given, ..stamp(0, HERE, 3) }, THERE);
        record.header.backup = backup;
        record
    };
    let mut bench = Bench::with(|config| config.backup_to = Some(THERE));
    bench.alive(&[THERE]);
    // Nobody keeps copies; this site does; the site that keeps this site's; one never heard of.
    for (number, backup) in [(1, None), (2, Some(HERE)), (3, Some(THERE)), (4, Some(THIRD))] {
        assert_eq!(bench.store_dormant(from_giver(number, backup)), DormantOutcome::Stored);
    }
    assert_eq!(bench.replica.stats(bench.now).counts.copies_voided, 0);
    bench.alive(&[THERE, THIRD]);
    // A refilled call was not given.
    let mut own = from_giver(5, Some(THIRD));
    own.header.stamp.epoch.n = 65_536;
    bench.store_dormant(own);
    assert_eq!(bench.replica.stats(bench.now).counts.copies_voided, 0);
    for _ in 0..2 {
        bench.store_dormant(from_giver(6, Some(THIRD)));
    }
    assert_eq!(bench.replica.stats(bench.now).counts.copies_voided, 1, "once");
}
