//! What an operator meets: command lines beside a running server, two servers on one database, faults at start.

use std::io::{Read as _, Write as _};
use std::process::Command;
use std::time::{Duration, Instant};

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::fleet::{Wishes, built};
use blackbox::{Db, Fleet, Place, both, database, near_and_far};
use serde_json::Value;
use xtask::fleet::{AuthzServer, START, free_port};
use xtask::http::{self, Connection, Request, Url};
use xtask::shell;

fn words(command: &mut Command) -> (bool, String) {
    let output = shell::output(command).unwrap();
    let text =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.success(), text)
}

/// A second server on the database of the first: same issuer, other port and folder, the same master key.
fn second(fleet: &Fleet) -> AuthzServer {
    let mut server = fleet.server.clone();
    server.folder = fleet.server.folder.parent().unwrap().join("second");
    server.port = free_port().unwrap();
    server.database = Some(
        fleet
            .server
            .database
            .clone()
            .unwrap_or_else(|| format!("sqlite:{}/authz.db", fleet.server.folder.display())),
    );
    std::fs::create_dir_all(&server.folder).unwrap();
    std::fs::copy(
        fleet.server.folder.join("master.key"),
        server.folder.join("master.key"),
    )
    .unwrap();
    server.write_config().unwrap();
    server
}

both!(con_07_two_servers_on_one_database_agree_at_once);
fn con_07_two_servers_on_one_database_agree_at_once(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    let other = second(&fleet);
    let _running = other.serve_ready().unwrap();
    let at_other = |path: &str, form: &[(&str, &str)]| {
        let url = format!("http://127.0.0.1:{}{path}", other.port);
        let request = Request::post(&url)
            .unwrap()
            .header("Host", &format!("localhost:{}", fleet.server.port));
        request
            .basic(&client.id, &client.secret)
            .form(form)
            .send()
            .unwrap()
    };
    let keys = |port: u16| {
        let request = Request::new("GET", &format!("http://127.0.0.1:{port}/.well-known/jwks.json")).unwrap();
        granted(
            &request
                .header("Host", &format!("localhost:{}", fleet.server.port))
                .send()
                .unwrap(),
        )
    };
    assert_eq!(keys(other.port), keys(fleet.server.port));
    for _ in 0..10 {
        let token = fleet.token(&client, &fleet.node.url());
        assert_eq!(
            granted(&at_other("/oauth/introspect", &[("token", &token)]))["active"],
            true
        );
        assert_eq!(fleet.call(&token).status, 200);
        // REV-06, INT-07: revoked here, inactive there, with no time in between.
        assert_eq!(
            fleet.post("/oauth/revoke", &client, &[("token", &token)]).status,
            200
        );
        assert_eq!(
            granted(&at_other("/oauth/introspect", &[("token", &token)]))["active"],
            false
        );
    }
    let token = granted(&at_other(
        "/oauth/token",
        &[
            ("grant_type", "client_credentials"),
            ("resource", &fleet.node.url()),
        ],
    ));
    let token = token["access_token"].as_str().unwrap();
    fleet.remember(token);
    assert_eq!(fleet.call(token).status, 200);
}

near_and_far!(cli_01_a_running_server_sees_changes_at_once);
fn cli_01_a_running_server_sees_changes_at_once(place: Place) {
    let fleet = Fleet::shared(place);
    let client = fleet.client_for_any(&["--scopes", "mcp:read"]);
    let node = fleet.node.url();
    let (at_node, call) = (("resource", node.as_str()), ("scope", "mcp:call"));
    granted(&fleet.ask_token(&client, &[at_node]));
    refused_400(&fleet.ask_token(&client, &[at_node, call]), "invalid_scope");
    fleet
        .server
        .json(&["client", "update", &client.id, "--scopes", "mcp:read mcp:call"])
        .unwrap();
    granted(&fleet.ask_token(&client, &[at_node, call]));
    let late = fleet.resource(&[]);
    granted(&fleet.ask_token(&client, &[("resource", &late)]));
    fleet
        .server
        .json(&["resource", "delete", "--uri", &late])
        .unwrap();
    refused_400(
        &fleet.ask_token(&client, &[("resource", &late)]),
        "invalid_target",
    );
    fleet.server.json(&["client", "revoke", &client.id]).unwrap();
    refused_client(&fleet.ask_token(&client, &[at_node]), true);
}

