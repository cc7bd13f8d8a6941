//! What a seed asks of two sites of many machines.
//!
//! The faults of one site happen at either; beside them whole sites die and come back, the links
//! between them break, their queues misbehave, and operators steer and send calls astray.

use sip_message::Method;
use tier_protocol::Return;
use vocab::SiteId;

use super::super::scenario::{
    Action, CALLS_FROM_MS, FAULTS_UNTIL_MS, SPILLING_SESSION, Scenario, Shard, Sizes, at_ms, ms,
};
use crate::agent::{Answer, Manner};
use crate::network::Weather;
use crate::rng::Rng;
use crate::scenario::{Party, Placed, draw_call};
use crate::site::SESSION;

/// Calls of the longest run.
const CALLS_MAX: u64 = 10;

type Kind = fn(&mut Scenario, &mut Rng);

/// What may happen to one site, and to its gate most of all.
const OF_ONE: [Kind; 9] = [
    Scenario::draw_replica_loss,
    Scenario::draw_death_at_put,
    Scenario::draw_pause,
    Scenario::draw_engine_loss,
    Scenario::draw_cut,
    Scenario::draw_flapping,
    Scenario::draw_store_away,
    Scenario::draw_slow,
    Scenario::draw_deposed_primary,
];

/// What may happen to two.
const OF_TWO: [Kind; 6] = [
    Scenario::draw_site_loss,
    Scenario::draw_sites_cut,
    Scenario::draw_keeper_fault,
    Scenario::draw_queue_fault,
    Scenario::draw_steering,
    Scenario::draw_stray,
];

impl Scenario {
    /// The scenario of a seed of two sites.
    #[must_use]
    pub(crate) fn draw_wide(rng: &mut Rng) -> Self {
        let sizes = Self::draw_sizes(rng);
        let mut scenario = Self::of_sizes(sizes, Weather::draw(rng));
        for call in 0..2 + usize::try_from(rng.below(CALLS_MAX - 1)).unwrap_or(1) {
            scenario.draw_wide_call(rng, call);
        }
        // A run of one kind of fault finds what many kinds at once would hide.
        for (kinds, chance) in [(&OF_ONE[..], rng.below(250)), (&OF_TWO[..], 100 + rng.below(350))]
        {
            for kind in kinds {
                if rng.chance(chance) {
                    for _ in 0..1 + rng.below(2) {
                        kind(&mut scenario, rng);
                    }
                }
            }
        }
        scenario.in_order();
        scenario
    }

    fn draw_sizes(rng: &mut Rng) -> Sizes {
        Sizes {
            sites: 2,
            engines: 2,
            partitions: 1 + u16::from(rng.chance(400)),
            replicas: 2 + u16::from(rng.chance(150)),
            copy_page_max: 1 + usize::try_from(rng.below(6)).unwrap_or(0),
            copy_per_s: [10, 1_000][usize::from(rng.chance(700))],
            muted_max: 16_384,
            late_news: [0, 200, 700][usize::try_from(rng.below(3)).unwrap_or(0)],
            session: if rng.chance(500) { SESSION } else { SPILLING_SESSION },
            spill: None,
            inbox_batches_max: if rng.chance(150) { 1 } else { 100_000 },
            queue_batches_max: if rng.chance(150) { 2 } else { 100_000 },
            is_early: rng.chance(300),
            is_skewed: true,
            fast: None,
        }
    }

    /// A scenario without calls and faults.
    pub(crate) fn of_sizes(sizes: Sizes, weather: Weather) -> Self {
        let shards = (1..=sizes.sites).flat_map(|site| {
            let partitions = (0..sizes.replicas).flat_map(move |_| 0..sizes.partitions);
            partitions.map(move |partition| (SiteId(site), partition))
        });
        Self {
            sizes,
            places: shards.collect(),
            weather,
            calls: Vec::new(),
            steps: Vec::new(),
            may_lose: false,
            only_store_fails: false,
            database: None,
            faults: 0,
            heal_at: at_ms(0),
        }
    }

    /// Steps of one instant keep their order: the sort is stable.
    pub(crate) fn in_order(&mut self) {
        self.steps.sort_by_key(|(at, _)| *at);
        let last = self.steps.last().map_or(at_ms(0), |(at, _)| *at);
        self.heal_at = last.max(at_ms(FAULTS_UNTIL_MS / 2)) + ms(500);
    }

    fn draw_wide_call(&mut self, rng: &mut Rng, call: usize) {
        let (manners, placed) = draw_call(rng, 30_000, 50_000);
        self.calls.push(manners);
        for (at, what) in placed {
            let action = match what {
                Placed::Call => Action::Call(call),
                Placed::Cancel => Action::Cancel(call),
                Placed::Ask(party, method) => Action::Ask(call, party, method),
            };
            self.add(CALLS_FROM_MS + at, action);
        }
    }

    /// A call that is answered at once; its number.
    pub(super) fn plain_call(&mut self, rng: &mut Rng, begins: u64) -> usize {
        let call = self.calls.len();
        let answer = Answer::After(ms(rng.below(500)));
        let caller = Manner { answer: Answer::Never, allows_update: rng.chance(500) };
        self.calls.push((caller, Manner { answer, allows_update: rng.chance(500) }));
        self.add(begins, Action::Call(call));
        call
    }

