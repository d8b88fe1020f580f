//! An upstream over Streamable HTTP: rmcp's client on the project's one HTTP client, with headers of the operator's
//! and, where the operator wants that, of the caller of each request.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::stream::BoxStream;
use http::{HeaderName, HeaderValue};
use reqwest::Client;
use rmcp::model::{ClientJsonRpcMessage, GetExtensions, JsonRpcMessage};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpClientTransportConfig, StreamableHttpError,
    StreamableHttpPostResponse,
};
use shared::trace::TRACEPARENT;
use sse_stream::Sse;

use super::identity::{CallerHeaders, TraceHeader};

type Headers = HashMap<HeaderName, HeaderValue>;
type Answer<T> = Result<T, StreamableHttpError<reqwest::Error>>;

/// rmcp's HTTP client, with headers of the caller where a request has any.
#[derive(Clone)]
pub(super) struct Door {
    pub(super) client: Client,
    /// The largest message that is read, in bytes. rmcp hands the same number to each method that can be given one; its
    /// own forms of those come down to the ones here.
    pub(super) message_limit: usize,
}

/// The settings of one connection.
pub(super) fn settings(
    url: &url::Url,
    headers: Headers,
    message_limit: usize,
    concurrency: usize,
) -> StreamableHttpClientTransportConfig {
    StreamableHttpClientTransportConfig::with_uri(url.as_str())
        .custom_headers(headers)
        .max_sse_event_size(message_limit)
        .max_concurrent_requests(concurrency)
}

impl StreamableHttpClient for Door {
    type Error = reqwest::Error;

    async fn post_message(
        &self,
        uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session_id: Option<Arc<str>>,
        auth_header: Option<String>,
        mut custom_headers: Headers,
    ) -> Answer<StreamableHttpPostResponse> {
        add_caller(&message, &mut custom_headers);
        let posted = self.client.post_message_with_max_sse_event_size(
            uri,
            message,
            session_id,
            auth_header,
            custom_headers,
            self.message_limit,
        );
        posted.await
    }

    async fn delete_session(
        &self,
        uri: Arc<str>,
        session_id: Arc<str>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Answer<()> {
        self.client
            .delete_session(uri, session_id, auth_header, custom_headers)
            .await
    }

    async fn get_stream(
        &self,
        uri: Arc<str>,
        session_id: Option<Arc<str>>,
        last_event_id: Option<String>,
        auth_header: Option<String>,
        custom_headers: Headers,
    ) -> Answer<BoxStream<'static, Result<Sse, SseError>>> {
        let opened = self.client.get_stream_with_max_sse_event_size(
            uri,
            session_id,
            last_event_id,
            auth_header,
            custom_headers,
            self.message_limit,
        );
        opened.await
    }
}

fn add_caller(message: &ClientJsonRpcMessage, headers: &mut Headers) {
    let JsonRpcMessage::Request(request) = message else {
        return;
    };
    let extensions = request.request.extensions();
    if let Some(CallerHeaders(caller)) = extensions.get() {
        headers.extend(caller.iter().cloned());
    }
    if let Some(TraceHeader(traceparent)) = extensions.get() {
        headers.insert(HeaderName::from_static(TRACEPARENT), traceparent.clone());
    }
}
