//! URI comparison, RFC 3261 section 19.1.4.
//!
//! Bounded by the length of a header line and by [`PARAMS_MAX`](crate::PARAMS_MAX).

use bytes::Bytes;

use super::{Uri, unescape};
use crate::host::Host;

/// "If the URIs' user, ttl, method, transport or maddr parameter appears in only one URI, they
/// never match."
const ALWAYS_COMPARED: [&str; 5] = ["user", "ttl", "method", "transport", "maddr"];

pub(super) fn equivalent(one: &Uri, two: &Uri) -> bool {
    if one.bytes == two.bytes {
        return true;
    }
    let (Some(a), Some(b)) = (&one.sip, &two.sip) else {
        return false;
    };
    // "A SIP and SIPS URI are never equivalent."
    one.is_sips() == two.is_sips()
        && same_text(a.user.as_ref(), b.user.as_ref(), Case::Counts)
        && same_text(a.password.as_ref(), b.password.as_ref(), Case::Counts)
        && same_host(&a.host, &b.host)
        // "A URI omitting any component with a default value will not match a URI explicitly
        // containing that component with its default value."
        && a.port == b.port
        && same_params(one, two)
        && same_headers(a.headers.as_ref(), b.headers.as_ref())
}

#[derive(Clone, Copy)]
enum Case {
    Counts,
    Ignored,
}

fn same_host(one: &Host, two: &Host) -> bool {
    one.equivalent(two)
}

fn same_text(one: Option<&Bytes>, two: Option<&Bytes>, case: Case) -> bool {
    let (one, two) = match (one, two) {
        (None, None) => return true,
        (Some(one), Some(two)) => (plain(one), plain(two)),
        (None, Some(_)) | (Some(_), None) => return false,
    };
    match case {
        Case::Counts => one == two,
        Case::Ignored => one.eq_ignore_ascii_case(&two),
    }
}

/// "Characters other than those in the reserved set are equivalent to their %HH encoding", so
/// escapes of reserved characters stay, in upper case, and `%` itself stays apart from others.
fn plain(bytes: &Bytes) -> Bytes {
    if !bytes.contains(&b'%') {
        return bytes.clone();
    }
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = &bytes[..];
    while let Some((&first, after)) = rest.split_first() {
        match crate::grammar::escaped_byte(rest) {
            Some(byte) if b";/?:@&=+$,%".contains(&byte) => {
                out.extend(rest[..3].to_ascii_uppercase());
                rest = &rest[3..];
            }
            Some(byte) => {
                out.push(byte);
                rest = &rest[3..];
            }
            None => {
                out.push(first);
                rest = after;
            }
        }
    }
    out.into()
}

fn same_params(one: &Uri, two: &Uri) -> bool {
    ALWAYS_COMPARED.iter().all(|name| one.has_param(name) == two.has_param(name))
        && one.params().iter().all(|(name, value)| {
            let name = String::from_utf8_lossy(&unescape(name)).into_owned();
            // "All other uri-parameters appearing in only one URI are ignored."
            two.param(&name).is_none_or(|other| same_text(value, other, Case::Ignored))
        })
}

/// "URI header components are never ignored. Any present header component MUST be present in
/// both URIs and match"; their order does not count.
fn same_headers(one: Option<&Bytes>, two: Option<&Bytes>) -> bool {
    let sorted = |headers: Option<&Bytes>| {
        let mut parts: Vec<(Vec<u8>, Bytes)> = headers
            .map(|headers| &headers[..])
            .unwrap_or_default()
            .split(|&byte| byte == b'&')
            .map(|part| {
                let equals = memchr::memchr(b'=', part).unwrap_or(part.len());
                (unescape(&part[..equals]).to_ascii_lowercase(), unescape(&part[equals..]))
            })
            .collect();
        parts.sort();
        parts
    };
    sorted(one) == sorted(two)
}
