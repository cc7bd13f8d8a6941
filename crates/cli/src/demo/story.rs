//! The demo's story, step by step: calls, a crossing, a kill, a takeover, a return, an end.

use std::net::{Ipv4Addr, UdpSocket};
use std::path::Path;
use std::time::{Duration, Instant};

use admin_api::{RouteOrder, StatusReply};
use sip_message::Method;

use super::DemoOptions;
use super::agent::{Facts, GIVE_UP, Over, Side};
use super::cluster::{Cluster, Setting, random};
use super::line::Line;
use super::plan::Plan;
use super::problem::Problem;
use super::report::{Report, percentile};
use super::stop::Stop;
use crate::progress::Progress;

/// How long a crossing, or a return, may take.
const PATIENCE: Duration = Duration::from_secs(15);
/// A site spreads timers that passed while their call slept over this time.
const SPREAD: Duration = Duration::from_secs(10);

/// A demo while it runs.
pub(super) struct Story<'a> {
    stop: Stop,
    progress: &'a mut Progress,
    cluster: Cluster,
    caller: Line,
    callee: Line,
    plan: Plan,
    break_promise: bool,
    report: Report,
}

impl<'a> Story<'a> {
    /// Starts the processes and opens both lines.
    pub(super) fn begin(
        options: &DemoOptions,
        directory: &Path,
        stop: Stop,
        progress: &'a mut Progress,
    ) -> Result<Self, Problem> {
        let plan = Plan::new(options.calls);
        let bind = || {
            UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Problem::during("cannot open a port"))
        };
        let (caller, callee) = (bind()?, bind()?);
        let callee_addr = callee.local_addr().map_err(Problem::during("cannot open a port"))?;
        progress.begin("starts a balancer and two sites");
        let setting = Setting {
            session_expires_s: u32::try_from(plan.session_expires.as_secs()).unwrap_or(u32::MAX),
            allow_forget: options.break_promise,
        };
        let mut cluster = Cluster::start(directory, callee_addr, setting)?;
        cluster.wait_until_ready(&stop)?;
        let edge = cluster.edge();
        progress.done(format!("SIP at {edge}, both sites serve"));
        let run = random(0) >> 32;
        let open = |side, socket| {
            Line::open(side, socket, edge, run).map_err(Problem::during("cannot start a thread"))
        };
        let (caller, callee) = (open(Side::Caller, caller)?, open(Side::Callee, callee)?);
        let report = Report { calls: options.calls, ..Report::default() };
        let break_promise = options.break_promise;
        Ok(Self { stop, progress, cluster, caller, callee, plan, break_promise, report })
    }

    /// The whole story. Broken promises are in the report; a problem ends it early.
    pub(super) fn tell(mut self) -> Result<Report, Problem> {
        self.place_calls()?;
        self.let_them_cross()?;
        let away_at = self.lose_site_1()?;
        self.change_and_end_some(away_at)?;
        self.let_timers_run("at site 2", away_at, |call| {
            Plan::is_changed_away(call) && !Plan::is_ended_away(call)
        })?;
        self.report.refreshes_at_site_2 = self.refreshes_since(away_at);
        let home_at = self.bring_site_1_back()?;
        self.let_timers_run("at site 1", home_at, |call| !Plan::is_ended_away(call))?;
        self.report.refreshes_at_home = self.refreshes_since(home_at);
        self.end_the_rest()?;
        self.count_survivors();
        self.count_disorder();
        self.report.seconds = self.progress.seconds();
        self.report.judge();
        Ok(self.report)
    }

    fn line(&self, side: Side) -> &Line {
        match side {
            Side::Caller => &self.caller,
            Side::Callee => &self.callee,
        }
    }

    fn place_calls(&mut self) -> Result<(), Problem> {
        let calls = self.plan.calls;
        self.progress.begin(format!("places {calls} calls through site 1"));
        self.pace(0..calls, |story, call| {
            story.caller.ask(|agent, now| agent.invite(now, call));
        })?;
        let settled = |facts: &Facts| facts.answered_at.is_some() || facts.over.is_some();
        self.wait_counting(PATIENCE, calls, |story| {
            let settled_at =
                |line: &Line| line.agent().all_facts().filter(|(_, facts)| settled(facts)).count();
            Ok(settled_at(&story.caller).min(settled_at(&story.callee)))
        })?;
        let answered: Vec<u32> = (0..calls).filter(|&call| self.is_answered(call)).collect();
        self.report.answered = number(answered.len());
        self.progress.done(format!("{} answered", answered.len()));
        if answered.is_empty() {
            let heard = self.caller.agent().facts(0).and_then(|facts| facts.over);
            let heard = heard.map_or_else(|| "nothing".to_owned(), |over| format!("{over:?}"));
            return Err(Problem::new(format!(
                "no call is answered; the first caller heard {heard}"
            )));
        }
        Ok(())
    }

    fn let_them_cross(&mut self) -> Result<(), Problem> {
        self.progress.begin("waits until they have crossed to site 2");
        let answered = self.report.answered;
        let (one, two) = (self.cluster.site(1), self.cluster.site(2));
        self.wait_counting(PATIENCE, answered, |_| {
            // The copies are counted first: a state that changes after it stays at risk.
            let copies = two.status()?.calls_dormant.get(&1).copied().unwrap_or(0);
            let at_risk = at_risk(&one.status()?);
            Ok(usize::try_from(copies.saturating_sub(at_risk)).unwrap_or(usize::MAX))
        })?;
        let copies = two.status()?.calls_dormant.get(&1).copied().unwrap_or(0);
        let status = one.status()?;
        let safe = copies.saturating_sub(at_risk(&status));
        self.report.crossed = answered.min(u32::try_from(safe).unwrap_or(u32::MAX));
        self.report.crossing_bytes_per_call =
            status.crossing.bytes_out / u64::from(self.report.crossed.max(1));
        self.progress.done(format!(
            "{} crossed, {} bytes each, {} at risk",
            self.report.crossed,
            self.report.crossing_bytes_per_call,
            at_risk(&status)
        ));
        Ok(())
    }

    /// Returns the moment after which site 2 is asked.
    fn lose_site_1(&mut self) -> Result<Instant, Problem> {
        self.progress.begin("kills every process of site 1 (SIGKILL)");
        self.cluster.kill_site(1)?;
        let killed_at = Instant::now();
        let two = self.cluster.site(2);
        if self.break_promise {
            two.forget()?;
        }
        let noticed = self.stop.wait_for(PATIENCE, || {
            let alive = two.status()?.peers.get(&1).is_some_and(|peer| peer.alive);
            Ok((!alive).then_some(()))
        })?;
        noticed.ok_or_else(|| Problem::new("site 2 does not notice that site 1 is gone"))?;
        self.report.noticed_ms = millis(killed_at.elapsed());
        self.route(2)?;
        let noticed_ms = self.report.noticed_ms;
        self.progress.done(format!("noticed after {noticed_ms} ms; the route leads to site 2"));
        Ok(Instant::now())
    }

    fn change_and_end_some(&mut self, away_at: Instant) -> Result<(), Problem> {
        let changed: Vec<u32> =
            self.answered().filter(|&call| Plan::is_changed_away(call)).collect();
        self.progress.begin(format!("changes {} calls through site 2 (re-INVITE)", changed.len()));
        self.pace(changed.iter().copied(), |story, call| {
            story.line(Plan::changes(call)).ask(|agent, now| agent.reinvite(now, call));
        })?;
        self.wait_for_answers()?;
        let mut took: Vec<f64> = changed.iter().map(|&call| self.takeover(call, away_at)).collect();
        took.sort_unstable_by(f64::total_cmp);
        self.report.takeover_ms_p50 = percentile(&took, 50);
        self.report.takeover_ms_p99 = percentile(&took, 99);
        self.report.changed_at_site_2 = number(changed.len());
        self.progress.done(format!(
            "answered within {:.1} ms (half) and {:.1} ms (99 of 100)",
            self.report.takeover_ms_p50, self.report.takeover_ms_p99
        ));
        let ended: Vec<u32> =
            changed.into_iter().filter(|&call| Plan::is_ended_away(call)).collect();
        self.progress.begin(format!("ends {} calls through site 2 (BYE)", ended.len()));
        self.hang_up(&ended)?;
        let well = ended.iter().filter(|&&call| self.ended_well(call)).count();
        self.report.ended_at_site_2 = number(well);
        self.progress.done(format!("{well} ended at both ends"));
        Ok(())
    }

    /// Milliseconds until the first in-dialog request after the change of route was answered.
    fn takeover(&self, call: u32, away_at: Instant) -> f64 {
        let agent = self.line(Plan::changes(call)).agent();
        let first = agent.facts(call).and_then(|facts| {
            facts
                .outcomes
                .iter()
                .find(|outcome| outcome.in_dialog && outcome.sent_at >= away_at)
                .filter(|outcome| outcome.status.is_some())
                .map(|outcome| outcome.took)
        });
        first.unwrap_or(GIVE_UP).as_secs_f64() * 1_000.0
    }

    /// Waits until both ends of each chosen call saw a refresh, and counts those that did not.
    fn let_timers_run(
        &mut self,
        place: &str,
        since: Instant,
        chosen: impl Fn(u32) -> bool,
    ) -> Result<(), Problem> {
        let chosen: Vec<u32> = self.answered().filter(|&call| chosen(call)).collect();
        let ends = number(2 * chosen.len());
        let seconds = self.plan.refresh_after().as_secs();
        self.progress.begin(format!("lets session timers run {place} (every {seconds} s)"));
        let patience = self.plan.refresh_after() + SPREAD + Duration::from_secs(3);
        let refreshed = self.wait_counting(patience, ends, |story| {
            let refreshed_at = |line: &Line| {
                let agent = line.agent();
                let is_refreshed = |call: &&u32| {
                    agent.facts(**call).is_some_and(|facts| {
                        facts.over.is_some() || facts.refreshed_at.iter().any(|&at| at >= since)
                    })
                };
                chosen.iter().filter(is_refreshed).count()
            };
            Ok(refreshed_at(&story.caller) + refreshed_at(&story.callee))
        })?;
        let missed = ends.saturating_sub(number(refreshed));
        self.report.timers_missed += missed;
        self.progress.done(format!("{refreshed} of {ends} ends of calls were refreshed"));
        Ok(())
    }

    /// Returns the moment when the calls were home.
    fn bring_site_1_back(&mut self) -> Result<Instant, Problem> {
        self.progress.begin("starts site 1 again, empty");
        let started_at = Instant::now();
        self.cluster.start_site(1)?;
        self.cluster.wait_until_serving(&self.stop, 1)?;
        self.report.restart_ms = millis(started_at.elapsed());
        self.route(1)?;
        let one = self.cluster.site(1);
        self.report.site_1_starts = one.status()?.start;
        self.progress.done(format!("serves after {} ms", self.report.restart_ms));
        let held = self.answered().filter(|&call| !Plan::is_ended_away(call)).count();
        self.report.held = number(held);
        self.progress.begin(format!("waits until {held} calls are home, the untouched ones too"));
        let home = self.wait_counting(PATIENCE, number(held), |_| {
            let status = one.status()?;
            let home = status.calls_active.saturating_sub(status.refill_pending);
            Ok(usize::try_from(home).unwrap_or(usize::MAX))
        })?;
        self.progress.done(format!("{} home", home.min(held)));
        Ok(Instant::now())
    }

    fn end_the_rest(&mut self) -> Result<(), Problem> {
        let held: Vec<u32> = self.answered().filter(|&call| !Plan::is_ended_away(call)).collect();
        self.progress.begin(format!("ends {} calls through site 1 (BYE)", held.len()));
        let one = self.cluster.site(1);
        let forwarded = |status: StatusReply| status.engine.map_or(0, |engine| engine.forwarded);
        let before = forwarded(one.status()?);
        self.hang_up(&held)?;
        let elsewhere = forwarded(one.status()?).saturating_sub(before);
        let well = held.iter().filter(|&&call| self.ended_well(call)).count();
        // A request that site 1 forwarded was for a call that still lived at site 2.
        let returned = number(well).saturating_sub(u32::try_from(elsewhere).unwrap_or(u32::MAX));
        self.report.returned = returned;
        self.progress.done(format!("{well} ended at both ends, {returned} of them at home"));
        Ok(())
    }

    fn hang_up(&mut self, calls: &[u32]) -> Result<(), Problem> {
        self.pace(calls.iter().copied(), |story, call| {
            story.line(Plan::hangs_up(call)).ask(|agent, now| agent.bye(now, call));
        })?;
        self.wait_for_answers()?;
        // The BYE at the far end is a transaction of its own, and may still be on its way.
        self.wait_counting(Duration::from_secs(2), number(calls.len()), |story| {
            Ok(calls.iter().filter(|&&call| story.ended_well(call)).count())
        })?;
        Ok(())
    }

    /// One end hung up and was told 200, the other end got exactly one BYE.
    fn ended_well(&self, call: u32) -> bool {
        let (near, far) = match Plan::hangs_up(call) {
            Side::Caller => (&self.caller, &self.callee),
            Side::Callee => (&self.callee, &self.caller),
        };
        let hung_up = near
            .agent()
            .facts(call)
            .is_some_and(|facts| facts.over == Some(Over::HungUp(Some(200))) && facts.byes == 0);
        hung_up
            && far
                .agent()
                .facts(call)
                .is_some_and(|facts| facts.over == Some(Over::PeerHungUp) && facts.byes == 1)
    }

    /// The re-INVITE was answered with 200 and arrived at the other end.
    fn changed_well(&self, call: u32) -> bool {
        let (near, far) = match Plan::changes(call) {
            Side::Caller => (&self.caller, &self.callee),
            Side::Callee => (&self.callee, &self.caller),
        };
        let answered = near.agent().facts(call).is_some_and(|facts| {
            let mut changes = facts
                .outcomes
                .iter()
                .filter(|outcome| outcome.in_dialog && outcome.method == Method::Invite);
            changes.next_back().is_some_and(|outcome| outcome.status == Some(200))
        });
        answered && far.agent().facts(call).is_some_and(|facts| facts.relayed > 0)
    }

    fn count_survivors(&mut self) {
        let survivors = self
            .answered()
            .filter(|&call| self.ended_well(call))
            .filter(|&call| !Plan::is_changed_away(call) || self.changed_well(call))
            .count();
        self.report.survived = number(survivors).min(self.report.crossed);
    }

    fn count_disorder(&mut self) {
        // Two refreshes of one end are a whole interval apart, less what a lost message cost.
        let apart = self.plan.refresh_after() * 3 / 4;
        for line in [&self.caller, &self.callee] {
            for (_, facts) in line.agent().all_facts() {
                let mut gaps = facts.refreshed_at.windows(2).map(|pair| pair[1] - pair[0]);
                let early = gaps.by_ref().filter(|gap| *gap < apart).count();
                self.report.timers_twice += number(early) + facts.byes.saturating_sub(1);
                self.report.disorder += facts.cseq_back + facts.no_ack;
            }
        }
    }

    fn refreshes_since(&self, since: Instant) -> u32 {
        let at = |line: &Line| -> usize {
            let agent = line.agent();
            agent
                .all_facts()
                .map(|(_, facts)| facts.refreshed_at.iter().filter(|at| **at >= since).count())
                .sum()
        };
        number(at(&self.caller) + at(&self.callee))
    }

    fn is_answered(&self, call: u32) -> bool {
        [&self.caller, &self.callee]
            .into_iter()
            .all(|line| line.agent().facts(call).is_some_and(|facts| facts.answered_at.is_some()))
    }

    fn answered(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.plan.calls).filter(|&call| self.is_answered(call))
    }

    /// Leads the calls of site 1, and all new ones, to `site`.
    fn route(&self, site: u16) -> Result<(), Problem> {
        let order = RouteOrder {
            version: None,
            serves: [(1, site)].into(),
            weights: Some([(1, u32::from(site == 1)), (2, u32::from(site == 2))].into()),
        };
        self.cluster.balancer().route(&order).map(|_| ())
    }

    /// Begins something with each call, evenly in time.
    fn pace(
        &mut self,
        calls: impl IntoIterator<Item = u32>,
        mut begin: impl FnMut(&Self, u32),
    ) -> Result<(), Problem> {
        let gap = Duration::from_secs(1) / Plan::pace(self.plan.calls);
        let started_at = Instant::now();
        for (done, call) in calls.into_iter().enumerate() {
            let due_at = started_at + gap * number(done);
            let early = due_at.saturating_duration_since(Instant::now());
            if early > Duration::from_millis(2) {
                self.stop.pause(early)?;
            }
            begin(self, call);
        }
        Ok(())
    }

    /// Waits until no request of ours is without a final response.
    fn wait_for_answers(&mut self) -> Result<(), Problem> {
        let patience = GIVE_UP + Duration::from_secs(5);
        let asking = |line: &Line| line.agent().is_asking();
        self.stop.wait_for(patience, || {
            self.cluster.check_alive()?;
            Ok((!asking(&self.caller) && !asking(&self.callee)).then_some(()))
        })?;
        Ok(())
    }

    /// Waits until `count` reaches `total`, shows how far it is, and returns the last count.
    fn wait_counting(
        &mut self,
        patience: Duration,
        total: u32,
        count: impl Fn(&Self) -> Result<usize, Problem>,
    ) -> Result<usize, Problem> {
        let total = usize::try_from(total).unwrap_or(usize::MAX);
        let mut last = 0;
        let stop = self.stop.clone();
        stop.wait_for(patience, || {
            self.cluster.check_alive()?;
            last = count(self)?;
            self.progress.count(last.min(total), total);
            Ok((last >= total).then_some(()))
        })?;
        Ok(last)
    }
}

fn at_risk(status: &StatusReply) -> u64 {
    status.at_risk.values().map(|risk| risk.calls).sum()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
