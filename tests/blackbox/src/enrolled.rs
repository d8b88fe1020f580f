//! Nodes that enrol: the statement that they sign, written from `docs/fleet.md`, and the real command.

use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use xtask::fleet::{Node, START, UNLIMITED_NODE, free_port};
use xtask::http::{Answer, Request};
use xtask::program::Program;

use crate::Fleet;
use crate::assertion::ASSERTION_TYPE;
use crate::fleet::built;
use crate::forge::{Key, fresh_id, now};
use crate::people::{CALLBACK, PASSWORD, Pkce};

/// An invite made on the command line; `words` are further flags. Returns the code.
///
/// # Panics
/// When the command refuses.
#[must_use]
pub fn invite(fleet: &Fleet, words: &[&str]) -> String {
    let made = fleet
        .server
        .json(&[&["node", "invite"][..], words].concat())
        .unwrap();
    let code = made["invite"].as_str().unwrap().to_owned();
    assert!(code.starts_with("ehi_"), "{made}");
    fleet.remember(&code);
    code
}

/// The SHA-256 of a text, base64url.
#[must_use]
pub fn sha256(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()))
}

/// A resource that nobody has.
#[must_use]
pub fn fresh_resource(fleet: &Fleet) -> String {
    format!("http://localhost:1/{}/mcp", fleet.fresh_name())
}

/// A node of our own making: a key and what it says.
pub struct Candidate {
    /// Its key.
    pub key: Key,
    /// The claims of its statement.
    pub claims: Value,
    /// The header of its statement.
    pub header: Value,
    /// The code that it shows.
    pub invite: String,
}

impl Candidate {
    /// A good one.
    #[must_use]
    pub fn new(fleet: &Fleet, invite: &str, resource: Option<&str>) -> Self {
        Self::at(&fleet.server.issuer, invite, resource)
    }

    /// A good one for the server with this issuer.
    #[must_use]
    pub fn at(issuer: &str, invite: &str, resource: Option<&str>) -> Self {
        let mut claims = json!({
            "aud": issuer,
            "iat": now(),
            "exp": now() + 60,
            "jti": fresh_id(),
            "invite_sha256": sha256(invite),
            "capabilities": ["mcp"],
        });
        if let Some(resource) = resource {
            claims["resource"] = resource.into();
        }
        Self {
            key: Key::ed25519("node"),
            claims,
            header: json!({"typ": "edge-hive-enrolment+jwt", "alg": "EdDSA"}),
            invite: invite.to_owned(),
        }
    }

    /// The body of its request.
    #[must_use]
    pub fn request(&self) -> Value {
        let proof = self.key.sign(&self.header, &self.claims);
        json!({"invite": self.invite, "jwk": self.key.jwk(), "proof": proof})
    }

    /// Asks to enrol.
    #[must_use]
    pub fn enrol(&self, fleet: &Fleet) -> Answer {
        post(fleet, &self.request())
    }
}

/// POSTs a document to `/fleet/enroll`.
///
/// # Panics
/// When nobody answers.
#[must_use]
pub fn post(fleet: &Fleet, document: &Value) -> Answer {
    let request = Request::post(&fleet.at("/fleet/enroll")).unwrap();
    request.json(document).send().unwrap()
}

/// 201 with the node's client, names and record.
///
/// # Panics
/// When it is not.
#[track_caller]
#[must_use]
pub fn welcomed(answer: &Answer) -> Value {
    assert_eq!(answer.status, 201, "{answer}");
    crate::answers::not_stored(answer);
    let welcome = crate::answers::json(answer);
    assert!(welcome["client_id"].is_string(), "{welcome}");
    welcome
}

/// The claims of a JWT, whoever signed it.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

