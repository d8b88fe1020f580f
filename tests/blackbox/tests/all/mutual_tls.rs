//! CA-37, CA-38, RFC 8705: certificates in the handshake itself. One listener asks for them, and no other.

use std::path::PathBuf;
use std::time::Instant;

use blackbox::answers::{granted, refused_401, refused_client};
use blackbox::certificate::{Authority, Identity, Name};
use blackbox::fleet::built;
use blackbox::tls::{Seen, send_as};
use blackbox::{Db, both, forge};
use serde_json::json;
use xtask::fleet::{AuthzServer, Node, START, UNLIMITED_NODE, UNLIMITED_SERVER, free_port};
use xtask::http::Request;
use xtask::program::Program;

const GRANT: (&str, &str) = ("grant_type", "client_credentials");

/// A server with a listener that asks for certificates, and the authority of its clients.
struct Gate {
    server: AuthzServer,
    /// The port of that listener.
    asking: u16,
    ca: PathBuf,
    clients: Authority,
    _program: Program,
    folder: tempfile::TempDir,
}

impl Gate {
    fn start(db: Db) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clients = Authority::new("clients");
        let asking = free_port().unwrap();
        let mut server = AuthzServer::new(built("authz-server"), folder.path(), free_port().unwrap());
        server.issuer = server.issuer.replace("http://", "https://");
        server.database = db.create();
        server.extra = format!(
            "{UNLIMITED_SERVER}\n[tls]\nmode = \"self-signed\"\nmtls_listen = [\"127.0.0.1:{asking}\"]\n\
             mtls_url = \"https://localhost:{asking}\"\nclient_ca_file = \"{}\"\n",
            clients.write(folder.path(), "clients.pem").display()
        );
        server.write_config().unwrap();
        let mut program = server.serve().unwrap();
        let ca = folder.path().join("tls/ca.pem");
        wait(&mut program, server.port, &ca);
        server.ensure_resource("https://localhost:1/mcp", &[]).unwrap();
        Self {
            server,
            asking,
            ca,
            clients,
            _program: program,
            folder,
        }
    }

    fn client(&self, name: &str, words: &[&str]) -> String {
        let line = [&["--scopes", "mcp:read"], words].concat();
        self.server.create_public_client(name, &line).unwrap()
    }

    /// A client that registered the certificate of this identity.
    fn registered(&self, name: &str, own: &Identity, words: &[&str]) -> String {
        let file = self.folder.path().join(format!("{name}.json"));
        std::fs::write(&file, json!({"keys": [own.jwk(true)]}).to_string()).unwrap();
        let file = file.display().to_string();
        let line = ["--auth-method", "self_signed_tls_client_auth", "--jwks", &file];
        self.client(name, &[&line[..], words].concat())
    }

    fn ask(&self, port: u16, client: &str, shown: Option<&Identity>) -> Seen {
        let request = Request::post(&format!("https://localhost:{port}/oauth/token")).unwrap();
        let request = request.form(&[GRANT, ("client_id", client)]);
        send_as(&request, port, &self.ca, shown).unwrap()
    }
}

