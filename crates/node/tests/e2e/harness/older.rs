//! The program as an earlier commit of this repository builds it, for versions side by side.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::process::PROGRAM;
use super::sized;

/// Before records kept what a newer version adds: what it does not know, it drops.
const COMMIT: &str = "5813cd0cc2d12ca2d3c4b88bd2f335b951a368b8";

/// An earlier program and what to call it: the one that `REHOME_OLDER` names, else, at full size,
/// one that is built here. `None` at the short size: to build takes minutes.
pub(crate) fn program() -> Option<(PathBuf, String)> {
    if let Some(told) = std::env::var_os("REHOME_OLDER") {
        let program = PathBuf::from(told);
        assert!(program.is_file(), "REHOME_OLDER names no program: {}", program.display());
        let name = program.display().to_string();
        return Some((program, name));
    }
    sized(false, true).then(|| (build(), format!("commit {}", &COMMIT[..7])))
}

/// Beside the program under test, with the same profile and a target directory of its own: what
/// cargo puts in ours would take the place of the program under test.
fn build() -> PathBuf {
    let ours = Path::new(PROGRAM).parent().expect("cargo puts programs into folders");
    let profile = ours.file_name().and_then(|name| name.to_str()).expect("cargo's own name");
    let target = ours.parent().expect("the target directory").join("older");
    let source = target.join("source");
    std::fs::create_dir_all(&source).expect("the target directory is writable");
    let mut archive = Command::new("git")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["-C", "../..", "archive", "--format=tar", COMMIT])
        .stdout(Stdio::piped())
        .spawn()
        .expect("git is there");
    let files = archive.stdout.take().expect("it is piped");
    let unpacked = Command::new("tar").args(["-x", "-C"]).arg(&source).stdin(files).status();
    let has_history = archive.wait().is_ok_and(|status| status.success());
    assert!(
        has_history && unpacked.is_ok_and(|status| status.success()),
        "commit {COMMIT} is not in this clone: `git fetch --unshallow`, or name a program in \
         REHOME_OLDER"
    );
    let built = Command::new(env!("CARGO"))
        .current_dir(&source)
        .args(["build", "--locked", "--package", "node", "--bin", "rehome", "--profile"])
        .arg(if profile == "debug" { "dev" } else { profile })
        .arg("--target-dir")
        .arg(&target)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "commit {COMMIT} does not build");
    target.join(profile).join("rehome")
}
