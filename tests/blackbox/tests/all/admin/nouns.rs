//! Everything else that operators look after, by the API.

use blackbox::admin::{path_of, token_of_person};
use blackbox::answers::{granted, refused_400};
use blackbox::enrolled::{Candidate, fresh_resource, welcomed};
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};

use super::{refused, refused_value};

const BOTH: &str = "admin:read admin:write";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

both!(a_resource_is_registered_changed_and_forgotten);
fn a_resource_is_registered_changed_and_forgotten(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    let uri = format!("https://{}.example/mcp", fleet.fresh_name());
    let body = json!({"uri": uri, "scope": "mcp:read shelf:read", "access_ttl": 90});
    let made = admin.made("/admin/v1/resources", &body);
    assert_eq!((text(&made, "uri"), &made["access_ttl"]), (&*uri, &json!(90)));
    refused(&admin.post("/admin/v1/resources", &body), 409, "conflict");
    let own = json!({"uri": fleet.admin_resource()});
    refused(&admin.post("/admin/v1/resources", &own), 409, "conflict");
    for bad in [
        json!({}),
        json!({"uri": "https://a.example/", "access_ttl": 0}),
        json!({"uri": "https://a.example/", "access_ttl": -1}),
        json!({"uri": "https://a.example/", "access_ttl": "1h"}),
        json!({"uri": "https://a.example/", "lookup_key": "x"}),
    ] {
        refused(&admin.post("/admin/v1/resources", &bad), 400, "invalid_request");
    }
    for bad in [
        json!({"uri": "not an address"}),
        json!({"uri": "https://a.example/x#y"}),
        json!({"uri": "https://a.example/", "alg": "HS256"}),
        json!({"uri": "https://a.example/", "client_id": "c_nobody"}),
    ] {
        refused_value(&admin.post("/admin/v1/resources", &bad));
    }
    let client = fleet.client_for_any(&["--scopes", "shelf:read"]);
    let at = [("resource", uri.as_str())];
    let token = granted(&fleet.ask_token(&client, &at));
    assert_eq!(token["expires_in"], 90);
    let token = text(&token, "access_token").to_owned();
    assert_eq!(fleet.introspect(&client, &token)["active"], true);

    let path = format!("/admin/v1/resources/{}", path_of(&uri));
    let (shown, tag) = admin.read(&path);
    assert_eq!(shown, made);
    refused(
        &admin.patch(&path, "\"old\"", &json!({"name": "x"})),
        412,
        "precondition_failed",
    );
    let answer = admin.patch(&path, &tag, &json!({"name": "The shelf", "client_id": client.id}));
    assert_eq!(answer.status, 200, "{answer}");
    let changed = answer.json().unwrap();
    assert_eq!(
        (text(&changed, "name"), text(&changed, "scope")),
        ("The shelf", "mcp:read shelf:read")
    );
    let answer = admin.patch(&path, "*", &json!({"client_id": null}));
    assert_eq!(answer.json().unwrap()["client_id"], Value::Null, "{answer}");
    let all = admin.all("/admin/v1/resources");
    assert_eq!(all.iter().filter(|one| one["uri"] == uri.as_str()).count(), 1);
    let scopes = admin.all("/admin/v1/scopes");
    assert!(
        scopes
            .iter()
            .any(|one| one["scope"] == "shelf:read" && one["resources"] == 1),
        "{scopes:?}"
    );
    // ADM-08: its tokens end with it.
    assert_eq!(admin.delete(&path, "*").status, 204);
    assert_eq!(fleet.introspect(&client, &token)["active"], false);
    refused_400(&fleet.ask_token(&client, &at), "invalid_target");
    refused(&admin.get(&path), 404, "not_found");
    refused(&admin.delete(&path, "*"), 404, "not_found");
    // The API itself is none of them.
    let own = format!("/admin/v1/resources/{}", path_of(&fleet.admin_resource()));
    refused(&admin.get(&own), 404, "not_found");
    refused(&admin.delete(&own, "*"), 404, "not_found");
}

