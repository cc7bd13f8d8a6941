//! The version in the `o=` line.

use super::*;

fn check(body: &str, offset: u64, expect: Option<&str>) {
    let raised = add_to_version(&Bytes::copy_from_slice(body.as_bytes()), offset);
    assert_eq!(raised, expect.map(|text| Bytes::copy_from_slice(text.as_bytes())), "{body:?}");
}

#[test]
fn only_the_version_changes() {
    check("v=0\r\no=a 1 2 IN IP4 h\r\ns=-\r\n", 5, Some("v=0\r\no=a 1 7 IN IP4 h\r\ns=-\r\n"));
    check("v=0\no=- 1 99 IN IP6 ::1\ns=o=x\n", 1, Some("v=0\no=- 1 100 IN IP6 ::1\ns=o=x\n"));
    check("o=a 1 2 IN IP4 h", 0, Some("o=a 1 2 IN IP4 h"));
    check("o=a 1 2 IN IP4 h\0\r\n", 1, Some("o=a 1 3 IN IP4 h\0\r\n"));
}

#[test]
fn no_well_formed_origin() {
    for body in [
        "",
        "v=0\r\ns=o=a 1 2 IN IP4 h\r\n",
        "o=a 1 2 IN IP4\r\n",
        "o=a 1 2 IN IP4 h x\r\n",
        "o=a  2 IN IP4 h\r\n",
        "o=a 1 x IN IP4 h\r\n",
        "o=a 1 -2 IN IP4 h\r\n",
        "o=a x 2 IN IP4 h\r\n",
        "o=a 1 18446744073709551615 IN IP4 h\r\n",
    ] {
        check(body, 1, None);
    }
}
