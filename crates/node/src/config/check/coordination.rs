//! `[coordination]`: endpoints that can be dialled, a lease that outlives a slow answer.

use super::{Config, Findings, Role, split_host_port};

/// Bytes of a prefix; it stands before each key.
const PREFIX_BYTES_MAX: usize = 256;
/// Milliseconds of a deadline; below, a member that is busy for a moment would be away.
const TIMEOUT_MS_MIN: u64 = 50;

pub(super) fn check(config: &Config, findings: &mut Findings<'_>) {
    let is_used = config.role == Role::State;
    let Some(section) = config.coordination.as_ref().filter(|_| is_used) else { return };
    endpoints(&section.endpoints, section.user.is_some(), findings);
    let prefix = section.prefix_of(config.site.id);
    let is_prefix = prefix.len() <= PREFIX_BYTES_MAX
        && prefix.len() > 1
        && prefix.starts_with('/')
        && !prefix.ends_with('/')
        && prefix.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_prefix {
        findings.mistake(
            &["coordination", "prefix"],
            format!("`{prefix}` is no prefix of keys"),
            "begin with `/`, end without it, and use at most 256 visible ASCII characters, for \
             example \"/rehome/site1\"",
        );
    }
    if section.ttl_ms == 0 || !section.ttl_ms.is_multiple_of(1_000) {
        findings.mistake(
            &["coordination", "ttl_ms"],
            format!("ttl_ms = {} is not a number of whole seconds", section.ttl_ms),
            "etcd counts the life of a lease in seconds; 2000 is the default",
        );
    } else if section.timeout_ms < TIMEOUT_MS_MIN || 2 * section.timeout_ms > section.ttl_ms {
        findings.mistake(
            &["coordination", "timeout_ms"],
            format!("timeout_ms = {} does not fit ttl_ms = {}", section.timeout_ms, section.ttl_ms),
            "make it at least 50 and at most half of `ttl_ms`, or one slow answer loses the lease",
        );
    }
    if section.user.is_some() != section.password_file.is_some() {
        findings.mistake(
            &["coordination", if section.user.is_some() { "user" } else { "password_file" }],
            "one of `user` and `password_file` is given alone".into(),
            "give both, or none where etcd asks for no user",
        );
    }
}

fn endpoints(endpoints: &[String], has_user: bool, findings: &mut Findings<'_>) {
    let path = ["coordination", "endpoints"];
    if endpoints.is_empty() {
        findings.mistake(
            &path,
            "no endpoint of etcd is listed".into(),
            "list each member, for example [\"http://10.0.0.1:2379\"]; leave [coordination] out \
             where one state process is alone",
        );
    }
    for (index, endpoint) in endpoints.iter().enumerate() {
        let number = index.to_string();
        let path = ["coordination", "endpoints", number.as_str()];
        let address = endpoint.strip_prefix("http://");
        if address.is_none_or(|address| split_host_port(address).is_none()) {
            findings.mistake(
                &path,
                format!("`{endpoint}` is no endpoint"),
                "write \"http://host:port\"; TLS is not spoken: keep etcd on a private network",
            );
        }
        if endpoints[..index].contains(endpoint) {
            findings.mistake(
                &path,
                format!("`{endpoint}` is listed twice"),
                "remove one of the two",
            );
        }
    }
    if endpoints.len() == 1 {
        findings.warning(&path, "one endpoint: while it is away, no view of the site can change");
    }
    if has_user {
        findings.warning(
            &["coordination", "user"],
            "the password goes to etcd without encryption: keep etcd on a private network",
        );
    }
}
