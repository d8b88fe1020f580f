//! actix's request to rmcp's transport, and its answer back. The access token stays here: what goes on is the
//! [`Caller`].

use std::convert::Infallible;
use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use actix_web::web::Bytes;
use futures_util::StreamExt;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyDataStream, BodyExt, Full};
use rmcp::ServerHandler;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};

use super::end::End;
use super::reply::Accepts;
use crate::auth::Caller;
use crate::gate::Permit;

/// Headers that rmcp or a handler may want, beside those that begin with `mcp-`.
const PASSED_ON: [&str; 3] = ["traceparent", "tracestate", "baggage"];

/// rmcp behind our door, for requests that say all about themselves: JSON where one message is the whole answer. And the
/// handlers, for those that do not.
pub(crate) struct Transport<H> {
    service: StreamableHttpService<H, NeverSessionManager>,
    make: Arc<dyn Fn() -> H + Send + Sync>,
}

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
        let make: Arc<dyn Fn() -> H + Send + Sync> = Arc::new(make);
        let fresh = Arc::clone(&make);
        Self {
            service: StreamableHttpService::new(move || Ok(fresh()), Arc::default(), config),
            make,
        }
    }

    /// A handler for one request.
    pub(super) fn handler(&self) -> H {
        (self.make)()
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
        passed_on(headers, passed);
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(end);
        self.service.handle(request).await
    }
}

/// The headers that a handler may see.
pub(super) fn passed_on(headers: &HeaderMap, passed: &mut http::HeaderMap) {
    for (name, value) in headers {
        if !name.as_str().starts_with("mcp-") && !PASSED_ON.contains(&name.as_str()) {
            continue;
        }
        let name = http::HeaderName::from_bytes(name.as_str().as_bytes());
        if let (Ok(name), Ok(value)) = (name, http::HeaderValue::from_bytes(value.as_bytes())) {
            passed.append(name, value);
        }
    }
}

/// What rmcp answers with.
pub(super) type Answer = http::Response<BoxBody<Bytes, Infallible>>;

/// The same answer for actix: whole with its length, or as a stream until `end`, which holds the permit as long; in the
/// form that the client `accepts`.
pub(super) async fn to_actix(
    answer: Answer,
    end: impl Future<Output = ()> + 'static,
    mut permit: Permit,
    accepts: Accepts,
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
    builder.insert_header((CACHE_CONTROL, "no-store"));
    if http_body::Body::size_hint(&body).exact().is_some() {
        let Ok(whole) = body.collect().await;
        let whole = whole.to_bytes();
        permit.end_with(&whole);
        if accepts == Accepts::Events && status == StatusCode::OK {
            builder.insert_header((CONTENT_TYPE, "text/event-stream"));
            return builder.body([b"event: message\ndata: ", &whole[..], b"\n\n"].concat());
        }
        return builder.body(whole);
    }
    if accepts == Accepts::Json {
        let Ok(whole) = body.collect().await;
        let last = last_event(&whole.to_bytes());
        permit.end_with(&last);
        builder.insert_header((CONTENT_TYPE, "application/json"));
        return builder.body(last);
    }
    let held = BodyDataStream::new(body)
        .take_until(Box::pin(end))
        .map(move |piece| {
            if let Ok(piece) = &piece {
                permit.saw(piece);
            }
            piece
        });
    builder.streaming(held)
}

/// The last message of a stream as rmcp writes it, each in a line of its own: the answer, without what came before.
fn last_event(stream: &[u8]) -> Vec<u8> {
    let lines = stream.split(|byte| *byte == b'\n').rev();
    let mut data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    data.next().unwrap_or_default().trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_is_the_last_message() {
        let stream = b"data: {\"method\":\"x\"}\n\n: beat\n\ndata: {\"id\":1}\n\n";
        assert_eq!(last_event(stream), b"{\"id\":1}");
        assert_eq!(last_event(b""), b"");
    }
}
