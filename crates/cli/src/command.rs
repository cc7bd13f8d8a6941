//! The commands: their arguments, what they ask, what they print.

pub(crate) mod partitions;
mod statistics;
pub(crate) mod steer;

use std::collections::BTreeMap;
use std::path::PathBuf;

use admin_api::{
    BackupReply, CallStory, CallsReply, RouteOrder, RouteReply, SitesReply, StatusReply,
};
use clap::{Args, Subcommand};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::{Client, ClientError};
use crate::demo::DemoOptions;
use crate::print;
use crate::quarantine::{self, QuarantineCommand};
use partitions::PartitionsArguments;
use statistics::StatisticsArguments;
use steer::{EvacuateArguments, ReplicationCommand, ReturnCommand};

/// Which node, and for whom to print.
#[derive(Clone, Debug, Args)]
pub struct Target {
    /// The node's admin address.
    #[arg(long, default_value = "http://127.0.0.1:8080", value_name = "URL")]
    pub admin: String,
    /// The node's token; REHOME_TOKEN when absent.
    #[arg(long)]
    pub token: Option<String>,
    /// Prints the answer as JSON.
    #[arg(long)]
    pub json: bool,
}

/// An operator's command.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// What a node is and does.
    #[command(after_help = "Examples:\n  rehome status\n  \
        rehome status --admin http://10.0.0.5:8080 --json")]
    Status(Target),
    /// Who serves which calls, where a site has several state processes.
    Partitions(PartitionsArguments),
    /// Other sites, and the calls that are at risk; of a balancer, how it judges the sites.
    #[command(after_help = "Examples:\n  rehome sites\n  \
        rehome sites --admin http://127.0.9.1:8080 --json")]
    Sites(Target),
    /// What crosses between this site and others, summed over the site's processes.
    #[command(after_help = "Examples:\n  rehome statistics\n  \
        rehome statistics --admin http://10.0.0.5:8080,http://10.0.0.6:8080 --json")]
    Statistics(StatisticsArguments),
    /// The calls that a node holds, or one call's whole story.
    #[command(after_help = "Examples:\n  rehome calls --limit 20\n  \
        rehome calls --marked\n  rehome calls 2f1c0a9b8d7e6f504132a3b4c5d6e7f8")]
    Calls {
        /// The call: 32 hexadecimal digits.
        key: Option<String>,
        /// Lines of a page.
        #[arg(long, default_value_t = 100)]
        limit: usize,
        /// Where the page before said that the next one starts.
        #[arg(long)]
        cursor: Option<String>,
        /// Only calls whose newest state has yet to cross: those at risk, and those in set-up.
        #[arg(long)]
        marked: bool,
        /// Which node.
        #[command(flatten)]
        target: Target,
    },
    /// Calls that broke whoever worked them, set aside to be looked at.
    #[command(subcommand)]
    Quarantine(QuarantineCommand),
    /// What is kept here for other sites.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// The sending of call states to other sites: stopped, started, turned to another site.
    #[command(subcommand)]
    Replication(ReplicationCommand),
    /// Gives the calls of a living site to another, each at its next boundary; none is lost.
    Evacuate(EvacuateArguments),
    /// The way home of calls: started, paused, aborted. `rehome sites` shows how far it is.
    #[command(subcommand)]
    Return(ReturnCommand),
    /// The routing policy of a balancer.
    #[command(subcommand)]
    Route(RouteCommand),
    /// Shows the promise: two sites on this machine, one of them killed, every call checked.
    #[command(after_help = "Examples:\n  rehome demo\n  rehome demo --calls 1000 --keep /tmp/demo")]
    Demo(DemoArguments),
}

