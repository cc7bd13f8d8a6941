//! The simulator as a program: what it prints and how it exits.

use std::process::{Command, Output};

fn sim(arguments: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_sim");
    Command::new(program).args(arguments).output().expect("the simulator starts")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_seed_told_twice_is_told_the_same() {
    for world in ["sites", "tier"] {
        let [once, again] = [(), ()].map(|()| sim(&["--world", world, "--replay", "10000"]));
        assert!(once.status.success(), "{}", printed(&once));
        assert!(printed(&once).contains(&format!("seed 10000 of {world}: trace ")));
        assert_eq!(printed(&once), printed(&again));
    }
}

#[test]
fn a_planted_bug_is_told_with_the_way_to_replay_it_and_fails() {
    let found = sim(&["--world", "sites", "--mutation", "send-before-stored", "--seeds", "40"]);
    assert!(!found.status.success());
    let printed = printed(&found);
    assert!(printed.contains("VIOLATION"), "{printed}");
    assert!(printed.contains("replay: cargo xtask sim --world sites --replay"), "{printed}");
}

#[test]
fn an_unknown_mutation_lists_those_there_are() {
    let refused = sim(&["--mutation", "no-such-bug"]);
    assert!(!refused.status.success());
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(told.contains("send-before-stored"), "{told}");
}
