//! ADM: the operators' REST API: who may use it, and what holds for every operation.

mod brought;
mod clients;
mod command;
mod nouns;
mod overview;
mod people;

use std::collections::{BTreeMap, BTreeSet};

use blackbox::admin::{BASE, token_of_person};
use blackbox::answers::{granted, refused_400};
use blackbox::dpop::Holder;
use blackbox::fleet::Wishes;
use blackbox::people::PASSWORD;
use blackbox::registered::{open_fleet, public};
use blackbox::{Db, Fleet, both};
use serde_json::json;
use xtask::fleet::{UNLIMITED_SERVER, free_port};
use xtask::http::{Answer, Request};
use xtask::journey::parameter;

const CLIENTS: &str = "/admin/v1/clients";

/// What was said can be read, and will not do: something that the document cannot say.
#[track_caller]
fn refused_value(answer: &Answer) {
    refused(answer, 422, "invalid_value");
}

#[track_caller]
fn refused(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer}");
    let body = answer.json().unwrap();
    assert_eq!(body["code"], code, "{answer}");
    assert!(
        body["type"]
            .as_str()
            .unwrap()
            .ends_with(&format!("/docs/errors#{code}"))
    );
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer}");
    assert!(answer.header("access-control-allow-origin").is_none(), "{answer}");
}

both!(adm_01_a_token_of_this_server_for_this_resource_with_the_right_scope);
fn adm_01_a_token_of_this_server_for_this_resource_with_the_right_scope(db: Db) {
    let fleet = Fleet::shared(db);
    // Nothing shown: where tokens come from (RFC 9728 §5.1), and no error (RFC 6750 §3.1).
    let answer = fleet.admin_with(None).get(CLIENTS);
    refused(&answer, 401, "invalid_token");
    let challenge = answer.header("www-authenticate").unwrap();
    assert!(parameter(challenge, "error").is_none(), "{challenge}");
    let metadata = parameter(challenge, "resource_metadata").unwrap();
    let metadata = granted_json(&Request::new("GET", &metadata).unwrap().send().unwrap());
    assert_eq!(metadata["resource"], fleet.admin_resource());
    assert_eq!(metadata["authorization_servers"], json!([fleet.server.issuer]));
    // A token for the node, with all that it can have.
    let client = fleet.client(&[]);
    let other = fleet.token(&client, &fleet.node.url());
    let answer = fleet.admin_with(Some(other)).get(CLIENTS);
    refused(&answer, 401, "invalid_token");
    assert!(
        answer
            .header("www-authenticate")
            .unwrap()
            .contains("invalid_token")
    );
    // To read is not to write, to write is not to read, and one noun is not another.
    let reader = fleet.admin("admin:read");
    assert_eq!(reader.get(CLIENTS).status, 200);
    let body = json!({"client_name": "x"});
    let answer = reader.post(CLIENTS, &body);
    refused(&answer, 403, "insufficient_scope");
    let challenge = answer.header("www-authenticate").unwrap();
    assert_eq!(parameter(challenge, "scope").as_deref(), Some("admin:write"));
    let writer = fleet.admin("admin:clients:write");
    assert_eq!(writer.post(CLIENTS, &body).status, 201);
    refused(&writer.get(CLIENTS), 403, "insufficient_scope");
    // A token in the query is none.
    let path = format!("{CLIENTS}?access_token={}", reader.token.as_deref().unwrap());
    let bare = Request::new("GET", &fleet.at(&path)).unwrap().send().unwrap();
    refused(&bare, 401, "invalid_token");
}

fn granted_json(answer: &Answer) -> serde_json::Value {
    assert_eq!(answer.status, 200, "{answer}");
    answer.json().unwrap()
}

