//! The file's words and their defaults. Unknown words are refused.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::database::Database;
use super::queue::Queue;
use super::registrar::Registrar;
use super::spill::Spill;
use super::tls::TlsFiles;
use super::witness::Witness;

/// What a process does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Engine, replica and gate in one thread.
    #[default]
    All,
    /// Replica and gate; engines connect to it.
    State,
    /// An engine that connects to a `state` process.
    Engine,
    /// The SIP-aware edge of several sites.
    Balancer,
    /// Probes sites from outside.
    Witness,
}

impl Role {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::State => "state",
            Self::Engine => "engine",
            Self::Balancer => "balancer",
            Self::Witness => "witness",
        }
    }

    /// It takes SIP and runs applications.
    #[must_use]
    pub fn has_engine(self) -> bool {
        matches!(self, Self::All | Self::Engine)
    }

    /// It keeps calls and talks to other sites.
    #[must_use]
    pub fn has_tier(self) -> bool {
        matches!(self, Self::All | Self::State)
    }

    /// It is of a site, and not of the deployment.
    #[must_use]
    pub fn is_of_site(self) -> bool {
        matches!(self, Self::All | Self::State | Self::Engine)
    }
}

/// A whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What the process does; `--role` overrides it.
    #[serde(default)]
    pub role: Role,
    /// The site.
    pub site: Site,
    /// SIP towards the outside.
    pub sip: Option<Sip>,
    /// RFC 3261 timers.
    #[serde(default)]
    pub timers: Timers,
    /// RFC 4028 session timers.
    #[serde(default)]
    pub session_timer: SessionTimer,
    /// The back-to-back user agent application.
    pub b2bua: Option<B2bua>,
    /// The link between engines and the state tier.
    pub tier: Option<Tier>,
    /// Where the state processes of the site agree; without it, one is alone.
    pub coordination: Option<Coordination>,
    /// Other sites.
    pub sites: Option<Sites>,
    /// How calls cross to other sites.
    #[serde(default)]
    pub crossing: Crossing,
    /// The server that keeps other sites' batches; without it, a file does.
    pub queue: Option<Queue>,
    /// Where calls are kept that are steady for long.
    pub database: Option<Database>,
    /// When they go there.
    pub spill: Option<Spill>,
    /// Where calls that ended are written down.
    pub accounting: Option<Accounting>,
    /// Users that are registered here.
    pub registrar: Option<Registrar>,
    /// Bounds.
    #[serde(default)]
    pub limits: Limits,
    /// The admin API.
    pub admin: Option<Admin>,
    /// The balancer role.
    pub balancer: Option<Balancer>,
    /// The witness role.
    pub witness: Option<Witness>,
    /// Faults that tests may ask for.
    #[serde(default)]
    pub test: Test,
}

/// `[site]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// From 1 up, the same everywhere. A balancer and a witness have none.
    #[serde(default)]
    pub id: u16,
    /// Start count and inbound queue. Roles `all` and `state`.
    pub data_dir: Option<PathBuf>,
    /// 64 hexadecimal digits, the same at every site.
    pub secret: Option<Secret>,
    /// A file that holds them.
    pub secret_file: Option<PathBuf>,
}

/// 64 hexadecimal digits that are never printed.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// `[sip]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sip {
    /// `host:port` that Via and Contact name. It outlives the site: the edge's, where there is one.
    pub advertise: String,
    /// Direct mode: plain SIP over UDP here.
    pub listen: Option<SocketAddr>,
    /// Framed mode: SIP comes from balancers.
    pub edge: Option<Edge>,
    /// Receive buffer asked of the kernel.
    #[serde(default = "receive_buffer_bytes")]
    pub receive_buffer_bytes: usize,
}

fn receive_buffer_bytes() -> usize {
    4 * 1024 * 1024
}

/// `sip.edge`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Edge {
    /// Where balancers send.
    pub listen: SocketAddr,
    /// The balancers' inner addresses.
    pub balancers: Vec<SocketAddr>,
}

/// `[timers]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Timers {
    /// RFC 3261 T1.
    pub t1_ms: u64,
    /// RFC 3261 T2.
    pub t2_ms: u64,
    /// RFC 3261 T4.
    pub t4_ms: u64,
    /// An unanswered INVITE is cancelled after this.
    pub ring_max_s: u64,
}

impl Default for Timers {
    fn default() -> Self {
        Self { t1_ms: 500, t2_ms: 4_000, t4_ms: 5_000, ring_max_s: 180 }
    }
}

/// `[session_timer]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SessionTimer {
    /// Session-Expires that is asked for.
    pub expires_s: u32,
    /// Least Session-Expires that is accepted.
    pub min_se_s: u32,
}

impl Default for SessionTimer {
    fn default() -> Self {
        Self { expires_s: 1_800, min_se_s: 90 }
    }
}

/// `[b2bua]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct B2bua {
    /// `host:port` that calls go on to when no route matches.
    pub next_hop: Option<String>,
    /// The first one that matches wins.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Calls in set-up cross to the other site at their first 1xx with a To tag.
    #[serde(default)]
    pub early: bool,
}

