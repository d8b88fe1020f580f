//! OPS-01: a release goes on serving while the next one migrates its database, and beside it afterwards.
//!
//! What the next release may do to the tables is a rule that a test of the migrations keeps (`db/tests/expand.rs`). Here it is
//! done to a program that knows nothing of it: to this one, by a migration made up of everything that is allowed, on each
//! table; or to an older one by the real thing, where `cargo xtask faults --from REVISION` has built that.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use blackbox::answers::refused_503;
use blackbox::balancer::Balancer;
use blackbox::fleet::{SCOPES, built};
use blackbox::local_network::eventually;
use blackbox::told::Told;
use blackbox::{Db, both, database, length};
use tempfile::TempDir;
use xtask::code_flow::{CodeClient, TESTING_DOOR};
use xtask::fleet::{AuthzServer, Credentials, START, UNLIMITED_OPERATORS, UNLIMITED_SERVER, free_port};
use xtask::http;
use xtask::program::Program;
use xtask::shell;

const RESOURCE: &str = "http://localhost:1/mcp";

/// What a newer program leaves beside its changes.
const RECORD: &str =
    "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time) VALUES ";

/// A server of each release on one database, behind a balancer. The older one runs.
struct Rollout {
    db: Db,
    older: AuthzServer,
    newer: AuthzServer,
    approved: CodeClient,
    own: Credentials,
    watcher: Credentials,
    operator: Credentials,
    folder: TempDir,
}

impl Rollout {
    fn begin(db: Db) -> (Self, Program) {
        let folder = tempfile::tempdir().unwrap();
        let ports = [free_port().unwrap(), free_port().unwrap()];
        let issuer = format!("http://localhost:{}", Balancer::start(ports.to_vec()).port);
        let file = || format!("sqlite:{}/shared.db", folder.path().display());
        let url = db.create().unwrap_or_else(file);
        let instance = |name: &str, program: PathBuf, port: u16| {
            let mut server = AuthzServer::new(program, &folder.path().join(name), port);
            server.issuer.clone_from(&issuer);
            server.database = Some(url.clone());
            server.extra = format!("{TESTING_DOOR}{UNLIMITED_SERVER}{UNLIMITED_OPERATORS}");
            server.write_config().unwrap();
            server
        };
        let ours = built("authz-server");
        let older = length::older_server().unwrap_or_else(|| ours.clone());
        let (older, newer) = (
            instance("older", older, ports[0]),
            instance("newer", ours, ports[1]),
        );
        let program = older.serve_ready().unwrap();
        std::fs::copy(older.folder.join("master.key"), newer.folder.join("master.key")).unwrap();
        older.ensure_resource(RESOURCE, &[]).unwrap();
        let client = |name: &str, scopes: &str, resource: &str| {
            let words = ["--scopes", scopes, "--resource", resource];
            older.create_client(name, &words).unwrap()
        };
        let watcher = older.create_client("watcher", &[]).unwrap();
        let line = ["resource", "update", "--uri", RESOURCE, "--client", &watcher.id];
        older.json(&line).unwrap();
        let rollout = Self {
            db,
            approved: CodeClient::create(&older, "ines", (RESOURCE, "mcp:read")).unwrap(),
            own: client("own", SCOPES, RESOURCE),
            operator: client("operator", "admin:read", &format!("{issuer}/admin/v1")),
            watcher,
            older,
            newer,
            folder,
        };
        (rollout, program)
    }

    /// What somebody with the database's password does; rows come back as text.
    fn sql(&self, statements: &str) -> String {
        if self.db == Db::Postgres {
            let url = self.older.database.as_deref().unwrap();
            return database::cluster().sql(url, statements).unwrap();
        }
        let mut sqlite = Command::new("sqlite3");
        sqlite.args(["-cmd", ".timeout 30000"]);
        shell::read(sqlite.arg(self.folder.path().join("shared.db")).arg(statements)).unwrap()
    }

