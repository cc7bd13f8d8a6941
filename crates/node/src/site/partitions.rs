//! What the admin API says of partitions, and what it may order.

use admin_api::{
    CancelOrder, Move, MoveOrder, OrderReply, Partition, PartitionsReply, Replica, ViewStatus,
};
use replica::{Conflict, Lapse, Order};
use tier_protocol::{PartitionView, SiteMap, SlotMove, SlotSet};
use vocab::{Instant, PartitionId, ReplicaId, SLOTS, Slot};

use super::{Site, TierSeat, Word};
use crate::admin::{Answer, Body, Refusal};

/// Answer to `GET /v1/partitions`.
pub(crate) fn told(seat: &TierSeat, now: Instant) -> Answer {
    let core = &seat.replica;
    let map = core.map();
    let lone = SiteMap { partitions: vec![core.view().clone()], ..SiteMap::default() };
    // A replica of its own has no map but its view.
    let map = if map.partitions.is_empty() && core.leads() { &lone } else { map };
    let named = |replica: ReplicaId| map.partitions.iter().any(|view| view.names(replica));
    let waiting = map.seats.iter().filter(|seat| !named(seat.replica));
    let shown = |id: ReplicaId| replica(map, id, core.heard(now, id));
    Body::json(&PartitionsReply {
        here: core.id().0,
        partitions: map.partitions.iter().map(|view| partition(view, shown)).collect(),
        waiting: waiting.map(|seat| shown(seat.replica)).collect(),
        moves: map.moves.iter().map(|of| slot_move(map, of)).collect(),
        store_away: seat.is_store_away(),
    })
}

fn partition(view: &PartitionView, shown: impl Fn(ReplicaId) -> Replica) -> Partition {
    let named = |replicas: &[ReplicaId]| replicas.iter().copied().map(&shown).collect();
    Partition {
        partition: view.partition.0,
        view: view.number.0,
        slots: view.slots.to_string(),
        slot_count: view.slots.len() as u64,
        members: named(&view.members),
        joining: named(&view.joining),
    }
}

fn replica(map: &SiteMap, id: ReplicaId, heard: Option<bool>) -> Replica {
    let seat = map.seat(id);
    Replica {
        replica: id.0,
        name: seat.map(|seat| seat.name.clone()).unwrap_or_default(),
        address: seat.map(|seat| seat.address.clone()).unwrap_or_default(),
        partition: seat.map(|seat| seat.partition.0).unwrap_or_default(),
        heard,
    }
}

fn slot_move(map: &SiteMap, of: &SlotMove) -> Move {
    let members = map.view(of.from).map(|view| view.members.as_slice()).unwrap_or_default();
    let is_ready = |id: &&ReplicaId| map.seat(**id).is_some_and(|seat| seat.partition == of.to);
    Move {
        from: of.from.0,
        to: of.to.0,
        slots: of.slots.to_string(),
        replicas: u64::from(of.replicas),
        ready: members.iter().filter(is_ready).count() as u64,
    }
}

/// A replica as people call it.
fn named(map: &SiteMap, id: ReplicaId) -> String {
    let name = map.seat(id).map(|seat| seat.name.clone()).filter(|name| !name.is_empty());
    name.unwrap_or_else(|| format!("replica {}", id.0))
}

fn ask_a_member(map: &SiteMap, partition: u16) -> String {
    let Some(view) = map.view(PartitionId(partition)) else {
        return format!("there is no partition {partition}");
    };
    let members: Vec<String> = view.members.iter().map(|member| named(map, *member)).collect();
    format!("ask a member of partition {partition}, which are {}", members.join(", "))
}

/// Where an order about other sites belongs.
pub(super) fn ask_gatekeeper(map: &SiteMap) -> String {
    match map.gatekeeper() {
        Some(keeper) => format!(
            "this process does not keep the site's gate: give the order to {}",
            named(map, keeper)
        ),
        None => "no process keeps the site's gate: no partition is served".into(),
    }
}

fn order_text(order: Order) -> String {
    match order {
        Order::MoveSlots(SlotMove { from, to, slots, replicas: _ }) => {
            format!("slots {slots} from partition {} to {}", from.0, to.0)
        }
        Order::CancelMove { from, to } => {
            format!("no slots from partition {} to {}", from.0, to.0)
        }
        Order::Refound => "`refound`".into(),
        Order::Site(_) | Order::DropQuarantined(_) => format!("{order:?}"),
    }
}

