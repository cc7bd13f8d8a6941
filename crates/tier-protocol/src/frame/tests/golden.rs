//! The bytes of every word of version 1, kept for ever: `golden/v1/*.txt`, one word a line.
//!
//! Set `WRITE_GOLDEN=1` to write lines for words that have none; a line that is there is never
//! changed, as nodes of that version exist.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use vocab::{CallKey, Epoch, LockToken, ReplicaId, SiteId, Stamp, Version, ViewNumber};

use super::*;
use crate::batch::{self, Entry};
use crate::command::{PutFlags, Veto};
use crate::partition::{Progress, Return, SiteOrder, SiteStatus, Standing, Steering, Sweep};
use crate::peer::{CopiedCall, CopiedRun, CopiedState, KeyRange, PeerWord, SpilledCall};
use crate::quarantine::{SetAside, Strike, StrikeKind};
use crate::record::{Hint, Record, RecordHeader, Tombstone};
use crate::reply::{Cause, DormantOutcome, Refusal};
use crate::site::{
    Course, ForwardedMessage, KeysetEntry, KeysetKind, PullAnswer, SiteState, Superseded,
};
use crate::sweep::SweepWord;
use crate::view::{Seat, SiteMap, SlotMove, SlotSet};

const KEY: CallKey = CallKey(*b"\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff");
const VIEW: ViewNumber = ViewNumber(300);
/// Words that were written before replies said their view.
const NO_VIEW: ViewNumber = ViewNumber(0);
const TOKEN: LockToken = LockToken { view: VIEW, counter: 77 };
const EPOCH: Epoch = Epoch { n: 65_537, site: SiteId(2) };
const STAMP: Stamp = Stamp { epoch: EPOCH, token: TOKEN, version: Version(5) };
const BASE: Stamp = Stamp { epoch: EPOCH, token: TOKEN, version: Version(4) };
const TOMBSTONE: Tombstone = Tombstone { key: KEY, stamp: STAMP };
const PARTITION: PartitionId = PartitionId(3);

fn record() -> Record {
    let header = RecordHeader {
        key: KEY,
        stamp: STAMP,
        origin: SiteId(1),
        backup: Some(SiteId(1)),
        schema: 1,
        age: Duration::from_millis(1500),
        deadline: Some(Duration::from_millis(500)),
        crossing_deadline: Some(Duration::from_secs(1800)),
        hints: vec![(0, Hint::Steady), (4096, Hint::Busy)],
        crossed: vec![(SiteId(1), BASE)],
        newer: crate::Newer::default(),
    };
    let (crossing, local) = (Bytes::from_static(b"crossing"), Bytes::from_static(b"local"));
    Record { header, crossing, local }
}

fn strike(kind: StrikeKind) -> Strike {
    Strike {
        kind,
        engine: EngineId(8),
        token: TOKEN,
        age: Duration::from_millis(20),
        what: "on purpose".into(),
        message: Bytes::from_static(b"INFO sip:b@example.net SIP/2.0\r\n"),
    }
}

fn set_aside() -> SetAside {
    let strikes = StrikeKind::ALL.map(strike).to_vec();
    let age = Duration::from_secs(3);
    SetAside { key: KEY, record: Some(record()), dormant: true, age, strikes }
}

pub(super) fn put() -> TierFrame {
    let flags = PutFlags {
        boundary: true,
        crossing_unchanged: true,
        unreleased: true,
        ..PutFlags::default()
    };
    let command = Command::Put { view: VIEW, record: record(), base: Some(BASE), flags };
    TierFrame::Command { partition: PARTITION, command }
}

fn put_ended() -> TierFrame {
    let flags = PutFlags { ended: true, ..PutFlags::default() };
    let command = Command::Put { view: VIEW, record: record(), base: Some(BASE), flags };
    TierFrame::Command { partition: PARTITION, command }
}

/// One name for each of `Veto::ALL`.
const VETOED: [&str; 8] = [
    "put_vetoed_undecided",
    "put_vetoed_set_up",
    "put_vetoed_leaving",
    "put_vetoed_no_ack",
    "put_vetoed_re_invite",
    "put_vetoed_transaction",
    "put_vetoed_application",
    "put_vetoed_close_requests",
];

