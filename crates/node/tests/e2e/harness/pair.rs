//! A caller and a callee driven by one script, step by step.

use std::net::SocketAddr;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use sip_message::{Message, Method, Request};

use super::agent::{Agent, Heard};
use super::dialog::Dialog;
use super::netns;
use super::stage::Stage;

/// Patience with a message that nothing delays; several repetitions fit.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Caller,
    Callee,
}

/// Two user agents; while one is waited for, both are alive.
pub(crate) struct Pair {
    pub(crate) caller: Agent,
    pub(crate) callee: Agent,
}

/// A call that was answered, both halves.
pub(crate) struct Talk {
    pub(crate) caller: Dialog,
    pub(crate) callee: Dialog,
}

impl Pair {
    /// A caller and a callee that send to `edge`.
    pub(crate) fn new(stage: &Stage, callee: SocketAddr, edge: SocketAddr, t1: Duration) -> Self {
        let at = netns::at(stage.host(), stage.address());
        let agent = |name, at| netns::on(stage.host(), || Agent::new(name, at, edge).with_t1(t1));
        Self { caller: agent("caller", at), callee: agent("callee", callee) }
    }

    pub(crate) fn end(&mut self, end: End) -> &mut Agent {
        match end {
            End::Caller => &mut self.caller,
            End::Callee => &mut self.callee,
        }
    }

    /// Lets both agents work for `time`.
    pub(crate) fn let_work(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.turn();
        }
    }

    /// Both agents look at their sockets once.
    pub(crate) fn turn(&mut self) {
        let busy = [self.caller.turn(), self.callee.turn()];
        if busy == [false, false] {
            thread::sleep(Duration::from_micros(200));
        }
    }

    /// The first message at `end` that `wanted` likes; `Err` says what came in its place.
    pub(crate) fn try_wait(
        &mut self,
        end: End,
        what: &str,
        patience: Duration,
        mut wanted: impl FnMut(&Heard) -> bool,
    ) -> Result<Heard, String> {
        let began = Instant::now();
        loop {
            if let Some(heard) = self.end(end).take(&mut wanted) {
                return Ok(heard);
            }
            if began.elapsed() > patience {
                let heard = [&self.caller, &self.callee]
                    .map(|agent| agent.heard().iter().map(first_line).collect::<Vec<_>>());
                return Err(format!("{end:?} waited {patience:?} for {what}, heard {heard:?}"));
            }
            self.turn();
        }
    }

    /// A request of `method` at `end`, of any call.
    pub(crate) fn request(&mut self, end: End, method: &Method) -> Result<Request, String> {
        let what = method.as_str().into_owned();
        let heard = self.try_wait(end, &what, SOON, |heard| heard.request(method).is_some())?;
        Ok(heard.request(method).expect("it was asked for").clone())
    }

    /// A response to a request of `method` at `end`: one of `statuses`.
    pub(crate) fn response(
        &mut self,
        end: End,
        method: &Method,
        statuses: &[u16],
    ) -> Result<Heard, String> {
        let what = format!("{statuses:?} to {}", method.as_str());
        self.try_wait(end, &what, SOON, |heard| {
            let response = heard.response(method);
            response.is_some_and(|response| statuses.contains(&response.status.code()))
        })
    }

    /// A call that is answered.
    pub(crate) fn call(&mut self) -> Result<Talk, String> {
        let (dialog, _) = self.caller.invite();
        let there = self.request(End::Callee, &Method::Invite)?;
        self.answer(dialog, &there)
    }

    /// The callee answers `invite` and both ends know it.
    pub(crate) fn answer(&mut self, mut caller: Dialog, invite: &Request) -> Result<Talk, String> {
        let tag = self.callee.respond(invite, 200);
        let callee = Dialog::incoming(invite, &tag);
        self.acknowledge(&mut caller)?;
        Ok(Talk { caller, callee })
    }

    /// The caller hears its 200 and acknowledges it, and the callee hears that.
    pub(crate) fn acknowledge(&mut self, caller: &mut Dialog) -> Result<(), String> {
        let answer = self.response(End::Caller, &Method::Invite, &[200])?;
        caller.confirm(answer.response(&Method::Invite).expect("it was asked for"));
        let ack = caller.request(&mut self.caller, Method::Ack);
        self.caller.ask(&ack);
        self.request(End::Callee, &Method::Ack).map(drop)
    }

    /// `from` changes the session and the other end agrees.
    pub(crate) fn re_invite(&mut self, talk: &mut Talk, from: End) -> Result<(), String> {
        let to = other(from);
        let dialog = talk.half(from);
        let invite = dialog.request(self.end(from), Method::Invite);
        self.end(from).ask(&invite);
        let there = self.request(to, &Method::Invite)?;
        self.end(to).respond(&there, 200);
        self.response(from, &Method::Invite, &[200])?;
        let ack = talk.half(from).request(self.end(from), Method::Ack);
        self.end(from).ask(&ack);
        self.request(to, &Method::Ack).map(drop)
    }

    /// `from` hangs up and the other end hears it.
    pub(crate) fn hang_up(&mut self, talk: &mut Talk, from: End) -> Result<(), String> {
        let to = other(from);
        let bye = talk.half(from).request(self.end(from), Method::Bye);
        self.end(from).ask(&bye);
        let there = self.request(to, &Method::Bye)?;
        self.end(to).respond(&there, 200);
        self.response(from, &Method::Bye, &[200]).map(drop)
    }

    /// Each end hangs up half of the calls; each other end hears it once, and nothing else.
    pub(crate) fn hang_up_all(&mut self, talks: &mut [Talk]) {
        for (index, talk) in talks.iter_mut().enumerate() {
            let from = if index % 2 == 0 { End::Caller } else { End::Callee };
            self.hang_up(talk, from).expect("the call lives on");
        }
        for end in [End::Caller, End::Callee] {
            let heard = self.requests(end);
            assert!(heard.is_empty(), "{end:?} heard more than it should: {heard:?}");
        }
    }

    /// Requests that an end heard and nobody has looked at.
    pub(crate) fn requests(&mut self, end: End) -> Vec<String> {
        let heard = self.end(end).heard().iter();
        heard.filter(|heard| matches!(heard.message, Message::Request(_))).map(first_line).collect()
    }
}

impl Talk {
    pub(crate) fn half(&mut self, end: End) -> &mut Dialog {
        match end {
            End::Caller => &mut self.caller,
            End::Callee => &mut self.callee,
        }
    }
}

fn other(end: End) -> End {
    match end {
        End::Caller => End::Callee,
        End::Callee => End::Caller,
    }
}

/// The start line of a message, for a failure's text.
pub(crate) fn first_line(heard: &Heard) -> String {
    let text = heard.message.print();
    let line: Bytes = text.split(|byte| *byte == b'\r').next().unwrap_or_default().to_vec().into();
    String::from_utf8_lossy(&line).into_owned()
}
