//! Flows: text scripts in `flows/*.flow`, each with the replica's words under every line.
//!
//! A line at the margin is an input, the indented lines under it are what the replica said. To
//! write the answers of a new flow, run the test with `UPDATE_FLOWS=1` and review the difference.
//!
//! ```text
//! a lock k1 [begins]            a|b: an engine; k1: a call
//! a put k1 FLAG...              boundary busy unreleased unchanged steady=no due=500ms home=2 wake
//! a unlock|delete|renew k1
//! a up|down                     the engine's link
//! site2 serving|returning|away  what the gate says of the site
//! site2 stored|refused|linkdown answers to the oldest batch that is under way
//! site2 record k1 3@2 v4        a record of epoch 3 at site 2, version 4, comes from a batch
//! site2 removal k1 3@2 v5       a removal
//! order activate|drop|sweep 2
//! database 60s                  as the first line: records leave memory after so long
//! database does|refuses         the oldest thing that it was asked
//! database loses k1             its row is gone
//! database away|back
//! after 600ms
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::path::{Path, PathBuf};

use super::spill::{Disk, refused};
use super::*;
use crate::{DatabaseWord, SpillAfter};

#[derive(Default)]
struct Script {
    disk: Disk,
    /// Asks of the database that were printed.
    shown: usize,
    holds: BTreeMap<(EngineId, CallKey), (LockToken, Option<Record>)>,
    under_way: VecDeque<(SiteId, u64)>,
    sites: BTreeMap<SiteId, SiteState>,
}

fn flows() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("flows");
    let entries = std::fs::read_dir(folder).expect("the folder of flows");
    let mut flows: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    flows.sort();
    flows
}

#[test]
fn every_flow_goes_as_written() {
    let flows = flows();
    assert!(flows.len() >= 5);
    for path in flows {
        let written = std::fs::read_to_string(&path).expect("a flow");
        let played = play(&written);
        if std::env::var_os("UPDATE_FLOWS").is_some() {
            std::fs::write(&path, &played).expect("a flow");
        } else {
            assert_eq!(written, played, "{}", path.display());
        }
    }
}

fn play(written: &str) -> String {
    let mut bench = bench_of(written);
    bench.input(Input::EngineUp { engine: B });
    let mut script = Script::default();
    let mut played = String::new();
    for line in written.lines() {
        if line.starts_with(' ') {
            continue;
        }
        played.push_str(line);
        played.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let said = script.line(&mut bench, &words);
        for output in &said {
            script.hear(output);
            writeln!(played, "  {}", print(output)).expect("a string grows");
        }
        for ask in script.asked(&bench) {
            writeln!(played, "  database ◄ {}", print_ask(&ask)).expect("a string grows");
        }
    }
    played
}

/// With a database if the script begins with one.
fn bench_of(written: &str) -> Bench {
    let after = written.lines().find_map(|line| line.strip_prefix("database "));
    let Some(after) = after else {
        return Bench::new();
    };
    Bench::spilling(|config| {
        let after = SpillAfter::Steady(time_of(after));
        let spill = config.spill.as_mut().expect("set");
        (spill.after, spill.dormant_after) = (after, after);
        config.backup_to = Some(THERE);
    })
}

impl Script {
    /// What the database was asked since the last line.
    fn asked(&mut self, bench: &Bench) -> Vec<DatabaseAsk> {
        let asked = bench.asks.iter().skip(self.shown).cloned().collect();
        self.shown = bench.asks.len();
        asked
    }

    fn database(&mut self, bench: &mut Bench, what: &[&str]) {
        let mut oldest = || {
            let ask = bench.asks.pop_front().expect("it was asked something");
            self.shown -= 1;
            ask
        };
        let word = match *what {
            ["does"] => self.disk.carry_out(bench.now, oldest()),
            ["refuses"] => Some(refused(&oldest())),
            ["away"] => Some(DatabaseWord::Away),
            ["back"] => Some(DatabaseWord::Back),
            ["loses", name] => {
                self.disk.rows.remove(&key_of(name));
                None
            }
            // The first line, see above.
            _ => None,
        };
        match word {
            Some(word) => bench.input(Input::Database(word)),
            None => bench.input(Input::Wake),
        };
    }

