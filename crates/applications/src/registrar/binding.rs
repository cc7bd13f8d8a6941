//! One binding, and all of them as a call keeps them: an attribute each, and a timer of the same
//! name that says for how long.

use std::time::Duration;

use servlet::Cx;
use sip_message::{Bytes, NameAddr, Uri};

use super::CONTACTS_MAX;

/// Where a user is reached, for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    /// Its name among the user's bindings.
    pub(super) slot: usize,
    pub(super) uri: Uri,
    /// Preference in thousandths, if one was given.
    pub(super) q: Option<u16>,
    /// Call-ID and CSeq of the REGISTER that made it, or changed it last.
    pub(super) call_id: Bytes,
    pub(super) cseq: u32,
    pub(super) left: Duration,
}

impl Binding {
    /// The lowest slot that none of these has.
    pub(super) fn free_slot(taken: &[Binding]) -> Option<usize> {
        (0..CONTACTS_MAX).find(|slot| taken.iter().all(|binding| binding.slot != *slot))
    }

    /// Whether a REGISTER with these may change it: another client's, or a later one of the same.
    pub(super) fn yields_to(&self, call_id: &Bytes, cseq: u32) -> bool {
        self.call_id != *call_id || self.cseq < cseq
    }

    /// Its address, with its preference if it has one.
    pub(super) fn contact(&self) -> NameAddr {
        let mut contact = NameAddr::new(self.uri.clone());
        if let Some(q) = self.q {
            let text = format!("{}.{:03}", q / 1000, q % 1000);
            let text = text.trim_end_matches('0').trim_end_matches('.');
            contact.params.set("q", Some(text));
        }
        contact
    }

    /// Whole seconds; the last one counts until it is over.
    pub(super) fn seconds_left(&self) -> u64 {
        self.left.as_secs() + u64::from(self.left.subsec_nanos() > 0)
    }

    fn rank(&self) -> u16 {
        // RFC 3261 §20.10 gives none to a Contact without `q`; the highest is what clients expect.
        self.q.unwrap_or(1000)
    }

    /// Preference, CSeq, Call-ID and URI, a line each: none of them can hold a line's end.
    fn written(&self) -> Bytes {
        let q = self.q.map(|q| q.to_string()).unwrap_or_default();
        let numbers = format!("{q}\n{}\n", self.cseq);
        [numbers.as_bytes(), &self.call_id, b"\n", self.uri.as_bytes()].concat().into()
    }

    fn read(slot: usize, value: &Bytes, left: Duration) -> Option<Self> {
        let mut lines = value.splitn(4, |byte| *byte == b'\n');
        let mut number = || std::str::from_utf8(lines.next()?).ok();
        let q = number()?.parse().ok();
        let cseq = number()?.parse().ok()?;
        let call_id = value.slice_ref(lines.next()?);
        let uri = Uri::parse(&value.slice_ref(lines.next()?)).ok()?;
        Some(Self { slot, uri, q, call_id, cseq, left })
    }
}

fn name(slot: usize) -> String {
    format!("binding-{slot}")
}

/// The bindings of the call, the preferred ones first.
pub(super) fn all(cx: &Cx<'_>) -> Vec<Binding> {
    let slots = (0..CONTACTS_MAX).filter_map(|slot| {
        let name = name(slot);
        let left = cx.timer(&name).filter(|left| !left.is_zero())?;
        Binding::read(slot, cx.attribute(&name)?, left)
    });
    let mut bindings: Vec<Binding> = slots.collect();
    bindings.sort_by_key(|binding| std::cmp::Reverse(binding.rank()));
    bindings
}

/// Puts `after` in the place of `before`; `false` and nothing changed when the call has no room.
pub(super) fn keep(cx: &mut Cx<'_>, before: &[Binding], after: &[Binding]) -> bool {
    let put = |cx: &mut Cx<'_>, old: &[Binding], new: &[Binding]| {
        let gone = old.iter().filter(|binding| !new.contains(binding));
        for binding in gone {
            cx.remove_attribute(&name(binding.slot));
            cx.cancel_timer(&name(binding.slot));
        }
        // An untouched one keeps its timer: it is not set anew.
        new.iter().filter(|binding| !old.contains(binding)).all(|binding| {
            let name = name(binding.slot);
            cx.set_attribute(&name, binding.written()) && cx.set_timer(&name, binding.left)
        })
    };
    let fits = put(cx, before, after);
    if !fits {
        // What was there before has room once the rest is gone.
        put(cx, after, before);
    }
    fits
}

/// `qvalue` of RFC 3261 §25.1 in thousandths: `0` to `1`, three decimals at most.
pub(super) fn thousandths(value: &Bytes) -> Option<u16> {
    let text = std::str::from_utf8(value).ok()?;
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let whole: u16 = whole.parse().ok().filter(|whole| *whole <= 1 && is_digits)?;
    let decimals: u16 = format!("{decimals:0<3}").parse().ok()?;
    Some(whole * 1000 + decimals).filter(|q| *q <= 1000)
}
