//! The admin server: HTTP in front of the owner's event channel.
//!
//! Handlers check the token, read the request and ask the owner; the owner's answer is the body.
//! No state is kept here. TLS is deliberately absent: bind loopback, or a private network with a
//! token.

mod bounded;
pub(crate) mod metrics;

use std::time::Duration;

use admin_api::{
    ActivateOrder, BackupOrder, CancelOrder, ErrorReply, EvacuateOrder, ForgetOrder, MoveOrder,
    ReplicationOrder, RetargetOrder, ReturnOrder, RouteOrder, StopOrder, SweepOrder,
};
use axum::Router;
use axum::body::Body as HttpBody;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Json, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use vocab::{CallKey, SiteId};

use crate::event::Event;

/// Bytes of a request body.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Calls on a page, at most and unless asked.
const PAGE_MAX: usize = 1_000;
const PAGE: usize = 100;
/// The owner answers within this, or the client hears 503.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// What may be asked of the owner.
#[derive(Debug)]
pub(crate) enum Ask {
    Status,
    Metrics,
    Sites,
    Calls { cursor: Option<CallKey>, limit: usize, marked: bool },
    Call(CallKey),
    Quarantine,
    Quarantined(CallKey),
    DropQuarantined(Option<CallKey>),
    Statistics,
    Backup,
    Activate(ActivateOrder),
    StopActivating(SiteId),
    Delete(BackupOrder),
    Replication(SiteId, bool),
    Retarget(RetargetOrder),
    Sweep(SweepOrder),
    Evacuate(EvacuateOrder),
    Return(ReturnOrder),
    Partitions,
    MoveSlots(MoveOrder),
    CancelMove(CancelOrder),
    Refound,
    Route,
    SetRoute(RouteOrder),
    Forget(Option<CallKey>),
}

/// What the owner says.
pub(crate) type Answer = Result<Body, Refusal>;

/// A body and what it is.
#[derive(Debug)]
pub(crate) struct Body {
    content_type: &'static str,
    text: String,
}

impl Body {
    pub(crate) fn json(value: &impl Serialize) -> Answer {
        match serde_json::to_string(value) {
            Ok(text) => Ok(Self { content_type: "application/json", text }),
            Err(error) => Err(Refusal { status: 500, error: error.to_string() }),
        }
    }

    pub(crate) fn metrics(
        status: &admin_api::StatusReply,
        crossing: Option<&admin_api::StatisticsReply>,
    ) -> Self {
        Self { content_type: metrics::CONTENT_TYPE, text: metrics::print(status, crossing) }
    }
}

/// Why something was not done.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    pub(crate) error: String,
}

impl Refusal {
    pub(crate) fn wrong_role(why: &str) -> Self {
        Self { status: 404, error: why.into() }
    }

    pub(crate) fn bad(error: String) -> Self {
        Self { status: 400, error }
    }

    /// Well asked, and not possible as things stand.
    pub(crate) fn conflict(error: String) -> Self {
        Self { status: 409, error }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::BAD_REQUEST);
        (status, Json(ErrorReply { error: self.error })).into_response()
    }
}

type Owner = mpsc::Sender<Event>;

/// Serves the admin API on `listener` for ever.
pub(crate) fn start(listener: TcpListener, owner: Owner, token: Option<String>) {
    let router = router(owner, token);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(bounded::Bounded::new(listener), router).await {
            tracing::error!(%error, "the admin server ended");
        }
    });
}

fn router(owner: Owner, token: Option<String>) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/sites", get(sites))
        .route("/v1/calls", get(calls))
        .route("/v1/calls/{key}", get(call))
        .route("/v1/quarantine", get(quarantine).delete(drop_all_quarantined))
        .route("/v1/quarantine/{key}", get(quarantined).delete(drop_quarantined))
        .route("/v1/statistics", get(statistics))
        .route("/v1/backup", get(backup))
        .route("/v1/backup/activate", post(activate))
        .route("/v1/backup/activate/stop", post(stop_activating))
        .route("/v1/backup/delete", post(delete))
        .route("/v1/replication", post(replication))
        .route("/v1/replication/retarget", post(retarget))
        .route("/v1/replication/sweep", post(sweep))
        .route("/v1/evacuate", post(evacuate))
        .route("/v1/return", post(steer_return))
        .route("/v1/partitions", get(partitions))
        .route("/v1/partitions/move", post(move_slots))
        .route("/v1/partitions/move/cancel", post(cancel_move))
        .route("/v1/partitions/refound", post(refound))
        .route("/v1/route", get(route).post(set_route))
        .route("/v1/test/forget", post(forget))
        .route("/v1/openapi.json", get(openapi))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn_with_state(token, want_token))
        .with_state(owner)
}

/// Compares without saying by its time how much of a guess was right.
fn is_same(one: &str, other: &str) -> bool {
    let differences = one.bytes().zip(other.bytes()).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differences == 0
}

async fn want_token(State(token): State<Option<String>>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    if token.is_none_or(|token| is_same(&token, given)) {
        return next.run(request).await;
    }
    Refusal { status: 401, error: "give the token as `Authorization: Bearer`".into() }
        .into_response()
}

