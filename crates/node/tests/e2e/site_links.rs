//! Two sites whose links are encrypted: calls cross, a site dies, every call is hung up.

use std::time::Duration;

use crate::harness::mesh::{Links, Mesh};
use crate::harness::sipp::{Load, Sipp};
use crate::harness::sized;
use crate::harness::stage::Stage;

#[test]
fn calls_cross_inside_tls_and_outlive_their_site() {
    let stage = Stage::new("site_links_tls");
    let calls = sized(100, 1_000);
    let [callee_at, caller_at] = [(); 2].map(|()| stage.address());
    let mut mesh = Mesh::start(&stage, callee_at, Links::Tls, &[(Some(2), 1), (Some(1), 0)]);
    for id in [1, 2] {
        let status = mesh.site(id).try_status().expect("it serves");
        assert!(status.peers.values().all(|peer| peer.encrypted == Some(true)), "site {id}");
        let left = status.certificate_ends_in_s.expect("it has a certificate");
        assert!((360 * 86_400..=365 * 86_400).contains(&left), "{left}");
    }
    let mut callee = Sipp::callee(&stage, "uas_patient", callee_at, calls);
    let hold = Duration::from_secs(u64::from(calls / 100) + 5);
    let load = Load { calls, per_second: 100, hold };
    let mut caller = Sipp::caller(&stage, "uac_hold_logged", caller_at, mesh.edge, &load);
    mesh.wait_settled(1, calls.into());
    mesh.wait_asleep(2, &[(1, calls.into())]);
    mesh.lose(1, &[(1, 2)], &[(1, 0), (2, 1)]);
    let heard = caller.finish(hold + Duration::from_secs(40));
    let reached = callee.finish(Duration::from_secs(10));
    stage.say(&format!(
        "{calls} calls crossed inside TLS; site 1 killed; {} BYEs answered, {} reached the callee",
        heard.successful, reached.successful
    ));
    assert_eq!(heard.successful, u64::from(calls), "a BYE of the caller was not answered");
    assert_eq!(reached.successful, u64::from(calls), "a BYE did not reach the callee");
    assert_eq!(heard.failed + reached.failed, 0);
}
