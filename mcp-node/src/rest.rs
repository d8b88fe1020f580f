//! The same tools, resources and news without MCP: plain JSON and Server-Sent Events, for callers that speak neither.

mod stream;

use ::web::{answer, body};
use actix_web::http::StatusCode;
use actix_web::middleware::from_fn;
use actix_web::{HttpRequest, HttpResponse, web};
use rmcp::model::{CallToolRequestParams, CallToolResponse, ReadResourceRequestParams, ReadResourceResponse};
use serde_json::{Map, Value, json};
use shared::clock::now;

use crate::app::Node;
use crate::gate::{Operation, Outcome};
use crate::mcp::offer::{self, OfferFault, Requester};
use crate::origin::guard;

/// The routes, each plain and addressed to this node by its id.
pub(crate) fn routes(config: &mut web::ServiceConfig) {
    for prefix in ["/mcp", "/mcp/node/{id}"] {
        let call = answer::resource(&format!("{prefix}/tools/call"), "POST");
        let read = answer::resource(&format!("{prefix}/resources/{{uri:.*}}"), "GET, HEAD");
        let stream = answer::resource(&format!("{prefix}/stream"), "GET");
        config
            .service(call.wrap(from_fn(guard)).route(web::post().to(call_tool)))
            .service(read.wrap(from_fn(guard)).route(answer::get().to(read_one)))
            .service(stream.wrap(from_fn(guard)).route(web::get().to(stream::open)));
    }
}

/// `POST …/tools/call` with `{"name", "arguments"}`.
async fn call_tool(request: HttpRequest, payload: web::Payload, node: web::Data<Node>) -> HttpResponse {
    if let Some(elsewhere) = addressed_elsewhere(&request, &node) {
        return elsewhere;
    }
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.call),
    };
    let bytes = match body::read(&request, payload, node.body_limit).await {
        Ok(bytes) => bytes,
        Err(fault) => return fault.answer(),
    };
    let (name, arguments) = match parse_call(&bytes) {
        Ok(call) => call,
        Err(sentence) => return answer::error(StatusCode::BAD_REQUEST, "invalid_request", sentence),
    };
    let operation = Operation {
        raw: Some(&bytes),
        ..Operation::call(&name, arguments.as_ref())
    };
    let permit = match node.gate.permit(&caller, &operation, now()) {
        Ok(permit) => permit,
        Err(refusal) => return node.refuse(&refusal, &node.hints.call),
    };
    let mut call = CallToolRequestParams::new(name);
    call.arguments = arguments;
    let time = node.gate.time(&call.name);
    let requester = Requester::plain(caller, permit.notes()).in_trace_of(&request);
    let answer = offer::within(time, offer::call_tool(&node, call, &requester)).await;
    permit.end(match &answer {
        Ok(CallToolResponse::Complete(result)) if result.is_error == Some(true) => Outcome::ToolError,
        Ok(_) => Outcome::Done,
        Err(OfferFault::TimedOut) => Outcome::TimedOut,
        Err(_) => Outcome::Failed,
    });
    match answer {
        Ok(CallToolResponse::Complete(mut result)) => {
            // The revision's discriminator says nothing outside of MCP.
            result.result_type = None;
            HttpResponse::Ok().json(result)
        }
        Ok(_) => answer::error(
            StatusCode::CONFLICT,
            "interaction_required",
            "the tool asks for more in the middle of the call; call it over MCP",
        ),
        Err(fault) => fault.answer("there is no tool of that name"),
    }
}