/// What an operator reads of an order that is not carried out.
pub(super) fn dropped_text(map: &SiteMap, order: Order, why: Lapse) -> String {
    let what = order_text(order);
    match why {
        Lapse::Heard(member) => format!(
            "{what}: {} answers and has the calls; this replica joins it by itself",
            named(map, member)
        ),
        Lapse::Overtaken => format!(
            "{what}: the site's map is another one than when it was given; look with `rehome \
             partitions`, and order it again if it is still to be"
        ),
    }
}

/// What does not fit together in the configurations of this process and others, and what to do.
pub(super) fn conflicts(seat: &TierSeat) -> Vec<String> {
    let map = seat.replica.map();
    let text = |conflict: Conflict| match conflict {
        Conflict::Name { other } => {
            let (name, address) = map
                .seat(other)
                .map(|seat| (seat.name.as_str(), seat.address.as_str()))
                .unwrap_or_default();
            format!(
                "the state process at {address} is named `{name}` too, and lives: give this one a \
                 `name` of its own in [tier] and start it again; until then it waits"
            )
        }
        Conflict::Partitions { other, here, there } => format!(
            "`partitions` in [tier] is {here} here and {there} at {}: give both the same",
            named(map, other)
        ),
        Conflict::Replicas { other, here, there } => format!(
            "`replicas` in [tier] is {here} here and {there} at {}: give both the same",
            named(map, other)
        ),
    };
    seat.replica.conflicts().into_iter().map(text).collect()
}

/// How a state process stands in its view.
pub(crate) fn view_status(seat: &TierSeat, now: Instant) -> ViewStatus {
    let core = &seat.replica;
    let stats = core.stats(now).view;
    let view = core.view();
    let role = match (stats.leads, view.members.contains(&core.id()), view.names(core.id())) {
        (true, _, _) => "primary",
        (false, true, _) => "member",
        (false, false, true) => "joining",
        (false, false, false) => "waiting",
    };
    let ms = |time: std::time::Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    ViewStatus {
        replica: core.id().0,
        partition: view.partition.0,
        number: stats.number.0,
        role: role.into(),
        members: stats.members,
        joining: stats.joining,
        copied: stats.copy.map(|copy| copy.copied).unwrap_or_default(),
        to_copy: stats.copy.map(|copy| copy.total).unwrap_or_default(),
        store_away: seat.is_store_away(),
        conflicts: conflicts(seat),
        order: stats.ordered.map(order_text).unwrap_or_default(),
        order_dropped: seat.order_dropped.clone(),
        short_for_ms: stats.short_for.map(ms).unwrap_or_default(),
        healed_after_ms: stats.healed_after.map(ms).unwrap_or_default(),
    }
}

/// The slots that the order names.
fn slots_of(order: &MoveOrder, owned: &SlotSet) -> Result<SlotSet, Refusal> {
    let (first, last) = match (order.first_slot, order.last_slot) {
        (None, None) => return Ok(owned.upper_half()),
        (Some(first), Some(last)) if first <= last && last < SLOTS => (first, last),
        (_, _) => {
            let error = format!("give both `first_slot` and `last_slot`, from 0 to {}", SLOTS - 1);
            return Err(Refusal::bad(error));
        }
    };
    let mut slots = SlotSet::NONE;
    (first..=last).for_each(|slot| slots.insert(Slot(slot)));
    if !slots.without(owned).is_empty() {
        let error = format!("partition {} owns {owned}, not all of {slots}", order.from);
        return Err(Refusal::conflict(error));
    }
    if owned.without(&slots).is_empty() {
        return Err(Refusal::conflict(format!("partition {} would keep no slot", order.from)));
    }
    Ok(slots)
}

