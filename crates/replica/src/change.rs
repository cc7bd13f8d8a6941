//! Changes of a site's map, as pure functions: found, join, complete, remove, divide.
//!
//! Each takes the newest map and gives the next one, or `None` when the change makes no sense any
//! more. Every view that changes gets a number higher than any before. What keeps calls safe:
//! each view keeps a complete member of the one before, and the last complete member is never
//! removed.

use tier_protocol::{PartitionView, Seat, SiteMap, SlotMove, SlotSet};
use vocab::{PartitionId, ReplicaId, ViewNumber};

/// A change that a replica wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    /// The replica is listed as one that waits for a partition to be given to it.
    Sit,
    /// The partition has no member yet: the replica is its first, and has nothing to copy.
    Found,
    /// Every member of the partition is known to have started anew: its calls are lost, and the
    /// replica begins with none.
    Refound,
    /// The replica is copied to.
    Join,
    /// It has the copy.
    Complete,
    /// Another replica is silent or gone.
    Remove(ReplicaId),
    /// Other sites have said what they hold of the site's calls, of its lives up to this one.
    Settle(u64),
    /// The order to move slots of this partition to another.
    Plan(SlotMove),
    /// That order is taken back.
    Cancel { from: PartitionId, to: PartitionId },
    /// The replicas of the partition to come are complete: slots move.
    Divide,
    /// A replica that waits for a partition has been silent for long.
    Unseat(ReplicaId),
}

/// Gives out view numbers above all that were given before.
struct Numbers(u64);

impl Numbers {
    fn new(map: &SiteMap, store_revision: u64) -> Self {
        let highest = map.partitions.iter().map(|view| view.number.0).max().unwrap_or_default();
        // The store's revision never restarts, even if the map was lost.
        Self(highest.max(map.last.0).max(store_revision))
    }

    fn next(&mut self) -> ViewNumber {
        self.0 += 1;
        ViewNumber(self.0)
    }
}

/// The map after the change that `seat` wants for the view it acts in.
pub(crate) fn apply(
    change: Change,
    map: &SiteMap,
    store_revision: u64,
    seat: &Seat,
    acting: PartitionId,
    partitions: u16,
) -> Option<SiteMap> {
    let mut next = map.clone();
    let mut numbers = Numbers::new(map, store_revision);
    match change {
        Change::Sit => {
            if map.seat(seat.replica).is_some() {
                return None;
            }
            sit(&mut next, &mut numbers, seat);
        }
        Change::Found => {
            deal(&mut next, &mut numbers, partitions);
            sit(&mut next, &mut numbers, seat);
            let view = next.view_mut(acting).filter(|view| view.members.is_empty())?;
            begin(view, numbers.next(), seat.replica);
        }
        Change::Refound => {
            let life = next.life() + 1;
            let view = next.view_mut(acting)?;
            let before: Vec<ReplicaId> = view.everybody().collect();
            begin(view, numbers.next(), seat.replica);
            view.life = life;
            next.seats.retain(|other| !before.contains(&other.replica));
            sit(&mut next, &mut numbers, seat);
        }
        Change::Join => {
            sit(&mut next, &mut numbers, seat);
            let view = next.view_mut(acting).filter(|view| !view.names(seat.replica))?;
            view.joining.push(seat.replica);
            view.number = numbers.next();
        }
        Change::Complete => {
            let view = next.view_mut(acting).filter(|view| view.joining.contains(&seat.replica))?;
            view.joining.retain(|other| *other != seat.replica);
            view.members.push(seat.replica);
            view.number = numbers.next();
        }
        Change::Remove(replica) => {
            let view = next.view_mut(acting).filter(|view| view.names(seat.replica))?;
            if !remove(view, &mut numbers, replica) {
                return None;
            }
            next.seats.retain(|other| other.replica != replica);
        }
        Change::Plan(of) => {
            let is_taken = next.moves.iter().any(|other| other.from == of.from);
            let owns = next.view(of.from)?.slots;
            let is_new = next.view(of.to).is_none() && of.slots.without(&owns).is_empty();
            if is_taken || !is_new || of.slots.is_empty() {
                return None;
            }
            next.moves.push(of);
        }
        Change::Settle(life) => {
            if life <= next.settled || life > next.life() {
                return None;
            }
            next.settled = life;
        }
        Change::Cancel { from, to } => cancel(&mut next, &mut numbers, from, to)?,
        Change::Divide => divide(&mut next, &mut numbers, acting)?,
        Change::Unseat(replica) => {
            map.seat(replica).filter(|_| !map.names(replica))?;
            next.seats.retain(|other| other.replica != replica);
        }
    }
    next.last = ViewNumber(numbers.0);
    Some(next)
}

