//! A back-to-back user agent with a static routing table (RFC 7092 "signaling-only").
//!
//! An INVITE is routed by the host or the user prefix of its Request-URI, or to a default next hop.
//! OPTIONS to us is answered; everything else outside a dialog is refused. No registrar, no
//! authentication, no forking of its own.

use servlet::{Application, Cx, Decision, NextHop, OutboundLeg, Reply};
use sip_message::{HeaderName, Method, Request, StatusCode};

/// The methods that this application understands, for `Allow`.
pub const ALLOW: &str = "INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, INFO, MESSAGE, REFER, NOTIFY";

/// How requests are routed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// Tried in order; the first that matches decides.
    pub routes: Vec<Route>,
    /// Where a request goes that no route matches. `None`: where its Request-URI says, or 404 with
    /// [`Config::is_closed`].
    pub default_next_hop: Option<NextHop>,
    /// Refuse what no route matches and no default covers.
    pub is_closed: bool,
}

/// One line of the routing table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// What a request must look like.
    pub when: Match,
    /// Where it is sent.
    pub next_hop: NextHop,
}

/// A condition on a Request-URI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// The user part begins with this.
    UserPrefix(String),
    /// The host is this, without regard to case.
    Domain(String),
}

impl Match {
    fn holds(&self, request: &Request) -> bool {
        match self {
            Self::UserPrefix(prefix) => {
                request.uri.user().is_some_and(|user| user.starts_with(prefix.as_bytes()))
            }
            Self::Domain(domain) => {
                request.uri.host().is_some_and(|host| host.to_string().eq_ignore_ascii_case(domain))
            }
        }
    }
}

/// The application.
#[derive(Clone, Debug, Default)]
pub struct B2bua {
    config: Config,
}

impl B2bua {
    /// Takes its routing table.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    fn route(&self, request: &Request) -> Decision {
        let route = self.config.routes.iter().find(|route| route.when.holds(request));
        let next_hop = route.map(|route| &route.next_hop).or(self.config.default_next_hop.as_ref());
        let leg = OutboundLeg::new(request.uri.clone());
        match next_hop {
            Some(next_hop) => Decision::BackToBack(leg.via(next_hop.clone())),
            None if self.config.is_closed => Decision::Respond(Reply::new(StatusCode::NOT_FOUND)),
            None => Decision::BackToBack(leg),
        }
    }
}

impl Application for B2bua {
    fn name(&self) -> &str {
        "b2bua"
    }

    fn on_initial_request(&self, _cx: &mut Cx<'_>, request: &Request) -> Decision {
        match &request.method {
            Method::Invite => self.route(request),
            // RFC 3261 §11.2: "The response to an OPTIONS is constructed using the standard rules
            // for a SIP UAS response", and "Allow, Accept, Accept-Encoding, Accept-Language, and
            // Supported header fields SHOULD be present in a 200 (OK) response".
            Method::Options => Decision::Respond(
                Reply::new(StatusCode::OK)
                    .with(HeaderName::Allow, ALLOW)
                    .with(HeaderName::Accept, "application/sdp")
                    .with(HeaderName::AcceptEncoding, "identity")
                    .with(HeaderName::AcceptLanguage, "en"),
            ),
            // §21.5.2: "This is the appropriate response when a UAS does not recognize the request
            // method and is not capable of supporting it for any user."
            Method::Other(_) => Decision::Respond(refusal(StatusCode::NOT_IMPLEMENTED)),
            // §8.2.1: "If the UAS recognizes but does not support the method of a request, it MUST
            // generate a 405 (Method Not Allowed) response … The UAS MUST also add an Allow header
            // field".
            Method::Bye
            | Method::Update
            | Method::Prack
            | Method::Info
            | Method::Notify
            | Method::Refer
            | Method::Message
            | Method::Register
            | Method::Subscribe
            | Method::Publish
            | Method::Ack
            | Method::Cancel => Decision::Respond(refusal(StatusCode::METHOD_NOT_ALLOWED)),
        }
    }
}

fn refusal(status: StatusCode) -> Reply {
    Reply::new(status).with(HeaderName::Allow, ALLOW)
}

#[cfg(test)]
mod tests;
