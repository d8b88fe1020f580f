//! What happens to every request and answer, whatever the endpoint: the path is plain, the host is ours, a panic is
//! an answer, the headers are safe, the answer is counted.

use std::collections::HashSet;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage, HttpResponse, ResponseError, web};
use futures_util::FutureExt;
use ipnet::IpNet;
use shared::trace::{self, Serving};

use crate::address::{ClientAddress, is_forwarded};
use crate::answer;
use crate::client_certificate;
use crate::metrics::Metrics;

/// The settings of the frame.
#[derive(Debug)]
pub struct Frame {
    /// Values of `Host` that are ours, lower case, with the port if it is not the default one.
    pub hosts: HashSet<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Whether those proxies pass the certificates of clients on (RFC 9440).
    pub client_certificate_header: bool,
    /// Whether browsers are told to use https only: when we, or the proxy before us, speak TLS.
    pub strict_transport: bool,
    /// Path prefixes below which percent-encoded slashes are data, not tricks.
    pub encoded_below: &'static [&'static str],
    /// What is answered at an address that cannot be read in one way only; a part of the server may have a form of its own.
    pub not_found: fn(&ServiceRequest) -> HttpResponse,
    /// Where answers are counted.
    pub metrics: Arc<Metrics>,
    /// Whether `/metrics` is served beside everything else, to callers on this machine only.
    pub local_metrics: bool,
}

/// The middleware. It is the outermost one.
pub(crate) async fn stand(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let Some(frame) = request.app_data::<web::Data<Frame>>().cloned() else {
        return Err(actix_web::error::ErrorInternalServerError(
            "the frame is not in place",
        ));
    };
    let address = ClientAddress::resolve(&request, &frame.trusted_proxies);
    request.extensions_mut().insert(address);
    let from_header = frame.client_certificate_header;
    if let Some(shown) = client_certificate::resolve(&request, &frame.trusted_proxies, from_header) {
        request.extensions_mut().insert(shown);
    }
    let method = request.method().clone();
    let span = begin_span(&mut request);
    let mut response = match frame.refusal(&request, address) {
        Some(refusal) => request.into_response(refusal),
        None => match AssertUnwindSafe(in_span(span.as_ref(), next.call(request)))
            .catch_unwind()
            .await
        {
            Ok(answered) => answered?.map_into_boxed_body(),
            Err(_) => {
                frame.metrics.panicked();
                let strict_transport = frame.strict_transport;
                return Err(Panicked { strict_transport }.into());
            }
        },
    };
    harden(response.headers_mut(), frame.strict_transport);
    let (status, time) = (response.status().as_u16(), started.elapsed());
    let route = response
        .request()
        .match_pattern()
        .unwrap_or_else(|| "other".to_owned());
    tracing::debug!(method = %response.request().method(), route, status, client = %address.0, micros = time.as_micros(), "answered");
    if let Some(span) = span {
        span.end(method.as_str(), &route, status);
    }
    frame.metrics.answered(route, status, time);
    Ok(response)
}

/// Begins the span of a request, if traces are made. Whoever reads its `traceparent` later reads the name of this span.
fn begin_span(request: &mut ServiceRequest) -> Option<Serving> {
    let headers = request.headers();
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let span = trace::serve(request.method().as_str(), header)?;
    if let Ok(value) = HeaderValue::from_str(&span.traceparent()) {
        let name = HeaderName::from_static(trace::TRACEPARENT);
        request.headers_mut().insert(name, value);
    }
    Some(span)
}

async fn in_span<T>(span: Option<&Serving>, work: impl Future<Output = T>) -> T {
    match span {
        Some(span) => span.around(work).await,
        None => work.await,
    }
}

impl Frame {
    fn refusal(&self, request: &ServiceRequest, address: ClientAddress) -> Option<HttpResponse> {
        let path = request.uri().path();
        if matches!(path, "/healthz" | "/readyz") {
            return None;
        }
        if path == "/metrics" {
            let allowed = self.local_metrics
                && address.0.to_canonical().is_loopback()
                && !is_forwarded(request.headers())
                && is_local_name(request.headers());
            return (!allowed).then(answer::nothing);
        }
        if !is_plain(path, self.encoded_below) {
            return Some((self.not_found)(request));
        }
        let host = request
            .headers()
            .get(header::HOST)
            .and_then(|value| value.to_str().ok());
        // A request line may name a host too, and then outranks the header (RFC 9112 §3.2.2).
        let named = request.uri().authority().map(|authority| authority.as_str());
        if !host.is_some_and(|host| self.knows_host(host)) || named.is_some_and(|name| !self.knows_host(name))
        {
            let sentence = "this server does not answer for that host name";
            return Some(answer::error(
                StatusCode::MISDIRECTED_REQUEST,
                "invalid_request",
                sentence,
            ));
        }
        None
    }

    fn knows_host(&self, host: &str) -> bool {
        self.hosts.contains(host) || self.hosts.contains(&host.to_ascii_lowercase())
    }
}

/// What every answer carries, a panic's too.
fn harden(headers: &mut HeaderMap, strict_transport: bool) {
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; frame-ancestors 'none'",
        ),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        set_default(headers, name, value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if strict_transport {
        set_default(headers, header::STRICT_TRANSPORT_SECURITY, "max-age=63072000");
    }
}

fn set_default(headers: &mut HeaderMap, name: HeaderName, value: &'static str) {
    if !headers.contains_key(&name) {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether a path has one reading only. A proxy and we could understand `;`, `//`, dot segments and percent-encoding
/// in different ways (CVE-2026-0976), and no address of ours contains them.
pub fn is_plain(path: &str, encoded_below: &[&str]) -> bool {
    if path.contains([';', '\\']) || path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return false;
    }
    if path.starts_with("//") {
        return false;
    }
    if encoded_below.iter().any(|prefix| path.starts_with(prefix)) {
        return true;
    }
    !path.contains('%') && !path.contains("//")
}

/// Whether `Host` is a name of this machine: a page of another name, resolved to here, must not read the metrics.
fn is_local_name(headers: &HeaderMap) -> bool {
    let host = headers
        .get(header::HOST)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let name = host
        .rsplit_once(':')
        .map_or(host, |(name, port)| if port.ends_with(']') { host } else { name });
    matches!(name, "localhost" | "[::1]")
        || name
            .parse::<std::net::Ipv4Addr>()
            .is_ok_and(|ip| ip.is_loopback())
}

/// A handler panicked. The panic itself was printed by the hook that [`crate::server::run`] installs.
#[derive(Debug)]
struct Panicked {
    strict_transport: bool,
}

impl std::fmt::Display for Panicked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a request ended in a panic")
    }
}

impl ResponseError for Panicked {
    fn error_response(&self) -> HttpResponse {
        let mut response = answer::error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "something went wrong on our side",
        );
        harden(response.headers_mut(), self.strict_transport);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_with_two_readings_are_refused() {
        let below = ["/mcp/resources/"];
        for good in [
            "/",
            "/oauth/token",
            "/.well-known/oauth-authorization-server",
            "/mcp/resources/a%2Fb",
        ] {
            assert!(is_plain(good, &below), "{good}");
        }
        let bad = [
            "//token",
            "/token;x=1",
            "/./token",
            "/a/../token",
            "/%74oken",
            "/a//b",
            "/a%2Fb",
            "/a\\b",
            "/admin;/x",
            "/mcp/resources/../x",
        ];
        for bad in bad {
            assert!(!is_plain(bad, &below), "{bad}");
        }
    }
}