fn put_vetoed(veto: Veto) -> TierFrame {
    let flags = PutFlags { veto: Some(veto), ..PutFlags::default() };
    let command = Command::Put { view: VIEW, record: record(), base: Some(BASE), flags };
    TierFrame::Command { partition: PARTITION, command }
}

fn commands() -> Vec<(&'static str, TierFrame)> {
    let (view, key, token, turn, batch) = (VIEW, KEY, TOKEN, 9, 6);
    let tombstone = TOMBSTONE;
    [
        (
            "lock_and_get",
            Command::LockAndGet { view, key, turn, begins: true, cached: Some(STAMP) },
        ),
        ("get", Command::Get { view, key, turn }),
        ("confirm", Command::Confirm { view, key, turn }),
        ("unlock", Command::Unlock { view, key, token }),
        ("renew", Command::Renew { view, key, token }),
        ("delete", Command::Delete { view, tombstone, base: BASE }),
        ("store_dormant", Command::StoreDormant { view, batch, record: record().trimmed() }),
        ("store_tombstone", Command::StoreTombstone { view, batch, tombstone }),
        ("poisoned", Command::Poisoned { view, key, strike: strike(StrikeKind::Panicked) }),
    ]
    .into_iter()
    .map(|(name, command)| (name, TierFrame::Command { partition: PARTITION, command }))
    .chain([("put", put()), ("put_ended", put_ended())])
    .chain(VETOED.into_iter().zip(Veto::ALL.map(put_vetoed)))
    .collect()
}

fn grant(cause: Cause) -> Reply {
    let (key, token, record) = (KEY, TOKEN, Some(record()));
    Reply::Granted { key, token, cause, record, dormant: true, resume: true, floor: None }
}

fn empty_grant(turn: u64) -> Reply {
    let (key, token, cause) = (KEY, TOKEN, Cause::Asked { turn });
    let floor = Some(EPOCH);
    Reply::Granted { key, token, cause, record: None, dormant: false, resume: false, floor }
}

fn replies() -> Vec<(&'static str, TierFrame)> {
    let (key, turn, stamp, batch) = (KEY, 9, STAMP, 6);
    let age = Duration::from_secs(2);
    let refused = |why| Reply::Refused { key, stamp, why };
    let dormant = |outcome| Reply::Dormant { key, batch, outcome };
    [
        ("granted_asked", grant(Cause::Asked { turn })),
        ("granted_above_floor", empty_grant(turn)),
        ("granted_due", grant(Cause::Due)),
        ("granted_resume", grant(Cause::Resume)),
        ("granted_activate", grant(Cause::Activate)),
        ("granted_hand_back", grant(Cause::HandBack { to: SiteId(2) })),
        ("granted_quarantined", grant(Cause::Quarantined)),
        ("unchanged", Reply::Unchanged { key, token: TOKEN, turn, stamp, age }),
        ("queued", Reply::Queued { key, turn }),
        ("busy", Reply::Busy { key, turn }),
        ("not_here", Reply::NotHere { key, turn }),
        ("quarantined", Reply::Quarantined { key, turn }),
        ("stale_view", Reply::StaleView { key, current: VIEW }),
        ("got", Reply::Got { key, turn, record: Some(record()), dormant: true }),
        ("confirmed", Reply::Confirmed { key, turn }),
        ("stored", Reply::Stored { key, stamp }),
        ("refused_old_token", refused(Refusal::OldToken)),
        ("refused_not_the_base", refused(Refusal::NotTheBase { held: Some(BASE) })),
        ("refused_full", refused(Refusal::Full)),
        ("dormant_stored", dormant(DormantOutcome::Stored)),
        ("dormant_stale", dormant(DormantOutcome::Stale)),
        ("dormant_superseded", dormant(DormantOutcome::Superseded { held: EPOCH })),
        ("dormant_full", dormant(DormantOutcome::Full)),
    ]
    .into_iter()
    .map(|(name, reply)| (name, TierFrame::Reply { partition: PARTITION, view: NO_VIEW, reply }))
    .chain([("stored_in_view", stored_in_view())])
    .collect()
}

fn stored_in_view() -> TierFrame {
    let reply = Reply::Stored { key: KEY, stamp: STAMP };
    TierFrame::Reply { partition: PARTITION, view: VIEW, reply }
}

