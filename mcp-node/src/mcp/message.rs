//! A JSON-RPC message read lightly and strictly: what the door needs to know, no member twice at any depth, nothing
//! guessed. rmcp reads the same bytes again and does the rest.

mod strict;

use std::borrow::Cow;

use serde::de::DeserializeSeed;
use serde_json::{Value, json};

use self::strict::{MessageSeed, Object};
use crate::gate::{CALL_TOOL, COMPLETE, GET_PROMPT, LISTEN, Operation};

/// `code`, `message` and the rest of a JSON-RPC error, with the id of the request if it is known.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct RpcError {
    pub(super) id: Option<Value>,
    pub(super) code: i32,
    pub(super) sentence: Cow<'static, str>,
    pub(super) details: Option<Value>,
}

/// The bytes are no JSON (JSON-RPC 2.0 §5.1).
pub(super) const PARSE_ERROR: i32 = -32700;
/// JSON, but no request (JSON-RPC 2.0 §5.1).
pub(super) const INVALID_REQUEST: i32 = -32600;

/// Texts that sessions and logs keep are at most so long, in bytes.
const MAX_ID: usize = 256;
const MAX_METHOD: usize = 128;
const MAX_NAME: usize = 256;
const MAX_URI: usize = 4096;
/// So many resources may one subscription follow: each is judged.
const MAX_FOLLOWED: usize = 64;
/// A session keeps what its client says of itself.
const MAX_INTRODUCTION: usize = 64 * 1024;

/// Stands for the method of an answer.
const ANSWER: &str = "notifications/answer";

/// What a member of interest holds.
#[derive(Clone, PartialEq, Debug, Default)]
pub(super) enum Member<'de> {
    /// It is not there.
    #[default]
    Absent,
    /// A text.
    Text(Cow<'de, str>),
    /// An integer.
    Integer(i64),
    /// An object.
    Object,
    /// Something else.
    Other,
}

impl Member<'_> {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    fn is_longer_than(&self, bytes: usize) -> bool {
        self.text().is_some_and(|text| text.len() > bytes)
    }
}

/// What a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// It wants an answer.
    Request,
    /// It wants none.
    Notification,
    /// It answers a question of the server.
    Answer,
}

/// A request, a notification, or an answer.
#[derive(Debug)]
pub(super) struct Message<'de> {
    /// What it was read from.
    raw: &'de [u8],
    kind: Kind,
    id: Option<Value>,
    method: Cow<'de, str>,
    /// `params.name`.
    name: Member<'de>,
    /// `params.uri`.
    uri: Member<'de>,
    /// `params.ref.name` and `params.ref.uri`: what `completion/complete` completes.
    completed: (Member<'de>, Member<'de>),
    /// `params._meta["io.modelcontextprotocol/protocolVersion"]`.
    pub(super) version: Member<'de>,
    /// `params._meta["io.modelcontextprotocol/clientCapabilities"]`.
    pub(super) capabilities: Member<'de>,
}

impl<'de> Message<'de> {
    /// Reads one message and nothing after it.
    pub(super) fn parse(bytes: &'de [u8]) -> Result<Self, RpcError> {
        let mut reader = serde_json::Deserializer::from_slice(bytes);
        let mut object = Object::default();
        let read = MessageSeed(&mut object)
            .deserialize(&mut reader)
            .and_then(|()| reader.end());
        if let Err(fault) = read {
            // serde_json calls it data when the bytes are JSON, but not what was wanted: here an array or a scalar.
            let (code, sentence) = if fault.is_data() {
                (INVALID_REQUEST, "the body must be one JSON-RPC object")
            } else {
                (PARSE_ERROR, "the body is not JSON")
            };
            return Err(RpcError {
                id: None,
                code,
                sentence: sentence.into(),
                details: None,
            });
        }
        Self::from_object(object, bytes)
    }

