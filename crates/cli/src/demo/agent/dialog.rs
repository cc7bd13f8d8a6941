//! One end of one call: its dialog (RFC 3261 §12) and what it was told.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sip_message::{Bytes, Method, Request, Uri};

/// Answers kept for repeated requests, per dialog.
const ANSWERS_MAX: usize = 16;

/// What one end of a call was told, in the order of time.
#[derive(Clone, Debug, Default)]
pub(in crate::demo) struct Facts {
    /// When the call was answered: the 2xx came, or its ACK did.
    pub(in crate::demo) answered_at: Option<Instant>,
    /// How it ended.
    pub(in crate::demo) over: Option<Over>,
    /// Refreshes that the other side made by itself. Repetitions are not counted.
    pub(in crate::demo) refreshed_at: Vec<Instant>,
    /// Re-INVITEs of the other agent that arrived here.
    pub(in crate::demo) relayed: u32,
    /// BYE requests, repetitions not counted.
    pub(in crate::demo) byes: u32,
    /// Requests whose CSeq number was not above that of the request before.
    pub(in crate::demo) cseq_back: u32,
    /// 2xx responses that were never acknowledged.
    pub(in crate::demo) no_ack: u32,
    /// What became of this agent's requests.
    pub(in crate::demo) outcomes: Vec<Outcome>,
}

/// How a call ended at one end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::demo) enum Over {
    /// This agent hung up, and its BYE was answered so (`None`: not at all).
    HungUp(Option<u16>),
    /// A BYE arrived.
    PeerHungUp,
    /// The INVITE was refused so (`None`: not answered).
    Refused(Option<u16>),
}

/// What became of one request.
#[derive(Clone, Debug)]
pub(in crate::demo) struct Outcome {
    pub(in crate::demo) method: Method,
    /// Inside a dialog.
    pub(in crate::demo) in_dialog: bool,
    /// Its final response, `None` when there was none in 64*T1.
    pub(in crate::demo) status: Option<u16>,
    /// When it was sent for the first time.
    pub(in crate::demo) sent_at: Instant,
    /// From its first sending to its final response, repetitions included.
    pub(in crate::demo) took: Duration,
}

/// A 2xx that is repeated until its ACK comes.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) cseq: u32,
    pub(super) bytes: Bytes,
    pub(super) to: std::net::SocketAddr,
    pub(super) next_at: Instant,
    pub(super) interval: Duration,
    pub(super) since: Instant,
}

/// An INVITE that rings here.
#[derive(Debug)]
pub(super) struct Ringing {
    pub(super) request: Request,
    pub(super) source: std::net::SocketAddr,
    pub(super) answer_at: Instant,
}

/// One end of one call.
#[derive(Debug)]
pub(in crate::demo) struct Dialog {
    pub(super) call_id: Bytes,
    /// The From value of our requests.
    pub(super) local: Bytes,
    /// The To value of our requests; the peer's tag is in it once it is known.
    pub(super) remote: Bytes,
    pub(super) target: Uri,
    /// Route values of our requests.
    pub(super) routes: Vec<Bytes>,
    pub(super) cseq: u32,
    pub(super) remote_cseq: Option<u32>,
    pub(super) sdp_version: u32,
    pub(super) ringing: Option<Ringing>,
    pub(super) accepted: Option<Accepted>,
    /// The last ACK of a 2xx, and its CSeq number.
    pub(super) ack: Option<(u32, Bytes)>,
    /// A re-INVITE that met another request is sent again then (§14.1).
    pub(super) ask_again_at: Option<Instant>,
    answers: VecDeque<((Bytes, Method), Bytes)>,
    pub(super) facts: Facts,
}

impl Dialog {
    pub(super) fn new(call_id: Bytes, local: Bytes, remote: Bytes, target: Uri) -> Self {
        Self {
            call_id,
            local,
            remote,
            target,
            routes: Vec::new(),
            cseq: 0,
            remote_cseq: None,
            sdp_version: 1,
            ringing: None,
            accepted: None,
            ack: None,
            ask_again_at: None,
            answers: VecDeque::new(),
            facts: Facts::default(),
        }
    }

    /// What was answered to this very request before.
    pub(super) fn answer_to(&self, branch: &Bytes, method: &Method) -> Option<&Bytes> {
        self.answers
            .iter()
            .rev()
            .find(|((kept_branch, kept_method), _)| kept_branch == branch && kept_method == method)
            .map(|(_, bytes)| bytes)
    }

    pub(super) fn keep_answer(&mut self, branch: Bytes, method: Method, bytes: Bytes) {
        if self.answers.len() == ANSWERS_MAX {
            self.answers.pop_front();
        }
        self.answers.push_back(((branch, method), bytes));
    }
}