    fn line(&mut self, bench: &mut Bench, words: &[&str]) -> Vec<Output> {
        match *words {
            ["after", time] => return bench.pass(time_of(time)),
            ["order", order, site] => {
                let site = SiteId(number(site));
                let order = match order {
                    "activate" => Order::Site(crate::SiteOrder::ActivateAll { site, force: false }),
                    "drop" => Order::Site(crate::SiteOrder::DropBackup { site }),
                    "sweep" => Order::Site(crate::SiteOrder::Sweep { site }),
                    other => panic!("order {other}"),
                };
                bench.input(Input::Order(order));
            }
            ["database", ref what @ ..] => self.database(bench, what),
            [who, what, ref rest @ ..] if who.starts_with("site") => {
                self.site(bench, SiteId(number(&who[4..])), what, rest);
            }
            [who, what, ref rest @ ..] => {
                let engine = if who == "a" { A } else { B };
                self.engine(bench, engine, what, rest);
            }
            _ => panic!("{words:?}"),
        }
        bench.said.clone()
    }

    fn engine(&mut self, bench: &mut Bench, engine: EngineId, what: &str, rest: &[&str]) {
        let key = rest.first().map_or(key(0), |name| key_of(name));
        let hold = self.holds.get(&(engine, key)).cloned();
        match what {
            "up" => {
                bench.input(Input::EngineUp { engine });
            }
            "down" => {
                self.holds.retain(|(holder, _), _| *holder != engine);
                bench.input(Input::EngineDown { engine });
            }
            "lock" => {
                bench.ask(engine, key, rest.contains(&"begins"));
            }
            "put" => {
                let (token, old) = hold.expect("a lock to put under");
                let (record, base, flags) = next_record(key, token, old, &rest[1..]);
                self.holds.insert((engine, key), (token, Some(record.clone())));
                bench.command(engine, Command::Put { view: VIEW, record, base, flags });
            }
            "unlock" => {
                let (token, _) = self.holds.remove(&(engine, key)).expect("a lock");
                bench.unlock(engine, key, token);
            }
            "renew" => {
                let (token, _) = hold.expect("a lock");
                bench.command(engine, Command::Renew { view: VIEW, key, token });
            }
            "delete" => {
                let (token, old) = self.holds.remove(&(engine, key)).expect("a lock");
                let base = old.expect("a record").header.stamp;
                let stamp = Stamp { token, version: Version(base.version.0 + 1), ..base };
                let tombstone = Tombstone { key, stamp };
                bench.command(engine, Command::Delete { view: VIEW, tombstone, base });
            }
            other => panic!("{other}"),
        }
    }

    fn site(&mut self, bench: &mut Bench, site: SiteId, what: &str, rest: &[&str]) {
        let state = match what {
            "serving" => Some(SiteState::Serving),
            "returning" => Some(SiteState::Returning),
            _ => None,
        };
        match (what, rest) {
            ("serving" | "returning" | "away", []) => {
                self.sites.remove(&site);
                self.sites.extend(state.map(|state| (site, state)));
                let alive = self.sites.iter();
                let alive = alive
                    .map(|(site, state)| SiteStatus {
                        site: *site,
                        state: *state,
                        start: 1,
                        dictionary: 1,
                        course: Course::default(),
                    })
                    .collect();
                let (here, waiting) = (SiteState::Serving, Vec::new());
                bench.site(SiteInput::Status {
                    view: ViewNumber::default(),
                    here,
                    alive,
                    waiting,
                    steering: bench.replica.steering.clone(),
                });
            }
            ("linkdown", []) => {
                self.under_way.retain(|(to, _)| *to != site);
                bench.site(SiteInput::LinkDown { view: ViewNumber::default(), site });
            }
            ("stored" | "refused", []) => {
                let at = self.under_way.iter().position(|(to, _)| *to == site);
                let at = at.expect("a batch under way");
                let (_, id) = self.under_way.remove(at).expect("found above");
                bench.site(match what {
                    "stored" => SiteInput::BatchStored { site, id },
                    _ => SiteInput::BatchRefused { site, id },
                });
            }
            ("record", [call, epoch, version]) => {
                let stamp = stamp_of(epoch, version);
                bench.store_dormant(record(key_of(call), stamp, site));
            }
            ("removal", [call, epoch, version]) => {
                bench.store_tombstone(key_of(call), stamp_of(epoch, version));
            }
            other => panic!("{other:?}"),
        }
    }

