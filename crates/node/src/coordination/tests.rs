//! What every store does, and the owner that the tests of each stand in for.

use std::collections::VecDeque;

use super::*;
use crate::scratch::Scratch;
use crate::servers::etcd::Etcd;

/// What does not come within this does not come.
const PATIENCE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "current_thread")]
async fn a_lone_process_s_store_conforms() {
    conforms(Store::Fixed { revision: 7 }).await;
}

#[tokio::test(flavor = "current_thread")]
async fn etcd_conforms() {
    let scratch = Scratch::new("conforms");
    let etcd = Etcd::start(scratch.path());
    conforms(store(&[&etcd])).await;
}

#[test]
fn the_configuration_says_where_the_store_is() {
    let of = |section: &str| {
        let text = format!(
            "role = \"state\"\n[site]\nid = 3\ndata_dir = \"data\"\nsecret = \"{}\"\n\
             [tier]\nlisten = \"127.0.0.1:9000\"\nname = \"s1\"\n{section}",
            "00".repeat(32)
        );
        Store::of(&crate::config::parse("site.toml", &text, None).unwrap().0, 1 << 32)
    };
    assert!(matches!(of(""), Store::Fixed { revision: 0x1_0000_0000 }));
    let section = "[coordination]\nendpoints = [\"http://10.0.0.1:2379\"]\nttl_ms = 3000\n";
    let Store::Etcd(etcd) = of(section) else { panic!("it has endpoints") };
    assert_eq!((etcd.prefix.as_str(), etcd.endpoints.len()), ("/rehome/site3", 1));
    assert_eq!((etcd.ttl, etcd.timeout), (Duration::from_secs(3), Duration::from_secs(1)));
    assert_eq!(etcd.credentials, None);
}

/// The promises of [`Order`] and [`Told`], on a store that nobody has written to.
async fn conforms(store: Store) {
    let mut owner = Owner::start(store, "7");
    owner.until("it answers", |told| *told == Told::Back).await;
    let first = owner.document().await;
    assert_eq!(first.stored, None);
    owner.present_are(&["7"]).await;

    // Nothing is there yet, and the store has a revision all the same.
    let read = owner.read().await;
    assert_eq!(read.stored, None);
    assert!(read.store_revision >= first.store_revision && first.store_revision > 0);
    let lost = owner.lose(first.store_revision, "of nothing").await;
    assert_eq!(lost.stored, None, "a revision that no document has");

    // The first document, by the revision 0.
    let one = owner.write(0, "one").await;
    assert!(one > read.store_revision);
    assert_eq!(owner.lose(0, "another first").await.stored, stored(one, "one"));
    assert_eq!(owner.lose(one - 1, "too late").await.stored, stored(one, "one"));
    assert_eq!(owner.read().await.stored, stored(one, "one"));

    // What follows, by the revision that was read; and any bytes, none among them.
    let two = owner.write(one, "").await;
    assert!(two > one);
    assert_eq!(owner.read().await.stored, stored(two, ""));
    let all: Bytes = (0..=u8::MAX).cycle().take(100_000).collect();
    let three = owner.write(two, all.clone()).await;
    assert_eq!(owner.lose(two, "too late").await.stored, stored(three, all));
    assert!(owner.read().await.store_revision >= three);

    // Each of them was told before its answer: see `Owner::check`.
    assert_eq!(
        owner.document.as_ref().and_then(|known| known.stored.clone()).unwrap().revision,
        three
    );
    every_order_is_answered_or_given_back(owner, three).await;
}

async fn every_order_is_answered_or_given_back(mut owner: Owner, revision: u64) {
    for ask in 0..ORDERS_MAX as u64 {
        owner.coordination.order(Order::Read { ask }).unwrap();
    }
    let order = Order::CompareAndSet { ask: 0, expected: revision, bytes: Bytes::new() };
    assert_eq!(owner.coordination.order(order.clone()), Err(order));
    for expected in 0..ORDERS_MAX as u64 {
        let is_answer =
            |told: &Told| matches!(told, Told::ReadAnswer { ask, .. } if *ask == expected);
        owner.until("the answers come in order", is_answer).await;
    }
    owner.coordination.end().await;
}

