//! The demo's window on a process: the few questions it asks of an admin API.

use std::net::SocketAddr;
use std::time::Duration;

use admin_api::{ForgetOrder, OrderReply, RouteOrder, RouteReply, StatusReply};

use super::problem::Problem;
use crate::client::{Client, ClientError};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Somebody who answers at an admin port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Admin(pub(super) SocketAddr);

impl Admin {
    pub(super) fn status(self) -> Result<StatusReply, Problem> {
        self.ask("status", |client| client.get("/v1/status"))
    }

    pub(super) fn route(self, order: &RouteOrder) -> Result<RouteReply, Problem> {
        self.ask("route", |client| client.post("/v1/route", order))
    }

    /// A fault on purpose: any one dormant call is removed.
    pub(super) fn forget(self) -> Result<OrderReply, Problem> {
        self.ask("forget", |client| client.post("/v1/test/forget", &ForgetOrder::default()))
    }

    fn ask<T>(
        self,
        what: &str,
        ask: impl FnOnce(&Client) -> Result<T, ClientError>,
    ) -> Result<T, Problem> {
        Client::new(&self.0.to_string(), None)
            .map(|client| client.waiting(TIMEOUT))
            .and_then(|client| ask(&client))
            .map_err(Problem::during(format!("{what} of {}", self.0)))
    }
}
