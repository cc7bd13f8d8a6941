//! What an engine counts. Plain numbers: the shell gives them their metric names.

/// Counters since the start, and a few gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Gauge: turns at the moment.
    pub turns: u64,
    /// Gauge: messages that wait in turns.
    pub inputs: u64,
    /// Gauge: their bytes.
    pub inputs_bytes: u64,
    /// Datagrams taken in.
    pub datagrams: u64,
    /// Datagrams that were not SIP or broke a rule.
    pub malformed: u64,
    /// Responses whose top Via is not ours, and ACKs that belong to nothing.
    pub strays: u64,
    /// Words of replicas that were said in another view, or by one that does not lead.
    pub other_view: u64,
    /// Words of primaries that other members confirmed.
    pub confirmed: u64,
    /// Messages dropped because the same one waits already.
    pub repeated: u64,
    /// Requests that begin calls, refused with 503.
    pub refused_overload: u64,
    /// REGISTERs refused with 503, as more came than the engine takes.
    pub refused_registrations: u64,
    /// Requests that begin calls, refused as the site is returning, the engine drains or the tier
    /// is away.
    pub refused_closed: u64,
    /// Messages dropped for lack of room.
    pub dropped_overload: u64,
    /// Messages dropped because the partition's link broke.
    pub dropped_tier: u64,
    /// Messages dropped because a lock, a put or another site's answer did not come in time.
    pub dropped_late: u64,
    /// Messages dropped because no site could tell where the call is, or none may take it.
    pub dropped_homeless: u64,
    /// Requests answered 481 because no site holds the call.
    pub no_such_call: u64,
    /// Calls begun.
    pub begun: u64,
    /// Calls ended: their records were removed.
    pub ended: u64,
    /// Puts stored.
    pub stored: u64,
    /// Puts and removals refused: their inputs were stepped again on the newer state.
    pub refused_puts: u64,
    /// Gauge: decoded calls that are kept between turns.
    pub cached: u64,
    /// Turns that needed no decoding.
    pub cache_hits: u64,
    /// Turns that changed nothing and stored nothing.
    pub unchanged: u64,
    /// Effects released.
    pub released: u64,
    /// Of them, accounting records.
    pub accounts: u64,
    /// Due calls worked.
    pub due: u64,
    /// Grants whose unreleased effects were sent again.
    pub resumed: u64,
    /// Requests answered 302, as their call lives at another site.
    pub redirected: u64,
    /// Calls that woke here.
    pub activated: u64,
    /// Messages of sleeping calls that ring, put off as newer states may be on the queue.
    pub early_put_off: u64,
    /// Calls that woke ringing all the same, as the queue was not drained in time.
    pub early_in_doubt: u64,
    /// Calls handed back to another site.
    pub handed_back: u64,
    /// Hand-backs put off because the call was not steady.
    pub hand_back_later: u64,
    /// Messages forwarded to the site where their call lives.
    pub forwarded_out: u64,
    /// Messages that another site forwarded here.
    pub forwarded_in: u64,
    /// Responses that passed through on their way back from another site.
    pub forwarded_responses: u64,
    /// Asks to other sites for a call.
    pub pulls: u64,
    /// Calls that another site gave us on such an ask.
    pub pulled: u64,
    /// 2xx responses for calls that no site holds, answered with ACK and BYE.
    pub ghosts: u64,
    /// Offered datagrams given back to the edge.
    pub bounced: u64,
    /// Turns that panicked. Each is a defect.
    pub panics: u64,
    /// Calls set aside as they broke turns, that were ended here.
    pub torn_down: u64,
    /// Calls set aside that could not be ended: they were removed without a word.
    pub not_torn_down: u64,
    /// Messages answered 500 as beginning their call has broken engines.
    pub refused_poison: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Turns over records that only a newer version can read: they stay as they are.
    pub needs_newer: u64,
    /// Locks that nobody waited for any more when they came.
    pub orphan_grants: u64,
    /// Batches of other sites applied.
    pub batches_done: u64,
    /// Batches put off for lack of room.
    pub batches_deferred: u64,
    /// Batches that made room for SIP: refused, or put off in their middle.
    pub batches_yielded: u64,
    /// Batches that could not be read, or not in all their entries.
    pub batches_poison: u64,
    /// Entries of batches that could not be read; the others were stored.
    pub entries_poison: u64,
    /// Records and tombstones of those batches that were stored.
    pub entries_stored: u64,
    /// Those that were stale.
    pub entries_stale: u64,
    /// Those whose sender must yield.
    pub entries_superseded: u64,
}
