//! A client of 2025-11-25 in a session: what it is asked comes on the stream of its call.

use std::io::{BufRead, BufReader, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};
use xtask::http::{Answer, Request, Url};

/// Longer than any deadline of the programs under test.
const PATIENCE: Duration = Duration::from_secs(60);

/// A session that has begun.
pub struct Session {
    url: String,
    token: String,
    id: String,
}

impl Session {
    /// Begins one at the node with this URL, as a client with these capabilities.
    ///
    /// # Panics
    /// When the node gives none.
    #[must_use]
    pub fn begin(url: &str, token: &str, capabilities: &Value) -> Self {
        let mut session = Self {
            url: url.to_owned(),
            token: token.to_owned(),
            id: String::new(),
        };
        let params = json!({
            "protocolVersion": "2025-11-25", "capabilities": capabilities, "clientInfo": {"name": "t", "version": "1"},
        });
        let hello =
            session.post(&json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params}));
        assert_eq!(hello.status, 200, "{hello}");
        session.id = hello.header("mcp-session-id").unwrap().to_owned();
        let ready = session.post(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"}));
        assert_eq!(ready.status, 202, "{ready}");
        session
    }

    /// Sends a message and reads the whole answer.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn post(&self, message: &Value) -> Answer {
        self.request(message).send().unwrap()
    }

    /// Calls a tool; what the server says meanwhile is in the events.
    ///
    /// # Panics
    /// When the node does not answer with a stream.
    #[must_use]
    pub fn call(&self, id: u32, tool: &str, arguments: &Value) -> Events {
        let params = json!({"name": tool, "arguments": arguments});
        let message = json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": params});
        Events::open(&self.url, &self.request(&message))
    }

    /// Answers a question.
    ///
    /// # Panics
    /// When the node does not take the answer.
    pub fn answer(&self, question: &Value, result: &Value) {
        let taken = self.post(&json!({"jsonrpc": "2.0", "id": question["id"], "result": result}));
        assert_eq!(taken.status, 202, "{taken}");
    }

    fn request(&self, message: &Value) -> Request {
        let request = Request::post(&self.url).unwrap().bearer(&self.token);
        let request = request.header("Accept", "application/json, text/event-stream");
        let request = if self.id.is_empty() {
            request
        } else {
            let request = request.header("MCP-Protocol-Version", "2025-11-25");
            request.header("Mcp-Session-Id", &self.id)
        };
        request.json(message)
    }
}

/// The messages of a stream, as they come.
pub struct Events(BufReader<TcpStream>);

impl Events {
    /// Sends a request whose answer is a stream, and reads its head.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn open(url: &str, request: &Request) -> Self {
        let mut stream = TcpStream::connect(Url::parse(url).unwrap().socket()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(&request.bytes(false)).unwrap();
        let mut events = Self(BufReader::new(stream));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(events.0.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(
            head.starts_with("HTTP/1.1 200") && head.contains("text/event-stream"),
            "{head}"
        );
        events
    }
}

impl Iterator for Events {
    type Item = Value;

    /// The next message; `None` at the end. Panics when none comes in time.
    fn next(&mut self) -> Option<Value> {
        loop {
            let mut line = String::new();
            // The chunks of the transfer coding begin with their sizes, and the last one has none.
            if self.0.read_line(&mut line).unwrap() == 0 || line == "0\r\n" {
                return None;
            }
            if let Some(data) = line.strip_prefix("data:").map(str::trim)
                && !data.is_empty()
            {
                return Some(serde_json::from_str(data).unwrap());
            }
        }
    }
}
