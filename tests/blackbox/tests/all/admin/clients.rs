//! Clients by the API.

use std::thread;

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::Credentials;

use super::{CLIENTS, refused, refused_value};

const BOTH: &str = "admin:read admin:write";

fn credentials(made: &Value) -> Credentials {
    let member = |name: &str| made[name].as_str().unwrap().to_owned();
    Credentials {
        id: member("client_id"),
        secret: member("client_secret"),
    }
}

fn path_of(client: &Credentials) -> String {
    format!("{CLIENTS}/{}", client.id)
}

both!(a_client_is_made_changed_and_ended);
fn a_client_is_made_changed_and_ended(db: Db) {
    let fleet = Fleet::shared(db);
    let (admin, node) = (fleet.admin(BOTH), fleet.node.url());
    let answer = admin.post(
        CLIENTS,
        &json!({"client_name": "An agent", "scope": "mcp:read", "resources": [node], "client_type": "ai-agent"}),
    );
    assert_eq!(answer.status, 201, "{answer}");
    let made = answer.json().unwrap();
    let client = credentials(&made);
    assert_eq!(answer.header("location"), Some(&*path_of(&client)));
    let at_node = [("resource", node.as_str())];
    granted(&fleet.ask_token(&client, &at_node));

    // What is shown has the tag that the creation told, and no secret (ADM-07).
    let (shown, tag) = admin.read(&path_of(&client));
    assert_eq!(answer.header("etag"), Some(&*tag));
    assert!(shown.get("client_secret").is_none(), "{shown}");
    assert_eq!(shown["client_secrets_expire_at"], json!([null]));

    // ADM-05: a change keeps what it does not name.
    let answer = admin.patch(&path_of(&client), &tag, &json!({"scope": "mcp:call"}));
    assert_eq!(answer.status, 200, "{answer}");
    let changed = answer.json().unwrap();
    assert_eq!(changed["scope"], "mcp:call");
    assert_eq!(changed["client_name"], "An agent");
    assert_eq!(changed["resources"], json!([node]));
    let token = granted(&fleet.ask_token(&client, &at_node));
    assert_eq!(token["scope"], "mcp:call");
    let token = token["access_token"].as_str().unwrap();
    assert_eq!(fleet.introspect(&client, token)["active"], true);

    let secrets = format!("{}/secrets", path_of(&client));
    let renewed = credentials(&admin.made(&secrets, &json!({"overlap": "0s"})));
    assert_ne!(renewed.secret, client.secret);
    granted(&fleet.ask_token(&renewed, &at_node));
    refused_client(&fleet.ask_token(&client, &at_node), true);
    let renewed = credentials(&admin.made(&secrets, &json!({})));
    granted(&fleet.ask_token(&renewed, &at_node));

    // ADM-08: whatever it has ends with it.
    let (_, tag) = admin.read(&path_of(&client));
    assert_eq!(admin.delete(&path_of(&client), &tag).status, 204);
    refused_client(&fleet.ask_token(&renewed, &at_node), true);
    assert_eq!(fleet.call(token).status, 401);
    let (shown, _) = admin.read(&path_of(&client));
    assert!(shown["revoked_at"].is_i64(), "{shown}");
    refused(&admin.delete(&path_of(&client), "*"), 404, "not_found");

    // ADM-14: each of it stands in the audit log, with who did it.
    let rows = fleet.server.json(&["audit", "list", "--limit", "1000"]).unwrap();
    let mine = |row: &&Value| row["target"] == client.id.as_str();
    let events: Vec<_> = rows.as_array().unwrap().iter().filter(mine).collect();
    let names: Vec<_> = events
        .iter()
        .rev()
        .map(|row| row["event"].as_str().unwrap())
        .collect();
    let rotated = "client.secret_rotated";
    assert_eq!(
        names,
        [
            "client.created",
            "client.updated",
            rotated,
            rotated,
            "client.revoked"
        ]
    );
    for row in events {
        assert_eq!(
            (&row["actor_type"], &row["outcome"]),
            (&json!("client"), &json!("done")),
            "{row}"
        );
        assert!(
            row["source"].is_string() && row["actor"] != client.id.as_str(),
            "{row}"
        );
    }
}