both!(a_node_is_invited_seen_and_cut_off);
fn a_node_is_invited_seen_and_cut_off(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    let resource = fresh_resource(&fleet);
    let made = admin.made("/admin/v1/invites", &json!({"resource": resource, "ttl": "10m"}));
    let path = format!("/admin/v1/invites/{}", text(&made, "invite_id"));
    let (shown, _) = admin.read(&path);
    assert_eq!(
        (text(&shown, "state"), text(&shown, "resource")),
        ("open", &*resource)
    );
    assert!(
        shown.get("invite").is_none() && !shown.to_string().contains("ehi_"),
        "{shown}"
    );
    let candidate = Candidate::new(&fleet, text(&made, "invite"), Some(&resource));
    let node = welcomed(&candidate.enrol(&fleet));
    let node_id = text(&node, "node_id").to_owned();
    let (shown, tag) = admin.read(&path);
    assert_eq!(
        (text(&shown, "state"), text(&shown, "used_by")),
        ("used", &*node_id)
    );
    refused(&admin.delete(&path, &tag), 409, "conflict");
    refused(&admin.delete(&path, "\"old\""), 412, "precondition_failed");

    let path = format!("/admin/v1/nodes/{}", path_of(&node_id));
    let (shown, tag) = admin.read(&path);
    assert_eq!(
        (text(&shown, "state"), text(&shown, "resource")),
        ("enrolled", &*resource)
    );
    let enrolled = admin.all("/admin/v1/nodes?state=enrolled");
    assert!(enrolled.iter().any(|one| one["node_id"] == node_id.as_str()));
    refused(&admin.delete(&path, "\"old\""), 412, "precondition_failed");
    assert_eq!(admin.delete(&path, &tag).status, 204);
    refused(&admin.delete(&path, "*"), 404, "not_found");
    assert_eq!(admin.read(&path).0["state"], "revoked");
    let ended = admin.all("/admin/v1/nodes?state=ended");
    assert!(ended.iter().any(|one| one["node_id"] == node_id.as_str()));
    let client = fleet.client_for_any(&[]);
    refused_400(
        &fleet.ask_token(&client, &[("resource", &resource)]),
        "invalid_target",
    );

    let made = admin.made("/admin/v1/invites", &json!({}));
    let path = format!("/admin/v1/invites/{}", text(&made, "invite_id"));
    assert_eq!(admin.delete(&path, "*").status, 204);
    refused(&admin.get(&path), 404, "not_found");
    assert!(!admin.all("/admin/v1/invites").is_empty());
    for bad in [
        json!({"ttl": "0s"}),
        json!({"ttl": "400d"}),
        json!({"name": "\u{202e}"}),
    ] {
        refused_value(&admin.post("/admin/v1/invites", &bad));
    }
    let bad = json!({"may_invite": "yes"});
    refused(&admin.post("/admin/v1/invites", &bad), 400, "invalid_request");
    refused(
        &admin.post("/admin/v1/invites", &json!({"replaces": "nobody"})),
        404,
        "not_found",
    );
    for id in ["i_", "i_AAAAAAAAAAAA", "x", "i_%41"] {
        let answer = admin
            .request("GET", &format!("/admin/v1/invites/{id}"))
            .send()
            .unwrap();
        assert_eq!(answer.status, 404, "{id}: {answer}");
    }
}