    fn hear(&mut self, output: &Output) {
        match output {
            Output::Reply { engine, reply: Reply::Granted { key, token, record, .. }, .. } => {
                self.holds.insert((*engine, *key), (*token, record.clone()));
            }
            Output::Gate(GateBound::Publish { site, id, .. }) => {
                self.under_way.push_back((*site, *id));
            }
            Output::Reply { .. }
            | Output::Gate(_)
            | Output::WakeAt(..)
            | Output::Peer { .. }
            | Output::Store(_)
            | Output::Database(_)
            | Output::Map(_)
            | Output::Dropped { .. }
            | Output::Expelled => {}
        }
    }
}

fn next_record(
    key: CallKey,
    token: LockToken,
    old: Option<Record>,
    words: &[&str],
) -> (Record, Option<Stamp>, PutFlags) {
    let base = old.as_ref().map(|record| record.header.stamp);
    let mut epoch = base.map_or(Epoch::of_start(HERE, 1), |base| base.epoch);
    let version = Version(base.map_or(1, |base| base.version.0 + 1));
    let mut flags = PutFlags::default();
    let mut next = record(key, Stamp { epoch, token, version }, HERE);
    if let Some(old) = old {
        next.header.origin = old.header.origin;
    }
    for word in words {
        match *word {
            "boundary" => flags.boundary = true,
            "busy" => flags.boundary = false,
            "unreleased" => flags.unreleased = true,
            "ended" => flags.ended = true,
            "unchanged" => flags.crossing_unchanged = true,
            "steady=no" => next.header.hints = vec![(1, Hint::Busy)],
            "wake" => epoch = epoch.woken_at(HERE),
            other => match other.split_once('=') {
                Some(("due", time)) => {
                    next.header.deadline = Some(time_of(time));
                    next.header.crossing_deadline = next.header.deadline;
                }
                Some(("home", site)) => epoch = epoch.given_to(SiteId(number(site))),
                _ => panic!("{other}"),
            },
        }
    }
    next.header.stamp.epoch = epoch;
    (next, base, flags)
}

fn number<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("not a number: {text}"))
}

fn time_of(text: &str) -> Duration {
    match text.strip_suffix("ms") {
        Some(count) => ms(number(count)),
        None => ms(number::<u64>(text.strip_suffix('s').expect("s or ms")) * 1_000),
    }
}

fn key_of(name: &str) -> CallKey {
    key(number(name.strip_prefix('k').expect("k1, k2 ...")))
}

/// Epochs of flows are small: they count from the first start.
const FIRST: u64 = Epoch::PER_START;

fn stamp_of(epoch: &str, version: &str) -> Stamp {
    let (n, home) = epoch.split_once('@').expect("epoch@site");
    let version = number(version.strip_prefix('v').expect("v4"));
    stamp(FIRST + number::<u64>(n), SiteId(number(home)), version)
}

fn shown(stamp: Stamp) -> String {
    let Epoch { n, site } = stamp.epoch;
    format!("{}@{} v{}", n.saturating_sub(FIRST), site.0, stamp.version.0)
}

