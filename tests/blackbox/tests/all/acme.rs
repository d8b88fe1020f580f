//! Certificates by ACME (RFC 8555, RFC 8737), of an authority that looks for itself; and plain HTTP that leads to https
//! (RFC 6797 §7.2).

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use blackbox::acme::{Authority, Mood, in_days};
use blackbox::fleet::built;
use blackbox::{Db, tls};
use serde_json::Value;
use xtask::fleet::{AuthzServer, Node, free_port};
use xtask::http::{Request, get};
use xtask::program::Program;
use xtask::shell;

const PATIENCE: Duration = Duration::from_secs(90);
const DOMAIN: &str = "auth.example";

fn wait_for(program: &Program, what: &str, mut happens: impl FnMut() -> bool) {
    let began = Instant::now();
    while !happens() {
        assert!(
            began.elapsed() < PATIENCE,
            "{what}: it does not happen\n{}",
            program.log()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A certificate counts before it is in its file, and before the order is counted; the log tells when all of it is done.
fn wait_until_kept(program: &Program) {
    wait_for(program, "the order is done", || {
        program.log().contains("another certificate is shown")
    });
}

/// What `/readyz` says of the certificate, over plain HTTP.
fn certificate(port: u16) -> Value {
    let answer = get(&format!("http://localhost:{port}/readyz"));
    answer
        .and_then(|answer| answer.json())
        .map_or(Value::Null, |answer| answer["certificate"].clone())
}

fn stands(port: u16, word: &str) -> bool {
    certificate(port)["standing"] == word
}

fn ready(port: u16) -> Request {
    let request = Request::new("GET", &format!("https://{DOMAIN}/readyz"));
    request.unwrap().header("Host", &format!("localhost:{port}"))
}

/// A server that orders for [`DOMAIN`], and the port where it speaks plain HTTP.
fn server(authority: &Authority, folder: &Path, port: u16) -> (AuthzServer, u16) {
    let mut server = AuthzServer::new(built("authz-server"), folder, port);
    server.issuer = format!("https://{DOMAIN}");
    server.database = Db::Sqlite.create();
    let clear = free_port().unwrap();
    let redirect = format!("redirect_listen = \"127.0.0.1:{clear}\"");
    server.extra = authority.section(&[DOMAIN], &redirect, "");
    server.write_config().unwrap();
    (server, clear)
}

#[test]
fn acme_01_a_certificate_is_ordered_when_there_is_none_and_kept() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let authority = Authority::start(port);
    let (server, clear) = server(&authority, folder.path(), port);
    let health = || {
        shell::output(&mut server.command(&["healthcheck"]))
            .unwrap()
            .status
            .success()
    };
    // The directory is away: the server is there all the same, says what it lacks, and tries again.
    let mut program = server.serve().unwrap();
    wait_for(&program, "no certificate", || stands(clear, "missing"));
    wait_for(&program, "the reason is in the log", || {
        program.log().contains("\"reason\":\"unreachable\"")
    });
    assert!(tls::connect(DOMAIN, port, &authority.ca).is_err());
    assert!(!health());
    authority.is(Mood::Good);
    wait_for(&program, "a certificate", || stands(clear, "valid"));
    wait_until_kept(&program);
    let mut connection = tls::connect(DOMAIN, port, &authority.ca).unwrap();
    assert_eq!(connection.send(&ready(port)).unwrap().status, 200);
    assert!(tls::connect("other.example", port, &authority.ca).is_err());
    assert!(health());

    // Keys are their owner's alone.
    let acme = folder.path().join("acme");
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&acme), 0o700);
    let files: Vec<_> = std::fs::read_dir(&acme)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 2, "{files:?}");
    assert!(files.iter().all(|file| mode(file) == 0o600), "{files:?}");

    // What was kept is shown at once after a restart, and nothing is ordered.
    program.terminate(Duration::from_secs(15)).unwrap();
    authority.is(Mood::Away);
    let program = server.serve().unwrap();
    wait_for(&program, "the kept certificate is shown", || {
        tls::connect(DOMAIN, port, &authority.ca).is_ok()
    });
    assert_eq!((authority.orders(), authority.accounts()), (1, 1));
    assert!(stands(clear, "valid"));
}

#[test]
fn acme_02_a_certificate_is_renewed_and_no_connection_ends() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let authority = Authority::start(port);
    let (server, clear) = server(&authority, folder.path(), port);
    // The first has outlived two thirds of its life.
    authority.issues_for(Duration::from_secs(7 * 3600), Duration::from_secs(3 * 3600));
    authority.is(Mood::Good);
    let mut program = server.serve().unwrap();
    wait_for(&program, "a certificate that ends soon", || {
        stands(clear, "not_renewed")
    });
    let first = certificate(clear)["until"].clone();
    program.terminate(Duration::from_secs(15)).unwrap();

    authority.issues_for(Duration::from_secs(60), Duration::from_secs(90 * 86_400));
    authority.is(Mood::Holding);
    let program = server.serve().unwrap();
    wait_for(&program, "another order", || authority.orders() == 2);
    let mut old = tls::connect(DOMAIN, port, &authority.ca).unwrap();
    let shown = |connection: &mut tls::Kept| {
        let certificates = connection.stream().conn.peer_certificates().unwrap();
        certificates[0].to_vec()
    };
    assert_eq!(old.send(&ready(port)).unwrap().status, 200);
    let before = shown(&mut old);
    authority.is(Mood::Good);
    wait_for(&program, "the new certificate", || {
        assert_eq!(old.send(&ready(port)).unwrap().status, 200);
        certificate(clear)["until"] != first
    });
    let mut new = tls::connect(DOMAIN, port, &authority.ca).unwrap();
    assert_ne!(shown(&mut new), before);
    assert_eq!(new.send(&ready(port)).unwrap().status, 200);
    assert_eq!(old.send(&ready(port)).unwrap().status, 200);
    assert!(stands(clear, "valid"));
    // The account is the same one.
    assert_eq!(authority.accounts(), 1);
}

