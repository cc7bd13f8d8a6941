//! Any word at all, for the properties.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use bytes::Bytes;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::option::of;
use proptest::prelude::*;
use vocab::{
    CallKey, EngineId, Epoch, LockToken, PartitionId, ReplicaId, SiteId, Stamp, Version, ViewNumber,
};

use crate::batch::Entry;
use crate::command::{Command, PutFlags, Veto};
use crate::frame::{SiteFrame, TierFrame};
use crate::partition::{
    GateBound, Progress, Return, SiteInput, SiteOrder, SiteStatus, Standing, Steering, Sweep,
};
use crate::peer::{CopiedCall, CopiedRun, CopiedState, KeyRange, PeerWord, SpilledCall};
use crate::quarantine::{SetAside, Strike, StrikeKind};
use crate::record::{Hint, Record, RecordHeader, Tombstone};
use crate::reply::{Cause, DormantOutcome, Refusal, Reply};
use crate::site::{
    Course, EngineWord, ForwardedMessage, GateWord, KeysetEntry, KeysetKind, PullAnswer, SiteState,
    SiteWord, Superseded,
};
use crate::sweep::SweepWord;
use crate::view::{PartitionView, Seat, SiteMap, SlotMove, SlotSet};

fn key() -> impl Strategy<Value = CallKey> {
    any::<[u8; 16]>().prop_map(CallKey)
}

fn site() -> impl Strategy<Value = SiteId> {
    any::<u16>().prop_map(SiteId)
}

fn view() -> impl Strategy<Value = ViewNumber> {
    any::<u64>().prop_map(ViewNumber)
}

fn partition() -> impl Strategy<Value = PartitionId> {
    any::<u16>().prop_map(PartitionId)
}

fn epoch() -> impl Strategy<Value = Epoch> {
    (any::<u64>(), site()).prop_map(|(n, site)| Epoch { n, site })
}

fn token() -> impl Strategy<Value = LockToken> {
    (view(), any::<u64>()).prop_map(|(view, counter)| LockToken { view, counter })
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (epoch(), token(), any::<u64>()).prop_map(|(epoch, token, version)| Stamp {
        epoch,
        token,
        version: Version(version),
    })
}

fn duration() -> impl Strategy<Value = Duration> {
    any::<u64>().prop_map(Duration::from_nanos)
}

fn body() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..200).prop_map(Bytes::from)
}

fn hint() -> impl Strategy<Value = Hint> {
    prop_oneof![Just(Hint::Steady), Just(Hint::Busy)]
}

/// Fields of a later version of the header.
fn newer() -> impl Strategy<Value = Bytes> {
    let number = 13_u32..100_000;
    vec((number, prop_oneof![any::<u64>().prop_map(Ok), body().prop_map(Err)]), 0..3).prop_map(
        |fields| {
            let mut out = Vec::new();
            for (number, value) in fields {
                match value {
                    Ok(value) => prost::encoding::uint64::encode(number, &value, &mut out),
                    Err(value) => prost::encoding::bytes::encode(number, &value, &mut out),
                }
            }
            out.into()
        },
    )
}

fn header() -> impl Strategy<Value = RecordHeader> {
    let names = (key(), stamp(), site(), of(site()), any::<u32>());
    let times = (duration(), of(duration()), of(duration()));
    let (hints, crossed) = (vec((any::<u16>(), hint()), 0..4), vec((site(), stamp()), 0..3));
    let lists = (hints, crossed, newer());
    (names, times, lists).prop_map(|(names, times, lists)| {
        let (key, stamp, origin, backup, schema) = names;
        let (age, deadline, crossing_deadline) = times;
        let (hints, crossed, newer) = lists;
        RecordHeader {
            key,
            stamp,
            origin,
            backup,
            schema,
            age,
            deadline,
            crossing_deadline,
            hints,
            crossed,
            newer: newer.into(),
        }
    })
}

pub(crate) fn record() -> impl Strategy<Value = Record> {
    (header(), body(), body()).prop_map(|(header, crossing, local)| Record {
        header,
        crossing,
        local,
    })
}

fn tombstone() -> impl Strategy<Value = Tombstone> {
    (key(), stamp()).prop_map(|(key, stamp)| Tombstone { key, stamp })
}