fn message(source: &str) -> ForwardedMessage {
    let source = source.parse().expect("an address");
    let bytes = Bytes::from_static(b"BYE sip:b@example.net SIP/2.0\r\n\r\n");
    ForwardedMessage { key: KEY, epoch: Some(EPOCH), source, bytes }
}

fn links() -> Vec<(&'static str, TierFrame)> {
    let (key, turn, id, from) = (KEY, 9, 6, SiteId(2));
    let (none, superseded) = (Vec::new(), vec![Superseded { key, epoch: EPOCH }]);
    let hello = |dictionary| {
        let (role, name) = (EngineId(8), "engine-1".into());
        TierFrame::Hello { role, name, version: 1, dictionary }
    };
    let in_part = EngineWord::BatchPoison { id, superseded: superseded.clone() };
    let sites = GateWord::Sites {
        here: SiteState::Serving,
        start: 3,
        alive: vec![(SiteId(2), SiteState::Returning), (SiteId(3), SiteState::Serving)],
        wakes_on_message: vec![SiteId(2)],
        inbox: 4,
        waiting: Vec::new(),
    };
    let engine = EngineWord::ForwardTo { site: SiteId(2), message: message("192.0.2.1:5060") };
    let bytes = Bytes::from_static(b"batch");
    let view = PartitionView {
        partition: PARTITION,
        number: VIEW,
        led_since: NO_VIEW,
        members: vec![ReplicaId(1), ReplicaId(1000)],
        joining: vec![ReplicaId(3)],
        slots: SlotSet::ALL,
        life: 0,
    };
    let (led_since, slots) = (ViewNumber(7), SlotSet::share(1, 2));
    let half = PartitionView { led_since, slots, ..view.clone() };
    vec![
        ("view_of_half", TierFrame::View(half)),
        ("hello", hello(0)),
        ("hello_dictionary", hello(1)),
        ("engine_forward_to", TierFrame::Engine(engine)),
        ("engine_pull", TierFrame::Engine(EngineWord::Pull { key, turn })),
        ("engine_batch_done", TierFrame::Engine(EngineWord::BatchDone { id, superseded })),
        ("engine_batch_deferred", TierFrame::Engine(EngineWord::BatchDeferred { id })),
        (
            "engine_batch_poison",
            TierFrame::Engine(EngineWord::BatchPoison { id, superseded: none }),
        ),
        ("engine_batch_poison_in_part", TierFrame::Engine(in_part)),
        ("gate_sites", TierFrame::Gate(sites)),
        (
            "gate_pulled",
            TierFrame::Gate(GateWord::Pulled { key, turn, answer: PullAnswer::Yours(record()) }),
        ),
        (
            "gate_forwarded",
            TierFrame::Gate(GateWord::Forwarded { from, message: message("[2001:db8::1]:5060") }),
        ),
        ("gate_batch", TierFrame::Gate(GateWord::Batch { id, from, bytes, waited_ms: 12 })),
        ("view", TierFrame::View(view)),
        ("replica", replica()),
        ("seats", TierFrame::Seats(vec![seat()])),
        ("seats_told", TierFrame::Seats(vec![Seat { partitions: 2, replicas: 3, ..seat() }])),
        ("ping", TierFrame::Ping),
        ("pong", TierFrame::Pong),
    ]
}

fn replica() -> TierFrame {
    let (replica, partition, name) = (ReplicaId(1000), PARTITION, "state-a".into());
    TierFrame::Replica { replica, partition, name, version: 1 }
}

fn seat() -> Seat {
    let (name, address) = ("state-a".into(), "192.0.2.1:9000".into());
    Seat {
        replica: ReplicaId(1000),
        partition: PARTITION,
        name,
        address,
        partitions: 0,
        replicas: 0,
    }
}

fn copied() -> CopiedCall {
    let state = CopiedState { unreleased: true, at_boundary: true, ..CopiedState::default() };
    CopiedCall {
        record: record(),
        state,
        lock: Some((EngineId(8), TOKEN)),
        floor: TOKEN,
        activated_from: Some(EPOCH),
        marks: vec![SiteId(1)],
    }
}

fn spilled() -> SpilledCall {
    SpilledCall {
        key: KEY,
        stamp: STAMP,
        due_in: Some(Duration::from_secs(1800)),
        digest: 77,
        state: CopiedState { at_boundary: true, known_elsewhere: true, ..CopiedState::default() },
        origin: SiteId(1),
        activated_from: Some(EPOCH),
        marks: vec![SiteId(1)],
    }
}

