//! One connection to the server: opened, its streams checked, read, and used until it breaks.
//!
//! The client could reconnect by itself, and would then send what was refused meanwhile. So a
//! connection that broke is dropped with all that it had not sent, and another one is made.

use std::error::Error;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::context::{
    Context, ContextBuilder, GetStreamErrorKind, PublishAckFuture, PublishError, PublishErrorKind,
};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::response::Response;
use async_nats::jetstream::stream::{
    Config, DiscardPolicy, Info, RawMessageErrorKind, RetentionPolicy, State, StorageType,
};
use async_nats::jetstream::{self, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, Message, Request, Subscriber};
use bytes::Bytes;
use futures_util::Stream as _;
use replica::gate::QueuedBatch;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::message::{self, Key};
use super::{Login, Server, WINDOW};

/// Messages, and bytes, that one question for a page asks for.
const PAGE_MESSAGES: u64 = 256;
const PAGE_BYTES: u64 = 4 << 20;
/// A whole reading is tried so often: what a broken connection sent may still arrive meanwhile.
const READ_TRIES: usize = 10;
const READ_AGAIN_AFTER: Duration = Duration::from_millis(100);
/// A server that is silent for two of these is away.
const PING_EVERY: Duration = Duration::from_secs(5);

/// Of a message on a page, and after the last one of a page.
const SEQUENCE: &str = "Nats-Sequence";
const END_OF_PAGE: u16 = 204;
/// There is nothing from the number on.
const NOTHING: u16 = 404;

/// What set-aside batches may take; the oldest make room.
const ASIDE_BYTES_MAX: i64 = 256 << 20;
const ASIDE_BATCHES_MAX: i64 = 10_000;

/// Beside its bytes a message has headers and a subject, and the server its own few.
const MESSAGE_OVERHEAD: usize = 512;

/// The streams of a site.
#[derive(Clone, Debug)]
pub(super) struct Streams {
    pub(super) inbox: Config,
    aside: Config,
}

impl Streams {
    pub(super) fn new(site: u16, replicas: usize, bytes_max: usize, batches_max: usize) -> Self {
        let overhead = batches_max.saturating_mul(MESSAGE_OVERHEAD);
        let bytes_max = bytes_max.saturating_add(overhead);
        let common = Config {
            storage: StorageType::File,
            num_replicas: replicas,
            max_consumers: -1,
            max_messages_per_subject: -1,
            max_message_size: -1,
            ..Config::default()
        };
        let inbox = Config {
            name: format!("REHOME_INBOX_{site}"),
            subjects: vec![format!("rehome.inbox.{site}.>")],
            description: Some(format!("Rehome: batches that other sites gave to site {site}")),
            // Nobody consumes: whoever owns the inbox removes by number. The policy forbids a
            // second reader by mistake.
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_bytes: i64::try_from(bytes_max).unwrap_or(i64::MAX),
            max_messages: i64::try_from(batches_max).unwrap_or(i64::MAX),
            allow_direct: true,
            ..common.clone()
        };
        let aside = Config {
            name: format!("REHOME_ASIDE_{site}"),
            subjects: vec![format!("rehome.aside.{site}.>")],
            description: Some(format!("Rehome: batches that site {site} could not read")),
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_bytes: ASIDE_BYTES_MAX,
            max_messages: ASIDE_BATCHES_MAX,
            ..common
        };
        Self { inbox, aside }
    }

    fn subject(&self, batch: &QueuedBatch) -> String {
        format!("{}{}.{}", self.inbox_prefix(), batch.from.0, batch.partition.0)
    }

    /// `rehome.inbox.1.`
    fn inbox_prefix(&self) -> &str {
        self.inbox.subjects[0].trim_end_matches('>')
    }

    fn aside_of(&self, subject: &str) -> String {
        let rest = subject.strip_prefix(self.inbox_prefix()).unwrap_or("unknown");
        format!("{}{rest}", self.aside.subjects[0].trim_end_matches('>'))
    }
}

/// A message of the inbox.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) sequence: u64,
    /// `None` for what cannot be read.
    pub(super) batch: Option<(Key, QueuedBatch)>,
}

/// Why something was not done.
#[derive(Debug)]
pub(super) enum Failure {
    /// The server said so, and has not done it.
    Refused(String),
    /// It is not known whether it was done; the connection is not to be used any more.
    Broken(String),
}

/// What the connection's own task heard.
#[derive(Debug, Default)]
struct Signs {
    is_over: bool,
    said: Option<String>,
}

#[derive(Debug)]
pub(super) struct Session {
    client: Client,
    context: Context,
    streams: Arc<Streams>,
    signs: watch::Receiver<Signs>,
    timeout: Duration,
}

