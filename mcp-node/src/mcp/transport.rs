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
use crate::approval::Notes;
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
        (caller, notes): (Arc<Caller>, Arc<Notes>),
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
        request.extensions_mut().insert(notes);
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
        let mut last = LastEvent::default();
        let mut pieces = BodyDataStream::new(body);
        while let Some(Ok(piece)) = pieces.next().await {
            last.read(&piece);
        }
        let last = last.message();
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

/// The last message of a stream as rmcp writes it, each in a line of its own: the answer, without what came before. What
/// comes before may be much, and is not kept.
#[derive(Default)]
struct LastEvent {
    line: Vec<u8>,
    message: Vec<u8>,
}

impl LastEvent {
    fn read(&mut self, piece: &[u8]) {
        let mut lines = piece.split(|byte| *byte == b'\n');
        // What stands before the first end of a line goes on with the one that was begun.
        self.line.extend_from_slice(lines.next().unwrap_or_default());
        for next in lines {
            self.end_of_line();
            self.line.extend_from_slice(next);
        }
    }

    fn end_of_line(&mut self) {
        if self.line.starts_with(DATA) {
            std::mem::swap(&mut self.message, &mut self.line);
        }
        self.line.clear();
    }

    /// The message.
    fn message(mut self) -> Vec<u8> {
        self.end_of_line();
        let text = self.message.strip_prefix(DATA).unwrap_or_default();
        text.trim_ascii().to_vec()
    }
}

/// The beginning of a line that is a message.
const DATA: &[u8] = b"data:";

#[cfg(test)]
mod tests {
    use super::*;

    fn last(pieces: &[&[u8]]) -> Vec<u8> {
        let mut last = LastEvent::default();
        pieces.iter().for_each(|piece| last.read(piece));
        last.message()
    }

    #[test]
    fn the_answer_is_the_last_message() {
        let stream = b"data: {\"method\":\"x\"}\n\n: beat\n\ndata: {\"id\":1}\n\n";
        assert_eq!(last(&[stream]), b"{\"id\":1}");
        assert_eq!(last(&[]), b"");
        // However it is cut.
        for at in 0..stream.len() {
            let (one, other) = stream.split_at(at);
            assert_eq!(last(&[one, other]), b"{\"id\":1}", "{at}");
        }
        assert_eq!(last(&[b"data: 1\n\nda", b"ta: 2"]), b"2");
    }

    #[test]
    fn load_what_came_before_the_answer_is_not_kept() {
        let mut reader = LastEvent::default();
        let told = [&b"data: "[..], &[b'x'; 1024], b"\n\n"].concat();
        for _ in 0..1000 {
            reader.read(&told);
        }
        assert!(reader.line.capacity() + reader.message.capacity() < 16 * 1024);
        assert_eq!(reader.message().len(), 1024);
    }
}
