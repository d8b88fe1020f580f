//! GEN-01 … GEN-08, GEN-14: how the form endpoints read their parameters.

use blackbox::answers::{granted, not_stored, oauth_error, refused_400};
use blackbox::{Db, Fleet, both};
use serde_json::json;
use xtask::fleet::Credentials;
use xtask::http::{Answer, Request};

const FORM: &str = "application/x-www-form-urlencoded";

/// Every form endpoint with a complete set of parameters.
fn endpoints(token: &str) -> [(&'static str, Vec<(&'static str, String)>); 3] {
    let about_token = || {
        vec![
            ("token", token.to_owned()),
            ("token_type_hint", "access_token".to_owned()),
        ]
    };
    let grant = vec![
        ("grant_type", "client_credentials".to_owned()),
        ("scope", "mcp:read".to_owned()),
    ];
    [
        ("/oauth/token", grant),
        ("/oauth/introspect", about_token()),
        ("/oauth/revoke", about_token()),
    ]
}

fn post(fleet: &Fleet, path: &str, client: &Credentials, form: &[(&'static str, String)]) -> Answer {
    let form: Vec<(&str, &str)> = form.iter().map(|(name, value)| (*name, value.as_str())).collect();
    fleet.post(path, client, &form)
}

fn post_raw(fleet: &Fleet, client: &Credentials, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = Request::post(&fleet.at("/oauth/token"))
        .unwrap()
        .basic(&client.id, &client.secret);
    request.header("Content-Type", kind).body(body).send().unwrap()
}

both!(gen_01_a_parameter_twice_is_refused);
fn gen_01_a_parameter_twice_is_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let token = fleet.token(&client, &fleet.node.url());
    for (path, form) in endpoints(&token) {
        for doubled in &form {
            let twice = [&form[..], std::slice::from_ref(doubled)].concat();
            refused_400(&post(&fleet, path, &client, &twice), "invalid_request");
        }
    }
    // The positive twin: nothing was revoked or used up by the refusals.
    assert_eq!(fleet.introspect(&client, &token)["active"], true);
    for (path, form) in endpoints(&token) {
        assert_eq!(post(&fleet, path, &client, &form).status, 200, "{path}");
    }
}

both!(gen_01_credentials_twice_in_the_body_are_refused);
fn gen_01_credentials_twice_in_the_body_are_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let (id, secret) = (client.id.as_str(), client.secret.as_str());
    let good = [
        ("grant_type", "client_credentials"),
        ("client_id", id),
        ("client_secret", secret),
    ];
    for doubled in [("client_id", id), ("client_secret", secret)] {
        refused_400(
            &fleet.post_bare("/oauth/token", &[&good[..], &[doubled]].concat()),
            "invalid_request",
        );
    }
    granted(&fleet.post_bare("/oauth/token", &good));
}

both!(gen_02_unknown_parameters_are_ignored);
fn gen_02_unknown_parameters_are_ignored(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    granted(&fleet.ask_token(&client, &[("extra", "1"), ("extra", "2"), ("foo.bar[]", "")]));
}

both!(gen_03_an_empty_parameter_is_an_absent_one);
fn gen_03_an_empty_parameter_is_an_absent_one(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let absent = granted(&fleet.ask_token(&client, &[]));
    let empty = granted(&fleet.ask_token(&client, &[("scope", ""), ("resource", "")]));
    assert_eq!(empty["scope"], absent["scope"]);
    refused_400(
        &fleet.post("/oauth/token", &client, &[("grant_type", "")]),
        "invalid_request",
    );
    refused_400(
        &fleet.post("/oauth/introspect", &client, &[("token", "")]),
        "invalid_request",
    );
}

both!(gen_04_parameters_in_the_query_are_refused);
fn gen_04_parameters_in_the_query_are_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let path = "/oauth/token?grant_type=client_credentials";
    refused_400(
        &fleet.post(path, &client, &[("scope", "mcp:read")]),
        "invalid_request",
    );
    refused_400(
        &fleet.post(path, &client, &[("grant_type", "client_credentials")]),
        "invalid_request",
    );
    let secret = format!(
        "/oauth/token?client_id={}&client_secret={}",
        client.id, client.secret
    );
    refused_400(
        &fleet.post_bare(&secret, &[("grant_type", "client_credentials")]),
        "invalid_request",
    );
    granted(&fleet.ask_token(&client, &[]));
}