impl Site {
    pub(super) fn move_slots(&mut self, order: &MoveOrder) -> Answer {
        let core = &self.tier()?.replica;
        self.must_be_shared()?;
        let view = core.view();
        if view.partition != PartitionId(order.from) || !view.members.contains(&core.id()) {
            return Err(Refusal::conflict(ask_a_member(core.map(), order.from)));
        }
        let (map, to) = (core.map(), PartitionId(order.to));
        if map.view(to).is_some() {
            return Err(Refusal::conflict(format!("partition {} exists already", order.to)));
        }
        if map.moves.iter().any(|of| of.from == view.partition) {
            let error = format!("slots of partition {} are moving already", order.from);
            return Err(Refusal::conflict(error));
        }
        if order.replicas == 0 {
            return Err(Refusal::bad("`replicas` is at least 1".into()));
        }
        let waiting = map.seats.iter().filter(|seat| seat.partition == to).count();
        if waiting < usize::from(order.replicas) {
            return Err(Refusal::conflict(format!(
                "{waiting} state processes wait for partition {}, {} are wanted: start them with \
                 `partition = {}` in [tier], and order again when `rehome partitions` says that \
                 they wait",
                order.to, order.replicas, order.to
            )));
        }
        let slots = slots_of(order, &view.slots)?;
        let of = SlotMove { from: view.partition, to, slots, replicas: order.replicas };
        self.words.push_back(Word::Replica(replica::Input::Order(Order::MoveSlots(of))));
        let accepted = format!("slots {slots} go from partition {} to {}", order.from, order.to);
        tracing::info!(accepted, "an order was given");
        Body::json(&OrderReply { accepted, calls: 0 })
    }

    pub(super) fn cancel_move(&mut self, order: &CancelOrder) -> Answer {
        let CancelOrder { from, to } = *order;
        let core = &self.tier()?.replica;
        self.must_be_shared()?;
        let (view, map) = (core.view(), core.map());
        if view.partition != PartitionId(from) || !view.members.contains(&core.id()) {
            return Err(Refusal::conflict(ask_a_member(map, from)));
        }
        let (from, to) = (PartitionId(from), PartitionId(to));
        let is_it = |of: &SlotMove| (of.from, of.to) == (from, to);
        let waits = core.stats(self.clock.now()).view.ordered;
        let waits = matches!(waits, Some(Order::MoveSlots(of)) if is_it(&of));
        if !waits && !map.moves.iter().any(is_it) {
            let (from, to) = (from.0, to.0);
            return Err(Refusal::conflict(match map.view(PartitionId(to)) {
                Some(view) => format!(
                    "partition {to} has slots {} by now: a move that is done stays",
                    view.slots
                ),
                None => format!(
                    "no move from partition {from} to {to} is under way: `rehome partitions` shows \
                     those that are"
                ),
            }));
        }
        let is_leaving = |id: &ReplicaId| map.seat(*id).is_some_and(|seat| seat.partition == to);
        if view.members.iter().all(is_leaving) {
            return Err(Refusal::conflict(format!(
                "only replicas that wait for partition {to} have the calls of partition {from}: \
                 start a state process with `partition = {from}` in [tier], and cancel when \
                 `rehome partitions` shows it as a member",
                from = from.0,
                to = to.0
            )));
        }
        self.words.push_back(Word::Replica(replica::Input::Order(Order::CancelMove { from, to })));
        let accepted = format!("no slots go from partition {} to {}", from.0, to.0);
        tracing::info!(accepted, "an order was given");
        Body::json(&OrderReply { accepted, calls: 0 })
    }

    pub(super) fn refound(&mut self, now: Instant) -> Answer {
        let core = &self.tier()?.replica;
        self.must_be_shared()?;
        if core.view().names(core.id()) {
            let error = "this replica serves: nothing is to be begun anew".into();
            return Err(Refusal::conflict(error));
        }
        let Some(view) = core.acting_view() else {
            let error = "the partition of this replica is not made yet: it waits until slots move \
                         to it";
            return Err(Refusal::conflict(error.into()));
        };
        let partition = view.partition.0;
        if let Some(member) = view.members.iter().find(|member| core.hears(now, **member)) {
            let name = named(core.map(), *member);
            return Err(Refusal::conflict(format!(
                "{name} answers and has the calls of partition {partition}: this replica joins it \
                 by itself"
            )));
        }
        self.words.push_back(Word::Replica(replica::Input::Order(Order::Refound)));
        tracing::warn!(partition, "an order was given to begin it anew, without its calls");
        Body::json(&OrderReply {
            accepted: format!("partition {partition} begins anew, without calls"),
            calls: 0,
        })
    }

    fn must_be_shared(&self) -> Result<(), Refusal> {
        let error = "this state process is alone: it has no [coordination] section";
        self.config.coordination.as_ref().map(drop).ok_or_else(|| Refusal::wrong_role(error))
    }
}
