//! A call told to an operator: plain words and numbers, nothing that a program should parse.

use vocab::Instant;

use crate::Call;

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
    /// Whether the call is at a transaction boundary.
    pub at_boundary: bool,
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
    /// The last CSeq of the peer's.
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
        let _ = now;
        Summary::default()
    }
}
