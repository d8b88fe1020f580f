//! How an upstream gets to know who calls: from what the token said, never by the token.

use std::fmt::Write;
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use rmcp::model::RequestMetaObject;
use serde_json::{Value, json};

use crate::auth::Caller;

/// The member of `_meta` that says who calls: `subject`, `client_id`, `issuer` and `scopes`.
const MEMBER: &str = "edge-hive/caller";
/// Nobody but the node writes members of `_meta` with this prefix.
const OURS: &str = "edge-hive/";
/// Each connection has its own of these, beside what a caller can do.
const OF_MCP: &str = "io.modelcontextprotocol/";
/// What a caller can be asked, which goes on as it is.
const CAPABILITIES: &str = "io.modelcontextprotocol/clientCapabilities";
/// How much of the log a caller wants to hear.
const LOG_LEVEL: &str = "io.modelcontextprotocol/logLevel";

const SUBJECT: HeaderName = HeaderName::from_static("edge-hive-subject");
const CLIENT_ID: HeaderName = HeaderName::from_static("edge-hive-client-id");
const ISSUER: HeaderName = HeaderName::from_static("edge-hive-issuer");
const SCOPES: HeaderName = HeaderName::from_static("edge-hive-scopes");

/// Headers of one request that say who calls. They go to the transport beside the message.
#[derive(Clone, Debug)]
pub(super) struct CallerHeaders(pub(super) Arc<[(HeaderName, HeaderValue)]>);

/// The `traceparent` of one request, beside the message in the same way.
#[derive(Clone, Debug)]
pub(super) struct TraceHeader(pub(super) HeaderValue);

/// What of the caller's `_meta` goes on: everything that is between it and the server, and nothing by which it could
/// pass for somebody else.
pub(super) fn passed_on(meta: &RequestMetaObject) -> RequestMetaObject {
    let mut passed = RequestMetaObject::new();
    for (key, value) in meta.iter() {
        let is_of_one_connection =
            key.starts_with(OF_MCP) && key != CAPABILITIES && key != LOG_LEVEL || key == "progressToken";
        if !is_of_one_connection && !key.starts_with(OURS) {
            passed.insert(key.clone(), value.clone());
        }
    }
    passed
}

/// Says in `meta` who calls.
pub(super) fn write_meta(caller: &Caller, meta: &mut RequestMetaObject) {
    meta.insert(MEMBER.to_owned(), member(caller));
}

fn member(caller: &Caller) -> Value {
    let claims = caller.claims();
    json!({
        "subject": claims.subject(),
        "client_id": claims.client_id(),
        "issuer": claims.issuer(),
        "scopes": claims.scope().iter().collect::<Vec<_>>(),
    })
}

/// Headers that say who calls.
pub(super) fn headers(caller: &Caller) -> CallerHeaders {
    let claims = caller.claims();
    let scopes = claims.scope().to_string();
    let all = [
        (SUBJECT, claims.subject()),
        (CLIENT_ID, claims.client_id()),
        (ISSUER, claims.issuer()),
        (SCOPES, &*scopes),
    ];
    let written = all.map(|(name, text)| {
        let value = HeaderValue::from_str(&encoded(text));
        (name, value.unwrap_or(HeaderValue::from_static("")))
    });
    CallerHeaders(Arc::new(written))
}

/// As it is, with a percent sign before what no header may have, and before percent signs (RFC 3986 §2.1).
fn encoded(text: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            written.push(char::from(byte));
        } else {
            write!(written, "%{byte:02X}").ok();
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use serde_json::from_value;

    use super::*;

    #[test]
    fn a_caller_cannot_pass_for_another() {
        let meta: RequestMetaObject = from_value(json!({
            "edge-hive/caller": {"subject": "admin"},
            "edge-hive/other": 1,
            "progressToken": 7,
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientInfo": {"name": "x", "version": "1"},
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
            "io.modelcontextprotocol/logLevel": "info",
            "traceparent": "00-1-2-01",
            "example.com/own": [1, 2],
        }))
        .unwrap();
        let expected = json!({
            "io.modelcontextprotocol/clientCapabilities": {"elicitation": {}},
            "io.modelcontextprotocol/logLevel": "info",
            "traceparent": "00-1-2-01",
            "example.com/own": [1, 2],
        });
        assert_eq!(serde_json::to_value(passed_on(&meta)).unwrap(), expected);
    }

    #[test]
    fn any_text_fits_a_header() {
        assert_eq!(encoded("client:agent"), "client:agent");
        assert_eq!(encoded("Inés 100%\r\nX: y"), "In%C3%A9s 100%25%0D%0AX: y");
    }
}
