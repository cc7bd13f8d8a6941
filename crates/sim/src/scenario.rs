//! What a seed asks for: calls with their manners, requests inside them, and faults.

use std::time::Duration;

use sip_message::Method;
use tier_protocol::Return;
use vocab::{Instant, SiteId};

use crate::agent::{Answer, Manner};
use crate::network::Weather;
use crate::rng::Rng;
use crate::site::SESSION;

/// Calls of the longest run.
const CALLS_MAX: u64 = 12;
/// Where copies are lost: calls are refreshed when all faults are over.
const LONG_SESSION: Duration = Duration::from_secs(240);
/// When the last fault begins, at the latest.
const FAULTS_UNTIL_MS: u64 = 60_000;

/// Which of the two agents of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// The one that placed it.
    Caller,
    /// The one that was called.
    Callee,
}

/// One thing that the scenario does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A caller places its call.
    Call(usize),
    /// A caller gives up.
    Cancel(usize),
    /// An agent sends a request inside its dialog, if it is up.
    Ask(usize, Party, Method),
    /// An engine process is killed.
    KillEngine(SiteId, usize),
    /// An engine process is started again.
    StartEngine(SiteId, usize),
    /// An engine process stops for a while.
    PauseEngine(SiteId, usize, Duration),
    /// The engine that makes the n-th put from then on is killed when the put arrives, and another
    /// process starts in its place.
    KillEngineAtPut(SiteId, u64),
    /// All processes of a site are killed.
    KillSite(SiteId),
    /// All processes of a site are killed when its n-th put from then on arrives.
    KillSiteAtPut(SiteId, u64),
    /// A site is started again.
    StartSite(SiteId),
    /// Calls of one home are routed to a site.
    Route(SiteId, SiteId),
    /// An operator orders the bulk activation of a site's calls at the other.
    ActivateAll(SiteId),
    /// An operator sends a site's calls to the other, or ends that.
    Evacuate(SiteId, bool),
    /// An operator stops or resumes the ways home that begin or end at a site that serves.
    Return(SiteId, Return),
    /// A site loses copies that it keeps for the other, and nobody is told.
    LoseCopies(SiteId),
    /// The link between the sites is cut.
    CutLink,
    /// The link is healed.
    HealLink,
}

/// All that one seed asks for.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    /// Engines a site.
    pub(crate) engines: usize,
    /// The network's weather.
    pub(crate) weather: Weather,
    /// What the calls' session timers are made of.
    pub(crate) session: Duration,
    /// Manners of each call's caller and callee.
    pub(crate) calls: Vec<(Manner, Manner)>,
    /// What happens when, by time.
    pub(crate) steps: Vec<(Instant, Action)>,
    /// When all faults are removed.
    pub(crate) heal_at: Instant,
}

fn at_ms(ms: u64) -> Instant {
    Instant(1_000_000_000) + Duration::from_millis(ms)
}

/// What the parties of a call are made to do.
#[derive(Clone, Debug)]
pub(crate) enum Placed {
    /// The caller places its call.
    Call,
    /// The caller gives up.
    Cancel,
    /// A party sends a request inside the dialog, if it is up.
    Ask(Party, Method),
}

/// A call: the manners of its caller and its callee, and what they do when, in milliseconds. It
/// begins before `begins_below`; requests inside it come within `asks_below` of that.
pub(crate) fn draw_call(
    rng: &mut Rng,
    begins_below: u64,
    asks_below: u64,
) -> ((Manner, Manner), Vec<(u64, Placed)>) {
    let begins = rng.below(begins_below);
    let rings = Duration::from_millis(rng.below(4_000));
    let answer = match rng.below(20) {
        0 => Answer::Busy,
        1 => Answer::Never,
        2 => Answer::DespiteCancel(rings),
        3 => Answer::Twice(rings),
        _ => Answer::After(rings),
    };
    let caller = Manner { answer: Answer::Never, allows_update: rng.chance(500) };
    let callee = Manner { answer, allows_update: rng.chance(500) };
    let mut placed = vec![(begins, Placed::Call)];
    let gives_up = matches!(answer, Answer::Never | Answer::DespiteCancel(_)) || rng.chance(80);
    if gives_up {
        placed.push((begins + rng.below(6_000), Placed::Cancel));
    }
    for _ in 0..rng.below(5) {
        let party = if rng.chance(500) { Party::Caller } else { Party::Callee };
        let method = match rng.below(6) {
            0 => Method::Bye,
            1 => Method::Info,
            2 => Method::Update,
            _ => Method::Invite,
        };
        placed.push((begins + rng.below(asks_below), Placed::Ask(party, method)));
    }
    ((caller, callee), placed)
}

impl Scenario {
    /// The scenario of a seed.
    #[must_use]
    pub(crate) fn draw(rng: &mut Rng) -> Self {
        let mut scenario = Self {
            engines: 1 + usize::from(rng.chance(750)),
            weather: Weather::draw(rng),
            session: SESSION,
            calls: Vec::new(),
            steps: Vec::new(),
            heal_at: at_ms(FAULTS_UNTIL_MS + 30_000),
        };
        for call in 0..2 + usize::try_from(rng.below(CALLS_MAX - 1)).unwrap_or(1) {
            scenario.draw_call(rng, call);
        }
        scenario.draw_faults(rng);
        // Steps of one instant keep their order: the sort is stable.
        scenario.steps.sort_by_key(|(at, _)| *at);
        scenario
    }

