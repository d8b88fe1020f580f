//! Which revision a request speaks, and whether its headers and `_meta` agree: steps that rmcp takes in another order
//! or answers without a JSON-RPC error. The body decides, the header is a cross-check (MCP 2026-07-28, "Versioning"
//! and "Streamable HTTP"). `Mcp-Name` and `Mcp-Param-*` are left to rmcp.

use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use rmcp::model::{ErrorCode, ProtocolVersion};
use serde_json::json;

use super::message::{Kind, Member, Message, RpcError};

const VERSION_HEADER: &str = "mcp-protocol-version";
const METHOD_HEADER: &str = "mcp-method";

/// Methods of older revisions that 2026-07-28 removed.
const REMOVED: [&str; 5] = [
    "initialize",
    "ping",
    "logging/setLevel",
    "resources/subscribe",
    "resources/unsubscribe",
];

/// A refusal with its HTTP status.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) status: StatusCode,
    pub(super) error: RpcError,
}

/// What a message speaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Era {
    /// 2026-07-28: every request says all about itself.
    Modern,
    /// A revision that begins with `initialize`.
    Older,
}

/// The era of `message`, if its headers agree.
pub(super) fn check(headers: &HeaderMap, message: &Message<'_>) -> Result<Era, Refused> {
    let header = single(headers, VERSION_HEADER).ok_or_else(|| {
        bad(
            message,
            ErrorCode::HEADER_MISMATCH,
            "MCP-Protocol-Version must stand once, in ASCII",
        )
    })?;
    if message.version != Member::Absent {
        return modern(headers, header, message).map(|()| Era::Modern);
    }
    // Without the envelope it is an older revision: `initialize` names its own, others say it in the header.
    let Some(named) = header.filter(|_| message.method() != "initialize") else {
        return Ok(Era::Older);
    };
    if !is_known(named) {
        return Err(unsupported(message, named));
    }
    if named < ProtocolVersion::V_2026_07_28.as_str() {
        return Ok(Era::Older);
    }
    match message.kind() {
        Kind::Notification => Ok(Era::Modern),
        Kind::Request => Err(bad(
            message,
            ErrorCode::INVALID_PARAMS,
            "params._meta lacks protocolVersion and clientCapabilities",
        )),
        // The server asks nothing (MCP 2026-07-28, "Sending messages to the server").
        Kind::Answer => Err(bad(
            message,
            ErrorCode::INVALID_REQUEST,
            "this revision has no answers of the client",
        )),
    }
}

fn modern(headers: &HeaderMap, header: Option<&str>, message: &Message<'_>) -> Result<(), Refused> {
    let Member::Text(version) = &message.version else {
        return Err(bad(
            message,
            ErrorCode::INVALID_PARAMS,
            "protocolVersion in params._meta must be a string",
        ));
    };
    if message.capabilities != Member::Object && message.is_request() {
        return Err(bad(
            message,
            ErrorCode::INVALID_PARAMS,
            "clientCapabilities in params._meta must be an object",
        ));
    }
    match header {
        None => {
            return Err(bad(
                message,
                ErrorCode::HEADER_MISMATCH,
                "the header MCP-Protocol-Version is missing",
            ));
        }
        Some(header) if header != version => {
            let sentence = "MCP-Protocol-Version and protocolVersion in params._meta differ";
            return Err(bad(message, ErrorCode::HEADER_MISMATCH, sentence));
        }
        Some(_) => {}
    }
    if !is_known(version) {
        return Err(unsupported(message, version));
    }
    let method = single(headers, METHOD_HEADER).ok_or_else(|| {
        bad(
            message,
            ErrorCode::HEADER_MISMATCH,
            "Mcp-Method must stand once, in ASCII",
        )
    })?;
    let must_be_named = **version >= *ProtocolVersion::V_2026_07_28.as_str() && message.is_request();
    if must_be_named && method != Some(message.method()) {
        return Err(bad(
            message,
            ErrorCode::HEADER_MISMATCH,
            "Mcp-Method is missing or differs from the method",
        ));
    }
    if REMOVED.contains(&message.method()) {
        let error = message.error(
            ErrorCode::METHOD_NOT_FOUND.0,
            "this revision does not have the method",
        );
        return Err(Refused {
            status: StatusCode::NOT_FOUND,
            error,
        });
    }
    Ok(())
}

fn is_known(version: &str) -> bool {
    ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .any(|known| known.as_str() == version)
}

/// The one value of a header, without white space around it; the outer `None` when there are several, or it is not ASCII.
fn single<'h>(headers: &'h HeaderMap, name: &str) -> Option<Option<&'h str>> {
    let mut values = headers.get_all(name);
    let Some(value) = values.next() else {
        return Some(None);
    };
    if values.next().is_some() {
        return None;
    }
    value.to_str().ok().map(|text| Some(text.trim()))
}

