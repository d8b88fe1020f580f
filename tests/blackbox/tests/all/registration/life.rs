//! When clients were last used, and which look dead.

use blackbox::answers::granted;
use blackbox::registered::{fleet_with, public, text};
use blackbox::{Place, near_and_far};
use serde_json::{Value, json};

near_and_far!(client_life_is_written_and_listed);
fn client_life_is_written_and_listed(place: Place) {
    let fleet = fleet_with(place, "registration = \"open\"\nunused_ttl = \"7d\"");
    let used = fleet.client(&[]);
    let idle = fleet.client(&[]);
    granted(&fleet.ask_token(&used, &[("resource", &fleet.node.url())]));
    let twins: Vec<Value> = (0..2)
        .map(|_| fleet.registered(&public(&json!({"client_name": "Twin"}))))
        .collect();
    let ada = fleet.person_account();
    let _tokens = fleet.code_tokens(&mut fleet.person(), &ada, text(&twins[0], "client_id"));
    // What was noted is written at the latest when the server stops.
    fleet.restart_server();
    let show = |id: &str| fleet.server.json(&["client", "show", id]).unwrap();
    let last = show(&used.id)["last_used_at"].as_i64().unwrap();
    assert_eq!(last % 86_400, 0, "to the day");
    assert_eq!(
        show(&used.id).get("expires_at"),
        None,
        "an operator's client does not expire"
    );
    assert_eq!(show(&idle.id).get("last_used_at"), None);
    let registered = show(text(&twins[1], "client_id"));
    assert_eq!(registered["origin"], "registration");
    let issued = registered["client_id_issued_at"].as_i64().unwrap();
    assert_eq!(registered["expires_at"].as_i64(), Some(issued + 7 * 86_400));
    assert!(show(text(&twins[0], "client_id"))["last_used_at"].is_i64());

    let listed = |words: &[&str]| -> Vec<String> {
        let rows = fleet.server.json(&[&["client", "list"], words].concat()).unwrap();
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| text(row, "client_id").to_owned())
            .collect()
    };
    let all = listed(&[]);
    assert!(all.contains(&idle.id) && all.contains(&used.id));
    assert!(listed(&["--unused-for", "30d"]).is_empty());
    let mut duplicates = listed(&["--duplicates"]);
    duplicates.sort();
    let mut expected: Vec<_> = twins
        .iter()
        .map(|twin| text(twin, "client_id").to_owned())
        .collect();
    expected.sort();
    assert_eq!(duplicates, expected);
}
