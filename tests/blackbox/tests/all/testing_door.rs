//! A server whose testing door is shut does not start beside a client that would go through it.

use std::time::Duration;

use blackbox::fleet::Wishes;
use blackbox::{CALLBACK, Db, Fleet, both};
use xtask::fleet::UNLIMITED_SERVER;

const WITHIN: Duration = Duration::from_secs(15);

both!(no_start_while_a_client_is_approved_without_a_person);
fn no_start_while_a_client_is_approved_without_a_person(db: Db) {
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}\n[login]\ntesting_door = true\n")),
        ..Wishes::default()
    };
    let mut fleet = Fleet::start(db, &wishes);
    let ada = fleet.person_account();
    let client = fleet.web_client(CALLBACK, &["--approve-as", &ada]);
    // With the door open it starts again, and again.
    fleet.restart_server();
    let mut running = fleet.programs().remove("authz-server").unwrap();
    assert!(running.terminate(WITHIN).unwrap().success());
    let shut = ("EDGE_HIVE_LOGIN__TESTING_DOOR".to_owned(), "false".to_owned());
    fleet.server.environment.push(shut);
    let mut refused = fleet.server.serve().unwrap();
    let status = refused.wait_end(WITHIN).unwrap();
    assert_eq!(status.code(), Some(1));
    let said = refused.log();
    let names = |line: &str| line.contains(&client) && line.contains("login.testing_door");
    assert!(said.lines().any(names), "{said}");
    // As it says: without that client it starts.
    fleet.server.json(&["client", "revoke", &client]).unwrap();
    let running = fleet.server.serve_ready().unwrap();
    fleet.programs().insert("authz-server", running);
}