/// An error and what caused it, in one line.
fn told(error: &(dyn Error + 'static)) -> String {
    let mut words = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_words = cause.to_string();
        if !words.contains(&cause_words) {
            words = format!("{words}: {cause_words}");
        }
        next = cause.source();
    }
    words
}

async fn connect(server: &Server) -> Result<(Client, watch::Receiver<Signs>), String> {
    let (tell, signs) = watch::channel(Signs::default());
    let options = ConnectOptions::new()
        .name("rehome")
        .connection_timeout(server.timeout)
        .request_timeout(Some(server.timeout))
        .ping_interval(PING_EVERY)
        .ignore_discovered_servers()
        .require_tls(server.has_tls())
        .event_callback(move |event| {
            tell.send_modify(|signs| match event {
                Event::Disconnected | Event::Closed => signs.is_over = true,
                Event::ServerError(error) => signs.said = Some(error.to_string()),
                Event::ClientError(error) => signs.said = Some(error.to_string()),
                Event::Connected
                | Event::LameDuckMode
                | Event::Draining
                | Event::SlowConsumer(_) => {}
            });
            std::future::ready(())
        });
    let options = match &server.ca_file {
        Some(file) => options.add_root_certificates(file.clone()),
        None => options,
    };
    let options = match &server.login {
        Login::Nobody => options,
        Login::User(user, password) => options.user_and_password(user.clone(), password.0.clone()),
        Login::Credentials(text) => options
            .credentials(&text.0)
            .map_err(|error| format!("the credentials file cannot be used: {error}"))?,
    };
    let client = options.connect(server.urls.as_slice()).await.map_err(|error| {
        let why = told(&error);
        match error.kind() {
            ConnectErrorKind::AuthorizationViolation | ConnectErrorKind::Authentication => format!(
                "the server refuses the user, the password or the credentials of [queue]: {why}"
            ),
            ConnectErrorKind::Tls => format!("TLS fails: {why}"),
            ConnectErrorKind::ServerParse
            | ConnectErrorKind::Dns
            | ConnectErrorKind::TimedOut
            | ConnectErrorKind::Io
            | ConnectErrorKind::MaxReconnects => why,
        }
    })?;
    // Pages of many messages are asked for, which older servers do not know.
    if !client.is_server_compatible(2, 11, 0) {
        let version = client.server_info().version;
        return Err(format!(
            "the server is nats-server {version}, and 2.11 is the oldest that does"
        ));
    }
    Ok((client, signs))
}

impl Session {
    /// Names the life of the server at the other end.
    pub(super) fn server_id(&self) -> String {
        self.client.server_info().server_id
    }

    /// Connects, and makes or checks the streams.
    pub(super) async fn open(server: &Server, streams: &Arc<Streams>) -> Result<Self, String> {
        let (client, signs) = connect(server).await?;
        let context = ContextBuilder::new()
            .timeout(server.timeout)
            .ack_timeout(server.timeout)
            .max_ack_inflight(2 * WINDOW)
            .build(client.clone());
        let streams = Arc::clone(streams);
        let session = Self { client, context, streams, signs, timeout: server.timeout };
        session.ensure(&session.streams.inbox).await?;
        session.ensure(&session.streams.aside).await?;
        Ok(session)
    }

    async fn ensure(&self, wanted: &Config) -> Result<(), String> {
        let name = &wanted.name;
        let found = match self.context.get_stream(name).await {
            Ok(stream) => stream.cached_info().config.clone(),
            Err(error) => match error.kind() {
                GetStreamErrorKind::JetStream(ref known)
                    if known.error_code() == ErrorCode::STREAM_NOT_FOUND =>
                {
                    let made = self.context.create_stream(wanted.clone()).await;
                    let made = made.map_err(|error| {
                        format!("the stream {name} cannot be made: {}", told(&error))
                    })?;
                    made.cached_info().config.clone()
                }
                GetStreamErrorKind::JetStream(_)
                | GetStreamErrorKind::EmptyName
                | GetStreamErrorKind::Request
                | GetStreamErrorKind::InvalidStreamName => {
                    return Err(format!("the stream {name} cannot be looked at: {}", told(&error)));
                }
            },
        };
        let differences = differences(wanted, &found);
        if differences.is_empty() {
            return Ok(());
        }
        Err(format!(
            "the stream {name} is not as this site needs it: {}; edit it with `nats stream edit \
             {name}`, or remove it when it is empty",
            differences.join(", ")
        ))
    }

    /// Completes when the connection is not to be used any more, and says why.
    pub(super) async fn broken(&self) -> String {
        let mut signs = self.signs.clone();
        // An error says that the connection's own task is gone.
        let _gone = signs.wait_for(|signs| signs.is_over).await.map(drop);
        self.last_words("the server ended the connection")
    }

