//! `rehome partitions`: who serves which calls, how slots move, how a lost partition begins anew.
//!
//! Every order goes to one state process. Waiting for a move is only looking at it: who stops
//! looking stops nothing.

use std::time::{Duration, Instant};

use admin_api::{CancelOrder, MoveOrder, OrderReply, Partition, PartitionsReply, StatusReply};
use clap::{Args, Subcommand};

use super::Target;
use crate::client::{Client, ClientError};
use crate::print::partitions as print;
use crate::progress::Progress;

/// The slots of a site are numbered up to this.
const LAST_SLOT: u16 = 1_023;
/// Pause between two looks at a move.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A node that is silent for so long, or a move that is not begun, is waited for no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `rehome partitions`
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  rehome partitions\n  \
        rehome partitions --admin http://10.0.0.5:8080 --json\n  \
        rehome partitions move --from 0 --to 2 --replicas 3 --wait"
)]
pub struct PartitionsArguments {
    /// What to do; without it, they are shown.
    #[command(subcommand)]
    pub command: Option<PartitionsCommand>,
    /// Which node: any state process.
    #[command(flatten)]
    pub target: Target,
}

/// `rehome partitions ...`
#[derive(Clone, Debug, Subcommand)]
pub enum PartitionsCommand {
    /// Divides a partition while calls run: slots go to a new one, with the replicas that wait
    /// for it.
    ///
    /// Ask a member of the partition that is divided. The state processes of the new one run by
    /// then, with its number as `partition` in `[tier]`. They are copied to; when enough of them
    /// are complete they take the slots with them.
    #[command(after_help = "Examples:\n  \
        rehome partitions move --from 0 --to 2 --replicas 3 --wait\n  \
        rehome partitions move --from 0 --to 2 --replicas 3 --slots 256-511\n  \
        rehome partitions move --from 0 --to 2 --cancel")]
    Move(MoveArguments),
    /// Begins a partition anew of which every member is lost. Its calls are lost with them.
    ///
    /// Ask a state process that waits for the partition. Without --yes it says what would be lost,
    /// and does nothing.
    #[command(after_help = "Examples:\n  rehome partitions refound\n  \
        rehome partitions refound --yes")]
    Refound {
        /// The calls of the partition are to be lost.
        #[arg(long)]
        yes: bool,
        /// Which node.
        #[command(flatten)]
        target: Target,
    },
}

/// `rehome partitions move`
#[derive(Clone, Debug, Args)]
pub struct MoveArguments {
    /// The partition that is divided.
    #[arg(long, value_name = "PARTITION")]
    pub from: u16,
    /// The partition that is made.
    #[arg(long, value_name = "PARTITION")]
    pub to: u16,
    /// Replicas of the new one that must have the calls before the slots move.
    #[arg(long, value_name = "NUMBER", required_unless_present = "cancel")]
    pub replicas: Option<u16>,
    /// The slots that move; the upper half of what the partition has, unless given.
    #[arg(long, value_name = "FIRST-LAST", value_parser = slots)]
    pub slots: Option<(u16, u16)>,
    /// Waits until they have moved, shows how far it is, and prints the partitions then.
    #[arg(long)]
    pub wait: bool,
    /// Takes the order back, as long as the slots have not moved: the replicas of the new partition
    /// give their copies up, and wait again.
    #[arg(long, conflicts_with_all = ["replicas", "slots", "wait"])]
    pub cancel: bool,
    /// Which node: a member of the partition that is divided.
    #[command(flatten)]
    pub target: Target,
}

fn slots(text: &str) -> Result<(u16, u16), String> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (first.trim().parse::<u16>(), last.trim().parse::<u16>());
    match (first, last) {
        (Ok(first), Ok(last)) if first <= last && last <= LAST_SLOT => Ok((first, last)),
        (_, _) => Err(format!("`{text}` is no run of slots like 256-511; the last is {LAST_SLOT}")),
    }
}

pub(super) fn run(arguments: &PartitionsArguments) -> Result<String, ClientError> {
    match &arguments.command {
        None => arguments.target.get::<PartitionsReply>("/v1/partitions", print::partitions),
        Some(PartitionsCommand::Move(order)) => move_slots(order),
        Some(PartitionsCommand::Refound { yes, target }) => refound(*yes, target),
    }
}

