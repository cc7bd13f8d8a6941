//! An order of a balancer to a site, given as an operator gives it: by the site's admin API.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::time::Duration;

use admin_api::{ActivateOrder, ErrorReply, OrderReply};
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use vocab::SiteId;

use crate::config::file::Balancer;
use crate::event::Event;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// A process answers within this, or the next one is asked.
const ANSWER_WITHIN: Duration = Duration::from_secs(3);

/// Where each site takes orders.
pub(crate) struct Orders {
    events: mpsc::Sender<Event>,
    sites: BTreeMap<SiteId, Whom>,
}

#[derive(Clone)]
struct Whom {
    /// Of all its processes: who keeps the site's gate takes the order.
    addresses: Vec<SocketAddr>,
    token: Option<String>,
}

impl Orders {
    pub(crate) fn new(balancer: &Balancer, events: mpsc::Sender<Event>) -> Self {
        let whom = |site: &crate::config::file::BalancerSite| Whom {
            addresses: site.admin.0.clone(),
            token: site.admin_token.as_ref().map(|token| token.0.clone()),
        };
        let sites = balancer.site.iter().map(|site| (SiteId(site.id), whom(site))).collect();
        Self { events, sites }
    }

    /// Orders `at` to wake what it keeps for `home`. The answer is an event.
    pub(crate) fn activate(&self, home: SiteId, at: SiteId) {
        let events = self.events.clone();
        let whom = self.sites.get(&at).cloned();
        tokio::spawn(async move {
            let answer = match whom {
                Some(whom) => whom.activate(home).await,
                None => Err(format!("nobody knows how to reach site {}", at.0)),
            };
            // The owner ends with the process.
            drop(events.send(Event::Ordered { home, answer }).await);
        });
    }
}

impl Whom {
    async fn activate(&self, home: SiteId) -> Result<u64, String> {
        let order = ActivateOrder { site: home.0, force: false };
        let body = serde_json::to_vec(&order).map_err(|error| error.to_string())?;
        let body = Bytes::from(body);
        let mut refusals = Vec::new();
        for address in &self.addresses {
            let asked = post(*address, self.token.as_deref(), body.clone());
            match tokio::time::timeout(ANSWER_WITHIN, asked).await {
                Ok(Ok(calls)) => return Ok(calls),
                Ok(Err(why)) => refusals.push(format!("{address}: {why}")),
                Err(_) => refusals.push(format!("{address}: no answer")),
            }
        }
        Err(refusals.join("; "))
    }
}

async fn post(address: SocketAddr, token: Option<&str>, body: Bytes) -> Result<u64, String> {
    fn said(error: impl Display) -> String {
        error.to_string()
    }
    let stream = TcpStream::connect(address).await.map_err(said)?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    // Its errors come out at the request, too; it ends with the sender.
    tokio::spawn(async move { drop(connection.await) });
    let mut request = Request::post("/v1/backup/activate")
        .header(header::HOST, address.to_string())
        .header(header::CONTENT_TYPE, "application/json");
    if let Some(token) = token {
        request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
    }
    let request = request.body(Full::new(body)).map_err(said)?;
    let response = sender.send_request(request).await.map_err(said)?;
    let is_taken = response.status().is_success();
    let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
    let body = body.map_err(said)?.to_bytes();
    if is_taken {
        return serde_json::from_slice::<OrderReply>(&body).map(|reply| reply.calls).map_err(said);
    }
    let refusal = serde_json::from_slice::<ErrorReply>(&body);
    Err(refusal.map_or_else(|_| "it refuses".to_owned(), |refusal| refusal.error))
}