fn unsupported(message: &Message<'_>, requested: &str) -> Refused {
    let supported: Vec<_> = ProtocolVersion::KNOWN_VERSIONS
        .iter()
        .rev()
        .map(ProtocolVersion::as_str)
        .collect();
    let mut refused = bad(
        message,
        ErrorCode::UNSUPPORTED_PROTOCOL_VERSION,
        "this revision of MCP is not served",
    );
    refused.error.details = Some(json!({"supported": supported, "requested": requested}));
    refused
}

fn bad(message: &Message<'_>, code: ErrorCode, sentence: &'static str) -> Refused {
    Refused {
        status: StatusCode::BAD_REQUEST,
        error: message.error(code.0, sentence),
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};
    use serde_json::Value;

    use super::*;

    const NEW: &str = "2026-07-28";

    /// The status and code for a method with `_meta` and headers; `(200, 0)` when it may pass.
    fn verdict(method: &str, meta: Option<Value>, headers: &[(&str, &str)]) -> (u16, i32) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            map.append(name, HeaderValue::from_str(value).unwrap());
        }
        let params = meta.map_or_else(|| json!({}), |meta| json!({ "_meta": meta }));
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let message = Message::parse(text.as_bytes()).unwrap();
        match check(&map, &message) {
            Ok(_) => (200, 0),
            Err(refused) => {
                assert_eq!(refused.error.id, Some(json!(1)));
                (refused.status.as_u16(), refused.error.code)
            }
        }
    }

    fn envelope(version: &str) -> Option<Value> {
        Some(json!({
            "io.modelcontextprotocol/protocolVersion": version,
            "io.modelcontextprotocol/clientCapabilities": {},
        }))
    }

    #[test]
    fn the_new_revision() {
        let headers = [("MCP-Protocol-Version", NEW), ("Mcp-Method", "tools/list")];
        assert_eq!(verdict("tools/list", envelope(NEW), &headers), (200, 0));
        assert_eq!(
            verdict(
                "tools/list",
                envelope(NEW),
                &[
                    ("mcp-protocol-version", " 2026-07-28 "),
                    ("MCP-METHOD", "tools/list")
                ]
            ),
            (200, 0)
        );
        assert_eq!(verdict("tools/list", None, &headers), (400, -32602));
        let no_capabilities = Some(json!({"io.modelcontextprotocol/protocolVersion": NEW}));
        assert_eq!(verdict("tools/list", no_capabilities, &headers), (400, -32602));
        let number = Some(json!({"io.modelcontextprotocol/protocolVersion": 7}));
        assert_eq!(verdict("tools/list", number, &headers), (400, -32602));
        assert_eq!(verdict("tools/list", envelope(NEW), &headers[1..]), (400, -32020));
        assert_eq!(
            verdict("tools/list", envelope("2025-11-25"), &headers),
            (400, -32020)
        );
        assert_eq!(verdict("tools/list", envelope(NEW), &headers[..1]), (400, -32020));
        assert_eq!(verdict("Tools/list", envelope(NEW), &headers), (400, -32020));
        assert_eq!(
            verdict("tools/list", envelope(NEW), &[headers[0], headers[0], headers[1]]),
            (400, -32020)
        );
        let future = [
            ("MCP-Protocol-Version", "2099-01-01"),
            ("Mcp-Method", "tools/list"),
        ];
        assert_eq!(
            verdict("tools/list", envelope("2099-01-01"), &future),
            (400, -32022)
        );
    }

    #[test]
    fn what_the_new_revision_removed() {
        for method in REMOVED {
            let headers = [("MCP-Protocol-Version", NEW), ("Mcp-Method", method)];
            assert_eq!(
                verdict(method, envelope(NEW), &headers),
                (404, -32601),
                "{method}"
            );
        }
    }

    #[test]
    fn the_older_revisions() {
        assert_eq!(verdict("initialize", None, &[]), (200, 0));
        assert_eq!(
            verdict("initialize", None, &[("MCP-Protocol-Version", NEW)]),
            (200, 0)
        );
        for version in ["2025-11-25", "2025-06-18", "2025-03-26"] {
            assert_eq!(
                verdict("ping", None, &[("MCP-Protocol-Version", version)]),
                (200, 0)
            );
        }
        assert_eq!(verdict("tools/list", None, &[]), (200, 0));
        for unknown in ["2099-01-01", "1.0", "", "2025-11-26"] {
            assert_eq!(
                verdict("tools/list", None, &[("MCP-Protocol-Version", unknown)]),
                (400, -32022),
                "{unknown}"
            );
        }
    }
}
