//! All figures as one table, as JSON, and against their bounds.

use serde_json::{Value, json};

use crate::harness::bulk::Woken;
use crate::held::Held;
use crate::rate::{DELAYS_MS, Rate};

/// Both ways, and the settle time and the window of a batch.
const LAG_MS_MAX: u64 = 250;
const BYTES_MAX: f64 = 1_024.0;
/// T1 of RFC 3261; on a machine that is not saturated it is to be below 200.
const FIRST_ANSWER_MS_MAX: f64 = 500.0;
const CPU_PERCENT_MAX: f64 = 10.0;
const WAKE_S_MAX: f64 = 10.0;
const SET_UP_MS_MAX: f64 = 500.0;

/// What was measured.
#[derive(Default)]
pub(crate) struct Figures {
    pub(crate) held: Option<Held>,
    pub(crate) early: Option<Held>,
    pub(crate) rate: Option<Rate>,
    pub(crate) bulk: Option<Woken>,
}

/// One line: what it is, its figures, its bound, and whether it is kept.
struct Line {
    what: String,
    figures: String,
    bound: String,
    is_kept: bool,
}

impl Figures {
    /// Prints the table.
    pub(crate) fn print(&self) {
        println!("\nBetween two sites, 40 ms each way unless it says otherwise");
        println!("{:<42} {:>32}   {:<12}", "", "figure", "bound");
        for line in self.lines() {
            let Line { what, figures, bound, is_kept } = line;
            let end = if is_kept { "" } else { "  BROKEN" };
            println!("{what:<42} {figures:>32}   {bound:<12}{end}");
        }
    }

    /// What is out of bounds.
    pub(crate) fn broken(&self) -> Vec<String> {
        let lines = self.lines().into_iter();
        lines.filter(|line| !line.is_kept).map(|line| line.what).collect()
    }

    fn lines(&self) -> Vec<Line> {
        let mut lines = Vec::new();
        for (held, kind) in [(&self.held, ""), (&self.early, ", early")] {
            lines.extend(held.iter().flat_map(|held| of_held(held, kind)));
        }
        lines.extend(self.rate.iter().flat_map(of_rate));
        lines.extend(self.bulk.iter().flat_map(of_bulk));
        lines
    }

    /// The same, for programs.
    pub(crate) fn to_json(&self) -> Value {
        let held = |held: &Held| {
            json!({
                "calls": held.calls,
                "lag_ms_p50_at_most": held.lag_ms[0],
                "lag_ms_p99_at_most": held.lag_ms[1],
                "bytes_per_call": short(held.bytes_per_call),
                "states_per_call": short(held.states_per_call),
                "first_answer_ms_p50": held.first_answer_ms.map(|ms| short(ms[0])),
                "first_answer_ms_p99": held.first_answer_ms.map(|ms| short(ms[1])),
                "lost": held.lost,
            })
        };
        let rate = |rate: &Rate| {
            let rows = DELAYS_MS.iter().zip(&rate.cpu_us).zip(rate.medians());
            let rows = rows.map(|((delay_ms, rounds), median)| {
                let rounds: Vec<f64> = rounds.iter().copied().map(short).collect();
                json!({ "delay_ms": delay_ms, "cpu_us_per_call": short(median), "rounds": rounds })
            });
            json!({
                "highest_calls_per_s": rate.highest,
                "is_highest_tried": rate.is_highest_tried(),
                "calls_per_s": rate.at,
                "calls": rate.calls,
                "calls_failed": rate.failed,
                "rounds_of_each_delay": rate.rounds,
                "rounds_not_sustained": rate.spoiled(),
                "rows": rows.collect::<Vec<_>>(),
                "medians_differ_by_percent": short(rate.differ_by()),
            })
        };
        let bulk = |woken: &Woken| {
            json!({
                "calls": woken.dormant,
                "activated": woken.activated,
                "crossed_in_s": short(woken.crossed_in),
                "seconds": short(woken.took),
                "new_calls_meanwhile": woken.meanwhile,
                "new_call_ms_p50": short(woken.set_ups_ms[0]),
                "new_call_ms_p99": short(woken.set_ups_ms[1]),
                "new_calls_failed": woken.new.failed,
                "sessions_due_in_sleep": woken.refreshed.len(),
            })
        };
        json!({
            "bench": "crossing",
            "held": self.held.as_ref().map(held),
            "early": self.early.as_ref().map(held),
            "rate": self.rate.as_ref().map(rate),
            "bulk": self.bulk.as_ref().map(bulk),
        })
    }
}

