//! Probes. Liveness says that the process runs; readiness, that it can serve.

use std::sync::Arc;
use std::time::Duration;

use ::web::{answer, certificate};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::app::App;
use crate::db::{Db, NotReady};

/// How long what was found out stands.
const KNOWN_FOR: Duration = Duration::from_secs(2);

/// Whether newer releases left what this one needs. It is asked by one request at a time, and seldom: anybody may probe as
/// often as they like, and the connections are for tokens.
#[derive(Default)]
pub(crate) struct NewerMigrations(Mutex<Option<(Instant, Verdict)>>);

type Verdict = Result<(), Arc<NotReady>>;

impl NewerMigrations {
    async fn check(&self, db: &Db) -> Verdict {
        let mut known = self.0.lock().await;
        if let Some((at, verdict)) = &*known
            && at.elapsed() < KNOWN_FOR
        {
            return verdict.clone();
        }
        let verdict = db.check_newer_migrations().await.map_err(Arc::new);
        *known = Some((Instant::now(), verdict.clone()));
        verdict
    }
}

/// `GET /healthz`: always 200, so that nobody restarts a server whose database is away.
pub(crate) async fn live() -> HttpResponse {
    answer::json_bytes(br#"{"status":"ok"}"#.to_vec())
}

/// `GET /readyz`: 200 when the database answers and no newer release has taken from it what this one needs, 503 otherwise.
pub(crate) async fn ready(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let ready = match app.catch_up().await {
        Ok(()) => app.newer_migrations.check(&app.db).await,
        Err(fault) => Err(Arc::new(fault.into())),
    };
    match ready {
        Ok(()) => {
            let mut answer = json!({"status": "ready"});
            certificate::tell(&request, &mut answer);
            HttpResponse::Ok().json(answer)
        }
        Err(fault) => {
            tracing::warn!(reason = %fault, "not ready");
            let sentence = match *fault {
                NotReady::Db(_) => "the database is not available",
                NotReady::Newer(_) => "the database needs a newer version of this server",
            };
            answer::unavailable(sentence, 2)
        }
    }
}
