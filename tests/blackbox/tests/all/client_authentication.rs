//! CA-01 … CA-11: who asks.

use blackbox::answers::{granted, refused_400, refused_client};
use blackbox::{Db, Fleet, Place, both, near_and_far};
use xtask::fleet::Credentials;
use xtask::http::{Answer, Request, base64};

const ENDPOINTS: [&str; 4] = [
    "/oauth/token",
    "/oauth/introspect",
    "/oauth/revoke",
    "/mcp/auth/token",
];
const FORM: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("token", "x")];

fn with_basic(fleet: &Fleet, path: &str, credentials: &str) -> Answer {
    let request = Request::post(&fleet.at(path)).unwrap().form(&FORM);
    request
        .header("Authorization", &format!("Basic {credentials}"))
        .send()
        .unwrap()
}

fn wrong(client: &Credentials) -> Credentials {
    Credentials {
        id: client.id.clone(),
        secret: format!("{}x", client.secret),
    }
}

both!(ca_01_no_credentials);
fn ca_01_no_credentials(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    for path in ENDPOINTS {
        refused_client(&fleet.post_bare(path, &FORM), false);
        let named = [&FORM[..], &[("client_id", client.id.as_str())]].concat();
        refused_client(&fleet.post_bare(path, &named), false);
        assert_eq!(fleet.post(path, &client, &FORM).status, 200, "{path}");
    }
}

both!(ca_02_an_unknown_client_looks_like_a_wrong_secret);
fn ca_02_an_unknown_client_looks_like_a_wrong_secret(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let stranger = Credentials {
        id: "nobody".into(),
        secret: client.secret.clone(),
    };
    for path in ENDPOINTS {
        let unknown = fleet.post(path, &stranger, &FORM);
        let wrong = fleet.post(path, &wrong(&client), &FORM);
        refused_client(&unknown, true);
        refused_client(&wrong, true);
        assert_eq!(unknown.text(), wrong.text());
    }
}

both!(ca_03_a_wrong_secret_in_header_and_body);
fn ca_03_a_wrong_secret_in_header_and_body(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    refused_client(&fleet.post("/oauth/token", &wrong(&client), &FORM), true);
    let grant = ("grant_type", "client_credentials");
    let posted = |secret: &str| {
        fleet.post_bare(
            "/oauth/token",
            &[grant, ("client_id", &client.id), ("client_secret", secret)],
        )
    };
    refused_client(&posted("ehs_wrong"), false);
    granted(&posted(&client.secret));
    granted(&fleet.post("/oauth/token", &client, &FORM));
}

both!(ca_04_the_method_is_pinned);
fn ca_04_the_method_is_pinned(db: Db) {
    let fleet = Fleet::shared(db);
    let grant = ("grant_type", "client_credentials");
    let posting = fleet.client(&["--auth-method", "client_secret_post"]);
    refused_client(&fleet.ask_token(&posting, &[]), true);
    let form = [
        grant,
        ("client_id", posting.id.as_str()),
        ("client_secret", posting.secret.as_str()),
    ];
    granted(&fleet.post_bare("/oauth/token", &form));

    let basic = fleet.client(&["--auth-method", "client_secret_basic"]);
    let form = [
        grant,
        ("client_id", basic.id.as_str()),
        ("client_secret", basic.secret.as_str()),
    ];
    refused_client(&fleet.post_bare("/oauth/token", &form), false);
    granted(&fleet.ask_token(&basic, &[]));
}

both!(ca_05_basic_credentials_are_form_encoded);
fn ca_05_basic_credentials_are_form_encoded(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let every = |text: &str| {
        text.bytes()
            .map(|byte| format!("%{byte:02x}"))
            .collect::<String>()
    };
    let encoded = format!("{}:{}", every(&client.id), every(&client.secret));
    granted(&with_basic(&fleet, "/oauth/token", &base64(encoded.as_bytes())));
    // A client that does not encode (the TypeScript SDK) sends the same bytes, because ids and secrets need no escape.
    granted(&with_basic(
        &fleet,
        "/oauth/token",
        &base64(format!("{}:{}", client.id, client.secret).as_bytes()),
    ));
}

both!(ca_06_loose_basic_credentials);
fn ca_06_loose_basic_credentials(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let pair = format!("{}:{}", client.id, client.secret);
    let good = base64(pair.as_bytes());
    for bad in [
        base64(format!("{}:", client.id).as_bytes()),
        base64(client.id.as_bytes()),
        base64(b":"),
        base64(b""),
        format!("{} {}", &good[..4], &good[4..]),
        format!("{good}!"),
        format!("{good}, Basic {good}"),
        good.trim_end_matches('=').to_owned() + "=====",
        base64(format!("{pair}:x").as_bytes()),
        base64(format!(" {pair}").as_bytes()),
        base64(format!("{pair}\n").as_bytes()),
        base64(&[0xff, b':', 0xfe]),
    ] {
        refused_client(&with_basic(&fleet, "/oauth/token", &bad), true);
    }
    granted(&with_basic(&fleet, "/oauth/token", &good));
}

both!(ca_07_two_methods_in_one_request);
fn ca_07_two_methods_in_one_request(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    refused_400(
        &fleet.ask_token(&client, &[("client_secret", &client.secret)]),
        "invalid_request",
    );
    let both = [
        ("client_id", client.id.as_str()),
        ("client_secret", client.secret.as_str()),
    ];
    refused_400(&fleet.ask_token(&client, &both), "invalid_request");
    // RFC 6749 §3.2.1 allows the id beside the header, but then it must be the same one.
    granted(&fleet.ask_token(&client, &[("client_id", &client.id)]));
    refused_400(
        &fleet.ask_token(&client, &[("client_id", "another")]),
        "invalid_request",
    );
}

near_and_far!(ca_10_an_old_secret_works_during_its_overlap);
fn ca_10_an_old_secret_works_during_its_overlap(place: Place) {
    let fleet = Fleet::shared(place);
    let old = fleet.client(&[]);
    let rotated = fleet
        .server
        .json(&["client", "rotate-secret", &old.id, "--overlap", "1h"])
        .unwrap();
    let new = Credentials {
        id: old.id.clone(),
        secret: rotated["client_secret"].as_str().unwrap().into(),
    };
    fleet.remember(&new.secret);
    granted(&fleet.ask_token(&old, &[]));
    granted(&fleet.ask_token(&new, &[]));
    let again = fleet
        .server
        .json(&["client", "rotate-secret", &old.id, "--overlap", "0s"])
        .unwrap();
    let newest = Credentials {
        id: old.id.clone(),
        secret: again["client_secret"].as_str().unwrap().into(),
    };
    fleet.remember(&newest.secret);
    refused_client(&fleet.ask_token(&old, &[]), true);
    refused_client(&fleet.ask_token(&new, &[]), true);
    granted(&fleet.ask_token(&newest, &[]));
}
