//! Certificates of the operator (`[tls] mode = "files"`) for a name that leads nowhere: the commands beside a program ask
//! that very program, whoever else may answer to its name.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use blackbox::fleet::built;
use blackbox::{Db, both};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use xtask::fleet::{AuthzServer, Node, START, free_port};

/// A certificate for one name, with its authority behind it.
struct Chain {
    certificate: PathBuf,
    key: PathBuf,
    leaf: String,
    authority: String,
}

impl Chain {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params
            .distinguished_name
            .push(DnType::CommonName, "an operator's authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new([name.to_owned()])
            .unwrap()
            .signed_by(&key, &issuer)
            .unwrap()
            .pem();
        let chain = Self {
            certificate: folder.join("cert.pem"),
            key: folder.join("key.pem"),
            leaf,
            authority,
        };
        std::fs::write(&chain.key, key.serialize_pem()).unwrap();
        chain.write(true);
        chain
    }

    fn write(&self, with_authority: bool) {
        let authority = if with_authority { &*self.authority } else { "" };
        std::fs::write(&self.certificate, format!("{}{authority}", self.leaf)).unwrap();
    }

    fn toml(&self) -> String {
        format!(
            "\n[tls]\nmode = \"files\"\ncert_file = {:?}\nkey_file = {:?}\n",
            self.certificate, self.key
        )
    }
}

/// What a command ends with, and what it says.
fn outcome(mut command: Command) -> (bool, String) {
    let output = command.output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// Waits until the command is content.
fn becomes_healthy(command: impl Fn() -> Command) {
    let deadline = Instant::now() + START;
    while !outcome(command()).0 {
        assert!(Instant::now() < deadline, "{}", outcome(command()).1);
        std::thread::sleep(Duration::from_millis(50));
    }
}

both!(cli_04_the_server_beside_is_asked_under_the_name_of_its_certificate);
fn cli_04_the_server_beside_is_asked_under_the_name_of_its_certificate(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::new(folder.path(), "auth.example");
    let mut server = AuthzServer::new(built("authz-server"), folder.path(), free_port().unwrap());
    server.issuer = "https://auth.example".to_owned();
    server.database = db.create();
    server.extra = chain.toml();
    server.write_config().unwrap();
    let mut program = server.serve().unwrap();
    let check = || server.command(&["healthcheck"]);
    becomes_healthy(check);
    // Without the authority in the chain, nobody vouches for a private one; what is served has not changed.
    chain.write(false);
    let (healthy, text) = outcome(check());
    assert!(!healthy && text.contains("certificate"), "{text}");
    chain.write(true);
    assert!(outcome(check()).0);
    program.kill();
    assert!(!outcome(check()).0);
}

#[test]
fn cli_04_the_node_beside_is_asked_under_the_name_of_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let chain = Chain::new(folder.path(), "node.example");
    let mut node = Node::new(
        built("mcp-node"),
        folder.path(),
        free_port().unwrap(),
        "https://auth.example",
    );
    node.extra.push_str(&chain.toml());
    node.write_config().unwrap();
    let config = std::fs::read_to_string(node.config()).unwrap();
    let config = config.replace(&node.url(), "https://node.example/mcp");
    std::fs::write(node.config(), config).unwrap();
    let mut program = node.serve().unwrap();
    let check = || node.command(&["healthcheck"]);
    becomes_healthy(check);
    // It sees more than the probe: a page that asks for the host too.
    let (_, status) = outcome(node.command(&["status", "--json"]));
    assert!(
        status.contains("\"alive\":true") && status.contains("https://node.example/mcp"),
        "{status}"
    );
    chain.write(false);
    let (healthy, text) = outcome(check());
    assert!(!healthy && text.contains("certificate"), "{text}");
    chain.write(true);
    program.kill();
    assert!(!outcome(check()).0);
}