/// Half a second for a request, so that tests of what is away are short.
pub(super) fn store(members: &[&Etcd]) -> Store {
    Store::Etcd(EtcdSetting {
        endpoints: members.iter().map(|member| member.endpoint()).collect(),
        prefix: "/rehome/site1".into(),
        ttl: Duration::from_secs(2),
        timeout: Duration::from_millis(500),
        credentials: None,
    })
}

pub(super) fn stored(revision: u64, bytes: impl Into<Bytes>) -> Option<Stored> {
    Some(Stored { revision, bytes: bytes.into() })
}

/// Stands in for the site; checks each word against those before.
pub(super) struct Owner {
    pub(super) coordination: Coordination,
    words: mpsc::Receiver<Told>,
    /// Heard and not asked for yet.
    kept: VecDeque<Told>,
    asks: u64,
    document: Option<Current>,
    present: Option<BTreeMap<String, Bytes>>,
    is_back: Option<bool>,
    why: String,
}

impl Owner {
    pub(super) fn start(store: Store, id: &str) -> Self {
        let bytes = Bytes::from(format!("I am {id}"));
        let setting = Setting { store, presence: Some(Presence { id: id.into(), bytes }) };
        let (sender, words) = mpsc::channel(64);
        let coordination = Coordination::start(setting, sender);
        // Apart from the numbers that tests give themselves.
        let asks = 1_000;
        Self {
            coordination,
            words,
            kept: VecDeque::new(),
            asks,
            document: None,
            present: None,
            is_back: None,
            why: String::new(),
        }
    }

    /// The next word that is `wanted`; those before it are kept for others.
    pub(super) async fn until(&mut self, what: &str, wanted: impl Fn(&Told) -> bool) -> Told {
        if let Some(at) = self.kept.iter().position(&wanted) {
            return self.kept.remove(at).unwrap();
        }
        let heard = tokio::time::timeout(PATIENCE, async {
            loop {
                let told = self.words.recv().await.expect("the store never leaves its owner");
                self.check(&told);
                if wanted(&told) {
                    return told;
                }
                self.kept.push_back(told);
            }
        });
        match heard.await {
            Ok(told) => told,
            Err(_) => panic!("waited {PATIENCE:?} in vain: {what}; heard {:?}", self.kept),
        }
    }

    fn check(&mut self, told: &Told) {
        match told {
            Told::Document(current) => {
                if let Some(known) = &self.document {
                    assert!(known.store_revision < current.store_revision, "back from {known:?}");
                    assert_ne!(known.stored, current.stored, "told twice");
                }
                self.document = Some(current.clone());
            }
            Told::ReadAnswer { outcome: ReadOutcome::Current(current), .. }
            | Told::CasAnswer { outcome: CasOutcome::Lost(current), .. } => {
                let known = self.document.as_ref().expect("the document comes before the answer");
                assert_eq!(known.stored, current.stored, "an answer knows what was told");
                assert!(known.store_revision <= current.store_revision);
            }
            Told::CasAnswer { outcome: CasOutcome::Written { revision }, .. } => {
                let known = self.document.as_ref().expect("the document comes before the answer");
                let known = known.stored.as_ref().expect("it was written");
                assert!(known.revision >= *revision, "told after its answer");
            }
            Told::Away { why } => {
                assert!(self.is_back.replace(false) != Some(false), "twice");
                self.why.clone_from(why);
            }
            Told::Back => assert!(self.is_back.replace(true) != Some(true), "twice"),
            Told::Present(present) => {
                let before = self.present.replace(present.clone());
                assert_ne!(before.as_ref(), Some(present), "told twice");
            }
            Told::ReadAnswer { .. } | Told::CasAnswer { .. } => {}
        }
    }

    /// The next document that is told.
    pub(super) async fn document(&mut self) -> Current {
        match self.until("a document", |told| matches!(told, Told::Document(_))).await {
            Told::Document(current) => current,
            other => panic!("{other:?}"),
        }
    }

