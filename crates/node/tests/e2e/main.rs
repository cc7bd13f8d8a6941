//! End to end: the real program as real processes on loopback, killed for real, judged by user
//! agents that are not ours (SIPp) or that know nothing of how it works.
//!
//! The tests take turns, since each wants the machine for itself. `REHOME_TEST_SIZE=full` raises
//! the numbers; each test prints the ones it used. Deliberately absent: any look inside a process
//! other than its admin API, except for the tier link, which `harness::tap` may cut between two
//! words to put a crash at an exact step.

mod accounting;
mod activation;
mod bulk_wake;
mod cli;
mod disk_faults;
mod engine_killed;
mod harness;
mod many_sites;
mod no_affinity;
mod quarantine;
mod queue;
mod registrations;
mod set_up_crash;
mod site_health;
mod site_killed;
mod site_killed_ringing;
mod site_links;
mod spill;
mod state_tier;
mod steering;
mod sweep;
mod tier_network;
mod tier_parts_lost;
mod tier_turns;
mod topologies;
mod torture;
mod upgrade;
mod wall_clocks;
mod wan_early;
mod wan_edges;
mod wan_returns;
mod wan_sites;
mod wan_split;
