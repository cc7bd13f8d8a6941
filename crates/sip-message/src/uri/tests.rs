//! URIs: grammar, parts, building, comparison (RFC 3261 section 19.1, RFC 4475, RFC 5118).

use super::*;

fn uri(text: &str) -> Uri {
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// `expect` is `user|host|port|params|headers`.
fn check(text: &str, expect: Result<&str, UriError>) {
    let parts = text.parse::<Uri>().map(|uri| {
        assert_eq!(uri.to_string(), text);
        let show = |bytes: Option<&Bytes>| {
            bytes.map_or("-".into(), |bytes| String::from_utf8_lossy(bytes).into_owned())
        };
        let host = uri.host().map_or("-".into(), Host::to_string);
        let port = uri.port().map_or("-".into(), |port| port.to_string());
        let params = uri.params();
        format!("{}|{host}|{port}|{params}|{}", show(uri.user()), show(uri.headers()))
    });
    assert_eq!(parts, expect.map(str::to_owned), "{text}");
}

#[test]
fn parts_of_sip_uris() {
    check("sip:a.example", Ok("-|a.example|-||-"));
    check("SIPS:bob@a.example:5061", Ok("bob|a.example|5061||-"));
    check("sip:bob:secret@a.example;lr;x=y", Ok("bob|a.example|-|;lr;x=y|-"));
    check("sip:+1555;phone-context=x@a.example", Ok("+1555;phone-context=x|a.example|-||-"));
    check("sip:user;par=u%40e.net@e.com", Ok("user;par=u%40e.net|e.com|-||-"));
    check("sip:a?b@e.com?Subject=x&To=", Ok("a?b|e.com|-||Subject=x&To="));
    check("sip:[2001:db8::10:5070]", Ok("-|[2001:db8::10:5070]|-||-"));
    check("sip:[2001:db8::10]:5070", Ok("-|[2001:db8::10]|5070||-"));
    check("sip:u@[2001:db8:::192.0.2.1]", Ok("u|[2001:db8::c000:201]|-||-"));
    check("sip:null-%00-null@e.com", Ok("null-%00-null|e.com|-||-"));
    check("sip:a#1@e.com", Ok("a#1|e.com|-||-"));
    check("tel:+15551234;ext=1", Ok("-|-|-||-"));
    check("nobodyKnowsThisScheme:totallyopaquecontent", Ok("-|-|-||-"));
    check("soap.beep://192.0.2.103:3002", Ok("-|-|-||-"));
}

#[test]
fn broken_uris() {
    for text in ["", "alice", "1sip:a", ":a", "/", "*", "si p:a"] {
        assert!(text.parse::<Uri>().is_err(), "{text}");
    }
    check("sip:", Err(UriError::Empty));
    check("sip:a b", Err(UriError::IllegalByte));
    check("sip:a\0b", Err(UriError::IllegalByte));
    check("<sip:a>", Err(UriError::IllegalByte));
    check("sip:@e.com", Err(UriError::User));
    check("sip::x@e.com", Err(UriError::User));
    check("sip:a@b@e.com", Err(UriError::User));
    check("sip:%4@e.com", Err(UriError::Escape));
    check("sip:a%zz@e.com", Err(UriError::Escape));
    check("sip:a@", Err(UriError::Host));
    check("sip:a@;lr", Err(UriError::Host));
    check("sip:2001:db8::10", Err(UriError::Port));
    check("sip:a@e.com:0", Err(UriError::Port));
    check("sip:a@e.com:65536", Err(UriError::Port));
    check("sip:a@e.com:", Err(UriError::Port));
    check("sip:a@e.com;", Err(UriError::Parameter));
    check("sip:a@e.com;;lr", Err(UriError::Parameter));
    check("sip:a@e.com;x=", Err(UriError::Parameter));
    check("sip:a@e.com?", Err(UriError::Headers));
    check("sip:a@e.com?x", Err(UriError::Headers));
    let many = format!("sip:a{}", ";a".repeat(10_000));
    check(&many, Err(UriError::TooManyParameters));
}

#[test]
fn escapes_are_undone_once() {
    let uri = uri("sip:cal%6Cer@e.net;%6C%72;n%61me=v%61lue%25%34%31");
    assert_eq!(uri.user_unescaped(), Some("caller".into()));
    assert!(uri.has_param("lr"));
    let value = uri.param("name").flatten().expect("it is there");
    assert_eq!(unescape(value), "value%41");
}

#[test]
fn parameters_are_added_replaced_and_removed() {
    let base = uri("sip:a;b=c@e.com:1;x=1;lr?s=t");
    let show = |uri: Uri| {
        assert_eq!(
            uri.to_string().parse::<Uri>().map(|uri| uri.params().clone()),
            Ok(uri.params().clone())
        );
        uri.to_string()
    };
    assert_eq!(
        show(base.with_param("y", Some("a b;c"))),
        "sip:a;b=c@e.com:1;x=1;lr;y=a%20b%3Bc?s=t"
    );
    assert_eq!(show(base.with_param("X", None)), "sip:a;b=c@e.com:1;lr;X?s=t");
    assert_eq!(show(base.without_param("lr")), "sip:a;b=c@e.com:1;x=1?s=t");
    assert_eq!(show(base.without_headers()), "sip:a;b=c@e.com:1;x=1;lr");
    assert_eq!(uri("tel:1").with_param("a", None), uri("tel:1"));
}

#[test]
fn built_uris_cannot_break_a_message() {
    let built = Uri::sip(Some("a\r\n@<>"), Host::Name("b\r\nc".into()), Some(0));
    assert_eq!(built.to_string(), "sip:a%0D%0A%40%3C%3E@bc");
    assert_eq!(Uri::sip(Some(""), "", None).to_string(), "sip:invalid");
}

#[test]
fn comparison_of_rfc_3261_19_1_4() {
    for (one, two) in [
        ("sip:%61lice@atlanta.com;transport=TCP", "sip:alice@AtLanTa.CoM;Transport=tcp"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;newparam=5"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com;security=on"),
        ("sip:a@e.com?to=x&priority=urgent", "sip:a@e.com?priority=urgent&to=x"),
    ] {
        assert!(uri(one).equivalent(&uri(two)) && uri(two).equivalent(&uri(one)), "{one} {two}");
    }
    for (one, two) in [
        ("SIP:ALICE@AtLanTa.CoM;Transport=udp", "sip:alice@AtLanTa.CoM;Transport=UDP"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com:5060"),
        ("sip:bob@biloxi.com", "sip:bob@biloxi.com;transport=udp"),
        ("sip:bob@biloxi.com", "sips:bob@biloxi.com"),
        ("sip:carol@chicago.com;security=off", "sip:carol@chicago.com;security=on"),
        ("sip:carol@chicago.com", "sip:carol@chicago.com?Subject=next%20meeting"),
        ("sip:a%3Bb@e.com", "sip:a;b@e.com"),
        ("tel:1", "sip:1"),
    ] {
        assert!(!uri(one).equivalent(&uri(two)) && !uri(two).equivalent(&uri(one)), "{one} {two}");
    }
}