both!(what_a_person_granted_is_found_and_ended);
fn what_a_person_granted_is_found_and_ended(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let mut person = fleet.person();
    let tokens = |person: &mut blackbox::Person| {
        let pkce = Pkce::fresh();
        let redirect = fleet.allowed(person, &username, &client_id, (&pkce, &[]));
        granted(&fleet.redeem(&client_id, &redirect.code(), &pkce, &[]))
    };
    let (first, second) = (tokens(&mut person), tokens(&mut person));
    let grants = admin.all(&format!("/admin/v1/grants?client_id={client_id}"));
    assert_eq!(grants.len(), 1, "{grants:?}");
    let grant = &grants[0];
    let (grant_id, user_id) = (text(grant, "grant_id"), text(grant, "user_id"));
    assert!(
        admin
            .all(&format!("/admin/v1/grants?user_id={user_id}"))
            .contains(grant)
    );
    assert_eq!(
        admin.all(&format!("/admin/v1/grants?user_id={user_id}&state=ended")),
        [] as [Value; 0]
    );
    let families = admin.all(&format!("/admin/v1/tokens?grant_id={grant_id}"));
    assert_eq!(families.len(), 2, "{families:?}");
    for query in [
        format!("user_id={user_id}"),
        format!("client_id={client_id}&state=standing"),
    ] {
        assert_eq!(admin.all(&format!("/admin/v1/tokens?{query}")), families);
    }
    for bad in [
        "/admin/v1/tokens",
        "/admin/v1/tokens?user_id=a&client_id=b",
        "/admin/v1/grants?user_id=a&client_id=b",
    ] {
        refused_value(&admin.get(bad));
    }
    // One of them ends, and the other goes on.
    let family = families[0]["family_id"].as_str().unwrap();
    let is_its = |tokens: &Value| {
        let claims = blackbox::forge::part(text(tokens, "access_token"), 1);
        claims["jti"].as_str().unwrap().starts_with(family)
    };
    let (ended, other) = if is_its(&first) {
        (&first, &second)
    } else {
        (&second, &first)
    };
    assert!(is_its(ended) && !is_its(other));
    assert_eq!(fleet.call(text(ended, "access_token")).status, 200);
    let path = format!("/admin/v1/tokens/{family}");
    let (_, tag) = admin.read(&path);
    refused(&admin.delete(&path, "\"old\""), 412, "precondition_failed");
    assert_eq!(admin.delete(&path, &tag).status, 204);
    refused(&admin.delete(&path, "*"), 404, "not_found");
    assert!(admin.read(&path).0["revoked_at"].is_i64());
    let refresh = |tokens: &Value| fleet.refresh(&client_id, text(tokens, "refresh_token"), &[]);
    refused_400(&refresh(ended), "invalid_grant");
    let other = granted(&refresh(other));
    // The grant ends, and everything with it.
    let path = format!("/admin/v1/grants/{grant_id}");
    let (_, tag) = admin.read(&path);
    assert_eq!(admin.delete(&path, &tag).status, 204);
    refused_400(&refresh(&other), "invalid_grant");
    refused(&admin.delete(&path, "*"), 404, "not_found");
    let standing = admin.all(&format!("/admin/v1/tokens?client_id={client_id}&state=standing"));
    assert_eq!(standing, [] as [Value; 0]);
    let rows = admin.all(&format!("/admin/v1/audit/events?target={grant_id}"));
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(rows[0]["details"]["user_id"], user_id);
    for path in ["/admin/v1/grants/nobody", "/admin/v1/tokens/nobody"] {
        refused(&admin.get(path), 404, "not_found");
    }
}

