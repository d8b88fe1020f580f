//! Browsers: whose pages may call, and what they may read of the answer (MCP transports, "Security Warning"; Fetch).

use std::collections::HashSet;

use ::web::answer;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use crate::app::{CALLERS, Node};
use crate::gate::{came_from, remembering};

/// What a page may send beside what every page may.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, DPoP, Last-Event-ID, MCP-Protocol-Version, \
                               Mcp-Method, Mcp-Name, Mcp-Session-Id, traceparent, tracestate, baggage";
/// What a page may read: without `WWW-Authenticate` a browser client could not find the authorization server.
const ANSWER_HEADERS: &str =
    "Mcp-Session-Id, WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy, DPoP-Nonce";

/// The web origins whose pages may call.
#[derive(Debug)]
pub(crate) struct Origins {
    listed: HashSet<String>,
    hosts: HashSet<String>,
}

impl Origins {
    /// The configured origins, and pages that one of our own `hosts` serves.
    pub(crate) fn new(listed: &[String], hosts: &[String]) -> Self {
        Self {
            listed: listed.iter().cloned().collect(),
            hosts: hosts.iter().cloned().collect(),
        }
    }

    fn allow(&self, origin: &str) -> bool {
        if self.listed.contains(origin) {
            return true;
        }
        // A page of our own host is not foreign. Over plain http it can only be this machine.
        match origin.split_once("://") {
            Some(("https", host)) => self.hosts.contains(host),
            Some(("http", host)) => self.hosts.contains(host) && is_local(host),
            _ => false,
        }
    }
}

fn is_local(host: &str) -> bool {
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    matches!(name, "localhost" | "127.0.0.1" | "[::1]")
}

/// The middleware for endpoints that carry tokens: a foreign page gets 403, a preflight its answer before any
/// authentication, every other answer the headers that let the page read it.
///
/// Where proofs need a nonce, every answer carries the next one (RFC 9449 §8.2).
pub(crate) async fn guard(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let node = request.app_data::<web::Data<Node>>().cloned();
    let from = came_from(request.request());
    let mut response = remembering(from, screen(request, next)).await?;
    if let Some(node) = node.filter(|node| node.door.nonces().are_required()) {
        node.offer_nonce(response.headers_mut());
    }
    Ok(response)
}

async fn screen(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(value) = request.headers().get(header::ORIGIN).cloned() else {
        return Ok(next.call(request).await?.map_into_boxed_body());
    };
    // Two of them could be understood in two ways (RFC 6454 §7.3: a user agent sends one at most).
    let is_single = request.headers().get_all(header::ORIGIN).count() == 1;
    let is_allowed = |node: &web::Data<Node>| value.to_str().is_ok_and(|origin| node.origins.allow(origin));
    let allowed = is_single && request.app_data().is_some_and(is_allowed);
    if !allowed {
        tracing::info!(target: CALLERS, origin = ?value, "a foreign web page was turned away");
        let sentence = "pages of this origin may not call; see [server] allowed_origins";
        return Ok(request.into_response(answer::error(StatusCode::FORBIDDEN, "invalid_request", sentence)));
    }
    let mut response = if is_preflight(request.method(), request.headers()) {
        request.into_response(preflight_answer("GET, POST, DELETE"))
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(ANSWER_HEADERS),
    );
    Ok(response)
}

/// The middleware for public documents: every page may read them.
pub(crate) async fn open(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = if is_preflight(request.method(), request.headers()) {
        request.into_response(preflight_answer("GET, HEAD"))
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    response
        .headers_mut()
        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(response)
}

fn is_preflight(method: &Method, headers: &HeaderMap) -> bool {
    method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

fn preflight_answer(methods: &'static str) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, "600"))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_origins_and_our_own_hosts_pass_and_nothing_else() {
        let hosts = ["localhost:8080", "node.example"].map(str::to_owned);
        let origins = Origins::new(&["https://app.example".to_owned()], &hosts);
        for good in [
            "https://app.example",
            "http://localhost:8080",
            "https://localhost:8080",
            "https://node.example",
        ] {
            assert!(origins.allow(good), "{good}");
        }
        let bad = [
            "https://evil.example",
            "null",
            "",
            "http://node.example",
            "http://localhost:9999",
            "https://app.example.evil",
            "http://app.example",
            "ftp://localhost:8080",
            "https://app.example:8443",
        ];
        for bad in bad {
            assert!(!origins.allow(bad), "{bad}");
        }
    }
}
