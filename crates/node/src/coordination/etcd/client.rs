//! Requests to any of the endpoints: the document, everything, the watch, the lease.
//!
//! A store whose revision falls was restored or replaced: what it says must not be believed, since
//! view numbers come from revisions. From then on every request fails until the process ends.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::super::teller::{Change, Snapshot, What};
use super::super::{CasOutcome, Current, EtcdSetting, Stored};
use super::http::{Ask, Endpoint, Failure, Lines};
use super::json::{self, KeyValue, base64};
use crate::config::file::Secret;

/// Copies are the same client.
#[derive(Clone, Debug)]
pub(super) struct Client(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    endpoints: Vec<Endpoint>,
    /// Index of the endpoint that is asked first: one that answered.
    preferred: AtomicUsize,
    timeout: Duration,
    credentials: Option<(String, Secret)>,
    /// Of the user, once authenticated; every member knows it. Locked while that is done: it is
    /// dear for etcd, on purpose, and once is enough for all tasks.
    token: Mutex<Option<String>>,
    /// `<prefix>/map`.
    document: String,
    /// `<prefix>/present/`.
    present: String,
    /// `<prefix>/`, and the first key after all those that begin so.
    below: (String, String),
    /// The highest revision of the store that an answer named.
    seen: AtomicU64,
    has_gone_back: AtomicBool,
}

/// Whether a request may be made a second time when the first is unanswered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Repeat {
    Anyhow,
    UnlessSent,
}

impl Client {
    pub(super) fn new(setting: EtcdSetting) -> Self {
        let prefix = &setting.prefix;
        Self(Arc::new(Shared {
            endpoints: setting.endpoints.iter().map(|url| Endpoint::new(url)).collect(),
            preferred: AtomicUsize::new(0),
            timeout: setting.timeout,
            credentials: setting.credentials,
            token: Mutex::new(None),
            document: format!("{prefix}/map"),
            present: format!("{prefix}/present/"),
            // `0` follows `/` in ASCII.
            below: (format!("{prefix}/"), format!("{prefix}0")),
            seen: AtomicU64::new(0),
            has_gone_back: AtomicBool::new(false),
        }))
    }

    /// The document, linearizably.
    pub(super) async fn document(&self) -> Result<Current, Failure> {
        let seen = self.seen()?;
        let body = json!({ "key": base64(&self.0.document) });
        let range: json::Range = self.ask("/v3/kv/range", &body, Repeat::Anyhow).await?;
        self.note(seen, range.header.revision)?;
        Ok(current(range.header.revision, range.kvs))
    }

    /// Everything below the prefix, linearizably, at one revision.
    pub(super) async fn snapshot(&self) -> Result<Snapshot, Failure> {
        let seen = self.seen()?;
        let (from, to) = &self.0.below;
        let body = json!({ "key": base64(from), "range_end": base64(to) });
        let range: json::Range = self.ask("/v3/kv/range", &body, Repeat::Anyhow).await?;
        self.note(seen, range.header.revision)?;
        let (mut document, mut present) = (Vec::new(), BTreeMap::new());
        for kv in range.kvs {
            if let Some(id) = self.0.id_of(&kv.key) {
                present.insert(id, kv.value);
            } else if kv.key == self.0.document {
                document.push(kv);
            }
        }
        Ok(Snapshot { document: current(range.header.revision, document), present })
    }

    /// Writes the document if its revision is `expected`. Never answers `Away`: that is a failure.
    pub(super) async fn compare_and_set(
        &self,
        expected: u64,
        bytes: &Bytes,
    ) -> Result<CasOutcome, Failure> {
        let seen = self.seen()?;
        let key = base64(&self.0.document);
        let compare = json!({
            "key": key, "target": "MOD", "result": "EQUAL", "mod_revision": expected.to_string(),
        });
        let body = json!({
            "compare": [compare],
            "success": [{ "request_put": { "key": key, "value": base64(bytes) } }],
            "failure": [{ "request_range": { "key": key } }],
        });
        let answer: json::Transaction = self.ask("/v3/kv/txn", &body, Repeat::UnlessSent).await?;
        let revision = answer.header.revision;
        self.note(seen, revision)?;
        if answer.succeeded {
            return Ok(CasOutcome::Written { revision });
        }
        let found = answer.responses.into_iter().find_map(|response| response.response_range);
        Ok(CasOutcome::Lost(current(revision, found.map(|found| found.kvs).unwrap_or_default())))
    }

