//! Configuration files as text. Every process of a test has the same secret and its own ports.

use std::fmt::Display;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use super::certificates::CertificateFiles;

/// Guards loopback for the length of a test, nothing else.
pub(crate) const SECRET: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

/// How SIP reaches an engine.
pub(crate) enum Door {
    /// Plain SIP.
    Listen(SocketAddr),
    /// Frames from a balancer's inner address.
    Edge { listen: SocketAddr, balancer: SocketAddr },
}

/// `[sip]` and what applications need. `t1_ms` below 500 makes waiting shorter.
pub(crate) fn sip(
    advertise: impl Display,
    door: &Door,
    next_hop: SocketAddr,
    t1_ms: u64,
) -> String {
    let door = match door {
        Door::Listen(listen) => format!("listen = \"{listen}\""),
        Door::Edge { listen, balancer } => {
            format!("edge = {{ listen = \"{listen}\", balancers = [\"{balancer}\"] }}")
        }
    };
    format!(
        "[sip]\nadvertise = \"{advertise}\"\n{door}\n\n\
         [timers]\nt1_ms = {t1_ms}\nt2_ms = {}\nt4_ms = {}\n\n\
         [b2bua]\nnext_hop = \"{next_hop}\"\n\n",
        t1_ms * 8,
        t1_ms * 10,
    )
}

/// The same, where calls cross while they ring. It ends with `[b2bua]`.
pub(crate) fn early(sip: &str) -> String {
    format!("{}\nearly = true\n\n", sip.trim_end())
}

/// `role`, `[site]` and `[admin]`.
pub(crate) fn head(role: &str, site: u16, data: Option<&Path>, admin: SocketAddr) -> String {
    let data = data.map(|data| format!("data_dir = {data:?}\n")).unwrap_or_default();
    format!(
        "role = \"{role}\"\n\n[site]\nid = {site}\n{data}secret = \"{SECRET}\"\n\n\
         [admin]\nlisten = \"{admin}\"\n\n"
    )
}

/// `[tier]` of a state process.
pub(crate) fn tier_listen(listen: SocketAddr) -> String {
    format!("[tier]\nlisten = \"{listen}\"\n\n")
}

/// `[tier]` of an engine process.
pub(crate) fn tier_connect(connect: SocketAddr, name: &str) -> String {
    format!("[tier]\nconnect = \"{connect}\"\nname = \"{name}\"\n\n")
}

/// `[tier]` of an engine process that knows several state processes.
pub(crate) fn tier_connect_all(connect: &[SocketAddr], name: &str) -> String {
    let connect: Vec<String> = connect.iter().map(|one| format!("\"{one}\"")).collect();
    format!("[tier]\nconnect = [{}]\nname = \"{name}\"\n\n", connect.join(", "))
}

/// `[tier]` of a state process among several, which others reach at `reached`. `seat`: its
/// partition, and how many partitions and replicas there are.
pub(crate) fn tier_shared(
    listen: SocketAddr,
    reached: SocketAddr,
    name: &str,
    (partition, partitions, replicas): (u16, u16, u16),
) -> String {
    format!(
        "[tier]\nlisten = \"{listen}\"\nadvertise = \"{reached}\"\nname = \"{name}\"\n\
         partition = {partition}\npartitions = {partitions}\nreplicas = {replicas}\n\n"
    )
}

/// `[session_timer]` of an engine, far shorter than RFC 4028 wants it.
pub(crate) fn session_timer(expires_s: u32) -> String {
    format!("[session_timer]\nexpires_s = {expires_s}\nmin_se_s = 2\n\n")
}

/// `[coordination]` with the nodes of an etcd.
pub(crate) fn coordination(endpoints: &[String]) -> String {
    format!("[coordination]\nendpoints = {endpoints:?}\n\n")
}

/// `[sites]` with one peer of several processes, which is also the backup.
pub(crate) fn sites_of(
    listen: SocketAddr,
    peer: u16,
    addresses: &[SocketAddr],
    return_wait_s: u64,
) -> String {
    let addresses: Vec<String> = addresses.iter().map(|one| format!("\"{one}\"")).collect();
    format!(
        "[sites]\nlisten = \"{listen}\"\nbackup_to = {peer}\n\
         return_wait_s = {return_wait_s}\nheartbeat_ms = 200\nsilent_after_ms = 800\n\n\
         [[sites.peer]]\nid = {peer}\naddress = [{}]\nactivation = \"on_message\"\n\n",
        addresses.join(", ")
    )
}