fn barely_spilled() -> SpilledCall {
    let state = CopiedState { is_dormant: true, ..CopiedState::default() };
    SpilledCall { due_in: None, state, activated_from: None, marks: Vec::new(), ..spilled() }
}

fn peers() -> Vec<(&'static str, TierFrame)> {
    let (view, key, after, number) = (VIEW, KEY, Some(KEY), 5);
    let range = KeyRange { after, to: None };
    let page_of = |run| {
        let (next, total, floor) = (after, 9, TOKEN);
        PeerWord::CopyPage { view, after, run, next, total, floor }
    };
    let page = |calls, spilled| page_of(CopiedRun { calls, spilled, ..CopiedRun::default() });
    let (removed, untold) = (vec![(key, STAMP)], vec![(key, SiteId(2))]);
    let over = CopiedRun { removed, untold, ..CopiedRun::default() };
    let repaired = |calls, spilled| {
        let (gone, floor) = (vec![key], TOKEN);
        PeerWord::Repaired { view, calls, spilled, gone, floor }
    };
    let stamps = vec![(key, STAMP)];
    let (site, id, missing) = (SiteId(2), 7, vec![key]);
    let (calls, removals) = (stamps.clone(), stamps.clone());
    let ship = PeerWord::Ship { view, site, id, calls, removals };
    let shipped = PeerWord::Shipped { view, site, id, missing, bytes: 300, raw_bytes: 500 };
    [
        ("ping", PeerWord::Ping { number }),
        ("pong", PeerWord::Pong { number }),
        ("copy_ask", PeerWord::CopyAsk { view, after, calls_max: 200 }),
        ("copy_page", page(vec![copied()], vec![])),
        ("copy_page_spilled", page(vec![], vec![spilled(), barely_spilled()])),
        ("copy_page_removed", page_of(over)),
        ("compare", PeerWord::Compare { view, range, digest: 77 }),
        ("compare_ask", PeerWord::CompareAsk { view, range }),
        ("compare_keys", PeerWord::CompareKeys { view, range, calls: vec![(key, 77)] }),
        ("repair", PeerWord::Repair { view, keys: vec![key] }),
        ("news", PeerWord::News { revision: 300, store_revision: 301, map: map() }),
        ("repaired", repaired(vec![copied()], vec![])),
        ("repaired_spilled", repaired(vec![], vec![spilled()])),
        ("crossed", PeerWord::Crossed { site: SiteId(2), calls: stamps.clone() }),
        ("ship", ship),
        ("shipped", shipped),
        ("spilled", PeerWord::Spilled { view, calls: stamps.clone() }),
        ("spilled_ask", PeerWord::SpilledAsk { view, calls: stamps.clone() }),
        ("rows_ask", PeerWord::RowsAsk { view, calls: stamps.clone() }),
        ("rows_free", PeerWord::RowsFree { view, calls: stamps }),
        ("view_ask", PeerWord::ViewAsk { view, ask: 9 }),
        ("view_same", PeerWord::ViewSame { view, ask: 9 }),
        ("struck", PeerWord::Struck { view, strikes: vec![(key, strike(StrikeKind::Broken))] }),
        ("quarantined", PeerWord::Quarantined { view, aside: set_aside() }),
        ("removed", PeerWord::Removed { view, tombstone: TOMBSTONE }),
        ("quarantine_dropped", PeerWord::QuarantineDropped { view, keys: vec![key] }),
    ]
    .into_iter()
    .map(|(name, word)| (name, TierFrame::Peer(word)))
    .collect()
}

fn progress_of(site: SiteId) -> Progress {
    Progress {
        active: 7,
        moved: vec![(site, 3)],
        refills: 2,
        dormant: vec![(site, 5)],
        ordered: vec![(site, 1)],
        at_risk: vec![(site, 4)],
        backed_up_at: Some(site),
        ..Progress::default()
    }
}