    /// Every change below the prefix, from revision `from` on.
    pub(super) async fn watch(&self, from: u64) -> Result<Watching, Failure> {
        self.seen()?;
        let (key, end) = &self.0.below;
        let create = json!({
            "key": base64(key), "range_end": base64(end), "start_revision": from.to_string(),
        });
        let body = Bytes::from(json!({ "create_request": create }).to_string());
        let at = self.0.preferred.load(Ordering::Relaxed);
        let token = self.token(at).await?;
        let ask = self.ask_with("/v3/watch", &body, token.as_deref());
        match self.endpoint(at).stream(ask).await {
            Ok(lines) => Ok(Watching { client: self.clone(), token, lines }),
            Err(failure) => {
                self.prefer_after(at);
                Err(failure)
            }
        }
    }

    /// A new lease of `ttl` seconds.
    pub(super) async fn grant(&self, ttl: u64) -> Result<u64, Failure> {
        self.seen()?;
        let body = json!({ "TTL": ttl.to_string() });
        let lease: json::Lease = self.ask("/v3/lease/grant", &body, Repeat::Anyhow).await?;
        Ok(lease.id)
    }

    /// Keeps a lease alive; `false` when it is over.
    pub(super) async fn keep_alive(&self, lease: u64) -> Result<bool, Failure> {
        self.seen()?;
        let body = json!({ "ID": lease.to_string() });
        let answer = self.post("/v3/lease/keepalive", &body, Repeat::Anyhow).await?;
        Ok(json::read_line::<json::Lease>(&answer)?.ttl > 0)
    }

    /// Ends a lease and removes what it holds.
    pub(super) async fn revoke(&self, lease: u64) -> Result<(), Failure> {
        let body = json!({ "ID": lease.to_string() });
        self.post("/v3/lease/revoke", &body, Repeat::Anyhow).await.map(drop)
    }

    /// Is present under `lease`; `false` when that is over.
    pub(super) async fn put_present(
        &self,
        id: &str,
        bytes: &Bytes,
        lease: u64,
    ) -> Result<bool, Failure> {
        let seen = self.seen()?;
        let key = base64(format!("{}{id}", self.0.present));
        let body = json!({ "key": key, "value": base64(bytes), "lease": lease.to_string() });
        match self.ask::<json::Done>("/v3/kv/put", &body, Repeat::Anyhow).await {
            Ok(done) => self.note(seen, done.header.revision).map(|()| true),
            Err(Failure::Refused { code: 5, .. }) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// The endpoint that is asked first does not tell everything.
    pub(super) fn prefer_another(&self) {
        self.prefer_after(self.0.preferred.load(Ordering::Relaxed));
    }

    async fn ask<T: serde::de::DeserializeOwned>(
        &self,
        path: &'static str,
        body: &Value,
        repeat: Repeat,
    ) -> Result<T, Failure> {
        json::read(&self.post(path, body, repeat).await?)
    }

    /// Asks one endpoint after the other, each once, until one answers.
    async fn post(
        &self,
        path: &'static str,
        body: &Value,
        repeat: Repeat,
    ) -> Result<Bytes, Failure> {
        let body = Bytes::from(body.to_string());
        let mut last = Failure::Unsent("there is no endpoint".into());
        for _ in 0..self.0.endpoints.len() {
            let at = self.0.preferred.load(Ordering::Relaxed);
            match self.post_to(at, path, &body).await {
                Ok(answer) => return Ok(answer),
                Err(failure) if failure.is_final() => return Err(failure),
                Err(failure) => last = failure,
            }
            self.prefer_after(at);
            if repeat == Repeat::UnlessSent && last.may_have_happened() {
                break;
            }
        }
        Err(last)
    }

    async fn post_to(&self, at: usize, path: &'static str, body: &Bytes) -> Result<Bytes, Failure> {
        let token = self.token(at).await?;
        match self.endpoint(at).post(self.ask_with(path, body, token.as_deref())).await {
            Err(failure) if failure.is_of_token() && token.is_some() => {
                self.forget(token.as_deref()).await;
                let token = self.token(at).await?;
                self.endpoint(at).post(self.ask_with(path, body, token.as_deref())).await
            }
            answer => answer,
        }
    }

    fn ask_with<'a>(&self, path: &'static str, body: &'a Bytes, token: Option<&'a str>) -> Ask<'a> {
        Ask { path, body, token, timeout: self.0.timeout }
    }

