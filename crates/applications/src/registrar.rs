//! A registrar and redirect server for the users of some domains (RFC 3261 §10.3, §8.3).
//!
//! What is registered for an address of record is a call of its own: REGISTERs of the user and
//! requests to the user are named alike by [`Application::session_key`], so that they meet under
//! one lock, and the bindings cross to other sites, wake there and come home as calls do. Its
//! attributes are the bindings, each with a timer of the same name that ends it; when the last one
//! is gone nothing is left of the call. Requests to a user are answered 302 with the bindings.
//!
//! Deliberately absent: authentication and authorisation (§10.3 steps 3 and 4: whoever reaches it
//! may register anything), proxying to other domains (step 1), Date in the answer (a core has no
//! wall clock), Path (RFC 3327), outbound (RFC 5626) and any contact parameter but `q` and
//! `expires`.

use std::time::Duration;

use servlet::{Application, Cx, Decision, KeyView, Reply};
use sip_message::{Bytes, HeaderName, Headers, Method, NameAddr, Request, StatusCode, Uri};

mod binding;

use binding::{Binding, all, keep};

/// The methods that are understood of a request to a domain itself, for `Allow`.
pub const ALLOW: &str = "REGISTER, OPTIONS, ACK, CANCEL";

/// Bindings of one user that [`Config::contacts_max`] may allow: each has a timer, and a container
/// runs no more of them for a call.
pub const CONTACTS_MAX: usize = 16;

/// Which users are registered here, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Hosts of the addresses of record, without regard to case.
    pub domains: Vec<String>,
    /// Granted to who names no expiry, in seconds.
    pub expires_default: u32,
    /// What is shorter is refused, in seconds. At most an hour.
    pub expires_min: u32,
    /// What is longer is shortened to this, in seconds.
    pub expires_max: u32,
    /// Bindings of one user; what goes beyond is refused. At most [`CONTACTS_MAX`].
    pub contacts_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            domains: Vec::new(),
            expires_default: 3_600,
            expires_min: 60,
            expires_max: 7_200,
            contacts_max: 8,
        }
    }
}

/// The application.
#[derive(Clone, Debug, Default)]
pub struct Registrar {
    config: Config,
}

/// What a Contact of a REGISTER asks for.
struct Wanted {
    uri: Uri,
    q: Option<u16>,
    expires: u32,
}

