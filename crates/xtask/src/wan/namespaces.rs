//! Network namespaces, one a host, each with a tun whose other end is ours.
//!
//! A namespace is called `rhPID-HOST` after the process that made it, so that a later one finds
//! what a killed one left. Dropping removes them. A tun is opened inside its namespace and is gone
//! with its file descriptor; it has no offload, so the packets read from it have their checksums.
//! Inside there are this one interface, `wan`, the loopback, and no route out. Lacks IPv6, and
//! leaves alone what processes still run inside: a namespace without a name lives as long as they.

use std::io::{ErrorKind, Write};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::sched::{CloneFlags, setns};
use nix::unistd::Uid;
use tun_rs::{DeviceBuilder, SyncDevice};

use super::weather::Host;

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// The interface's name in every namespace.
const INTERFACE: &str = "wan";
/// The first half of every address; then come the host's number and that of its address.
const NETWORK: [u8; 2] = [10, 231];
/// Packets that wait in the kernel for us; its own 500 are a burst that we should see and count.
pub(crate) const QUEUE_PACKETS: usize = 10_000;

const NEEDS: &str = "a network for tests needs Linux, root (CAP_SYS_ADMIN and CAP_NET_ADMIN, in a \
                     container --privileged), iproute2 and /dev/net/tun: sudo sh -c 'apt-get \
                     install -y iproute2; modprobe tun', then run this again with sudo -E";

/// One host of the network.
pub(crate) struct Namespace {
    /// As on the command line.
    pub(crate) host: String,
    /// For `ip netns exec`.
    pub(crate) netns: String,
    /// Its address; the others of its /24 are its own as well, for who adds them.
    pub(crate) address: Ipv4Addr,
    /// What it sends is read here, what it is to receive is written here. Does not block.
    pub(crate) tun: SyncDevice,
}

/// All namespaces of this process.
pub(crate) struct Namespaces {
    ip: PathBuf,
    /// Names to remove, also of one that was not finished.
    made: Vec<String>,
    /// In the order of the command line.
    pub(crate) all: Vec<Namespace>,
}

impl Namespaces {
    /// Removes what killed processes left, then makes a namespace for each host.
    pub(crate) fn make(hosts: &[String]) -> Result<Self, String> {
        if !Uid::effective().is_root() {
            return Err(format!("not root\n{NEEDS}"));
        }
        let ip = find_ip().ok_or_else(|| format!("no program `ip`\n{NEEDS}"))?;
        remove_leftovers(&ip)?;
        let mut namespaces = Self { ip, made: Vec::new(), all: Vec::new() };
        for (number, host) in hosts.iter().enumerate() {
            namespaces.add(number, host).map_err(|error| format!("{error}\n{NEEDS}"))?;
        }
        Ok(namespaces)
    }

    fn add(&mut self, number: Host, host: &str) -> Result<(), String> {
        let netns = format!("rh{}-{host}", std::process::id());
        self.made.push(netns.clone());
        run(&self.ip, &["netns", "add", &netns], "")?;
        let tun = open_tun(&netns).map_err(|error| format!("a tun in {netns}: {error}"))?;
        let address = address_of(number);
        let setup = format!(
            "link set dev lo up\n\
             address add {address}/16 dev {INTERFACE}\n\
             link set dev {INTERFACE} txqueuelen {QUEUE_PACKETS} up\n"
        );
        run(&self.ip, &["-n", &netns, "-batch", "-"], &setup)?;
        self.all.push(Namespace { host: host.to_owned(), netns, address, tun });
        Ok(())
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for netns in &self.made {
            if let Err(error) = remove(&self.ip, netns) {
                eprintln!("error: {error}");
            }
        }
    }
}

/// The host that an IPv4 packet is addressed to, which may be one that does not exist.
pub(crate) fn destination(packet: &[u8]) -> Option<Host> {
    let is_ipv4 = packet.first().is_some_and(|byte| byte >> 4 == 4);
    let address = packet.get(16..20).filter(|_| is_ipv4)?;
    (address[..2] == NETWORK).then(|| Host::from(address[2]).checked_sub(1))?
}

