//! Browsers: whose pages may call, and what they may read of the answer (MCP transports, "Security Warning"; Fetch).

use std::collections::HashSet;

use ::web::answer;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpResponse, web};

use crate::app::{CALLERS, Node};
use crate::config::Cors;
use crate::gate::{came_from, remembering};

/// What a page may send beside what every page may.
const REQUEST_HEADERS: &str = "Authorization, Content-Type, Accept, DPoP, Last-Event-ID, MCP-Protocol-Version, \
                               Mcp-Method, Mcp-Name, Mcp-Session-Id, traceparent, tracestate, baggage";
/// What a page may read: without `WWW-Authenticate` a browser client could not find the authorization server.
const ANSWER_HEADERS: &str =
    "WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy, DPoP-Nonce, Mcp-Session-Id";
/// Headers that mirror arguments of tools (MCP 2026-07-28, "x-mcp-header"): which ones there are depends on the tool.
const MIRRORED: &str = "mcp-param-";
/// So many of them in one preflight.
const MAX_MIRRORED: usize = 32;

/// The web origins whose pages may call.
#[derive(Debug)]
pub(crate) struct Origins {
    listed: HashSet<String>,
    hosts: HashSet<String>,
    /// What a page may send.
    request_headers: String,
    /// What a page may read.
    answer_headers: HeaderValue,
    /// Seconds for which a browser remembers the answer to a preflight.
    max_age: u64,
}

impl Origins {
    /// The configured origins, and pages that one of our own `hosts` serves.
    pub(crate) fn new(listed: &[String], hosts: &[String], cors: &Cors) -> Self {
        let answer_headers = with(ANSWER_HEADERS, &cors.answer_headers);
        Self {
            listed: listed.iter().cloned().collect(),
            hosts: hosts.iter().cloned().collect(),
            request_headers: with(REQUEST_HEADERS, &cors.request_headers),
            answer_headers: HeaderValue::from_str(&answer_headers)
                .unwrap_or(HeaderValue::from_static(ANSWER_HEADERS)),
            max_age: cors.max_age.as_secs(),
        }
    }

    /// What a page may send, with those headers that mirror arguments of a tool and are asked for.
    fn request_headers(&self, asked: &HeaderMap) -> String {
        let mut text = self.request_headers.clone();
        let names = asked.get_all(header::ACCESS_CONTROL_REQUEST_HEADERS);
        let mirrored = names
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(','))
            .filter_map(|name| name.trim().parse::<HeaderName>().ok())
            .filter(|name| name.as_str().starts_with(MIRRORED));
        for name in mirrored.take(MAX_MIRRORED) {
            text.push_str(", ");
            text.push_str(name.as_str());
        }
        text
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

fn with(fixed: &str, more: &[HeaderName]) -> String {
    more.iter()
        .fold(fixed.to_owned(), |text, name| format!("{text}, {name}"))
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
    let is_allowed = |node: &web::Data<Node>| {
        value
            .to_str()
            .is_ok_and(|origin| node.origins.load().allow(origin))
    };
    let node = request.app_data::<web::Data<Node>>().cloned();
    let Some(node) = node.filter(|node| is_single && is_allowed(node)) else {
        tracing::info!(target: CALLERS, origin = ?value, "a foreign web page was turned away");
        let sentence = "pages of this origin may not call; see [server] allowed_origins";
        return Ok(request.into_response(answer::error(StatusCode::FORBIDDEN, "invalid_request", sentence)));
    };
    let origins = node.origins.load_full();
    let mut response = if is_preflight(request.method(), request.headers()) {
        let may_send = origins.request_headers(request.headers());
        request.into_response(preflight_answer("GET, POST, DELETE", may_send, origins.max_age))
    } else {
        next.call(request).await?.map_into_boxed_body()
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, value);
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        origins.answer_headers.clone(),
    );
    Ok(response)
}

/// The middleware for public documents: every page may read them.
pub(crate) async fn open(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let mut response = if is_preflight(request.method(), request.headers()) {
        request.into_response(preflight_answer("GET, HEAD", REQUEST_HEADERS.to_owned(), 600))
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

fn preflight_answer(methods: &'static str, headers: String, max_age: u64) -> HttpResponse {
    HttpResponse::NoContent()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, headers))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, max_age))
        .finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preflight_names_what_a_page_may_send() {
        let cors = Cors {
            request_headers: vec![HeaderName::from_static("x-tenant")],
            ..Cors::default()
        };
        let origins = Origins::new(&[], &[], &cors);
        let asked = |names: &str| {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(names).unwrap();
            headers.insert(header::ACCESS_CONTROL_REQUEST_HEADERS, value);
            origins.request_headers(&headers)
        };
        let usual = asked("authorization, x-evil");
        assert!(usual.ends_with("baggage, x-tenant"), "{usual}");
        assert_eq!(
            asked("Mcp-Param-Region,mcp-param-a b, mcp-parameter, mcp-param-x"),
            format!("{usual}, mcp-param-region, mcp-param-x")
        );
        let many = vec!["mcp-param-x"; 100].join(",");
        assert_eq!(asked(&many).matches("mcp-param-").count(), MAX_MIRRORED);
    }

    #[test]
    fn listed_origins_and_our_own_hosts_pass_and_nothing_else() {
        let hosts = ["localhost:8080", "node.example"].map(str::to_owned);
        let origins = Origins::new(&["https://app.example".to_owned()], &hosts, &Cors::default());
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