fn move_slots(arguments: &MoveArguments) -> Result<String, ClientError> {
    let MoveArguments { from, to, replicas, slots, wait, cancel, target } = arguments;
    if *cancel {
        let order = CancelOrder { from: *from, to: *to };
        let accepted: OrderReply = target.client()?.post("/v1/partitions/move/cancel", &order)?;
        return target.print(&accepted, print::accepted);
    }
    let order = MoveOrder {
        from: *from,
        to: *to,
        // Required unless the move is cancelled.
        replicas: replicas.unwrap_or_default(),
        first_slot: slots.map(|(first, _)| first),
        last_slot: slots.map(|(_, last)| last),
    };
    let client = target.client()?;
    let accepted: OrderReply = client.post("/v1/partitions/move", &order)?;
    if !wait {
        return target.print(&accepted, print::accepted);
    }
    let reply = wait_for(&client, *from, *to, &accepted)?;
    target.print(&reply, print::partitions)
}

/// How far a move is.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    /// It is not on the map.
    NotBegun,
    /// The replicas that have the calls, of those that must; and what to say.
    Moving { ready: u64, replicas: u64, said: String },
    /// The new partition owns its slots.
    Done { said: String },
}

fn seen(from: u16, to: u16, reply: &PartitionsReply) -> Seen {
    if let Some(of) = reply.moves.iter().find(|of| (of.from, of.to) == (from, to)) {
        let source = reply.partitions.iter().find(|one| one.partition == from);
        let joining = source
            .map_or(0, |one| one.joining.iter().filter(|replica| replica.partition == to).count());
        let (ready, replicas) = (of.ready, of.replicas);
        let away = if reply.store_away { "; the coordination store is AWAY" } else { "" };
        let said = format!("{ready} of {replicas} replicas ready, {joining} copying{away}");
        return Seen::Moving { ready, replicas, said };
    }
    match reply.partitions.iter().find(|one| one.partition == to) {
        Some(made) => {
            let Partition { slots, view, .. } = made;
            Seen::Done { said: format!("partition {to} has slots {slots} in view {view}") }
        }
        None => Seen::NotBegun,
    }
}

/// Looks until the slots have moved.
fn wait_for(
    client: &Client,
    from: u16,
    to: u16,
    accepted: &OrderReply,
) -> Result<PartitionsReply, ClientError> {
    let mut progress = Progress::new();
    progress.begin(&accepted.accepted);
    let mut good_at = Instant::now();
    let mut has_begun = false;
    loop {
        match client.get::<PartitionsReply>("/v1/partitions") {
            Ok(reply) => match seen(from, to, &reply) {
                Seen::Done { said } => {
                    progress.done(said);
                    return Ok(reply);
                }
                Seen::Moving { ready, replicas, said } => {
                    let fitted = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
                    progress.count(fitted(ready), fitted(replicas));
                    progress.note(said);
                    (good_at, has_begun) = (Instant::now(), true);
                }
                Seen::NotBegun if reply.store_away => {
                    progress.note("the coordination store is AWAY: the order waits for it");
                    good_at = Instant::now();
                }
                Seen::NotBegun if good_at.elapsed() > PATIENCE => {
                    return Err(ClientError::Declined(not_begun(has_begun)));
                }
                Seen::NotBegun => {}
            },
            Err(ClientError::Unreachable { host, error }) if good_at.elapsed() > PATIENCE => {
                return Err(ClientError::Declined(format!(
                    "no node answers at {host} any more: {error}; the move goes on without it: \
                     look with `rehome partitions` at another state process"
                )));
            }
            Err(ClientError::Unreachable { .. }) => progress.note("the node does not answer"),
            Err(error) => return Err(error),
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn not_begun(has_begun: bool) -> String {
    let what = if has_begun {
        "the move is not on the site's map any more"
    } else {
        "the order came to nothing: another change of the map was first"
    };
    format!("{what}; look with `rehome partitions`, and order it again")
}

fn refound(yes: bool, target: &Target) -> Result<String, ClientError> {
    let client = target.client()?;
    if !yes {
        let reply: PartitionsReply = client.get("/v1/partitions")?;
        let status: StatusReply = client.get("/v1/status")?;
        let number = status.view.map(|view| view.partition).unwrap_or_default();
        return Err(ClientError::Declined(print::refounding(number, &reply)));
    }
    let accepted: OrderReply = client.post("/v1/partitions/refound", &())?;
    target.print(&accepted, print::accepted)
}

#[cfg(test)]
mod tests;