fn wait(program: &mut Program, port: u16, ca: &std::path::Path) {
    let ready = Request::new("GET", &format!("https://localhost:{port}/readyz")).unwrap();
    let deadline = Instant::now() + START;
    while !send_as(&ready, port, ca, None).is_ok_and(|seen| seen.answer.status == 200) {
        assert!(program.ended().is_none(), "the program ended:\n{}", program.log());
        assert!(Instant::now() < deadline, "not ready:\n{}", program.log());
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
}

both!(ca_37_one_listener_asks_and_metadata_say_which);
fn ca_37_one_listener_asks_and_metadata_say_which(db: Db) {
    let gate = Gate::start(db);
    let get = |port: u16| {
        let path = "/.well-known/oauth-authorization-server";
        let request = Request::new("GET", &format!("https://localhost:{port}{path}")).unwrap();
        let own = Identity::self_signed("own");
        send_as(&request, port, &gate.ca, Some(&own)).unwrap()
    };
    let (usual, asking) = (get(gate.server.port), get(gate.asking));
    assert!(!usual.was_asked && asking.was_asked);
    let document = granted(&usual.answer);
    assert_eq!(document, granted(&asking.answer));
    let base = format!("https://localhost:{}", gate.asking);
    for (name, path) in [
        ("token_endpoint", "/oauth/token"),
        ("introspection_endpoint", "/oauth/introspect"),
        ("revocation_endpoint", "/oauth/revoke"),
        ("pushed_authorization_request_endpoint", "/oauth/par"),
        ("device_authorization_endpoint", "/oauth/device_authorization"),
    ] {
        assert_eq!(document["mtls_endpoint_aliases"][name], format!("{base}{path}"));
        assert!(document[name].as_str().unwrap().starts_with(&gate.server.issuer));
    }
    assert_eq!(document["tls_client_certificate_bound_access_tokens"], true);
    let methods = document["token_endpoint_auth_methods_supported"]
        .as_array()
        .unwrap();
    for method in ["tls_client_auth", "self_signed_tls_client_auth"] {
        assert!(methods.contains(&json!(method)), "{method}");
    }
}

both!(ca_38_certificates_of_the_handshake_authenticate);
fn ca_38_certificates_of_the_handshake_authenticate(db: Db) {
    let gate = Gate::start(db);
    let agent = gate.clients.sign("agent", &[Name::Dns("agent.example")]);
    let own = Identity::self_signed("own");
    let words = [
        "--auth-method",
        "tls_client_auth",
        "--tls-san-dns",
        "agent.example",
    ];
    let (pki, bare) = (gate.client("pki", &words), gate.registered("bare", &own, &[]));
    granted(&gate.ask(gate.asking, &pki, Some(&agent)).answer);
    granted(&gate.ask(gate.asking, &bare, Some(&own)).answer);
    for (client, wrong) in [
        (&pki, Some(&own)),
        (&bare, Some(&agent)),
        (&pki, None),
        (&bare, None),
    ] {
        refused_client(&gate.ask(gate.asking, client, wrong).answer, false);
    }
    // Where nobody is asked, nobody gets in that way.
    refused_client(&gate.ask(gate.server.port, &bare, Some(&own)).answer, false);
    // RFC 9440 headers are for proxies: from anybody else they are nothing.
    let request = Request::post(&format!("https://localhost:{}/oauth/token", gate.server.port)).unwrap();
    let request = request
        .form(&[GRANT, ("client_id", &bare)])
        .header("Client-Cert", &own.header());
    refused_client(
        &send_as(&request, gate.server.port, &gate.ca, None)
            .unwrap()
            .answer,
        false,
    );
    // A client with a secret is as welcome there as anywhere, with a certificate or without.
    let basic = gate
        .server
        .create_client("basic", &["--scopes", "mcp:read"])
        .unwrap();
    let request = Request::post(&format!("https://localhost:{}/oauth/token", gate.asking)).unwrap();
    let request = request.basic(&basic.id, &basic.secret).form(&[GRANT]);
    for shown in [None, Some(&agent)] {
        granted(&send_as(&request, gate.asking, &gate.ca, shown).unwrap().answer);
    }
}

both!(rfc_8705_3_tokens_are_bound_to_the_certificate_of_the_handshake);
fn rfc_8705_3_tokens_are_bound_to_the_certificate_of_the_handshake(db: Db) {
    let gate = Gate::start(db);
    let own = Identity::self_signed("own");
    let id = gate.registered("bound", &own, &["--certificate-bound"]);
    let answer = granted(&gate.ask(gate.asking, &id, Some(&own)).answer);
    let token = answer["access_token"].as_str().unwrap();
    assert_eq!(
        forge::part(token, 1)["cnf"]["x5t#S256"],
        own.thumbprint().as_str()
    );
}

#[test]
fn jwt_39_a_node_that_asks_takes_the_token_with_its_certificate_only() {
    let folder = tempfile::tempdir().unwrap();
    let key = forge::Key::ed25519("ed");
    let issuer = blackbox::issuer::Issuer::start(forge::key_set(&[&key]));
    let mut node = Node::new(
        built("mcp-node"),
        folder.path(),
        free_port().unwrap(),
        &issuer.url,
    );
    let resource = format!("https://localhost:{}/mcp", node.port);
    node.extra = format!(
        "\n[[issuer]]\nurl = \"{}\"\n{UNLIMITED_NODE}\n[tls]\nmode = \"self-signed\"\nclient_certificates = \"request\"\n",
        issuer.url
    );
    node.environment = vec![("EDGE_HIVE_SERVER__RESOURCE".into(), resource.clone())];
    node.write_config().unwrap();
    let mut program = node.serve().unwrap();
    let ca = folder.path().join("tls/ca.pem");
    wait(&mut program, node.port, &ca);
    let path = "/.well-known/oauth-protected-resource";
    let request = Request::new("GET", &format!("https://localhost:{}{path}", node.port)).unwrap();
    let metadata = granted(&send_as(&request, node.port, &ca, None).unwrap().answer);
    assert_eq!(metadata["tls_client_certificate_bound_access_tokens"], true);
    let (own, thief) = (Identity::self_signed("own"), Identity::self_signed("own"));
    let cnf = json!({"x5t#S256": own.thumbprint()});
    let bound = key.token(&forge::with(&forge::claims(&issuer.url, &resource), "cnf", cnf));
    let call = |token: &str, shown: Option<&Identity>| {
        let request = Request::post(&format!("https://localhost:{}/mcp/tools/call", node.port)).unwrap();
        let request = request
            .bearer(token)
            .json(&json!({"name": "get_status", "arguments": {}}));
        send_as(&request, node.port, &ca, shown).unwrap().answer
    };
    assert_eq!(call(&bound, Some(&own)).status, 200);
    refused_401(&call(&bound, None), Some("invalid_token"));
    refused_401(&call(&bound, Some(&thief)), Some("invalid_token"));
    let free = key.token(&forge::claims(&issuer.url, &resource));
    assert_eq!(call(&free, None).status, 200);
    assert_eq!(call(&bound, Some(&own)).status, 200);
}
