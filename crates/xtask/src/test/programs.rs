//! What the tests of the short form run: programs of the profile `quick`, built by one command.
//!
//! `cargo test` with fewer packages would build their dependencies again, with fewer features.
//! So cargo builds all of them once, says which programs came of it, and they are run from here.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A test program.
pub(super) struct Test {
    program: PathBuf,
    /// The folder of its package, in which cargo would run it.
    folder: PathBuf,
    package: String,
    /// In `tests/`, not beside the code.
    is_integration: bool,
}

impl Test {
    /// It drives real processes of the whole system.
    pub(super) fn is_end_to_end(&self) -> bool {
        self.is_integration && self.package == "node"
    }

    /// Ready to run.
    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
        command
    }
}

/// Builds all tests and the programs that they drive; in the order of their names.
pub(super) fn build(root: &Path) -> Result<Vec<Test>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let mut command = Command::new(cargo);
    command
        .args(["test", "--profile", "quick", "--quiet", "--workspace", "--locked", "--no-run"])
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit())
        .current_dir(root);
    let output = command.output().map_err(|error| format!("cargo did not start: {error}"))?;
    if !output.status.success() {
        return Err(format!("the build of the tests failed: {}", output.status));
    }
    let mut tests: Vec<Test> =
        String::from_utf8_lossy(&output.stdout).lines().filter_map(test_of).collect();
    tests.sort_by(|a, b| (&a.package, &a.program).cmp(&(&b.package, &b.program)));
    Ok(tests)
}

/// The test that a line of cargo's tells of, if it does.
fn test_of(line: &str) -> Option<Test> {
    let told: Value = serde_json::from_str(line).ok()?;
    if told["reason"] != "compiler-artifact" || told["profile"]["test"] != true {
        return None;
    }
    let folder = Path::new(told["manifest_path"].as_str()?).parent()?.to_owned();
    Some(Test {
        program: told["executable"].as_str()?.into(),
        package: folder.file_name()?.to_string_lossy().into_owned(),
        folder,
        is_integration: told["target"]["kind"] == serde_json::json!(["test"]),
    })
}

/// A program that the build step made.
pub(super) fn program(root: &Path, full: bool, name: &str) -> Command {
    let folder = if full { "target/release" } else { "target/quick" };
    let mut command = Command::new(root.join(folder).join(name));
    command.current_dir(root);
    command
}