    /// As a program of the next release would, while the older one serves.
    fn migrate(&self) {
        if length::older_server().is_some() {
            self.newer.json(&["db", "migrate"]).unwrap();
            return;
        }
        let tables = match self.db {
            Db::Postgres => "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'",
            Db::Sqlite => "SELECT name FROM sqlite_master WHERE type = 'table'",
        };
        let tables = self.sql(tables);
        let tables: Vec<&str> = tables
            .lines()
            .filter(|name| !name.starts_with(['_', ' ']))
            .collect();
        assert!(tables.len() > 30, "{tables:?}");
        for table in tables {
            self.sql(&format!(
                "ALTER TABLE {table} ADD COLUMN later_text TEXT; \
                 ALTER TABLE {table} ADD COLUMN later_count BIGINT NOT NULL DEFAULT 7"
            ));
        }
        self.sql(&format!(
            "CREATE TABLE later (client_id TEXT PRIMARY KEY REFERENCES client (client_id) ON DELETE CASCADE, \
             kind TEXT NOT NULL CHECK (kind IN ('a', 'b'))); \
             INSERT INTO later (client_id, kind) SELECT client_id, 'a' FROM client; \
             UPDATE client SET later_text = name; CREATE INDEX client_later ON client (later_text, later_count); \
             {RECORD} (9001, 'add something everywhere', TRUE, '', 0)"
        ));
    }
}

both!(ops_01_a_release_serves_while_the_next_one_migrates_and_beside_it);
fn ops_01_a_release_serves_while_the_next_one_migrates_and_beside_it(db: Db) {
    let (rollout, mut older) = Rollout::begin(db);
    let told = Told::default();
    let issuer = &rollout.older.issuer;
    let mut newer = thread::scope(|scope| {
        let _over = told.until_dropped();
        let mut workers: Vec<ScopedJoinHandle<'_, ()>> = (0..3)
            .map(|_| scope.spawn(|| told.work(&rollout.approved)))
            .collect();
        workers.push(scope.spawn(|| told.ask_for_own(issuer, &rollout.own)));
        workers.push(scope.spawn(|| told.read_lists(issuer, &rollout.operator)));
        told.wait_for_more(&workers);
        rollout.migrate();
        told.wait_for_more(&workers);
        // Two serve one database only where that is Postgres.
        let beside = (db == Db::Postgres).then(|| rollout.newer.serve_ready().unwrap());
        told.wait_for_more(&workers);
        // An accident in the middle of it.
        older.kill();
        older = rollout.older.serve_ready().unwrap();
        told.wait_for_more(&workers);
        assert!(older.terminate(START).unwrap().success());
        let newer = beside.unwrap_or_else(|| rollout.newer.serve_ready().unwrap());
        told.wait_for_more(&workers);
        newer
    });
    println!("{}", told.verify(&rollout.approved, &rollout.watcher));
    rollout.newer.json(&["audit", "verify"]).unwrap();
    if length::older_server().is_none() {
        is_backed_up_by_the_newest_only(&rollout);
        ends_with_a_contraction(&rollout, &mut newer);
    }
}

/// An older program would leave out what it does not know.
fn is_backed_up_by_the_newest_only(rollout: &Rollout) {
    let key = rollout.folder.path().join("backup.key");
    std::fs::write(&key, "a secret of more than twenty characters").unwrap();
    std::fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
    let file = rollout.folder.path().join("a.backup");
    let [to, from_key] = [&file, &key].map(|path| path.to_str().unwrap());
    let words = ["db", "backup", "--to", to, "--key-file", from_key];
    let output = rollout.newer.command(&words).output().unwrap();
    let sentence = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && !file.exists());
    assert!(
        sentence.contains("9001") && sentence.contains("newer"),
        "{sentence}"
    );
}

/// A migration that takes something away names the oldest release that may serve after it.
fn ends_with_a_contraction(rollout: &Rollout, running: &mut Program) {
    let ready = format!("http://localhost:{}/readyz", rollout.newer.port);
    rollout.sql(&format!(
        "{RECORD} (9002, 'needs 0.0.1 forget little', TRUE, '', 0)"
    ));
    assert_eq!(http::get(&ready).unwrap().status, 200);
    rollout.sql(&format!(
        "{RECORD} (9003, 'needs 999.0.0 forget something', TRUE, '', 0)"
    ));
    // What the database was found to be stands for two seconds.
    eventually("not ready", || http::get(&ready).unwrap().status != 200);
    let answer = http::get(&ready).unwrap();
    refused_503(&answer);
    assert!(answer.text().contains("newer version"), "{answer}");
    assert!(running.terminate(START).unwrap().success());
    let mut again = rollout.newer.serve().unwrap();
    assert_eq!(again.wait_end(Duration::from_secs(60)).unwrap().code(), Some(1));
    let log = again.log();
    assert!(log.contains("9003") && log.contains("999.0.0"), "{log}");
    let status = rollout.newer.json(&["db", "status"]).unwrap();
    let newest = status.as_array().unwrap().last().unwrap();
    assert!(newest["version"] == 9003 && newest["known"] == false, "{newest}");
}
