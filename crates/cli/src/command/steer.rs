//! Orders about where calls go: `rehome evacuate`, `return`, `replication`, `backup activate`.
//!
//! Every order goes to the process that keeps the site's gate. Waiting is only looking: who stops
//! looking stops nothing.

use std::time::{Duration, Instant};

use admin_api::{
    ActivateOrder, BackupOrder, BackupReply, EvacuateOrder, OrderReply, ReplicationOrder,
    RetargetOrder, ReturnOrder, ReturnWord, SitesReply, StopOrder, SweepOrder, SweepStatus,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Target;
use crate::client::{Client, ClientError};
use crate::print;
use crate::progress::Progress;

/// Pause between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// A node that is silent for so long is looked at no longer.
const PATIENCE: Duration = Duration::from_secs(10);

/// `rehome evacuate`
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  \
    rehome evacuate --from 1 --to 2 --wait --admin http://127.0.1.1:8080\n  \
    rehome evacuate --from 1 --abort\n\n\
    Calls that begin at the site later follow as soon as they are steady: send new calls elsewhere \
    with `rehome route set`. The calls come home when the evacuation is aborted, or when the site \
    starts again and serves.")]
pub struct EvacuateArguments {
    /// The site whose calls go: that of the node that is asked.
    #[arg(long, value_name = "SITE")]
    pub from: u16,
    /// The site that they go to. It must answer.
    #[arg(long, value_name = "SITE", required_unless_present = "abort")]
    pub to: Option<u16>,
    /// Ends the evacuation: nothing more goes, and what went comes back.
    #[arg(long, conflicts_with_all = ["to", "wait"])]
    pub abort: bool,
    /// Waits until no call lives at the site, and shows how far it is.
    #[arg(long)]
    pub wait: bool,
    /// Which node: the one of the site that keeps its gate.
    #[command(flatten)]
    pub target: Target,
}

/// `rehome return ...`
#[derive(Clone, Debug, Subcommand)]
pub enum ReturnCommand {
    /// Lets calls go home: those of this site to here, those that live here to their homes.
    #[command(after_help = "Examples:\n  rehome return start --wait\n  \
        rehome return start --without-keyset")]
    Start(StartArguments),
    /// Nothing is given back or fetched until the start; it goes on from there.
    ///
    /// A site that is returning goes on returning meanwhile, and takes no traffic. A call that
    /// sleeps elsewhere is still fetched when its message comes.
    #[command(after_help = "Examples:\n  rehome return pause")]
    Pause(Target),
    /// The same, and what is known of the way is forgotten: the start fetches the keyset anew.
    #[command(after_help = "Examples:\n  rehome return abort")]
    Abort(Target),
}

/// `rehome return start`
#[derive(Clone, Debug, Args)]
pub struct StartArguments {
    /// A returning site serves at once. It fetches the keyset beside that, and leaves messages of
    /// calls that it does not know unanswered until it has it.
    #[arg(long)]
    pub without_keyset: bool,
    /// Waits until every call is home, and shows how far it is.
    #[arg(long)]
    pub wait: bool,
    /// Which node: the one of the site that keeps its gate.
    #[command(flatten)]
    pub target: Target,
}

/// `rehome replication ...`
#[derive(Clone, Debug, Subcommand)]
pub enum ReplicationCommand {
    /// Call states are kept back; what would have crossed is marked, and is at risk.
    #[command(after_help = "Examples:\n  rehome replication stop --site 2")]
    Stop(SiteArguments),
    /// They cross again, beginning with what is marked.
    #[command(after_help = "Examples:\n  rehome replication start --site 2")]
    Start(SiteArguments),
    /// Another site keeps the copies from here on, while calls run.
    ///
    /// Every steady call crosses to it. When it has them all, the site that kept them before is
    /// told and removes its copies. Until then both have some.
    #[command(after_help = "Examples:\n  rehome replication retarget --to 3 --wait")]
    Retarget(RetargetArguments),
    /// The copies at the site that keeps them are compared at once, and what is missing is sent.
    ///
    /// They are compared every `crossing.sweep_every_s` in any case, and when that site says that
    /// it may have lost some. Nothing is removed.
    #[command(after_help = "Examples:\n  rehome replication sweep --wait\n  \
        rehome replication sweep --site 2 --json")]
    Sweep(SweepArguments),
}

/// `rehome replication sweep`
#[derive(Clone, Debug, Args)]
pub struct SweepArguments {
    /// The site that keeps the copies; it need not be named.
    #[arg(long, value_name = "SITE")]
    pub site: Option<u16>,
    /// Waits until all are compared, and shows how far it is.
    #[arg(long)]
    pub wait: bool,
    /// Which node: the one of the site that keeps its gate.
    #[command(flatten)]
    pub target: Target,
}

/// `rehome replication stop` and `start`
#[derive(Clone, Debug, Args)]
pub struct SiteArguments {
    /// The site that receives.
    #[arg(long)]
    pub site: u16,
    /// Which node: the one of the site that keeps its gate.
    #[command(flatten)]
    pub target: Target,
}

/// `rehome replication retarget`
#[derive(Clone, Debug, Args)]
pub struct RetargetArguments {
    /// The site that is to keep the copies. It must answer.
    #[arg(long, value_name = "SITE")]
    pub to: u16,
    /// Waits until it has every call, and shows how far it is.
    #[arg(long)]
    pub wait: bool,
    /// Which node: the one of the site that keeps its gate.
    #[command(flatten)]
    pub target: Target,
}

/// How much is left, of how much at the most, and what to say.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    left: u64,
    is_over: bool,
    said: String,
}