impl Registrar {
    /// Takes its domains and bounds.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    fn is_ours(&self, uri: &Uri) -> bool {
        let host = uri.host().map(ToString::to_string);
        let is = |domain: &String| host.as_ref().is_some_and(|h| h.eq_ignore_ascii_case(domain));
        self.config.domains.iter().any(is)
    }

    fn register(&self, cx: &mut Cx<'_>, request: &Request) -> Decision {
        match self.registered(cx, request) {
            Ok(()) => Decision::Respond(with_bindings(Reply::new(StatusCode::OK), &all(cx))),
            Err(refusal) => Decision::Respond(refusal),
        }
    }

    /// §10.3, by its steps; 1 is [`Application::session_key`], 2 the container's.
    fn registered(&self, cx: &mut Cx<'_>, request: &Request) -> Result<(), Reply> {
        let refusal = |status| Err(Reply::new(status));
        let headers = &request.headers;
        // §10.2: "The 'userinfo' and '@' components of the SIP URI MUST NOT be present."
        let Ok(to) = headers.to().map(|to| to.uri) else {
            return refusal(StatusCode::BAD_REQUEST);
        };
        if request.uri.user().is_some() {
            return refusal(StatusCode::BAD_REQUEST);
        }
        // Step 5: "If the address-of-record is not valid for the domain in the Request-URI, the
        // registrar MUST send a 404 (Not Found) response and skip the remaining steps."
        let is_of_domain = match (to.host(), request.uri.host()) {
            (Some(of_user), Some(domain)) => of_user.equivalent(domain),
            (None, _) | (_, None) => false,
        };
        if to.user().is_none() || !is_of_domain {
            return refusal(StatusCode::NOT_FOUND);
        }
        let (Ok(call_id), Ok(cseq)) = (headers.call_id(), headers.cseq()) else {
            return refusal(StatusCode::BAD_REQUEST);
        };
        let before = all(cx);
        // Step 6.
        let after = if headers.contact_is_star() {
            // "the registrar … if the request has additional Contact fields or an expiration time
            // other than zero … MUST return a 400 (Invalid Request)".
            if !matches!(headers.expires(), Ok(Some(0))) {
                return refusal(StatusCode::BAD_REQUEST);
            }
            if before.iter().any(|binding| !binding.yields_to(call_id, cseq.number)) {
                return refusal(StatusCode::SERVER_INTERNAL_ERROR);
            }
            Vec::new()
        } else {
            let wanted = self.wanted(headers)?;
            if wanted.is_empty() {
                return Ok(());
            }
            self.updated(&before, wanted, call_id, cseq.number)?
        };
        // "the binding updates MUST be committed … if and only if all … succeed".
        match keep(cx, &before, &after) {
            true => Ok(()),
            false => Err(too_many()),
        }
    }

    /// Step 7, "the registrar now processes each contact address in the Contact header field in
    /// turn": what each of them asks for.
    fn wanted(&self, headers: &Headers) -> Result<Vec<Wanted>, Reply> {
        let Ok(contacts) = headers.contacts() else {
            return Err(Reply::new(StatusCode::BAD_REQUEST));
        };
        let for_all = headers.expires().ok().flatten();
        let wanted = contacts.into_iter().map(|contact| {
            let NameAddr { uri, params, display: _ } = contact;
            // "malformed values SHOULD be treated as equivalent to 3600" (§20.10).
            let own = params.get("expires").map(|value| value.and_then(seconds).unwrap_or(3_600));
            let expires = own.or(for_all).unwrap_or(self.config.expires_default);
            // "If and only if the requested expiration interval is greater than zero AND smaller
            // than one hour AND less than a registrar-configured minimum, the registrar MAY reject
            // the registration with a response of 423 (Interval Too Brief)."
            if expires > 0 && expires < self.config.expires_min.min(3_600) {
                let least = self.config.expires_min.min(3_600).to_string();
                let refusal = Reply::new(StatusCode::INTERVAL_TOO_BRIEF);
                return Err(refusal.with(HeaderName::MinExpires, least));
            }
            let expires = expires.min(self.config.expires_max);
            Ok(Wanted { uri, q: params.value("q").and_then(binding::thousandths), expires })
        });
        wanted.collect()
    }

    /// The bindings as `wanted` leaves them.
    fn updated(
        &self,
        before: &[Binding],
        wanted: Vec<Wanted>,
        call_id: &Bytes,
        cseq: u32,
    ) -> Result<Vec<Binding>, Reply> {
        let mut after = before.to_vec();
        for Wanted { uri, q, expires } in wanted {
            // "the registrar then searches the list of current bindings using the URI comparison
            // rules. … If the binding does exist, the registrar checks the Call-ID value. … if they
            // are the same and the value of CSeq is higher, the registrar MUST [update or remove].
            // If not, the update MUST be aborted and the request fails."
            let known = before.iter().find(|binding| binding.uri.equivalent(&uri));
            if known.is_some_and(|binding| !binding.yields_to(call_id, cseq)) {
                return Err(Reply::new(StatusCode::SERVER_INTERNAL_ERROR));
            }
            let at = after.iter().position(|binding| binding.uri.equivalent(&uri));
            if expires == 0 {
                at.map(|at| after.remove(at));
                continue;
            }
            let slot = match at {
                Some(at) => after.remove(at).slot,
                None => Binding::free_slot(&after).ok_or_else(too_many)?,
            };
            let left = Duration::from_secs(expires.into());
            after.push(Binding { slot, uri, q, call_id: call_id.clone(), cseq, left });
        }
        if after.len() > self.config.contacts_max.min(CONTACTS_MAX) && after.len() > before.len() {
            return Err(too_many());
        }
        Ok(after)
    }
}