pub(crate) fn entry() -> impl Strategy<Value = Entry> {
    prop_oneof![record().prop_map(Entry::Record), tombstone().prop_map(Entry::Tombstone)]
}

fn veto() -> impl Strategy<Value = Veto> {
    (0..Veto::ALL.len()).prop_map(|at| Veto::ALL[at])
}

fn flags() -> impl Strategy<Value = PutFlags> {
    (any::<(bool, bool, bool, bool)>(), of(veto())).prop_map(
        |((boundary, crossing_unchanged, unreleased, ended), veto)| PutFlags {
            boundary,
            veto,
            crossing_unchanged,
            unreleased,
            ended,
        },
    )
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        (view(), key(), any::<u64>(), any::<bool>(), of(stamp())).prop_map(
            |(view, key, turn, begins, cached)| Command::LockAndGet {
                view,
                key,
                turn,
                begins,
                cached
            }
        ),
        (view(), key(), any::<u64>()).prop_map(|(view, key, turn)| Command::Get {
            view,
            key,
            turn
        }),
        (view(), key(), any::<u64>()).prop_map(|(view, key, turn)| Command::Confirm {
            view,
            key,
            turn
        }),
        (view(), record(), of(stamp()), flags())
            .prop_map(|(view, record, base, flags)| Command::Put { view, record, base, flags }),
        (view(), key(), token()).prop_map(|(view, key, token)| Command::Unlock {
            view,
            key,
            token
        }),
        (view(), key(), token()).prop_map(|(view, key, token)| Command::Renew { view, key, token }),
        (view(), tombstone(), stamp()).prop_map(|(view, tombstone, base)| Command::Delete {
            view,
            tombstone,
            base
        }),
        (view(), any::<u64>(), record()).prop_map(|(view, batch, record)| Command::StoreDormant {
            view,
            batch,
            record
        }),
        (view(), any::<u64>(), tombstone()).prop_map(|(view, batch, tombstone)| {
            Command::StoreTombstone { view, batch, tombstone }
        }),
        (view(), key(), strike()).prop_map(|(view, key, strike)| Command::Poisoned {
            view,
            key,
            strike
        }),
    ]
}

