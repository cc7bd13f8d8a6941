//! What the values mean together: each role has its sections, addresses do not meet, numbers fit.

mod coordination;
mod health;
mod replicas;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;

use super::file::{Config, Role};
use super::mistake::{Lines, Mistake};
use super::{database, queue, registrar, spill, witness};

/// The largest `crossing.batch_bytes_max`. An engine sets a batch aside that inflates beyond its
/// bound, which is 16 MiB, and the sender has had its acknowledgement by then. A batch may exceed
/// what is configured by its framing and by one record, so there is room between the two.
pub(super) const BATCH_BYTES_MAX: usize = 4 << 20;

/// Something that works and that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// From 1; 0 when it is the whole file.
    pub line: usize,
    /// What to know.
    pub what: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        f.write_str(&self.what)
    }
}

/// Mistakes and warnings, gathered: all of them are told at once.
pub struct Findings<'a> {
    lines: &'a Lines<'a>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
}

impl<'a> Findings<'a> {
    pub(super) fn new(lines: &'a Lines<'a>) -> Self {
        Self { lines, mistakes: Vec::new(), warnings: Vec::new() }
    }

    pub(super) fn mistake(&mut self, path: &[&str], what: String, remedy: &str) {
        // What is missing altogether is told where the role that needs it is named, or at the top.
        let line = match self.lines.of(path) {
            0 => self.lines.of(&["role"]).max(1),
            line => line,
        };
        let file = self.lines.file.to_owned();
        self.mistakes.push(Mistake { file, line, what, remedy: remedy.into() });
    }

    pub(super) fn warning(&mut self, path: &[&str], what: &str) {
        self.warnings.push(Warning { line: self.lines.of(path), what: what.into() });
    }

    pub(super) fn into_result(mut self) -> Result<Vec<Warning>, Vec<Mistake>> {
        self.mistakes.sort_by_key(|mistake| mistake.line);
        if self.mistakes.is_empty() { Ok(self.warnings) } else { Err(self.mistakes) }
    }
}

/// Checks all that can be known without touching the network.
pub fn check(config: &Config, findings: &mut Findings<'_>) {
    if config.role.is_of_site() {
        site(config, findings);
    }
    if config.role.has_engine() {
        sip(config, findings);
        timers(config, findings);
        registrar::check(config, findings);
        registrations(config, findings);
    }
    accounting(config, findings);
    tier(config, findings);
    replicas::check(config, findings);
    coordination::check(config, findings);
    sites(config, findings);
    crossing(config, findings);
    queue::check(config, findings);
    database::check(config, findings);
    spill::check(config, findings);
    balancer(config, findings);
    health::check(config, findings);
    witness::check(config, findings);
    admin(config, findings);
    addresses(config, findings);
    if config.role == Role::All {
        findings.warning(
            &["role"],
            "role `all` keeps one copy of each call in the engine's own process: a call survives \
             the loss of this process only at the site named by `sites.backup_to`",
        );
    }
    if config.test.allow_forget {
        findings.warning(&["test", "allow_forget"], "anyone with the admin API can lose a call");
    }
    faults(config, findings);
}

fn faults(config: &Config, findings: &mut Findings<'_>) {
    let Some(header) = &config.test.panic_on else { return };
    if !config.test.allow_faults {
        findings.mistake(
            &["test", "panic_on"],
            "it makes calls fail on purpose".into(),
            "take it out, or add `allow_faults = true` to [test] where nobody depends on the calls",
        );
    }
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if header.is_empty() || !header.bytes().all(is_token) {
        findings.mistake(
            &["test", "panic_on"],
            format!("`{header}` is not the name of a header"),
            "write for example `panic_on = \"X-Panic\"`",
        );
    }
    findings.warning(&["test", "panic_on"], "whoever sends this header makes its call fail");
}

fn site(config: &Config, findings: &mut Findings<'_>) {
    if config.site.id == 0 {
        findings.mistake(
            &["site", "id"],
            "the site has no number".into(),
            "add `id = 1` to [site]; sites are numbered from 1 up, the same everywhere",
        );
    }
    if config.role.has_tier() && config.site.data_dir.is_none() {
        findings.mistake(
            &["site"],
            format!("role `{}` has no `data_dir`", config.role.as_str()),
            "add `data_dir = \"/var/lib/rehome\"`: the start count and the queue are kept there",
        );
    }
}

