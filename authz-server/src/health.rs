//! Probes. Liveness says that the process runs; readiness, that it can serve.

use ::web::{answer, certificate};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::app::App;

/// `GET /healthz`: always 200, so that nobody restarts a server whose database is away.
pub(crate) async fn live() -> HttpResponse {
    answer::json_bytes(br#"{"status":"ok"}"#.to_vec())
}

/// `GET /readyz`: 200 when the database answers, 503 otherwise.
pub(crate) async fn ready(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    match app.catch_up().await {
        Ok(()) => {
            let mut answer = json!({"status": "ready"});
            certificate::tell(&request, &mut answer);
            HttpResponse::Ok().json(answer)
        }
        Err(fault) => {
            tracing::warn!(reason = %fault, "not ready");
            answer::unavailable("the database is not available", 2)
        }
    }
}