fn cause() -> impl Strategy<Value = Cause> {
    prop_oneof![
        any::<u64>().prop_map(|turn| Cause::Asked { turn }),
        Just(Cause::Due),
        Just(Cause::Resume),
        Just(Cause::Activate),
        site().prop_map(|to| Cause::HandBack { to }),
        Just(Cause::Quarantined),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop_oneof![
        Just(Refusal::OldToken),
        of(stamp()).prop_map(|held| Refusal::NotTheBase { held }),
        Just(Refusal::Full),
    ]
}

fn outcome() -> impl Strategy<Value = DormantOutcome> {
    prop_oneof![
        Just(DormantOutcome::Stored),
        Just(DormantOutcome::Stale),
        epoch().prop_map(|held| DormantOutcome::Superseded { held }),
        Just(DormantOutcome::Full),
    ]
}

fn reply() -> impl Strategy<Value = Reply> {
    let turn = any::<u64>;
    prop_oneof![
        (key(), token(), cause(), of(record()), any::<(bool, bool)>(), of(epoch())).prop_map(
            |(key, token, cause, record, (dormant, resume), floor)| Reply::Granted {
                key,
                token,
                cause,
                record,
                dormant,
                resume,
                floor
            }
        ),
        (key(), token(), turn(), stamp(), duration()).prop_map(|(key, token, turn, stamp, age)| {
            Reply::Unchanged { key, token, turn, stamp, age }
        }),
        (key(), turn()).prop_map(|(key, turn)| Reply::Queued { key, turn }),
        (key(), turn()).prop_map(|(key, turn)| Reply::Busy { key, turn }),
        (key(), turn()).prop_map(|(key, turn)| Reply::NotHere { key, turn }),
        (key(), turn()).prop_map(|(key, turn)| Reply::Quarantined { key, turn }),
        (key(), view()).prop_map(|(key, current)| Reply::StaleView { key, current }),
        (key(), turn(), of(record()), any::<bool>())
            .prop_map(|(key, turn, record, dormant)| { Reply::Got { key, turn, record, dormant } }),
        (key(), turn()).prop_map(|(key, turn)| Reply::Confirmed { key, turn }),
        (key(), stamp()).prop_map(|(key, stamp)| Reply::Stored { key, stamp }),
        (key(), stamp(), refusal()).prop_map(|(key, stamp, why)| Reply::Refused {
            key,
            stamp,
            why
        }),
        (key(), any::<u64>(), outcome()).prop_map(|(key, batch, outcome)| Reply::Dormant {
            key,
            batch,
            outcome
        }),
    ]
}

fn strike() -> impl Strategy<Value = Strike> {
    let kind = prop::sample::select(StrikeKind::ALL.to_vec());
    (kind, any::<u64>(), token(), duration(), "[ -~]{0,20}", body()).prop_map(
        |(kind, engine, token, age, what, message)| Strike {
            kind,
            engine: EngineId(engine),
            token,
            age,
            what,
            message,
        },
    )
}

fn set_aside() -> impl Strategy<Value = SetAside> {
    (key(), of(record()), any::<bool>(), duration(), vec(strike(), 0..3)).prop_map(
        |(key, record, dormant, age, strikes)| SetAside { key, record, dormant, age, strikes },
    )
}

fn state() -> impl Strategy<Value = SiteState> {
    prop_oneof![Just(SiteState::Returning), Just(SiteState::Serving)]
}

/// Sites are numbered from 1 up.
fn real_site() -> impl Strategy<Value = SiteId> {
    (1..=u16::MAX).prop_map(SiteId)
}

fn site_status() -> impl Strategy<Value = SiteStatus> {
    (site(), state(), any::<u64>(), any::<u16>(), course()).prop_map(
        |(site, state, start, dictionary, course)| SiteStatus {
            site,
            state,
            start,
            dictionary,
            course,
        },
    )
}

fn course() -> impl Strategy<Value = Course> {
    (any::<bool>(), of(real_site()), any::<bool>())
        .prop_map(|(evacuates, backup_to, sweeps)| Course { evacuates, backup_to, sweeps })
}

fn sweep_word() -> impl Strategy<Value = SweepWord> {
    let slot = || (0..vocab::SLOTS).prop_map(vocab::Slot);
    prop_oneof![
        (slot(), any::<u64>(), any::<u64>()).prop_map(|(slot, calls, digest)| SweepWord::Digest {
            slot,
            calls,
            digest
        }),
        slot().prop_map(|slot| SweepWord::Same { slot }),
        slot().prop_map(|slot| SweepWord::Differs { slot }),
        (slot(), stamps()).prop_map(|(slot, calls)| SweepWord::Calls { slot, calls }),
        (slot(), vec(key(), 0..4)).prop_map(|(slot, keys)| SweepWord::Lacks { slot, keys }),
        Just(SweepWord::Wanted),
    ]
}

fn sweep() -> impl Strategy<Value = Sweep> {
    (any::<u32>(), any::<[u64; 5]>()).prop_map(|(slots_left, numbers)| {
        let [done, found, repaired, unanswered, ended_ms] = numbers;
        Sweep { slots_left, done, found, repaired, unanswered, ended_ms }
    })
}

fn steering() -> impl Strategy<Value = Steering> {
    let returning = prop_oneof![Just(Return::Runs), Just(Return::Paused), Just(Return::Aborted)];
    (of(real_site()), returning, of(real_site()), standing()).prop_map(
        |(evacuate_to, returning, backup_to, standing)| Steering {
            evacuate_to,
            returning,
            backup_to,
            standing,
        },
    )
}

fn standing() -> impl Strategy<Value = Standing> {
    let sites = || btree_set(site(), 0..3);
    (any::<u64>(), sites(), btree_map(site(), any::<u64>(), 0..3), sites(), sites()).prop_map(
        |(number, activating, forced, deleting, stopped)| Standing {
            number,
            activating,
            forced,
            deleting,
            stopped,
        },
    )
}

fn progress() -> impl Strategy<Value = Progress> {
    let counts = || vec((site(), any::<u64>()), 0..4);
    let numbers = (any::<u64>(), any::<u64>(), of(real_site()));
    let swept = vec((site(), sweep()), 0..3);
    let orders = (of(0..u64::MAX), vec(site(), 0..3), vec(site(), 0..3));
    (numbers, counts(), counts(), counts(), counts(), swept, orders).prop_map(
        |((active, refills, backed_up_at), moved, dormant, ordered, at_risk, swept, orders)| {
            let (heard, activating, deleting) = orders;
            Progress {
                active,
                moved,
                refills,
                dormant,
                ordered,
                at_risk,
                backed_up_at,
                swept,
                heard,
                activating,
                deleting,
            }
        },
    )
}

fn site_order() -> impl Strategy<Value = SiteOrder> {
    prop_oneof![
        (site(), any::<bool>()).prop_map(|(site, force)| SiteOrder::ActivateAll { site, force }),
        site().prop_map(|site| SiteOrder::StopActivating { site }),
        site().prop_map(|site| SiteOrder::DropBackup { site }),
        (site(), any::<bool>()).prop_map(|(site, on)| SiteOrder::Replication { site, on }),
        site().prop_map(|site| SiteOrder::Sweep { site }),
        site().prop_map(|site| SiteOrder::Compare { site }),
    ]
}

fn site_input() -> impl Strategy<Value = SiteInput> {
    let id = any::<u64>;
    prop_oneof![
        (id(), state(), vec(site_status(), 0..4), vec(site(), 0..4), steering()).prop_map(
            |(view, here, alive, waiting, steering)| {
                let view = ViewNumber(view);
                SiteInput::Status { view, here, alive, waiting, steering }
            }
        ),
        (site(), id()).prop_map(|(site, id)| SiteInput::BatchStored { site, id }),
        (site(), id()).prop_map(|(site, id)| SiteInput::BatchRefused { site, id }),
        (id(), site())
            .prop_map(|(view, site)| SiteInput::LinkDown { view: ViewNumber(view), site }),
        superseded().prop_map(SiteInput::Superseded),
        (site(), of(key()), id()).prop_map(|(site, cursor, ask)| SiteInput::KeysetAsk {
            site,
            cursor,
            ask
        }),
        (site(), key(), id()).prop_map(|(site, key, ask)| SiteInput::Pull { site, key, ask }),
        (site(), vec(keyset_entry(), 0..5))
            .prop_map(|(from, entries)| SiteInput::KeysetPage { from, entries }),
        (of(real_site()), key(), answer()).prop_map(|(from, key, answer)| SiteInput::Pulled {
            from,
            key,
            answer
        }),
        id().prop_map(|life| SiteInput::Settled { life }),
        site_order().prop_map(SiteInput::Order),
        Just(SiteInput::ProgressAsk),
        (replica(), id()).prop_map(|(keeper, ask)| SiteInput::KeeperAsk { keeper, ask }),
        (site(), id(), sweep_word()).prop_map(|(site, ask, word)| SiteInput::Sweep {
            site,
            ask,
            word
        }),
    ]
}

fn gate_bound() -> impl Strategy<Value = GateBound> {
    let id = any::<u64>;
    prop_oneof![
        (site(), id(), view(), body()).prop_map(|(site, id, view, bytes)| GateBound::Publish {
            site,
            id,
            view,
            bytes
        }),
        (site(), id(), vec(keyset_entry(), 0..5), of(key())).prop_map(
            |(site, ask, entries, next)| GateBound::KeysetPage { site, ask, entries, next }
        ),
        (site(), id(), key(), answer())
            .prop_map(|(site, ask, key, answer)| GateBound::PullAnswer { site, ask, key, answer }),
        key().prop_map(|key| GateBound::Pull { key }),
        progress().prop_map(GateBound::Progress),
        (id(), any::<bool>())
            .prop_map(|(ask, is_confirmed)| GateBound::Keeper { ask, is_confirmed }),
        (site(), id(), sweep_word()).prop_map(|(site, ask, word)| GateBound::Sweep {
            site,
            ask,
            word
        }),
    ]
}

fn superseded() -> impl Strategy<Value = Vec<Superseded>> {
    vec((key(), epoch()).prop_map(|(key, epoch)| Superseded { key, epoch }), 0..5)
}

fn keyset_entry() -> impl Strategy<Value = KeysetEntry> {
    let kind = prop_oneof![Just(KeysetKind::Moved), Just(KeysetKind::Dormant)];
    (key(), epoch(), kind).prop_map(|(key, epoch, kind)| KeysetEntry { key, epoch, kind })
}

fn answer() -> impl Strategy<Value = PullAnswer> {
    prop_oneof![
        record().prop_map(PullAnswer::Yours),
        epoch().prop_map(PullAnswer::Lives),
        Just(PullAnswer::NoSuch),
        Just(PullAnswer::AskLater),
    ]
}

fn address() -> impl Strategy<Value = SocketAddr> {
    prop_oneof![
        any::<(u32, u16)>().prop_map(|(ip, port)| SocketAddr::from((Ipv4Addr::from(ip), port))),
        any::<(u128, u16, u32, u32)>().prop_map(|(ip, port, flow, scope)| {
            SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::from(ip), port, flow, scope))
        }),
    ]
}

