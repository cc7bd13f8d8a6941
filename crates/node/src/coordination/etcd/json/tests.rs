//! Answers as etcd 3.4 and newer write them.

use super::*;

#[test]
fn numbers_are_strings_and_zeros_are_left_out() {
    let range: Range = read(
        br#"{"header":{"cluster_id":"1","revision":"18446744073709551615","raft_term":"2"},
        "kvs":[{"key":"L3AvbWFw","create_revision":"2","mod_revision":"2","version":"1"}],
        "count":"1"}"#,
    )
    .unwrap();
    assert_eq!(range.header.revision, u64::MAX);
    assert_eq!((&range.kvs[0].key[..], &range.kvs[0].value[..]), (&b"/p/map"[..], &b""[..]));
    let range: Range = read(br#"{"header":{"revision":7}}"#).unwrap();
    assert_eq!((range.header.revision, range.kvs.len()), (7, 0));
    let over: Lease = read_line(br#"{"result":{"header":{},"ID":"5"}}"#).unwrap();
    assert_eq!((over.id, over.ttl), (5, 0));
}

#[test]
fn an_error_says_whether_anything_may_have_happened() {
    let check = |status, answer: &str, message: &str, may_have_happened| {
        let failure = refusal(status, answer.as_bytes());
        assert_eq!(failure.may_have_happened(), may_have_happened, "{answer}");
        assert!(failure.to_string().contains(message), "{failure} {message}");
    };
    let no_lease = r#"{"error":"etcdserver: requested lease not found","code":5}"#;
    check(404, no_lease, "requested lease not found", false);
    check(401, r#"{"code":16,"message":"etcdserver: invalid auth token"}"#, "token", false);
    let late = r#"{"error":"x","message":"etcdserver: request timed out","code":14}"#;
    check(503, late, "request timed out", true);
    let full = r#"{"error":"etcdserver: mvcc: database space exceeded","code":8}"#;
    check(429, full, "database space exceeded", false);
    check(429, r#"{"error":"too many","code":8}"#, "too many", true);
    let in_stream = r#"{"error":{"grpc_code":14,"http_code":503,"message":"no leader"}}"#;
    check(0, in_stream, "no leader (code 14)", true);
    check(502, "<html>a proxy</html>", "HTTP status 502", true);
}

#[test]
fn what_makes_no_sense_is_no_answer() {
    for answer in [
        &b""[..],
        b"{}",
        b"[]",
        br#"{"header":{"revision":"x"}}"#,
        br#"{"header":{},"kvs":[{"key":"?"}]}"#,
    ] {
        let failure = read::<Range>(answer).unwrap_err();
        assert!(failure.may_have_happened() && failure.to_string().contains("no sense"));
    }
}
