//! LOG: the authorization server's audit log, by its command line.

use blackbox::answers::{granted, refused_400};
use blackbox::enrolled::{Candidate, fresh_resource, invite, welcomed};
use blackbox::fleet::Wishes;
use blackbox::people::{CALLBACK, Pkce};
use blackbox::{Db, Fleet, Place, both, near_and_far};
use serde_json::{Value, json};

fn list(fleet: &Fleet, words: &[&str]) -> Vec<Value> {
    let line = [&["audit", "list"], words].concat();
    let rows = fleet.server.json(&line).unwrap();
    rows.as_array().unwrap().clone()
}

/// How many events of that name are about what a client did.
pub(crate) fn count(fleet: &Fleet, event: &str, client_id: &str) -> usize {
    let rows = list(fleet, &["--event", event]);
    rows.iter().filter(|row| row["actor"] == client_id).count()
}

/// Exit code and both outputs of a command.
fn run(fleet: &Fleet, words: &[&str]) -> (Option<i32>, String, String) {
    let output = fleet.server.command(words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

both!(a_replayed_code_stands_in_the_audit_log_and_what_is_no_replay_does_not);
fn a_replayed_code_stands_in_the_audit_log_and_what_is_no_replay_does_not(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let pkce = Pkce::fresh();
    let code = fleet
        .allowed(&mut fleet.person(), &username, &client_id, (&pkce, &[]))
        .code();
    let tokens = granted(&fleet.redeem(&client_id, &code, &pkce, &[]));
    let refresh = tokens["refresh_token"].as_str().unwrap();
    // A lost answer is not a replay, nor is a code without its verifier, nor another client's try.
    granted(&fleet.refresh(&client_id, refresh, &[]));
    granted(&fleet.refresh(&client_id, refresh, &[]));
    refused_400(
        &fleet.redeem(&client_id, &code, &Pkce::fresh(), &[]),
        "invalid_grant",
    );
    let other = fleet.web_client(CALLBACK, &[]);
    refused_400(&fleet.redeem(&other, &code, &pkce, &[]), "invalid_grant");
    let told = || {
        let mut rows = list(&fleet, &[]);
        rows.retain(|row| row["actor_type"] != "operator");
        rows
    };
    assert_eq!(told(), [] as [Value; 0]);

    for _ in 0..3 {
        refused_400(&fleet.redeem(&client_id, &code, &pkce, &[]), "invalid_grant");
    }
    let rows = told();
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    assert_eq!(row["event"], "authorization_code_replayed");
    assert_eq!(
        (&row["actor_type"], &row["actor"]),
        (&json!("client"), &json!(client_id))
    );
    let users = fleet.server.json(&["user", "list"]).unwrap();
    let users = users.as_array().unwrap();
    let user = users.iter().find(|user| user["username"] == *username).unwrap();
    assert_eq!(row["on_behalf_of"], user["user_id"]);
    assert_eq!(row["outcome"], "refused");
    assert!(
        ["127.0.0.1", "::1"].map(Value::from).contains(&row["source"]),
        "{row}"
    );
}

near_and_far!(what_operators_end_stands_in_the_audit_log);
fn what_operators_end_stands_in_the_audit_log(place: Place) {
    let fleet = Fleet::start(place, &Wishes::default());
    let resource = fresh_resource(&fleet);
    let code = invite(&fleet, &["--resource", &resource]);
    let welcome = welcomed(&Candidate::new(&fleet, &code, None).enrol(&fleet));
    let node_id = welcome["node_id"].as_str().unwrap();
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    for line in [
        ["node", "revoke", node_id],
        ["client", "revoke", &client_id],
        ["user", "disable", &username],
        // Closing it twice is no fault, and nothing new.
        ["user", "disable", &username],
        ["user", "enable", &username],
        ["user", "enable", &username],
    ] {
        fleet.server.json(&line).unwrap();
    }
    // What is refused is not told.
    assert!(fleet.server.json(&["node", "revoke", node_id]).is_err());
    assert!(fleet.server.json(&["client", "revoke", &client_id]).is_err());
    let mut rows = list(&fleet, &[]);
    // From far away commands come of a client, which was made before everything else.
    let first = usize::from(place.is_far);
    let made = rows.split_off(rows.len() - first);
    assert!(made.iter().all(|row| row["target"] == fleet.commander().1));
    let events: Vec<_> = rows
        .iter()
        .rev()
        .map(|row| row["event"].as_str().unwrap())
        .collect();
    let expected = [
        "resource.created",
        "node.invited",
        "node.enrolled",
        "user.created",
        "client.created",
        "resource.deleted",
        "node.revoked",
        "client.revoked",
        "user.disabled",
        "user.enabled",
    ];
    assert_eq!(events, expected);
    let newest = list(&fleet, &["--limit", "2"]);
    assert_eq!(newest, rows[..2]);
    let enrolled = &list(&fleet, &["--event", "node.enrolled"])[0];
    assert_eq!(enrolled["target"], node_id);
    assert_eq!(enrolled["actor"], welcome["client_id"]);
    assert_eq!(enrolled["details"]["resource"], resource);
    let invited = &list(&fleet, &["--event", "node.invited"])[0];
    assert_eq!(enrolled["details"]["invite"], invited["target"]);
    assert_eq!(
        list(&fleet, &["--event", "resource.deleted"])[0]["target"],
        resource
    );
    assert_eq!(rows[2]["target"], client_id);
    for row in &rows[..4] {
        let actor = (row["actor_type"].clone(), row["actor"].clone());
        assert_eq!(actor, fleet.commander(), "{row}");
        assert_eq!(row["source"].is_string(), place.is_far, "{row}");
    }

    // An export says the same, oldest first, and has no secret in it.
    let (exit, export, _) = run(&fleet, &["audit", "export"]);
    assert_eq!(exit, Some(0));
    let lines: Vec<Value> = export
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines[first..], rows.iter().rev().cloned().collect::<Vec<_>>());
    assert!(!export.contains(&code));

    let verified = fleet.server.json(&["audit", "verify"]).unwrap();
    assert_eq!(
        verified,
        json!({"events": 10 + first, "first": 1, "head": rows[0]["hash"]})
    );
    fleet.sql("UPDATE audit_event SET target = 'c_other' WHERE sequence = 3");
    let (exit, out, sentence) = run(&fleet, &["audit", "verify"]);
    assert_eq!((exit, out.as_str()), (Some(1), ""));
    assert!(sentence.contains("row 3 is not what was written"), "{sentence}");
    assert_eq!(run(&fleet, &["audit", "list", "--event", "nothing"]).0, Some(2));
    assert_eq!(run(&fleet, &["audit", "list", "--limit", "0"]).0, Some(2));
}

near_and_far!(invites_are_listed_and_withdrawn_and_both_are_told);
fn invites_are_listed_and_withdrawn_and_both_are_told(place: Place) {
    let fleet = Fleet::start(place, &Wishes::default());
    let [kept, used, gone] = [(); 3].map(|()| fresh_resource(&fleet));
    let codes =
        [&kept, &used, &gone].map(|resource| invite(&fleet, &["--resource", resource, "--name", "north"]));
    let welcome = welcomed(&Candidate::new(&fleet, &codes[1], None).enrol(&fleet));
    let listed = || fleet.server.json(&["node", "invite", "--list"]).unwrap();
    let of = |resource: &str| {
        let rows = listed();
        let row = rows
            .as_array()
            .unwrap()
            .iter()
            .find(|row| row["resource"] == *resource);
        row.unwrap_or_else(|| panic!("{rows}")).clone()
    };
    let id = |resource: &str| of(resource)["invite_id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&of(&kept)["state"], &of(&kept)["name"]),
        (&json!("open"), &json!("north"))
    );
    assert_eq!(
        (&of(&used)["state"], &of(&used)["used_by"]),
        (&json!("used"), &welcome["node_id"])
    );
    // Neither the list, for whomever, nor the log has what would let anybody in.
    let (_, text, _) = run(&fleet, &["node", "invite", "--list"]);
    assert!(text.contains(&id(&gone)) && text.lines().count() == 3, "{text}");
    for code in &codes {
        assert!(!listed().to_string().contains(code) && !text.contains(code));
    }
    let (id_of_gone, id_of_used) = (id(&gone), id(&used));
    fleet
        .server
        .json(&["node", "invite", "--withdraw", &id_of_gone])
        .unwrap();
    let refused = Candidate::new(&fleet, &codes[2], None).enrol(&fleet);
    refused_400(&refused, "invalid_invite");
    assert_eq!(listed().as_array().unwrap().len(), 2);
    for (words, exit, said) in [
        (vec!["--withdraw", &id_of_gone], 1, "there is no invite"),
        (vec!["--withdraw", &id_of_used], 1, "was used or is over"),
        (
            vec!["--withdraw", &id_of_used, "--name", "x"],
            2,
            "cannot be used with",
        ),
        (vec!["--list", "--ttl", "2h"], 2, "cannot be used with"),
    ] {
        let (code, out, sentence) = run(&fleet, &[&["node", "invite"], &words[..]].concat());
        assert_eq!((code, &*out), (Some(exit), ""), "{sentence}");
        assert!(sentence.contains(said), "{sentence}");
    }
    let _ = welcomed(&Candidate::new(&fleet, &codes[0], None).enrol(&fleet));
    let events: Vec<_> = list(&fleet, &["--event", "node.invite_withdrawn"]);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["target"], id_of_gone.as_str());
    assert_eq!(list(&fleet, &["--event", "node.invited"]).len(), 3);
}