/// Words between a site's gate and its partitions.
fn partitions() -> Vec<(&'static str, TierFrame)> {
    let (key, ask, id, site) = (KEY, 11, 6, SiteId(2));
    let status = SiteStatus {
        site,
        state: SiteState::Returning,
        start: 3,
        dictionary: 1,
        course: Course::default(),
    };
    let alive = vec![status];
    let status_of = |alive, steering| {
        let (view, here, waiting) = (NO_VIEW, SiteState::Serving, vec![SiteId(3)]);
        SiteInput::Status { view, here, alive, waiting, steering }
    };
    let steering = Steering::default();
    let steered = Steering {
        evacuate_to: Some(site),
        returning: Return::Paused,
        backup_to: Some(SiteId(3)),
        standing: Standing::default(),
    };
    let course = Course { evacuates: true, backup_to: Some(SiteId(3)), sweeps: false };
    let on_course = vec![SiteStatus { course, ..status }];
    let progress = progress_of(site);
    let entries = vec![KeysetEntry { key, epoch: EPOCH, kind: KeysetKind::Moved }];
    let order = SiteInput::Order;
    let pulled = |from| SiteInput::Pulled { from, key, answer: PullAnswer::NoSuch };
    let page = SiteInput::KeysetPage { from: site, entries: entries.clone() };
    let to = [
        ("status", status_of(alive, steering)),
        ("status_steered", status_of(on_course, steered)),
        ("batch_stored", SiteInput::BatchStored { site, id }),
        ("batch_refused", SiteInput::BatchRefused { site, id }),
        ("link_down", SiteInput::LinkDown { view: NO_VIEW, site }),
        ("superseded", SiteInput::Superseded(vec![Superseded { key, epoch: EPOCH }])),
        ("keyset_ask", SiteInput::KeysetAsk { site, cursor: Some(key), ask }),
        ("pull", SiteInput::Pull { site, key, ask }),
        ("keyset_page", page),
        ("pulled", pulled(Some(site))),
        ("pulled_from_none", pulled(None)),
        ("settled", SiteInput::Settled { life: 4 }),
        ("progress_ask", SiteInput::ProgressAsk),
        ("activate_all", order(SiteOrder::ActivateAll { site, force: false })),
        ("activate_all_forced", order(SiteOrder::ActivateAll { site, force: true })),
        ("stop_activating", order(SiteOrder::StopActivating { site })),
        ("drop_backup", order(SiteOrder::DropBackup { site })),
        ("replication_on", order(SiteOrder::Replication { site, on: true })),
        ("replication_off", order(SiteOrder::Replication { site, on: false })),
        ("sweep", order(SiteOrder::Sweep { site })),
    ];
    let (view, bytes, answer) =
        (VIEW, Bytes::from_static(b"batch"), PullAnswer::Yours(record().trimmed()));
    let from = [
        ("gate_publish", GateBound::Publish { site, id, view, bytes }),
        ("gate_keyset_page", GateBound::KeysetPage { site, ask, entries, next: Some(key) }),
        ("gate_pull_answer", GateBound::PullAnswer { site, ask, key, answer }),
        ("gate_pull", GateBound::Pull { key }),
        ("gate_progress", GateBound::Progress(progress)),
    ];
    let to = to.into_iter().map(|(name, word)| (name, TierFrame::ToPartition(word)));
    let partition = PARTITION;
    to.chain(from.into_iter().map(|(name, word)| (name, TierFrame::ToGate { partition, word })))
        .chain(of_keepers_and_sweeps())
        .collect()
}

fn of_keepers_and_sweeps() -> Vec<(&'static str, TierFrame)> {
    let (ask, site, partition, view) = (11, SiteId(2), PARTITION, VIEW);
    let swept = Sweep { slots_left: 9, done: 8, found: 7, repaired: 6, unanswered: 5, ended_ms: 4 };
    let progress = Progress { swept: vec![(site, swept)], ..Progress::default() };
    let word = SweepWord::Same { slot: vocab::Slot(5) };
    let status = SiteInput::Status {
        view,
        here: SiteState::Serving,
        alive: Vec::new(),
        waiting: Vec::new(),
        steering: Steering::default(),
    };
    let standing = Standing {
        number: 7,
        activating: [site].into(),
        forced: [(site, 3)].into(),
        deleting: [SiteId(3)].into(),
        stopped: [site, SiteId(3)].into(),
    };
    let ordered = SiteInput::Status {
        view,
        here: SiteState::Serving,
        alive: Vec::new(),
        waiting: Vec::new(),
        steering: Steering { standing, ..Steering::default() },
    };
    let going = Progress {
        heard: Some(7),
        activating: vec![site],
        deleting: vec![SiteId(3)],
        ..Progress::default()
    };
    let to = [
        ("status_in_view", status),
        ("status_of_standing_orders", ordered),
        ("link_down_in_view", SiteInput::LinkDown { view, site }),
        ("keeper_ask", SiteInput::KeeperAsk { keeper: ReplicaId(1000), ask }),
        ("compare", SiteInput::Order(SiteOrder::Compare { site })),
        ("sweep_word", SiteInput::Sweep { site, ask, word: word.clone() }),
    ];
    let from = [
        ("gate_progress_swept", GateBound::Progress(progress)),
        ("gate_progress_of_orders", GateBound::Progress(going)),
        ("gate_sweep_word", GateBound::Sweep { site, ask, word }),
        ("gate_keeper", GateBound::Keeper { ask, is_confirmed: true }),
    ];
    let to = to.into_iter().map(|(name, word)| (name, TierFrame::ToPartition(word)));
    to.chain(from.into_iter().map(|(name, word)| (name, TierFrame::ToGate { partition, word })))
        .collect()
}

