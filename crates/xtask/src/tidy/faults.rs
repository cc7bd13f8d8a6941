//! `docs/faults.md` keeps its word: each fault has a row, and each test that a row names exists.
//!
//! What a row says of how much is proved is for people to judge.

use std::path::Path;

const TABLE: &str = "docs/faults.md";
/// Faults of disks, queues and sites, and the one of an operator's orders.
const IDS: [std::ops::RangeInclusive<u32>; 2] = [15..=44, 57..=57];

/// Findings in the table of faults.
pub(super) fn check(root: &Path) -> Result<Vec<String>, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))
    };
    let table = read(&root.join(TABLE))?;
    Ok(findings(&table, |file| read(&root.join("crates").join(file)).ok()))
}

fn findings(table: &str, source: impl Fn(&str) -> Option<String>) -> Vec<String> {
    let mut findings = Vec::new();
    for id in IDS.into_iter().flatten() {
        let begins = format!("| D{id} |");
        let rows: Vec<&str> = table.lines().filter(|line| line.starts_with(&begins)).collect();
        let [row] = rows[..] else {
            findings.push(format!("{TABLE}: {} rows of D{id}, not one", rows.len()));
            continue;
        };
        let named = tests_of(row);
        if named.is_empty() {
            findings.push(format!("{TABLE}: D{id} names no test"));
        }
        for (test, file) in named {
            match source(file) {
                None => findings.push(format!("{TABLE}: D{id}: there is no crates/{file}")),
                Some(source) if source.contains(&format!("fn {test}(")) => {}
                Some(_) => findings.push(format!("{TABLE}: D{id}: no `{test}` in {file}")),
            }
        }
    }
    findings
}

/// The tests that a row names, each with its file: of several before one file, all are in it.
fn tests_of(row: &str) -> Vec<(&str, &str)> {
    let quoted: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
    let mut named = Vec::new();
    let mut waiting = Vec::new();
    for word in quoted {
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        if word.ends_with(".rs") {
            named.extend(waiting.drain(..).map(|test| (test, word)));
        } else if word.contains('_') && word.bytes().all(is_name) {
            waiting.push(word);
        }
    }
    // What no file follows is in none.
    named.extend(waiting.into_iter().map(|test| (test, "")));
    named
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_tests_that_exist() {
        let ids = IDS.into_iter().flatten();
        let rows = ids.map(|id| format!("| D{id} | x | `a_test`, `b_test` in `one.rs` | `X=y` |"));
        let table: Vec<String> = rows.collect();
        let source =
            |file: &str| (file == "one.rs").then(|| "fn a_test() {}\nfn b_test() {}".to_owned());
        assert_eq!(findings(&table.join("\n"), source), [""; 0]);
        let told = |from: &str, to: &str| findings(&table.join("\n").replacen(from, to, 1), source);
        assert!(told("| D15 |", "| D99 |")[0].contains("0 rows of D15"));
        assert!(told("`b_test`", "`c_test`")[0].contains("no `c_test` in one.rs"));
        assert!(told("`one.rs`", "`two.rs`")[0].contains("no crates/two.rs"));
        assert!(told("`a_test`, `b_test` in `one.rs`", "none")[0].contains("names no test"));
        assert!(told(" in `one.rs`", "")[0].contains("D15"));
    }
}
