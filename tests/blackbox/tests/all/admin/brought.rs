//! What operators bring: invites to register, and metadata documents (ADM-16).

use blackbox::registered::{fleet_with, public};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};

use super::{refused, refused_value};

const BOTH: &str = "admin:read admin:write";
const INVITES: &str = "/admin/v1/client-invites";
const DOCUMENTS: &str = "/admin/v1/client-documents";

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name].as_str().unwrap()
}

both!(an_invite_to_register_is_made_used_and_ended);
fn an_invite_to_register_is_made_used_and_ended(db: Db) {
    let fleet = fleet_with(db, "registration = \"invite\"");
    let admin = fleet.admin(BOTH);
    let made = admin.made(INVITES, &json!({"name": "partners", "uses": 2, "ttl": "10m"}));
    let token = text(&made, "initial_access_token").to_owned();
    assert_eq!((text(&made, "state"), &made["uses_left"]), ("open", &json!(2)));
    refused(
        &admin.post(INVITES, &json!({"name": "partners"})),
        409,
        "conflict",
    );
    assert_eq!(fleet.register(&public(&json!({})), Some(&token)).status, 201);
    let path = format!("{INVITES}/partners");
    let (shown, tag) = admin.read(&path);
    assert_eq!(shown["uses_left"], 1);
    assert!(shown.get("initial_access_token").is_none(), "{shown}");
    refused(&admin.delete(&path, "\"old\""), 412, "precondition_failed");
    assert_eq!(admin.delete(&path, &tag).status, 204);
    refused(&admin.delete(&path, "*"), 404, "not_found");
    assert_eq!(fleet.register(&public(&json!({})), Some(&token)).status, 401);
    // A name may be anything.
    let named = admin.made(INVITES, &json!({"name": "Föö / bar"}));
    fleet.remember(text(&named, "initial_access_token"));
    let path = format!("{INVITES}/{}", blackbox::admin::path_of("Föö / bar"));
    assert_eq!(admin.read(&path).0["name"], "Föö / bar");
    let mut names: Vec<_> = admin
        .all(INVITES)
        .iter()
        .map(|one| (text(one, "name").to_owned(), text(one, "state").to_owned()))
        .collect();
    names.sort();
    assert_eq!(
        names,
        [
            ("Föö / bar".to_owned(), "open".to_owned()),
            ("partners".to_owned(), "revoked".to_owned())
        ]
    );
    let near = fleet.server.json(&["client", "invites"]).unwrap();
    assert_eq!(near.as_array().unwrap().len(), 2);
    let rows = admin.all("/admin/v1/audit/events?target=partners&order=oldest");
    let events: Vec<_> = rows.iter().map(|row| text(row, "event")).collect();
    assert_eq!(events, ["client.invited", "client.invite_revoked"]);
    for bad in [
        json!({"uses": 0}),
        json!({"uses": "many"}),
        json!({"name": 1}),
        json!({"secret": "mine"}),
    ] {
        refused(&admin.post(INVITES, &bad), 400, "invalid_request");
    }
    refused_value(&admin.post(INVITES, &json!({"ttl": "soon"})));
    for bad in [
        json!({"ttl": "0s"}),
        json!({"name": ""}),
        json!({"name": "x".repeat(101)}),
    ] {
        refused(&admin.post(INVITES, &bad), 422, "invalid_client_metadata");
    }
}

both!(adm_16_a_document_is_taken_whole_or_not_at_all);
fn adm_16_a_document_is_taken_whole_or_not_at_all(db: Db) {
    let fleet = Fleet::shared(db);
    let admin = fleet.admin(BOTH);
    let id = format!("https://{}.example/client", fleet.fresh_name());
    let document = |more: Value| {
        let mut document = json!({
            "client_id": id, "client_name": "Brought", "redirect_uris": ["http://127.0.0.1/cb"],
        });
        for (name, value) in more.as_object().unwrap() {
            document[name] = value.clone();
        }
        document
    };
    let bring = |document: Value, standing: &str| {
        admin.post(DOCUMENTS, &json!({"document": document, "standing": standing}))
    };
    let path = format!("{DOCUMENTS}/{}", blackbox::admin::path_of(&id));
    let client = format!("/admin/v1/clients/{}", blackbox::admin::path_of(&id));
    // What has a fault is refused whole, and nothing is there afterwards.
    for bad in [
        document(json!({"redirect_uris": ["javascript:alert(1)"]})),
        document(json!({"redirect_uris": []})),
        document(json!({"client_secret": "x"})),
        document(json!({"client_id": "http://plain.example/client"})),
        document(json!({"scope": "root"})),
        document(json!({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}})),
        json!({}),
    ] {
        refused(&bring(bad, "pinned"), 422, "invalid_client_metadata");
    }
    refused(&admin.get(&client), 404, "not_found");
    refused(&admin.get(&path), 404, "not_found");

    let answer = bring(document(json!({})), "pinned");
    assert_eq!(answer.status, 200, "{answer}");
    assert_eq!(answer.json().unwrap()["client_id"], id.as_str());
    assert_eq!(admin.read(&client).0["client_name"], "Brought");
    // Pinned gives way to another pin only.
    refused(
        &bring(document(json!({"client_name": "Other"})), "fetched"),
        422,
        "invalid_client_metadata",
    );
    assert_eq!(
        bring(document(json!({"client_name": "Other"})), "pinned").status,
        200
    );
    let (shown, tag) = admin.read(&path);
    assert_eq!(
        (&shown["is_pinned"], &shown["document"]["client_name"]),
        (&json!(true), &json!("Other"))
    );
    refused(&admin.delete(&path, "\"old\""), 412, "precondition_failed");
    assert_eq!(admin.delete(&path, &tag).status, 204);
    refused(&admin.delete(&path, "*"), 404, "not_found");
    assert_eq!(admin.read(&path).0["is_pinned"], false);
    // A client of that id is there: nobody vouches for it as if it were new.
    refused(
        &bring(document(json!({})), "vouched"),
        422,
        "invalid_client_metadata",
    );
    let rows = admin.all(&format!("/admin/v1/audit/events?target={id}&order=oldest"));
    let events: Vec<_> = rows.iter().map(|row| text(row, "event")).collect();
    assert_eq!(events, ["client.imported", "client.imported", "client.unpinned"]);
    for bad in [
        json!({"document": []}),
        json!({"document": {}, "standing": "loved"}),
        json!({"client_id": 1}),
    ] {
        refused(&admin.post(DOCUMENTS, &bad), 400, "invalid_request");
    }
    for bad in [
        json!({}),
        json!({"document": {}, "client_id": id}),
        json!({"client_id": id, "standing": "vouched"}),
    ] {
        refused_value(&admin.post(DOCUMENTS, &bad));
    }
    // ADM-03: an address that leads to this very server is not fetched, nor one that is none.
    for address in ["http://127.0.0.1:1/x", "https://127.0.0.1:1/x", "c_x"] {
        refused(
            &admin.post(DOCUMENTS, &json!({"client_id": address})),
            422,
            "invalid_client_metadata",
        );
    }
}