/// The hosts that one network may have; the last byte but one of an address says which.
pub(crate) const HOSTS_MAX: usize = 64;

fn address_of(number: Host) -> Ipv4Addr {
    let number = u8::try_from(number + 1).expect("at most HOSTS_MAX hosts were let in");
    Ipv4Addr::new(NETWORK[0], NETWORK[1], number, 1)
}

/// A thread of its own enters the namespace: which one a thread is in is the thread's alone.
fn open_tun(netns: &str) -> std::io::Result<SyncDevice> {
    let file = std::fs::File::open(Path::new(NAMES).join(netns))?;
    let open = move || -> std::io::Result<SyncDevice> {
        setns(file, CloneFlags::CLONE_NEWNET)?;
        let tun = DeviceBuilder::new().name(INTERFACE).enable(false).build_sync()?;
        tun.set_nonblocking(true)?;
        Ok(tun)
    };
    let thread = std::thread::spawn(open);
    thread.join().unwrap_or_else(|_| Err(std::io::Error::other("its thread panicked")))
}

/// Removes namespaces of processes that are gone; and of our own number, which was another's.
fn remove_leftovers(ip: &Path) -> Result<(), String> {
    let entries = match std::fs::read_dir(NAMES) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(format!("{NAMES}: {error}")),
    };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(pid) = maker(&name) else { continue };
        let is_ours = pid == std::process::id();
        if is_ours || !Path::new("/proc").join(pid.to_string()).exists() {
            remove(ip, &name)?;
        }
    }
    Ok(())
}

/// The process that made a namespace of this name, if it was one of us.
fn maker(netns: &str) -> Option<u32> {
    let (pid, host) = netns.strip_prefix("rh")?.split_once('-')?;
    let is_number = pid.bytes().all(|byte| byte.is_ascii_digit());
    pid.parse().ok().filter(|_| is_number && !host.is_empty())
}

/// Removes a namespace; one that another process removed meanwhile is as good.
fn remove(ip: &Path, netns: &str) -> Result<(), String> {
    let outcome = run(ip, &["netns", "delete", netns], "");
    if Path::new(NAMES).join(netns).exists() { outcome } else { Ok(()) }
}

fn find_ip() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    folders.map(|folder| folder.join("ip")).find(|file| file.is_file())
}

/// Runs `ip` with `input`, to its end.
fn run(ip: &Path, arguments: &[&str], input: &str) -> Result<(), String> {
    let shown = format!("`ip {}`", arguments.join(" "));
    let failed = |error: std::io::Error| format!("{shown}: {error}");
    let mut child = Command::new(ip)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed)?;
    if let Some(mut stdin) = child.stdin.take() {
        // One that ends before it has read everything says why on its stderr.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(failed)?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{shown} failed: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_say_who_made_them() {
        for (netns, expect) in [
            ("rh12-a", Some(12)),
            ("rh12-site-1", Some(12)),
            ("rh-a", None),
            ("rh12", None),
            ("rh12-", None),
            ("rh+12-a", None),
            ("other", None),
            ("rhubarb-1", None),
        ] {
            assert_eq!(maker(netns), expect, "{netns}");
        }
    }

    #[test]
    fn packets_say_whom_they_are_for() {
        let mut packet = [0_u8; 20];
        packet[0] = 0x45;
        packet[16..].copy_from_slice(&address_of(1).octets());
        assert_eq!(destination(&packet), Some(1));
        packet[18] = 0;
        assert_eq!(destination(&packet), None);
        packet[16..].copy_from_slice(&[192, 0, 2, 1]);
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&packet[..19]), None);
        packet[0] = 0x60;
        assert_eq!(destination(&packet), None);
        assert_eq!(destination(&[]), None);
    }
}