/// `rehome backup ...`
#[derive(Clone, Debug, Subcommand)]
pub enum BackupCommand {
    /// How many calls are kept for which site.
    #[command(after_help = "Examples:\n  rehome backup stats")]
    Stats(Target),
    /// Wakes every call that is kept for a site. The site must be dead: its calls live here then.
    ///
    /// Given twice it does nothing twice. It goes on when the command ends; who stops looking stops
    /// nothing.
    #[command(after_help = "Examples:\n  rehome backup activate --site 1 --wait\n  \
        rehome backup activate --site 1 --force\n  \
        rehome backup activate --site 1 --stop")]
    Activate {
        /// The home of the calls.
        #[arg(long)]
        site: u16,
        /// Although the site answers. Its calls are taken from it, and nothing goes home from here
        /// until `rehome return start`.
        #[arg(long)]
        force: bool,
        /// Ends the order: no more calls are woken, and those that are stay so.
        #[arg(long, conflicts_with_all = ["force", "wait"])]
        stop: bool,
        /// Waits until all are awake, and shows how far it is.
        #[arg(long)]
        wait: bool,
        /// Which node.
        #[command(flatten)]
        target: Target,
    },
    /// Removes every call that is kept for a site.
    #[command(after_help = "Examples:\n  rehome backup delete --site 1 --wait")]
    Delete {
        /// The home of the calls.
        #[arg(long)]
        site: u16,
        /// Although the site answers: its calls are unprotected until they are sent again.
        #[arg(long)]
        force: bool,
        /// Waits until all are removed, and shows how far it is.
        #[arg(long)]
        wait: bool,
        /// Which node.
        #[command(flatten)]
        target: Target,
    },
}

/// `rehome route ...`
#[derive(Clone, Debug, Subcommand)]
pub enum RouteCommand {
    /// The policy in force.
    #[command(after_help = "Examples:\n  rehome route show --admin http://127.0.0.1:8070")]
    Show(Target),
    /// Changes it: calls of home 1 are served by site 2.
    #[command(after_help = "Examples:\n  rehome route set 1=2 --weights 1=0,2=1\n  \
        rehome route set 1=1 2=2 --weights 1=1,2=1")]
    Set {
        /// `HOME=SITE`, any number of them.
        #[arg(value_parser = pair::<u16>, value_name = "HOME=SITE")]
        serves: Vec<(u16, u16)>,
        /// `SITE=SHARE,...`: the shares of the sites in new calls.
        #[arg(long, value_delimiter = ',', value_parser = pair::<u32>, value_name = "SITE=SHARE")]
        weights: Vec<(u16, u32)>,
        /// Which node.
        #[command(flatten)]
        target: Target,
    },
}

/// `rehome demo`
#[derive(Clone, Debug, Args)]
pub struct DemoArguments {
    /// Calls to place.
    #[arg(long, default_value_t = DemoOptions::default().calls)]
    pub calls: u32,
    /// Prints the outcome as one line of JSON.
    #[arg(long)]
    pub json: bool,
    /// Breaks the promise on purpose, to show that it is noticed.
    #[arg(long)]
    pub break_promise: bool,
    /// Keeps configurations, data and logs in this directory.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
}

impl From<DemoArguments> for DemoOptions {
    fn from(arguments: DemoArguments) -> Self {
        let DemoArguments { calls, json, break_promise, keep } = arguments;
        Self { calls, json, break_promise, keep }
    }
}

fn pair<T: std::str::FromStr>(text: &str) -> Result<(u16, T), String> {
    let parsed = text
        .split_once('=')
        .and_then(|(one, other)| Some((one.trim().parse().ok()?, other.trim().parse().ok()?)));
    parsed.ok_or_else(|| format!("`{text}` is not two numbers like 1=2"))
}

impl Target {
    fn client(&self) -> Result<Client, ClientError> {
        let token = self.token.clone().or_else(|| std::env::var("REHOME_TOKEN").ok());
        Client::new(&self.admin, token)
    }

    pub(crate) fn get<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        print: fn(&T) -> String,
    ) -> Result<String, ClientError> {
        let answer = self.client()?.get(path)?;
        self.print(&answer, print)
    }

    fn post<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        order: &impl Serialize,
        print: fn(&T) -> String,
    ) -> Result<String, ClientError> {
        let answer = self.client()?.post(path, order)?;
        self.print(&answer, print)
    }

    pub(crate) fn delete<T: DeserializeOwned + Serialize>(
        &self,
        path: &str,
        print: fn(&T) -> String,
    ) -> Result<String, ClientError> {
        let answer = self.client()?.delete(path)?;
        self.print(&answer, print)
    }

    fn print<T: Serialize>(
        &self,
        answer: &T,
        print: fn(&T) -> String,
    ) -> Result<String, ClientError> {
        if !self.json {
            return Ok(print(answer));
        }
        serde_json::to_string_pretty(answer)
            .map(|text| text + "\n")
            .map_err(|error| ClientError::Unreadable(error.to_string()))
    }
}

