//! Programs that the tests drive: real peers, installed from Debian when missing and allowed.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::run;

/// A program and the Debian package that brings it.
pub(crate) struct Program {
    name: &'static str,
    package: &'static str,
    what_for: &'static str,
}

/// What `cargo xtask test` drives.
pub(crate) const TEST: &[Program] = &[
    Program {
        name: "sipp",
        package: "sip-tester",
        what_for: "caller and callee of the end-to-end tests",
    },
    // The server itself is in a folder of its version, which is in no PATH.
    Program { name: "pg_ctlcluster", package: "postgresql", what_for: "servers of the unit tests" },
];

/// What `cargo xtask bench` compares with.
pub(crate) const BENCH: &[Program] = &[
    Program { name: "sipp", package: "sip-tester", what_for: "the load" },
    Program { name: "kamailio", package: "kamailio", what_for: "the peer of `bench call`" },
];

/// Installs what is missing, or says the command that would.
pub(crate) fn ensure(programs: &[Program]) -> Result<(), String> {
    let missing: Vec<&Program> = programs.iter().filter(|program| !is_here(program.name)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let packages: Vec<&str> = missing.iter().map(|program| program.package).collect();
    let by_hand = format!("apt-get update && apt-get install -y {}", packages.join(" "));
    for program in &missing {
        println!(
            "missing: {} ({}), Debian package {}",
            program.name, program.what_for, program.package
        );
    }
    if !is_here("apt-get") || !is_root() {
        return Err(format!(
            "install the missing programs and run this again: sudo sh -c '{by_hand}'"
        ));
    }
    println!("installing: {by_hand}");
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(&packages);
    apt(&arguments).map_err(|error| format!("{error}\ninstall by hand: {by_hand}"))
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    run::finish(command)
}

fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new("/usr/sbin").to_path_buf()])
        .any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let mut command = Command::new("id");
    command.arg("-u");
    run::capture(command).is_ok_and(|id| id.trim() == "0")
}
