//! The messages that SIPp sent and received, and what is to be true of them.

use std::collections::BTreeMap;

/// One message (`-trace_shortmsg`).
pub(crate) struct Line {
    is_sent: bool,
    call_id: String,
    /// Of its CSeq.
    number: u32,
    method: String,
    /// Its first line.
    first: String,
}

impl Line {
    /// Reads `DATE TIME SECONDS S|R CALL-ID CSEQ FIRST-LINE`, with tabulators between.
    pub(crate) fn read(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [_, _, _, way, call_id, cseq, first] = fields.as_slice() else { return None };
        let (number, method) = cseq.strip_prefix("CSeq:")?.trim().split_once(' ')?;
        Some(Self {
            is_sent: *way == "S",
            call_id: (*call_id).to_owned(),
            number: number.parse().ok()?,
            method: method.to_owned(),
            first: (*first).to_owned(),
        })
    }

    /// Its status; `None` of a request.
    fn status(&self) -> Option<u16> {
        self.first.strip_prefix("SIP/2.0 ")?.get(..3)?.parse().ok()
    }

    fn request(&self) -> (&str, u32, &str) {
        (&self.call_id, self.number, &self.method)
    }
}

/// Requests that were sent and got more final answers than they were sent times, or different ones.
/// What repeats an answer is to be the repetition of its request.
pub(crate) fn answered_twice(lines: &[Line]) -> Vec<String> {
    let mut requests: BTreeMap<_, (usize, Vec<u16>)> = BTreeMap::new();
    for line in lines.iter().filter(|line| line.method != "ACK") {
        let (sent, finals) = requests.entry(line.request()).or_default();
        match (line.status(), line.is_sent) {
            (None, true) => *sent += 1,
            (Some(status), false) if status >= 200 => finals.push(status),
            // What the other end asks, and provisional answers.
            (None | Some(_), _) => {}
        }
    }
    let is_wrong = |(sent, finals): &(usize, Vec<u16>)| {
        *sent > 0 && (finals.len() > *sent || finals.windows(2).any(|pair| pair[0] != pair[1]))
    };
    let wrong = requests.into_iter().filter(|(_, told)| is_wrong(told));
    wrong.map(|(request, (sent, finals))| format!("{request:?} x {sent}: {finals:?}")).collect()
}

/// What a callee was asked.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    pub(crate) calls: usize,
    /// INVITEs, without repetitions.
    pub(crate) invites: usize,
    /// Calls that did not get exactly one BYE, repetitions aside.
    pub(crate) not_one_bye: Vec<String>,
    /// Requests that came after a newer one of their call, or with the number of another: they were
    /// made of an older state of it.
    pub(crate) stale: Vec<String>,
    /// Repetitions of any request but ACK.
    pub(crate) repeated: usize,
}

/// What the one who received these was asked; each of its calls is one dialog of ours.
pub(crate) fn asked(lines: &[Line]) -> Asked {
    let mut calls: BTreeMap<&str, Vec<(u32, &str)>> = BTreeMap::new();
    let mut asked = Asked::default();
    let requests = lines.iter().filter(|line| !line.is_sent && line.status().is_none());
    for line in requests.filter(|line| line.method != "ACK") {
        let call = calls.entry(&line.call_id).or_default();
        let request = (line.number, line.method.as_str());
        if call.contains(&request) {
            asked.repeated += 1;
            continue;
        }
        if call.last().is_some_and(|(newest, _)| *newest >= line.number) {
            asked.stale.push(format!("{} {request:?} after {call:?}", line.call_id));
        }
        call.push(request);
    }
    asked.calls = calls.len();
    for (call, requests) in calls {
        let of = |method| requests.iter().filter(|(_, asked)| *asked == method).count();
        asked.invites += of("INVITE");
        if of("BYE") != 1 {
            asked.not_one_bye.push(format!("{call}: {requests:?}"));
        }
    }
    asked
}