both!(adm_02_every_route_refuses_everybody_but_whom_the_document_names);
fn adm_02_every_route_refuses_everybody_but_whom_the_document_names(db: Db) {
    let fleet = Fleet::shared(db);
    let nobody = fleet.admin_with(None);
    let operations = nobody.operations();
    assert!(operations.len() >= 6);
    // Each scope alone.
    let scopes = nobody.scopes();
    let roles: Vec<_> = scopes.iter().map(|scope| (scope, fleet.admin(scope))).collect();
    for operation in operations {
        let path = operation.at("c_nobody");
        let is_asked = |admin: &blackbox::admin::Admin<'_>| {
            let mut request = admin.request(&operation.method, &path);
            if operation.has_header("If-Match") {
                request = request.header("If-Match", "*");
            }
            if operation.entry["requestBody"].is_object() {
                // What no operation knows: nothing is made.
                request = request.json(&json!({"no such member": 1}));
            }
            admin.send(&request, (&operation.method, &path))
        };
        let shown = format!("{} {path}", operation.method);
        assert_eq!(is_asked(&nobody).status, 401, "{shown}");
        let needed = operation.scopes();
        assert_eq!(needed.len(), 2, "{shown}");
        for (scope, admin) in &roles {
            let answer = is_asked(admin);
            if needed.contains(scope) {
                assert!(
                    ![401, 403].contains(&answer.status),
                    "{shown} with {scope}: {answer}"
                );
            } else {
                refused(&answer, 403, "insufficient_scope");
            }
        }
    }
}

both!(adm_02_an_address_knows_the_methods_of_the_document_and_no_other);
fn adm_02_an_address_knows_the_methods_of_the_document_and_no_other(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin("admin:read");
    let mut addresses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in admin.operations() {
        addresses
            .entry(operation.at("c_nobody"))
            .or_default()
            .insert(operation.method);
    }
    for (path, known) in addresses {
        let mut allowed = known.clone();
        if known.contains("GET") {
            allowed.insert("HEAD".to_owned());
        }
        for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            let answer = admin.request(method, &path).send().unwrap();
            assert_eq!(
                answer.status == 405,
                !known.contains(method),
                "{method} {path}: {answer}"
            );
            if answer.status == 405 {
                refused(&answer, 405, "method_not_allowed");
                let allow = answer.header("allow").unwrap().split(", ").map(str::to_owned);
                assert_eq!(allow.collect::<BTreeSet<_>>(), allowed, "{path}");
            }
        }
    }
    // What the document has for its forms is there.
    let text = admin.document().to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        let schema = &admin.document()["components"]["schemas"][name];
        assert!(schema.is_object(), "the document has no form {name}");
    }
}

both!(adm_01_a_token_ends_at_once_and_a_bound_one_needs_its_key);
fn adm_01_a_token_ends_at_once_and_a_bound_one_needs_its_key(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.admin_client("admin:read");
    let token = fleet.token(&client, &fleet.admin_resource());
    let admin = fleet.admin_with(Some(token.clone()));
    assert_eq!(admin.get(CLIENTS).status, 200);
    assert_eq!(
        fleet.post("/oauth/revoke", &client, &[("token", &token)]).status,
        200
    );
    refused(&admin.get(CLIENTS), 401, "invalid_token");
    // So does its client.
    let token = fleet.token(&client, &fleet.admin_resource());
    let admin = fleet.admin_with(Some(token));
    assert_eq!(admin.get(CLIENTS).status, 200);
    fleet.server.json(&["client", "revoke", &client.id]).unwrap();
    refused(&admin.get(CLIENTS), 401, "invalid_token");

    let (client, holder) = (fleet.admin_client("admin:read"), Holder::fresh());
    let token_endpoint = fleet.at("/oauth/token");
    let request = Request::post(&token_endpoint)
        .unwrap()
        .basic(&client.id, &client.secret)
        .header("DPoP", &holder.proof("POST", &token_endpoint));
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", &*fleet.admin_resource()),
    ];
    let answer = granted(&request.form(&form).send().unwrap());
    let token = answer["access_token"].as_str().unwrap();
    fleet.remember(token);
    let url = fleet.at(CLIENTS);
    let shown = |scheme: &str| {
        Request::new("GET", &url)
            .unwrap()
            .header("Authorization", &format!("{scheme} {token}"))
    };
    let good = shown("DPoP").header("DPoP", &holder.proof_for("GET", &url, token));
    assert_eq!(good.send().unwrap().status, 200);
    // Replayed, without a proof, as a bearer token.
    refused(&good.send().unwrap(), 401, "invalid_dpop_proof");
    refused(&shown("DPoP").send().unwrap(), 401, "invalid_dpop_proof");
    refused(&shown("Bearer").send().unwrap(), 401, "invalid_token");
}

