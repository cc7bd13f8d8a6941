//! What should be done about a site, in an operator's words.

use std::collections::BTreeMap;

use vocab::SiteId;

use super::{FailOver, Judge, Order, Standing, without};

/// What is done about a site, or should be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Advice {
    /// In a sentence.
    pub what: String,
    /// The commands, in their order; none when there is nothing to order now.
    pub commands: Vec<String>,
}

pub(super) fn of(judge: &Judge, site: SiteId) -> Option<Advice> {
    let standing = judge.standing(site)?;
    let served_by = judge.policy.serves(site);
    if let Some(acted) = judge.acted.as_ref().filter(|acted| acted.home == site)
        && served_by == acted.to
        && standing == Standing::Dead
    {
        return Some(done(acted));
    }
    match standing {
        Standing::Dead if served_by == site => Some(fail_over(judge, site)),
        Standing::Recovering if served_by != site => Some(Advice {
            what: format!(
                "site {site} answers again, and its calls are served by site {served_by}: wait \
                 until it is healthy",
                site = site.0,
                served_by = served_by.0
            ),
            commands: Vec::new(),
        }),
        Standing::Healthy if served_by != site => Some(fail_back(judge, site, served_by)),
        Standing::Healthy | Standing::Suspected | Standing::Recovering | Standing::Dead => None,
    }
}

fn activate(site: SiteId) -> String {
    format!("rehome backup activate --site {}", site.0)
}

fn fail_over(judge: &Judge, site: SiteId) -> Advice {
    let number = site.0;
    let Some(&to) = judge.config.backups.get(&site) else {
        let what = format!(
            "site {number} is dead, and no `backup` in its [[balancer.site]] says who keeps its \
             copies"
        );
        return Advice { what, commands: Vec::new() };
    };
    let mut what = format!("site {number} is dead");
    if judge.standing(to) != Some(Standing::Healthy) {
        what += &format!(", and site {}, which keeps its copies, is not healthy", to.0);
    } else if let Some(acted) = judge.acted.as_ref().filter(|_| judge.config.auto_failover) {
        let FailOver { home, .. } = acted;
        what += &match *home == site {
            true => ", and its calls were sent back to it by order".to_owned(),
            false => format!(", after site {}: no second one is given up by itself", home.0),
        };
    }
    let policy = without(&judge.policy, site, to);
    let commands = vec![route(site, to, Some(&policy.weights)), activate(site)];
    Advice { what, commands }
}

fn route(home: SiteId, by: SiteId, weights: Option<&BTreeMap<SiteId, u32>>) -> String {
    let shares = weights.map_or_else(String::new, |weights| {
        let pair = |(site, share): (&SiteId, &u32)| format!("{}={share}", site.0);
        let pairs: Vec<String> = weights.iter().map(pair).collect();
        format!(" --weights {}", pairs.join(","))
    });
    format!("rehome route set {}={}{shares}", home.0, by.0)
}

fn done(acted: &FailOver) -> Advice {
    let FailOver { home, to, weights: _, order } = acted;
    let (home_number, to_number) = (home.0, to.0);
    let moved = format!("site {home_number} is dead; its calls were sent to site {to_number}");
    let (more, commands) = match order {
        Order::Impossible => {
            ("they wake with their first message, or by order".to_owned(), vec![activate(*home)])
        }
        Order::Asked { .. } => ("waking them is being ordered".to_owned(), Vec::new()),
        Order::Again { why, .. } => (format!("waking them is ordered again: {why}"), Vec::new()),
        Order::Taken { calls } => (format!("waking them was ordered ({calls} calls)"), Vec::new()),
        Order::Failed { why } => {
            (format!("waking them could not be ordered: {why}"), vec![activate(*home)])
        }
    };
    Advice { what: format!("{moved}, {more}"), commands }
}

fn fail_back(judge: &Judge, home: SiteId, by: SiteId) -> Advice {
    let acted = judge.acted.as_ref().filter(|acted| acted.home == home);
    let (site, by) = (home.0, by.0);
    Advice {
        what: format!(
            "site {site} is healthy and its calls are served by site {by}: send them back, and \
             new calls as before, when `rehome sites` at site {site} says that nothing is left to \
             come home"
        ),
        commands: vec![route(home, home, acted.map(|acted| &acted.weights))],
    }
}