fn map() -> SiteMap {
    let view = PartitionView {
        slots: SlotSet::share(0, 2),
        ..PartitionView::alone(PARTITION, VIEW, ReplicaId(1000))
    };
    let slots = SlotSet::share(1, 4);
    let moved = SlotMove { from: PARTITION, to: PartitionId(4), slots, replicas: 3 };
    let (partitions, seats, moves) = (vec![view], vec![seat()], vec![moved]);
    SiteMap { last: VIEW, partitions, seats, moves, settled: 0 }
}

fn sites() -> Vec<(&'static str, SiteFrame)> {
    let (key, id, ask, partition) = (KEY, 6, 11, PARTITION);
    let entry = |kind| KeysetEntry { key, epoch: EPOCH, kind };
    let entries = vec![entry(KeysetKind::Moved), entry(KeysetKind::Dormant)];
    let pulled = |answer| SiteWord::Pulled { key, ask, answer };
    let on_course = |state, dictionary, course| SiteWord::Hello {
        site: SiteId(2),
        start: 3,
        state,
        dictionary,
        course,
    };
    let greeting = |state, dictionary| on_course(state, dictionary, Course::default());
    let hello = |state| greeting(state, 0);
    let course = Course { evacuates: true, backup_to: Some(SiteId(1)), sweeps: false };
    let sweeps = Course { sweeps: true, ..Course::default() };
    let sweep = |word| SiteWord::Sweep { ask, word };
    let (slot, stamp) = (vocab::Slot(5), record().header.stamp);
    let bytes = Bytes::from_static(b"batch");
    [
        ("hello_returning", hello(SiteState::Returning)),
        ("hello_serving", hello(SiteState::Serving)),
        ("hello_dictionary", greeting(SiteState::Serving, 1)),
        ("hello_evacuates", on_course(SiteState::Serving, 1, course)),
        ("batch", SiteWord::Batch { id, partition, view: VIEW, bytes }),
        ("batch_stored", SiteWord::BatchStored { id, partition }),
        ("batch_refused", SiteWord::BatchRefused { id, partition }),
        ("superseded", SiteWord::Superseded(vec![Superseded { key, epoch: EPOCH }])),
        ("keyset_ask", SiteWord::KeysetAsk { cursor: Some(key) }),
        ("keyset_page", SiteWord::KeysetPage { entries, next: Some(key), ask_later: true }),
        ("pull", SiteWord::Pull { key, ask }),
        ("pulled_yours", pulled(PullAnswer::Yours(record().trimmed()))),
        ("pulled_lives", pulled(PullAnswer::Lives(EPOCH))),
        ("pulled_no_such", pulled(PullAnswer::NoSuch)),
        ("pulled_ask_later", pulled(PullAnswer::AskLater)),
        ("forward", SiteWord::Forward(message("192.0.2.1:5060"))),
        ("hello_sweeps", on_course(SiteState::Serving, 1, sweeps)),
        ("sweep_digest", sweep(SweepWord::Digest { slot, calls: 3, digest: 9 })),
        ("sweep_same", sweep(SweepWord::Same { slot })),
        ("sweep_differs", sweep(SweepWord::Differs { slot })),
        ("sweep_calls", sweep(SweepWord::Calls { slot, calls: vec![(key, stamp)] })),
        ("sweep_lacks", sweep(SweepWord::Lacks { slot, keys: vec![key] })),
        ("sweep_wanted", sweep(SweepWord::Wanted)),
    ]
    .into_iter()
    .map(|(name, word)| (name, SiteFrame(word)))
    .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn unhex(text: &str) -> Bytes {
    (0..text.len() / 2)
        .map(|i| u8::from_str_radix(&text[2 * i..2 * i + 2], 16).expect("hexadecimal digits"))
        .collect()
}

/// The lines of a golden file, with lines for `words` added when asked to.
fn golden(file: &str, words: &[(&str, Bytes)]) -> BTreeMap<String, Bytes> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "golden", "v1", file].iter().collect();
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let mut lines: BTreeMap<String, Bytes> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, bytes)| (name.to_owned(), unhex(bytes)))
        .collect();
    if std::env::var_os("WRITE_GOLDEN").is_some() {
        for (name, bytes) in words {
            lines.entry((*name).to_owned()).or_insert_with(|| bytes.clone());
        }
        let text = lines.iter().fold(String::new(), |mut text, (name, bytes)| {
            let _ = writeln!(text, "{name} {}", hex(bytes));
            text
        });
        std::fs::write(&path, text).expect("the golden folder can be written to");
    }
    lines
}