    fn from_object(object: Object<'de>, raw: &'de [u8]) -> Result<Self, RpcError> {
        let too_long = object.too_long(raw.len());
        let (id, id_is_valid) = match object.id {
            Member::Text(text) if text.len() > MAX_ID => (None, false),
            Member::Absent => (None, true),
            Member::Text(text) => (Some(json!(text)), true),
            Member::Integer(number) => (Some(json!(number)), true),
            Member::Object | Member::Other => (None, false),
        };
        let invalid = |sentence: &'static str| RpcError {
            id: id.clone(),
            code: INVALID_REQUEST,
            sentence: sentence.into(),
            details: None,
        };
        if object.repeats {
            return Err(invalid("a member stands twice"));
        }
        if object.reserved {
            return Err(invalid(
                "no member may have a name that begins with $serde_json::private::",
            ));
        }
        if object.jsonrpc != Member::Text("2.0".into()) {
            return Err(invalid("jsonrpc must be \"2.0\""));
        }
        if !id_is_valid {
            return Err(invalid("id must be a string of at most 256 bytes or an integer"));
        }
        if let Some(sentence) = too_long {
            return Err(invalid(sentence));
        }
        let kind = match (object.has_result, &id) {
            (true, _) => Kind::Answer,
            (false, Some(_)) => Kind::Request,
            (false, None) => Kind::Notification,
        };
        let method = match object.method {
            Member::Text(_) if kind == Kind::Answer => {
                return Err(invalid("a message is a request or an answer, not both"));
            }
            Member::Text(method) => method,
            // The gate judges answers like notifications: what they belong to has been judged.
            Member::Absent if kind == Kind::Answer => ANSWER.into(),
            _ => return Err(invalid("method must be a string")),
        };
        if !matches!(object.params, Member::Absent | Member::Object) {
            return Err(invalid("params must be an object"));
        }
        Ok(Self {
            raw,
            kind,
            id,
            method,
            name: object.name,
            uri: object.uri,
            completed: (object.ref_name, object.ref_uri),
            version: object.version,
            capabilities: object.capabilities,
        })
    }

    /// The method, with case.
    pub(super) fn method(&self) -> &str {
        &self.method
    }

    /// The tool that a `tools/call` names.
    pub(super) fn tool(&self) -> Option<&str> {
        self.name.text().filter(|_| self.method == CALL_TOOL)
    }

    /// What it asks for, as far as that decides whether it may. The arguments have not been read.
    pub(super) fn operation(&self) -> Operation<'_> {
        // Only what the method itself looks at: a member that it does not know must not stand before one that it does.
        let (resource, prompt) = match self.method() {
            COMPLETE => (self.completed.1.text(), self.completed.0.text()),
            GET_PROMPT => (None, self.name.text()),
            method if method.starts_with("resources/") => (self.uri.text(), None),
            _ => (None, None),
        };
        Operation {
            method: self.method(),
            tool: self.tool(),
            resource,
            prompt,
            arguments: None,
            raw: Some(self.raw),
        }
    }

    /// What it is.
    pub(super) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether an answer is expected.
    pub(super) fn is_request(&self) -> bool {
        self.kind == Kind::Request
    }

    /// An error about this message.
    pub(super) fn error(&self, code: i32, sentence: impl Into<Cow<'static, str>>) -> RpcError {
        RpcError {
            id: self.id.clone(),
            code,
            sentence: sentence.into(),
            details: None,
        }
    }
}

