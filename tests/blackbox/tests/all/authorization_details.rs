//! RFC 9396: authorization details are asked for, shown, granted, carried and narrowed; never widened.

use blackbox::answers::{granted, refused_400};
use blackbox::forge::part;
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::person::{Page, Person};
use blackbox::{Db, Fleet, both};
use serde_json::{Value, json};
use xtask::fleet::Credentials;

const TYPES: &str = "tool_call file";

/// A resource that knows both types, and words for a client that may ask for them there.
fn resource(fleet: &Fleet) -> String {
    fleet.resource(&[
        "--authorization-details-types",
        TYPES,
        "--scopes",
        blackbox::fleet::SCOPES,
    ])
}

/// A public client of people that may ask for both types.
fn web_client(fleet: &Fleet, resource: &str) -> String {
    let words = ["--resource", resource, "--authorization-details-types", TYPES];
    fleet.web_client(CALLBACK, &words)
}

fn list() -> Value {
    json!([
        {"type": "tool_call", "actions": ["water"], "identifier": "bed 7", "limit": {"litres": 20}},
        {"type": "file", "actions": ["read", "write"], "note": "<script>alert(1)</script>"},
    ])
}

/// A consent page for `details`.
fn asked(fleet: &Fleet, client: &str, resource: &str, pkce: &Pkce, details: &Value) -> (Person, Page) {
    let ada = fleet.person_account();
    let mut browser = fleet.person();
    let details = details.to_string();
    let more = [("resource", resource), ("authorization_details", &*details)];
    let page = browser.page(&fleet.authorization_url(client, pkce, &more));
    let page = browser.sign_in_at(&page, &ada, PASSWORD).page();
    assert!(page.has_form("/consent"), "{}", page.answer);
    (browser, page)
}

#[track_caller]
fn text<'a>(body: &'a Value, name: &str) -> &'a str {
    body[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {body}"))
}

/// What the access token of an answer carries.
fn carried(body: &Value) -> Value {
    part(text(body, "access_token"), 1)["authorization_details"].clone()
}

both!(rar_what_a_person_allowed_is_carried_to_the_resource);
fn rar_what_a_person_allowed_is_carried_to_the_resource(db: Db) {
    let fleet = Fleet::shared(db);
    let (node, pkce) = (resource(&fleet), Pkce::fresh());
    let client = web_client(&fleet, &node);
    let (mut browser, page) = asked(&fleet, &client, &node, &pkce, &list());
    // All of it stands on the page, as text.
    let shown = page.text();
    for part in [
        "tool_call",
        "water",
        "bed 7",
        "{\"litres\":20}",
        "file",
        "read",
        "write",
        "note",
        "<script>alert(1)</script>",
    ] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    assert!(!page.answer.text().contains("<script>alert"));
    let code = browser
        .decide(&page, "allow", &[("remember", "on")])
        .redirect()
        .code();
    fleet.remember(&code);
    let tokens = granted(&fleet.redeem(&client, &code, &pkce, &[]));
    assert_eq!(tokens["authorization_details"], list());
    assert_eq!(carried(&tokens), list());
    // Introspection, by the resource server.
    let server = fleet.client_for_any(&[]);
    let line = ["resource", "update", "--uri", &node, "--client", &server.id];
    fleet.server.json(&line).unwrap();
    let active = fleet.introspect(&server, text(&tokens, "access_token"));
    assert_eq!(active["authorization_details"], list());
    // To remember scopes is not to remember this: the same question is a new one.
    let details = list().to_string();
    let more = [("resource", &*node), ("authorization_details", &*details)];
    let url = fleet.authorization_url(&client, &Pkce::fresh(), &more);
    assert!(browser.page(&url).has_form("/consent"));
    // Without, nothing is asked and nothing is carried.
    let pkce = Pkce::fresh();
    let url = fleet.authorization_url(&client, &pkce, &[("resource", &node)]);
    let code = browser.open(&url).redirect().code();
    fleet.remember(&code);
    let plain = granted(&fleet.redeem(&client, &code, &pkce, &[]));
    assert_eq!(plain.get("authorization_details"), None);
    assert_eq!(carried(&plain), Value::Null);
}

