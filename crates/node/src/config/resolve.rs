//! Secrets: the site's, written in the file or in a file of its own, and the passwords of etcd, of
//! the database and of the queue's server, each in a file of its own.

use std::path::Path;

use super::check::Findings;
use super::file::{Config, Secret};

/// Hexadecimal digits of a secret.
const DIGITS: usize = 64;

/// Leaves the secret's digits in `config.site.secret`.
pub(super) fn secret(config: &mut Config, findings: &mut Findings<'_>) {
    let from = match (&config.site.secret, &config.site.secret_file) {
        (Some(_), Some(_)) => {
            return findings.mistake(
                &["site", "secret_file"],
                "both `secret` and `secret_file` are given".into(),
                "keep one of the two",
            );
        }
        (None, None) => {
            return findings.mistake(
                &["site"],
                "the site has no secret".into(),
                "add `secret_file = \"...\"` with 64 hexadecimal digits (`openssl rand -hex 32`), \
                 the same at every site",
            );
        }
        (Some(_), None) => "secret",
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(text) => {
                config.site.secret = Some(Secret(text.trim().into()));
                "secret_file"
            }
            Err(error) => {
                return findings.mistake(
                    &["site", "secret_file"],
                    format!("cannot read {}: {error}", path.display()),
                    "make the file readable for this user",
                );
            }
        },
    };
    let digits = config.site.secret.as_ref().map_or("", |secret| secret.0.as_str());
    if digits.len() != DIGITS || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        findings.mistake(
            &["site", from],
            format!("the secret is not {DIGITS} hexadecimal digits (it has {})", digits.len()),
            "make one with `openssl rand -hex 32` and give it to every site",
        );
    }
}

/// Leaves etcd's password in `config.coordination.password`.
pub(super) fn password(config: &mut Config, findings: &mut Findings<'_>) {
    let has_tier = config.role.has_tier();
    let Some(coordination) = config.coordination.as_mut().filter(|_| has_tier) else { return };
    let Some(path) = &coordination.password_file else { return };
    coordination.password = read_password(path, &["coordination", "password_file"], findings);
}

/// Leaves what `database.password_file` holds in `config.database.password`.
pub(super) fn database_password(config: &mut Config, findings: &mut Findings<'_>) {
    let has_tier = config.role.has_tier();
    let Some(database) = config.database.as_mut().filter(|_| has_tier) else { return };
    let Some(path) = &database.password_file else { return };
    database.password = read_password(path, &["database", "password_file"], findings);
}

/// Leaves what the files of `[queue]` hold in the section.
pub(super) fn queue_secrets(config: &mut Config, findings: &mut Findings<'_>) {
    let has_tier = config.role.has_tier();
    let Some(queue) = config.queue.as_mut().filter(|_| has_tier) else { return };
    if let Some(path) = &queue.password_file {
        queue.password = read_password(path, &["queue", "password_file"], findings);
    }
    if let Some(path) = &queue.credentials_file {
        queue.credentials = read_password(path, &["queue", "credentials_file"], findings);
    }
    // It is read anew whenever the server is connected to; a missing one is told at once.
    if let Some(Err(error)) = queue.ca_file.as_ref().map(std::fs::metadata) {
        let path = queue.ca_file.as_deref().unwrap_or(Path::new("")).display();
        let what = format!("cannot read {path}: {error}");
        findings.mistake(&["queue", "ca_file"], what, "make the file readable for this user");
    }
}

fn read_password(path: &Path, word: &[&str], findings: &mut Findings<'_>) -> Option<Secret> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(Secret(text.trim_end_matches(['\r', '\n']).into())),
        Err(error) => {
            let what = format!("cannot read {}: {error}", path.display());
            findings.mistake(word, what, "make the file readable for this user");
            None
        }
    }
}

impl Config {
    /// The secret's 32 bytes. A configuration that was not checked has none.
    #[must_use]
    pub fn secret_bytes(&self) -> Option<[u8; 32]> {
        let digits = &self.site.secret.as_ref()?.0;
        if digits.len() != DIGITS || !digits.is_ascii() {
            return None;
        }
        let mut bytes = [0; DIGITS / 2];
        for (byte, pair) in bytes.iter_mut().zip(digits.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(bytes)
    }
}
