//! The routes are those of the OpenAPI document, and only the token opens them.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// A server whose owner answers everything with `{}`.
async fn server(token: Option<&str>) -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (owner, mut events) = crate::event::channel();
    start(listener, owner, token.map(str::to_owned));
    tokio::spawn(async move {
        while let Some(event) = events.recv().await {
            if let Event::Admin(_, answer) = event {
                answer.send(Body::json(&serde_json::json!({}))).unwrap();
            }
        }
    });
    address
}

async fn ask_http(
    address: std::net::SocketAddr,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &str,
) -> u16 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let authorization =
        token.map_or_else(String::new, |token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{authorization}\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.unwrap();
    reply.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test(flavor = "current_thread")]
async fn every_route_of_the_document_is_served() {
    let address = server(None).await;
    for (method, path) in admin_api::ROUTES {
        let path = path.replace("{key}", "000102030405060708090a0b0c0d0e0f");
        let body = if path.ends_with("/retarget") {
            r#"{"to":2}"#
        } else if path.ends_with("/evacuate") {
            r#"{"from":1,"to":2}"#
        } else if path.ends_with("/return") {
            r#"{"order":"pause"}"#
        } else if path.contains("replication") {
            r#"{"site":2,"on":true}"#
        } else if path.contains("backup/") {
            r#"{"site":2}"#
        } else if path.ends_with("/move") {
            r#"{"from":0,"to":2,"replicas":3}"#
        } else if path.ends_with("/cancel") {
            r#"{"from":0,"to":2}"#
        } else {
            "{}"
        };
        let status = ask_http(address, &method.to_uppercase(), &path, None, body).await;
        assert_eq!(status, 200, "{method} {path}");
    }
    assert_eq!(ask_http(address, "GET", "/v1/nothing", None, "").await, 404);
}

#[tokio::test(flavor = "current_thread")]
async fn bad_requests_are_told_so() {
    let address = server(None).await;
    for (method, path, body, want) in [
        ("GET", "/v1/calls/xyz", "", 400),
        ("GET", "/v1/calls?limit=many", "", 400),
        ("GET", "/v1/calls?cursor=1", "", 400),
        ("POST", "/v1/backup/activate", "{}", 400),
        ("POST", "/v1/backup/activate", "not json", 400),
        ("DELETE", "/v1/status", "", 405),
    ] {
        assert_eq!(ask_http(address, method, path, None, body).await, want, "{method} {path}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_node_with_a_token_wants_it() {
    let address = server(Some("open sesame")).await;
    assert_eq!(ask_http(address, "GET", "/v1/status", None, "").await, 401);
    assert_eq!(ask_http(address, "GET", "/v1/status", Some("open sesam"), "").await, 401);
    assert_eq!(ask_http(address, "GET", "/v1/status", Some("open sesame"), "").await, 200);
}
