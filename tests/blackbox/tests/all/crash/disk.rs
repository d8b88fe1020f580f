//! DUR-10, DUR-12, DUR-20: while nothing can be written, nobody is lied to; afterwards everything goes on.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use blackbox::answers::{granted, oauth_error, refused_503};
use blackbox::traced::Traced;
use blackbox::{Db, Fleet, database};
use xtask::code_flow::{CodeClient, location};
use xtask::http::{self, Answer};

use super::{code_in, refresh_token, stage};

/// A code and a refresh token that nobody has used.
struct Unused {
    code: String,
    refresh_token: String,
}

impl Unused {
    fn of(client: &CodeClient) -> Self {
        let code = || code_in(&location(&http::get(&client.authorization_url()).unwrap()).unwrap());
        let answer = client.ask(&client.redemption(&code())).unwrap();
        Self {
            code: code(),
            refresh_token: refresh_token(&answer),
        }
    }

    fn ask(&self, client: &CodeClient) -> [Answer; 2] {
        [
            client.ask(&client.redemption(&self.code)).unwrap(),
            client.ask(&client.renewal(&self.refresh_token)).unwrap(),
        ]
    }

    fn are_refused(&self, client: &CodeClient) {
        for answer in self.ask(client) {
            oauth_error(&answer, 503, "temporarily_unavailable");
            refused_503(&answer);
        }
    }

    /// Both work now, and the code only now.
    fn are_granted(&self, client: &CodeClient) {
        for answer in self.ask(client) {
            granted(&answer);
        }
        assert_eq!(client.ask(&client.redemption(&self.code)).unwrap().status, 400);
    }
}

fn is_read(fleet: &Fleet) {
    for path in [
        "/.well-known/jwks.json",
        "/.well-known/oauth-authorization-server",
    ] {
        granted(&http::get(&fleet.at(path)).unwrap());
    }
}

#[test]
fn dur_10_a_full_disk_uses_nothing_up_sqlite() {
    let (fleet, client) = stage(Db::Sqlite, None);
    let unused = Unused::of(&client);
    let id = fleet.programs()["authz-server"].id();
    let full = Traced::new(id, "pwrite64,ftruncate,fallocate:error=ENOSPC");
    for _ in 0..3 {
        unused.are_refused(&client);
        is_read(&fleet);
    }
    let revocation = [
        ("client_id", client.id.as_str()),
        ("token", &unused.refresh_token),
    ];
    refused_503(&fleet.post_bare("/oauth/revoke", &revocation));
    drop(full);
    unused.are_granted(&client);
}

#[test]
fn dur_12_a_database_that_only_reads_uses_nothing_up_postgres() {
    let (fleet, client) = stage(Db::Postgres, None);
    let unused = Unused::of(&client);
    let url = fleet.server.database.clone().unwrap();
    let name = url
        .split('?')
        .next()
        .unwrap()
        .rsplit('/')
        .next()
        .unwrap()
        .to_owned();
    let set = |value: &str| {
        let cluster = database::cluster();
        let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
        // Not in this database, which may be read-only by now.
        cluster.sql("postgres", &set).unwrap();
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        cluster.sql("postgres", &end).unwrap();
    };
    set("on");
    for _ in 0..3 {
        unused.are_refused(&client);
        is_read(&fleet);
    }
    set("off");
    // Connections that were cut are found one by one.
    fleet.wait_ready();
    let deadline = Instant::now() + Duration::from_secs(10);
    while http::get(&client.authorization_url()).unwrap().status == 503 {
        assert!(Instant::now() < deadline, "it does not come back");
    }
    unused.are_granted(&client);
}

#[test]
fn dur_20_another_who_writes_is_waited_for_and_then_not_sqlite() {
    let (fleet, client) = stage(Db::Sqlite, None);
    let unused = Unused::of(&client);
    let mut other = Command::new("sqlite3")
        .arg(fleet.server.folder.join("authz.db"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = other.stdin.take().unwrap();
    lines.write_all(b"BEGIN IMMEDIATE;\nSELECT 'held';\n").unwrap();
    let mut held = [0; "held\n".len()];
    std::io::Read::read_exact(other.stdout.as_mut().unwrap(), &mut held).unwrap();
    let start = Instant::now();
    unused.are_refused(&client);
    assert!(start.elapsed() < Duration::from_secs(12), "{:?}", start.elapsed());
    is_read(&fleet);
    lines.write_all(b"ROLLBACK;\n").unwrap();
    drop(lines);
    other.wait().unwrap();
    unused.are_granted(&client);
}