both!(adm_09_a_person_must_be_an_administrator_and_the_client_an_operators);
fn adm_09_a_person_must_be_an_administrator_and_the_client_an_operators(db: Db) {
    let fleet = open_fleet(db);
    let (ada, bob) = (fleet.fresh_name(), fleet.person_account());
    fleet.user(&ada, PASSWORD, &["--admin"]);
    let token = token_of_person(&fleet, &ada, "admin:read admin:write");
    let admin = fleet.admin_with(Some(token));
    assert_eq!(admin.get(CLIENTS).status, 200);
    // What a person did is told of the person, and of the program that they did it with.
    let made = admin.made(CLIENTS, &json!({"client_name": "made by Ada"}));
    let rows = fleet
        .server
        .json(&["audit", "list", "--event", "client.created", "--limit", "1"])
        .unwrap();
    let row = &rows[0];
    assert_eq!(
        (&row["actor_type"], &row["target"]),
        (&json!("user"), &made["client_id"]),
        "{row}"
    );
    assert!(row["actor"].as_str().unwrap().starts_with("u_"), "{row}");
    assert!(
        row["details"]["through"].as_str().unwrap().starts_with("c_"),
        "{row}"
    );
    assert!(row["source"].is_string(), "{row}");
    // Whoever is none gets nothing, whatever the token says.
    let token = token_of_person(&fleet, &bob, "admin:read");
    refused(&fleet.admin_with(Some(token)).get(CLIENTS), 403, "access_denied");
    // A disabled one neither.
    fleet.server.json(&["user", "disable", &ada]).unwrap();
    assert_eq!(admin.get(CLIENTS).status, 401);

    // Clients that made themselves cannot even ask.
    let resource = fleet.admin_resource();
    let registered = fleet.registered(&public(&json!({"scope": "admin:read admin:write"})));
    assert!(
        !registered["scope"].as_str().unwrap().contains("admin:"),
        "{registered}"
    );
    let id = registered["client_id"].as_str().unwrap();
    let pkce = blackbox::Pkce::fresh();
    let more = [("resource", resource.as_str()), ("scope", "admin:read")];
    let url = fleet.authorization_url(id, &pkce, &more);
    let page = fleet.person().get(&url);
    assert_eq!(page.status, 400, "{page}");
    // Nor does a client of an operator get what it was not given.
    let plain = fleet.client_for_any(&[]);
    refused_400(
        &fleet.ask_token(&plain, &[("resource", &resource)]),
        "invalid_scope",
    );
}

