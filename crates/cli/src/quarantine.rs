//! `rehome quarantine`: what broke whoever worked it, as people look at it.

use std::fmt::Write;

use admin_api::{OrderReply, QuarantineReply, QuarantineStory};
use clap::{ArgGroup, Subcommand};

use crate::client::ClientError;
use crate::command::Target;
use crate::print::{Lines, order, span};

/// `rehome quarantine ...`
#[derive(Clone, Debug, Subcommand)]
pub enum QuarantineCommand {
    /// The calls in quarantine, one a line.
    #[command(after_help = "Examples:\n  rehome quarantine list\n  \
        rehome quarantine list --admin http://10.0.0.5:8080 --json")]
    List(Target),
    /// What is kept of one call: its record, and what led to it.
    #[command(after_help = "Examples:\n  \
        rehome quarantine show 2f1c0a9b8d7e6f504132a3b4c5d6e7f8\n  \
        rehome quarantine show 2f1c0a9b8d7e6f504132a3b4c5d6e7f8 --json > poison.json")]
    Show {
        /// The call: 32 hexadecimal digits.
        key: String,
        /// Which node.
        #[command(flatten)]
        target: Target,
    },
    /// Forgets what is kept of one call, or of all. The calls themselves have ended before.
    #[command(
        group(ArgGroup::new("which").required(true).args(["key", "all"])),
        after_help = "Examples:\n  rehome quarantine drop 2f1c0a9b8d7e6f504132a3b4c5d6e7f8\n  \
        rehome quarantine drop --all"
    )]
    Drop {
        /// The call: 32 hexadecimal digits.
        key: Option<String>,
        /// Every call in quarantine.
        #[arg(long)]
        all: bool,
        /// Which node.
        #[command(flatten)]
        target: Target,
    },
}

pub(crate) fn run(command: &QuarantineCommand) -> Result<String, ClientError> {
    match command {
        QuarantineCommand::List(target) => target.get::<QuarantineReply>("/v1/quarantine", list),
        QuarantineCommand::Show { key, target } => {
            target.get::<QuarantineStory>(&format!("/v1/quarantine/{key}"), story)
        }
        QuarantineCommand::Drop { key, all: _, target } => {
            let path = key.as_ref().map(|key| format!("/v1/quarantine/{key}"));
            let path = path.unwrap_or_else(|| "/v1/quarantine".into());
            target.delete::<OrderReply>(&path, order)
        }
    }
}

fn list(reply: &QuarantineReply) -> String {
    if reply.calls.is_empty() {
        return "no calls in quarantine\n".into();
    }
    let mut text = format!(
        "{:<32}  {:<11}  {:>8}  {:>7}  {:>4}  {:>7}  WHAT\n",
        "KEY", "CAUSE", "AGE", "STRIKES", "HOME", "BYTES"
    );
    for call in &reply.calls {
        let asleep = if call.dormant { " (dormant)" } else { "" };
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{:<32}  {:<11}  {:>8}  {:>7}  {:>4}  {:>7}  {}{asleep}",
            call.key,
            call.cause,
            span(call.age_ms),
            call.strikes,
            call.home,
            call.bytes,
            printable(&call.what),
        );
    }
    text
}

fn story(story: &QuarantineStory) -> String {
    let mut lines = Lines(String::new());
    let call = &story.call;
    lines.add("call", &call.key);
    lines.add("set aside", format!("{} ago, {} bytes", span(call.age_ms), call.bytes));
    let asleep = if call.dormant { ", it slept here" } else { "" };
    if call.home > 0 {
        let (home, origin) = (call.home, story.origin);
        lines.add("home", format!("site {home}, began at site {origin}{asleep}"));
        lines.add("stamp", format!("{}, schema {}", story.stamp, story.schema));
    }
    for strike in &story.strikes {
        let (age, engine, what) = (span(strike.age_ms), strike.engine, printable(&strike.what));
        lines.add("strike", format!("{} {age} ago, engine {engine}: {what}", strike.cause));
        for line in strike.message.lines() {
            lines.add("", printable(line));
        }
    }
    for line in &story.summary {
        lines.add("state", printable(line));
    }
    lines.add("sections", "in hexadecimal digits with --json");
    lines.0
}

/// What strangers wrote must not move the cursor of whoever looks at it.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use admin_api::{QuarantineLine, StrikeLine};

    fn call() -> QuarantineLine {
        QuarantineLine {
            key: "2f1c0a9b8d7e6f504132a3b4c5d6e7f8".into(),
            cause: "panicked".into(),
            what: "on \u{1b}[31mpurpose".into(),
            age_ms: 1_500,
            strikes: 2,
            dormant: false,
            home: 1,
            bytes: 2_100,
        }
    }

    #[test]
    fn the_list_is_a_table() {
        let text = list(&QuarantineReply { calls: vec![call()] });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[1].contains("panicked        1.5 s        2     1     2100  on "), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(list(&QuarantineReply::default()), "no calls in quarantine\n");
    }

    #[test]
    fn a_story_has_each_strike_with_its_message() {
        let strike = StrikeLine {
            cause: "panicked".into(),
            engine: 4,
            age_ms: 30,
            what: "on purpose".into(),
            message: "INFO sip:b@example.net SIP/2.0\r\nX-Panic: 1\r\n".into(),
        };
        let text =
            story(&QuarantineStory { call: call(), strikes: vec![strike], ..Default::default() });
        assert!(text.contains("panicked 30 ms ago, engine 4: on purpose\n"), "{text}");
        assert!(text.contains(" X-Panic: 1\n"), "{text}");
    }
}
