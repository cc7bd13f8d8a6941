//! The peer: one Redis of this bench's own, without persistence, and a client of its protocol
//! (RESP) that keeps a number of turns in flight on one connection.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use super::Cell;
use crate::bench::process::{Server, cpu_ns};
use crate::bench::site::{Folder, port, wait_until_taken};

const READ_BYTES: usize = 64 * 1024;
/// An answer that does not come for so long never will.
const ANSWER: Duration = Duration::from_secs(10);

/// The server, its connection and what it was asked.
pub(crate) struct Redis {
    server: Server,
    stream: TcpStream,
    keys: u64,
    next: u64,
    out: Vec<u8>,
    /// Bytes that came and are no whole reply yet.
    held: Vec<u8>,
    asked: VecDeque<Asked>,
}

/// A question without its answer; answers come in order.
struct Asked {
    key: u64,
    said_at: Instant,
    /// Of a SET: how long the GET before took.
    get_took: Option<Duration>,
}

impl Redis {
    /// Starts the server and fills `keys` keys with `value`.
    pub(crate) fn start(folder: &Folder, keys: u64, value: &[u8]) -> Result<Self, String> {
        let port = port()?;
        let mut command = Command::new("redis-server");
        command.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""]);
        command.args(["--appendonly", "no", "--dir"]).arg(folder.below("redis")?);
        let mut server = Server::start("redis-server", command)?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_until_taken(&mut server, address)?;
        let stream = TcpStream::connect(address).map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        stream.set_read_timeout(Some(ANSWER)).map_err(failed)?;
        let (out, held, asked) = (Vec::new(), Vec::new(), VecDeque::new());
        let mut redis = Self { server, stream, keys, next: 0, out, held, asked };
        for key in 0..keys {
            redis.set(key, value, None);
        }
        redis.drain(|_, _| {})?;
        Ok(redis)
    }

    /// Turns for one round, `depth` in flight.
    pub(crate) fn round(
        &mut self,
        depth: usize,
        round: Duration,
        cell: &mut Cell,
    ) -> Result<(), String> {
        let (servers, client) = (self.server.cpu_ns()?, cpu_ns("self")?);
        let began_at = Instant::now();
        let until = began_at + round;
        (0..depth).for_each(|_| self.get());
        self.drain(|redis, took| {
            cell.note(took.0, took.1);
            if Instant::now() < until {
                redis.get();
            }
        })?;
        cell.took += began_at.elapsed();
        cell.servers_ns += self.server.cpu_ns()?.saturating_sub(servers);
        cell.client_ns += cpu_ns("self")?.saturating_sub(client);
        Ok(())
    }

    fn get(&mut self) {
        let key = self.next;
        self.next = (self.next + 1) % self.keys;
        command(&mut self.out, &[b"GET", name(key).as_bytes()]);
        self.asked.push_back(Asked { key, said_at: Instant::now(), get_took: None });
    }

    fn set(&mut self, key: u64, value: &[u8], get_took: Option<Duration>) {
        command(&mut self.out, &[b"SET", name(key).as_bytes(), value]);
        self.asked.push_back(Asked { key, said_at: Instant::now(), get_took });
    }

    /// Sends and reads until every question has its answer; `done` hears of each turn.
    fn drain(
        &mut self,
        mut done: impl FnMut(&mut Self, (Duration, Duration)),
    ) -> Result<(), String> {
        let mut area = vec![0; READ_BYTES];
        while !self.asked.is_empty() {
            let out = std::mem::take(&mut self.out);
            self.stream.write_all(&out).map_err(failed)?;
            self.out = out;
            self.out.clear();
            let read = self.stream.read(&mut area).map_err(failed)?;
            if read == 0 {
                return Err("redis-server closed the connection".to_owned());
            }
            self.held.extend_from_slice(&area[..read]);
            let held = std::mem::take(&mut self.held);
            let mut taken = 0;
            while let Some(reply) = reply(&held[taken..])? {
                taken += reply.length;
                self.take(reply.bulk, &mut done)?;
            }
            self.held = held;
            self.held.drain(..taken);
        }
        Ok(())
    }

    fn take(
        &mut self,
        bulk: Option<&[u8]>,
        done: &mut impl FnMut(&mut Self, (Duration, Duration)),
    ) -> Result<(), String> {
        let asked = self.asked.pop_front().ok_or("redis-server answered what was not asked")?;
        let took = asked.said_at.elapsed();
        match (bulk, asked.get_took) {
            (Some(value), _) => self.set(asked.key, value, Some(took)),
            (None, Some(get)) => done(self, (get, took)),
            (None, None) => {}
        }
        Ok(())
    }
}

fn failed(error: std::io::Error) -> String {
    format!("redis-server: {error}")
}

fn name(key: u64) -> String {
    format!("call:{key:032x}")
}

fn command(out: &mut Vec<u8>, words: &[&[u8]]) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

/// A whole reply: its length, and its bytes if it carries a value.
struct Reply<'a> {
    length: usize,
    bulk: Option<&'a [u8]>,
}

/// The reply that `bytes` begin with; `None` while it is not whole.
fn reply(bytes: &[u8]) -> Result<Option<Reply<'_>>, String> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else { return Ok(None) };
    let line = String::from_utf8_lossy(&bytes[..end]);
    let after = end + 2;
    match line.split_at_checked(1) {
        Some(("+", _)) => Ok(Some(Reply { length: after, bulk: None })),
        Some(("$", length)) => {
            let length: usize = length.parse().map_err(|_| format!("redis-server: {line}"))?;
            let bulk = bytes.get(after..after + length);
            let is_whole = bytes.len() >= after + length + 2;
            Ok(bulk
                .filter(|_| is_whole)
                .map(|bulk| Reply { length: after + length + 2, bulk: Some(bulk) }))
        }
        Some(_) | None => Err(format!("redis-server: {line}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_cut_out_of_a_stream() {
        let whole = |bytes: &'static [u8]| reply(bytes).ok().flatten().map(|r| (r.length, r.bulk));
        assert_eq!(whole(b"+OK\r\n+OK\r\n"), Some((5, None)));
        assert_eq!(whole(b"$3\r\na\r\n\r\n+"), Some((9, Some(b"a\r\n".as_slice()))));
        for part in [b"".as_slice(), b"+OK", b"$3\r\nab", b"$3\r\nabc\r"] {
            assert!(matches!(reply(part), Ok(None)), "{part:?}");
        }
        for wrong in [b"-ERR no\r\n".as_slice(), b"$-1\r\n", b"$x\r\n", b"\r\n"] {
            assert!(reply(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn commands_are_printed_as_arrays() {
        let mut out = Vec::new();
        command(&mut out, &[b"GET", b"k"]);
        assert_eq!(out, b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n");
    }
}
