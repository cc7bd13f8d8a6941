//! The `[queue]` section: the server that keeps the batches of other sites.
//!
//! Nothing is connected here; the files of the password and of the credentials are read by
//! `resolve`.

use std::path::PathBuf;

use serde::Deserialize;

use super::check::{Findings, split_host_port};
use super::file::{Config, Secret};

const REPLICAS_MAX: usize = 5;
const TIMEOUT_MS_MIN: u64 = 100;
const TIMEOUT_MS_MAX: u64 = 60_000;
/// Servers that may be listed.
const URLS_MAX: usize = 16;

/// `[queue]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Queue {
    /// `nats://host:port` or `tls://host:port` of one server, or of each of a cluster.
    pub url: Urls,
    /// User of the servers.
    pub user: Option<String>,
    /// A file that holds the user's password and nothing else.
    pub password_file: Option<PathBuf>,
    /// What is in it.
    #[serde(skip)]
    pub password: Option<Secret>,
    /// A credentials file: a JWT and the key that signs for it.
    pub credentials_file: Option<PathBuf>,
    /// What is in it.
    #[serde(skip)]
    pub credentials: Option<Secret>,
    /// Certificates, PEM, that the servers' ones are signed by; the system's when absent.
    pub ca_file: Option<PathBuf>,
    /// Servers that keep each batch.
    #[serde(default = "replicas")]
    pub replicas: usize,
    /// A batch without an answer is refused after this.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
}

fn replicas() -> usize {
    1
}

fn timeout_ms() -> u64 {
    2_000
}

/// One URL or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Urls(pub Vec<String>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a URL, or a list of URLs")]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl From<OneOrMany> for Urls {
    fn from(urls: OneOrMany) -> Self {
        match urls {
            OneOrMany::One(url) => Self(vec![url]),
            OneOrMany::Many(urls) => Self(urls),
        }
    }
}

impl Queue {
    /// Whether the servers are reached by TLS; all are, or none.
    pub(crate) fn has_tls(&self) -> bool {
        self.url.0.iter().any(|url| url.starts_with("tls://"))
    }
}

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let Some(queue) = config.queue.as_ref().filter(|_| config.role.has_tier()) else { return };
    urls(queue, findings);
    login(queue, findings);
    if !(1..=REPLICAS_MAX).contains(&queue.replicas) {
        findings.mistake(
            &["queue", "replicas"],
            format!("replicas = {} is no number of servers that can keep a batch", queue.replicas),
            "write 3 where the servers are a cluster of three, 1 for one server alone; 5 is the \
             most",
        );
    } else if queue.replicas == 1 {
        findings.warning(
            &["queue", "replicas"],
            "one server keeps each batch: while it is down, calls of other sites are not \
             protected here, and what only its disk had is lost with the disk",
        );
    }
    if !(TIMEOUT_MS_MIN..=TIMEOUT_MS_MAX).contains(&queue.timeout_ms) {
        findings.mistake(
            &["queue", "timeout_ms"],
            format!("timeout_ms = {} is too short or too long", queue.timeout_ms),
            "write 100 to 60000; 2000 is the default",
        );
    }
}

fn urls(queue: &Queue, findings: &mut Findings<'_>) {
    let path = ["queue", "url"];
    if queue.url.0.is_empty() || queue.url.0.len() > URLS_MAX {
        findings.mistake(
            &path,
            format!("{} servers are listed", queue.url.0.len()),
            "list 1 to 16, for example \"nats://10.0.0.1:4222\"; leave [queue] out to keep \
             batches in a file of `data_dir`",
        );
    }
    for (index, url) in queue.url.0.iter().enumerate() {
        let address = url.strip_prefix("nats://").or_else(|| url.strip_prefix("tls://"));
        if address.is_none_or(|address| split_host_port(address).is_none()) {
            let shown = url.rsplit_once('@').map_or(url.as_str(), |(_, host)| host);
            findings.mistake(
                &path,
                format!("`{shown}` is not the URL of a NATS server"),
                "write \"nats://host:port\", or \"tls://host:port\"; user and password have words \
                 of their own",
            );
        }
        if queue.url.0[..index].contains(url) {
            findings.mistake(&path, format!("`{url}` is listed twice"), "remove one of the two");
        }
    }
    let is_plain = queue.url.0.iter().any(|url| url.starts_with("nats://"));
    if queue.has_tls() && is_plain {
        findings.mistake(
            &path,
            "some servers are reached by TLS and some are not".into(),
            "write `tls://` everywhere, or `nats://` everywhere",
        );
    }
    if queue.ca_file.is_some() && !queue.has_tls() {
        findings.mistake(
            &["queue", "ca_file"],
            "`ca_file` is for TLS, and the URLs ask for none".into(),
            "write `tls://` in `url`, or remove `ca_file`",
        );
    }
}

fn login(queue: &Queue, findings: &mut Findings<'_>) {
    if queue.user.is_some() != queue.password_file.is_some() {
        let word = if queue.user.is_some() { "user" } else { "password_file" };
        findings.mistake(
            &["queue", word],
            "one of `user` and `password_file` is given alone".into(),
            "give both, or none where the servers ask for no user",
        );
    }
    if queue.user.is_some() && queue.credentials_file.is_some() {
        findings.mistake(
            &["queue", "credentials_file"],
            "both a user and `credentials_file` are given".into(),
            "keep one of the two",
        );
    }
    if queue.user.is_some() && !queue.has_tls() {
        findings.warning(
            &["queue", "user"],
            "the password goes to the server without encryption: keep it on a private network, or \
             write `tls://`",
        );
    }
}
