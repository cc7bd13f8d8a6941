//! One request, on a connection of its own: so it is always known whether anything was sent.
//!
//! A compare-and-set must not be taken for undone while it may be done. With a connection for each
//! request, a failure to connect is the one case in which nothing was sent; all else is open.

use std::fmt;
use std::io;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::{Request, Response, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

/// Bytes of an answer, or of a line of a watch; etcd takes no document beyond 1.5 MiB, and a line
/// may hold several versions of it.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Codes of gRPC with which etcd says that it did nothing, and that no other member would.
const REFUSALS: [u32; 5] = [
    3,  // InvalidArgument: too large, no user.
    5,  // NotFound: a lease that is over.
    7,  // PermissionDenied.
    9,  // FailedPrecondition: authentication is not enabled.
    16, // Unauthenticated: a token that is over.
];
/// With this, too: the quota is used up, and ResourceExhausted stands for other things as well.
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

/// Why there is no answer.
#[derive(Clone, Debug)]
pub(super) enum Failure {
    /// Nothing was sent.
    Unsent(String),
    /// It was sent, or begun to be, and the answer did not come, or makes no sense.
    Unanswered(String),
    /// etcd answered with an error: a code of gRPC, and its words.
    Refused { code: u32, message: String },
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsent(why) | Self::Unanswered(why) => f.write_str(why),
            Self::Refused { code, message } => write!(f, "etcd refuses: {message} (code {code})"),
        }
    }
}

impl Failure {
    /// What was asked for is done, or may yet be.
    pub(super) fn may_have_happened(&self) -> bool {
        match self {
            Self::Unsent(_) => false,
            Self::Unanswered(_) => true,
            Self::Refused { message, .. } => !self.is_final() && !message.contains(NO_SPACE),
        }
    }

    /// Another endpoint would say the same.
    pub(super) fn is_final(&self) -> bool {
        matches!(self, Self::Refused { code, .. } if REFUSALS.contains(code))
    }

    /// The user has to be authenticated anew: the token is over, or older than a change of roles.
    pub(super) fn is_of_token(&self) -> bool {
        let Self::Refused { code, message } = self else { return false };
        *code == 16
            || message.contains("invalid auth token")
            || message.contains("revision in header")
    }
}

/// Where a member of etcd takes requests of clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `host:port`, with brackets around an IPv6 address.
    authority: String,
}

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) path: &'static str,
    pub(super) body: &'a Bytes,
    /// etcd's token, once the user is authenticated.
    pub(super) token: Option<&'a str>,
    /// For the connection and for the answer (of a watch: for its beginning).
    pub(super) timeout: Duration,
}

impl Endpoint {
    /// Of `http://host:port`, which the configuration's check made sure of.
    pub(super) fn new(url: &str) -> Self {
        let authority = url.strip_prefix("http://").unwrap_or(url).trim_end_matches('/');
        Self { authority: authority.into() }
    }

