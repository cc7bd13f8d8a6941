//! Is a site dead? Judged from what observers say of it, with hysteresis; and what to do about it.
//!
//! ```text
//!             somebody misses it            all miss it, for `dead_after`
//!   Healthy ─────────────────────► Suspected ────────────────────────────► Dead
//!      ▲ ▲                             │                                  │   ▲
//!      │ └── all hear it, `dead_after` ┘           somebody hears it again│   │all miss it,
//!      │                                                                  ▼   │`dead_after`
//!      └───────────── all hear it, for `healthy_after` ───────────────── Recovering
//! ```
//! Each state is left for want of nothing but what it waits for: a site that comes and goes faster
//! than `dead_after` stays `Suspected`, or `Recovering`, and never flaps. *All miss it* wants this
//! balancer and one observer more, of any kind; one that hears the site is proof that it lives. So
//! a cut link between two sites is no death: the balancer still hears the engines of both.
//!
//! Deliberately absent: failing back, which is the operator's, and any death beyond the first one
//! that was acted upon (decision 15).

mod advice;
mod evidence;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use vocab::{Instant, SiteId};

use crate::Policy;
pub use advice::Advice;
use evidence::{Evidence, Observers};
pub use evidence::{Kind, Observed, Observer};

/// Time between two tries to order the activation.
const ORDER_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// Tries after which the operator is told to order it.
const ORDERS_MAX: u32 = 12;

/// What the judge is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Home to the site that keeps its copies and would serve its calls.
    pub backups: BTreeMap<SiteId, SiteId>,
    /// Sites that can be ordered to wake calls.
    pub orderable: BTreeSet<SiteId>,
    /// A site that all miss for so long is dead.
    pub dead_after: Duration,
    /// A site that was dead and that all hear for so long is healthy.
    pub healthy_after: Duration,
    /// Act upon a death, once. Without it, only tell what should be done.
    pub auto_failover: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            backups: BTreeMap::new(),
            orderable: BTreeSet::new(),
            dead_after: Duration::from_secs(5),
            healthy_after: Duration::from_secs(30),
            auto_failover: false,
        }
    }
}

/// What comes in.
#[derive(Clone, Debug)]
pub enum Input {
    /// An observer says whether a site answers it.
    Observed {
        /// Who.
        observer: Observer,
        /// Of whom.
        site: SiteId,
        /// Whether it answers.
        answers: bool,
        /// How long this is worth anything without being said again.
        valid_for: Duration,
    },
    /// The policy in force is another.
    Policy(Policy),
    /// What became of [`Output::Activate`]: calls it is about, or why not.
    Activation {
        /// The dead site.
        home: SiteId,
        /// The answer.
        answer: Result<u64, String>,
    },
    /// The moment of [`Output::WakeAt`] has come.
    Wake,
}

/// What goes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Put this policy in force.
    SetPolicy(Policy),
    /// Order `at` to wake the calls that it keeps for `home`.
    Activate {
        /// The dead site.
        home: SiteId,
        /// Who keeps its copies.
        at: SiteId,
    },
    /// Nothing more to do before this moment, unless something comes in.
    WakeAt(Instant),
}

/// How a site is judged, by the name of its state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Waits for somebody to miss it.
    Healthy,
    /// Waits for all to miss it for long enough, or for all to hear it.
    Suspected,
    /// Waits for somebody to hear it.
    Dead,
    /// Was dead; waits for all to hear it for long enough, or for all to miss it again.
    Recovering,
}

/// For how long the observers have agreed, while a state waits for that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Agreed {
    missed_since: Option<Instant>,
    heard_since: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Healthy,
    Suspected(Agreed),
    Dead,
    Recovering(Agreed),
}

#[derive(Debug)]
struct Site {
    state: State,
    since: Instant,
    observers: Observers,
}

/// The one death that was acted upon.
#[derive(Clone, Debug, PartialEq, Eq)]
struct FailOver {
    home: SiteId,
    to: SiteId,
    /// The shares before.
    weights: BTreeMap<SiteId, u32>,
    order: Order,
}

/// The order to wake its calls.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Order {
    /// Nobody knows whom to order.
    Impossible,
    /// Waits for the answer.
    Asked { tries: u32 },
    /// Waits to be given again.
    Again { tries: u32, at: Instant, why: String },
    /// It was taken.
    Taken { calls: u64 },
    /// It was given up.
    Failed { why: String },
}

/// A site as it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SiteHealth {
    /// The site.
    pub site: SiteId,
    /// The judgement.
    pub standing: Standing,
    /// For how long.
    pub since: Duration,
    /// Who says what.
    pub observers: Vec<Observed>,
    /// What is done about it, or should be.
    pub advice: Option<Advice>,
}