both!(adm_09_nobody_hands_on_more_than_they_have);
fn adm_09_nobody_hands_on_more_than_they_have(db: Db) {
    let fleet = Fleet::shared(db);
    let some = fleet.admin("admin:clients:read admin:clients:write");
    let with = |scope: &str| json!({"client_name": "x", "scope": scope});
    let own = some.made(CLIENTS, &with("admin:clients:write mcp:read"));
    for more in ["admin:read", "admin:write", "mcp:read admin:write"] {
        refused(&some.post(CLIENTS, &with(more)), 403, "access_denied");
    }
    let path = format!("{CLIENTS}/{}", own["client_id"].as_str().unwrap());
    let (_, tag) = some.read(&path);
    refused(
        &some.patch(&path, &tag, &json!({"scope": "admin:write"})),
        403,
        "access_denied",
    );
    assert_eq!(some.patch(&path, &tag, &json!({"scope": "mcp:read"})).status, 200);
    // Nor touches whoever has more: a new secret of theirs would be theirs.
    let strong = fleet.admin_client("admin:write");
    let path = format!("{CLIENTS}/{}", strong.id);
    let (_, tag) = some.read(&path);
    refused(
        &some.post(&format!("{path}/secrets"), &json!({})),
        403,
        "access_denied",
    );
    refused(
        &some.patch(&path, &tag, &json!({"client_name": "y"})),
        403,
        "access_denied",
    );
    refused(&some.delete(&path, &tag), 403, "access_denied");
    let all = fleet.admin("admin:write");
    assert_eq!(all.delete(&path, &tag).status, 204);
}

