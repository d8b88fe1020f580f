//! DCR-17 … DCR-24: a client looks after its own registration (RFC 7592).

use blackbox::answers::{granted, oauth_error, refused_400, refused_client};
use blackbox::people::CALLBACK;
use blackbox::registered::{open_fleet, public, text};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::Credentials;

/// The id and the token of a registration.
fn owner(client: &Value) -> (&str, Option<&str>) {
    (
        text(client, "client_id"),
        Some(text(client, "registration_access_token")),
    )
}

/// A document for this client, with these members over it.
fn update(client: &Value, more: &Value) -> Value {
    let mut document = public(more);
    document["client_id"] = client["client_id"].clone();
    document
}

both!(dcr_17_only_its_own_token_opens_a_registration);
fn dcr_17_only_its_own_token_opens_a_registration(db: Db) {
    let fleet = open_fleet(db);
    let (mine, other) = (
        fleet.registered(&public(&json!({}))),
        fleet.registered(&public(&json!({}))),
    );
    let (id, token) = owner(&mine);
    let foreign = owner(&other).1;
    let operators = fleet.web_client(CALLBACK, &[]);
    let document = update(&mine, &json!({}));
    for method in ["GET", "PUT", "DELETE"] {
        let body = (method == "PUT").then_some(&document);
        // No token; another's; none at all of that form; an id that is not there; DCR-24: an operator's client.
        let tries = [
            (id, None),
            (id, foreign),
            (id, Some("ehg_x")),
            ("c_nobody", token),
            (operators.as_str(), token),
        ];
        let answers: Vec<_> = tries
            .into_iter()
            .map(|(id, token)| fleet.manage(method, id, token, body))
            .collect();
        for answer in &answers {
            oauth_error(answer, 401, "invalid_token");
            // Nothing tells what is there.
            assert_eq!(answer.text(), answers[0].text());
        }
    }
    let logs = fleet.logs();
    assert!(logs.contains("no registration access token was shown"), "{logs}");
    assert!(logs.contains("is not that of a living registration"), "{logs}");
    assert_eq!(granted(&fleet.manage("GET", id, token, None))["client_id"], id);
    assert_eq!(
        granted(&fleet.manage("GET", owner(&other).0, foreign, None))["client_id"],
        other["client_id"]
    );
}