fn message() -> impl Strategy<Value = ForwardedMessage> {
    (key(), of(epoch()), address(), body())
        .prop_map(|(key, epoch, source, bytes)| ForwardedMessage { key, epoch, source, bytes })
}

fn site_word() -> impl Strategy<Value = SiteWord> {
    let id = any::<u64>;
    prop_oneof![
        (site(), id(), state(), any::<u16>(), course()).prop_map(
            |(site, start, state, dictionary, course)| SiteWord::Hello {
                site,
                start,
                state,
                dictionary,
                course
            }
        ),
        (id(), partition(), view(), body()).prop_map(|(id, partition, view, bytes)| {
            SiteWord::Batch { id, partition, view, bytes }
        }),
        (id(), partition()).prop_map(|(id, partition)| SiteWord::BatchStored { id, partition }),
        (id(), partition()).prop_map(|(id, partition)| SiteWord::BatchRefused { id, partition }),
        superseded().prop_map(SiteWord::Superseded),
        of(key()).prop_map(|cursor| SiteWord::KeysetAsk { cursor }),
        (vec(keyset_entry(), 0..5), of(key()), any::<bool>()).prop_map(
            |(entries, next, ask_later)| SiteWord::KeysetPage { entries, next, ask_later }
        ),
        (key(), id()).prop_map(|(key, ask)| SiteWord::Pull { key, ask }),
        (key(), id(), answer()).prop_map(|(key, ask, answer)| SiteWord::Pulled {
            key,
            ask,
            answer
        }),
        message().prop_map(SiteWord::Forward),
        (id(), sweep_word()).prop_map(|(ask, word)| SiteWord::Sweep { ask, word }),
    ]
}

