//! Part 9 of the contract's set-up, GEN-27 … GEN-29: TLS 1.3 only, made by the programs themselves.

use std::path::PathBuf;

use blackbox::answers::granted;
use blackbox::fleet::built;
use blackbox::{Db, both, tls};
use rustls::ProtocolVersion;
use xtask::fleet::{AuthzServer, START, free_port};
use xtask::http::Request;
use xtask::program::Program;
use xtask::shell;

/// A server with a certificate of its own making.
fn self_signed(db: Db, folder: &tempfile::TempDir) -> (AuthzServer, Program, PathBuf) {
    let mut server = AuthzServer::new(built("authz-server"), folder.path(), free_port().unwrap());
    server.issuer = server.issuer.replace("http://", "https://");
    server.database = db.create();
    server.extra = "\n[tls]\nmode = \"self-signed\"\n".into();
    server.write_config().unwrap();
    let mut program = server.serve().unwrap();
    let ca = wait_for_ca(&mut program, folder.path().to_path_buf(), server.port);
    (server, program, ca)
}

/// The log names the CA's file, which may be before the server listens.
fn wait_for_ca(program: &mut Program, folder: PathBuf, port: u16) -> PathBuf {
    let deadline = std::time::Instant::now() + START;
    loop {
        assert!(program.ended().is_none(), "the server ended:\n{}", program.log());
        assert!(
            std::time::Instant::now() < deadline,
            "no CA in the log:\n{}",
            program.log()
        );
        let log = program.log();
        let named = log
            .split([' ', '"', '\n', '=', ','])
            .find(|word| word.ends_with(".pem") && word.contains("ca"));
        if let Some(path) = named.map(|word| folder.join(word)).filter(|path| path.is_file())
            && std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        {
            return path;
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
}

fn get(server: &AuthzServer, path: &str) -> Request {
    Request::new("GET", &format!("https://localhost:{}{path}", server.port)).unwrap()
}

both!(tls_01_self_signed_end_to_end);
fn tls_01_self_signed_end_to_end(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut program, ca) = self_signed(db, &folder);
    let seen = tls::send(
        &get(&server, "/.well-known/oauth-authorization-server"),
        server.port,
        &ca,
    )
    .unwrap();
    let document = granted(&seen.answer);
    assert_eq!(document["issuer"], server.issuer.as_str());
    assert!(
        document["token_endpoint"]
            .as_str()
            .unwrap()
            .starts_with("https://"),
        "{document}"
    );
    assert_eq!(seen.version, Some(ProtocolVersion::TLSv1_3));
    // HTTP/2 is off until its library has no open advisory, although this client offers it first.
    assert_eq!(seen.protocol.as_deref(), Some(&b"http/1.1"[..]));
    let hsts = seen
        .answer
        .header("strict-transport-security")
        .unwrap_or_default();
    assert!(hsts.contains("max-age="), "GEN-29: {:?}", seen.answer.headers);

    let client = server.create_client("tls", &["--scopes", "mcp:read"]).unwrap();
    server.ensure_resource("https://localhost:1/mcp", &[]).unwrap();
    let request = Request::post(&format!("https://localhost:{}/oauth/token", server.port)).unwrap();
    let request = request
        .basic(&client.id, &client.secret)
        .form(&[("grant_type", "client_credentials")]);
    granted(&tls::send(&request, server.port, &ca).unwrap().answer);
    assert!(
        program
            .terminate(std::time::Duration::from_secs(15))
            .unwrap()
            .success()
    );
}

both!(tls_02_older_versions_and_plain_text_are_refused);
fn tls_02_older_versions_and_plain_text_are_refused(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let (server, _program, ca) = self_signed(db, &folder);
    // 70 is protocol_version (RFC 8446 §6).
    assert_eq!(tls::alert_for_tls_1_2(server.port).unwrap(), 70);
    let plain = Request::new("GET", &format!("http://localhost:{}/healthz", server.port)).unwrap();
    assert!(plain.send().is_err());
    assert_eq!(
        tls::send(&get(&server, "/healthz"), server.port, &ca)
            .unwrap()
            .answer
            .status,
        200
    );
}

both!(tls_03_a_stranger_with_another_ca_is_not_believed);
fn tls_03_a_stranger_with_another_ca_is_not_believed(db: Db) {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (server, _program, ca) = self_signed(db, &one);
    let (_, _other, other_ca) = self_signed(db, &two);
    assert!(tls::send(&get(&server, "/healthz"), server.port, &other_ca).is_err());
    assert_eq!(
        tls::send(&get(&server, "/healthz"), server.port, &ca)
            .unwrap()
            .answer
            .status,
        200
    );
}

both!(tls_04_the_ca_survives_a_restart);
fn tls_04_the_ca_survives_a_restart(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let (server, mut program, ca) = self_signed(db, &folder);
    let before = std::fs::read(&ca).unwrap();
    program.terminate(std::time::Duration::from_secs(15)).unwrap();
    let mut again = server.serve().unwrap();
    let same = wait_for_ca(&mut again, folder.path().to_path_buf(), server.port);
    assert_eq!(std::fs::read(same).unwrap(), before);
    let deadline = std::time::Instant::now() + START;
    while tls::send(&get(&server, "/readyz"), server.port, &ca).is_err() {
        assert!(std::time::Instant::now() < deadline, "{}", again.log());
        std::thread::sleep(std::time::Duration::from_millis(30));
    }
}

both!(tls_05_plain_http_stays_on_the_loopback);
fn tls_05_plain_http_stays_on_the_loopback(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let mut server = AuthzServer::new(built("authz-server"), folder.path(), free_port().unwrap());
    server.database = db.create();
    server.write_config().unwrap();
    let mut open = server.command(&["config", "check"]);
    open.env("EDGE_HIVE_SERVER__LISTEN", format!("0.0.0.0:{}", server.port));
    let refused = shell::output(&mut open).unwrap();
    assert_eq!(refused.status.code(), Some(1));
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(text.contains("tls"), "{text}");
    assert!(
        shell::output(&mut server.command(&["config", "check"]))
            .unwrap()
            .status
            .success()
    );
}