/// `[sites]` with several peers, one of which may be the backup, and certificates if any.
pub(crate) fn sites_among(
    listen: SocketAddr,
    backup: Option<u16>,
    peers: &[(u16, SocketAddr)],
    certificates: Option<&CertificateFiles>,
) -> String {
    let backup = backup.map(|site| format!("backup_to = {site}\n")).unwrap_or_default();
    let mut text = format!(
        "[sites]\nlisten = \"{listen}\"\n{backup}return_wait_s = 5\nheartbeat_ms = 200\n\
         silent_after_ms = 800\n\n"
    );
    for (id, address) in peers {
        text += &format!("[[sites.peer]]\nid = {id}\naddress = \"{address}\"\n\n");
    }
    text + &certificates.map(sites_tls).unwrap_or_default()
}

/// `[sites.tls]`.
pub(crate) fn sites_tls(
    CertificateFiles { cert_file, key_file, ca_file }: &CertificateFiles,
) -> String {
    format!(
        "[sites.tls]\ncert_file = {cert_file:?}\nkey_file = {key_file:?}\nca_file = {ca_file:?}\n\n"
    )
}

/// `[sites]` with one peer, which is also the backup.
pub(crate) fn sites(listen: SocketAddr, peer: u16, address: SocketAddr) -> String {
    sites_waking(listen, peer, address, "on_message")
}

/// The same, with what wakes the peer's calls here.
pub(crate) fn sites_waking(
    listen: SocketAddr,
    peer: u16,
    address: SocketAddr,
    activation: &str,
) -> String {
    format!(
        "[sites]\nlisten = \"{listen}\"\nbackup_to = {peer}\nreturn_wait_s = 5\n\
         heartbeat_ms = 200\nsilent_after_ms = 800\n\n\
         [[sites.peer]]\nid = {peer}\naddress = \"{address}\"\nactivation = \"{activation}\"\n\n\
         [test]\nallow_forget = true\n\n"
    )
}

/// A balancer that one site has for itself, and that knows no engine of the other: what comes for a
/// call of the other one goes to its own engines.
pub(crate) fn own_balancer(
    admin: SocketAddr,
    listen: SocketAddr,
    inner: SocketAddr,
    id: u16,
    engines: &[SocketAddr],
) -> String {
    let other = 3 - id;
    let serves = format!("[balancer.serves]\n{other} = {id}\n\n");
    balancer(admin, listen, inner, &[(id, engines, 1), (other, &[], 0)]) + &serves
}

/// A balancer in front of sites: number, edges of its engines, share of new calls.
pub(crate) fn balancer(
    admin: SocketAddr,
    listen: SocketAddr,
    inner: SocketAddr,
    sites: &[(u16, &[SocketAddr], u32)],
) -> String {
    let mut text = format!(
        "role = \"balancer\"\n\n[site]\nsecret = \"{SECRET}\"\n\n[admin]\nlisten = \"{admin}\"\n\n\
         [balancer]\nlisten = \"{listen}\"\ninner = \"{inner}\"\n\n"
    );
    for (id, engines, weight) in sites {
        let engines: Vec<String> = engines.iter().map(|one| format!("\"{one}\"")).collect();
        let engines = engines.join(", ");
        text +=
            &format!("[[balancer.site]]\nid = {id}\nengines = [{engines}]\nweight = {weight}\n\n");
    }
    text
}

/// The balancer of `text` acts upon a death itself, or only tells; `admins` are those of each site.
pub(crate) fn judging(
    text: &str,
    auto_failover: bool,
    [dead_after, healthy_after]: [Duration; 2],
    admins: &[(u16, &[SocketAddr])],
) -> String {
    let judges = format!(
        "[balancer]\nauto_failover = {auto_failover}\ndead_after_ms = {}\nhealthy_after_ms = {}\n",
        dead_after.as_millis(),
        healthy_after.as_millis()
    );
    let mut text = text.replace("[balancer]\n", &judges);
    for (id, admins) in admins {
        let admins: Vec<String> = admins.iter().map(|one| format!("\"{one}\"")).collect();
        let site = format!("[[balancer.site]]\nid = {id}\n");
        text = text.replace(&site, &format!("{site}admin = [{}]\n", admins.join(", ")));
    }
    text
}

/// A witness that probes sites at `edge`, five times a second, and tells one balancer.
pub(crate) fn witness(
    admin: SocketAddr,
    listen: SocketAddr,
    edge: SocketAddr,
    report_to: SocketAddr,
    sites: &[u16],
) -> String {
    let mut text = format!(
        "role = \"witness\"\n\n[site]\nsecret = \"{SECRET}\"\n\n[admin]\nlisten = \"{admin}\"\n\n\
         [witness]\nname = \"w1\"\nlisten = \"{listen}\"\ninterval_ms = 200\ntimeout_ms = 600\n\
         report_to = \"{report_to}\"\n\n"
    );
    for site in sites {
        text += &format!("[[witness.target]]\nsite = {site}\naddress = \"{edge}\"\n\n");
    }
    text
}
