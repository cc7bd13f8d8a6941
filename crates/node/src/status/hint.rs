//! What became of a call's hint, in words.

use admin_api::HintDecision;
use replica::hint::HintReason;
use replica::stats::HintStory;
use tier_protocol::Veto;

pub(super) fn decision(story: &HintStory) -> HintDecision {
    let again_ms = story.again_in.map(super::ms);
    HintDecision {
        site: story.site.0,
        reason: story.reason.word().into(),
        again_ms,
        forced: story.is_forced,
        words: words(story.reason, again_ms, story.is_forced),
    }
}

fn words(reason: HintReason, again_ms: Option<u64>, is_forced: bool) -> String {
    let why = if is_forced { "as the bound was reached" } else { "as it had settled" };
    match reason {
        HintReason::NotPrimary => "the partition's primary decides: ask there".into(),
        HintReason::CheckedOut => "checked out: looked at when its lock ends".into(),
        HintReason::InDoubt => "its effects may not have left: looked at when they have".into(),
        HintReason::Vetoed(veto) => {
            let then = match (again_ms, veto) {
                (Some(ms), Veto::CloseRequests) => format!("crosses in {ms} ms if left alone"),
                (Some(ms), _) => format!("crosses all the same in {ms} ms"),
                (None, _) => "does not cross like this".into(),
            };
            format!("vetoed: {}; {then}", veto_words(veto))
        }
        HintReason::NotAtBoundary => {
            let then = again_ms.map_or("does not cross like this".into(), |ms| {
                format!("crosses all the same in {ms} ms")
            });
            format!("not at a boundary, and its engine does not say why; {then}")
        }
        HintReason::Settling => {
            let ms = again_ms.unwrap_or_default();
            format!("settling: crosses in {ms} ms if left alone")
        }
        HintReason::Followed | HintReason::Forced => format!("goes with the next batch, {why}"),
        HintReason::LinkDown => format!("would go, {why}; the site does not answer"),
        HintReason::Stopped => format!("would go, {why}; an operator stopped the sending"),
        HintReason::Refused => format!("would go, {why}; the site takes no batch at the moment"),
        HintReason::InFlight => format!("on its way, {why}; not acknowledged"),
        HintReason::Crossed => "the site has it".into(),
        HintReason::InDatabase => "in the database: fetched when its turn to cross comes".into(),
        HintReason::Refill => "the site began anew without it: crosses when its turn comes".into(),
    }
}

fn veto_words(veto: Veto) -> &'static str {
    match veto {
        Veto::Undecided => "an application has yet to decide about a request",
        Veto::SetUp => "it is being set up",
        Veto::NoAck => "a 2xx to an INVITE has no ACK",
        Veto::Leaving => "a leg is to end, and its BYE waits for an ACK",
        Veto::ReInvite => "an INVITE within a dialog has no final response",
        Veto::Transaction => "a request has no final response",
        Veto::Application => "an application is busy, or there is none",
        Veto::CloseRequests => "its requests come close upon each other",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn said(reason: HintReason, again_ms: Option<u64>) -> HintDecision {
        let again_in = again_ms.map(Duration::from_millis);
        decision(&HintStory { site: vocab::SiteId(2), reason, again_in, is_forced: false })
    }

    #[test]
    fn each_veto_has_words_of_its_own() {
        let all = Veto::ALL.map(|veto| said(HintReason::Vetoed(veto), None));
        for (at, one) in all.iter().enumerate() {
            assert!(one.reason.starts_with("vetoed_"), "{}", one.reason);
            assert!(all[..at].iter().all(|other| other.words != one.words), "{}", one.words);
        }
    }

    #[test]
    fn a_bound_is_told() {
        let busy = said(HintReason::Vetoed(Veto::Application), Some(1_500));
        assert!(busy.words.ends_with("crosses all the same in 1500 ms"), "{}", busy.words);
        let ringing = said(HintReason::Vetoed(Veto::SetUp), None);
        assert_eq!(ringing.words, "vetoed: it is being set up; does not cross like this");
        assert_eq!((ringing.again_ms, ringing.site), (None, 2));
    }
}