both!(dcr_18_to_dcr_21_an_update_is_judged_as_a_whole);
fn dcr_18_to_dcr_21_an_update_is_judged_as_a_whole(db: Db) {
    let fleet = open_fleet(db);
    let client = fleet.registered(&public(&json!({
        "logo_uri": "https://client.example/logo.png", "software_id": "s-1", "dpop_bound_access_tokens": false,
    })));
    let (id, token) = owner(&client);
    let put = |document: &Value| fleet.manage("PUT", id, token, Some(document));
    // DCR-18, DCR-19: whatever would be refused at registration.
    for (members, code) in [
        (
            json!({"redirect_uris": ["http://client.example/cb"]}),
            "invalid_redirect_uri",
        ),
        (
            json!({"grant_types": ["client_credentials"], "redirect_uris": []}),
            "invalid_client_metadata",
        ),
        (
            json!({"logo_uri": "javascript:alert(1)"}),
            "invalid_client_metadata",
        ),
        (
            json!({"token_endpoint_auth_method": "private_key_jwt"}),
            "invalid_client_metadata",
        ),
        (json!({"jwks": {"keys": []}}), "invalid_client_metadata"),
        // DCR-20: what is not the client's to say.
        (
            json!({"registration_access_token": "ehg_x"}),
            "invalid_client_metadata",
        ),
        (
            json!({"registration_client_uri": "https://client.example/"}),
            "invalid_client_metadata",
        ),
        (json!({"client_id_issued_at": 1}), "invalid_client_metadata"),
        (json!({"client_secret_expires_at": 0}), "invalid_client_metadata"),
        (json!({"client_secret": "my own"}), "invalid_client_metadata"),
    ] {
        refused_400(&put(&update(&client, &members)), code);
    }
    for client_id in [Value::Null, json!("c_other"), json!(1)] {
        let mut document = public(&json!({}));
        document["client_id"] = client_id;
        refused_400(&put(&document), "invalid_client_metadata");
    }
    let unchanged = granted(&fleet.manage("GET", id, token, None));
    assert_eq!(unchanged["logo_uri"], "https://client.example/logo.png");
    // Grants of strangers only, also later.
    let wider = update(
        &client,
        &json!({"grant_types": ["authorization_code", "client_credentials", "password"]}),
    );
    let updated = granted(&put(&wider));
    assert_eq!(updated["grant_types"], json!(["authorization_code"]));
    // DCR-21: what is left out is gone.
    assert_eq!(
        (updated.get("logo_uri"), updated.get("software_id")),
        (None, None)
    );
    assert_eq!(
        updated["registration_access_token"],
        client["registration_access_token"]
    );
    let bare = json!({"client_id": id, "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
    let updated = granted(&put(&bare));
    assert_eq!(updated["grant_types"], json!(["authorization_code"]));
    assert_ne!(updated["client_name"], client["client_name"]);
    // A public client that becomes confidential gets its secret, and must use it from then on.
    let confidential = update(
        &client,
        &json!({"token_endpoint_auth_method": "client_secret_post"}),
    );
    let updated = granted(&put(&confidential));
    assert!(text(&updated, "client_secret").starts_with("ehs_"), "{updated}");
    let form = [
        ("grant_type", "refresh_token"),
        ("client_id", id),
        ("refresh_token", "ehr_x"),
    ];
    refused_client(&fleet.post_bare("/oauth/token", &form), false);
    let with_secret = [&form[..], &[("client_secret", text(&updated, "client_secret"))]].concat();
    refused_400(&fleet.post_bare("/oauth/token", &with_secret), "invalid_grant");
    // And back: the secret is worth nothing.
    granted(&put(&update(&client, &json!({}))));
    refused_client(&fleet.post_bare("/oauth/token", &with_secret), false);
    refused_400(&fleet.post_bare("/oauth/token", &form), "invalid_grant");
}

both!(dcr_a_client_gets_a_new_secret_and_the_old_one_overlaps);
fn dcr_a_client_gets_a_new_secret_and_the_old_one_overlaps(db: Db) {
    let fleet = open_fleet(db);
    let document = json!({"token_endpoint_auth_method": "client_secret_basic"});
    let client = fleet.registered(&public(&document));
    let (id, token) = owner(&client);
    let known = |secret: &str| {
        let credentials = Credentials {
            id: id.to_owned(),
            secret: secret.to_owned(),
        };
        let form = [("grant_type", "refresh_token"), ("refresh_token", "ehr_x")];
        fleet.post("/oauth/token", &credentials, &form).status == 400
    };
    let old = text(&client, "client_secret");
    assert!(known(old) && !known("ehs_x"));
    // An update that asks for nothing leaves the secret alone; it may repeat it.
    let mut repeated = update(&client, &document);
    repeated["client_secret"] = json!(old);
    let same = granted(&fleet.manage("PUT", id, token, Some(&repeated)));
    assert_eq!(same.get("client_secret"), None);
    let mut rotate = update(&client, &document);
    rotate["rotate_client_secret"] = json!(true);
    let rotated = granted(&fleet.manage("PUT", id, token, Some(&rotate)));
    let new = text(&rotated, "client_secret");
    assert_ne!(new, old);
    assert_eq!(rotated["client_secret_expires_at"], 0);
    assert!(rotated["previous_client_secret_expires_at"].is_i64(), "{rotated}");
    assert!(known(old) && known(new));
    // The next one ends what was ending already.
    let newest = granted(&fleet.manage("PUT", id, token, Some(&rotate)));
    assert!(!known(old) && known(new) && known(text(&newest, "client_secret")));
}

both!(dcr_23_what_is_deleted_is_over);
fn dcr_23_what_is_deleted_is_over(db: Db) {
    let fleet = open_fleet(db);
    let ada = fleet.person_account();
    let (client, other) = (
        fleet.registered(&public(&json!({}))),
        fleet.registered(&public(&json!({}))),
    );
    let tokens = |client: &Value| fleet.code_tokens(&mut fleet.person(), &ada, text(client, "client_id"));
    let (dead, living) = (tokens(&client), tokens(&other));
    let node = introspector(&fleet);
    let is_active = |tokens: &Value| fleet.introspect(&node, text(tokens, "access_token"))["active"].clone();
    assert_eq!((is_active(&dead), is_active(&living)), (json!(true), json!(true)));
    let (id, token) = owner(&client);
    let answer = fleet.manage("DELETE", id, token, None);
    assert_eq!(answer.status, 204, "{answer}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(
        (is_active(&dead), is_active(&living)),
        (json!(false), json!(true))
    );
    refused_client(&fleet.refresh(id, text(&dead, "refresh_token"), &[]), false);
    for method in ["DELETE", "GET"] {
        oauth_error(&fleet.manage(method, id, token, None), 401, "invalid_token");
    }
    granted(&fleet.refresh(owner(&other).0, text(&living, "refresh_token"), &[]));
}

/// The client as which the node asks about its tokens.
fn introspector(fleet: &Fleet) -> Credentials {
    let client = fleet.client(&[]);
    fleet
        .server
        .json(&[
            "resource",
            "update",
            "--uri",
            &fleet.node.url(),
            "--client",
            &client.id,
        ])
        .unwrap();
    client
}
