//! Lines: order, splitting, replacing, and that no value can smuggle a line.

use super::*;

fn headers(lines: &[(&str, &str)]) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in lines {
        headers.push(HeaderName::from(*name), (*value).to_owned());
    }
    headers
}

fn check(headers: &Headers, expect: &str) {
    let lines: Vec<String> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.escape_ascii())).collect();
    assert_eq!(lines.join(" | "), expect);
}

#[test]
fn compact_and_unknown_names() {
    let mut all = headers(&[("v", "1"), ("X-Mine", "2"), ("VIA", "3")]);
    check(&all, "Via: 1 | X-Mine: 2 | Via: 3");
    assert_eq!(all.get(&"x-mine".into()), Some(&"2".into()));
    assert_eq!(all.remove(&HeaderName::Via), 2);
    check(&all, "X-Mine: 2");
}

#[test]
fn a_value_never_holds_a_line_end() {
    let mut all = headers(&[("Subject", " a\r\nEvil: 1\n")]);
    check(&all, "Subject: a  Evil: 1");
    all.set(HeaderName::Subject, "x\ry");
    all.push_front(HeaderName::Via, "\r\n");
    check(&all, "Via:  | Subject: x y");
}

#[test]
fn set_replaces_all_in_the_place_of_the_first() {
    let mut all = headers(&[("Via", "1"), ("Allow", "a"), ("To", "t"), ("Allow", "b")]);
    all.set(HeaderName::Allow, "c");
    check(&all, "Via: 1 | Allow: c | To: t");
    all.set(HeaderName::Date, "d");
    check(&all, "Via: 1 | Allow: c | To: t | Date: d");
}

#[test]
fn push_front_and_pop_work_on_values() {
    let mut all = headers(&[("To", "t"), ("Via", "1 , 2"), ("Via", "3")]);
    all.push_front(HeaderName::Via, "0");
    check(&all, "To: t | Via: 0 | Via: 1 , 2 | Via: 3");
    all.pop_via();
    all.pop_via();
    check(&all, "To: t | Via: 2 | Via: 3");
    all.pop_via();
    all.pop_via();
    all.pop_via();
    check(&all, "To: t");
    all.push(HeaderName::Via, "1,");
    all.pop_via();
    check(&all, "To: t");
    all.push_front(HeaderName::Route, "<sip:a>");
    check(&all, "Route: <sip:a> | To: t");
}

#[test]
fn values_skip_what_is_empty() {
    let all = headers(&[("Supported", ""), ("k", "timer,, 100rel")]);
    let values: Vec<Bytes> = all.values(&HeaderName::Supported).collect();
    assert_eq!(values, ["timer", "100rel"]);
    assert!(all.has_option_tag(&HeaderName::Supported, "TIMER"));
    assert!(!all.has_option_tag(&HeaderName::Supported, "path"));
}
