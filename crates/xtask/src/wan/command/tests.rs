//! Lines, and what they are understood as.

use super::*;

const AB: Direction = Direction { from: 0, to: 1 };
const BA: Direction = Direction { from: 1, to: 0 };
const AC: Direction = Direction { from: 0, to: 2 };
const CA: Direction = Direction { from: 2, to: 0 };
const BC: Direction = Direction { from: 1, to: 2 };
const CB: Direction = Direction { from: 2, to: 1 };

#[test]
fn links() {
    let change = Change {
        delay: Some(ms(40)),
        jitter: Some(ms(5)),
        loss: Some(0.01),
        reorder: Some(0.02),
        reorder_for: Some(ms(7)),
    };
    check(
        "link a b delay_ms=40 jitter_ms=5 loss=0.01 reorder=0.02 reorder_ms=7",
        Ok(Command::Link(vec![AB, BA], change)),
    );
    let change = Change { delay: Some(Duration::from_micros(500)), ..Change::default() };
    check("link a>b delay_ms=0.5", Ok(Command::Link(vec![AB], change)));
    check("link b>a delay_ms=0.5", Ok(Command::Link(vec![BA], change)));
    check("link a b", Err("`link` wants settings"));
    check("link a b delay=40", Err("no setting `delay`"));
    check("link a b delay_ms=-1", Err("`-1` is no number of milliseconds"));
    check("link a b delay_ms=NaN", Err("`NaN` is no number of milliseconds"));
    check("link a b loss=1.5", Err("`1.5` is no share from 0 to 1"));
}

#[test]
fn cuts_and_healing() {
    check("cut a b", Ok(Command::Cut(vec![AB, BA])));
    check("  cut   b>c ", Ok(Command::Cut(vec![BC])));
    check("isolate a", Ok(Command::Cut(vec![AB, AC, BA, CA])));
    check("heal a b", Ok(Command::Heal(vec![AB, BA])));
    check("heal a>b", Ok(Command::Heal(vec![AB])));
    check("heal c", Ok(Command::Heal(vec![AC, BC, CA, CB])));
    check("heal all", Ok(Command::Heal(vec![AB, AC, BA, BC, CA, CB])));
    check("cut a", Err("which way?"));
    check("cut a b c", Err("which way?"));
    check("cut a a", Err("a host has no way to itself"));
    check("cut a d", Err("no host `d`; hosts are a, b, c"));
    check("cut a b loss=1", Err("`cut` has no settings"));
    check("isolate a b", Err("`isolate` wants one host"));
}

#[test]
fn flaps() {
    let flap = Command::Flap { ways: vec![AB, BA], up: ms(1000), down: ms(500) };
    check("flap a b up_ms=1000 down_ms=500", Ok(flap));
    check("flap a b up_ms=1000", Err("wants both"));
    check("flap a b up_ms=1000 down_ms=0", Err("wants both"));
    check("flap a b up_ms=1 down_ms=1 loss=1", Err("no setting `loss=1`"));
}

#[test]
fn stats_and_nonsense() {
    check("stats", Ok(Command::Stats));
    check("stats a", Err("`stats` wants nothing"));
    check("", Err("an empty line"));
    check("quit", Err("no command `quit`; commands are link"));
}

#[test]
fn an_answer_is_one_line() {
    let names = hosts();
    let mut weather = Weather::new(3, 1);
    for (line, answer) in [("cut a b", "ok"), ("stats", "{\"a>b\":{")] {
        let command = Command::parse(line, &names).unwrap();
        let answered = command.apply(ms(1), &mut weather, &names);
        assert!(answered.starts_with(answer) && !answered.contains('\n'), "{answered}");
    }
}

fn check(line: &str, expect: Result<Command, &str>) {
    match (Command::parse(line, &hosts()), expect) {
        (Ok(command), Ok(expected)) => assert_eq!(command, expected, "{line}"),
        (Err(error), Err(part)) => assert!(error.contains(part), "{line}: {error}"),
        (got, expect) => panic!("{line}: {got:?}, not {expect:?}"),
    }
}

fn hosts() -> Vec<String> {
    ["a", "b", "c"].map(str::to_owned).to_vec()
}

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
