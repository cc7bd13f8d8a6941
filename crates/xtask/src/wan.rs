//! `cargo xtask wan`: a wide-area network for tests, on one machine and without netem.
//!
//! ```text
//!  netns rhPID-a          this process             netns rhPID-b
//!  10.231.1.1 ─ tun ─► router ─ weather ─► heap ─► tun ─ 10.231.2.1
//! ```
//! Each host is a network namespace with one interface. Its packets come to us, wait as long as the
//! weather of their direction says, or are dropped. Processes run inside with `ip netns exec NETNS
//! PROGRAM`, and know nothing of it.
//!
//! A test starts the binary `xtask` (not `cargo xtask`, which would be one process more to end)
//! with pipes as stdin and stdout, and reads one line, of JSON:
//!
//! ```text
//! {"hosts":[{"address":"10.231.1.1","name":"a","netns":"rh12-a"},...],"seed":1}
//! ```
//! From then on the network is there. It writes commands (`wan/command.rs`), one a line, and reads
//! one line for each: `ok`, or what is wrong. An `ok` to a cut means that nothing arrives from then
//! on. When it closes stdin, or dies, the process removes everything and ends. A line on stderr
//! before the JSON says why there is no network, and the command that would help.
//!
//! A test needs no program to have a socket inside: a thread that opens `/run/netns/NETNS` and
//! calls `setns` makes its sockets there, and other threads may use them (`tests/wan/harness.rs`).
//!
//! Lacks a way out, IPv6, bandwidth, and a clock other than the real one: the weather is decided by
//! the seed, but when a packet is sent is not.

mod command;
mod namespaces;
mod router;
mod weather;

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use namespaces::Namespaces;
use router::{Router, Signals};
use weather::{Change, Weather};

/// The longest name of a host.
const NAME_BYTES_MAX: usize = 32;

/// The network to make, and the weather it begins with on every way.
#[derive(Args)]
#[command(after_help = "Commands on stdin, one a line, each answered by a line:\n  \
                  link a b delay_ms=40 jitter_ms=5 loss=0.01 reorder=0.01 reorder_ms=10\n  \
                  link a>b loss=0.5              one way only; settings not named stay\n  \
                  cut a b | cut a>b | isolate a  nothing passes, nor arrives\n  \
                  flap a b up_ms=1000 down_ms=1000\n  \
                  heal a b | heal a>b | heal a | heal all\n  \
                  stats                          packets of each way, as JSON\n\n\
                  Examples:\n  sudo -E cargo xtask wan --hosts a,b\n  \
                  sudo -E cargo xtask wan --hosts a,b,c --seed 7 --delay-ms 40 --jitter-ms 5\n  \
                  sudo ip netns exec rh4711-a ping 10.231.2.1     (4711: as the first line says)")]
pub(crate) struct Options {
    /// Names, separated by commas: small letters, digits and hyphens.
    #[arg(long, value_delimiter = ',', required = true)]
    hosts: Vec<String>,
    /// Decides which packets are lost, late or held back.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Milliseconds that every packet takes, one way.
    #[arg(long, value_parser = command::milliseconds)]
    delay_ms: Option<Duration>,
    /// Milliseconds that a packet takes at most beyond that; none overtakes another for it.
    #[arg(long, value_parser = command::milliseconds)]
    jitter_ms: Option<Duration>,
    /// Share of packets that are lost, 0 to 1.
    #[arg(long, value_parser = command::share)]
    loss: Option<f64>,
    /// Share of packets that are held back, so that those behind overtake them, 0 to 1.
    #[arg(long, value_parser = command::share)]
    reorder: Option<f64>,
    /// Milliseconds that they are held back [default: 10].
    #[arg(long, value_parser = command::milliseconds)]
    reorder_ms: Option<Duration>,
}

/// Makes the network, says so on stdout, and routes until stdin ends.
pub(crate) fn run(options: &Options) -> Result<(), String> {
    check(&options.hosts)?;
    let signals = Signals::hold()?;
    let failed = |error: std::io::Error| format!("stdin: {error}");
    let stdin = File::from(std::io::stdin().as_fd().try_clone_to_owned().map_err(failed)?);
    let namespaces = Namespaces::make(&options.hosts)?;
    let mut weather = Weather::new(options.hosts.len(), options.seed);
    let change = Change {
        delay: options.delay_ms,
        jitter: options.jitter_ms,
        loss: options.loss,
        reorder: options.reorder,
        reorder_for: options.reorder_ms,
    };
    for way in Weather::directions(options.hosts.len()) {
        weather.change(way, change);
    }
    let mut router = Router::new(&namespaces.all, weather);
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", ready(options, &namespaces))
        .and_then(|()| stdout.flush())
        .map_err(|error| format!("stdout: {error}"))?;
    router.run(&signals, stdin, stdout)
}

fn ready(options: &Options, namespaces: &Namespaces) -> Value {
    let hosts: Vec<Value> = namespaces
        .all
        .iter()
        .map(|host| {
            json!({ "name": host.host, "netns": host.netns, "address": host.address.to_string() })
        })
        .collect();
    json!({ "hosts": hosts, "seed": options.seed })
}

/// Names become parts of commands and of files, so they are short and plain.
fn check(hosts: &[String]) -> Result<(), String> {
    if !(2..=namespaces::HOSTS_MAX).contains(&hosts.len()) {
        return Err(format!("{} hosts, not 2 to {}", hosts.len(), namespaces::HOSTS_MAX));
    }
    for (place, name) in hosts.iter().enumerate() {
        let is_plain =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(is_plain) {
            return Err(format!("host `{name}`: up to 32 small letters, digits and hyphens"));
        }
        if name == "all" || hosts[..place].contains(name) {
            return Err(format!("host `{name}`: `all` is every host, and no two have one name"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_hosts_are_plain_and_different() {
        let hosts = |names: &str| names.split(',').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(check(&hosts("a,b,site-1")), Ok(()));
        for names in ["a", "a,a", "a,all", "a,", "a,B", "a,b>c", "a,../b"] {
            assert!(check(&hosts(names)).is_err(), "{names}");
        }
    }
}