fn sip(config: &Config, findings: &mut Findings<'_>) {
    let Some(sip) = &config.sip else {
        return findings.mistake(
            &["role"],
            format!("role `{}` has no [sip] section", config.role.as_str()),
            "add [sip] with `advertise` and either `listen` or `edge`",
        );
    };
    if split_host_port(&sip.advertise).is_none() {
        findings.mistake(
            &["sip", "advertise"],
            format!("`{}` is not a host and a port", sip.advertise),
            "write for example \"sip.example.com:5060\"",
        );
    }
    match (&sip.listen, &sip.edge) {
        (None, None) => findings.mistake(
            &["sip"],
            "neither `listen` nor `edge` is given".into(),
            "add `listen` for plain SIP, or `edge` when a balancer is in front",
        ),
        (Some(_), Some(_)) => findings.mistake(
            &["sip", "edge"],
            "both `listen` and `edge` are given".into(),
            "keep one of the two",
        ),
        (None, Some(edge)) if edge.balancers.is_empty() => findings.mistake(
            &["sip", "edge"],
            "`edge` names no balancer".into(),
            "list the `balancer.inner` address of at least one balancer",
        ),
        (Some(_), None) | (None, Some(_)) => {}
    }
    b2bua(config, findings);
}

fn b2bua(config: &Config, findings: &mut Findings<'_>) {
    let Some(b2bua) = &config.b2bua else {
        return findings.warning(&["sip"], "no [b2bua] section: calls that begin are refused");
    };
    if let Some(hop) = b2bua.next_hop.as_ref().filter(|hop| split_host_port(hop).is_none()) {
        bad_hop(findings, &["b2bua", "next_hop"], hop);
    }
    for (index, route) in b2bua.routes.iter().enumerate() {
        let index = index.to_string();
        let path = ["b2bua", "routes", index.as_str(), "next_hop"];
        if split_host_port(&route.next_hop).is_none() {
            bad_hop(findings, &path, &route.next_hop);
        }
        if route.user_prefix.is_some() == route.domain.is_some() {
            findings.mistake(
                &path,
                "a route matches either a user prefix or a domain".into(),
                "give one of `user_prefix` and `domain`; what matches nothing goes to \
                 `b2bua.next_hop`",
            );
        }
    }
}

fn bad_hop(findings: &mut Findings<'_>, path: &[&str], hop: &str) {
    findings.mistake(
        path,
        format!("`{hop}` is not a host and a port"),
        "write for example \"10.0.0.7:5060\"",
    );
}

fn timers(config: &Config, findings: &mut Findings<'_>) {
    let timers = &config.timers;
    if timers.t1_ms == 0 || timers.t1_ms > timers.t2_ms || timers.t2_ms > 60_000 {
        findings.mistake(
            &["timers", "t1_ms"],
            format!("t1_ms = {} and t2_ms = {} do not fit", timers.t1_ms, timers.t2_ms),
            "RFC 3261 wants 0 < T1 <= T2; 500 and 4000 are its defaults",
        );
    }
    let session = &config.session_timer;
    if session.min_se_s == 0 || session.expires_s < session.min_se_s {
        findings.mistake(
            &["session_timer", "expires_s"],
            format!("expires_s = {} is below min_se_s", session.expires_s),
            "RFC 4028 wants Session-Expires at or above Min-SE; 1800 and 90 are its values",
        );
    } else if session.min_se_s < 90 {
        findings.warning(
            &["session_timer", "min_se_s"],
            "RFC 4028 wants a Min-SE of 90 seconds at least; shorter ones are for tests",
        );
    }
}

fn registrations(config: &Config, findings: &mut Findings<'_>) {
    let limits = &config.limits;
    if limits.registrations_per_s == Some(0) {
        findings.mistake(
            &["limits", "registrations_per_s"],
            "no REGISTER would ever be taken".into(),
            "1000 is the default; leave [registrar] out where nobody may register",
        );
    }
    if limits.registrations_max == Some(0) {
        findings.mistake(
            &["limits", "registrations_max"],
            "no REGISTER would ever be taken".into(),
            "1000 is the default; leave [registrar] out where nobody may register",
        );
    }
}