fn check<F: Frame + PartialEq + std::fmt::Debug>(
    file: &str,
    frames: Vec<(&'static str, F)>,
    encode_into: fn(&F, &mut BytesMut),
) {
    let encoded = |frame: &F| {
        let mut out = BytesMut::new();
        encode_into(frame, &mut out);
        out.freeze()
    };
    let words: Vec<_> = frames.iter().map(|(name, frame)| (*name, encoded(frame))).collect();
    let golden = golden(file, &words);
    assert_eq!(golden.len(), frames.len(), "{file}: one line for each word");
    for ((name, frame), (_, bytes)) in frames.into_iter().zip(words) {
        let kept = golden.get(name).unwrap_or_else(|| panic!("{file} lacks {name}"));
        assert_eq!(hex(kept), hex(&bytes), "{file}: {name} is written in another way");
        let mut decoder = Decoder::<F>::new(MAX);
        decoder.push(kept);
        assert_eq!(decoder.poll(), Ok(Some(frame)), "{file}: {name} is read in another way");
    }
}

#[test]
fn commands_keep_their_bytes() {
    check("command.txt", commands(), TierFrame::encode_into);
}

#[test]
fn replies_keep_their_bytes() {
    check("reply.txt", replies(), TierFrame::encode_into);
}

#[test]
fn words_between_replicas_keep_their_bytes() {
    check("peer.txt", peers(), TierFrame::encode_into);
}

#[test]
fn words_of_the_gate_to_partitions_keep_their_bytes() {
    check("partition.txt", partitions(), TierFrame::encode_into);
}

#[test]
fn a_kept_map_is_read_as_ever() {
    let golden = golden("map.txt", &[("map", map().encode())]);
    assert_eq!(hex(&golden["map"]), hex(&map().encode()));
    assert_eq!(SiteMap::decode(golden["map"].clone()), Ok(map()));
}

#[test]
fn other_tier_words_keep_their_bytes() {
    check("tier.txt", links(), TierFrame::encode_into);
}

#[test]
fn site_words_keep_their_bytes() {
    check("site.txt", sites(), SiteFrame::encode_into);
}

#[test]
fn a_kept_batch_is_read_as_ever() {
    // Only reading is compared: another zstd may compress in another way.
    let entries = [Entry::Record(record().trimmed()), Entry::Tombstone(TOMBSTONE)];
    let twenty: Vec<_> = entries.iter().cloned().cycle().take(20).collect();
    let words = [
        ("as_is", batch::encode(&entries[1..])),
        ("zstd", batch::encode(&twenty)),
        ("dictionary_1", batch::encode_for(&entries, 1).bytes),
    ];
    let golden = golden("batch.txt", &words);
    assert_eq!(batch::decode(&golden["as_is"], MAX), Ok(entries[1..].to_vec()));
    assert_eq!(batch::decode(&golden["zstd"], MAX), Ok(twenty));
    assert_eq!(batch::dictionary_of(&golden["dictionary_1"]), 1);
    assert_eq!(batch::decode(&golden["dictionary_1"], MAX), Ok(entries.to_vec()));
}