both!(adm_10_the_api_is_at_its_own_address_where_it_has_one);
fn adm_10_the_api_is_at_its_own_address_where_it_has_one(db: Db) {
    let port = free_port().unwrap();
    let wishes = Wishes {
        server: Some(format!(
            "{UNLIMITED_SERVER}\n[admin]\nlisten = [\"127.0.0.1:{port}\"]\nurl = \"http://localhost:{port}\"\n"
        )),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let token = fleet.token(&fleet.admin_client("admin:read"), &fleet.admin_resource());
    let at = |base: &str, path: &str| {
        Request::new("GET", &format!("{base}{path}"))
            .unwrap()
            .bearer(&token)
            .send()
            .unwrap()
    };
    let (public, own) = (fleet.at(""), format!("http://localhost:{port}"));
    let well_known = format!("/.well-known/oauth-protected-resource{BASE}");
    for path in [CLIENTS, "/admin/openapi.json", "/admin/explorer", &*well_known] {
        assert_eq!(at(&public, path).status, 404, "{path}");
        assert_eq!(at(&own, path).status, 200, "{path}");
    }
    let document = granted_json(&at(&own, "/admin/openapi.json"));
    assert_eq!(document["openapi"], "3.1.0");
    assert_eq!(document["servers"][0]["url"], own);
    // A proof is made for the address that the client knows.
    let (client, holder) = (fleet.admin_client("admin:read"), Holder::fresh());
    let request = Request::post(&format!("{own}/oauth/token"))
        .unwrap()
        .basic(&client.id, &client.secret);
    let request = request.header("DPoP", &holder.proof("POST", &format!("{own}/oauth/token")));
    let form = [
        ("grant_type", "client_credentials"),
        ("resource", &*fleet.admin_resource()),
    ];
    let bound = granted(&request.form(&form).send().unwrap());
    let bound = bound["access_token"].as_str().unwrap();
    fleet.remember(bound);
    let url = format!("{own}{CLIENTS}");
    let request = Request::new("GET", &url)
        .unwrap()
        .header("Authorization", &format!("DPoP {bound}"));
    let answer = request
        .header("DPoP", &holder.proof_for("GET", &url, bound))
        .send()
        .unwrap();
    assert_eq!(answer.status, 200, "{answer}");
}

both!(a_page_shows_every_operation);
fn a_page_shows_every_operation(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin_with(None);
    let get = |path: &str| admin.request("GET", path).send().unwrap();
    let page = get("/admin/explorer");
    assert_eq!(page.status, 200, "{page}");
    let policy = page.header("content-security-policy").unwrap();
    assert!(
        policy.starts_with("default-src 'none'") && !policy.contains("unsafe"),
        "{policy}"
    );
    // Everything that it loads is here.
    for (file, kind) in [("style.css", "text/css"), ("script.js", "text/javascript")] {
        assert!(page.text().contains(&format!("explorer/{file}")), "{page}");
        let answer = get(&format!("/admin/explorer/{file}"));
        assert_eq!(answer.status, 200, "{answer}");
        assert!(
            answer.header("content-type").unwrap().starts_with(kind),
            "{answer}"
        );
        assert!(!answer.text().contains("://"), "nothing of another origin");
    }
    assert!(!page.text().contains("://"), "nothing of another origin");
    refused(
        &admin.request("POST", "/admin/explorer").send().unwrap(),
        405,
        "method_not_allowed",
    );
}

both!(adm_11_paths_have_one_reading);
fn adm_11_paths_have_one_reading(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin("admin:read");
    assert_eq!(admin.get(CLIENTS).status, 200);
    for path in [
        "/admin/v1/clients;x=1",
        "/admin/v1/clients/",
        "/admin/v1/Clients",
        "/Admin/v1/clients",
        "/admin//v1/clients",
        "/admin/v1/./clients",
        "/admin/v1/x/../clients",
        "/admin/v1%2fclients",
        "/admin/v1/clients%00",
        "/admin/v1",
        "/admin/v1/",
        "/admin",
        "/admin/v2/clients",
    ] {
        let answer = admin.request("GET", path).send().unwrap();
        assert_eq!(answer.status, 404, "{path}: {answer}");
    }
    // Below the API a refusal has its form, also where nothing could be.
    for path in [
        "/admin/v1/clients/%C2%84",
        "/admin/v1/clients;x=1",
        "/admin/v1/nowhere",
    ] {
        refused(&admin.request("GET", path).send().unwrap(), 404, "not_found");
    }
    let answer = admin.request("PUT", CLIENTS).send().unwrap();
    refused(&answer, 405, "method_not_allowed");
    assert_eq!(answer.header("allow"), Some("GET, HEAD, POST"));
}

both!(adm_12_no_page_of_another_origin_reads_the_api);
fn adm_12_no_page_of_another_origin_reads_the_api(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin("admin:read");
    let origin = "https://evil.example";
    let answer = admin
        .request("GET", CLIENTS)
        .header("Origin", origin)
        .send()
        .unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.header("access-control-allow-origin").is_none(), "{answer}");
    let preflight = admin
        .request("OPTIONS", CLIENTS)
        .header("Origin", origin)
        .header("Access-Control-Request-Method", "POST");
    refused(&preflight.send().unwrap(), 405, "method_not_allowed");
    // Cookies count for nothing: an administrator's browser shows none that helps.
    let ada = fleet.fresh_name();
    fleet.user(&ada, PASSWORD, &["--admin"]);
    let mut person = fleet.person();
    person.sign_in(&ada, PASSWORD);
    refused(&person.get(CLIENTS), 401, "invalid_token");
}

both!(adm_15_who_asks_too_often_waits);
fn adm_15_who_asks_too_often_waits(db: Db) {
    let wishes = Wishes {
        server: Some("\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\nper_ip_failures = \"3/min\"\n[admin]\nrate = \"4/min\"\n".to_owned()),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let (one, other) = (fleet.admin("admin:read"), fleet.admin("admin:read"));
    for _ in 0..4 {
        assert_eq!(one.get(CLIENTS).status, 200);
    }
    let answer = one.get(CLIENTS);
    refused(&answer, 429, "too_many_requests");
    assert!(
        answer.header("retry-after").is_some() && answer.header("ratelimit").is_some(),
        "{answer}"
    );
    assert_eq!(other.get(CLIENTS).status, 200);
    // Tokens that are no good are counted by address; nothing shown is no guess.
    let guess = fleet.admin_with(Some("eyJ.x.y".to_owned()));
    for _ in 0..3 {
        refused(&guess.get(CLIENTS), 401, "invalid_token");
    }
    refused(&guess.get(CLIENTS), 429, "too_many_requests");
    refused(&fleet.admin_with(None).get(CLIENTS), 401, "invalid_token");
    assert_eq!(other.get(CLIENTS).status, 200);
}
