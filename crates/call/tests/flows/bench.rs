//! The bench on which a flow is played: one call, the peers around it, and a clock of its own.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use bytes::Bytes;
use call::{Call, Changed, Destination, Edge, Effect, Encoded, Input, Setting, Source, Step};
use servlet::{Application, Cx, Decision, EndReason, NextHop, OutboundLeg, Reply, SessionId};
use sip_message::{Host, Limits, Message, Method, Request, Response, StatusCode, parse_datagram};
use vocab::{CallKey, Instant, SiteId, TokenSecret};

use crate::command::{Command, duration};
use crate::deskset::{Deskset, cast};
use crate::ladder;
use crate::rules::Rules;

/// Whether the call stays one value or is encoded and decoded between steps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carrying {
    InPlace,
    Encoded,
}

/// More steps than this without an input, and the call is spinning.
const DUE_MAX: usize = 2000;
const START: Instant = Instant(1_000_000_000_000_000);
const SALT: u32 = 0x00_5a_17;

/// Relays everything, and writes down what it was told.
struct Relay(Sender<String>);

impl Relay {
    fn note(&self, text: String) {
        self.0.send(format!("app {text}")).expect("the bench outlives its application");
    }

    fn to_bob(request: Option<&Request>) -> Decision {
        let bob = ([192, 0, 2, 2], 5060).into();
        let bob_uri = || Bytes::from_static(b"sip:bob@example.com");
        let target = request.map(|request| request.uri.clone());
        let target = target.or_else(|| sip_message::Uri::parse(&bob_uri()).ok());
        let target = target.expect("the constant is a URI");
        Decision::BackToBack(OutboundLeg::new(target).via(NextHop::Addr(bob)))
    }
}

