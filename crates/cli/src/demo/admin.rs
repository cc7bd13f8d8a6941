//! The demo's window on a process: its admin API, over HTTP/1.1 with one connection a question.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use admin_api::{OrderReply, RouteOrder, RouteReply, StatusReply};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::problem::Problem;

const TIMEOUT: Duration = Duration::from_secs(3);
const ANSWER_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Somebody who answers at an admin port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin(pub(super) SocketAddr);

impl Admin {
    pub(super) fn status(self) -> Result<StatusReply, Problem> {
        self.ask("GET", "/v1/status", None::<&()>)
    }

    pub(super) fn route(self, order: &RouteOrder) -> Result<RouteReply, Problem> {
        self.ask("POST", "/v1/route", Some(order))
    }

    /// A fault on purpose: any one dormant call is removed.
    pub(super) fn forget(self) -> Result<OrderReply, Problem> {
        self.ask("POST", "/v1/test/forget", Some(&admin_api::ForgetOrder::default()))
    }

    fn ask<T: DeserializeOwned>(
        self,
        method: &str,
        path: &str,
        body: Option<&impl Serialize>,
    ) -> Result<T, Problem> {
        let body = match body {
            Some(body) => serde_json::to_string(body).map_err(Problem::during("admin API"))?,
            None => String::new(),
        };
        let what = format!("{method} http://{}{path}", self.0);
        let answer = self.exchange(method, path, &body).map_err(Problem::during(&what))?;
        let (code, body) = split_answer(&answer)
            .ok_or_else(|| Problem::new(format!("{what}: that is not an HTTP answer")))?;
        if !(200..300).contains(&code) {
            let body = String::from_utf8_lossy(body);
            return Err(Problem::new(format!("{what}: {code} {body}")));
        }
        serde_json::from_slice(body).map_err(Problem::during(&what))
    }

    fn exchange(self, method: &str, path: &str, body: &str) -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&self.0, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.0,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// Status code and body. The body is never chunked: its length is known to the server.
fn split_answer(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let start_line = std::str::from_utf8(answer[..end].split(|&c| c == b'\r').next()?).ok()?;
    let code = start_line.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some((code, &answer[end + 4..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart() {
        let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(split_answer(answer), Some((200, &b"{}"[..])));
        assert_eq!(split_answer(b"HTTP/1.1 503\r\n\r\n"), Some((503, &b""[..])));
        assert_eq!(split_answer(b"SIP/2.0 200 OK\r\n\r\n"), None);
        assert_eq!(split_answer(b"HTTP/1.1 200 OK\r\n"), None);
    }
}
