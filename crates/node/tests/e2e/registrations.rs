//! Users who register again at once when their site is lost, while calls go on.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::harness::figures::half_and_most;
use crate::harness::phones::{Phone, Phones};
use crate::harness::sipp::{Load, Sipp};
use crate::harness::sized;
use crate::harness::stage::Stage;
use crate::harness::two_sites::TwoSites;

const DOMAIN: &str = "home.test";
const STORM: Duration = Duration::from_secs(10);
/// What a caller waits for the answer at most: T1, so that no INVITE has to be repeated.
const SET_UP_WITHIN_MS: f64 = 500.0;

/// `[registrar]`, and how many REGISTERs an engine takes each second.
fn registrar(per_s: usize) -> String {
    format!("\n[registrar]\ndomains = [\"{DOMAIN}\"]\n\n[limits]\nregistrations_per_s = {per_s}\n")
}

/// D39: half of all users register again within ten seconds of the loss of their site, and more
/// of them than the other site takes. Calls go first; who is refused is told when to come back, and
/// is back within twice the longest time that anybody was told; nobody's registration is lost.
#[test]
fn d39_half_of_all_users_register_again_when_their_site_is_lost() {
    let mut stage = Stage::new("register_storm");
    let (users, held, new) = (sized(600, 5_000), sized(150, 500), sized(240, 1_000));
    let per_s = sized(20, 150);
    stage.configure("site1", registrar(5_000));
    stage.configure("site2", registrar(per_s));
    let [callee_at, caller_at, new_at] = [(); 3].map(|()| stage.address());
    let mut sites = TwoSites::start(&stage, callee_at);
    let mut phones = Phones::new(&stage, sites.edge, DOMAIN, users);
    let patience = Duration::from_secs(60);
    phones.register(users, Duration::from_millis(users as u64 * 2), patience);
    let registered = phones.all().iter().filter(|phone| phone.back_at.is_some()).count();
    assert_eq!(registered, users, "{:?}", phones.odd);

    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, held + new);
    // They hang up in the middle of the storm.
    let hold = Duration::from_secs(u64::from(held / 100) + 12);
    let load = Load { calls: held, per_second: 100, hold };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, sites.edge, &load);
    sites.wait_crossed(u64::from(held) + users as u64);
    sites.one.kill();
    sites.balancer.admin().route(1, 2, &[(1, 0), (2, 1)]);

    let load = Load { calls: new, per_second: new / 12, hold: Duration::from_secs(2) };
    let way = [new_at, sites.edge];
    let mut newcomers = Sipp::caller_named(&stage, "new", "uac_hold_logged", way, &load);
    let half = users / 2;
    let began = Instant::now();
    phones.register(half, STORM, Duration::from_secs(180));
    let took = began.elapsed();

    let heard = caller.finish(hold + Duration::from_secs(45));
    let heard_new = newcomers.finish(Duration::from_secs(45));
    let reached = callee.finish(Duration::from_secs(10));
    let [middle, most] = set_ups(&newcomers);
    let storm = Storm::of(&phones.all()[..half]);
    phones.call_each(Duration::from_millis(users as u64 * 4), patience);
    let status = sites.two.try_status().expect("it lives");
    stage.say(&format!(
        "{users} users at site 1, {held} calls held; site 1 killed; {half} users registered again \
         within {STORM:?} at {per_s}/s taken: {}, {:.1} s after the storm began; {new} new calls, \
         set up within {middle:.0} ms (p50), {most:.0} ms (p99); {} BYEs answered within {:.0} ms \
         (p99); {} messages repeated by phones, {} by SIPp",
        storm.told(status.counters["engine_refused_registrations"]),
        took.as_secs_f64(),
        heard.successful,
        half_and_most(endings(&caller))[1],
        phones.repeated,
        heard.repeated + heard_new.repeated,
    ));
    assert_eq!(phones.odd, Vec::<String>::new(), "an answer that no storm explains");
    // Calls first.
    assert_eq!((heard.successful, heard.failed), (u64::from(held), 0), "a held call was harmed");
    assert_eq!((heard_new.successful, heard_new.failed), (u64::from(new), 0), "a new call");
    assert_eq!((reached.successful, reached.failed), (u64::from(held + new), 0));
    assert!(most < SET_UP_WITHIN_MS, "set up in {most:.0} ms");
    assert_eq!(status.counters["engine_refused_overload"], 0, "a call was refused");
    storm.check(half);
    // What the users of a lost site had registered is there, with or without a storm.
    for (index, phone) in phones.all().iter().enumerate() {
        let wanted = Some((302, vec![Phones::contact(index)]));
        assert_eq!(phone.called, wanted, "u{index}");
    }
}

/// What phones went through.
struct Storm {
    back: usize,
    /// Phones that were told to come back at least once.
    sent_away: usize,
    /// The times that they were told, in seconds.
    told: BTreeSet<u32>,
    /// The longest that one of them was without a registration.
    longest: Duration,
}

impl Storm {
    fn of(phones: &[Phone]) -> Self {
        let back = phones.iter().filter_map(|phone| Some(phone.back_at? - phone.asked_at?));
        Self {
            back: back.clone().count(),
            sent_away: phones.iter().filter(|phone| !phone.sent_away.is_empty()).count(),
            told: phones.iter().flat_map(|phone| phone.sent_away.iter().copied()).collect(),
            longest: back.max().unwrap_or_default(),
        }
    }

    fn told(&self, refused: u64) -> String {
        format!(
            "{} at once, {} sent away ({refused} times, for {} to {} s, {} values), all back \
             within {:.1} s of asking",
            self.back.saturating_sub(self.sent_away),
            self.sent_away,
            self.told.first().copied().unwrap_or_default(),
            self.longest_told(),
            self.told.len(),
            self.longest.as_secs_f64(),
        )
    }

    /// Part of `all` was taken at once; the rest was told to come back, apart from each other, and
    /// did.
    fn check(&self, all: usize) {
        assert_eq!(self.back, all, "a user is not back");
        assert!(self.sent_away > all / 10, "{} were sent away: no storm", self.sent_away);
        assert!(all - self.sent_away > all / 10, "the site took nobody at once");
        assert!(self.told.len() >= 5, "{:?}", self.told);
        let within = Duration::from_secs(u64::from(2 * self.longest_told()));
        assert!(self.longest <= within, "{:?} after asking, {within:?} told", self.longest);
    }

    fn longest_told(&self) -> u32 {
        self.told.last().copied().unwrap_or_default()
    }
}

/// Half and nearly all of a caller's calls were answered within so many milliseconds.
fn set_ups(caller: &Sipp) -> [f64; 2] {
    let steps = caller.steps().into_values();
    half_and_most(steps.filter_map(|steps| Some(steps.answered? - steps.invited?)))
}

fn endings(caller: &Sipp) -> Vec<f64> {
    let steps = caller.steps().into_values();
    steps.filter_map(|steps| Some(steps.ended? - steps.asked?)).collect()
}