/// A node that orders for [`DOMAIN`], with the ports of plain HTTP and of metrics.
fn node(authority: &Authority, folder: &Path, port: u16, more: &str) -> (Program, u16, u16) {
    let mut node = Node::new(built("mcp-node"), folder, port, "http://localhost:1");
    let (clear, metrics) = (free_port().unwrap(), free_port().unwrap());
    let redirect = format!("redirect_listen = \"127.0.0.1:{clear}\"");
    node.extra
        .push_str(&authority.section(&[DOMAIN], &redirect, more));
    let variables = [
        ("EDGE_HIVE_SERVER__METRICS_LISTEN", format!("127.0.0.1:{metrics}")),
        ("EDGE_HIVE_SERVER__RESOURCE", format!("https://{DOMAIN}/mcp")),
    ];
    node.environment = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    node.write_config().unwrap();
    (node.serve().unwrap(), clear, metrics)
}

#[test]
fn acme_03_why_there_is_no_certificate_is_said_and_waited_out() {
    let until = in_days(6);
    let again = format!("\"again\":\"{}Z\"", until.replace(' ', "T"));
    for (mood, is_found, outcome, said) in [
        (Mood::Good, false, "challenge", "nobody there shows the token"),
        (
            Mood::Rejecting,
            true,
            "refused",
            "policy forbids issuing for the name (rejectedIdentifier)",
        ),
        // Retry after the time that the authority names, and not before.
        (Mood::Limiting(until), true, "rate_limited", &again),
    ] {
        let (folder, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
        // Where nobody listens, nobody is found.
        let authority = Authority::start(if is_found { port } else { free_port().unwrap() });
        authority.is(mood);
        let (program, clear, metrics) = node(&authority, folder.path(), port, "");
        wait_for(&program, said, || program.log().contains(said));
        assert!(
            program.log().contains(&format!("\"reason\":\"{outcome}\"")),
            "{}",
            program.log()
        );
        assert!(stands(clear, "missing"));
        let counted = get(&format!("http://localhost:{metrics}/metrics"))
            .unwrap()
            .text();
        let line = format!("edge_hive_node_acme_orders_total{{outcome=\"{outcome}\"}} 1");
        assert!(counted.contains(&line), "{counted}");
        assert!(tls::connect(DOMAIN, port, &authority.ca).is_err());
    }
}

#[test]
fn acme_04_a_node_is_found_over_plain_http_too_which_leads_to_https() {
    let (folder, port) = (tempfile::tempdir().unwrap(), free_port().unwrap());
    let authority = Authority::start(port);
    authority.is(Mood::Holding);
    let (program, clear, metrics) = node(&authority, folder.path(), port, "challenge = \"http-01\"");
    authority.looks_in_clear(clear);
    authority.is(Mood::Good);
    wait_for(&program, "a certificate", || stands(clear, "valid"));
    wait_until_kept(&program);
    assert!(tls::connect(DOMAIN, port, &authority.ca).is_ok());
    let counted = get(&format!("http://localhost:{metrics}/metrics"))
        .unwrap()
        .text();
    for part in [
        "edge_hive_node_acme_orders_total{outcome=\"certificate\"} 1",
        "edge_hive_node_tls_certificate_expires_timestamp_seconds ",
    ] {
        assert!(counted.contains(part), "{part}: {counted}");
    }

    let ask = |method: &str, path: &str| {
        let request = Request::new(method, &format!("http://localhost:{clear}{path}")).unwrap();
        request.header("Host", DOMAIN)
    };
    let led = ask("GET", "/mcp?a=b").send().unwrap();
    assert_eq!(
        (led.status, led.header("location")),
        (308, Some("https://auth.example/mcp?a=b"))
    );
    // RFC 6797 §7.2: what must not be said over plain HTTP.
    assert_eq!(led.header("strict-transport-security"), None);
    for refused in [
        ask("POST", "/mcp").body("{}"),
        ask("GET", "/mcp").bearer("x"),
        ask("GET", "/mcp?access_token=x"),
    ] {
        let answer = refused.send().unwrap();
        assert_eq!((answer.status, answer.header("location")), (403, None));
        assert!(answer.text().contains("in clear"), "{}", answer.text());
    }
    // A probe is answered, whatever name it asks for.
    assert_eq!(
        get(&format!("http://localhost:{clear}/healthz")).unwrap().status,
        200
    );
    let unknown = ask("GET", "/.well-known/acme-challenge/unknown").send().unwrap();
    assert_eq!(unknown.status, 404);
    assert_eq!(get(&format!("http://localhost:{clear}/mcp")).unwrap().status, 421);
}