/// Looks until it is over; the last answer.
fn wait_for<T: DeserializeOwned>(
    client: &Client,
    path: &str,
    accepted: &OrderReply,
    seen: impl Fn(&T) -> Result<Seen, ClientError>,
) -> Result<T, ClientError> {
    let mut progress = Progress::new();
    progress.begin(&accepted.accepted);
    let (mut good_at, mut most) = (Instant::now(), accepted.calls);
    loop {
        match client.get::<T>(path) {
            Ok(reply) => {
                let Seen { left, is_over, said } = seen(&reply)?;
                if is_over {
                    progress.done(said);
                    return Ok(reply);
                }
                most = most.max(left);
                let fitted = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
                progress.count(fitted(most - left), fitted(most));
                progress.note(said);
                good_at = Instant::now();
            }
            Err(ClientError::Unreachable { host, error }) if good_at.elapsed() > PATIENCE => {
                return Err(ClientError::Declined(format!(
                    "no node answers at {host} any more: {error}; look with `rehome sites` at \
                     another node of the site, and order it again if it is not on"
                )));
            }
            Err(ClientError::Unreachable { .. }) => progress.note("the node does not answer"),
            Err(error) => return Err(error),
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn is_told(sites: &SitesReply) -> bool {
    sites.partitions_told >= sites.partitions
}

pub(super) fn evacuate(arguments: &EvacuateArguments) -> Result<String, ClientError> {
    let EvacuateArguments { from, to, abort: _, wait, target } = arguments;
    let client = target.client()?;
    let order = EvacuateOrder { from: *from, to: *to };
    let accepted: OrderReply = client.post("/v1/evacuate", &order)?;
    if !wait {
        return target.print(&accepted, print::order);
    }
    let reply = wait_for(&client, "/v1/sites", &accepted, evacuated)?;
    target.print(&reply, print::sites)
}

fn evacuated(sites: &SitesReply) -> Result<Seen, ClientError> {
    let Some(on) = sites.evacuation else {
        let why = "the evacuation is not on any more: it was aborted, or the site started anew";
        return Err(ClientError::Declined(why.into()));
    };
    let left = on.left;
    let silent = if on.wanted { "" } else { "; the site takes NO CALLS at the moment" };
    let is_over = left == 0 && is_told(sites);
    let said = if is_over { "no call is left".into() } else { format!("{left} left{silent}") };
    Ok(Seen { left, is_over, said })
}

pub(super) fn steer_return(command: &ReturnCommand) -> Result<String, ClientError> {
    let (order, without_keyset, wait, target) = match command {
        ReturnCommand::Start(StartArguments { without_keyset, wait, target }) => {
            (ReturnWord::Start, *without_keyset, *wait, target)
        }
        ReturnCommand::Pause(target) => (ReturnWord::Pause, false, false, target),
        ReturnCommand::Abort(target) => (ReturnWord::Abort, false, false, target),
    };
    let client = target.client()?;
    let order = ReturnOrder { order, without_keyset };
    let accepted: OrderReply = client.post("/v1/return", &order)?;
    if !wait {
        return target.print(&accepted, print::order);
    }
    let reply = wait_for(&client, "/v1/sites", &accepted, returned)?;
    target.print(&reply, print::sites)
}

fn returned(sites: &SitesReply) -> Result<Seen, ClientError> {
    let returning = &sites.returning;
    if returning.state != "runs" {
        return Err(ClientError::Declined(format!("the return is {}", returning.state)));
    }
    let left = returning.refill_left + returning.hand_back_left.values().sum::<u64>();
    let is_over = left == 0 && is_told(sites) && returning.keyset_awaited.is_empty();
    let said = if is_over { "every call is home".into() } else { print::returning(returning) };
    Ok(Seen { left, is_over, said })
}

pub(super) fn replication(command: &ReplicationCommand) -> Result<String, ClientError> {
    let (arguments, on) = match command {
        ReplicationCommand::Retarget(arguments) => return retarget(arguments),
        ReplicationCommand::Sweep(arguments) => return sweep(arguments),
        ReplicationCommand::Stop(arguments) => (arguments, false),
        ReplicationCommand::Start(arguments) => (arguments, true),
    };
    let order = ReplicationOrder { site: arguments.site, on };
    arguments.target.post::<OrderReply>("/v1/replication", &order, print::order)
}

fn retarget(arguments: &RetargetArguments) -> Result<String, ClientError> {
    let RetargetArguments { to, wait, target } = arguments;
    let client = target.client()?;
    let accepted: OrderReply =
        client.post("/v1/replication/retarget", &RetargetOrder { to: *to })?;
    if !wait {
        return target.print(&accepted, print::order);
    }
    let reply = wait_for(&client, "/v1/sites", &accepted, |sites| retargeted(*to, sites))?;
    target.print(&reply, print::sites)
}

fn sweep(arguments: &SweepArguments) -> Result<String, ClientError> {
    let SweepArguments { site, wait, target } = arguments;
    let client = target.client()?;
    let before: SitesReply = client.get("/v1/sites")?;
    let order = SweepOrder { site: *site };
    let accepted: OrderReply = client.post("/v1/replication/sweep", &order)?;
    if !wait {
        return target.print(&accepted, print::order);
    }
    let reply = wait_for(&client, "/v1/sites", &accepted, |sites| swept(&before, sites))?;
    target.print(&reply, print::sites)
}

/// `before`: what was told before the order. The partitions count sweeps each for itself, and begin
/// anew with each new primary, which knows of no order to sweep.
fn swept(before: &SitesReply, sites: &SitesReply) -> Result<Seen, ClientError> {
    let sum =
        |of: &SitesReply, what: fn(&SweepStatus) -> u64| of.sweeps.values().map(what).sum::<u64>();
    let (left, done) = (sum(sites, |sweep| sweep.slots_left), sum(sites, |sweep| sweep.done));
    if is_told(sites) && (before.led_by != sites.led_by || done < sum(before, |sweep| sweep.done)) {
        return Err(ClientError::Declined(
            "a partition has another primary than at the order: it may have compared nothing; \
             order it again"
                .into(),
        ));
    }
    let wanted = sum(before, |sweep| sweep.done) + sites.partitions.max(1);
    let is_over = left == 0 && is_told(sites) && done >= wanted;
    if !is_over {
        return Ok(Seen { left, is_over, said: format!("{left} hash slots left") });
    }
    let (found, repaired) = (sum(sites, |sweep| sweep.found), sum(sites, |sweep| sweep.repaired));
    let unanswered = sum(sites, |sweep| sweep.unanswered);
    let said = match unanswered.saturating_sub(sum(before, |sweep| sweep.unanswered)) {
        0 => format!("all copies are compared; {found} calls found so far, {repaired} repaired"),
        slots => format!(
            "{slots} hash slots went UNANSWERED: their copies are not compared; {found} calls \
             found so far, {repaired} repaired"
        ),
    };
    Ok(Seen { left, is_over, said })
}

fn retargeted(to: u16, sites: &SitesReply) -> Result<Seen, ClientError> {
    let Some(on) = sites.retarget.filter(|on| on.to == to) else {
        let why = "the order is not in force any more: another was given, or the site started anew";
        return Err(ClientError::Declined(why.into()));
    };
    let (left, is_over) = (on.at_risk, on.complete);
    let said = match is_over {
        true => format!("site {to} has every call"),
        false => format!("{left} calls not there yet"),
    };
    Ok(Seen { left, is_over, said })
}

pub(super) fn activate(
    site: u16,
    force: bool,
    wait: bool,
    target: &Target,
) -> Result<String, ClientError> {
    let order = ActivateOrder { site, force };
    let look = |backup: &BackupReply| awake(site, force, backup);
    order_of_backup(target, "/v1/backup/activate", &order, wait.then_some(look))
}

/// Gives an order about calls that are kept; with `look`, waits until that finds it carried out.
fn order_of_backup(
    target: &Target,
    path: &str,
    order: &impl Serialize,
    look: Option<impl Fn(&BackupReply) -> Result<Seen, ClientError>>,
) -> Result<String, ClientError> {
    let client = target.client()?;
    let accepted: OrderReply = client.post(path, order)?;
    let Some(look) = look else {
        return target.print(&accepted, print::order);
    };
    let reply = wait_for(&client, "/v1/backup", &accepted, look)?;
    target.print(&reply, print::backup)
}

fn awake(site: u16, force: bool, backup: &BackupReply) -> Result<Seen, ClientError> {
    let kept = backup.kept.get(&site).cloned().unwrap_or_default();
    let asleep = kept.calls;
    if kept.alive && !force {
        let why = format!(
            "site {site} answers again: its calls are its own; {asleep} sleep here for it still"
        );
        return Err(ClientError::Declined(why));
    }
    if kept.activating || kept.inbox_batches > 0 || !is_all_told(backup) {
        let said = match kept.inbox_batches {
            0 => format!("{asleep} still asleep"),
            batches => format!("{asleep} still asleep; {batches} batches of the site come first"),
        };
        return Ok(Seen { left: asleep, is_over: false, said });
    }
    match (asleep, kept.activated) {
        (0, _) => Ok(Seen { left: 0, is_over: true, said: "every call is awake".into() }),
        (_, true) => {
            let said = format!(
                "the order is carried out; {asleep} sleep still, as they were in use, are set \
                 aside or came later"
            );
            Ok(Seen { left: asleep, is_over: true, said })
        }
        (_, false) => Err(not_in_force(asleep)),
    }
}

fn is_all_told(backup: &BackupReply) -> bool {
    backup.partitions_told >= backup.partitions
}

fn not_in_force(left: u64) -> ClientError {
    ClientError::Declined(format!(
        "the order is not in force any more: it was ended, the site answered meanwhile, or this \
         site started anew; {left} calls are still kept asleep"
    ))
}

pub(super) fn stop_activating(site: u16, target: &Target) -> Result<String, ClientError> {
    target.post::<OrderReply>("/v1/backup/activate/stop", &StopOrder { site }, print::order)
}

pub(super) fn delete(
    site: u16,
    force: bool,
    wait: bool,
    target: &Target,
) -> Result<String, ClientError> {
    let order = BackupOrder { site, force };
    let look = |backup: &BackupReply| removed(site, backup);
    order_of_backup(target, "/v1/backup/delete", &order, wait.then_some(look))
}

fn removed(site: u16, backup: &BackupReply) -> Result<Seen, ClientError> {
    let kept = backup.kept.get(&site).cloned().unwrap_or_default();
    let left = kept.calls;
    if kept.deleting || kept.inbox_batches > 0 || !is_all_told(backup) {
        return Ok(Seen { left, is_over: false, said: format!("{left} left") });
    }
    let said = match (left, kept.deleted) {
        (0, _) => "no call is kept for the site".into(),
        (_, true) => format!(
            "the order is carried out; {left} are kept, as they were in use, are on their way \
             home or came later"
        ),
        (_, false) => return Err(not_in_force(left)),
    };
    Ok(Seen { left, is_over: true, said })
}

#[cfg(test)]
mod tests;