    /// `why`, or what the server said of it.
    pub(super) fn last_words(&self, why: &str) -> String {
        match &self.signs.borrow().said {
            Some(said) => format!("{why} ({said})"),
            None => why.to_owned(),
        }
    }

    /// Sends a batch. Messages are stored in the order in which this is called.
    pub(super) async fn append(
        &self,
        key: Key,
        batch: QueuedBatch,
    ) -> Result<PublishAckFuture, Failure> {
        let headers = message::headers(key, &batch);
        let subject = self.streams.subject(&batch);
        self.publish(subject, &self.streams.inbox.name, headers, batch.bytes).await
    }

    async fn publish(
        &self,
        subject: String,
        stream: &str,
        headers: async_nats::HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAckFuture, Failure> {
        let message = PublishMessage::build().headers(headers).payload(payload);
        let message = message.expected_stream(stream);
        self.context.send_publish(subject, message).await.map_err(publish_failure)
    }

    /// Removes a message by its number. That is as durable as an acknowledgement of a consumer
    /// would be, needs no consumer whose state can be lost or in the way, and there is no other
    /// reader: one gate owns a site's inbox, and hands its batches to engines in turn. A removal
    /// that is lost with the server's power makes a batch be applied once more, which is harmless.
    ///
    /// The bytes are not overwritten: nothing secret is meant to be destroyed, and it is slow.
    pub(super) async fn remove(&self, sequence: u64) -> Result<(), Failure> {
        let name = &self.streams.inbox.name;
        let subject = format!("STREAM.MSG.DELETE.{name}");
        let ask = json!({ "seq": sequence, "no_erase": true });
        let answer: Result<Response<serde_json::Value>, _> =
            self.context.request(subject, &ask).await;
        match answer {
            Ok(Response::Ok(_)) => Ok(()),
            Ok(Response::Err { error }) => match self.get(sequence).await? {
                // It was removed before, and the answer was lost.
                None => Ok(()),
                Some(_) => Err(Failure::Refused(format!("a batch cannot be removed: {error}"))),
            },
            Err(error) => Err(Failure::Broken(told(&error))),
        }
    }

    /// Keeps a message aside, then removes it. A copy that was made before a broken connection is
    /// made again: it is there to be looked at.
    pub(super) async fn set_aside(&self, sequence: u64) -> Result<(), Failure> {
        let Some(message) = self.get(sequence).await? else { return Ok(()) };
        let subject = self.streams.aside_of(&message.subject);
        let aside = &self.streams.aside.name;
        let sent = self.publish(subject, aside, message.headers, message.payload).await?;
        sent.await.map_err(publish_failure)?;
        self.remove(sequence).await
    }

    /// One message, from the stream's leader.
    async fn get(
        &self,
        sequence: u64,
    ) -> Result<Option<jetstream::message::StreamMessage>, Failure> {
        let stream = self.context.get_stream_no_info(&self.streams.inbox.name).await;
        let stream = stream.map_err(|error| Failure::Broken(told(&error)))?;
        match stream.get_raw_message(sequence).await {
            Ok(message) => Ok(Some(message)),
            Err(error) if error.kind() == RawMessageErrorKind::NoMessageFound => Ok(None),
            Err(error) => Err(Failure::Broken(told(&error))),
        }
    }

    /// Whether the message of this number is that of this append.
    pub(super) async fn has(&self, sequence: u64, key: Key) -> Result<bool, String> {
        let found = self.get(sequence).await.map_err(Failure::into_words)?;
        let found = found.and_then(|found| message::batch(&found.headers, Bytes::new()));
        Ok(found.is_some_and(|(found, _)| found == key))
    }

    /// All that is held. Any server of a cluster answers for the pages, also one that is behind:
    /// what they have is compared with what the stream's leader says.
    pub(super) async fn read_all(&self, with_bytes: bool) -> Result<Vec<Found>, String> {
        for _ in 0..READ_TRIES {
            let before = self.state().await?;
            let found = self.read_from(1, with_bytes).await?;
            let after = self.state().await?;
            let ends = |state: &State| (state.messages, state.last_sequence);
            if ends(&before) == ends(&after) && found.len() as u64 == after.messages {
                return Ok(found);
            }
            sleep(READ_AGAIN_AFTER).await;
        }
        Err(format!("{} does not stand still: who writes to it?", self.streams.inbox.name))
    }

    /// The number of the newest message that the stream ever held, as its leader knows it.
    pub(super) async fn newest(&self) -> Result<u64, String> {
        self.state().await.map(|state| state.last_sequence)
    }

    async fn state(&self) -> Result<State, String> {
        let subject = format!("STREAM.INFO.{}", self.streams.inbox.name);
        match self.context.request(subject, &json!({})).await {
            Ok(Response::Ok(Info { state, .. })) => Ok(state),
            Ok(Response::Err { error }) => Err(error.to_string()),
            Err(error) => Err(told(&error)),
        }
    }

    /// What is held from this number on, as whichever server that answers knows it.
    pub(super) async fn read_from(
        &self,
        sequence: u64,
        with_bytes: bool,
    ) -> Result<Vec<Found>, String> {
        let mut found: Vec<Found> = Vec::new();
        let mut next = sequence;
        loop {
            let page = self.page(next, with_bytes).await?;
            let Some(last) = page.last() else { return Ok(found) };
            next = last.sequence + 1;
            found.extend(page);
        }
    }

    async fn page(&self, from: u64, with_bytes: bool) -> Result<Vec<Found>, String> {
        let inbox = self.client.new_inbox();
        let mut answers = self.client.subscribe(inbox.clone()).await.map_err(|e| told(&e))?;
        let ask = json!({
            "seq": from,
            "next_by_subj": self.streams.inbox.subjects[0],
            "batch": PAGE_MESSAGES,
            "max_bytes": PAGE_BYTES,
        });
        let request = Request::new().payload(ask.to_string().into()).inbox(inbox);
        let subject = format!("DIRECT.GET.{}", self.streams.inbox.name);
        self.context.send_request(subject, request).await.map_err(|error| told(&error))?;
        let mut page = Vec::new();
        loop {
            let answer = timeout(self.timeout, next(&mut answers)).await;
            let answer = answer.map_err(|_| "no answer in time".to_owned())?;
            let message = answer.ok_or("the connection ended")?;
            match message.status.map(|status| status.as_u16()) {
                None => page.extend(found(message, with_bytes)),
                Some(END_OF_PAGE | NOTHING) => return Ok(page),
                Some(status) => {
                    let why = message.description.unwrap_or_default();
                    return Err(format!("the stream cannot be read: {status} {why}"));
                }
            }
        }
    }
}

async fn next(answers: &mut Subscriber) -> Option<Message> {
    poll_fn(|context| Pin::new(&mut *answers).poll_next(context)).await
}

fn found(message: Message, with_bytes: bool) -> Option<Found> {
    let headers = message.headers.as_ref()?;
    let sequence = message::number(headers, SEQUENCE)?;
    // A payload is a part of what was read at once: held for long, it would hold all of that.
    let bytes = if with_bytes { Bytes::copy_from_slice(&message.payload) } else { Bytes::new() };
    Some(Found { sequence, batch: message::batch(headers, bytes) })
}

impl Failure {
    pub(super) fn into_words(self) -> String {
        match self {
            Self::Refused(why) | Self::Broken(why) => why,
        }
    }
}

pub(super) fn publish_failure(error: PublishError) -> Failure {
    let why = told(&error);
    match error.kind() {
        PublishErrorKind::MaxPayloadExceeded => {
            Failure::Refused(format!("{why}: raise `max_payload` of the server"))
        }
        // With a cause it is the server's own word: it is full, or lacks room.
        PublishErrorKind::Other if error.source().is_some_and(|cause| cause.is::<ServerWord>()) => {
            Failure::Refused(why)
        }
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::StreamNotFound
        | PublishErrorKind::TimedOut
        | PublishErrorKind::BrokenPipe
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::Other => Failure::Broken(why),
    }
}

type ServerWord = jetstream::Error;

/// What of a stream is not as it is wanted.
fn differences(wanted: &Config, found: &Config) -> Vec<String> {
    let mut differences = Vec::new();
    let mut compare = |word: &str, wanted: String, found: String| {
        if wanted != found {
            differences.push(format!("`{word}` is {found}, and {wanted} is needed"));
        }
    };
    let pairs = |config: &Config| {
        [
            ("retention", format!("{:?}", config.retention)),
            ("discard", format!("{:?}", config.discard)),
            ("storage", format!("{:?}", config.storage)),
            ("subjects", format!("{:?}", config.subjects)),
            ("max_bytes", config.max_bytes.to_string()),
            ("max_msgs", config.max_messages.to_string()),
            ("num_replicas", config.num_replicas.to_string()),
            ("max_age", format!("{:?}", config.max_age)),
            ("max_msgs_per_subject", config.max_messages_per_subject.to_string()),
            ("max_msg_size", config.max_message_size.to_string()),
            ("allow_direct", config.allow_direct.to_string()),
            ("deny_delete", config.deny_delete.to_string()),
            ("no_ack", config.no_ack.to_string()),
            ("sealed", config.sealed.to_string()),
        ]
    };
    for ((word, wanted), (_, found)) in pairs(wanted).into_iter().zip(pairs(found)) {
        compare(word, wanted, found);
    }
    differences
}