/// The parameters with which a node authenticates at its server.
#[must_use]
pub fn proof_of(fleet: &Fleet, key: &Key, client_id: &str) -> [(&'static str, String); 2] {
    proof_at(&fleet.server.issuer, key, client_id)
}

/// As [`proof_of`], at the server with this issuer.
#[must_use]
pub fn proof_at(issuer: &str, key: &Key, client_id: &str) -> [(&'static str, String); 2] {
    let claims = json!({
        "iss": client_id, "sub": client_id, "aud": issuer, "jti": fresh_id(), "exp": now() + 60,
    });
    let assertion = key.sign(&json!({"alg": "EdDSA"}), &claims);
    [
        ("client_assertion_type", ASSERTION_TYPE.to_owned()),
        ("client_assertion", assertion),
    ]
}

/// A folder, a port and the real program, with no configuration yet.
///
/// # Panics
/// When the folder cannot be made.
#[must_use]
pub fn bare_node(fleet: &Fleet) -> Node {
    let folder = fleet.server.folder.join(fleet.fresh_name());
    std::fs::create_dir_all(&folder).unwrap();
    Node::new(
        built("mcp-node"),
        &folder,
        free_port().unwrap(),
        &fleet.server.issuer,
    )
}

/// Runs `mcp-node enroll` in the node's folder; `words` are further flags.
///
/// # Panics
/// When the program cannot be started.
#[must_use]
pub fn enroll(fleet: &Fleet, node: &Node, invite: &str, words: &[&str]) -> Output {
    let line = ["enroll", "--issuer", &fleet.server.issuer, "--invite", invite];
    node.command(&[&line[..], words].concat()).output().unwrap()
}

/// The file of a node's private key.
#[must_use]
pub fn key_file(node: &Node) -> PathBuf {
    node.folder.join("data/node-key.jwk")
}

/// A node that has enrolled and serves. It ends when this is dropped.
pub struct EnrolledNode {
    /// Its folder, address and command line.
    pub node: Node,
    /// What `mcp-node enroll` printed.
    pub report: Value,
    _program: Program,
}

impl EnrolledNode {
    /// A node whose tool `get_status` needs the approval of the person for whom it is called, and `list_peers` that of an
    /// administrator. `words` are further flags of the invite.
    ///
    /// # Panics
    /// When it does not enrol or start.
    #[must_use]
    pub fn start(fleet: &Fleet, words: &[&str]) -> Self {
        Self::start_with(fleet, words, "")
    }

    /// The same with `more` TOML; tools of an upstream `odd` that ask something need the approval too.
    ///
    /// # Panics
    /// When it does not enrol or start.
    #[must_use]
    pub fn start_with(fleet: &Fleet, words: &[&str], more: &str) -> Self {
        let node = bare_node(fleet);
        let url = node.url();
        let code = invite(fleet, &[&["--resource", &url, "--name", "attic"], words].concat());
        let output = enroll(fleet, &node, &code, &["--json"]);
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{complaint}");
        let mut config = std::fs::read_to_string(node.config()).unwrap();
        config
            .push_str("\n[approval]\ntools = [\"get_*\", \"odd_ask*\"]\noperator_tools = [\"list_peers\"]\n");
        let audit = node.folder.join("audit.log");
        config.push_str(&format!("\n[audit]\nfile = {:?}\n", audit.display().to_string()));
        config.push_str(UNLIMITED_NODE);
        config.push_str(more);
        std::fs::write(node.config(), config).unwrap();
        let mut program = node.serve().unwrap();
        let ready = format!("http://localhost:{}/readyz", node.port);
        program.wait_ready(&ready, START).unwrap();
        Self {
            report: serde_json::from_slice(&output.stdout).unwrap(),
            node,
            _program: program,
        }
    }

    /// Calls a tool over plain HTTP and returns its result.
    ///
    /// # Panics
    /// When the node refuses the call itself.
    #[must_use]
    pub fn call(&self, token: &str, tool: &str, arguments: &Value) -> Value {
        let url = format!("{}/tools/call", self.node.url());
        let request = Request::post(&url).unwrap().bearer(token);
        let request = request.json(&json!({"name": tool, "arguments": arguments}));
        // On a busy machine the server may not answer a new node in time. It is told so, and nothing was called.
        let deadline = Instant::now() + START;
        loop {
            let answer = request.send().unwrap();
            if answer.status != 503 || Instant::now() > deadline {
                return crate::answers::granted(&answer);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The line of the audit log with this text in it, which is written soon after the answer.
    ///
    /// # Panics
    /// When it does not come within ten seconds.
    #[must_use]
    pub fn audited(&self, text: &str) -> Value {
        let deadline = Instant::now() + Duration::from_secs(10);
        while Instant::now() < deadline {
            let log = std::fs::read_to_string(self.node.folder.join("audit.log")).unwrap_or_default();
            if let Some(line) = log.lines().find(|line| line.contains(text)) {
                return serde_json::from_str(line).unwrap();
            }
            std::thread::yield_now();
        }
        panic!("nothing of {text} in the audit log");
    }

    /// What the node has logged.
    #[must_use]
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.node.log()).unwrap_or_default()
    }

    /// A token for this node, and the id of the person for whom it is.
    ///
    /// # Panics
    /// When the person cannot sign in or allow.
    #[must_use]
    pub fn token_of(&self, fleet: &Fleet, username: &str) -> String {
        let url = self.node.url();
        let client = fleet.web_client(CALLBACK, &["--resource", &url]);
        let pkce = Pkce::fresh();
        let request = fleet.authorization_url(&client, &pkce, &[("resource", &url)]);
        let code = fleet.person().allow(&request, (username, PASSWORD)).code();
        let tokens = crate::answers::granted(&fleet.redeem(&client, &code, &pkce, &[]));
        tokens["access_token"].as_str().unwrap().to_owned()
    }
}

/// The address and the id of the approval that a result asks for.
///
/// # Panics
/// When it asks for none.
#[track_caller]
#[must_use]
pub fn pending(result: &Value) -> (String, String) {
    assert_eq!(result["isError"], true, "{result}");
    let asked = &result["structuredContent"];
    assert_eq!(asked["error"], "approval_required", "{result}");
    let text = |name: &str| asked[name].as_str().unwrap().to_owned();
    let shown = result["content"][0]["text"].as_str().unwrap();
    assert!(shown.contains(&text("approval_url")), "{result}");
    (text("approval_url"), text("approval_id"))
}