near_and_far!(cli_02_lists_and_shows_never_show_a_secret);
fn cli_02_lists_and_shows_never_show_a_secret(place: Place) {
    let fleet = Fleet::shared(place);
    let client = fleet.client(&[]);
    for line in [&["client", "list"][..], &["client", "show", &client.id]] {
        let shown = fleet.server.json(line).unwrap().to_string();
        assert!(shown.contains(&client.id), "{shown}");
        assert_eq!(fleet.leak_in(&shown), None);
        let human = shell::read(&mut fleet.server.command(line)).unwrap();
        assert!(
            human.contains(&client.id) && fleet.leak_in(&human).is_none(),
            "{human}"
        );
    }
}

near_and_far!(cli_03_a_refused_command_says_what_to_do);
fn cli_03_a_refused_command_says_what_to_do(place: Place) {
    let fleet = Fleet::shared(place);
    for (line, code) in [
        (&["client", "show", "nobody"][..], 1),
        (&["client", "revoke", "nobody"], 1),
        (&["resource", "create", "--uri", "not a uri"], 1),
        (&["client", "create"], 2),
        (&["nonsense"], 2),
    ] {
        let output = shell::output(&mut fleet.server.command(line)).unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{line:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!output.stderr.is_empty(), "{line:?} is silent");
    }
}

both!(ops_01_the_database_of_another_issuer_is_refused);
fn ops_01_the_database_of_another_issuer_is_refused(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let mut other = second(&fleet);
    other.issuer = "http://localhost:1/other".into();
    other.write_config().unwrap();
    let mut refused = other.serve().unwrap();
    let status = refused.wait_end(START).unwrap();
    assert_eq!(status.code(), Some(1));
    let log = refused.log();
    assert!(
        log.contains(&fleet.server.issuer) && log.contains("http://localhost:1/other"),
        "{log}"
    );
    // The positive twin: with the right issuer it starts.
    other.issuer.clone_from(&fleet.server.issuer);
    other.write_config().unwrap();
    other.serve_ready().unwrap();
}

both!(ops_03_two_servers_may_migrate_at_once);
fn ops_03_two_servers_may_migrate_at_once(db: Db) {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port().unwrap();
    let mut first = AuthzServer::new(built("authz-server"), &folder.path().join("a"), port);
    first.database = db
        .create()
        .or_else(|| Some(format!("sqlite:{}/shared.db", folder.path().display())));
    let mut servers = vec![first.clone(), first.clone(), first.clone()];
    let key = folder.path().join("a/master.key");
    // All need the same master key: one command makes it, in a folder of its own.
    std::fs::create_dir_all(folder.path().join("a")).unwrap();
    std::fs::write(&key, [7u8; 32]).unwrap();
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    for (n, server) in servers.iter_mut().enumerate() {
        server.folder = folder.path().join(format!("s{n}"));
        server.port = free_port().unwrap();
        std::fs::create_dir_all(&server.folder).unwrap();
        std::fs::copy(&key, server.folder.join("master.key")).unwrap();
        server.write_config().unwrap();
    }
    let mut running: Vec<_> = servers.iter().map(|server| server.serve().unwrap()).collect();
    for (program, server) in running.iter_mut().zip(&servers) {
        program
            .wait_ready(&format!("http://localhost:{}/readyz", server.port), START)
            .unwrap();
    }
    let sets: Vec<Value> = servers
        .iter()
        .map(|server| {
            let url = format!("http://127.0.0.1:{}/.well-known/jwks.json", server.port);
            let request = Request::new("GET", &url)
                .unwrap()
                .header("Host", &format!("localhost:{port}"));
            granted(&request.send().unwrap())
        })
        .collect();
    assert_eq!(sets[0], sets[1]);
    assert_eq!(sets[1], sets[2]);
}

