//! The configuration: one typed TOML file, checked before anything starts.
//!
//! Three passes: the TOML grammar and its types (`file`), what the values mean together
//! (`check`), and how a mistake is told (`mistake`): file, line, what is wrong, what to do about
//! it. Nothing is read here but the file itself and the files of secrets and certificates; no
//! address is bound.

pub mod check;
pub mod database;
pub mod file;
pub mod mistake;
pub mod queue;
pub mod registrar;
mod resolve;
pub mod spill;
pub mod tls;
pub mod witness;

use std::path::Path;

pub use check::Warning;
pub use file::{Config, Role};
pub use mistake::Mistake;

/// Bytes of a configuration file; a larger one is refused unread.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// Reads and checks a configuration file. `role` overrides the one in the file.
pub fn load(path: &Path, role: Option<Role>) -> Result<(Config, Vec<Warning>), Vec<Mistake>> {
    let name = path.display().to_string();
    let alone = |text: String, remedy: &str| vec![Mistake::of_file(&name, text, remedy)];
    let size = std::fs::metadata(path).map(|meta| meta.len()).unwrap_or(0);
    if size > FILE_BYTES_MAX {
        return Err(alone(format!("the file has {size} bytes"), "a configuration is under 1 MiB"));
    }
    let text = std::fs::read_to_string(path).map_err(|error| {
        alone(format!("cannot read the file: {error}"), "name an existing file with --config")
    })?;
    parse(&name, &text, role)
}

/// Checks the text of a configuration file that is called `name` in messages.
pub fn parse(
    name: &str,
    text: &str,
    role: Option<Role>,
) -> Result<(Config, Vec<Warning>), Vec<Mistake>> {
    let mut config: Config =
        toml::from_str(text).map_err(|error| vec![Mistake::of_toml(name, text, &error)])?;
    if let Some(role) = role {
        config.role = role;
    }
    let lines = mistake::Lines::new(name, text);
    let mut findings = check::Findings::new(&lines);
    resolve::secret(&mut config, &mut findings);
    resolve::password(&mut config, &mut findings);
    resolve::database_password(&mut config, &mut findings);
    resolve::queue_secrets(&mut config, &mut findings);
    check::check(&config, &mut findings);
    tls::check(&config, &mut findings);
    findings.into_result().map(|warnings| (config, warnings))
}

#[cfg(test)]
mod tests;
