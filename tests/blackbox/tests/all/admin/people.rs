//! Browsers that are signed in, and calls that wait for somebody's yes, by the API.

use blackbox::admin::token_of_person;
use blackbox::enrolled::{EnrolledNode, pending};
use blackbox::{Db, Fleet, PASSWORD, both};
use serde_json::{Value, json};

use super::refused;
use crate::account::{is_signed_in, signed_in};

const BOTH: &str = "admin:read admin:write";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

both!(a_browser_is_signed_out_from_far);
fn a_browser_is_signed_out_from_far(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    let (username, other) = (fleet.person_account(), fleet.person_account());
    let (mut one, mut two) = (signed_in(&fleet, &username), signed_in(&fleet, &username));
    let mut theirs = signed_in(&fleet, &other);
    let found = admin.all(&format!("/admin/v1/users?username={username}"));
    let user_id = text(&found[0], "user_id");
    let list = format!("/admin/v1/sessions?user_id={user_id}");
    let sessions = admin.all(&list);
    assert_eq!(sessions.len(), 2, "{sessions:?}");
    assert!(
        sessions
            .iter()
            .all(|one| one["user_id"] == user_id && one["methods"] == json!(["pwd"])),
        "{sessions:?}"
    );
    let path = format!("/admin/v1/sessions/{}", text(&sessions[0], "session_id"));
    let (shown, tag) = admin.read(&path);
    assert_eq!(shown["session_id"], sessions[0]["session_id"]);
    refused(&admin.delete(&path, "\"old\""), 412, "precondition_failed");
    assert_eq!(admin.delete(&path, &tag).status, 204);
    refused(&admin.get(&path), 404, "not_found");
    refused(&admin.delete(&path, "*"), 404, "not_found");
    // One of the two, and nobody else's.
    let left = [is_signed_in(&mut one), is_signed_in(&mut two)];
    assert_eq!(left.iter().filter(|stands| **stands).count(), 1, "{left:?}");
    assert!(is_signed_in(&mut theirs));
    assert_eq!(admin.all(&list).len(), 1);
    let id = text(&sessions[0], "session_id");
    let rows = admin.all(&format!("/admin/v1/audit/events?target={id}"));
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (text(&rows[0], "event"), text(&rows[0]["details"], "user_id")),
        ("session.ended", user_id)
    );
    refused(&admin.get("/admin/v1/sessions"), 400, "invalid_request");
    let nobody = admin.all("/admin/v1/sessions?user_id=u_nobody");
    assert_eq!(nobody, [] as [Value; 0]);
}

both!(adm_09_an_administrator_is_signed_out_by_who_may_make_one);
fn adm_09_an_administrator_is_signed_out_by_who_may_make_one(db: Db) {
    let fleet = Fleet::shared(db);
    let (boss, other) = (fleet.fresh_name(), fleet.person_account());
    fleet.user(&boss, PASSWORD, &["--admin"]);
    let mut theirs = signed_in(&fleet, &boss);
    let mut others = signed_in(&fleet, &other);
    let users_only = fleet.admin("admin:users:read admin:users:write");
    let everything = fleet.admin(BOTH);
    let session_of = |username: &str| {
        let found = everything.all(&format!("/admin/v1/users?username={username}"));
        let list = format!("/admin/v1/sessions?user_id={}", text(&found[0], "user_id"));
        format!(
            "/admin/v1/sessions/{}",
            text(&everything.all(&list)[0], "session_id")
        )
    };
    let session = session_of(&boss);
    refused(&users_only.delete(&session, "*"), 403, "access_denied");
    assert!(is_signed_in(&mut theirs), "what was refused was done");
    // Of everybody else it is enough.
    assert_eq!(users_only.delete(&session_of(&other), "*").status, 204);
    assert!(!is_signed_in(&mut others));
    assert_eq!(everything.delete(&session, "*").status, 204);
    assert!(!is_signed_in(&mut theirs));
}

both!(adm_03_a_call_that_waits_is_answered_by_whom_it_concerns);
fn adm_03_a_call_that_waits_is_answered_by_whom_it_concerns(db: Db) {
    let fleet = Fleet::shared(db);
    let node = EnrolledNode::start(&fleet, &[]);
    let boss = fleet.fresh_name();
    fleet.user(&boss, PASSWORD, &["--admin"]);
    let person = fleet.admin_with(Some(token_of_person(&fleet, &boss, BOTH)));
    let program = fleet.admin(BOTH);
    // A client that acts for itself: any administrator may answer, and no program.
    let token = fleet.token(&fleet.client_for_any(&[]), &node.node.url());
    let call = |token: &str, arguments: &Value| node.call(token, "get_status", arguments);
    let (_, id) = pending(&call(&token, &json!({})));
    for admin in [&person, &program] {
        let waiting = admin.all("/admin/v1/approvals");
        let mine = waiting
            .iter()
            .find(|one| one["approval_id"] == id.as_str())
            .unwrap();
        assert_eq!(
            (text(mine, "tool"), &mine["arguments"], &mine["node_id"]),
            ("get_status", &json!({}), &node.report["node_id"]),
            "{mine}"
        );
    }
    let path = format!("/admin/v1/approvals/{id}");
    let decision = format!("{path}/decision");
    assert_eq!(person.read(&path).0["approval_id"], id.as_str());
    let yes = json!({"decision": "approved"});
    refused(&program.post(&decision, &yes), 403, "access_denied");
    for bad in [json!({}), json!({"decision": "maybe"}), json!({"decision": true})] {
        refused(&person.post(&decision, &bad), 400, "invalid_request");
    }
    assert_eq!(pending(&call(&token, &json!({}))).1, id, "nobody has answered");
    assert_eq!(person.post(&decision, &yes).status, 204);
    // Once, and no longer a question.
    refused(
        &person.post(&decision, &json!({"decision": "denied"})),
        404,
        "not_found",
    );
    refused(&person.get(&path), 404, "not_found");
    let ran = call(&token, &json!({}));
    assert!(ran["structuredContent"]["id"].is_string(), "{ran}");
    let (_, other) = pending(&call(&token, &json!({})));
    let decision = format!("/admin/v1/approvals/{other}/decision");
    assert_eq!(person.post(&decision, &json!({"decision": "denied"})).status, 204);
    let denied = call(&token, &json!({}));
    assert_eq!(denied["structuredContent"]["error"], "denied", "{denied}");
    let rows = program.all(&format!("/admin/v1/audit/events?target={id}"));
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (
            text(&rows[0], "event"),
            text(&rows[0], "outcome"),
            text(&rows[0], "actor_type")
        ),
        ("approval.decided", "approved", "user")
    );

    // ADM-03, UI-03: what one person was asked is not shown to another, administrator or not.
    let ada = fleet.person_account();
    let (_, hers) = pending(&call(&node.token_of(&fleet, &ada), &json!({})));
    for admin in [&person, &program] {
        let waiting = admin.all("/admin/v1/approvals");
        assert!(waiting.iter().all(|one| one["approval_id"] != hers.as_str()));
        refused(
            &admin.get(&format!("/admin/v1/approvals/{hers}")),
            404,
            "not_found",
        );
        let decision = format!("/admin/v1/approvals/{hers}/decision");
        let answer = admin.post(&decision, &yes);
        assert!([403, 404].contains(&answer.status), "{answer}");
    }
}