both!(dur_17_a_polite_end_finishes_requests);
fn dur_17_a_polite_end_finishes_requests(db: Db) {
    // With one request in flight a worker without work ends first, and may take nothing of the other's with it; with
    // eight, every worker has work.
    for in_flight in [1, 8] {
        let fleet = Fleet::start(db, &Wishes::default());
        let client = fleet.client(&[]);
        let request = Request::post(&fleet.at("/oauth/token"))
            .unwrap()
            .basic(&client.id, &client.secret);
        let request = request.form(&[("grant_type", "client_credentials")]);
        // Before that, both workers have spoken to the database.
        std::thread::scope(|scope| {
            for _ in 0..16 {
                scope.spawn(|| granted(&request.send().unwrap()));
            }
        });
        // A server that has said "continue" has the request in flight (RFC 9110 §10.1.1).
        let bytes = request.clone().header("Expect", "100-continue").bytes(false);
        let (head, body) = bytes.split_at(bytes.len() - "grant_type=client_credentials".len());
        let url = Url::parse(&fleet.at("/")).unwrap();
        let mut connections: Vec<_> = (0..in_flight).map(|_| Connection::open(&url).unwrap()).collect();
        for connection in &mut connections {
            connection.stream().write_all(head).unwrap();
            let mut answer = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
            connection.stream().read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        let mut programs = fleet.programs();
        let server = programs.get_mut("authz-server").unwrap();
        server.signal("TERM").unwrap();
        let deadline = Instant::now() + Duration::from_secs(10);
        while http::get(&fleet.at("/healthz")).is_ok() {
            assert!(
                Instant::now() < deadline,
                "new connections are still taken after SIGTERM"
            );
        }
        for connection in &mut connections {
            granted(&connection.exchange(body, false).unwrap());
        }
        assert!(server.wait_end(Duration::from_secs(15)).unwrap().success());
        assert!(http::get(&fleet.at("/healthz")).is_err());
        let node = programs.get_mut("mcp-node").unwrap();
        assert!(node.terminate(Duration::from_secs(15)).unwrap().success());
    }
}

both!(dur_06_keys_survive_a_restart);
fn dur_06_keys_survive_a_restart(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    let keys = granted(&http::get(&fleet.at("/.well-known/jwks.json")).unwrap());
    fleet.restart_server();
    assert_eq!(
        granted(&http::get(&fleet.at("/.well-known/jwks.json")).unwrap()),
        keys
    );
    assert_eq!(fleet.introspect(&client, &token)["active"], true);
    granted(&fleet.ask_token(&client, &[]));
}

both!(cli_04_healthcheck_tells_the_truth);
fn cli_04_healthcheck_tells_the_truth(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    for (program, name) in [
        (fleet.server.command(&["healthcheck"]), "authz-server"),
        (fleet.node.command(&["healthcheck"]), "mcp-node"),
    ] {
        let mut program = program;
        assert!(words(&mut program).0, "{name}");
        fleet.programs().get_mut(name).unwrap().kill();
        let (healthy, text) = words(&mut program);
        assert!(!healthy && !text.is_empty(), "{name}: {text}");
    }
}

both!(db_01_status_and_migrate);
fn db_01_status_and_migrate(db: Db) {
    let fleet = Fleet::shared(db);
    for line in [["db", "status"], ["db", "migrate"]] {
        let (fine, text) = words(&mut fleet.server.command(&line));
        assert!(fine, "{line:?}: {text}");
    }
}

/// OPS-03 as seen in the tables: however many servers migrate, each migration is recorded once.
#[test]
fn ops_03_each_migration_is_recorded_once_postgres() {
    let fleet = Fleet::start(Db::Postgres, &Wishes::default());
    let url = fleet.server.database.clone().unwrap();
    let other = second(&fleet);
    let _running = other.serve_ready().unwrap();
    let count = |what: &str| {
        let text = database::cluster()
            .sql(&url, &format!("SELECT count({what}) FROM _sqlx_migrations"))
            .unwrap();
        text.trim().parse::<u32>().unwrap()
    };
    assert!(count("*") > 0);
    assert_eq!(count("*"), count("DISTINCT version"));
}

/// ADM-17: every fault of a configuration at once, each with the key to change.
#[test]
fn adm_17_config_check_prints_every_fault_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let check = |program: &str, text: &str| {
        let file = folder.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new(built(program));
        words(
            command
                .args(["config", "check", "--config"])
                .arg(&file)
                .current_dir(folder.path()),
        )
    };
    let server = "[server]\nlisten = [\"0.0.0.0:9000\"]\nissuer = \"ftp://x\"\nlistn = 1\n[tokens]\naccess_ttl = \"soon\"\n[keys]\ndefault_alg = \"HS256\"\n";
    let (fine, text) = check("authz-server", server);
    assert!(!fine);
    for part in ["issuer", "listn", "listen", "access_ttl", "HS256"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    let node = "[server]\nlisten = [\"0.0.0.0:8080\"]\nresource = \"nonsense\"\n[nod]\nname = \"x\"\n";
    let (fine, text) = check("mcp-node", node);
    assert!(!fine);
    for part in ["resource", "nod", "issuer"] {
        assert!(text.contains(part), "no {part} in:\n{text}");
    }
    let good = "[server]\nlisten = [\"127.0.0.1:9000\"]\nissuer = \"http://localhost:9000\"\n";
    let (fine, text) = check("authz-server", good);
    assert!(fine, "{text}");
    let good = "[server]\nlisten = [\"127.0.0.1:8080\"]\nresource = \"http://localhost:8080/mcp\"\n[[issuer]]\nurl = \"http://localhost:9000\"\nkind = \"edge-hive\"\n";
    let (fine, text) = check("mcp-node", good);
    assert!(fine, "{text}");
}