    /// A request inside a call, of whichever party.
    pub(super) fn ask(&mut self, rng: &mut Rng, at: u64, call: usize) {
        let party = if rng.chance(500) { Party::Caller } else { Party::Callee };
        let method = if rng.chance(500) { Method::Invite } else { Method::Info };
        self.add(at, Action::Ask(call, party, method));
    }

    /// The partition whose primary keeps a site's gate.
    fn keeper(&self, rng: &mut Rng) -> Shard {
        (self.site(rng), 0)
    }

    /// A site dies, and comes back with nothing; perhaps it dies again on the way home.
    fn draw_site_loss(&mut self, rng: &mut Rng) {
        // With both sites down a call is lost, whoever has it.
        if self.steps.iter().any(|(_, action)| matches!(action, Action::KillSite(_))) {
            return;
        }
        let lost = self.site(rng);
        let other = SiteId(3 - lost.0);
        let at = 6_000 + rng.below(30_000);
        let routed = at + 100 + rng.below(4_000);
        self.faults += 4;
        self.add(at, Action::KillSite(lost));
        self.add(routed, Action::Route(lost, other));
        if rng.chance(300) {
            self.add(routed + 3_000 + rng.below(2_000), Action::ActivateAll(lost));
        }
        let mut back = routed + 2_000 + rng.below(20_000);
        self.add(back, Action::StartSite(lost));
        if rng.chance(300) {
            let again = back + 500 + rng.below(6_000);
            self.add(again, Action::KillSite(lost));
            back = again + 2_000 + rng.below(8_000);
            self.add(back, Action::StartSite(lost));
        }
        self.add(back + 3_000 + rng.below(8_000), Action::Route(lost, lost));
        if rng.chance(200) {
            self.add(back + rng.below(6_000), Action::KillPrimary((other, 0), ms(2_000)));
        }
    }

    fn draw_sites_cut(&mut self, rng: &mut Rng) {
        let mut at = Self::when(rng);
        let one = self.site(rng);
        let other = SiteId(3 - one.0);
        let is_both = rng.chance(600);
        let longest = if rng.chance(500) { 3_000 } else { 25_000 };
        for _ in 0..1 + rng.below(3) {
            let for_ = ms(100 + rng.below(longest));
            self.add(at, Action::CutSites(one, other, for_));
            if is_both {
                self.add(at, Action::CutSites(other, one, for_));
            }
            at += 500 + rng.below(longest);
        }
        if rng.chance(200) {
            // Each is told that the other is gone.
            self.add(at, Action::ActivateAll(one));
            self.add(at, Action::ActivateAll(other));
        }
    }

    /// The process that keeps a gate dies, stands still, or is left out and does not hear of it.
    fn draw_keeper_fault(&mut self, rng: &mut Rng) {
        let (at, keeper) = (Self::when(rng), self.keeper(rng));
        self.faults += 1;
        let for_ = ms(500 + rng.below(9_000));
        match rng.below(4) {
            0 => self.add(at, Action::KillPrimary(keeper, for_)),
            1 => self.add(at, Action::PausePrimary(keeper, for_)),
            _ => {
                self.add(at, Action::IsolatePrimary(keeper, ms(3_000 + rng.below(12_000))));
                if rng.chance(500) {
                    // Calls come to the other site meanwhile, which asks for them.
                    let (home, other) = (keeper.0, SiteId(3 - keeper.0.0));
                    let astray = at + 1_500 + rng.below(2_000);
                    self.add(astray, Action::Route(home, other));
                    self.add(astray + 6_000 + rng.below(6_000), Action::Route(home, home));
                }
            }
        }
    }

    fn draw_queue_fault(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        let longest = if rng.chance(600) { 4_000 } else { 20_000 };
        let for_ = ms(100 + rng.below(longest));
        match rng.below(4) {
            0 => self.add(at, Action::QueueAway(site, for_)),
            1 => self.add(at, Action::QueueSlow(site, for_)),
            _ => self.add(at, Action::QueueAgain(site, 1 + rng.below(12))),
        }
    }

    /// What operators order of calls that live: to go elsewhere, to stay, to go home after all.
    fn draw_steering(&mut self, rng: &mut Rng) {
        let (at, site) = (Self::when(rng), self.site(rng));
        if rng.chance(600) {
            self.add(at, Action::Evacuate(site, true));
            if rng.chance(200) {
                // Both at once: each wants none of the other's.
                self.add(at + rng.below(3_000), Action::Evacuate(SiteId(3 - site.0), true));
            }
            self.add(at + 500 + rng.below(25_000), Action::Evacuate(site, false));
            return;
        }
        let stop = if rng.chance(500) { Return::Paused } else { Return::Aborted };
        self.add(at, Action::Return(site, stop));
        self.add(at + 500 + rng.below(10_000), Action::Return(site, Return::Runs));
    }

    /// Calls are routed to a site that is not their home, for a while or back and forth.
    fn draw_stray(&mut self, rng: &mut Rng) {
        let (mut at, home) = (Self::when(rng), self.site(rng));
        let other = SiteId(3 - home.0);
        for _ in 0..1 + rng.below(4) {
            self.add(at, Action::Route(home, other));
            at += 300 + rng.below(8_000);
            self.add(at, Action::Route(home, home));
            at += 300 + rng.below(8_000);
        }
    }
}