async fn ask(owner: &Owner, ask: Ask) -> Response {
    let (answer, said) = oneshot::channel();
    let asked = async {
        owner.send(Event::Admin(ask, answer)).await.ok()?;
        said.await.ok()
    };
    match tokio::time::timeout(ANSWER_WITHIN, asked).await {
        Ok(Some(Ok(body))) => Response::builder()
            .header(header::CONTENT_TYPE, body.content_type)
            .body(HttpBody::from(body.text))
            .unwrap_or_else(|error| {
                Refusal { status: 500, error: error.to_string() }.into_response()
            }),
        Ok(Some(Err(refusal))) => refusal.into_response(),
        Ok(None) | Err(_) => {
            Refusal { status: 503, error: "the node does not answer".into() }.into_response()
        }
    }
}

async fn status(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Status).await
}

async fn metrics(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Metrics).await
}

async fn sites(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Sites).await
}

#[derive(Debug, Deserialize)]
struct Page {
    limit: Option<usize>,
    cursor: Option<String>,
    marked: Option<bool>,
}

async fn calls(
    State(owner): State<Owner>,
    page: Result<Query<Page>, QueryRejection>,
) -> Result<Response, Refusal> {
    let Query(page) = page.map_err(|error| Refusal::bad(error.body_text()))?;
    let cursor = page.cursor.as_deref().map(key).transpose()?;
    let limit = page.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    let marked = page.marked.unwrap_or_default();
    Ok(ask(&owner, Ask::Calls { cursor, limit, marked }).await)
}

async fn call(State(owner): State<Owner>, Path(text): Path<String>) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::Call(key(&text)?)).await)
}

async fn quarantine(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Quarantine).await
}

async fn quarantined(
    State(owner): State<Owner>,
    Path(text): Path<String>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::Quarantined(key(&text)?)).await)
}

async fn drop_quarantined(
    State(owner): State<Owner>,
    Path(text): Path<String>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::DropQuarantined(Some(key(&text)?))).await)
}

async fn drop_all_quarantined(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::DropQuarantined(None)).await
}

fn key(text: &str) -> Result<CallKey, Refusal> {
    CallKey::from_hex(text)
        .ok_or_else(|| Refusal::bad(format!("`{text}` is not a key of 32 hexadecimal digits")))
}

async fn statistics(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Statistics).await
}

async fn backup(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Backup).await
}

/// A body of JSON, or why it is none.
type Given<T> = Result<Json<T>, JsonRejection>;

fn given<T>(body: Given<T>) -> Result<T, Refusal> {
    body.map(|Json(value)| value).map_err(|error| Refusal::bad(error.body_text()))
}

async fn activate(
    State(owner): State<Owner>,
    body: Given<ActivateOrder>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::Activate(given(body)?)).await)
}

async fn delete(State(owner): State<Owner>, body: Given<BackupOrder>) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::Delete(given(body)?)).await)
}

async fn stop_activating(
    State(owner): State<Owner>,
    body: Given<StopOrder>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::StopActivating(SiteId(given(body)?.site))).await)
}

async fn replication(
    State(owner): State<Owner>,
    body: Given<ReplicationOrder>,
) -> Result<Response, Refusal> {
    let order = given(body)?;
    Ok(ask(&owner, Ask::Replication(SiteId(order.site), order.on)).await)
}

async fn retarget(
    State(owner): State<Owner>,
    body: Given<RetargetOrder>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::Retarget(given(body)?)).await)
}

async fn sweep(State(owner): State<Owner>, body: Given<SweepOrder>) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::Sweep(given(body)?)).await)
}

async fn evacuate(
    State(owner): State<Owner>,
    body: Given<EvacuateOrder>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::Evacuate(given(body)?)).await)
}

async fn steer_return(
    State(owner): State<Owner>,
    body: Given<ReturnOrder>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::Return(given(body)?)).await)
}

async fn partitions(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Partitions).await
}

async fn move_slots(
    State(owner): State<Owner>,
    body: Given<MoveOrder>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::MoveSlots(given(body)?)).await)
}

async fn cancel_move(
    State(owner): State<Owner>,
    body: Given<CancelOrder>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::CancelMove(given(body)?)).await)
}

async fn refound(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Refound).await
}

async fn route(State(owner): State<Owner>) -> Response {
    ask(&owner, Ask::Route).await
}

async fn set_route(
    State(owner): State<Owner>,
    body: Given<RouteOrder>,
) -> Result<Response, Refusal> {
    Ok(ask(&owner, Ask::SetRoute(given(body)?)).await)
}

async fn forget(State(owner): State<Owner>, body: Given<ForgetOrder>) -> Result<Response, Refusal> {
    let key = given(body)?.key.as_deref().map(key).transpose()?;
    Ok(ask(&owner, Ask::Forget(key)).await)
}

async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], admin_api::OPENAPI)
}

async fn unknown(request: Request) -> Refusal {
    let error = format!("no such route: {}; see /v1/openapi.json", request.uri().path());
    Refusal { status: 404, error }
}

#[cfg(test)]
mod tests;