/// The first founder of a site deals the slots to all partitions.
fn deal(map: &mut SiteMap, numbers: &mut Numbers, partitions: u16) {
    if !map.partitions.is_empty() {
        return;
    }
    for index in 0..partitions {
        let number = numbers.next();
        map.partitions.push(PartitionView {
            partition: PartitionId(index),
            number,
            led_since: number,
            members: Vec::new(),
            joining: Vec::new(),
            slots: SlotSet::share(index, partitions),
            life: 0,
        });
    }
}

fn begin(view: &mut PartitionView, number: ViewNumber, replica: ReplicaId) {
    view.number = number;
    view.led_since = number;
    view.members = vec![replica];
    view.joining.clear();
}

/// Lists the seat; an earlier life of the same process leaves every view that can spare it.
fn sit(map: &mut SiteMap, numbers: &mut Numbers, seat: &Seat) {
    let before: Vec<ReplicaId> = map
        .seats
        .iter()
        .filter(|other| other.name == seat.name && other.replica != seat.replica)
        .map(|other| other.replica)
        .collect();
    for replica in before {
        let mut is_spared = true;
        for view in map.partitions.iter_mut().filter(|view| view.names(replica)) {
            is_spared &= remove(view, numbers, replica);
        }
        if is_spared {
            map.seats.retain(|other| other.replica != replica);
        }
    }
    if map.seat(seat.replica).is_none() {
        map.seats.push(seat.clone());
    }
}

/// Takes a replica out of a view; not the last complete member.
fn remove(view: &mut PartitionView, numbers: &mut Numbers, replica: ReplicaId) -> bool {
    if !view.names(replica) || view.members == [replica] {
        return false;
    }
    let led = view.primary() == Some(replica);
    view.members.retain(|other| *other != replica);
    view.joining.retain(|other| *other != replica);
    view.number = numbers.next();
    if led {
        view.led_since = view.number;
    }
    true
}

/// The replicas of the partition to come that are complete members of the one they come from.
pub(crate) fn ready(map: &SiteMap, of: &SlotMove) -> Vec<ReplicaId> {
    let members = map.view(of.from).map(|view| view.members.as_slice()).unwrap_or_default();
    members.iter().copied().filter(is_seat_of(map, of.to)).collect()
}

/// The replicas that were to take the slots leave the view; not when they alone have its calls.
fn cancel(
    map: &mut SiteMap,
    numbers: &mut Numbers,
    from: PartitionId,
    to: PartitionId,
) -> Option<()> {
    let index = map.moves.iter().position(|of| (of.from, of.to) == (from, to))?;
    let leaving: Vec<ReplicaId> = map.view(from)?.everybody().filter(is_seat_of(map, to)).collect();
    let view = map.view_mut(from)?;
    let stays = view.members.iter().any(|member| !leaving.contains(member));
    if !stays || !leaving.iter().all(|replica| remove(view, numbers, *replica)) {
        return None;
    }
    map.seats.retain(|seat| !leaving.contains(&seat.replica));
    map.moves.remove(index);
    Some(())
}

/// Whether a replica's seat is for the partition.
fn is_seat_of(map: &SiteMap, partition: PartitionId) -> impl Fn(&ReplicaId) -> bool {
    move |replica| map.seat(*replica).is_some_and(|seat| seat.partition == partition)
}

fn divide(map: &mut SiteMap, numbers: &mut Numbers, from: PartitionId) -> Option<()> {
    let index = map.moves.iter().position(|of| of.from == from)?;
    let of = map.moves[index];
    let takers = ready(map, &of);
    let source = map.view(from)?;
    let stays = source.members.iter().any(|member| !takers.contains(member));
    if takers.len() < usize::from(of.replicas.max(1)) || !stays {
        return None;
    }
    let gone = |replica: &ReplicaId| {
        takers.contains(replica)
            || map.seats.iter().any(|s| s.replica == *replica && s.partition == of.to)
    };
    let (members, joining): (Vec<_>, Vec<_>) = (
        source.members.iter().copied().filter(|other| !gone(other)).collect(),
        source.joining.iter().copied().filter(|other| !gone(other)).collect(),
    );
    let source = map.view_mut(from)?;
    if source.members.first() != members.first() {
        source.led_since = numbers.next();
    }
    source.members = members;
    source.joining = joining;
    source.slots = source.slots.without(&of.slots);
    source.number = numbers.next();
    let life = source.life;
    let number = numbers.next();
    map.partitions.push(PartitionView {
        partition: of.to,
        number,
        // No lock of the partition before is known here.
        led_since: number,
        members: takers,
        joining: Vec::new(),
        slots: of.slots,
        life,
    });
    map.partitions.sort_by_key(|view| view.partition);
    map.moves.remove(index);
    Some(())
}

#[cfg(test)]
mod tests;