impl Application for Registrar {
    fn name(&self) -> &str {
        "registrar"
    }

    /// The address of record, as §10.3 step 5 and §19.1.4 make one of many: parameters removed,
    /// escapes undone, the host in lower case; the scheme does not count. What is said to a domain
    /// itself and names no user of it meets nothing.
    fn session_key(&self, request: &KeyView<'_>) -> Option<Bytes> {
        let target = Some(request.uri()).filter(|uri| self.is_ours(uri))?;
        if let Some(record) = address_of_record(target) {
            return Some(record);
        }
        let to = request.to().map(|to| to.uri).filter(|to| self.is_ours(to));
        if let Some(record) = to.and_then(|to| address_of_record(&to)) {
            return Some(record);
        }
        let from = request.from().and_then(|from| from.tag().cloned()).unwrap_or_default();
        let call_id = request.call_id().cloned().unwrap_or_default();
        // No host holds a space, so that this is nobody's address of record.
        Some([b" ", &call_id[..], b" ", &from[..]].concat().into())
    }

    fn on_initial_request(&self, cx: &mut Cx<'_>, request: &Request) -> Decision {
        match &request.method {
            Method::Register => self.register(cx, request),
            Method::Options if request.uri.user().is_none() => {
                Decision::Respond(Reply::new(StatusCode::OK).with(HeaderName::Allow, ALLOW))
            }
            Method::Invite
            | Method::Options
            | Method::Bye
            | Method::Update
            | Method::Prack
            | Method::Info
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Subscribe
            | Method::Publish
            | Method::Ack
            | Method::Cancel
            | Method::Other(_) => redirect(cx, request),
        }
    }

    /// A binding is over.
    fn on_timer(&self, cx: &mut Cx<'_>, name: &str) {
        cx.remove_attribute(name);
    }
}

/// §8.3: the bindings, the best one first. Without an expiry they "MUST NOT be cached": the next
/// caller asks again.
fn redirect(cx: &Cx<'_>, request: &Request) -> Decision {
    let mut bindings = all(cx);
    // "A redirect server MUST NOT redirect a request to a URI equal to the one in the Request-URI".
    bindings.retain(|binding| !binding.uri.equivalent(&request.uri));
    if bindings.is_empty() {
        return Decision::Respond(Reply::new(StatusCode::NOT_FOUND));
    }
    let mut reply = Reply::new(StatusCode::MOVED_TEMPORARILY);
    for binding in &bindings {
        reply = reply.with(HeaderName::Contact, binding.contact().print());
    }
    Decision::Respond(reply)
}

/// Step 8: "The response MUST contain Contact header field values enumerating all current bindings.
/// Each Contact value MUST feature an "expires" parameter".
fn with_bindings(mut reply: Reply, bindings: &[Binding]) -> Reply {
    for binding in bindings {
        let mut contact = binding.contact();
        contact.params.set("expires", Some(&binding.seconds_left().to_string()));
        reply = reply.with(HeaderName::Contact, contact.print());
    }
    reply
}

/// The RFC names no answer to one binding too many. It is no 503: later would be no better.
fn too_many() -> Reply {
    let mut reply = Reply::new(StatusCode::FORBIDDEN);
    reply.reason = Some(Bytes::from_static(b"Too Many Contacts"));
    reply
}

fn address_of_record(uri: &Uri) -> Option<Bytes> {
    let (user, host) = (uri.user_unescaped()?, uri.host()?.to_string().to_ascii_lowercase());
    Some([host.as_bytes(), b"@", &user[..]].concat().into())
}

/// `delta-seconds`; one that does not fit counts as the largest.
fn seconds(value: &Bytes) -> Option<u32> {
    let text = std::str::from_utf8(value).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests;