fn engine_word() -> impl Strategy<Value = EngineWord> {
    let id = any::<u64>;
    prop_oneof![
        (site(), message()).prop_map(|(site, message)| EngineWord::ForwardTo { site, message }),
        (key(), id()).prop_map(|(key, turn)| EngineWord::Pull { key, turn }),
        (id(), superseded()).prop_map(|(id, superseded)| EngineWord::BatchDone { id, superseded }),
        id().prop_map(|id| EngineWord::BatchDeferred { id }),
        (id(), superseded())
            .prop_map(|(id, superseded)| EngineWord::BatchPoison { id, superseded }),
    ]
}

fn gate_word() -> impl Strategy<Value = GateWord> {
    let id = any::<u64>;
    let sites = (state(), id(), vec((site(), state()), 0..4), vec(site(), 0..4), id());
    let sites = (sites, vec(site(), 0..4));
    prop_oneof![
        sites.prop_map(|((here, start, alive, wakes_on_message, inbox), waiting)| {
            GateWord::Sites { here, start, alive, wakes_on_message, inbox, waiting }
        }),
        (key(), id(), answer()).prop_map(|(key, turn, answer)| GateWord::Pulled {
            key,
            turn,
            answer
        }),
        (site(), message()).prop_map(|(from, message)| GateWord::Forwarded { from, message }),
        (id(), site(), body(), id()).prop_map(|(id, from, bytes, waited_ms)| GateWord::Batch {
            id,
            from,
            bytes,
            waited_ms
        }),
    ]
}

fn partition_view() -> impl Strategy<Value = PartitionView> {
    let names = (vec(replica(), 0..4), vec(replica(), 0..3));
    (partition(), view(), view(), names, slots(), any::<u64>()).prop_map(
        |(partition, number, led_since, (members, joining), slots, life)| PartitionView {
            partition,
            number,
            led_since,
            members,
            joining,
            slots,
            life,
        },
    )
}