both!(rar_a_refresh_narrows_and_never_widens);
fn rar_a_refresh_narrows_and_never_widens(db: Db) {
    let fleet = Fleet::shared(db);
    let (node, pkce) = (resource(&fleet), Pkce::fresh());
    let client = web_client(&fleet, &node);
    let (mut browser, page) = asked(&fleet, &client, &node, &pkce, &list());
    let code = browser.decide(&page, "allow", &[]).redirect().code();
    fleet.remember(&code);
    let one = json!([list()[0]]).to_string();
    let wider =
        json!([{"type": "tool_call", "actions": ["water", "burn"], "identifier": "bed 7"}]).to_string();
    // At the exchange of the code already; what is too much uses nothing up.
    refused_400(
        &fleet.redeem(&client, &code, &pkce, &[("authorization_details", &wider)]),
        "invalid_authorization_details",
    );
    let tokens = granted(&fleet.redeem(&client, &code, &pkce, &[("authorization_details", &one)]));
    assert_eq!(carried(&tokens), json!([list()[0]]));
    let mut refresh = text(&tokens, "refresh_token").to_owned();
    for too_much in [
        &*wider,
        "[{\"type\":\"other\"}]",
        "[]",
        "{",
        "[{\"type\":\"file\",\"type\":\"file\"}]",
    ] {
        let answer = fleet.refresh(&client, &refresh, &[("authorization_details", too_much)]);
        refused_400(&answer, "invalid_authorization_details");
    }
    // The family still has all that was granted.
    for (details, expected) in [(&*one, json!([list()[0]])), ("", list())] {
        let tokens = granted(&fleet.refresh(&client, &refresh, &[("authorization_details", details)]));
        assert_eq!(carried(&tokens), expected);
        assert_eq!(tokens["authorization_details"], expected);
        text(&tokens, "refresh_token").clone_into(&mut refresh);
    }
    // What the resource no longer understands is lost.
    let line = [
        "resource",
        "update",
        "--uri",
        &node,
        "--authorization-details-types",
        "file",
    ];
    fleet.server.json(&line).unwrap();
    let tokens = granted(&fleet.refresh(&client, &refresh, &[]));
    assert_eq!(carried(&tokens), json!([list()[1]]));
    let refresh = text(&tokens, "refresh_token");
    refused_400(
        &fleet.refresh(&client, refresh, &[("authorization_details", &one)]),
        "invalid_authorization_details",
    );
}