impl Object<'_> {
    /// What is longer than anybody needs, in a message of `size` bytes.
    fn too_long(&self, size: usize) -> Option<&'static str> {
        let is = |method| self.method.text() == Some(method);
        let faults = [
            (
                self.method.is_longer_than(MAX_METHOD),
                "method has more than 128 bytes",
            ),
            (
                self.name.is_longer_than(MAX_NAME) || self.ref_name.is_longer_than(MAX_NAME),
                "name has more than 256 bytes",
            ),
            (
                self.uri.is_longer_than(MAX_URI) || self.ref_uri.is_longer_than(MAX_URI),
                "uri has more than 4096 bytes",
            ),
            (
                is("initialize") && size > MAX_INTRODUCTION,
                "initialize has more than 65536 bytes",
            ),
            (
                is(LISTEN) && self.followed > MAX_FOLLOWED,
                "resourceSubscriptions names more than 64 resources",
            ),
            (
                is(LISTEN) && self.followed_is_long,
                "resourceSubscriptions has a URI of more than 4096 bytes",
            ),
        ];
        faults
            .into_iter()
            .find_map(|(is_so, sentence)| is_so.then_some(sentence))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> (i32, Option<Value>) {
        let fault = Message::parse(text.as_bytes()).unwrap_err();
        (fault.code, fault.id)
    }

    #[test]
    fn requests_and_notifications() {
        let text = r#"{"jsonrpc":"2.0","id":"a","method":"tools/call","params":{"name":"get_status","arguments":{"name":"x"},
            "_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}"#;
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!(
            (message.method(), message.tool()),
            ("tools/call", Some("get_status"))
        );
        assert_eq!(message.version, Member::Text("2026-07-28".into()));
        assert_eq!(message.capabilities, Member::Object);
        assert!(message.is_request());

        let text = r#"{"method":"notifications/initialized","jsonrpc":"2.0"}"#;
        let message = Message::parse(text.as_bytes()).unwrap();
        assert!(message.tool().is_none() && message.version == Member::Absent);
        assert_eq!(message.kind(), Kind::Notification);

        // Escapes are understood: this is tools/call, and not a way around its scope.
        let text =
            r#"{"jsonrpc":"2.0","id":-7,"method":"tools\/c\u0061ll","params":{"n\u0061me":"t\u0065st"}}"#;
        let message = Message::parse(text.as_bytes()).unwrap();
        assert_eq!((message.method(), message.tool()), ("tools/call", Some("test")));
    }

    #[test]
    fn answers_of_the_client() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#,
            r#"{"jsonrpc":"2.0","error":{"code":-32700,"message":"no"}}"#,
        ] {
            let message = Message::parse(text.as_bytes()).unwrap();
            assert_eq!(message.kind(), Kind::Answer, "{text}");
            assert!(message.method().starts_with("notifications/"));
        }
    }

    #[test]
    fn members_that_stand_twice_are_refused_at_every_depth() {
        let twice = [
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","method":"tools/call"}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","n\u0061me":"b"}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{},"params":{}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[{"y":1,"y":2}]}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"a":1,"a":1}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","extra":{"a":1,"a":1}}"#,
        ];
        for text in twice {
            assert_eq!(fault(text), (INVALID_REQUEST, Some(json!(1))), "{text}");
        }
        let once = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"x":[{"y":1},{"y":2}]}}}"#;
        assert!(Message::parse(once.as_bytes()).is_ok());
    }

    #[test]
    fn members_that_readers_keep_for_themselves_are_refused_at_every_depth() {
        for text in [
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"o":{"$serde_json::private::RawValue":"{\"force\":true}"}}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"o":[{"$serde_json::private::Number":"1"}]}}}"#,
            r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":{"\u0024serde_json::private::RawValue":"{}"}}"#,
        ] {
            assert_eq!(fault(text), (INVALID_REQUEST, Some(json!(1))), "{text}");
        }
        let other = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a","arguments":{"$serde_json":1}}}"#;
        assert!(Message::parse(other.as_bytes()).is_ok());
    }

    #[test]
    fn what_a_method_does_not_look_at_does_not_stand_before_what_it_does() {
        let asked = |method: &str, params: Value| {
            let text = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
            let message = Message::parse(text.as_bytes()).unwrap();
            let operation = message.operation();
            (
                operation.resource.map(str::to_owned),
                operation.prompt.map(str::to_owned),
            )
        };
        let params = json!({"uri": "u", "name": "n", "ref": {"uri": "ref-u", "name": "ref-n"}});
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(asked(COMPLETE, params.clone()), (some("ref-u"), some("ref-n")));
        assert_eq!(asked("resources/subscribe", params.clone()), (some("u"), None));
        assert_eq!(asked(GET_PROMPT, params.clone()), (None, some("n")));
        assert_eq!(asked(CALL_TOOL, params), (None, None));
        assert_eq!(asked(COMPLETE, json!({"uri": "u", "name": "n"})), (None, None));
    }

    #[test]
    fn what_is_kept_of_a_message_is_bounded() {
        let message = |lengths: [usize; 4]| {
            let [id, method, name, uri] = lengths.map(|length| "x".repeat(length));
            json!({"jsonrpc": "2.0", "id": id, "method": method,
                "params": {"name": name, "uri": uri, "ref": {"name": name, "uri": uri}}})
            .to_string()
        };
        let most = [MAX_ID, MAX_METHOD, MAX_NAME, MAX_URI];
        assert!(Message::parse(message(most).as_bytes()).is_ok());
        for place in 0..most.len() {
            let mut lengths = most;
            lengths[place] += 1;
            assert_eq!(fault(&message(lengths)).0, INVALID_REQUEST, "{place}");
        }
        let large = |method: &str| {
            json!({"jsonrpc": "2.0", "id": 1, "method": method,
                "params": {"clientInfo": {"name": "x".repeat(MAX_INTRODUCTION)}}})
            .to_string()
        };
        assert_eq!(fault(&large("initialize")), (INVALID_REQUEST, Some(json!(1))));
        assert!(Message::parse(large("ping").as_bytes()).is_ok());
    }

    #[test]
    fn a_subscription_follows_so_many_resources() {
        let listen = |count: usize, length: usize| {
            let uris = vec!["x".repeat(length); count];
            json!({"jsonrpc": "2.0", "id": 1, "method": LISTEN,
                "params": {"notifications": {"resourceSubscriptions": uris}}})
            .to_string()
        };
        assert!(Message::parse(listen(MAX_FOLLOWED, MAX_URI).as_bytes()).is_ok());
        for text in [listen(MAX_FOLLOWED + 1, 1), listen(1, MAX_URI + 1)] {
            assert_eq!(fault(&text), (INVALID_REQUEST, Some(json!(1))));
        }
    }

    #[test]
    fn garbage_has_its_code() {
        for text in [
            "",
            "{",
            "nonsense",
            "{\"jsonrpc\":\"2.0\"",
            "{} {}",
            "\"\\ud800\"",
            "{\"a\":1e999}",
        ] {
            assert_eq!(fault(text).0, PARSE_ERROR, "{text}");
        }
        assert_eq!(
            Message::parse(b"{\"jsonrpc\":\"\xff\"}").unwrap_err().code,
            PARSE_ERROR
        );
        let deep = format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{{\"a\":{}",
            "[".repeat(100_000)
        );
        assert_eq!(fault(&deep).0, PARSE_ERROR);
        for text in [
            "[]",
            "7",
            "\"x\"",
            "null",
            r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#,
        ] {
            assert_eq!(fault(text), (INVALID_REQUEST, None), "{text}");
        }
    }

    #[test]
    fn json_that_is_no_request() {
        for (text, id) in [
            (r#"{"id":1,"method":"ping"}"#, json!(1)),
            (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, json!(1)),
            (r#"{"jsonrpc":"2.0","id":"x","method":7}"#, json!("x")),
            (r#"{"jsonrpc":"2.0","id":1,"Method":"ping"}"#, json!(1)),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":[1]}"#,
                json!(1),
            ),
            (
                r#"{"jsonrpc":"2.0","id":1,"method":"ping","result":{}}"#,
                json!(1),
            ),
            (r#"{"jsonrpc":"2.0","id":1,"method":7,"result":{}}"#, json!(1)),
        ] {
            assert_eq!(fault(text), (INVALID_REQUEST, Some(id)), "{text}");
        }
        for id in ["null", "1.5", "true", "[]", "{}", "9223372036854775808"] {
            let text = format!(r#"{{"jsonrpc":"2.0","id":{id},"method":"ping"}}"#);
            assert_eq!(fault(&text), (INVALID_REQUEST, None), "{text}");
        }
    }
}