fn of_held(held: &Held, kind: &str) -> Vec<Line> {
    let [p50, p99] = held.lag_ms;
    let mut lines = vec![
        Line {
            what: format!("crossing lag{kind}, p50 / p99"),
            figures: format!("within {p50} / {p99} ms"),
            bound: format!("{LAG_MS_MAX} ms"),
            is_kept: p99 <= LAG_MS_MAX,
        },
        Line {
            what: format!("bytes that cross per B2BUA call{kind}"),
            figures: format!("{:.0} in {:.2} states", held.bytes_per_call, held.states_per_call),
            bound: format!("{BYTES_MAX:.0} bytes"),
            is_kept: held.bytes_per_call <= BYTES_MAX,
        },
    ];
    if let Some([p50, p99]) = held.first_answer_ms {
        lines.push(Line {
            what: format!("first answer after take-over{kind}, p50 / p99"),
            figures: format!("{p50:.0} / {p99:.0} ms, {} of {} lost", held.lost, held.calls),
            bound: format!("{FIRST_ANSWER_MS_MAX:.0} ms, 0"),
            is_kept: p99 <= FIRST_ANSWER_MS_MAX && held.lost == 0,
        });
    }
    lines
}

fn of_rate(rate: &Rate) -> Vec<Line> {
    let medians = DELAYS_MS.iter().zip(rate.medians()).zip(&rate.cpu_us);
    let medians = medians.map(|((delay_ms, median), rounds)| Line {
        what: format!("CPU per call at {} calls/s, {delay_ms} ms away", rate.at),
        figures: match rounds.len() {
            0 => format!("none of {} rounds", rate.rounds),
            taken if taken < rate.rounds => {
                format!("{median:.0} us, {taken} of {} rounds", rate.rounds)
            }
            _ => format!("{median:.0} us"),
        },
        bound: format!("{} rounds", rate.rounds),
        is_kept: rounds.len() == rate.rounds,
    });
    let at_least = if rate.is_highest_tried() { ">= " } else { "" };
    let highest = Line {
        what: "highest rate, whatever the delay".to_owned(),
        figures: format!("{at_least}{} calls/s", rate.highest),
        bound: String::new(),
        is_kept: rate.highest > 0,
    };
    let succeed = Line {
        what: format!("all calls succeed at {} calls/s", rate.at),
        figures: format!("{} of {} failed", rate.failed, rate.calls),
        bound: "0".to_owned(),
        is_kept: rate.failed == 0,
    };
    let differ = Line {
        what: "these medians differ by".to_owned(),
        figures: format!("{:.1} %", rate.differ_by()),
        bound: format!("{CPU_PERCENT_MAX:.0} %"),
        // Not a number where a delay has none.
        is_kept: rate.differ_by() < CPU_PERCENT_MAX,
    };
    [highest, succeed].into_iter().chain(medians).chain([differ]).collect()
}

fn of_bulk(woken: &Woken) -> Vec<Line> {
    let [p50, p99] = woken.set_ups_ms;
    vec![
        Line {
            what: format!("{} dormant calls wake in", woken.dormant),
            figures: format!("{:.2} s", woken.took),
            bound: format!("{WAKE_S_MAX:.0} s"),
            is_kept: woken.took < WAKE_S_MAX && woken.activated == woken.dormant,
        },
        Line {
            what: "set-up of new calls meanwhile, p50 / p99".to_owned(),
            figures: format!("{p50:.0} / {p99:.0} ms, {} failed", woken.new.failed),
            bound: format!("{SET_UP_MS_MAX:.0} ms, 0"),
            is_kept: p99 < SET_UP_MS_MAX && woken.new.failed == 0,
        },
    ]
}

fn short(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}