impl Application for Relay {
    fn name(&self) -> &str {
        "relay"
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, request: &Request) -> Decision {
        self.note(format!("on_initial_request {}", request.method));
        let user = request.uri.user().cloned().unwrap_or_default();
        match (&request.method, &user[..]) {
            (Method::Invite, b"nobody") => Decision::Respond(Reply::new(StatusCode::NOT_FOUND)),
            (Method::Invite, b"later") => {
                assert!(cx.set_timer("later", Duration::from_secs(2)));
                Decision::Defer
            }
            (Method::Invite, _) => Self::to_bob(Some(request)),
            (Method::Options, _) => Decision::Respond(Reply::new(StatusCode::OK)),
            _ => Decision::Respond(Reply::new(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }

    fn on_request(&self, cx: &mut Cx<'_>, request: &Request) {
        self.note(format!("on_request {}", request.method));
        cx.relay();
    }

    fn on_response(&self, cx: &mut Cx<'_>, response: &Response) {
        self.note(format!("on_response {}", response.status.code()));
        cx.relay();
    }

    fn on_cancel(&self, _cx: &mut Cx<'_>) {
        self.note("on_cancel".to_owned());
    }

    fn on_timer(&self, cx: &mut Cx<'_>, name: &str) {
        self.note(format!("on_timer {name}"));
        if name == "later" {
            cx.decide(Self::to_bob(None));
        }
    }

    fn on_session_ended(&self, _cx: &mut Cx<'_>, session: SessionId, why: EndReason) {
        self.note(format!("on_session_ended {} {why:?}", session.0));
    }

    fn on_activate(&self, _cx: &mut Cx<'_>) {
        self.note("on_activate".to_owned());
    }
}

/// A call that was encoded, and when.
struct Kept {
    encoded: Encoded,
    at: Instant,
}

/// The bench.
pub(crate) struct Bench {
    carrying: Carrying,
    now: Instant,
    setting: Setting,
    key: CallKey,
    call: Option<Call>,
    /// The call as it was after the last step, for the next one to begin with.
    carried: Option<Kept>,
    /// The call as another site has it.
    crossed: Option<Kept>,
    peers: Vec<Deskset>,
    app: Receiver<String>,
    sent: Vec<(Destination, Bytes)>,
    rules: Rules,
    /// Calls begun: each has a salt of its own.
    begun: u32,
    shows: bool,
    last: Option<(bool, bool)>,
    out: Vec<String>,
}

fn secret() -> TokenSecret {
    TokenSecret::new(*b"a secret that all flows do share")
}

impl Bench {
    pub(crate) fn new(carrying: Carrying) -> Self {
        let (told, app) = channel();
        let edge = Edge { host: Host::Name(Bytes::from_static(b"edge.example")), port: 5060 };
        let relay: Arc<dyn Application> = Arc::new(Relay(told));
        Self {
            carrying,
            now: START,
            setting: Setting::new(SiteId(1), secret(), edge, vec![relay]),
            key: CallKey([0; 16]),
            call: None,
            carried: None,
            crossed: None,
            peers: cast(),
            app,
            sent: Vec::new(),
            rules: Rules::default(),
            begun: 0,
            shows: false,
            last: None,
            out: Vec::new(),
        }
    }

    /// Whether nothing is left of the call.
    pub(crate) fn is_over(&self) -> bool {
        self.call.is_none()
    }

    /// Runs one line and returns what was told.
    pub(crate) fn run(&mut self, line: &str) -> Vec<String> {
        let command = Command::parse(line);
        match command.who.as_str() {
            "set" => self.set(&command),
            "show" => self.shows = command.has("messages"),
            "after" => self.pass(duration(command.word(1))),
            "cross" => self.crossed = self.keep(&[]),
            "activate" => self.activate(&command),
            "forget" => self.call = None,
            name => {
                let index = self.peers.iter().position(|peer| peer.name == name);
                self.speak(index.unwrap_or_else(|| panic!("nobody is called {name}")), &command);
            }
        }
        std::mem::take(&mut self.out)
    }

    fn set(&mut self, command: &Command) {
        for (key, value) in command.options() {
            match key {
                "session-expires" => self.setting.session.session_expires = duration(value),
                "min-se" => self.setting.session.min_se = duration(value),
                "ring-max" => self.setting.timers.ring_max = duration(value),
                "early" => self.setting.early = [0].into(),
                "accounts" => self.setting.accounts = true,
                "cseq-gap" => self.setting.cseq_gap = value.parse().expect("a number"),
                _ => panic!("no such setting: {key}"),
            }
        }
    }

    /// A peer sends a request, or an answer if the second word is a number.
    fn speak(&mut self, index: usize, command: &Command) {
        let source = Source { addr: self.peers[index].addr };
        if command.word(1).parse::<u16>().is_err() {
            let Some(request) = self.peers[index].request(command) else {
                self.out.push("nothing to say".to_owned());
                return;
            };
            if self.call.is_none() && !self.begin(&request) {
                self.out.push("no call: the engine answers".to_owned());
                return;
            }
            self.step(Input::Request { request: &request, source });
            return;
        }
        let heard_by = command.option("of").unwrap_or(self.peers[index].name).to_owned();
        let heard = self.peers.iter().find(|peer| peer.name == heard_by);
        let request = heard.and_then(|peer| peer.heard(command.option("to")));
        let peer = &mut self.peers[index];
        let Some(response) = request.and_then(|request| peer.answer(command, &request)) else {
            self.out.push("nothing to say".to_owned());
            return;
        };
        self.rules.heard(&response);
        if self.call.is_some() {
            self.step(Input::Response { response: &response, source });
            return;
        }
        match Call::ghost(self.key, &response, source, self.now, &self.setting) {
            Some((call, step)) => {
                self.out.push("ghost".to_owned());
                self.call = Some(call);
                self.tell(step, true);
            }
            None => self.out.push("no ghost".to_owned()),
        }
    }

    /// Begins a call if `request` is one that may; the engine's decision.
    fn begin(&mut self, request: &Request) -> bool {
        let tagged = request.headers.to().is_ok_and(|to| to.tag().is_some());
        if tagged || matches!(request.method, Method::Ack | Method::Cancel) {
            return false;
        }
        let call_id = request.headers.call_id().expect("a Call-ID").clone();
        let from = request.headers.from().expect("a From");
        let tag = from.tag().expect("a tag").clone();
        self.key = self.setting.secret.call_key(&[&call_id, &tag]);
        self.begun += 1;
        self.rules.forget();
        self.call = Some(Call::begin(self.key, SALT + self.begun, self.setting.here, self.now));
        true
    }

    fn keep(&self, effects: &[Effect]) -> Option<Kept> {
        let call = self.call.as_ref()?;
        Some(Kept { encoded: call.encode(self.now, effects), at: self.now })
    }

    fn decode(&self, kept: &Kept, local: &Bytes) -> (Call, Vec<Effect>) {
        let age = self.now.since(kept.at);
        let encoded = &kept.encoded;
        Call::decode(self.key, encoded.schema, &encoded.crossing, local, age, self.now)
            .unwrap_or_else(|error| panic!("an encoded call decodes: {error:?}"))
    }

    /// The site of the call dies; another one has what crossed to it last.
    fn activate(&mut self, command: &Command) {
        let Some(kept) = self.crossed.take().or_else(|| self.keep(&[])) else {
            self.out.push("nothing crossed".to_owned());
            return;
        };
        if let Some(after) = command.option("after") {
            self.now = self.now + duration(after);
        }
        let next = (self.setting.here.0 % 3 + 1).to_string();
        let site = command.option("site").unwrap_or(&next);
        let site = site.parse().expect("a site is a number");
        self.setting.here = SiteId(site);
        self.rules.forget();
        let (call, effects) = self.decode(&kept, &Bytes::new());
        assert_eq!(effects, [], "effects do not cross");
        self.call = Some(call);
        self.carried = None;
        self.step(Input::Activate);
    }

    /// Time passes; deadlines fire in order.
    fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        for _ in 0..DUE_MAX {
            let due = self.call.as_ref().and_then(Call::next_deadline);
            match due.filter(|due| *due <= until) {
                Some(due) => {
                    self.now = self.now.max(due);
                    self.step(Input::Due);
                    let next = self.call.as_ref().and_then(Call::next_deadline);
                    assert!(next.is_none_or(|next| next > self.now), "a deadline fires for ever");
                }
                None => {
                    self.now = until;
                    return;
                }
            }
        }
        panic!("the call is spinning");
    }

    fn step(&mut self, input: Input<'_>) {
        if let Some(carried) = self.carried.take() {
            let (call, _) = self.decode(&carried, &carried.encoded.local.clone());
            self.call = Some(call);
        }
        let is_due = input == Input::Due;
        let Some(call) = self.call.as_mut() else { return };
        let step = call.step(self.now, input, &self.setting);
        self.tell(step, !is_due);
    }

    /// Writes down what a step did, and lets the peers hear it.
    fn tell(&mut self, step: Step, always: bool) {
        let noted: Vec<String> = self.app.try_iter().collect();
        let elapsed = self.now.since(START);
        let quiet = noted.is_empty() && step.effects.is_empty();
        if !always && !quiet {
            self.out.push(format!("at {}", clock(elapsed)));
        }
        self.out.extend(noted);
        for effect in &step.effects {
            match effect {
                Effect::Transmit { to, bytes } => self.transmit(to, bytes),
                Effect::Account(account) => self.out.push(account_line(account)),
            }
        }
        if self.carrying == Carrying::Encoded {
            self.carried = self.keep(&step.effects);
            if let Some(kept) = &self.carried {
                let (_, effects) = self.decode(kept, &kept.encoded.local);
                assert_eq!(effects, step.effects, "the outbox holds what was decided");
            }
        }
        self.tell_state(step.changed, always);
    }

    fn tell_state(&mut self, changed: Changed, always: bool) {
        let Some(call) = self.call.as_ref() else { return };
        let state = (call.at_boundary(), call.is_over());
        let what = match changed {
            Changed::Nothing => "nothing",
            Changed::Local => "local",
            Changed::Crossing => "crossing",
        };
        let boundary = if state.0 { ", boundary" } else { "" };
        let over = if state.1 { ", over" } else { "" };
        if always || self.last != Some(state) {
            let at = clock(self.now.since(START));
            let at = if always { String::new() } else { format!(" at {at}") };
            self.out.push(format!("= {what}{boundary}{over}{at}"));
        }
        self.last = Some(state);
        if state.1 {
            assert_eq!(call.next_deadline(), None, "a call that is over waits for nothing");
            self.call = None;
            self.carried = None;
            // Its removal crosses too.
            self.crossed = None;
            self.last = None;
        }
    }

    fn transmit(&mut self, to: &Destination, bytes: &Bytes) {
        let message = parse_datagram(bytes, &Limits::default())
            .unwrap_or_else(|error| panic!("the call prints what is not SIP: {error:?}"));
        let (what, facts) = ladder::line(&message, &self.setting.secret);
        let whom = ladder::whom(to);
        if self.sent.iter().any(|(old, sent)| old == to && sent == bytes) {
            self.out.push(format!("send again {what} → {whom}"));
        } else {
            self.out.push(format!("send {what} → {whom}  {facts}"));
            self.rules.check(self.now, &message);
            self.sent.push((to.clone(), bytes.clone()));
            if self.shows {
                let text = ladder::named(&String::from_utf8_lossy(bytes), &self.setting.secret);
                self.out.extend(text.lines().map(|line| format!("    {line}")));
            }
        }
        let ears = match &message {
            Message::Request(request) => request.uri.host().map(ToString::to_string),
            Message::Response(_) => None,
        };
        let named = self.peers.iter().position(|peer| Some(peer.addr.ip().to_string()) == ears);
        let index = named.or_else(|| self.peers.iter().position(|peer| peer.name == whom));
        if let Some(index) = index {
            self.peers[index].hear(&message);
        }
    }
}

/// A record of a call that ended: who, how long it was answered, and why it ended.
fn account_line(account: &call::Account) -> String {
    let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
    let answered = account.answered_at.map(|at| clock(account.ended_at.since(at)));
    let answered =
        answered.map_or_else(|| "not answered".into(), |time| format!("answered {time}"));
    let (leg, why) = (account.leg, account.why);
    format!("account {leg} {} → {}  {answered}, {why:?}", text(&account.from), text(&account.to))
}

/// Time since the flow began.
fn clock(elapsed: Duration) -> String {
    let ms = elapsed.as_millis();
    if ms.is_multiple_of(1000) { format!("{}s", ms / 1000) } else { format!("{ms}ms") }
}