both!(gen_06_a_body_that_is_no_form_is_refused);
fn gen_06_a_body_that_is_no_form_is_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let text = json!({"grant_type": "client_credentials"}).to_string();
    for kind in [
        "application/json",
        "multipart/form-data; boundary=x",
        "text/plain",
        "",
    ] {
        refused_400(&post_raw(&fleet, &client, kind, text.clone()), "invalid_request");
    }
    let bodiless = Request::post(&fleet.at("/oauth/token"))
        .unwrap()
        .basic(&client.id, &client.secret);
    refused_400(
        &bodiless.header("Content-Length", "0").send().unwrap(),
        "invalid_request",
    );
    granted(&post_raw(&fleet, &client, FORM, "grant_type=client_credentials"));
}

both!(gen_06_the_edge_hive_alias_takes_json_too);
fn gen_06_the_edge_hive_alias_takes_json_too(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let alias = |body: &serde_json::Value| {
        let request = Request::post(&fleet.at("/mcp/auth/token"))
            .unwrap()
            .basic(&client.id, &client.secret);
        request.json(body).send().unwrap()
    };
    let good = granted(&alias(
        &json!({"grant_type": "client_credentials", "scope": "mcp:read"}),
    ));
    assert_eq!(good["token_type"], "Bearer");
    fleet.remember(good["access_token"].as_str().unwrap());
    granted(&fleet.post(
        "/mcp/auth/token",
        &client,
        &[("grant_type", "client_credentials")],
    ));
    let (id, secret) = (client.id.as_str(), client.secret.as_str());
    let in_body = json!({"grant_type": "client_credentials", "client_id": id, "client_secret": secret});
    let request = Request::post(&fleet.at("/mcp/auth/token")).unwrap();
    granted(&request.json(&in_body).send().unwrap());
    for bad in [
        json!([]),
        json!("x"),
        json!({"grant_type": 1}),
        json!({"grant_type": ["client_credentials"]}),
        json!({}),
    ] {
        refused_400(&alias(&bad), "invalid_request");
    }
    let request = Request::post(&fleet.at("/mcp/auth/token"))
        .unwrap()
        .basic(id, secret);
    let twice = r#"{"grant_type":"client_credentials","grant_type":"client_credentials"}"#;
    let twice = request
        .header("Content-Type", "application/json")
        .body(twice)
        .send()
        .unwrap();
    refused_400(&twice, "invalid_request");
}

both!(gen_07_bytes_that_are_no_text_are_refused);
fn gen_07_bytes_that_are_no_text_are_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let bodies: [&[u8]; 6] = [
        b"scope=%ff",
        b"scope=%00",
        b"scope=a%00b",
        b"scope=\xff\xfe",
        b"scope=%c0%af",
        b"scope=%0d%0a",
    ];
    for value in bodies {
        let body = [b"grant_type=client_credentials&", value].concat();
        let answer = post_raw(&fleet, &client, FORM, body);
        assert_eq!(answer.status, 400, "{answer}");
        let error = answer.json().unwrap()["error"].clone();
        assert!(error == "invalid_request" || error == "invalid_scope", "{answer}");
        not_stored(&answer);
    }
    granted(&post_raw(
        &fleet,
        &client,
        FORM,
        "grant_type=client%5fcredentials&scope=mcp%3aread",
    ));
}

both!(gen_08_only_utf_8_forms_are_read);
fn gen_08_only_utf_8_forms_are_read(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let body = "grant_type=client_credentials";
    let utf_16 = post_raw(&fleet, &client, &format!("{FORM}; charset=utf-16"), body);
    refused_400(&utf_16, "invalid_request");
    granted(&post_raw(
        &fleet,
        &client,
        &format!("{FORM}; charset=UTF-8"),
        body,
    ));
}

both!(gen_14_lists_without_end_are_refused);
fn gen_14_lists_without_end_are_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let scopes: Vec<String> = (0..1500).map(|n| format!("s{n}")).collect();
    refused_400(
        &fleet.ask_token(&client, &[("scope", &scopes.join(" "))]),
        "invalid_scope",
    );
    let resources: Vec<(&str, &str)> = std::iter::repeat_n(("resource", "x"), 1000).collect();
    oauth_error(&fleet.ask_token(&client, &resources), 400, "invalid_target");
    granted(&fleet.ask_token(&client, &[("scope", "mcp:read mcp:call")]));
}