both!(an_account_is_made_closed_and_opened);
fn an_account_is_made_closed_and_opened(db: Db) {
    let fleet = Fleet::shared(db);
    let (admin, name) = (fleet.admin(BOTH), fleet.fresh_name());
    let made = admin.made(
        "/admin/v1/users",
        &json!({"username": name.to_uppercase(), "email": "a@example.org"}),
    );
    assert_eq!(text(&made, "username"), name);
    fleet.remember(text(&made, "set_password_link").rsplit('=').next().unwrap());
    let path = format!("/admin/v1/users/{}", text(&made, "user_id"));
    refused(
        &admin.post("/admin/v1/users", &json!({"username": name})),
        409,
        "conflict",
    );
    for bad in [
        json!({}),
        json!({"username": "x", "password_phc": "$argon2id$"}),
        json!({"username": "x", "password": "secret"}),
        json!({"username": "x", "is_admin": "yes"}),
    ] {
        refused(&admin.post("/admin/v1/users", &bad), 400, "invalid_request");
    }
    for bad in [
        json!({"username": "a b"}),
        json!({"username": "x", "email": "nowhere"}),
    ] {
        refused_value(&admin.post("/admin/v1/users", &bad));
    }
    let (shown, tag) = admin.read(&path);
    assert!(shown.get("set_password_link").is_none(), "{shown}");
    let answer = admin.patch(&path, &tag, &json!({"display_name": "Ada", "email": null}));
    assert_eq!(answer.status, 200, "{answer}");
    let changed = answer.json().unwrap();
    assert_eq!(
        (text(&changed, "display_name"), changed.get("email")),
        ("Ada", None)
    );
    refused(
        &admin.patch(&path, &tag, &json!({"display_name": "Eve"})),
        412,
        "precondition_failed",
    );
    let found = admin.all(&format!("/admin/v1/users?username={name}"));
    assert_eq!(found, [changed]);
    assert_eq!(
        admin.all(&format!("/admin/v1/users?username={name}&state=disabled")),
        [] as [Value; 0]
    );

    // Somebody who is signed in somewhere.
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let user_id = text(
        &admin.all(&format!("/admin/v1/users?username={username}"))[0],
        "user_id",
    )
    .to_owned();
    let tokens = fleet.code_tokens(&mut fleet.person(), &username, &client_id);
    let refresh = || fleet.refresh(&client_id, text(&tokens, "refresh_token"), &[]);
    granted(&refresh());
    let path = format!("/admin/v1/users/{user_id}");
    let (_, tag) = admin.read(&path);
    assert_eq!(
        admin.patch(&path, &tag, &json!({"is_disabled": true})).status,
        200
    );
    refused_400(&refresh(), "invalid_grant");
    assert_eq!(
        admin
            .all("/admin/v1/users?state=disabled")
            .iter()
            .filter(|one| one["user_id"] == user_id.as_str())
            .count(),
        1
    );
    refused(
        &admin.post(&format!("{path}/password-reset"), &json!({})),
        409,
        "conflict",
    );
    assert_eq!(
        admin.patch(&path, "*", &json!({"is_disabled": false})).status,
        200
    );
    let answer = admin.post(&format!("{path}/password-reset"), &json!({"reset_factors": true}));
    assert_eq!(answer.status, 200, "{answer}");
    let link = answer.json().unwrap();
    let link = text(&link, "set_password_link");
    fleet.remember(link.rsplit('=').next().unwrap());
    assert!(fleet.person().page(link).has_form("/login/link"));
    let rows = admin.all(&format!("/admin/v1/audit/events?target={user_id}&order=oldest"));
    let names: Vec<_> = rows.iter().map(|row| text(row, "event")).collect();
    assert_eq!(
        names,
        [
            "user.created",
            "user.disabled",
            "user.enabled",
            "user.password_reset"
        ]
    );
}

both!(adm_09_nobody_raises_themselves);
fn adm_09_nobody_raises_themselves(db: Db) {
    let fleet = Fleet::shared(db);
    // Who may write users and no more makes no administrators, and touches none.
    let some = fleet.admin("admin:users:read admin:users:write");
    let (name, boss) = (fleet.fresh_name(), fleet.fresh_name());
    let refuse = json!({"username": name, "is_admin": true});
    refused(&some.post("/admin/v1/users", &refuse), 403, "access_denied");
    let plain = some.made("/admin/v1/users", &json!({"username": name}));
    fleet.remember(text(&plain, "set_password_link").rsplit('=').next().unwrap());
    let path = format!("/admin/v1/users/{}", text(&plain, "user_id"));
    refused(
        &some.patch(&path, "*", &json!({"is_admin": true})),
        403,
        "access_denied",
    );
    let made = fleet.user(&boss, PASSWORD, &["--admin"]);
    let path = format!("/admin/v1/users/{}", text(&made, "user_id"));
    refused(
        &some.patch(&path, "*", &json!({"is_disabled": true})),
        403,
        "access_denied",
    );
    refused(
        &some.post(&format!("{path}/password-reset"), &json!({})),
        403,
        "access_denied",
    );
    // An administrator changes neither their own role nor closes their own account, nor takes it over.
    let own = fleet.admin_with(Some(token_of_person(&fleet, &boss, BOTH)));
    refused(
        &own.patch(&path, "*", &json!({"is_admin": false})),
        403,
        "access_denied",
    );
    refused(
        &own.patch(&path, "*", &json!({"is_disabled": true})),
        403,
        "access_denied",
    );
    let reset = json!({"reset_factors": true});
    refused(
        &own.post(&format!("{path}/password-reset"), &reset),
        403,
        "access_denied",
    );
    assert_eq!(
        own.patch(&path, "*", &json!({"display_name": "The boss"})).status,
        200
    );
    // Another one may; what the first one has ends at once.
    let all = fleet.admin(BOTH);
    assert_eq!(all.patch(&path, "*", &json!({"is_admin": false})).status, 200);
    refused(&own.get("/admin/v1/users"), 403, "access_denied");
}