    /// Copies are lost, by draws of their own: other scenarios are as without. Sessions are long,
    /// so that no refresh has the calls cross again; a sweep has to, before their site dies.
    pub(crate) fn draw_lost_copies(&mut self, rng: &mut Rng) {
        if !rng.chance(250) {
            return;
        }
        self.session = LONG_SESSION;
        let keeper = SiteId(1 + u16::from(rng.chance(500)));
        let lost = 8_000 + rng.below(14_000);
        for site in [keeper, keeper, SiteId(3 - keeper.0)] {
            self.add(lost + rng.below(1_000), Action::LoseCopies(site));
        }
        let is_killed = self.steps.iter().any(|(_, it)| matches!(it, Action::KillSite(_)));
        if !is_killed && rng.chance(500) {
            let home = SiteId(3 - keeper.0);
            let at = lost + 32_000 + rng.below(6_000);
            self.add(at, Action::KillSite(home));
            self.add(at + 500, Action::Route(home, keeper));
            self.add(at + 5_000 + rng.below(10_000), Action::StartSite(home));
            self.add(at + 18_000 + rng.below(8_000), Action::Route(home, home));
        }
        self.steps.sort_by_key(|(at, _)| *at);
    }

    fn add(&mut self, ms: u64, action: Action) {
        self.steps.push((at_ms(ms), action));
    }

    fn draw_call(&mut self, rng: &mut Rng, call: usize) {
        let (manners, placed) = draw_call(rng, 30_000, 70_000);
        self.calls.push(manners);
        for (at, what) in placed {
            let action = match what {
                Placed::Call => Action::Call(call),
                Placed::Cancel => Action::Cancel(call),
                Placed::Ask(party, method) => Action::Ask(call, party, method),
            };
            self.add(at + 500, action);
        }
    }

    fn draw_faults(&mut self, rng: &mut Rng) {
        if rng.chance(450) {
            self.draw_site_loss(rng);
        }
        if rng.chance(500) {
            for _ in 0..1 + rng.below(3) {
                self.draw_engine_fault(rng);
            }
        }
        if rng.chance(500) {
            for _ in 0..1 + rng.below(4) {
                let site = SiteId(1 + u16::from(rng.chance(500)));
                let at = rng.below(FAULTS_UNTIL_MS);
                self.add(at, Action::KillEngineAtPut(site, 1 + rng.below(8)));
            }
        }
        if rng.chance(250) {
            let at = rng.below(FAULTS_UNTIL_MS);
            self.add(at, Action::CutLink);
            self.add(at + 1_000 + rng.below(25_000), Action::HealLink);
        }
        self.draw_steering(rng);
    }

    /// What operators order of calls that live: to go elsewhere, to stay, to go home after all.
    fn draw_steering(&mut self, rng: &mut Rng) {
        if rng.chance(350) {
            let site = SiteId(1 + u16::from(rng.chance(500)));
            let at = 1_000 + rng.below(FAULTS_UNTIL_MS);
            self.add(at, Action::Evacuate(site, true));
            if rng.chance(200) {
                // Both at once: each wants none of the other's.
                self.add(at + rng.below(3_000), Action::Evacuate(SiteId(3 - site.0), true));
            }
            if rng.chance(600) {
                self.add(at + 500 + rng.below(30_000), Action::Evacuate(site, false));
            }
            // With both sites down a call is lost, whoever has it.
            let is_lost = self.steps.iter().any(|(_, it)| matches!(it, Action::KillSite(_)));
            if !is_lost && rng.chance(600) {
                // The site that is left, or the one that calls go to.
                let lost = SiteId(1 + u16::from(rng.chance(500)));
                let at = at + rng.below(8_000);
                self.add(at, Action::KillSite(lost));
                self.add(at + 500, Action::Route(lost, SiteId(3 - lost.0)));
                self.add(at + 3_000 + rng.below(10_000), Action::StartSite(lost));
                self.add(at + 15_000 + rng.below(8_000), Action::Route(lost, lost));
            }
        }
        if rng.chance(250) {
            let site = SiteId(1 + u16::from(rng.chance(500)));
            let at = 1_000 + rng.below(FAULTS_UNTIL_MS);
            let stop = if rng.chance(500) { Return::Paused } else { Return::Aborted };
            self.add(at, Action::Return(site, stop));
            self.add(at + 500 + rng.below(10_000), Action::Return(site, Return::Runs));
        }
    }

    fn draw_site_loss(&mut self, rng: &mut Rng) {
        let lost = SiteId(1 + u16::from(rng.chance(500)));
        let other = SiteId(3 - lost.0);
        let at = 2_000 + rng.below(35_000);
        let routed = at + 100 + rng.below(4_000);
        if rng.chance(500) {
            self.add(at.saturating_sub(1_500), Action::KillSiteAtPut(lost, 1 + rng.below(12)));
        }
        // Whatever the puts were, it is dead by then.
        self.add(at, Action::KillSite(lost));
        self.add(routed, Action::Route(lost, other));
        if rng.chance(300) {
            self.add(routed + 3_000 + rng.below(2_000), Action::ActivateAll(lost));
        }
        let back = routed + 2_000 + rng.below(25_000);
        self.add(back, Action::StartSite(lost));
        self.add(back + 2_000 + rng.below(8_000), Action::Route(lost, lost));
    }

    fn draw_engine_fault(&mut self, rng: &mut Rng) {
        let site = SiteId(1 + u16::from(rng.chance(500)));
        let index = usize::try_from(rng.below(self.engines as u64)).unwrap_or(0);
        let at = rng.below(FAULTS_UNTIL_MS);
        if rng.chance(300) {
            // A site's only engine may not hang for longer than a test-sized session waits for its
            // refresh.
            let longest = if self.engines > 1 { 14_000 } else { 2_500 };
            let for_ = Duration::from_millis(200 + rng.below(longest));
            self.add(at, Action::PauseEngine(site, index, for_));
        } else {
            self.add(at, Action::KillEngine(site, index));
            self.add(at + 50 + rng.below(8_000), Action::StartEngine(site, index));
        }
    }
}