fn replica() -> impl Strategy<Value = ReplicaId> {
    any::<u64>().prop_map(ReplicaId)
}

fn slots() -> impl Strategy<Value = SlotSet> {
    (0..4_u16, 1..5_u16).prop_map(|(index, count)| SlotSet::share(index % count, count))
}

fn seat() -> impl Strategy<Value = Seat> {
    let told = (any::<u16>(), any::<u16>());
    (replica(), partition(), "[a-z0-9-]{0,20}", "[a-z0-9.:]{0,20}", told).prop_map(
        |(replica, partition, name, address, (partitions, replicas))| Seat {
            replica,
            partition,
            name,
            address,
            partitions,
            replicas,
        },
    )
}

fn site_map() -> impl Strategy<Value = SiteMap> {
    let moved = (partition(), partition(), slots(), any::<u16>());
    let moved =
        moved.prop_map(|(from, to, slots, replicas)| SlotMove { from, to, slots, replicas });
    let parts = (vec(partition_view(), 0..3), vec(seat(), 0..3), vec(moved, 0..2));
    (view(), parts, any::<u64>()).prop_map(|(last, (partitions, seats, moves), settled)| SiteMap {
        last,
        partitions,
        seats,
        moves,
        settled,
    })
}

fn copied_state() -> impl Strategy<Value = CopiedState> {
    (any::<[bool; 12]>(), of(veto())).prop_map(|(facts, veto)| CopiedState {
        is_dormant: facts[0],
        is_stub: facts[1],
        is_given: facts[2],
        unreleased: facts[3],
        at_boundary: facts[4],
        was_at_boundary: facts[5],
        known_elsewhere: facts[6],
        ends_when_free: facts[7],
        has_ended: facts[8],
        end_told: facts[9],
        is_condemned: facts[10],
        is_torn_down: facts[11],
        veto,
    })
}

fn copied_call() -> impl Strategy<Value = CopiedCall> {
    let lock = of((any::<u64>().prop_map(EngineId), token()));
    (record(), copied_state(), lock, token(), of(epoch()), vec(site(), 0..3)).prop_map(
        |(record, state, lock, floor, activated_from, marks)| CopiedCall {
            record,
            state,
            lock,
            floor,
            activated_from,
            marks,
        },
    )
}

fn spilled_call() -> impl Strategy<Value = SpilledCall> {
    let due_in = of(any::<u64>().prop_map(Duration::from_nanos));
    (key(), stamp(), due_in, any::<u64>(), copied_state(), site(), of(epoch()), vec(site(), 0..3))
        .prop_map(|(key, stamp, due_in, digest, state, origin, activated_from, marks)| {
            SpilledCall { key, stamp, due_in, digest, state, origin, activated_from, marks }
        })
}

fn stamps() -> impl Strategy<Value = Vec<(CallKey, Stamp)>> {
    vec((key(), stamp()), 0..4)
}

fn range() -> impl Strategy<Value = KeyRange> {
    (of(key()), of(key())).prop_map(|(after, to)| KeyRange { after, to })
}

fn copy_page() -> impl Strategy<Value = PeerWord> {
    let calls = (vec(copied_call(), 0..3), vec(spilled_call(), 0..3));
    let run = (calls, stamps(), vec((key(), site()), 0..3)).prop_map(
        |((calls, spilled), removed, untold)| CopiedRun { calls, spilled, removed, untold },
    );
    (view(), of(key()), run, of(key()), any::<u64>(), token()).prop_map(
        |(view, after, run, next, total, floor)| PeerWord::CopyPage {
            view,
            after,
            run,
            next,
            total,
            floor,
        },
    )
}

fn repaired() -> impl Strategy<Value = PeerWord> {
    let calls = (vec(copied_call(), 0..3), vec(spilled_call(), 0..3));
    (view(), calls, vec(key(), 0..3), token()).prop_map(|(view, (calls, spilled), gone, floor)| {
        PeerWord::Repaired { view, calls, spilled, gone, floor }
    })
}