/// `GET …/resources/{uri}`, the URI percent-encoded.
async fn read_one(request: HttpRequest, node: web::Data<Node>) -> HttpResponse {
    if let Some(elsewhere) = addressed_elsewhere(&request, &node) {
        return elsewhere;
    }
    let caller = match node.admit(&request).await {
        Ok(caller) => caller,
        Err(refusal) => return node.refuse(&refusal, &node.hints.read),
    };
    // From the raw path: the router's own decoding leaves some characters encoded.
    let raw = request.uri().path().split_once("/resources/").map(|(_, uri)| uri);
    let decoded = raw.and_then(percent_decode);
    let Some(uri) = decoded.filter(|uri| uri.len() <= MAX_URI) else {
        return answer::error(
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "the URI is not percent-encoded text of at most 4096 bytes",
        );
    };
    let permit = match node.gate.permit(&caller, &Operation::read(&uri), now()) {
        Ok(permit) => permit,
        Err(refusal) => return node.refuse(&refusal, &node.hints.read),
    };
    let requester = Requester::plain(caller, permit.notes()).in_trace_of(&request);
    let answer = offer::read_resource(&node, ReadResourceRequestParams::new(uri), &requester).await;
    permit.end(if answer.is_ok() {
        Outcome::Done
    } else {
        Outcome::Failed
    });
    match answer {
        Ok(ReadResourceResponse::Complete(read)) => {
            HttpResponse::Ok().json(json!({"contents": read.contents}))
        }
        Ok(_) => answer::error(
            StatusCode::CONFLICT,
            "interaction_required",
            "the resource asks for more before it is read; read it over MCP",
        ),
        Err(fault) => fault.answer("there is no such resource"),
    }
}

/// 404 if the path names another node: this one forwards nothing. Also if anything before a resource's URI is
/// percent-encoded: the router would decode it, and a proxy before us might have read another address.
fn addressed_elsewhere(request: &HttpRequest, node: &Node) -> Option<HttpResponse> {
    let id = request.match_info().get("id")?;
    let path = request.uri().path();
    let address = path
        .split_once("/resources/")
        .map_or(path, |(address, _)| address);
    let is_ours = node.observer.is_called(id) && !address.contains('%');
    let sentence = "this is another node than the one addressed";
    (!is_ours).then(|| answer::error(StatusCode::NOT_FOUND, "not_found", sentence))
}

/// As MCP: the name of a tool has at most so many bytes, and a URI.
const MAX_NAME: usize = 256;
const MAX_URI: usize = 4096;

type Arguments = Option<Map<String, Value>>;

fn parse_call(bytes: &[u8]) -> Result<(String, Arguments), &'static str> {
    let mut members =
        shared::json::object(bytes).map_err(|_| "the body must be a JSON object, no member twice")?;
    let Some(Value::String(name)) = members.remove("name") else {
        return Err("name must be a string");
    };
    if name.len() > MAX_NAME {
        return Err("name has more than 256 bytes");
    }
    let arguments = match members.remove("arguments") {
        None | Some(Value::Null) => None,
        Some(Value::Object(arguments)) => Some(arguments),
        Some(_) => return Err("arguments must be an object"),
    };
    match members.is_empty() {
        true => Ok((name, arguments)),
        false => Err("only name and arguments are known here"),
    }
}

/// Strict: `None` for half an escape, or bytes that are no UTF-8.
fn percent_decode(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| {
            char::from(byte?)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percent_decoding_is_strict() {
        assert_eq!(
            percent_decode("edge-hive%3A%2F%2Fstatus").as_deref(),
            Some("edge-hive://status")
        );
        assert_eq!(percent_decode("a+b%20c").as_deref(), Some("a+b c"));
        for bad in ["%", "%4", "%zz", "%ff", "a%+1"] {
            assert_eq!(percent_decode(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_call_is_read_strictly() {
        assert_eq!(parse_call(br#"{"name":"x"}"#), Ok(("x".to_owned(), None)));
        assert_eq!(
            parse_call(br#"{"name":"x","arguments":{}}"#),
            Ok(("x".to_owned(), Some(Map::new())))
        );
        let named = |length: usize| parse_call(json!({"name": "x".repeat(length)}).to_string().as_bytes());
        assert!(named(MAX_NAME).is_ok() && named(MAX_NAME + 1).is_err());
        for bad in [
            "",
            "[]",
            "{}",
            r#"{"name":7}"#,
            r#"{"name":"x","arguments":[]}"#,
            r#"{"name":"x","name":"y"}"#,
            r#"{"name":"x","z":1}"#,
        ] {
            assert!(parse_call(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