    /// Asks and reads the whole answer.
    pub(super) async fn post(&self, ask: Ask<'_>) -> Result<Bytes, Failure> {
        let deadline = Instant::now() + ask.timeout;
        let (response, _connection) = self.send(ask, deadline).await?;
        let is_success = response.status().is_success();
        let status = response.status().as_u16();
        let collect = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect();
        let body = match timeout_at(deadline, collect).await {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) => return Err(self.unanswered(error)),
            Err(_) => return Err(self.unanswered(late(ask.timeout))),
        };
        if is_success { Ok(body) } else { Err(super::json::refusal(status, &body)) }
    }

    /// Asks and reads the answer line by line, for as long as it lasts.
    pub(super) async fn stream(&self, ask: Ask<'_>) -> Result<Lines, Failure> {
        let deadline = Instant::now() + ask.timeout;
        let (response, connection) = self.send(ask, deadline).await?;
        let status = response.status();
        let mut lines = Lines {
            endpoint: self.clone(),
            body: response.into_body(),
            buffer: BytesMut::new(),
            _connection: connection,
        };
        let first = match timeout_at(deadline, lines.next()).await {
            Ok(first) => first?,
            Err(_) => return Err(self.unanswered(late(ask.timeout))),
        };
        if !status.is_success() {
            return Err(super::json::refusal(status.as_u16(), &first));
        }
        // What a stream begins with is read by the caller like the rest.
        let rest = lines.buffer.split();
        lines.buffer.extend_from_slice(&first);
        lines.buffer.extend_from_slice(b"\n");
        lines.buffer.extend_from_slice(&rest);
        Ok(lines)
    }

    async fn send(
        &self,
        ask: Ask<'_>,
        deadline: Instant,
    ) -> Result<(Response<Incoming>, Driven), Failure> {
        let unsent = |error: &dyn fmt::Display| Failure::Unsent(self.name(error));
        let mut request = Request::post(ask.path)
            .header(header::HOST, &self.authority)
            .header(header::CONTENT_TYPE, "application/json")
            // A member that is cut off from the others ends a watch, and does not leave it silent.
            .header("Grpc-Metadata-hasleader", "true");
        if let Some(token) = ask.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        let request = request.body(Full::new(ask.body.clone())).map_err(|error| unsent(&error))?;
        let (mut sender, connection) = match timeout_at(deadline, self.connect()).await {
            Ok(connected) => connected.map_err(|error| unsent(&error))?,
            Err(_) => return Err(unsent(&late(ask.timeout))),
        };
        match timeout_at(deadline, sender.try_send_request(request)).await {
            Ok(Ok(response)) => Ok((response, connection)),
            Ok(Err(mut error)) => {
                // hyper gives a request back of which it wrote nothing.
                let is_unsent = error.take_message().is_some();
                let error = error.into_error();
                Err(if is_unsent { unsent(&error) } else { self.unanswered(error) })
            }
            Err(_) => Err(self.unanswered(late(ask.timeout))),
        }
    }

    async fn connect(&self) -> io::Result<(SendRequest<Full<Bytes>>, Driven)> {
        let stream = TcpStream::connect(&self.authority).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        // Its errors come out at the request, too.
        let task = tokio::spawn(async move { drop(connection.await) });
        Ok((sender, Driven(task.abort_handle())))
    }

    fn unanswered(&self, error: impl fmt::Display) -> Failure {
        Failure::Unanswered(self.name(&error))
    }

    fn name(&self, error: &dyn fmt::Display) -> String {
        format!("{}: {error}", self.authority)
    }
}

fn late(timeout: Duration) -> String {
    format!("no answer within {} ms", timeout.as_millis())
}

/// A connection, closed when this is dropped.
#[derive(Debug)]
struct Driven(AbortHandle);

impl Drop for Driven {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// An answer that goes on and on.
#[derive(Debug)]
pub(super) struct Lines {
    endpoint: Endpoint,
    body: Incoming,
    /// What came and is not handed out yet.
    buffer: BytesMut,
    _connection: Driven,
}

impl Lines {
    /// The next line that is not empty. Nothing is lost when the future is dropped.
    pub(super) async fn next(&mut self) -> Result<Bytes, Failure> {
        loop {
            if let Some(end) = end_of_line(&self.buffer) {
                let mut line = self.buffer.split_to(end + 1);
                line.truncate(end);
                if !line.is_empty() {
                    return Ok(line.freeze());
                }
                continue;
            }
            if self.buffer.len() > ANSWER_BYTES_MAX {
                return Err(self.endpoint.unanswered("a line that is too long"));
            }
            match self.body.frame().await {
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    self.buffer.extend_from_slice(&data);
                }
                Some(Err(error)) => return Err(self.endpoint.unanswered(error)),
                // The last line may lack its end.
                None if !self.buffer.is_empty() => return Ok(self.buffer.split().freeze()),
                None => return Err(self.endpoint.unanswered("the stream ended")),
            }
        }
    }
}

fn end_of_line(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}
