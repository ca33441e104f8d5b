//! Paths and what they serve, behind the checks of who asks.

use std::sync::Arc;

use axum::extract::{Query, Request as HttpRequest, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Json, Router};
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;

use super::clients::{Client, Phase};
use super::handle::{LoopHandle, Request};
use super::history::Position;
use super::web::WebConfig;
use super::{host, page};
use crate::metrics::labels::Refusal;
use crate::metrics::text::CONTENT_TYPE;

/// Asks the client for a name and a password.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"schedscope\", charset=\"UTF-8\"");

pub(super) fn router(handle: LoopHandle, is_local: bool, web: Arc<WebConfig>) -> Router {
    let router = Router::new()
        .route("/", get(page::index))
        .route("/page/{name}", get(page::file))
        .route("/api/history", get(history))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/healthz", get(healthz))
        .with_state(handle.clone())
        // Series differ in their labels' values only. What a better level saves is less than what it costs.
        .layer(CompressionLayer::new().quality(CompressionLevel::Fastest))
        .layer(from_fn_with_state(Arc::clone(&web), authorized));
    let router = if is_local { router.layer(from_fn_with_state((handle, Arc::clone(&web)), has_loopback_host)) } else { router };
    router.layer(from_fn_with_state(web, with_headers))
}

/// Refuses a request whose `Host` is not a loopback name, unless clients have to prove who they are.
async fn has_loopback_host(
    State((handle, web)): State<(LoopHandle, Arc<WebConfig>)>,
    request: HttpRequest,
    next: Next,
) -> Response {
    if host::are_loopback(request.headers()) || web.settings().is_guarded() {
        return next.run(request).await;
    }
    handle.refuse(Refusal::ForeignHost);
    (StatusCode::MISDIRECTED_REQUEST, host::MISDIRECTED).into_response()
}

/// Lets a client in if the web configuration does. Everything is behind it. From then on the client waits for us.
async fn authorized(
    State(web): State<Arc<WebConfig>>,
    Extension(client): Extension<Arc<Client>>,
    request: HttpRequest,
    next: Next,
) -> Response {
    if !web.authorize(request.headers().get(header::AUTHORIZATION), client.peer).await {
        let challenge = [(header::WWW_AUTHENTICATE, CHALLENGE)];
        return (StatusCode::UNAUTHORIZED, challenge, "a name and a password are needed\n").into_response();
    }
    client.enter(Phase::Working);
    next.run(request).await
}

async fn with_headers(
    State(web): State<Arc<WebConfig>>,
    Extension(client): Extension<Arc<Client>>,
    request: HttpRequest,
    next: Next,
) -> Response {
    let mut response = next.run(request).await;
    client.enter(Phase::Taking);
    response.headers_mut().extend(page::HEADERS);
    for (name, value) in &web.settings().headers {
        // A blank value removes the header, as in Prometheus.
        if value.is_empty() {
            response.headers_mut().remove(name);
        } else {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

async fn metrics(State(handle): State<LoopHandle>) -> Response {
    match handle.ask(Request::Metrics).await {
        Some(Ok(text)) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Some(Err(failure)) => unavailable(failure),
        None => stopping(),
    }
}

/// A page that gives no position gets everything.
async fn history(State(handle): State<LoopHandle>, Query(position): Query<Position>) -> Response {
    let answer = handle.ask(|reply| Request::History(position, reply)).await;
    answer.map_or_else(stopping, |answer| ([(header::CACHE_CONTROL, "no-store")], Json(answer)).into_response())
}

async fn status(State(handle): State<LoopHandle>) -> Response {
    handle.ask(Request::Status).await.map_or_else(stopping, |status| Json(status).into_response())
}

/// Healthy if the loop answers and its last reading succeeded.
async fn healthz(State(handle): State<LoopHandle>) -> Response {
    match handle.ask(Request::Health).await {
        Some(Some(reading)) => match reading.failure {
            None => "ok\n".into_response(),
            Some(failure) => unavailable(format!("{failure} ({:.1} s ago)", reading.at.elapsed().as_secs_f64())),
        },
        Some(None) => unavailable("nothing has been read yet".to_owned()),
        None => stopping(),
    }
}

fn unavailable(why: String) -> Response {
    (StatusCode::SERVICE_UNAVAILABLE, why + "\n").into_response()
}

fn stopping() -> Response {
    unavailable("the daemon is stopping".to_owned())
}
