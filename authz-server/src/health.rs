//! Probes. Liveness says that the process runs; readiness, that it can serve.

use ::web::answer;
use actix_web::{HttpResponse, web};

use crate::app::App;

/// `GET /healthz`: always 200, so that nobody restarts a server whose database is away.
pub(crate) async fn live() -> HttpResponse {
    answer::json_bytes(br#"{"status":"ok"}"#.to_vec())
}

/// `GET /readyz`: 200 when the database answers, 503 otherwise.
pub(crate) async fn ready(app: web::Data<App>) -> HttpResponse {
    match app.catch_up().await {
        Ok(()) => answer::json_bytes(br#"{"status":"ready"}"#.to_vec()),
        Err(fault) => {
            tracing::warn!(reason = %fault, "not ready");
            answer::unavailable("the database is not available", 2)
        }
    }
}