    fn endpoint(&self, at: usize) -> &Endpoint {
        &self.0.endpoints[at % self.0.endpoints.len()]
    }

    /// Of several that saw `at` fail, only the first moves on.
    fn prefer_after(&self, at: usize) {
        let next = (at + 1) % self.0.endpoints.len();
        let (relaxed, preferred) = (Ordering::Relaxed, &self.0.preferred);
        // An error: another moved on already.
        let _moved = preferred.compare_exchange(at, next, relaxed, relaxed);
    }

    /// The user's token; of nobody without a user. Not to have one is to have sent nothing.
    async fn token(&self, at: usize) -> Result<Option<String>, Failure> {
        let Some((user, password)) = &self.0.credentials else { return Ok(None) };
        let mut known = self.0.token.lock().await;
        if known.is_some() {
            return Ok(known.clone());
        }
        let body = Bytes::from(json!({ "name": user, "password": password.0 }).to_string());
        let ask = self.ask_with("/v3/auth/authenticate", &body, None);
        let answer = self.endpoint(at).post(ask).await.map_err(|failure| {
            if failure.is_final() { failure } else { Failure::Unsent(failure.to_string()) }
        })?;
        *known = Some(json::read::<json::Token>(&answer)?.token);
        Ok(known.clone())
    }

    /// `used` is over; another task may have a newer one already.
    async fn forget(&self, used: Option<&str>) {
        let mut known = self.0.token.lock().await;
        if known.as_deref() == used {
            *known = None;
        }
    }

    /// What an answer to a request that begins now may not be below.
    fn seen(&self) -> Result<u64, Failure> {
        if self.0.has_gone_back.load(Ordering::Relaxed) {
            return Err(Failure::Unsent(WENT_BACK.into()));
        }
        Ok(self.0.seen.load(Ordering::Relaxed))
    }

    fn note(&self, seen: u64, revision: u64) -> Result<(), Failure> {
        if revision < seen {
            self.0.has_gone_back.store(true, Ordering::Relaxed);
            tracing::error!(seen, revision, "{WENT_BACK}");
            return Err(Failure::Unanswered(WENT_BACK.into()));
        }
        self.0.seen.fetch_max(revision, Ordering::Relaxed);
        Ok(())
    }
}

const WENT_BACK: &str = "the revision of the coordination store went back: it was restored or \
    replaced; end all state processes of the site before they use it";

impl Shared {
    /// Of a process whose key this is.
    fn id_of(&self, key: &[u8]) -> Option<String> {
        let id = key.strip_prefix(self.present.as_bytes())?;
        std::str::from_utf8(id).ok().map(str::to_owned)
    }
}

fn current(store_revision: u64, found: Vec<KeyValue>) -> Current {
    let stored = |kv: KeyValue| Stored { revision: kv.mod_revision, bytes: kv.value };
    Current { store_revision, stored: found.into_iter().next().map(stored) }
}

/// A watch that stands.
#[derive(Debug)]
pub(super) struct Watching {
    client: Client,
    token: Option<String>,
    lines: Lines,
}

impl Watching {
    /// The next changes; none when etcd only says that it goes on.
    pub(super) async fn next(&mut self) -> Result<Vec<Change>, Failure> {
        let line = self.lines.next().await?;
        let watched: json::Watched = json::read_line(&line)?;
        if watched.canceled {
            // The token may be why; the next one costs little.
            self.client.forget(self.token.as_deref()).await;
            let (reason, compacted) = (watched.cancel_reason, watched.compact_revision);
            let why = format!("etcd ends the watch: {reason} (compacted at {compacted})");
            return Err(Failure::Unanswered(why));
        }
        Ok(watched.events.into_iter().filter_map(|event| self.change(event)).collect())
    }

    fn change(&self, event: json::Event) -> Option<Change> {
        let kv = event.kv;
        let value = (event.sort != "DELETE").then_some(kv.value);
        let what = if kv.key == self.client.0.document {
            What::Document(value)
        } else {
            What::Present(self.client.0.id_of(&kv.key)?, value)
        };
        Some(Change { at: kv.mod_revision, what })
    }
}
