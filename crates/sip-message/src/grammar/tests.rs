//! Scanners that the headers share.

use super::*;

fn check(value: &str, parts: &[&str]) {
    let split: Vec<&[u8]> = CommaSplit::new(value.as_bytes()).collect();
    let parts: Vec<&[u8]> = parts.iter().map(|part| part.as_bytes()).collect();
    assert_eq!(split, parts, "{value:?}");
}

#[test]
fn commas_split_outside_quotes_and_brackets() {
    check("", &[""]);
    check("a", &["a"]);
    check("a, b ,c", &["a", "b", "c"]);
    check("a,,b", &["a", "", "b"]);
    check("\"a,b\" <sip:x>, c", &["\"a,b\" <sip:x>", "c"]);
    check("\"a\\\",b\", c", &["\"a\\\",b\"", "c"]);
    check("<sip:a,b@c>;x=\"y,z\",d", &["<sip:a,b@c>;x=\"y,z\"", "d"]);
    check("<sip:a,b", &["<sip:a,b"]);
    check("\"a,b", &["\"a,b"]);
    check("a,\"b,c", &["a", "\"b,c"]);
}

fn check_number(text: &str, expect: Option<u64>) {
    assert_eq!(number(text.as_bytes()), expect, "{text:?}");
}

#[test]
fn numbers_do_not_wrap_and_have_no_sign() {
    check_number("0", Some(0));
    check_number("0068", Some(68));
    check_number("18446744073709551615", Some(u64::MAX));
    check_number("18446744073709551616", None);
    check_number("9999999999999999999999999999999999999999", None);
    for bad in ["", "-1", "+5", "0x10", "five", "1 ", "1.0"] {
        check_number(bad, None);
    }
}

fn check_params(text: &str, expect: Result<&str, HeaderErrorKind>) {
    let bytes = bytes::Bytes::copy_from_slice(text.as_bytes());
    let printed = crate::Params::read(&bytes, &bytes).map(|params| params.to_string());
    assert_eq!(printed, expect.map(str::to_owned), "{text:?}");
}

#[test]
fn parameters_of_a_header() {
    use HeaderErrorKind::{Parameter, TooManyParameters, Trailing, UnterminatedQuote};
    check_params("", Ok(""));
    check_params(" ;  tag  = 9 ; lr", Ok(";tag=9;lr"));
    check_params(";a=\"x;y,z\\\"\"", Ok(";a=\"x;y,z\\\"\""));
    check_params(";received=[2001:db8::1]", Ok(";received=[2001:db8::1]"));
    check_params(";gr=urn:uuid:f8=", Ok(";gr=urn:uuid:f8="));
    check_params(";;", Err(Parameter));
    check_params(";", Err(Parameter));
    check_params(";a=", Err(Parameter));
    check_params(";a=;b", Err(Parameter));
    check_params(";a b", Err(Trailing));
    check_params("a", Err(Trailing));
    check_params(";a=\"b", Err(UnterminatedQuote));
    check_params(";a=\"b\\\"", Err(UnterminatedQuote));
    check_params(&";a".repeat(PARAMS_MAX), Ok(&";a".repeat(PARAMS_MAX)));
    check_params(&";a".repeat(PARAMS_MAX + 1), Err(TooManyParameters));
}