both!(adm_07_what_the_server_runs_with_is_shown_without_its_secrets);
fn adm_07_what_the_server_runs_with_is_shown_without_its_secrets(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin("admin:read");
    let settings = admin.all("/admin/v1/configuration");
    let of = |key: &str| {
        settings
            .iter()
            .find(|one| one["key"] == key)
            .map(|one| text(one, "value"))
    };
    assert_eq!(of("server.issuer"), Some(&*fleet.server.issuer));
    let near = fleet.server.json(&["config", "show"]).unwrap();
    assert_eq!(near.as_array().unwrap().len(), settings.len());
    if let Some(password) = of("database.url").and_then(|url| url.split_once("password=")) {
        assert!(password.1.starts_with("hidden"), "{password:?}");
    }
    let keys = admin.all("/admin/v1/keys");
    let current = keys.iter().filter(|key| key["state"] == "current");
    assert_eq!(current.count(), 3, "{keys:?}");
    let public = ["kid", "alg", "state", "created_at", "signs_from", "ends_at"];
    assert!(
        keys.iter()
            .flat_map(|key| key.as_object().unwrap().keys())
            .all(|name| public.contains(&&**name)),
        "{keys:?}"
    );
    assert_eq!(admin.all("/admin/v1/policies"), [] as [Value; 0]);
    let (counts, _) = admin.read("/admin/v1/statistics");
    assert!(
        counts["clients"].as_i64() >= counts["clients_active"].as_i64(),
        "{counts}"
    );
    assert!(counts["resources"].as_i64() >= Some(1), "{counts}");
}

