//! actix's request to rmcp's transport, and its answer back. The access token stays here: what goes on is the
//! [`Caller`].

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{ACCEPT, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyDataStream, BodyExt, Full};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};

use super::end::End;
use crate::auth::Caller;
use crate::gate::{Outcome, Permit};

/// Headers that rmcp or a handler may want, beside those that begin with `mcp-`.
const PASSED_ON: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// rmcp behind our door: no sessions, JSON where one message is the whole answer.
pub(crate) struct Transport<H>(StreamableHttpService<H, NeverSessionManager>);

impl<H: ServerHandler> Transport<H> {
    /// A transport whose requests are each answered by a fresh handler of `make`.
    pub(crate) fn new(make: impl Fn() -> H + Send + Sync + 'static, body_limit: usize) -> Self {
        // Host and Origin have been checked before authentication, for every endpoint alike.
        let config = StreamableHttpServerConfig::default()
            .with_legacy_session_mode(false)
            .with_json_response(true)
            .with_max_request_body_bytes(body_limit)
            .disable_allowed_hosts()
            .disable_allowed_origins();
        Self(StreamableHttpService::new(
            move || Ok(make()),
            Arc::default(),
            config,
        ))
    }

    /// rmcp's answer to a message of `caller`, whose stream, if it becomes one, must end at `end`.
    pub(super) async fn answer(
        &self,
        headers: &HeaderMap,
        caller: Arc<Caller>,
        end: End,
        body: Bytes,
    ) -> Answer {
        let mut request = http::Request::new(Full::new(body));
        *request.method_mut() = http::Method::POST;
        let passed = request.headers_mut();
        passed.insert(http::header::HOST, http::HeaderValue::from_static("localhost"));
        passed.insert(
            http::header::CONTENT_TYPE,
            http::HeaderValue::from_static("application/json"),
        );
        passed.insert(
            http::header::ACCEPT,
            http::HeaderValue::from_static("application/json, text/event-stream"),
        );
        for (name, value) in headers {
            if !name.as_str().starts_with("mcp-") && !PASSED_ON.contains(&name.as_str()) {
                continue;
            }
            let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
            if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value.as_bytes())) {
                passed.append(name, value);
            }
        }
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(end);
        self.0.handle(request).await
    }
}

/// What rmcp answers with.
pub(super) type Answer = http::Response<BoxBody<Bytes, Infallible>>;

/// The same answer for actix: whole with its length, or as a stream until `end`, which holds the permit as long.
pub(super) async fn to_actix(
    answer: Answer,
    end: impl Future<Output = ()> + 'static,
    permit: Permit,
) -> HttpResponse {
    let (http::response::Parts { status, headers, .. }, body) = answer.into_parts();
    let status = StatusCode::from_u16(status.as_u16()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut builder = HttpResponse::build(status);
    for (name, value) in &headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::from_bytes(value.as_bytes())) {
            builder.append_header((name, value));
        }
    }
    if http_body::Body::size_hint(&body).exact().is_some() {
        let Ok(whole) = body.collect().await;
        permit.end(Outcome::Done);
        return builder.body(whole.to_bytes());
    }
    let held = BodyDataStream::new(body)
        .take_until(Box::pin(end))
        .map(move |piece| {
            let _ = &permit;
            piece
        });
    builder.streaming(held)
}

/// Whether `Accept` allows both media types; without the header everything is (RFC 9110 §12.5.1).
pub(super) fn accepts_json_and_events(headers: &HeaderMap) -> bool {
    let mut json = false;
    let mut events = false;
    let mut written = false;
    for value in headers.get_all(ACCEPT) {
        written = true;
        for range in value.to_str().unwrap_or_default().split(',') {
            let mut parts = range.split(';').map(str::trim);
            let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
            // A weight of nothing is a refusal: q=0, q=0.0 …
            let refused = parts.any(|part| {
                let weight = part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="));
                weight.is_some_and(|weight| weight.parse() == Ok(0.0_f32))
            });
            if refused {
                continue;
            }
            json |= matches!(essence.as_str(), "*/*" | "application/*" | "application/json");
            events |= matches!(essence.as_str(), "*/*" | "text/*" | "text/event-stream");
        }
    }
    !written || (json && events)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_media_types_must_be_accepted() {
        let accepts = |values: &[&str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(ACCEPT, HeaderValue::from_str(value).unwrap());
            }
            accepts_json_and_events(&headers)
        };
        for good in [
            &["application/json, text/event-stream"][..],
            &["*/*"],
            &[],
            &["application/json", "text/event-stream;q=0.5"],
            &["APPLICATION/JSON;charset=utf-8,Text/*"],
        ] {
            assert!(accepts(good), "{good:?}");
        }
        for bad in [
            &["application/json"][..],
            &["text/event-stream"],
            &["text/html"],
            &[""],
            &["application/json, text/event-stream;q=0"],
        ] {
            assert!(!accepts(bad), "{bad:?}");
        }
    }
}