/// One of `b2bua.routes`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// Matches request-URIs whose user part begins with it.
    pub user_prefix: Option<String>,
    /// Matches request-URIs of this host.
    pub domain: Option<String>,
    /// `host:port`.
    pub next_hop: String,
}

/// `[tier]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tier {
    /// Role `state`: engines connect here.
    pub listen: Option<SocketAddr>,
    /// Role `engine`: state processes, one or several; the others are learned from them.
    #[serde(default)]
    pub connect: Addresses,
    /// Its name in logs and on the console. Of a state process among several: unique in the site,
    /// and kept when it starts again.
    #[serde(default)]
    pub name: String,
    /// Role `state`: where others reach `listen`, when that is another address.
    pub advertise: Option<SocketAddr>,
    /// Role `state` with `[coordination]`: the partition that this process serves, from 0.
    #[serde(default)]
    pub partition: u16,
    /// Partitions to which the site's slots are dealt when it is founded.
    #[serde(default = "one")]
    pub partitions: u16,
    /// Replicas that each partition should have: fewer are told as lost redundancy.
    #[serde(default = "one")]
    pub replicas: u16,
}

fn one() -> u16 {
    1
}

/// One address or a list of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "OneOrMany")]
pub struct Addresses(pub Vec<SocketAddr>);

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected an address, or a list of addresses")]
enum OneOrMany {
    One(SocketAddr),
    Many(Vec<SocketAddr>),
}

impl From<OneOrMany> for Addresses {
    fn from(addresses: OneOrMany) -> Self {
        match addresses {
            OneOrMany::One(address) => Self(vec![address]),
            OneOrMany::Many(addresses) => Self(addresses),
        }
    }
}

/// `[coordination]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Coordination {
    /// `http://host:port` of each member of etcd, tried in turn.
    pub endpoints: Vec<String>,
    /// Before each key; `/rehome/site<ID>` when absent.
    pub prefix: Option<String>,
    /// Life of the lease of a process's presence, in whole seconds.
    #[serde(default = "ttl_ms")]
    pub ttl_ms: u64,
    /// For one request to one endpoint.
    #[serde(default = "timeout_ms")]
    pub timeout_ms: u64,
    /// User of etcd's authentication.
    pub user: Option<String>,
    /// A file that holds the user's password.
    pub password_file: Option<PathBuf>,
    /// What was read from it.
    #[serde(skip)]
    pub password: Option<Secret>,
}

impl Coordination {
    /// Before each key of site `site`.
    #[must_use]
    pub fn prefix_of(&self, site: u16) -> String {
        self.prefix.clone().unwrap_or_else(|| format!("/rehome/site{site}"))
    }
}

fn ttl_ms() -> u64 {
    2_000
}

fn timeout_ms() -> u64 {
    1_000
}

/// `[sites]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sites {
    /// Other sites connect here.
    pub listen: SocketAddr,
    /// The site that keeps this site's dormant copies.
    pub backup_to: Option<u16>,
    /// A returning site that hears nobody for this long serves.
    #[serde(default = "return_wait_s")]
    pub return_wait_s: u64,
    /// Time between two heartbeats.
    #[serde(default = "heartbeat_ms")]
    pub heartbeat_ms: u64,
    /// A site that was silent for this long is taken to be dead.
    #[serde(default = "silent_after_ms")]
    pub silent_after_ms: u64,
    /// Certificates; links are not encrypted when absent.
    pub tls: Option<TlsFiles>,
    /// The other sites.
    #[serde(default)]
    pub peer: Vec<Peer>,
}

fn return_wait_s() -> u64 {
    30
}

fn heartbeat_ms() -> u64 {
    500
}

fn silent_after_ms() -> u64 {
    2_000
}

/// One of `[[sites.peer]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its number.
    pub id: u16,
    /// Its `sites.listen`; of each of its state processes, where it has several.
    pub address: Addresses,
    /// What its certificate must name, where there is `[sites.tls]`; see [`Self::tls_name`].
    pub tls_name: Option<String>,
    /// What wakes its dormant calls here while it is dead.
    #[serde(default)]
    pub activation: Activation,
    /// `host:port` of its edge, to which phones are redirected whose calls live there. Absent:
    /// their messages are forwarded.
    pub redirect: Option<String>,
}

/// What wakes a dead site's calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activation {
    /// The first message for the call, or the operator.
    #[default]
    OnMessage,
    /// The operator's order alone.
    Operator,
    /// Nothing: the operator's order is refused as well. They sleep until their home is back, or
    /// they are deleted.
    Refuse,
}

impl Activation {
    /// The word in the file.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OnMessage => "on_message",
            Self::Operator => "operator",
            Self::Refuse => "refuse",
        }
    }
}