both!(adm_05_nobody_overwrites_what_they_have_not_seen);
fn adm_05_nobody_overwrites_what_they_have_not_seen(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    let client = credentials(&admin.made(CLIENTS, &json!({"client_name": "x"})));
    let path = path_of(&client);
    let (_, tag) = admin.read(&path);
    let body = json!({"client_name": "y"});
    for method in ["PATCH", "DELETE"] {
        let request = admin.request(method, &path);
        let request = if method == "PATCH" {
            request.json(&body)
        } else {
            request
        };
        let answer = admin.send(&request, (method, &path));
        refused(&answer, 428, "precondition_required");
        let answer = admin.send(&request.header("If-Match", "W/nonsense"), (method, &path));
        refused(&answer, 400, "invalid_request");
    }
    assert_eq!(admin.patch(&path, &tag, &body).status, 200);
    refused(&admin.patch(&path, &tag, &body), 412, "precondition_failed");
    refused(&admin.delete(&path, &tag), 412, "precondition_failed");
    refused(&admin.patch(&path, "W/\"x\"", &body), 412, "precondition_failed");
    assert_eq!(admin.patch(&path, "*", &json!({"client_name": "z"})).status, 200);
    // A new secret is a change too.
    let (_, tag) = admin.read(&path);
    admin.made(&format!("{path}/secrets"), &json!({}));
    refused(&admin.delete(&path, &tag), 412, "precondition_failed");
    // Of many at once with the same tag, one changes it.
    let (_, tag) = admin.read(&path);
    let answers: Vec<u16> = thread::scope(|scope| {
        let ask = |n: usize| {
            let (admin, path, tag) = (&admin, &path, &tag);
            scope.spawn(move || {
                admin
                    .patch(path, tag, &json!({"client_name": format!("n{n}")}))
                    .status
            })
        };
        let asked: Vec<_> = (0..6).map(ask).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(
        answers.iter().filter(|status| **status == 200).count(),
        1,
        "{answers:?}"
    );
    assert_eq!(
        answers.iter().filter(|status| **status == 412).count(),
        5,
        "{answers:?}"
    );
}

both!(adm_06_lists_come_in_pages);
fn adm_06_lists_come_in_pages(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    let name = fleet.fresh_name();
    let made: Vec<_> = (0..9)
        .map(|_| credentials(&admin.made(CLIENTS, &json!({"client_name": name}))).id)
        .collect();
    let ids = |query: &str| {
        let items = admin.all(&format!("{CLIENTS}?{query}"));
        let ids = items
            .iter()
            .map(|item| item["client_id"].as_str().unwrap().to_owned());
        ids.collect::<Vec<_>>()
    };
    let named = ids(&format!("name={name}"));
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        list
    };
    assert_eq!(sorted(&named), sorted(&made));
    let path = format!("{CLIENTS}/{}", made[4]);
    assert_eq!(admin.delete(&path, "*").status, 204);
    assert_eq!(ids(&format!("name={name}&state=revoked")), [made[4].clone()]);
    assert_eq!(ids(&format!("name={name}&state=active")).len(), 8);
    // Nobody is missed and nobody comes twice, also among others.
    for query in [
        "",
        "state=active",
        "origin=operator",
        "origin=operator&state=revoked",
    ] {
        let all = ids(query);
        let unique: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(unique.len(), all.len(), "{query}");
        let here = made.iter().filter(|id| all.contains(id)).count();
        let expected = match query {
            "state=active" => 8,
            "origin=operator&state=revoked" => 1,
            _ => 9,
        };
        assert_eq!(here, expected, "{query}");
    }
    assert!(ids("origin=document").iter().all(|id| !made.contains(id)));
    // No item of a list holds a secret (ADM-07).
    assert!(
        admin
            .all(CLIENTS)
            .iter()
            .all(|item| item.get("client_secret").is_none())
    );
    let (page, _) = admin.read(&format!("{CLIENTS}?limit=1"));
    let next = page["next_cursor"].as_str().unwrap();
    for bad in [
        "limit=0".to_owned(),
        "limit=-1".to_owned(),
        "limit=1000000000".to_owned(),
        "limit=".to_owned(),
        "limit=1&limit=1".to_owned(),
        format!("cursor={next}!"),
        "cursor=AAAA".to_owned(),
        "cursor=%00".to_owned(),
        "state=all".to_owned(),
        "nosuch=1".to_owned(),
    ] {
        refused(&admin.get(&format!("{CLIENTS}?{bad}")), 400, "invalid_request");
    }
    refused_value(&admin.get(&format!("{CLIENTS}?name=x&origin=operator")));
}

both!(a_creation_that_is_repeated_happens_once);
fn a_creation_that_is_repeated_happens_once(db: Db) {
    let fleet = Fleet::shared(db);
    let (admin, name) = (fleet.admin(BOTH), fleet.fresh_name());
    let body = json!({"client_name": name});
    let repeated = |body: &Value, key: &str| {
        let request = admin
            .request("POST", CLIENTS)
            .json(body)
            .header("Idempotency-Key", key);
        admin.send(&request, ("POST", CLIENTS))
    };
    // Many at once, as after a time-out at a proxy.
    let answers: Vec<_> = thread::scope(|scope| {
        let asked: Vec<_> = (0..6).map(|_| scope.spawn(|| repeated(&body, "key-1"))).collect();
        asked.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let first = &answers[0];
    assert_eq!(first.status, 201, "{first}");
    for answer in answers.iter().chain([&repeated(&body, "\"key-1\"")]) {
        assert_eq!(answer.json().unwrap(), first.json().unwrap());
        assert_eq!(answer.header("location"), first.header("location"));
        assert_eq!(answer.header("etag"), first.header("etag"));
    }
    assert_eq!(admin.all(&format!("{CLIENTS}?name={name}")).len(), 1);
    // Another request is another: what it says, where it goes, who asks.
    refused(
        &repeated(&json!({"client_name": "other"}), "key-1"),
        422,
        "idempotency_key_reused",
    );
    let id = credentials(&first.json().unwrap()).id;
    let secrets = format!("{CLIENTS}/{id}/secrets");
    let request = admin
        .request("POST", &secrets)
        .json(&json!({}))
        .header("Idempotency-Key", "key-1");
    refused(
        &admin.send(&request, ("POST", &secrets)),
        422,
        "idempotency_key_reused",
    );
    let other = fleet.admin(BOTH);
    let request = other
        .request("POST", CLIENTS)
        .json(&body)
        .header("Idempotency-Key", "key-1");
    let answer = other.send(&request, ("POST", CLIENTS));
    assert_eq!(answer.status, 201, "{answer}");
    assert_ne!(answer.json().unwrap(), first.json().unwrap());
    // What was refused was not done, and may be tried again.
    let bad = json!({"client_name": "x", "grant_types": ["authorization_code"]});
    refused(&repeated(&bad, "key-2"), 422, "invalid_redirect_uri");
    assert_eq!(repeated(&body, "key-2").status, 201);
    for key in ["", " ", "a b", &"k".repeat(300)] {
        refused(&repeated(&body, key), 400, "invalid_request");
    }
    // No answer lies in the database for who reads it.
    let rows = fleet.server.json(&["audit", "list", "--limit", "1000"]).unwrap();
    assert_eq!(fleet.leak_in(&rows.to_string()), None);
}

both!(what_a_client_cannot_be_is_refused_whole);
fn what_a_client_cannot_be_is_refused_whole(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    for (body, code) in [
        (json!({}), "invalid_client_metadata"),
        (json!({"client_name": 1}), "invalid_request"),
        (json!({"client_name": "x", "nosuch": 1}), "invalid_request"),
        (
            json!({"client_name": "x", "client_id": "c_mine"}),
            "invalid_request",
        ),
        (
            json!({"client_name": "x", "client_secret": "mine"}),
            "invalid_request",
        ),
        (
            json!({"client_name": "x", "approves_as": "ada"}),
            "invalid_request",
        ),
        (json!({"client_name": "x", "scope": "a  b"}), "invalid_value"),
        (json!({"client_name": "x", "scope": ["a"]}), "invalid_request"),
        (
            json!({"client_name": "x", "client_type": "robot"}),
            "invalid_value",
        ),
        (
            json!({"client_name": "x", "resources": ["https://nowhere.example/mcp"]}),
            "invalid_client_metadata",
        ),
        (json!({"client_name": "x", "resources": "all"}), "invalid_request"),
        (json!({"client_name": "a\u{202e}b"}), "invalid_client_metadata"),
        (
            json!({"client_name": "x", "redirect_uris": ["javascript:alert(1)"]}),
            "invalid_redirect_uri",
        ),
        (
            json!({"client_name": "x", "grant_types": ["password"]}),
            "invalid_client_metadata",
        ),
        (
            json!({"client_name": "x", "jwks": {"keys": "no"}, "token_endpoint_auth_method": "private_key_jwt"}),
            "invalid_client_metadata",
        ),
    ] {
        let answer = admin.post(CLIENTS, &body);
        let status = if code == "invalid_request" { 400 } else { 422 };
        refused(&answer, status, code);
    }
    let send = |kind: &str, body: &str| {
        let request = admin
            .request("POST", CLIENTS)
            .header("Content-Type", kind)
            .body(body);
        admin.send(&request, ("POST", CLIENTS))
    };
    for body in [
        "",
        "[]",
        "{",
        "{\"client_name\":\"a\",\"client_name\":\"b\"}",
        "null",
        "{} {}",
    ] {
        refused(&send("application/json", body), 400, "invalid_request");
    }
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/merge-patch+json",
    ] {
        refused(
            &send(kind, "{\"client_name\":\"x\"}"),
            415,
            "unsupported_media_type",
        );
    }
    assert_eq!(
        send("Application/JSON; charset=utf-8", "{\"client_name\":\"x\"}").status,
        201
    );
    let long = format!("{{\"client_name\":\"{}\"}}", "x".repeat(70_000));
    refused(&send("application/json", &long), 413, "too_large");

    // Nothing of a refused change is done, and no change makes a confidential client public.
    let client = credentials(&admin.made(CLIENTS, &json!({"client_name": "x", "scope": "mcp:read"})));
    let path = path_of(&client);
    let (_, tag) = admin.read(&path);
    let body = json!({"client_name": "y", "redirect_uris": ["http://far.example/cb"]});
    refused(&admin.patch(&path, &tag, &body), 422, "invalid_redirect_uri");
    let body = json!({"client_name": "y", "token_endpoint_auth_method": "none"});
    refused(&admin.patch(&path, &tag, &body), 422, "invalid_client_metadata");
    assert_eq!(admin.read(&path).1, tag);
    // Ids that are none.
    for id in ["c_nobody", "~", "~AA", "~YQ", "x~y"] {
        refused(&admin.get(&format!("{CLIENTS}/{id}")), 404, "not_found");
    }
    let nowhere = blackbox::admin::path_of("https://client.example/nobody?x=%20");
    refused(&admin.get(&format!("{CLIENTS}/{nowhere}")), 404, "not_found");
    refused_400(
        &fleet.ask_token(&client, &[("scope", "mcp:call")]),
        "invalid_scope",
    );
    // A public client has no secret to rotate.
    let public = admin.made(
        CLIENTS,
        &json!({"client_name": "p", "token_endpoint_auth_method": "none", "redirect_uris": ["http://127.0.0.1/cb"]}),
    );
    assert!(public.get("client_secret").is_none(), "{public}");
    let secrets = format!("{CLIENTS}/{}/secrets", public["client_id"].as_str().unwrap());
    refused(&admin.post(&secrets, &json!({})), 422, "invalid_client_metadata");
}
