//! A call told to an operator: plain words and numbers, nothing that a program should parse.

use servlet::{Hint, Side};
use vocab::Instant;

use crate::crossing::{ApplicationState, Leg, LegState};
use crate::local::{Asking, Cancel, Purpose, Serving};
use crate::session_timer::Refresher;
use crate::{Call, Veto};

/// What `rehome calls KEY` shows of one call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Legs in the order in which they were opened.
    pub legs: Vec<LegSummary>,
    /// Transactions and where they stand.
    pub transactions: Vec<String>,
    /// Deadlines and what they are for.
    pub deadlines: Vec<String>,
    /// Applications, their hints and what they keep.
    pub applications: Vec<String>,
    /// What speaks against copying the call elsewhere now.
    pub veto: Option<Veto>,
}

/// One leg.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LegSummary {
    /// `caller` or `callee`.
    pub side: String,
    /// Where it stands.
    pub state: String,
    /// Our address in it.
    pub local: String,
    /// The peer's address.
    pub remote: String,
    /// Where requests to the peer go.
    pub remote_target: String,
    /// The last CSeq of ours.
    pub local_cseq: u32,
    /// The last CSeq of the peer's; 0 when it sent none.
    pub remote_cseq: u32,
    /// Seconds since the call began.
    pub age_s: u64,
    /// The session timer, if one runs.
    pub session_timer: String,
}

impl Call {
    /// The call as an operator sees it.
    #[must_use]
    pub fn summary(&self, now: Instant) -> Summary {
        let age_s = now.since(self.crossing.begun_at).as_secs();
        let servings = self.local.servings.iter().map(of_serving);
        let askings = self.local.askings.iter().map(of_asking);
        let states = self.crossing.applications.iter();
        Summary {
            legs: self.crossing.legs.iter().map(|leg| of_leg(leg, age_s, now)).collect(),
            transactions: servings.chain(askings).collect(),
            deadlines: self.deadlines(now),
            applications: states.map(of_application).collect(),
            veto: self.veto(),
        }
    }

    fn deadlines(&self, now: Instant) -> Vec<String> {
        let mut told = Vec::new();
        if let Some(at) = self.local.next_deadline() {
            told.push(format!("transaction in {}", seconds(at, now)));
        }
        for leg in &self.crossing.legs {
            let Some(timer) = leg.timer else { continue };
            if let Some(at) = timer.refresh_at {
                told.push(format!("refresh of leg {} in {}", leg.id, seconds(at, now)));
            }
            told.push(format!("expiry of leg {} in {}", leg.id, seconds(timer.expire_at, now)));
        }
        for state in &self.crossing.applications {
            for (name, at) in &state.timers {
                told.push(format!("timer {name:?} in {}", seconds(*at, now)));
            }
        }
        told
    }
}

fn of_leg(leg: &Leg, age_s: u64, now: Instant) -> LegSummary {
    let dialog = &leg.dialogs[0];
    LegSummary {
        side: match leg.side {
            Side::Uas => "caller".to_owned(),
            Side::Uac => "callee".to_owned(),
        },
        state: match leg.state {
            LegState::Opening => format!("opening, {} dialogs", leg.dialogs.len()),
            LegState::Confirmed => "confirmed".to_owned(),
            LegState::Leaving => "leaving: BYE waits for the ACK".to_owned(),
        },
        local: text(&leg.local),
        remote: text(&leg.remote),
        remote_target: text(&dialog.target),
        local_cseq: dialog.local_cseq,
        remote_cseq: dialog.remote_cseq.unwrap_or(0),
        age_s,
        session_timer: leg.timer.map_or_else(String::new, |timer| {
            let who = match timer.refresher {
                Refresher::Us => "refreshed by us",
                Refresher::Peer => "refreshed by the peer",
            };
            let left = seconds(timer.expire_at, now);
            format!("{} s, {who}, ends in {left}", timer.interval.as_secs())
        }),
    }
}

fn of_serving(serving: &Serving) -> String {
    let state = if serving.is_deferred {
        "decision deferred"
    } else if serving.is_pending() {
        "pending"
    } else if serving.unacknowledged.is_some() {
        "waits for its ACK"
    } else {
        "answered"
    };
    format!("{} {} from the peer: {state}", serving.cseq, serving.key().method)
}

fn of_asking(asking: &Asking) -> String {
    let purpose = match asking.purpose {
        Purpose::Relay { .. } => "relayed",
        Purpose::Refresh => "refresh",
        Purpose::Ending => "ending",
    };
    let cancel = match asking.cancel {
        Cancel::No => "",
        Cancel::Wanted => ", to be cancelled",
        Cancel::Sent => ", cancelled",
    };
    let state = if asking.is_pending() { "pending" } else { "answered" };
    format!("{} {} of ours ({purpose}): {state}{cancel}", asking.cseq, asking.method())
}

fn of_application(state: &ApplicationState) -> String {
    let hint = match state.hint {
        None => "no hint",
        Some(Hint::Steady) => "steady",
        Some(Hint::Busy) => "busy",
    };
    let bytes: usize = state.attributes.iter().map(|(name, value)| name.len() + value.len()).sum();
    let (timers, attributes) = (state.timers.len(), state.attributes.len());
    format!(
        "application {}: {hint}, {attributes} attributes of {bytes} bytes, {timers} timers",
        state.index
    )
}

fn seconds(at: Instant, now: Instant) -> String {
    format!("{:.1} s", at.since(now).as_secs_f64())
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}