/// `[crossing]`. What is absent is the core's default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Crossing {
    /// A steady call crosses when nobody touched it for this long.
    pub settle_ms: Option<u64>,
    /// A batch leaves after this, full or not.
    pub batch_ms: Option<u64>,
    /// A batch leaves when it holds this much, before compression.
    pub batch_bytes_max: Option<usize>,
    /// Batches of other sites that may wait on this site's queue, in bytes.
    pub queue_bytes_max: Option<u64>,
    /// The same, in number.
    pub queue_batches_max: Option<u64>,
    /// A call whose hint kept being disregarded crosses after this.
    pub disregarded_max_ms: Option<u64>,
    /// Deadlines that passed while a call was dormant fire within this time of its activation.
    pub activation_spread_s: Option<u64>,
    /// Calls that an order wakes in one second.
    pub activate_per_s: Option<u32>,
    /// Calls that a returning site fetches in one second.
    pub refill_per_s: Option<u32>,
    /// Calls that are given back in one second.
    pub hand_back_per_s: Option<u32>,
    /// Which replica of a partition builds the batches.
    #[serde(default)]
    pub sender: Sender,
    /// Pause between two sweeps of the copies at the backup site; none are begun by time when 0.
    pub sweep_every_s: Option<u64>,
    /// Calls that a sweep compares in one second.
    pub sweep_per_s: Option<u32>,
}

/// Which replica of a partition builds the batches for other sites.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sender {
    /// The primary.
    #[default]
    Primary,
    /// The member that joined last.
    Youngest,
}

/// `[accounting]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accounting {
    /// Of this process alone.
    pub file: PathBuf,
    /// A file that has grown to this is set aside under a name with the moment.
    #[serde(default = "rotate_bytes")]
    pub rotate_bytes: u64,
}

fn rotate_bytes() -> u64 {
    64 << 20
}

/// `[limits]`. What is absent is the core's default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Calls that the state tier holds, dormant ones included.
    pub calls_max: Option<usize>,
    /// Bytes of their records.
    pub record_bytes_max: Option<usize>,
    /// Turns that wait for one call.
    pub waiters_per_call_max: Option<usize>,
    /// Turns that an engine has open.
    pub turns_max: Option<usize>,
    /// REGISTERs that an engine takes in one second.
    pub registrations_per_s: Option<u32>,
    /// REGISTERs that an engine has in work.
    pub registrations_max: Option<usize>,
    /// Bytes of one SIP message.
    pub message_bytes_max: Option<usize>,
    /// Header lines of one SIP message.
    pub headers_max: Option<usize>,
    /// Engines that may be linked to a state process.
    pub engines_max: Option<usize>,
    /// Bytes that may wait for a slow link before it is broken.
    pub link_bytes_max: Option<usize>,
}

/// `[admin]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admin {
    /// Where the admin API is served.
    pub listen: SocketAddr,
    /// Wanted as `Authorization: Bearer`; without it only loopback may be bound.
    pub token: Option<Secret>,
}

/// `[balancer]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Balancer {
    /// SIP from and to the outside.
    pub listen: SocketAddr,
    /// Frames from and to engines.
    pub inner: SocketAddr,
    /// Time between two pings of an engine.
    #[serde(default = "ping_ms")]
    pub ping_ms: u64,
    /// An engine that did not answer for this long is down.
    #[serde(default = "down_after_ms")]
    pub down_after_ms: u64,
    /// A site that all observers miss for so long is dead.
    #[serde(default = "dead_after_ms")]
    pub dead_after_ms: u64,
    /// A site that was dead, and that all observers hear for so long, is healthy.
    #[serde(default = "healthy_after_ms")]
    pub healthy_after_ms: u64,
    /// When a site is dead, send its calls to the one that keeps its copies, once. Else it is told.
    #[serde(default)]
    pub auto_failover: bool,
    /// The sites.
    #[serde(default)]
    pub site: Vec<BalancerSite>,
    /// Home of a call -> the site that serves it; each serves itself when absent.
    #[serde(default)]
    pub serves: BTreeMap<String, u16>,
}

fn ping_ms() -> u64 {
    100
}

fn down_after_ms() -> u64 {
    350
}

/// One of `[[balancer.site]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BalancerSite {
    /// Its number.
    pub id: u16,
    /// The edge addresses of its engines.
    pub engines: Vec<SocketAddr>,
    /// Its share of the requests that belong to no call yet.
    #[serde(default = "weight")]
    pub weight: u32,
    /// The site that keeps its copies; where there are two sites, the other one.
    pub backup: Option<u16>,
    /// The admin addresses of its processes: who keeps its gate is ordered to wake calls.
    #[serde(default)]
    pub admin: Addresses,
    /// Their token.
    pub admin_token: Option<Secret>,
}

fn dead_after_ms() -> u64 {
    5_000
}

fn healthy_after_ms() -> u64 {
    30_000
}

impl Balancer {
    /// The site that keeps the copies of `site`.
    #[must_use]
    pub fn backup_of(&self, site: &BalancerSite) -> Option<u16> {
        let other = || {
            let mut others = self.site.iter().filter(|other| other.id != site.id);
            others.next().filter(|_| self.site.len() == 2).map(|other| other.id)
        };
        site.backup.or_else(other)
    }
}

fn weight() -> u32 {
    1
}

/// `[test]`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Test {
    /// `POST /v1/test/forget` removes a dormant record.
    pub allow_forget: bool,
    /// The other faults of this table are wanted.
    pub allow_faults: bool,
    /// The application panics over messages that carry this header.
    pub panic_on: Option<String>,
}