fn accounting(config: &Config, findings: &mut Findings<'_>) {
    let Some(accounting) = &config.accounting else { return };
    if !config.role.has_engine() {
        findings.mistake(
            &["accounting"],
            format!("role `{}` sees no call end", config.role.as_str()),
            "move [accounting] to the processes of role `engine`, each with a file of its own",
        );
    }
    if accounting.rotate_bytes < 4_096 {
        findings.mistake(
            &["accounting", "rotate_bytes"],
            format!("rotate_bytes = {} makes a file of a few calls", accounting.rotate_bytes),
            "67108864 (64 MiB) is the default; at least 4096",
        );
    }
}

fn tier(config: &Config, findings: &mut Findings<'_>) {
    let tier = config.tier.as_ref();
    match config.role {
        Role::State if tier.is_none_or(|tier| tier.listen.is_none()) => findings.mistake(
            &["tier"],
            "role `state` listens to no engine".into(),
            "add [tier] with `listen = \"127.0.0.1:9000\"`",
        ),
        Role::Engine if tier.is_none_or(|tier| tier.connect.0.is_empty()) => findings.mistake(
            &["tier"],
            "role `engine` has no state tier".into(),
            "add [tier] with `connect = \"127.0.0.1:9000\"`, the state process's `tier.listen`",
        ),
        Role::All | Role::State | Role::Engine | Role::Balancer | Role::Witness => {}
    }
    // A link that asks for no more than the secret must not leave the machine unnoticed.
    let listen = tier.and_then(|tier| tier.listen).filter(|listen| !listen.ip().is_loopback());
    if config.role == Role::State && listen.is_some() {
        findings.warning(
            &["tier", "listen"],
            "the tier link is authenticated and not encrypted: bind it to a private network",
        );
    }
}

fn sites(config: &Config, findings: &mut Findings<'_>) {
    let Some(sites) = &config.sites else {
        if config.role.has_tier() {
            findings.warning(&["site"], "no [sites] section: calls die with this site");
        }
        return;
    };
    let mut seen = BTreeMap::new();
    for (index, peer) in sites.peer.iter().enumerate() {
        let index = index.to_string();
        let path = ["sites", "peer", index.as_str(), "id"];
        if peer.id == 0 || peer.id == config.site.id {
            findings.mistake(
                &path,
                format!("peer {} is this site, or no site", peer.id),
                "list the other sites only; they are numbered from 1 up",
            );
        }
        if let Some(edge) = peer.redirect.as_deref().filter(|edge| split_host_port(edge).is_none())
        {
            findings.mistake(
                &["sites", "peer", index.as_str(), "redirect"],
                format!("`{edge}` is not a host and a port"),
                "write the `sip.advertise` of that site, like \"sip2.example.com:5060\"",
            );
        }
        if seen.insert(peer.id, ()).is_some() {
            findings.mistake(
                &path,
                format!("peer {} is listed twice", peer.id),
                "remove one of the two",
            );
        }
    }
    match sites.backup_to {
        Some(backup) if !seen.contains_key(&backup) => findings.mistake(
            &["sites", "backup_to"],
            format!("`backup_to = {backup}` names no peer"),
            "name the `id` of one of [[sites.peer]]",
        ),
        None if config.role.has_tier() => {
            findings.warning(&["sites"], "no `backup_to`: calls of this site cross to no other");
        }
        Some(_) | None => {}
    }
    if sites.heartbeat_ms == 0 || sites.silent_after_ms < 2 * sites.heartbeat_ms {
        findings.mistake(
            &["sites", "silent_after_ms"],
            format!(
                "silent_after_ms = {} leaves no room for heartbeats of {} ms",
                sites.silent_after_ms, sites.heartbeat_ms
            ),
            "make it at least twice `heartbeat_ms`",
        );
    }
}

fn crossing(config: &Config, findings: &mut Findings<'_>) {
    let bytes = config.crossing.batch_bytes_max.filter(|bytes| *bytes > BATCH_BYTES_MAX);
    if let Some(bytes) = bytes.filter(|_| config.role.has_tier()) {
        findings.mistake(
            &["crossing", "batch_bytes_max"],
            format!("batch_bytes_max = {bytes} is more than a receiver is sure to take"),
            "write at most 4194304 (4 MiB); 262144 is the default",
        );
    }
    let spread = config.crossing.activation_spread_s;
    if let Some(spread) = spread.filter(|spread| !(1..=600).contains(spread)) {
        findings.mistake(
            &["crossing", "activation_spread_s"],
            format!("activation_spread_s = {spread} is not from 1 to 600"),
            "10 is the default; what is longer keeps sessions alive that nobody refreshes",
        );
    }
}