/// Judges the sites of one balancer. See the module.
#[derive(Debug)]
pub struct Judge {
    config: Config,
    sites: BTreeMap<SiteId, Site>,
    policy: Policy,
    acted: Option<FailOver>,
    outputs: VecDeque<Output>,
    /// The moment of the last input.
    judged_at: Instant,
}

impl Judge {
    /// A judge that has heard of no site yet: each is suspected until all hear it.
    #[must_use]
    pub fn new(
        now: Instant,
        config: Config,
        sites: impl IntoIterator<Item = SiteId>,
        policy: Policy,
    ) -> Self {
        let begun = || Site {
            state: State::Suspected(Agreed::default()),
            since: now,
            observers: Observers::default(),
        };
        let sites = sites.into_iter().map(|site| (site, begun())).collect();
        Self { config, sites, policy, acted: None, outputs: VecDeque::new(), judged_at: now }
    }

    /// The door in.
    pub fn handle_input(&mut self, now: Instant, input: Input) {
        match input {
            Input::Observed { observer, site, answers, valid_for } => {
                if let Some(site) = self.sites.get_mut(&site) {
                    site.observers.note(now, observer, answers, valid_for);
                }
            }
            Input::Policy(policy) => self.policy = policy,
            Input::Activation { home, answer } => self.note_answer(now, home, answer),
            Input::Wake => {}
        }
        self.judged_at = now;
        for site in self.sites.values_mut() {
            site.judge(now, &self.config);
        }
        self.act(now);
    }

    /// The door out: drained until it says [`Output::WakeAt`].
    pub fn poll_output(&mut self) -> Output {
        if let Some(output) = self.outputs.pop_front() {
            return output;
        }
        let again = match self.acted.as_ref().map(|acted| &acted.order) {
            Some(Order::Again { at, .. }) => Some(*at),
            Some(
                Order::Impossible
                | Order::Asked { .. }
                | Order::Taken { .. }
                | Order::Failed { .. },
            )
            | None => None,
        };
        let at = self.judged_at;
        let sites = self.sites.values().filter_map(|site| site.wake_at(at, &self.config));
        Output::WakeAt(sites.chain(again).min().unwrap_or(Instant::NEVER))
    }

    /// Every site as it is judged.
    #[must_use]
    pub fn picture(&self, now: Instant) -> Vec<SiteHealth> {
        let of = |(&id, site): (&SiteId, &Site)| SiteHealth {
            site: id,
            standing: site.standing(),
            since: now.since(site.since),
            observers: site.observers.picture(now),
            advice: advice::of(self, id),
        };
        self.sites.iter().map(of).collect()
    }

    fn standing(&self, site: SiteId) -> Option<Standing> {
        self.sites.get(&site).map(Site::standing)
    }

    fn act(&mut self, now: Instant) {
        if let Some(acted) = &self.acted
            && self.standing(acted.home) == Some(Standing::Healthy)
            && self.policy.serves(acted.home) == acted.home
        {
            // The operator sent its calls home: the next death is a new one.
            self.acted = None;
        }
        match &self.acted {
            Some(_) => self.order_again(now),
            None if self.config.auto_failover => self.fail_over(),
            None => {}
        }
    }

    /// Never a second site beside the first, never one whose calls the operator has sent away,
    /// never to a site that is not healthy itself.
    fn fail_over(&mut self) {
        let dead = self.sites.iter().find_map(|(&home, site)| {
            let is_dead = site.standing() == Standing::Dead && self.policy.serves(home) == home;
            let to = self.config.backups.get(&home).copied().filter(|_| is_dead)?;
            (self.standing(to) == Some(Standing::Healthy)).then_some((home, to))
        });
        let Some((home, to)) = dead else { return };
        let weights = self.policy.weights.clone();
        self.policy = without(&self.policy, home, to);
        self.outputs.push_back(Output::SetPolicy(self.policy.clone()));
        let order = match self.config.orderable.contains(&to) {
            true => {
                self.outputs.push_back(Output::Activate { home, at: to });
                Order::Asked { tries: 1 }
            }
            false => Order::Impossible,
        };
        self.acted = Some(FailOver { home, to, weights, order });
    }

    fn order_again(&mut self, now: Instant) {
        let Some(acted) = &mut self.acted else { return };
        let Order::Again { tries, at, why } = &acted.order else { return };
        let is_dead =
            self.sites.get(&acted.home).is_some_and(|site| site.standing() == Standing::Dead);
        if !is_dead {
            acted.order = Order::Failed { why: why.clone() };
        } else if *at <= now {
            acted.order = Order::Asked { tries: tries + 1 };
            self.outputs.push_back(Output::Activate { home: acted.home, at: acted.to });
        }
    }

