//! A blocking client of the admin API: HTTP/1.1 over TCP, one request a connection.
//!
//! TLS is deliberately absent, as in the server.

use std::fmt;
use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Bytes of an answer; a longer one is refused.
const ANSWER_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Asks one node.
#[derive(Clone, Debug)]
pub struct Client {
    host: String,
    token: Option<String>,
    wait: Duration,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ClientError {
    /// The address makes no sense.
    BadUrl(String),
    /// The node cannot be reached, or went silent.
    Unreachable {
        /// Its address.
        host: String,
        /// Why.
        error: std::io::Error,
    },
    /// The node refused.
    Refused {
        /// HTTP status.
        status: u16,
        /// What it said.
        error: String,
    },
    /// The answer cannot be read.
    Unreadable(String),
    /// The command itself goes no further, and says what to do.
    Declined(String),
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadUrl(url) => {
                write!(f, "`{url}` is no admin address; write for example http://127.0.0.1:8080")
            }
            Self::Unreachable { host, error } => {
                write!(
                    f,
                    "no node answers at {host}: {error}; name its `admin.listen` with --admin"
                )
            }
            Self::Refused { status: 401, .. } => {
                f.write_str("the node wants a token; give it with --token or REHOME_TOKEN")
            }
            Self::Refused { status, error } => write!(f, "the node refused ({status}): {error}"),
            Self::Unreadable(why) => write!(f, "the node's answer cannot be read: {why}"),
            Self::Declined(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for ClientError {}

impl Client {
    /// A client of the node at `url` (`http://host:port`, or `host:port`).
    ///
    /// # Errors
    /// When the address makes no sense.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, ClientError> {
        let host = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        let is_bad = host.contains('/')
            || host.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err());
        if is_bad {
            return Err(ClientError::BadUrl(url.into()));
        }
        Ok(Self { host: host.into(), token, wait: Duration::from_secs(10) })
    }

    /// The same client that waits this long for a connection and for each part of an answer.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }

    /// Asks.
    ///
    /// # Errors
    /// When there is no answer, or not the one that is expected.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read(&self.text("GET", path, "")?)
    }

    /// Orders.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, ClientError> {
        let body = serde_json::to_string(body)
            .map_err(|error| ClientError::Unreadable(error.to_string()))?;
        read(&self.text("POST", path, &body)?)
    }

    /// Removes.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, ClientError> {
        read(&self.text("DELETE", path, "")?)
    }

    /// The answer's text.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn text(&self, method: &str, path: &str, body: &str) -> Result<String, ClientError> {
        let answer = self
            .exchange(method, path, body)
            .map_err(|error| ClientError::Unreachable { host: self.host.clone(), error })?;
        let (head, body) = answer
            .split_once("\r\n\r\n")
            .ok_or_else(|| ClientError::Unreadable("it is no HTTP".into()))?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
        match status {
            Some(200..=299) => Ok(body.into()),
            Some(status) => {
                let said = serde_json::from_str::<admin_api::ErrorReply>(body);
                let error = said.map_or_else(|_| body.trim().to_owned(), |reply| reply.error);
                Err(ClientError::Refused { status, error })
            }
            None => Err(ClientError::Unreadable("it is no HTTP".into())),
        }
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<String> {
        let missing = || std::io::Error::new(std::io::ErrorKind::NotFound, "no such host");
        let address = self.host.to_socket_addrs()?.next().ok_or_else(missing)?;
        let mut stream = TcpStream::connect_timeout(&address, self.wait)?;
        stream.set_read_timeout(Some(self.wait))?;
        stream.set_write_timeout(Some(self.wait))?;
        let authorization = match &self.token {
            Some(token) => format!("Authorization: Bearer {token}\r\n"),
            None => String::new(),
        };
        // HTTP/1.0: the answer ends with the connection and is never chunked.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\n{authorization}\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.host,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
        Ok(answer)
    }
}

fn read<T: DeserializeOwned>(text: &str) -> Result<T, ClientError> {
    serde_json::from_str(text).map_err(|error| ClientError::Unreadable(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    /// A node that gives one answer; returns its address and, once asked, what it was asked.
    fn node(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut area = [0; 4096];
            let read = stream.read(&mut area).unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8_lossy(&area[..read]).into_owned()
        });
        (address, thread)
    }

    #[test]
    fn an_answer_is_read_and_the_token_is_sent() {
        let (address, asked) = node("HTTP/1.0 200 OK\r\n\r\n{\"error\":\"none\"}");
        let client = Client::new(&format!("http://{address}/"), Some("secret".into())).unwrap();
        let reply: admin_api::ErrorReply = client.get("/v1/status").unwrap();
        assert_eq!(reply.error, "none");
        let asked = asked.join().unwrap();
        assert!(asked.starts_with("GET /v1/status HTTP/1.0\r\n"), "{asked}");
        assert!(asked.contains("\r\nAuthorization: Bearer secret\r\n"), "{asked}");
    }

    #[test]
    fn a_refusal_says_why() {
        let (address, _asked) = node("HTTP/1.0 403 Forbidden\r\n\r\n{\"error\":\"not allowed\"}");
        let client = Client::new(&address, None).unwrap();
        let error = client.get::<admin_api::StatusReply>("/v1/status").unwrap_err();
        assert_eq!(error.to_string(), "the node refused (403): not allowed");
    }

    #[test]
    fn nobody_at_the_address_is_told_with_the_remedy() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        drop(listener);
        let client = Client::new(&address, None).unwrap();
        let error = client.get::<admin_api::StatusReply>("/v1/status").unwrap_err().to_string();
        assert!(error.contains(&address) && error.contains("--admin"), "{error}");
        assert!(Client::new("https://x", None).is_err());
    }
}
