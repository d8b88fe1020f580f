//! Probes. `/healthz`: the program answers. `/readyz`: it can judge tokens of at least one issuer.

use ::web::{answer, certificate};
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::json;

use crate::app::Node;
use crate::issuers::TrustedIssuer;

/// The routes.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    config
        .service(answer::document("/healthz", alive))
        .service(answer::document("/readyz", ready));
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().json(json!({"status": "ok"}))
}

/// Keys are fetched when they are first needed; a probe is such a need, else a node behind a load balancer that waits
/// for this probe would never be asked anything.
async fn ready(node: web::Data<Node>, request: HttpRequest) -> HttpResponse {
    let asked = node.door.issuers().iter().map(TrustedIssuer::is_ready);
    let usable = futures_util::future::join_all(asked)
        .await
        .into_iter()
        .filter(|ready| *ready)
        .count();
    let issuers = node.door.issuers().iter().count();
    // A server behind the node that is away leaves the node's own tools and those of others.
    let (upstreams, usable_upstreams) = node.upstreams.count();
    let (status, word) = match usable {
        0 => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        _ if usable < issuers || usable_upstreams < upstreams => (StatusCode::OK, "degraded"),
        _ => (StatusCode::OK, "ready"),
    };
    let mut answer = json!({"status": word, "issuers": issuers, "usable_issuers": usable});
    if upstreams > 0 {
        answer["upstreams"] = upstreams.into();
        answer["usable_upstreams"] = usable_upstreams.into();
    }
    certificate::tell(&request, &mut answer);
    HttpResponse::build(status).json(answer)
}