both!(policies_of_the_configuration_are_shown);
fn policies_of_the_configuration_are_shown(db: Db) {
    let wishes = blackbox::fleet::Wishes {
        server: Some(format!(
            "{}\n[[exchange]]\nfrom_client = \"c_gateway\"\nsubject_audience = \"https://a.example/mcp\"\n\
             to_resource = \"https://b.example/mcp\"\nscopes = \"mcp:read\"\n\
             [[fetch_rule]]\nhosts = [\"*.lan.example\"]\nallow_ranges = [\"10.0.0.0/8\"]\n",
            xtask::fleet::UNLIMITED_SERVER
        )),
        ..Default::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let admin = fleet.admin("admin:policies:read");
    let all = admin.all("/admin/v1/policies");
    let kinds: Vec<_> = all.iter().map(|one| text(one, "kind")).collect();
    assert_eq!(kinds, ["exchange", "fetch_rule"]);
    assert_eq!(all[0]["values"]["from_client"], "c_gateway");
    assert_eq!(admin.all("/admin/v1/policies?kind=fetch_rule"), [all[1].clone()]);
    refused(
        &admin.get("/admin/v1/policies?kind=secrets"),
        400,
        "invalid_request",
    );
}

both!(the_audit_log_is_read_and_verified_from_far);
fn the_audit_log_is_read_and_verified_from_far(db: Db) {
    let fleet = Fleet::start(db, &blackbox::fleet::Wishes::default());
    let admin = fleet.admin(BOTH);
    for _ in 0..9 {
        admin.made("/admin/v1/clients", &json!({"client_name": "x"}));
    }
    let newest = admin.all("/admin/v1/audit/events");
    let mut oldest = admin.all("/admin/v1/audit/events?order=oldest");
    assert!(oldest.len() >= 10, "{oldest:?}");
    let near = fleet.server.json(&["audit", "list", "--limit", "1000"]).unwrap();
    assert_eq!(Value::from(newest.clone()), near);
    oldest.reverse();
    assert_eq!(newest, oldest);
    let numbers: Vec<_> = newest
        .iter()
        .map(|row| row["sequence"].as_i64().unwrap())
        .collect();
    assert!(
        numbers.windows(2).all(|pair| pair[0] == pair[1] + 1),
        "{numbers:?}"
    );
    let actor = text(&newest[0], "actor");
    assert_eq!(
        admin.all(&format!("/admin/v1/audit/events?actor={actor}")).len(),
        9
    );
    let mut made = newest.clone();
    made.retain(|row| row["event"] == "client.created");
    made.reverse();
    assert_eq!(
        admin.all("/admin/v1/audit/events?event=client.created&order=oldest"),
        made
    );
    refused_value(&admin.get("/admin/v1/audit/events?event=a&actor=b"));
    let (verified, _) = admin.read("/admin/v1/audit/verification");
    assert_eq!(verified["events"], newest.len());
    fleet.sql("UPDATE audit_event SET outcome = 'refused' WHERE sequence = 2");
    refused(&admin.get("/admin/v1/audit/verification"), 409, "conflict");
}

both!(adm_08_keys_are_rotated_and_taken_out_from_far);
fn adm_08_keys_are_rotated_and_taken_out_from_far(db: Db) {
    let fleet = Fleet::start(db, &blackbox::fleet::Wishes::default());
    let admin = fleet.admin(BOTH);
    let client = fleet.client(&[]);
    let node = fleet.node.url();
    let states = || -> Vec<(String, String)> {
        let keys = admin.all("/admin/v1/keys");
        let ed = keys.iter().filter(|key| key["alg"] == "EdDSA");
        let mut all: Vec<_> = ed
            .map(|key| (text(key, "state").to_owned(), text(key, "kid").to_owned()))
            .collect();
        // Keys of one second stand in no order of their own.
        all.sort_unstable();
        all
    };
    let rotate = |admin: &blackbox::admin::Admin<'_>, body: &Value| {
        let answer = admin.post("/admin/v1/key-rotations", body);
        assert_eq!(answer.status, 200, "{answer}");
        answer.json().unwrap()["keys"].clone()
    };
    let old = fleet.token(&client, &node);
    assert_eq!(fleet.call(&old).status, 200);
    let first = states()[0].1.clone();
    // Planned: it is published, and signs later. Asked again, it is the same.
    let planned = rotate(&admin, &json!({"alg": "EdDSA"}));
    assert_eq!(planned.as_array().unwrap().len(), 1);
    assert_eq!(
        rotate(&admin, &json!({"alg": "EdDSA", "way": "planned"})),
        planned
    );
    let second = text(&planned[0], "kid").to_owned();
    let expected = [("current", &first), ("next", &second)];
    let shown = states();
    assert_eq!(
        shown
            .iter()
            .map(|(state, kid)| (&**state, kid))
            .collect::<Vec<_>>(),
        expected
    );
    // Now: the one that is known already. The old one stays, with what it signed.
    assert_eq!(
        text(&rotate(&admin, &json!({"alg": "EdDSA", "way": "now"}))[0], "kid"),
        second
    );
    let path = |kid: &str| format!("/admin/v1/keys/{}", blackbox::admin::path_of(kid));
    let (retired, tag) = admin.read(&path(&first));
    assert_eq!(text(&retired, "state"), "retired");
    assert!(retired["ends_at"].is_i64(), "{retired}");
    assert_eq!(fleet.call(&old).status, 200);
    let new = fleet.token(&client, &node);
    // The token of before was signed by the key that is to go.
    let admin = fleet.admin(BOTH);
    // A key that signs cannot be taken out; one that has signed can, and everything that it signed is refused.
    refused(&admin.delete(&path(&second), "*"), 409, "conflict");
    refused(
        &admin.delete(&path(&first), "\"old\""),
        412,
        "precondition_failed",
    );
    assert_eq!(admin.delete(&path(&first), &tag).status, 204);
    refused(&admin.get(&path(&first)), 404, "not_found");
    refused(&admin.delete(&path(&first), "*"), 404, "not_found");
    assert_eq!(fleet.introspect(&client, &old)["active"], false);
    assert_eq!(fleet.introspect(&client, &new)["active"], true);
    // Compromised: whatever was signed before is refused, and who asks is too.
    let removed = rotate(&admin, &json!({"alg": "EdDSA", "way": "compromised"}));
    assert_eq!(removed[0]["removed"], json!([second]));
    refused(&admin.get("/admin/v1/keys"), 401, "invalid_token");
    let admin = fleet.admin(BOTH);
    let events = admin.all(&format!("/admin/v1/audit/events?target={second}&order=oldest"));
    let names: Vec<_> = events.iter().map(|row| text(row, "event")).collect();
    assert_eq!(names, ["key.published", "key.rotated", "key.compromised"]);
    assert!(
        events
            .iter()
            .all(|row| row["actor_type"] == "client" && row["source"].is_string())
    );
    for bad in [
        json!({"way": "later"}),
        json!({"way": true}),
        json!({"kid": first}),
    ] {
        refused(
            &admin.post("/admin/v1/key-rotations", &bad),
            400,
            "invalid_request",
        );
    }
    for alg in ["HS256", "ES512"] {
        refused_value(&admin.post("/admin/v1/key-rotations", &json!({"alg": alg})));
    }
}

