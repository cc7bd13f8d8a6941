//! Rules that one file's text can break.

use std::path::Path;

use super::edges::CORES;

const LINES_MAX: usize = 800;
const FUNCTION_LINES_MAX: usize = 70;
const COLUMNS_MAX: usize = 100;

/// Marks of unfinished work and paths of one machine. Written in halves, so that this file passes.
const BANNED: &[(&str, &str)] = &[
    (concat!("todo", "!("), "unfinished"),
    (concat!("unimplemented", "!("), "unfinished"),
    (concat!("#[ign", "ore"), "a test that does not run"),
    (concat!("FIX", "ME"), "unfinished"),
    (concat!("TO", "DO"), "unfinished"),
    (concat!("/wo", "rk/"), "a path of one machine"),
    (concat!("/ro", "ot/"), "a path of one machine"),
];

/// What a core never names: time and effects come and go through its doors.
const NEVER_IN_CORES: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "std::thread",
    "UdpSocket",
    "TcpStream",
    "std::fs",
    "std::process",
    "std::env",
    "RandomState",
    "async fn",
];

/// Rooms in which a new state or input must break every match that thinks about it.
const EXHAUSTIVE: &[&str] = &["call", "replica", "engine"];

/// Findings in one file, each with its line.
pub(crate) fn check(file: &Path, source: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let shown = file.display();
    let is_test = is_test(file);
    let lines: Vec<&str> = source.lines().collect();
    if !source.starts_with("//!") {
        findings.push(format!("{shown}:1: a file opens with `//!`: what it is, what it lacks"));
    }
    if lines.len() > LINES_MAX && !is_test {
        findings.push(format!("{shown}: {} lines, at most {LINES_MAX}", lines.len()));
    }
    if file.file_name().is_some_and(|name| name == "mod.rs") {
        findings.push(format!("{shown}: name the file after its module"));
    }
    let room = room(file);
    let is_core = CORES.contains(&room) && !is_test;
    for (number, line) in lines.iter().enumerate() {
        let at = number + 1;
        if line.chars().count() > COLUMNS_MAX {
            findings.push(format!("{shown}:{at}: more than {COLUMNS_MAX} columns"));
        }
        for (word, why) in BANNED {
            if line.contains(word) {
                findings.push(format!("{shown}:{at}: `{word}`: {why}"));
            }
        }
        let code = line.split("//").next().unwrap_or_default();
        if is_core && let Some(name) = NEVER_IN_CORES.iter().find(|name| code.contains(**name)) {
            findings.push(format!("{shown}:{at}: `{name}` in a core"));
        }
    }
    if EXHAUSTIVE.contains(&room) && file.ends_with("src/lib.rs") {
        let denies = source.contains("deny(clippy::wildcard_enum_match_arm");
        if !denies {
            findings.push(format!("{shown}: must deny clippy::wildcard_enum_match_arm"));
        }
    }
    findings.extend(long_functions(&lines).map(|(at, length)| {
        format!("{shown}:{at}: a function of {length} lines, at most {FUNCTION_LINES_MAX}")
    }));
    findings
}

fn is_test(file: &Path) -> bool {
    file.file_stem().is_some_and(|stem| stem == "tests")
        || file.components().any(|part| {
            let part = part.as_os_str();
            part == "tests" || part == "benches"
        })
}

/// The crate a file belongs to, by its folder.
fn room(file: &Path) -> &str {
    let mut parts = file.components().filter_map(|part| part.as_os_str().to_str());
    if parts.next() == Some("crates") { parts.next().unwrap_or_default() } else { "" }
}

/// Functions over the limit, unless they are one flat `match`. Relies on rustfmt's indentation.
fn long_functions<'a>(lines: &'a [&'a str]) -> impl Iterator<Item = (usize, usize)> + 'a {
    lines.iter().enumerate().filter_map(|(start, line)| {
        let trimmed = line.trim_start();
        let indent = line.len() - trimmed.len();
        let is_function = ["fn ", "pub fn ", "pub(crate) fn ", "pub(super) fn ", "async fn "]
            .iter()
            .any(|head| trimmed.starts_with(head));
        if !is_function {
            return None;
        }
        let closing = format!("{}}}", " ".repeat(indent));
        let end = lines[start..].iter().position(|line| **line == closing)? + start;
        let length = end - start + 1;
        let body = &lines[start..=end];
        (length > FUNCTION_LINES_MAX && !is_flat_match(body, indent)).then_some((start + 1, length))
    })
}

/// One `match` that fills most of the function, with arms of a few lines each.
fn is_flat_match(body: &[&str], indent: usize) -> bool {
    let arm_indent = " ".repeat(indent + 8);
    let opens = format!("{}match ", " ".repeat(indent + 4));
    let arms = body
        .iter()
        .filter(|line| {
            line.starts_with(&arm_indent)
                && !line[arm_indent.len()..].starts_with(' ')
                && line.contains("=>")
        })
        .count();
    body.iter().any(|line| line.starts_with(&opens)) && arms * 9 >= body.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_one(file: &str, source: &str, expect: &[&str]) {
        let findings = check(Path::new(file), source);
        assert_eq!(findings.len(), expect.len(), "{findings:?}");
        for (finding, part) in findings.iter().zip(expect) {
            assert!(finding.contains(part), "{finding}");
        }
    }

    #[test]
    fn a_clean_file_passes() {
        check_one("crates/vocab/src/id.rs", "//! Ids.\n\npub fn one() -> u8 {\n    1\n}\n", &[]);
    }

    #[test]
    fn a_core_reads_no_clock() {
        let source = "//! X.\nfn f() {\n    std::time::Instant::now();\n}\n";
        check_one("crates/replica/src/lock.rs", source, &["`Instant::now` in a core"]);
        check_one("crates/node/src/main.rs", source, &[]);
        check_one("crates/replica/src/lock/tests.rs", source, &[]);
    }

    #[test]
    fn long_functions_and_lines_are_found() {
        let long = format!("//! X.\nfn f() {{\n{}}}\n", "    g();\n".repeat(70));
        check_one("crates/call/src/leg.rs", &long, &["a function of 72 lines"]);
        let wide = format!("//! X.\n// {}\n", "w".repeat(100));
        check_one("crates/call/src/leg.rs", &wide, &["100 columns"]);
    }

    #[test]
    fn unfinished_work_is_found() {
        let source = concat!("//! X.\nfn f() {\n    to", "do!(\"x\");\n}\n");
        check_one("crates/call/src/leg.rs", source, &["unfinished"]);
    }
}