fn peer_word() -> impl Strategy<Value = PeerWord> {
    let number = any::<u64>;
    prop_oneof![
        number().prop_map(|number| PeerWord::Ping { number }),
        number().prop_map(|number| PeerWord::Pong { number }),
        (number(), number(), site_map()).prop_map(|(revision, store_revision, map)| {
            PeerWord::News { revision, store_revision, map }
        }),
        (view(), of(key()), any::<u32>()).prop_map(|(view, after, calls_max)| PeerWord::CopyAsk {
            view,
            after,
            calls_max
        }),
        copy_page(),
        (view(), range(), number()).prop_map(|(view, range, digest)| PeerWord::Compare {
            view,
            range,
            digest
        }),
        (view(), range()).prop_map(|(view, range)| PeerWord::CompareAsk { view, range }),
        (view(), range(), vec((key(), number()), 0..4))
            .prop_map(|(view, range, calls)| PeerWord::CompareKeys { view, range, calls }),
        (view(), vec(key(), 0..4)).prop_map(|(view, keys)| PeerWord::Repair { view, keys }),
        repaired(),
        (site(), stamps()).prop_map(|(site, calls)| PeerWord::Crossed { site, calls }),
        (view(), site(), any::<u64>(), stamps(), stamps()).prop_map(
            |(view, site, id, calls, removals)| PeerWord::Ship { view, site, id, calls, removals }
        ),
        (view(), site(), any::<u64>(), vec(key(), 0..4), any::<[u64; 2]>()).prop_map(
            |(view, site, id, missing, [bytes, raw_bytes])| {
                PeerWord::Shipped { view, site, id, missing, bytes, raw_bytes }
            }
        ),
        (view(), stamps()).prop_map(|(view, calls)| PeerWord::Spilled { view, calls }),
        (view(), stamps()).prop_map(|(view, calls)| PeerWord::SpilledAsk { view, calls }),
        (view(), stamps()).prop_map(|(view, calls)| PeerWord::RowsAsk { view, calls }),
        (view(), stamps()).prop_map(|(view, calls)| PeerWord::RowsFree { view, calls }),
        (view(), any::<u64>()).prop_map(|(view, ask)| PeerWord::ViewAsk { view, ask }),
        (view(), any::<u64>()).prop_map(|(view, ask)| PeerWord::ViewSame { view, ask }),
        (view(), vec((key(), strike()), 0..3))
            .prop_map(|(view, strikes)| PeerWord::Struck { view, strikes }),
        (view(), set_aside()).prop_map(|(view, aside)| PeerWord::Quarantined { view, aside }),
        (view(), tombstone()).prop_map(|(view, tombstone)| PeerWord::Removed { view, tombstone }),
        (view(), vec(key(), 0..4))
            .prop_map(|(view, keys)| PeerWord::QuarantineDropped { view, keys }),
    ]
}

pub(crate) fn tier_frame() -> impl Strategy<Value = TierFrame> {
    prop_oneof![
        1 => (any::<u64>(), "[a-z0-9-]{0,20}", any::<u32>(), any::<u16>()).prop_map(
            |(role, name, version, dictionary)| {
                TierFrame::Hello { role: EngineId(role), name, version, dictionary }
            }
        ),
        8 => (partition(), command())
            .prop_map(|(partition, command)| TierFrame::Command { partition, command }),
        8 => (partition(), view(), reply())
            .prop_map(|(partition, view, reply)| TierFrame::Reply { partition, view, reply }),
        4 => engine_word().prop_map(TierFrame::Engine),
        4 => gate_word().prop_map(TierFrame::Gate),
        1 => partition_view().prop_map(TierFrame::View),
        1 => (replica(), partition(), "[a-z0-9-]{0,20}", any::<u32>()).prop_map(
            |(replica, partition, name, version)| TierFrame::Replica {
                replica,
                partition,
                name,
                version
            }
        ),
        1 => vec(seat(), 0..4).prop_map(TierFrame::Seats),
        8 => peer_word().prop_map(TierFrame::Peer),
        1 => Just(TierFrame::Ping),
        1 => Just(TierFrame::Pong),
        4 => site_input().prop_map(TierFrame::ToPartition),
        4 => (partition(), gate_bound())
            .prop_map(|(partition, word)| TierFrame::ToGate { partition, word }),
    ]
}

pub(crate) fn site_frame() -> impl Strategy<Value = SiteFrame> {
    site_word().prop_map(SiteFrame)
}