/// Asks and returns what is to be printed.
pub(crate) fn run(command: &Command) -> Result<String, ClientError> {
    match command {
        Command::Status(target) => target.get::<StatusReply>("/v1/status", print::status),
        Command::Partitions(arguments) => partitions::run(arguments),
        Command::Sites(target) => target.get::<SitesReply>("/v1/sites", print::sites),
        Command::Statistics(arguments) => statistics::run(arguments),
        Command::Calls { key: Some(key), target, .. } => {
            target.get::<CallStory>(&format!("/v1/calls/{key}"), print::call)
        }
        Command::Calls { key: None, limit, cursor, marked, target } => {
            let cursor = cursor.as_ref().map_or_else(String::new, |at| format!("&cursor={at}"));
            let marked = if *marked { "&marked=true" } else { "" };
            let path = format!("/v1/calls?limit={limit}{cursor}{marked}");
            target.get::<CallsReply>(&path, print::calls)
        }
        Command::Quarantine(command) => quarantine::run(command),
        Command::Backup(BackupCommand::Stats(target)) => {
            target.get::<BackupReply>("/v1/backup", print::backup)
        }
        Command::Backup(BackupCommand::Activate { site, force, stop, wait, target }) => {
            match stop {
                true => steer::stop_activating(*site, target),
                false => steer::activate(*site, *force, *wait, target),
            }
        }
        Command::Backup(BackupCommand::Delete { site, force, wait, target }) => {
            steer::delete(*site, *force, *wait, target)
        }
        Command::Replication(command) => steer::replication(command),
        Command::Evacuate(arguments) => steer::evacuate(arguments),
        Command::Return(command) => steer::steer_return(command),
        Command::Route(RouteCommand::Show(target)) => {
            target.get::<RouteReply>("/v1/route", print::route)
        }
        Command::Route(RouteCommand::Set { serves, weights, target }) => {
            let serves: BTreeMap<u16, u16> = serves.iter().copied().collect();
            let shares = weights.iter().copied().collect();
            let weights = (!weights.is_empty()).then_some(shares);
            let order = RouteOrder { version: None, serves, weights };
            target.post::<RouteReply>("/v1/route", &order, print::route)
        }
        Command::Demo(_) => Ok(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        command: Command,
    }

    fn parse(line: &str) -> Result<Command, clap::Error> {
        Program::try_parse_from(std::iter::once("rehome").chain(line.split(' ')))
            .map(|program| program.command)
    }

    #[test]
    fn the_policy_is_written_as_pairs() {
        let command = parse("route set 1=2 2=2 --weights 1=0,2=1").unwrap();
        let Command::Route(RouteCommand::Set { serves, weights, .. }) = command else {
            panic!("{command:?}")
        };
        assert_eq!(serves, [(1, 2), (2, 2)]);
        assert_eq!(weights, [(1, 0), (2, 1)]);
        assert!(parse("route set 1:2").is_err());
        assert!(parse("route set 1=x").is_err());
    }

    #[test]
    fn orders_name_their_site() {
        assert!(parse("backup activate --site 1").is_ok());
        assert!(parse("backup activate").is_err());
        assert!(parse("replication stop --site 2").is_ok());
        assert!(parse("replication --site 2 maybe").is_err());
        assert!(parse("replication retarget --to 3").is_ok());
        assert!(parse("evacuate --from 1 --to 2").is_ok());
        assert!(parse("evacuate --from 1 --abort").is_ok());
        for wrong in ["evacuate --to 2", "evacuate --from 1", "evacuate --from 1 --to 2 --abort"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
        assert!(parse("return start --without-keyset").is_ok());
        assert!(parse("return pause --without-keyset").is_err());
    }

    #[test]
    fn every_command_has_examples() {
        use clap::CommandFactory;
        fn check(command: &clap::Command) {
            if command.get_subcommands().next().is_some() {
                command.get_subcommands().for_each(check);
            } else if command.get_name() != "help" {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains("rehome "), "{} has no example", command.get_name());
            }
        }
        check(&Program::command());
    }
}
