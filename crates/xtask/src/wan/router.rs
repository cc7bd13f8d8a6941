//! The shell around the weather: packets and commands in, packets and answers out, one `ppoll`.
//!
//! A packet that was read is asked about, held in a heap until its instant, and written. Whatever
//! was sent before a command was written meets the weather before the command, and whatever is sent
//! after the answer was read, that after it. Ends with the end of stdin or a signal. Lacks
//! decisions.

use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use super::command::Command;
use super::namespaces::{Namespace, QUEUE_PACKETS, destination};
use super::weather::{Direction, Fate, Host, Weather};

/// Packets that are read from one host before the others, and those that are due, have their turn.
const BATCH: usize = 64;
/// The longest packet that a tun gives.
const PACKET_BYTES_MAX: usize = 65_536;
/// The longest command.
const LINE_BYTES_MAX: usize = 4096;

/// A packet that waits for its instant. The heap's greatest is the one that is due first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct UnderWay {
    /// Reversed, so that the earliest is the greatest; then the one that was admitted first.
    due: std::cmp::Reverse<(Duration, u64)>,
    from: Host,
    to: Host,
    packet: Vec<u8>,
}

/// SIGTERM, SIGINT and SIGHUP as something to read, so that none comes between making and removing.
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// From here on these do not end the process.
    pub(crate) fn hold() -> Result<Self, String> {
        let failed = |error: Errno| format!("signals: {error}");
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
            signals.add(signal);
        }
        signals.thread_block().map_err(failed)?;
        SignalFd::with_flags(&signals, SfdFlags::SFD_CLOEXEC).map(Self).map_err(failed)
    }
}

/// What there is to do after waiting.
struct Ready {
    hosts: Vec<Host>,
    commands: bool,
    end: bool,
}

/// Moves packets between namespaces until it is told to end.
pub(crate) struct Router<'a> {
    hosts: &'a [Namespace],
    names: Vec<String>,
    /// By host; a tun that failed is no longer waited for.
    is_alive: Vec<bool>,
    weather: Weather,
    started_at: Instant,
    heap: BinaryHeap<UnderWay>,
    admitted: u64,
    /// The beginning of a command whose end has not come.
    line: Vec<u8>,
}

impl<'a> Router<'a> {
    /// A router between these hosts, with nothing under way.
    pub(crate) fn new(hosts: &'a [Namespace], weather: Weather) -> Self {
        Self {
            hosts,
            names: hosts.iter().map(|host| host.host.clone()).collect(),
            is_alive: vec![true; hosts.len()],
            weather,
            started_at: Instant::now(),
            heap: BinaryHeap::new(),
            admitted: 0,
            line: Vec::new(),
        }
    }

    /// Routes until stdin or a signal ends it.
    pub(crate) fn run(
        &mut self,
        signals: &Signals,
        mut stdin: File,
        mut stdout: impl Write,
    ) -> Result<(), String> {
        let mut buffer = vec![0; PACKET_BYTES_MAX];
        loop {
            self.deliver();
            let ready = self.wait(signals, &stdin)?;
            if ready.end {
                return Ok(());
            }
            if !ready.commands {
                for host in ready.hosts {
                    self.read_packets(host, BATCH, &mut buffer);
                }
                continue;
            }
            for host in 0..self.hosts.len() {
                self.read_packets(host, QUEUE_PACKETS, &mut buffer);
            }
            self.deliver();
            if !self.read_commands(&mut stdin, &mut stdout)? {
                return Ok(());
            }
        }
    }

    /// Waits for a packet, a command, a signal, or until the next packet is due.
    fn wait(&self, signals: &Signals, stdin: &File) -> Result<Ready, String> {
        let mut fds = vec![
            PollFd::new(signals.0.as_fd(), PollFlags::POLLIN),
            PollFd::new(stdin.as_fd(), PollFlags::POLLIN),
        ];
        let polled: Vec<Host> = (0..self.hosts.len()).filter(|host| self.is_alive[*host]).collect();
        fds.extend(
            polled.iter().map(|host| PollFd::new(self.hosts[*host].tun.as_fd(), PollFlags::POLLIN)),
        );
        let next = self.heap.peek().map(|packet| packet.due.0.0.saturating_sub(self.now()).into());
        match ppoll(&mut fds, next, None) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(format!("ppoll: {error}")),
        }
        let is_ready = |fd: &PollFd| fd.any().unwrap_or(false);
        Ok(Ready {
            end: is_ready(&fds[0]),
            commands: is_ready(&fds[1]),
            hosts: polled
                .iter()
                .zip(&fds[2..])
                .filter_map(|(host, fd)| is_ready(fd).then_some(*host))
                .collect(),
        })
    }

    /// Reads some packets of one host and asks the weather about each.
    fn read_packets(&mut self, from: Host, packets_max: usize, buffer: &mut [u8]) {
        if !self.is_alive[from] {
            return;
        }
        for _ in 0..packets_max {
            let packet = match self.hosts[from].tun.recv(buffer) {
                Ok(bytes_len) => &buffer[..bytes_len],
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) => {
                    self.is_alive[from] = false;
                    eprintln!("error: {} is no longer read: {error}", self.hosts[from].netns);
                    return;
                }
            };
            // Whatever is for nobody here, as what IPv6 says to its neighbours, goes nowhere.
            let to = destination(packet).filter(|to| *to < self.hosts.len() && *to != from);
            let Some(to) = to else { continue };
            let now = self.now();
            match self.weather.admit(now, Direction { from, to }) {
                Fate::Deliver { at } => {
                    self.admitted += 1;
                    let due = std::cmp::Reverse((at, self.admitted));
                    self.heap.push(UnderWay { due, from, to, packet: packet.to_vec() });
                }
                Fate::Drop(_) => {}
            }
        }
    }

    /// Writes every packet whose instant has come.
    fn deliver(&mut self) {
        let now = self.now();
        while self.heap.peek().is_some_and(|packet| packet.due.0.0 <= now) {
            let Some(UnderWay { from, to, packet, .. }) = self.heap.pop() else { return };
            if self.weather.arrive(now, Direction { from, to }, packet.len()) {
                // A tun takes packets at any rate; what is lost behind it was lost by the host.
                let _ = self.hosts[to].tun.send(&packet);
            }
        }
    }

    /// Does what stdin says and answers; `false` at its end, or when nobody reads the answers.
    fn read_commands(&mut self, stdin: &mut File, out: &mut impl Write) -> Result<bool, String> {
        let mut bytes = [0; LINE_BYTES_MAX];
        let bytes_len = stdin.read(&mut bytes).map_err(|error| format!("stdin: {error}"))?;
        if bytes_len == 0 {
            return Ok(false);
        }
        for byte in &bytes[..bytes_len] {
            if *byte != b'\n' {
                if self.line.len() == LINE_BYTES_MAX {
                    return Err(format!("a command of more than {LINE_BYTES_MAX} bytes"));
                }
                self.line.push(*byte);
                continue;
            }
            let line = std::mem::take(&mut self.line);
            let answer = self.answer(&String::from_utf8_lossy(&line));
            if writeln!(out, "{answer}").and_then(|()| out.flush()).is_err() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn answer(&mut self, line: &str) -> String {
        let now = self.now();
        match Command::parse(line, &self.names) {
            Ok(command) => command.apply(now, &mut self.weather, &self.names),
            Err(error) => format!("error: {error}"),
        }
    }

    fn now(&self) -> Duration {
        self.started_at.elapsed()
    }
}
