//! Standing orders, when the primary that began them dies.

use tier_protocol::Standing;

use super::*;

const CALLS: u8 = 6;

fn activation(force: bool) -> Standing {
    let forced = force.then_some((THERE, 1)).into_iter().collect();
    Standing { number: 1, activating: [THERE].into(), forced, ..Standing::default() }
}

/// Three replicas that keep a few calls for the other site.
fn keeping() -> Site {
    let mut site = Site::of(&[1, 2, 3]);
    for number in 1..=CALLS {
        let record = record(key(number), stamp(65_536, THERE, 1), THERE);
        for to in site.everybody() {
            let (view, record) = (site.view(to).number, record.clone());
            site.command(to, E, Command::StoreDormant { view, batch: 1, record });
        }
    }
    site
}

impl Site {
    /// What the gate says to all: whether the other site answers, and what stands.
    fn hear_orders(&mut self, is_alive: bool, standing: &Standing) {
        let status = SiteStatus {
            site: THERE,
            state: SiteState::Serving,
            start: 1,
            dictionary: 1,
            course: Course::default(),
        };
        self.told.clear();
        for number in self.everybody() {
            let input = SiteInput::Status {
                view: ViewNumber::default(),
                here: SiteState::Serving,
                alive: is_alive.then_some(status).into_iter().collect(),
                waiting: Vec::new(),
                // Nothing that was woken goes straight home.
                steering: Steering {
                    returning: tier_protocol::Return::Paused,
                    standing: standing.clone(),
                    ..Steering::default()
                },
            };
            self.input(number, Input::Site(input));
        }
    }

    /// Wakes the first `count` of the calls that engines were handed since, as engines do; how
    /// many they were handed.
    fn wake(&mut self, count: usize) -> usize {
        let told = std::mem::take(&mut self.told);
        let granted: Vec<_> = told
            .into_iter()
            .filter_map(|(_, engine, view, reply)| match reply {
                Reply::Granted { key, token, cause: Cause::Activate, record, .. } => {
                    Some((engine, view, key, token, record.expect("it sleeps")))
                }
                _ => None,
            })
            .collect();
        for (engine, view, key, token, old) in granted.iter().take(count).cloned() {
            let base = Some(old.header.stamp);
            let mut record = next(key, token, Some(&old));
            record.header.stamp.epoch = old.header.stamp.epoch.woken_at(HERE);
            for to in self.everybody() {
                let answer = self.put_so(to, engine, &record, (base, BOUNDARY));
                assert!(matches!(answer, Reply::Stored { .. }), "{to}: {answer:?}");
            }
            for to in self.everybody() {
                self.command(to, engine, Command::Unlock { view, key, token });
            }
        }
        granted.len()
    }

    fn asleep(&self, number: u64) -> u64 {
        let dormant = self.replicas[&number].stats(self.now).dormant;
        dormant.get(&THERE).map_or(0, |calls| *calls)
    }

    fn goes_on(&self, number: u64) -> (Vec<SiteId>, Vec<SiteId>) {
        let progress = self.replicas[&number].progress();
        assert_eq!(progress.heard, Some(1));
        (progress.activating, progress.deleting)
    }
}

/// The rest of the calls slept on, and nobody was told.
#[test]
fn the_next_primary_wakes_what_the_one_before_had_yet_to_wake() {
    for force in [false, true] {
        let mut site = keeping();
        site.hear_orders(force, &activation(force));
        assert_eq!(site.wake(2), usize::from(CALLS));
        assert_eq!(site.goes_on(1).0, [THERE], "engines have the rest");
        site.gone(1);
        site.told.clear();
        site.settle();
        assert_eq!((site.members(2), site.asleep(2)), (vec![2, 3], u64::from(CALLS) - 2));
        assert_eq!(site.goes_on(2).0, [THERE]);
        assert_eq!(site.wake(usize::MAX), usize::from(CALLS) - 2, "by force: {force}");
        site.settle();
        assert_eq!((site.asleep(2), site.goes_on(2)), (0, (vec![], vec![])));
        // It is told of the same order again and again: nothing more happens.
        site.hear_orders(force, &activation(force));
        site.settle();
        assert_eq!(site.wake(0), 0);
    }
}

#[test]
fn an_activation_that_was_ended_is_not_gone_on_with() {
    let mut site = keeping();
    site.hear_orders(false, &activation(false));
    assert_eq!(site.wake(2), usize::from(CALLS));
    let ended = Standing { number: 1, ..Standing::default() };
    site.hear_orders(false, &ended);
    site.gone(1);
    site.told.clear();
    site.settle();
    assert_eq!((site.wake(0), site.asleep(2)), (0, u64::from(CALLS) - 2));
}

#[test]
fn a_keeper_that_knows_of_no_orders_ends_none() {
    let mut site = keeping();
    site.hear_orders(false, &activation(false));
    assert_eq!(site.wake(2), usize::from(CALLS));
    site.hear_orders(false, &Standing::default());
    site.gone(1);
    site.told.clear();
    site.settle();
    assert_eq!(site.wake(usize::MAX), usize::from(CALLS) - 2);
}

#[test]
fn a_stopped_replication_stays_stopped_at_the_next_primary() {
    let mut site = Site::of(&[1, 2]);
    let stopped = Standing { number: 1, stopped: [THERE].into(), ..Standing::default() };
    site.hear_orders(true, &stopped);
    let stamp = site.turn(E, key(1));
    site.settle();
    site.gone(1);
    site.settle();
    site.hear_orders(true, &stopped);
    site.settle();
    assert_eq!((site.members(2), site.crossed()), (vec![2], vec![]));
    site.hear_orders(true, &Standing { number: 2, ..Standing::default() });
    site.settle();
    let sent: Vec<Stamp> = site.crossed().iter().map(Entry::stamp).collect();
    assert_eq!(sent, [stamp], "what was kept back is sent after the start");
}

#[test]
fn the_next_primary_forgets_what_the_one_before_had_yet_to_forget() {
    let mut site = keeping();
    // The primary dies with the order, before it has begun.
    let deleting = Standing { number: 1, deleting: [THERE].into(), ..Standing::default() };
    let view = site.view(1).number;
    site.gone(1);
    site.hear_orders(false, &deleting);
    assert!(site.view(2).number == view && site.asleep(2) == u64::from(CALLS));
    assert_eq!(site.goes_on(2).1, [THERE], "it does not lead yet");
    site.settle();
    assert_eq!((site.asleep(2), site.goes_on(2)), (0, (vec![], vec![])));
}
