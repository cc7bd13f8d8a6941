//! The admin API from outside: one HTTP/1.1 connection a question.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use admin_api::{OrderReply, RouteOrder, RouteReply, StatusReply};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::netns::{self, Host};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Somebody who answers at an admin address.
#[derive(Clone, Debug)]
pub(crate) struct Admin {
    pub(crate) address: SocketAddr,
    /// Where it is asked from: from beside it, when it runs on a host of a network.
    pub(crate) host: Option<Host>,
}

impl Admin {
    /// `GET /v1/status`.
    pub(crate) fn status(&self) -> Result<StatusReply, String> {
        self.get("/v1/status")
    }

    /// Calls of home `home` are served by site `by`; new calls go by `weights`.
    pub(crate) fn route(&self, home: u16, by: u16, weights: &[(u16, u32)]) -> RouteReply {
        self.routes(&[(home, by)], weights)
    }

    /// The same of several homes.
    pub(crate) fn routes(&self, serves: &[(u16, u16)], weights: &[(u16, u32)]) -> RouteReply {
        let order = RouteOrder {
            version: None,
            serves: serves.iter().copied().collect(),
            weights: Some(weights.iter().copied().collect()),
        };
        self.post("/v1/route", &order).expect("the balancer takes a route")
    }

    /// `POST /v1/test/forget`: one dormant call is lost, as a fault.
    pub(crate) fn forget(&self) -> Result<OrderReply, String> {
        self.post("/v1/test/forget", &admin_api::ForgetOrder::default())
    }

    /// Asks for `path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, String> {
        self.ask("GET", path, "")
    }

    /// Posts `body` to `path`.
    pub(crate) fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, String> {
        let body = serde_json::to_string(body).map_err(|error| error.to_string())?;
        self.ask("POST", path, &body)
    }

    fn ask<T: DeserializeOwned>(&self, method: &str, path: &str, body: &str) -> Result<T, String> {
        let told = |error: String| format!("{method} http://{}{path}: {error}", self.address);
        let answer = self.exchange(method, path, body).map_err(|error| told(error.to_string()))?;
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(|| told("no HTTP answer".into()))?;
        let head = String::from_utf8_lossy(&answer[..end]);
        let body = &answer[end + 4..];
        if !head.starts_with("HTTP/1.1 2") {
            let line = head.lines().next().unwrap_or_default();
            return Err(told(format!("{line}: {}", String::from_utf8_lossy(body))));
        }
        serde_json::from_slice(body).map_err(|error| told(error.to_string()))
    }

    fn exchange(&self, method: &str, path: &str, body: &str) -> std::io::Result<Vec<u8>> {
        let connect = || TcpStream::connect_timeout(&self.address, TIMEOUT);
        let mut stream = netns::on(self.host.as_ref(), connect)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}