    fn note_answer(&mut self, now: Instant, home: SiteId, answer: Result<u64, String>) {
        let Some(acted) = self.acted.as_mut().filter(|acted| acted.home == home) else { return };
        let Order::Asked { tries } = acted.order else { return };
        acted.order = match answer {
            Ok(calls) => Order::Taken { calls },
            Err(why) if tries >= ORDERS_MAX => Order::Failed { why },
            Err(why) => Order::Again { tries, at: now + ORDER_AGAIN_AFTER, why },
        };
    }
}

impl Site {
    fn standing(&self) -> Standing {
        match self.state {
            State::Healthy => Standing::Healthy,
            State::Suspected(_) => Standing::Suspected,
            State::Dead => Standing::Dead,
            State::Recovering(_) => Standing::Recovering,
        }
    }

    /// A state that waits for agreement to last is looked at when it would have.
    fn judge(&mut self, now: Instant, config: &Config) {
        let evidence = self.observers.evidence(now);
        let (dead_after, healthy_after) = (config.dead_after, config.healthy_after);
        let next = match self.state {
            State::Healthy => match evidence {
                Evidence::Heard | Evidence::Nothing => State::Healthy,
                Evidence::Missed | Evidence::Unconfirmed | Evidence::Divided => {
                    State::Suspected(Agreed::default().noting(now, evidence))
                }
            },
            State::Suspected(agreed) => {
                let agreed = agreed.noting(now, evidence);
                if is_over(agreed.missed_since, dead_after, now) {
                    State::Dead
                } else if is_over(agreed.heard_since, dead_after, now) {
                    State::Healthy
                } else {
                    State::Suspected(agreed)
                }
            }
            State::Dead => match evidence {
                Evidence::Missed | Evidence::Unconfirmed | Evidence::Nothing => State::Dead,
                Evidence::Heard | Evidence::Divided => {
                    State::Recovering(Agreed::default().noting(now, evidence))
                }
            },
            State::Recovering(agreed) => {
                // Its death was confirmed once: to be dead again wants no second observer.
                let agreed = match evidence {
                    Evidence::Unconfirmed => agreed.noting(now, Evidence::Missed),
                    Evidence::Missed | Evidence::Heard | Evidence::Divided | Evidence::Nothing => {
                        agreed.noting(now, evidence)
                    }
                };
                if is_over(agreed.missed_since, dead_after, now) {
                    State::Dead
                } else if is_over(agreed.heard_since, healthy_after, now) {
                    State::Healthy
                } else {
                    State::Recovering(agreed)
                }
            }
        };
        let before = self.standing();
        self.state = next;
        if self.standing() != before {
            self.since = now;
        }
    }

    fn wake_at(&self, now: Instant, config: &Config) -> Option<Instant> {
        let silence = self.observers.next_silence(now);
        let (agreed, healthy_after) = match self.state {
            State::Suspected(agreed) => (agreed, config.dead_after),
            State::Recovering(agreed) => (agreed, config.healthy_after),
            State::Healthy | State::Dead => return silence,
        };
        let dead = agreed.missed_since.map(|since| since + config.dead_after);
        let healthy = agreed.heard_since.map(|since| since + healthy_after);
        [dead, healthy, silence].into_iter().flatten().min()
    }
}

impl Agreed {
    fn noting(self, now: Instant, evidence: Evidence) -> Self {
        let going_on = |since: Option<Instant>, holds: bool| holds.then(|| since.unwrap_or(now));
        Self {
            missed_since: going_on(self.missed_since, evidence == Evidence::Missed),
            heard_since: going_on(self.heard_since, evidence == Evidence::Heard),
        }
    }
}

fn is_over(since: Option<Instant>, span: Duration, now: Instant) -> bool {
    since.is_some_and(|since| now >= since + span)
}

/// The policy in which `to` has all that `home` had.
fn without(policy: &Policy, home: SiteId, to: SiteId) -> Policy {
    let Policy { version, mut serves, mut weights } = policy.clone();
    serves.insert(home, to);
    serves.values_mut().filter(|by| **by == home).for_each(|by| *by = to);
    let share = weights.insert(home, 0).unwrap_or(0);
    let whole = weights.get(&to).copied().unwrap_or(0).saturating_add(share);
    weights.insert(to, whole.max(1));
    Policy { version: version + 1, serves, weights }
}

#[cfg(test)]
mod tests;