    /// Waits until the document is told that has these bytes.
    pub(super) async fn document_is(&mut self, bytes: &str) {
        let is = |told: &Told| {
            matches!(told, Told::Document(Current { stored: Some(stored), .. })
                if stored.bytes == bytes)
        };
        self.until(bytes, is).await;
    }

    /// Waits until exactly these are present. What was told of the presence before is dropped.
    pub(super) async fn present_are(&mut self, ids: &[&str]) {
        let are = |told: &Told| {
            let Told::Present(present) = told else { return false };
            present.keys().eq(ids.iter())
                && present.iter().all(|(id, bytes)| *bytes == format!("I am {id}"))
        };
        let is_told = |told: &Told| matches!(told, Told::Present(_));
        let last = self.present.clone().map(Told::Present);
        if !self.kept.iter().any(is_told) && last.as_ref().is_some_and(are) {
            return;
        }
        while !are(&self.until(&format!("{ids:?} are present"), is_told).await) {}
    }

    /// Waits until the store is away, if it is not, and says why it is.
    pub(super) async fn is_away(&mut self) -> String {
        self.health_is(false).await;
        self.why.clone()
    }

    /// Waits until the store answers, if it does not.
    pub(super) async fn is_back(&mut self) {
        self.health_is(true).await;
    }

    async fn health_is(&mut self, is_back: bool) {
        let is_health = |told: &Told| matches!(told, Told::Away { .. } | Told::Back);
        self.kept.retain(|told| !is_health(told));
        while self.is_back != Some(is_back) {
            self.until(&format!("is back: {is_back}"), is_health).await;
        }
    }

    pub(super) async fn try_read(&mut self) -> ReadOutcome {
        self.asks += 1;
        let ask = self.asks;
        self.coordination.order(Order::Read { ask }).unwrap();
        let is_ours =
            |told: &Told| matches!(told, Told::ReadAnswer { ask: one, .. } if *one == ask);
        match self.until("the answer to a read", is_ours).await {
            Told::ReadAnswer { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn read(&mut self) -> Current {
        match self.try_read().await {
            ReadOutcome::Current(current) => current,
            ReadOutcome::Away => panic!("the store is away"),
        }
    }

    pub(super) async fn cas(&mut self, expected: u64, bytes: impl Into<Bytes>) -> CasOutcome {
        self.asks += 1;
        let (ask, bytes) = (self.asks, bytes.into());
        self.coordination.order(Order::CompareAndSet { ask, expected, bytes }).unwrap();
        let is_ours = |told: &Told| matches!(told, Told::CasAnswer { ask: one, .. } if *one == ask);
        match self.until("the answer to a compare-and-set", is_ours).await {
            Told::CasAnswer { outcome, .. } => outcome,
            other => panic!("{other:?}"),
        }
    }

    pub(super) async fn write(&mut self, expected: u64, bytes: impl Into<Bytes>) -> u64 {
        match self.cas(expected, bytes).await {
            CasOutcome::Written { revision } => revision,
            other => panic!("not written: {other:?}"),
        }
    }

    async fn lose(&mut self, expected: u64, bytes: impl Into<Bytes>) -> Current {
        match self.cas(expected, bytes).await {
            CasOutcome::Lost(current) => current,
            other => panic!("not lost: {other:?}"),
        }
    }

    /// Reads and writes until it is written, as an owner does that is unsure.
    pub(super) async fn write_in_the_end(&mut self, bytes: &str) -> u64 {
        let began = tokio::time::Instant::now();
        while began.elapsed() < PATIENCE {
            let ReadOutcome::Current(current) = self.try_read().await else { continue };
            let found = current.stored.as_ref();
            if let Some(found) = found.filter(|found| found.bytes == bytes) {
                return found.revision;
            }
            let expected = found.map_or(0, |found| found.revision);
            if let CasOutcome::Written { revision } = self.cas(expected, bytes.to_owned()).await {
                return revision;
            }
        }
        panic!("`{bytes}` could not be written within {PATIENCE:?}");
    }
}
