//! Probes. Liveness says that the process runs; readiness, that it can serve.

use ::web::{answer, certificate};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::app::App;
use crate::db::NotReady;

/// `GET /healthz`: always 200, so that nobody restarts a server whose database is away.
pub(crate) async fn live() -> HttpResponse {
    answer::json_bytes(br#"{"status":"ok"}"#.to_vec())
}

/// `GET /readyz`: 200 when the database answers and no newer release has taken from it what this one needs, 503 otherwise.
pub(crate) async fn ready(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let ready = match app.catch_up().await {
        Ok(()) => app.db.check_newer_migrations().await,
        Err(fault) => Err(fault.into()),
    };
    match ready {
        Ok(()) => {
            let mut answer = json!({"status": "ready"});
            certificate::tell(&request, &mut answer);
            HttpResponse::Ok().json(answer)
        }
        Err(fault) => {
            tracing::warn!(reason = %fault, "not ready");
            let sentence = match fault {
                NotReady::Db(_) => "the database is not available",
                NotReady::Newer(_) => "the database needs a newer version of this server",
            };
            answer::unavailable(sentence, 2)
        }
    }
}