fn balancer(config: &Config, findings: &mut Findings<'_>) {
    if config.role != Role::Balancer {
        return;
    }
    let Some(balancer) = &config.balancer else {
        return findings.mistake(
            &["role"],
            "role `balancer` has no [balancer] section".into(),
            "add [balancer] with `listen`, `inner` and [[balancer.site]]",
        );
    };
    if balancer.site.iter().all(|site| site.engines.is_empty()) {
        findings.mistake(
            &["balancer"],
            "the balancer knows no engine".into(),
            "add [[balancer.site]] with `id` and `engines`",
        );
    }
    if balancer.ping_ms == 0 || balancer.down_after_ms <= balancer.ping_ms {
        findings.mistake(
            &["balancer", "down_after_ms"],
            "an engine would be down between two pings".into(),
            "make `down_after_ms` at least twice `ping_ms`",
        );
    }
    let known = |id: u16| balancer.site.iter().any(|site| site.id == id);
    for (home, by) in &balancer.serves {
        if home.parse::<u16>().is_err() || !known(*by) {
            findings.mistake(
                &["balancer", "serves", home],
                format!("`{home} = {by}` is not a home and a site that is listed"),
                "write `\"1\" = 2`: calls of site 1 are served by site 2",
            );
        }
    }
}

fn admin(config: &Config, findings: &mut Findings<'_>) {
    let Some(admin) = &config.admin else {
        return findings.warning(&["role"], "no [admin] section: `rehome status` cannot ask");
    };
    if admin.token.is_none() && !admin.listen.ip().is_loopback() {
        findings.mistake(
            &["admin", "listen"],
            format!("{} is open to others and has no token", admin.listen),
            "bind 127.0.0.1, or add `token = \"...\"`",
        );
    }
}

/// Two sockets of one process cannot share an address and a transport.
fn addresses(config: &Config, findings: &mut Findings<'_>) {
    let mut udp: Vec<(&[&str], SocketAddr)> = Vec::new();
    let mut tcp: Vec<(&[&str], SocketAddr)> = Vec::new();
    if let Some(sip) = config.sip.as_ref().filter(|_| config.role.has_engine()) {
        udp.extend(sip.listen.map(|listen| (["sip", "listen"].as_slice(), listen)));
        udp.extend(sip.edge.as_ref().map(|edge| (["sip", "edge"].as_slice(), edge.listen)));
    }
    if let Some(balancer) = config.balancer.as_ref().filter(|_| config.role == Role::Balancer) {
        udp.push((&["balancer", "listen"], balancer.listen));
        udp.push((&["balancer", "inner"], balancer.inner));
    }
    if let Some(witness) = config.witness.as_ref().filter(|_| config.role == Role::Witness) {
        udp.push((&["witness", "listen"], witness.listen));
    }
    if config.role == Role::State {
        let listen = config.tier.as_ref().and_then(|tier| tier.listen);
        tcp.extend(listen.map(|listen| (["tier", "listen"].as_slice(), listen)));
    }
    if let Some(sites) = config.sites.as_ref().filter(|_| config.role.has_tier()) {
        tcp.push((&["sites", "listen"], sites.listen));
    }
    tcp.extend(config.admin.as_ref().map(|admin| (["admin", "listen"].as_slice(), admin.listen)));
    for list in [udp, tcp] {
        for (index, (path, address)) in list.iter().enumerate() {
            let before = list[..index].iter().find(|(_, other)| other == address);
            if let Some((other, _)) = before.filter(|_| address.port() != 0) {
                findings.mistake(
                    path,
                    format!("{address} is used by `{}` already", other.join(".")),
                    "give each its own port",
                );
            }
        }
    }
}

/// Splits `host:port`; an IPv6 address stands in brackets.
#[must_use]
pub fn split_host_port(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let plain = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let fits = !plain.is_empty()
        && (plain.parse::<std::net::IpAddr>().is_ok()
            || plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte)));
    fits.then_some((plain, port))
}