fn shown_record(record: Option<&Record>) -> String {
    record.map_or("nothing".into(), |record| {
        let age = record.header.age.as_millis();
        format!("{} age={age}ms", shown(record.header.stamp))
    })
}

fn call_of(key: &CallKey) -> String {
    format!("k{}", key.0[0])
}

fn print(output: &Output) -> String {
    match output {
        Output::Reply { engine, view: _, reply } => {
            let name = if *engine == A { "a" } else { "b" };
            format!("{name} ◄ {}", print_reply(reply))
        }
        Output::Gate(GateBound::Publish { site, bytes, .. }) => {
            let entries = batch::decode(bytes, BYTES_MAX).expect("our own batch");
            let entries = entries.iter().map(|entry| match entry {
                Entry::Record(record) => {
                    format!("{} {}", call_of(&record.header.key), shown_record(Some(record)))
                }
                Entry::Tombstone(tombstone) => {
                    format!("{} ended {}", call_of(&tombstone.key), shown(tombstone.stamp))
                }
            });
            format!("site{} ◄ batch: {}", site.0, entries.collect::<Vec<_>>().join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn print_ask(ask: &DatabaseAsk) -> String {
    let names = |rows: &[(CallKey, Stamp)]| {
        let names = rows.iter().map(|(key, stamp)| format!("{} {}", call_of(key), shown(*stamp)));
        names.collect::<Vec<_>>().join(", ")
    };
    match ask {
        DatabaseAsk::Store { rows, .. } => {
            let rows: Vec<_> = rows.iter().map(|row| (row.key, row.stamp)).collect();
            format!("store {}", names(&rows))
        }
        DatabaseAsk::Fetch { key, stamp } => format!("fetch {}", names(&[(*key, *stamp)])),
        DatabaseAsk::Remove { rows, .. } => format!("remove {}", names(rows)),
        DatabaseAsk::Clear { .. } => "clear".into(),
    }
}

fn print_reply(reply: &Reply) -> String {
    match reply {
        Reply::Granted { key, cause, record, dormant, resume, .. } => {
            let cause = match cause {
                Cause::Asked { .. } => "asked".into(),
                Cause::Due => "due".into(),
                Cause::Resume => "resume".into(),
                Cause::Activate => "activate".into(),
                Cause::Quarantined => "quarantined".into(),
                Cause::HandBack { to } => format!("hand back to site{}", to.0),
            };
            let asleep = if *dormant { ", asleep" } else { "" };
            let again = if *resume { ", effects again" } else { "" };
            let record = shown_record(record.as_ref());
            format!("{} granted ({cause}): {record}{asleep}{again}", call_of(key))
        }
        Reply::Queued { key, .. } => format!("{} queued", call_of(key)),
        Reply::Busy { key, .. } => format!("{} busy", call_of(key)),
        Reply::NotHere { key, .. } => format!("{} not here", call_of(key)),
        Reply::Confirmed { key, .. } => format!("{} confirmed", call_of(key)),
        Reply::Stored { key, stamp } => format!("{} stored {}", call_of(key), shown(*stamp)),
        Reply::Refused { key, why, .. } => {
            let why = match why {
                Refusal::OldToken => "old token".into(),
                Refusal::NotTheBase { held } => {
                    format!("not the base, held {}", held.map_or("nothing".into(), shown))
                }
                Refusal::Full => "full".into(),
            };
            format!("{} refused: {why}", call_of(key))
        }
        Reply::Dormant { key, outcome, .. } => match outcome {
            DormantOutcome::Superseded { held } => {
                format!("{} superseded by {}@{}", call_of(key), held.n - FIRST, held.site.0)
            }
            DormantOutcome::Stored | DormantOutcome::Stale | DormantOutcome::Full => {
                format!("{} {outcome:?}", call_of(key)).to_lowercase()
            }
        },
        other => format!("{other:?}"),
    }
}
