//! The operator's HTTP: metrics, liveness, readiness, and what the node knows.
//!
//! It listens on 127.0.0.1 unless configured otherwise. Deliberately absent: anything that changes the node.

mod probe;

pub use probe::{get, status_of};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get as on_get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use std::sync::Arc;
use tokio::net::TcpListener;

/// What the pages show.
pub trait View: Send + Sync + 'static {
    /// Whether the process can make progress; else why not.
    fn live(&self) -> Result<(), String>;
    /// Whether the node serves; else why not.
    fn ready(&self) -> Result<(), String>;
    /// What else there is to know of a node that serves or does not: copies that are refilled, a folder set aside.
    fn notes(&self) -> serde_json::Value;
    /// Members, states, ring step, partitions.
    fn cluster(&self) -> serde_json::Value;
    /// Every actor.
    fn actors(&self) -> serde_json::Value;
    /// Makes an actor panic at its next step. Whether there is such an actor.
    #[cfg(feature = "faults")]
    fn inject_panic(&self, actor: &str, slot: u32) -> bool;
    /// Makes each read, write and sync of the disk take so much longer.
    #[cfg(feature = "faults")]
    fn slow_disk(&self, delay_ms: u64);
    /// Brings gauges that are read from elsewhere up to date.
    fn refresh_metrics(&self);
}

#[derive(Clone)]
struct Pages {
    view: Arc<dyn View>,
    metrics: PrometheusHandle,
}

/// Serves the pages until its task is ended.
pub async fn serve(
    listener: TcpListener,
    view: Arc<dyn View>,
    metrics: PrometheusHandle,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/metrics", on_get(metrics_page))
        .route("/live", on_get(|State(pages): State<Pages>| async move { health(pages.view.live()) }))
        .route("/ready", on_get(|State(pages): State<Pages>| async move { ready_page(&pages) }))
        .route(
            "/api/v1/cluster",
            on_get(|State(pages): State<Pages>| async move { Json(pages.view.cluster()) }),
        )
        .route(
            "/api/v1/actors",
            on_get(|State(pages): State<Pages>| async move { Json(pages.view.actors()) }),
        );
    #[cfg(feature = "faults")]
    let router = router
        .route("/faults/panic/{actor}/{slot}", axum::routing::post(panic_page))
        .route("/faults/slow-disk/{delay_ms}", axum::routing::post(slow_disk_page));
    let router = router.with_state(Pages { view, metrics });
    axum::serve(listener, router).await
}

async fn metrics_page(State(pages): State<Pages>) -> Response {
    pages.view.refresh_metrics();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], pages.metrics.render())
        .into_response()
}

/// Makes an actor panic at its next step.
#[cfg(feature = "faults")]
async fn panic_page(
    State(pages): State<Pages>,
    axum::extract::Path((actor, slot)): axum::extract::Path<(String, u32)>,
) -> StatusCode {
    if pages.view.inject_panic(&actor, slot) { StatusCode::NO_CONTENT } else { StatusCode::NOT_FOUND }
}

/// Makes the disk slow, or with 0 as it was.
#[cfg(feature = "faults")]
async fn slow_disk_page(
    State(pages): State<Pages>,
    axum::extract::Path(delay_ms): axum::extract::Path<u64>,
) -> StatusCode {
    pages.view.slow_disk(delay_ms);
    StatusCode::NO_CONTENT
}

fn ready_page(pages: &Pages) -> Response {
    let notes = pages.view.notes();
    match pages.view.ready() {
        Ok(()) => Json(serde_json::json!({ "ok": true, "notes": notes })).into_response(),
        Err(reason) => {
            let body = serde_json::json!({ "ok": false, "reason": reason, "notes": notes });
            (StatusCode::SERVICE_UNAVAILABLE, Json(body)).into_response()
        }
    }
}

fn health(state: Result<(), String>) -> Response {
    match state {
        Ok(()) => Json(serde_json::json!({ "ok": true })).into_response(),
        Err(reason) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "ok": false, "reason": reason })))
                .into_response()
        }
    }
}
