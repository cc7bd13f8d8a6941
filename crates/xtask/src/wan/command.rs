//! The words that a test says to the router, one command a line.
//!
//! ```text
//! link a b KEY=VALUE...    sets some of delay_ms, jitter_ms, loss, reorder, reorder_ms
//! cut a b                  nothing passes, nothing that is under way arrives
//! flap a b up_ms=N down_ms=N
//! heal a b | heal a | heal all     ends cuts and flapping; delay and loss stay
//! isolate a                cuts every way from and to a
//! stats                    one line of JSON
//! ```
//! `a b` is both ways, `a>b` one. Each line is answered by one: `ok`, `error: ...` or the JSON.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::weather::{Change, Direction, Host, Weather};

/// The longest time that a setting may say, an hour.
const MILLISECONDS_MAX: f64 = 3_600_000.0;

const COMMANDS: &str = "link, cut, flap, heal, isolate, stats";

/// One line, understood.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Command {
    /// Changes settings.
    Link(Vec<Direction>, Change),
    /// Stops everything.
    Cut(Vec<Direction>),
    /// Opens again.
    Heal(Vec<Direction>),
    /// Opens and stops in turns.
    Flap {
        /// All in step.
        ways: Vec<Direction>,
        /// How long packets pass.
        up: Duration,
        /// How long they do not.
        down: Duration,
    },
    /// Tells the counters.
    Stats,
}

impl Command {
    /// Understands a line, or says what is wrong with it. `hosts` are the names, in order.
    pub(crate) fn parse(line: &str, hosts: &[String]) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let verb = words.next().ok_or(format!("an empty line; commands are {COMMANDS}"))?;
        let (settings, names): (Vec<&str>, Vec<&str>) = words.partition(|word| word.contains('='));
        if !settings.is_empty() && verb != "link" && verb != "flap" {
            return Err(format!("`{verb}` has no settings such as `{}`", settings[0]));
        }
        match verb {
            "link" => Ok(Self::Link(ways(&names, hosts)?, change(&settings)?)),
            "cut" => Ok(Self::Cut(ways(&names, hosts)?)),
            "heal" => match names[..] {
                ["all"] => Ok(Self::Heal(Weather::directions(hosts.len()).collect())),
                [name] if !name.contains('>') => Ok(Self::Heal(ways_of(name, hosts)?)),
                _ => Ok(Self::Heal(ways(&names, hosts)?)),
            },
            "isolate" => match names[..] {
                [name] => Ok(Self::Cut(ways_of(name, hosts)?)),
                _ => Err("`isolate` wants one host: isolate a".to_owned()),
            },
            "flap" => {
                let ways = ways(&names, hosts)?;
                let (up, down) = flapping(&settings)?;
                Ok(Self::Flap { ways, up, down })
            }
            "stats" if names.is_empty() => Ok(Self::Stats),
            "stats" => Err("`stats` wants nothing behind it".to_owned()),
            _ => Err(format!("no command `{verb}`; commands are {COMMANDS}")),
        }
    }

    /// Does it, and returns the line to answer.
    pub(crate) fn apply(&self, now: Duration, weather: &mut Weather, hosts: &[String]) -> String {
        match self {
            Self::Link(ways, change) => ways.iter().for_each(|way| weather.change(*way, *change)),
            Self::Cut(ways) => ways.iter().for_each(|way| weather.cut(*way)),
            Self::Heal(ways) => ways.iter().for_each(|way| weather.heal(*way)),
            Self::Flap { ways, up, down } => {
                ways.iter().for_each(|way| weather.flap(now, *way, *up, *down));
            }
            Self::Stats => return weather.stats(hosts).to_string(),
        }
        "ok".to_owned()
    }
}

/// Reads a time in milliseconds, decimals allowed.
pub(crate) fn milliseconds(text: &str) -> Result<Duration, String> {
    let is_fine = |value: &f64| (0.0..=MILLISECONDS_MAX).contains(value);
    let value = text.parse::<f64>().ok().filter(is_fine);
    let value = value.ok_or_else(|| {
        format!("`{text}` is no number of milliseconds from 0 to {MILLISECONDS_MAX}")
    })?;
    Ok(Duration::from_secs_f64(value / 1000.0))
}

/// Reads a share of packets, from 0 to 1.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    let value = text.parse::<f64>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.ok_or_else(|| format!("`{text}` is no share from 0 to 1"))
}

/// `a b` is both ways, `a>b` one.
fn ways(names: &[&str], hosts: &[String]) -> Result<Vec<Direction>, String> {
    let both = match names {
        [one, other] => Some((*one, *other)),
        _ => None,
    };
    let one_way = match names {
        [way] => way.split_once('>'),
        _ => None,
    };
    let (from, to) =
        both.or(one_way).ok_or("which way? `a b` is both ways, `a>b` one way".to_owned())?;
    let (from, to) = (host(from, hosts)?, host(to, hosts)?);
    if from == to {
        return Err("a host has no way to itself".to_owned());
    }
    let there = Direction { from, to };
    let back = Direction { from: to, to: from };
    Ok(if both.is_some() { vec![there, back] } else { vec![there] })
}

/// Every way from and to one host.
fn ways_of(name: &str, hosts: &[String]) -> Result<Vec<Direction>, String> {
    let host = host(name, hosts)?;
    let touches = |way: &Direction| way.from == host || way.to == host;
    Ok(Weather::directions(hosts.len()).filter(touches).collect())
}

fn host(name: &str, hosts: &[String]) -> Result<Host, String> {
    let found = hosts.iter().position(|host| host == name);
    found.ok_or_else(|| format!("no host `{name}`; hosts are {}", hosts.join(", ")))
}

fn change(settings: &[&str]) -> Result<Change, String> {
    const KEYS: &str = "delay_ms, jitter_ms, loss, reorder, reorder_ms";
    if settings.is_empty() {
        return Err(format!("`link` wants settings: {KEYS}"));
    }
    let mut change = Change::default();
    for setting in settings {
        let (key, value) = setting.split_once('=').unwrap_or((setting, ""));
        match key {
            "delay_ms" => change.delay = Some(milliseconds(value)?),
            "jitter_ms" => change.jitter = Some(milliseconds(value)?),
            "loss" => change.loss = Some(share(value)?),
            "reorder" => change.reorder = Some(share(value)?),
            "reorder_ms" => change.reorder_for = Some(milliseconds(value)?),
            _ => return Err(format!("no setting `{key}`; `link` has {KEYS}")),
        }
    }
    Ok(change)
}

fn flapping(settings: &[&str]) -> Result<(Duration, Duration), String> {
    let (mut up, mut down) = (Duration::ZERO, Duration::ZERO);
    for setting in settings {
        match setting.split_once('=') {
            Some(("up_ms", value)) => up = milliseconds(value)?,
            Some(("down_ms", value)) => down = milliseconds(value)?,
            _ => return Err(format!("no setting `{setting}`; `flap` has up_ms, down_ms")),
        }
    }
    if up.is_zero() || down.is_zero() {
        return Err("`flap` wants both and more than 0: up_ms=1000 down_ms=1000".to_owned());
    }
    Ok((up, down))
}