both!(rar_types_are_those_of_resource_and_client);
fn rar_types_are_those_of_resource_and_client(db: Db) {
    let fleet = Fleet::shared(db);
    let node = resource(&fleet);
    let metadata = fleet.at("/.well-known/oauth-authorization-server");
    let metadata = granted(&xtask::http::get(&metadata).unwrap());
    let known = metadata["authorization_details_types_supported"]
        .as_array()
        .unwrap();
    assert!(
        known.contains(&json!("tool_call")) && known.contains(&json!("file")),
        "{known:?}"
    );
    let client = web_client(&fleet, &node);
    let narrow = ["--resource", &*node, "--authorization-details-types", "file"];
    let (narrow, none) = (
        fleet.web_client(CALLBACK, &narrow),
        fleet.web_client(CALLBACK, &["--resource", &node]),
    );
    let ask = |client: &str, details: &str| {
        let more = [("resource", &*node), ("authorization_details", details)];
        fleet
            .person()
            .open(&fleet.authorization_url(client, &Pkce::fresh(), &more))
    };
    let good = |client: &str, details: &str| {
        assert!(ask(client, details).page().has_form("/login"), "{details}");
    };
    let refused = |client: &str, details: &str| {
        let error = ask(client, details).redirect().param("error");
        assert_eq!(
            error.as_deref(),
            Some("invalid_authorization_details"),
            "{details}"
        );
    };
    good(&client, &list().to_string());
    good(
        &client,
        &json!([{"type": "file", "locations": [node]}]).to_string(),
    );
    good(&narrow, r#"[{"type":"file"}]"#);
    refused(&narrow, r#"[{"type":"tool_call"}]"#);
    refused(&narrow, r#"[{"type":"file"},{"type":"tool_call"}]"#);
    refused(&none, r#"[{"type":"file"}]"#);
    for wrong in [
        r#"[{"type":"other"}]"#,
        "[]",
        "{}",
        "null",
        "[1]",
        r#"[{"actions":["a"]}]"#,
        r#"[{"type":"file","type":"file"}]"#,
        r#"[{"type":"file","actions":"read"}]"#,
        r#"[{"type":"file","locations":["https://other.example/mcp"]}]"#,
        "[{\"type\":\"file\",\"name\":\"a\u{202e}b\"}]",
    ] {
        refused(&client, wrong);
    }
    let long = json!([{"type": "file", "name": "x".repeat(4100)}]).to_string();
    refused(&client, &long);
    // Pushed, the same.
    let push = |details: &str| {
        let more = [("resource", &*node), ("authorization_details", details)];
        let request = blackbox::location::query(&fleet.authorization_url(&client, &Pkce::fresh(), &more));
        let form: Vec<(&str, &str)> = request.iter().map(|(name, value)| (&**name, &**value)).collect();
        fleet.post_bare("/oauth/par", &form)
    };
    refused_400(&push(r#"[{"type":"other"}]"#), "invalid_authorization_details");
    assert_eq!(push(&list().to_string()).status, 201);
}

both!(rar_a_client_that_acts_for_itself);
fn rar_a_client_that_acts_for_itself(db: Db) {
    let fleet = Fleet::shared(db);
    let node = resource(&fleet);
    let words = ["--resource", &*node, "--authorization-details-types", TYPES];
    let (client, plain) = (fleet.client(&words), fleet.client(&["--resource", &node]));
    let ask =
        |client: &Credentials, details: &str| fleet.ask_token(client, &[("authorization_details", details)]);
    let tokens = granted(&ask(&client, &list().to_string()));
    assert_eq!(carried(&tokens), list());
    assert_eq!(tokens["authorization_details"], list());
    refused_400(
        &ask(&client, r#"[{"type":"other"}]"#),
        "invalid_authorization_details",
    );
    refused_400(&ask(&plain, &list().to_string()), "invalid_authorization_details");
    assert_eq!(carried(&granted(&fleet.ask_token(&client, &[]))), Value::Null);
}

both!(rar_a_device_shows_what_it_asks_for);
fn rar_a_device_shows_what_it_asks_for(db: Db) {
    let fleet = Fleet::shared(db);
    let node = resource(&fleet);
    let line = [
        "--public",
        "--grants",
        "device_code,refresh_token",
        "--scopes",
        "mcp:read",
        "--resource",
        &node,
        "--authorization-details-types",
        TYPES,
    ];
    let client = fleet
        .server
        .create_public_client(&fleet.fresh_name(), &line)
        .unwrap();
    let begin = |details: &str| {
        let form = [("client_id", &*client), ("authorization_details", details)];
        fleet.post_bare("/oauth/device_authorization", &form)
    };
    refused_400(&begin(r#"[{"type":"other"}]"#), "invalid_authorization_details");
    let begun = granted(&begin(&list().to_string()));
    fleet.remember(text(&begun, "device_code"));
    let name = fleet.person_account();
    let mut ada = fleet.person();
    ada.sign_in(&name, PASSWORD);
    let page = ada.page("/device");
    let form = page.form("/device");
    let fields = [("user_code", text(&begun, "user_code"))];
    let question = ada.submit(&page, &form, &fields).page();
    assert!(question.text().contains("bed 7"), "{}", question.answer);
    assert!(!question.answer.text().contains("<script>alert"));
    let form = question.form("/device/decision");
    let done = ada.submit(&question, &form, &[("decision", "allow")]).page();
    assert_eq!(done.answer.status, 200, "{}", done.answer);
    let poll = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
        ("client_id", &*client),
        ("device_code", text(&begun, "device_code")),
    ];
    let tokens = granted(&fleet.post_bare("/oauth/token", &poll));
    assert_eq!(carried(&tokens), list());
    let refresh = text(&tokens, "refresh_token").to_owned();
    fleet.remember(&refresh);
    assert_eq!(carried(&granted(&fleet.refresh(&client, &refresh, &[]))), list());
}

both!(rar_a_grant_that_takes_none_says_so);
fn rar_a_grant_that_takes_none_says_so(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    for grant in [
        "urn:ietf:params:oauth:grant-type:token-exchange",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
    ] {
        let form = [("grant_type", grant), ("assertion", "e30.e30.e30")];
        let details = [("authorization_details", r#"[{"type":"file"}]"#)];
        let answer = fleet.post("/oauth/token", &client, &[&form[..], &details].concat());
        refused_400(&answer, "invalid_authorization_details");
        // Without them it is judged as what it is.
        refused_400(&fleet.post("/oauth/token", &client, &form), "unauthorized_client");
    }
}