both!(a_token_that_somebody_found_is_known_and_ended);
fn a_token_that_somebody_found_is_known_and_ended(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    let look = |token: &str| {
        let answer = admin.post("/admin/v1/introspection", &json!({"token": token}));
        assert_eq!(answer.status, 200, "{answer}");
        answer.json().unwrap()
    };
    let end = |token: &str| admin.post("/admin/v1/revocation", &json!({"token": token}));
    let inactive = json!({"active": false});
    // Of a client in its own name.
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    assert_eq!(look(&token), fleet.introspect(&client, &token));
    let claims = look(&token);
    assert_eq!(
        (text(&claims, "client_id"), text(&claims, "aud")),
        (&*client.id, &*fleet.node.url())
    );
    assert_eq!(end(&token).status, 204);
    assert_eq!(look(&token), inactive);
    assert_eq!(fleet.introspect(&client, &token), inactive);
    assert_eq!(end(&token).status, 204, "it has ended already");
    let rows = admin.all(&format!("/admin/v1/audit/events?target={}", text(&claims, "jti")));
    assert_eq!(rows.len(), 1, "{rows:?}");
    assert_eq!(
        (text(&rows[0], "event"), text(&rows[0], "target_type")),
        ("tokens.revoked", "access_token")
    );
    // Of a person: a refresh token ends with all that came of the same code.
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let tokens = fleet.code_tokens(&mut fleet.person(), &username, &client_id);
    let (access, refresh) = (text(&tokens, "access_token"), text(&tokens, "refresh_token"));
    assert_eq!(
        (look(access)["active"].clone(), look(refresh)["active"].clone()),
        (json!(true), json!(true))
    );
    assert_eq!(text(&look(refresh), "client_id"), client_id);
    assert_eq!(end(refresh).status, 204);
    assert_eq!(
        (look(access), look(refresh)),
        (inactive.clone(), inactive.clone())
    );
    refused_400(&fleet.refresh(&client_id, refresh, &[]), "invalid_grant");
    // What is none of ours.
    for other in ["x", "ehr_AAAA", "eyJhbGciOiJub25lIn0.e30."] {
        assert_eq!(look(other), inactive);
        refused(&end(other), 404, "not_found");
    }
    for bad in [
        json!({}),
        json!({"token": ""}),
        json!({"token": 1}),
        json!({"token": "x", "hint": "y"}),
    ] {
        for path in ["/admin/v1/introspection", "/admin/v1/revocation"] {
            refused(&admin.post(path, &bad), 400, "invalid_request");
        }
    }
    // To know is not to end.
    let reader = fleet.admin("admin:tokens:read");
    let body = json!({"token": fleet.token(&client, &fleet.node.url())});
    assert_eq!(reader.post("/admin/v1/introspection", &body).status, 200);
    refused(
        &reader.post("/admin/v1/revocation", &body),
        403,
        "insufficient_scope",
    );
}
