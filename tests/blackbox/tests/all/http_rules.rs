//! GEN-05, GEN-09 … GEN-30: what both programs make of HTTP itself.

use blackbox::answers::{boring, granted, not_stored, oauth_error, refused_400, refused_401, refused_client};
use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, both, wire};
use xtask::http::{self, Answer, Request, base64};

const POSTED: [&str; 5] = [
    "/oauth/par",
    "/oauth/token",
    "/oauth/introspect",
    "/oauth/revoke",
    "/mcp/auth/token",
];

fn with_header(fleet: &Fleet, path: &str, headers: &[(&str, &str)]) -> Answer {
    let form = [("grant_type", "client_credentials")];
    let request = Request::post(&fleet.at(path)).unwrap().form(&form);
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(name, value))
        .send()
        .unwrap()
}

both!(gen_05_other_methods_are_405);
fn gen_05_other_methods_are_405(db: Db) {
    let fleet = Fleet::shared(db);
    for path in POSTED {
        for method in ["GET", "PUT", "HEAD", "DELETE", "PATCH"] {
            let answer = Request::new(method, &fleet.at(path)).unwrap().send().unwrap();
            assert_eq!(answer.status, 405, "{method} {path}: {answer}");
            let allowed = answer.header("allow").unwrap_or_default();
            assert!(allowed.contains("POST"), "{method} {path}: Allow {allowed:?}");
            boring(&answer);
        }
    }
    // The positive twin: POST reaches each of them and asks for credentials.
    for path in POSTED {
        let answer = fleet.post_bare(path, &[("grant_type", "client_credentials"), ("token", "x")]);
        assert_eq!(answer.status, 401, "{path}: {answer}");
    }
}

both!(gen_09_the_scheme_has_no_case);
fn gen_09_the_scheme_has_no_case(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let pair = base64(format!("{}:{}", client.id, client.secret).as_bytes());
    let token = fleet.token(&client, &fleet.node.url());
    for scheme in ["basic", "BASIC", "bAsIc"] {
        granted(&with_header(
            &fleet,
            "/oauth/token",
            &[("Authorization", &format!("{scheme} {pair}"))],
        ));
    }
    for scheme in ["bearer", "BEARER"] {
        let request = Request::new("GET", &fleet.node_at("/mcp/resources/edge-hive%3A%2F%2Fstatus")).unwrap();
        let answer = request
            .header("Authorization", &format!("{scheme} {token}"))
            .send()
            .unwrap();
        assert_eq!(answer.status, 200, "{answer}");
    }
}

both!(gen_10_a_malformed_authorization_is_401);
fn gen_10_a_malformed_authorization_is_401(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    for value in [
        "",
        "Basic",
        "Basic ",
        "Basic \t",
        "Bearer",
        "Bearer x",
        "Basic !!!",
        "x",
        "Basic a b",
        "Digest a=b",
    ] {
        let answer = with_header(&fleet, "/oauth/token", &[("Authorization", value)]);
        refused_client(&answer, true);
    }
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer \t",
        "Bearer a b",
        "Basic eDp5",
        "x",
        "Bearer \u{1}",
    ] {
        let request = Request::post(&fleet.node.url())
            .unwrap()
            .header("Authorization", value);
        let answer = request.json(&serde_json::json!({})).send().unwrap();
        // Control characters may already fail as HTTP, with 400; never anything else.
        assert!(matches!(answer.status, 400 | 401), "{value:?}: {answer}");
    }
    granted(&fleet.ask_token(&client, &[]));
}

both!(gen_11_two_authorization_headers_are_refused);
fn gen_11_two_authorization_headers_are_refused(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let good = format!(
        "Basic {}",
        base64(format!("{}:{}", client.id, client.secret).as_bytes())
    );
    let twice = [("Authorization", good.as_str()), ("Authorization", good.as_str())];
    refused_400(&with_header(&fleet, "/oauth/token", &twice), "invalid_request");
    granted(&with_header(&fleet, "/oauth/token", &twice[..1]));

    let token = fleet.token(&client, &fleet.node.url());
    let request = Request::post(&fleet.node.url())
        .unwrap()
        .bearer(&token)
        .bearer(&token);
    let answer = request.json(&serde_json::json!({})).send().unwrap();
    oauth_error(&answer, 400, "invalid_request");
    assert_eq!(fleet.call(&token).status, 200);
}

both!(gen_12_a_token_in_query_or_body_is_no_token);
fn gen_12_a_token_in_query_or_body_is_no_token(db: Db) {
    let fleet = Fleet::shared(db);
    let token = fleet.token(&fleet.client(&[]), &fleet.node.url());
    let in_query = format!("{}?access_token={token}", fleet.node.url());
    let call = xtask::journey::modern(&in_query, "tools/list", serde_json::json!({})).unwrap();
    refused_401(&call.send().unwrap(), None);
    let form = Request::post(&fleet.node.url())
        .unwrap()
        .form(&[("access_token", &token)]);
    refused_401(&form.send().unwrap(), None);
    assert_eq!(fleet.call(&token).status, 200);
    assert_eq!(fleet.leak_in(&fleet.logs()), None);
}

both!(gen_18_forwarding_headers_of_strangers_mean_nothing);
fn gen_18_forwarding_headers_of_strangers_mean_nothing(db: Db) {
    let fleet = Fleet::shared(db);
    let path = "/.well-known/oauth-authorization-server";
    let plain = granted(&http::get(&fleet.at(path)).unwrap());
    let mut request = Request::new("GET", &fleet.at(path)).unwrap();
    for (name, value) in [
        ("Forwarded", "host=evil.example;proto=https;for=7.7.7.7"),
        ("X-Forwarded-Host", "evil.example"),
        ("X-Forwarded-Proto", "https"),
        ("X-Forwarded-For", "7.7.7.7"),
        ("X-Real-IP", "7.7.7.7"),
        ("X-Original-URL", "/admin"),
        ("X-Rewrite-URL", "/admin"),
    ] {
        request = request.header(name, value);
    }
    assert_eq!(granted(&request.send().unwrap()), plain);
}

both!(gen_20_a_foreign_host_is_not_answered);
fn gen_20_a_foreign_host_is_not_answered(db: Db) {
    let fleet = Fleet::shared(db);
    for (port, path) in [
        (fleet.server.port, "/.well-known/oauth-authorization-server"),
        (fleet.node.port, "/.well-known/oauth-protected-resource"),
    ] {
        let url = format!("http://localhost:{port}{path}");
        for host in [
            "attacker.example",
            "localhost.attacker.example",
            &format!("attacker.example:{port}"),
        ] {
            let answer = Request::new("GET", &url)
                .unwrap()
                .header("Host", host)
                .send()
                .unwrap();
            assert!(matches!(answer.status, 400 | 403 | 421), "{host}: {answer}");
            assert!(!answer.text().contains("attacker"), "{answer}");
        }
        granted(&http::get(&url).unwrap());
    }
}

both!(gen_21_paths_have_one_reading);
fn gen_21_paths_have_one_reading(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    for path in [
        "/oauth/token;x=1",
        "//oauth/token",
        "/./oauth/token",
        "/oauth/../oauth/token",
        "/oauth/%74oken",
        "/oauth/token/",
        "/oauth%2ftoken",
        "/OAUTH/TOKEN",
        "/oauth/token%00",
        "/oauth/token%0d%0a",
    ] {
        let answer = fleet.post(path, &client, &[("grant_type", "client_credentials")]);
        assert!(matches!(answer.status, 400 | 404), "{path}: {answer}");
    }
    granted(&fleet.post("/oauth/token", &client, &[("grant_type", "client_credentials")]));
}

both!(gen_22_token_answers_are_not_stored);
fn gen_22_token_answers_are_not_stored(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let good = fleet.ask_token(&client, &[]);
    granted(&good);
    not_stored(&good);
    assert_eq!(good.header("pragma").unwrap_or("no-cache"), "no-cache");
    not_stored(&fleet.post("/oauth/introspect", &client, &[("token", "x")]));
    not_stored(&fleet.post("/oauth/revoke", &client, &[("token", "x")]));
    not_stored(&fleet.post_bare("/oauth/token", &[]));
}

both!(gen_24_a_panic_is_a_500_and_nothing_else);
fn gen_24_a_panic_is_a_500_and_nothing_else(db: Db) {
    let environment = vec![("EDGE_HIVE_DEBUG_PANIC_PATH".to_owned(), "/debug/panic".to_owned())];
    let fleet = Fleet::start(
        db,
        &Wishes {
            environment,
            ..Wishes::default()
        },
    );
    let before = panics_counted(&fleet);
    oauth_error(
        &http::get(&fleet.at("/debug/panic")).unwrap(),
        500,
        "server_error",
    );
    granted(&http::get(&fleet.at("/.well-known/jwks.json")).unwrap());
    granted(&fleet.ask_token(&fleet.client(&[]), &[]));
    assert_eq!(panics_counted(&fleet), before + 1.0);
}

both!(gen_24_the_hook_is_not_there_by_itself);
fn gen_24_the_hook_is_not_there_by_itself(db: Db) {
    assert_eq!(
        http::get(&Fleet::shared(db).at("/debug/panic")).unwrap().status,
        404
    );
}

both!(gen_25_cross_origin_reading_never_carries_credentials);
fn gen_25_cross_origin_reading_never_carries_credentials(db: Db) {
    let fleet = Fleet::shared(db);
    for path in [
        "/.well-known/oauth-authorization-server",
        "/.well-known/jwks.json",
        "/oauth/token",
    ] {
        for origin in ["null", "https://evil.example"] {
            let answer = Request::new("GET", &fleet.at(path))
                .unwrap()
                .header("Origin", origin)
                .send()
                .unwrap();
            assert_eq!(
                answer.header("access-control-allow-credentials"),
                None,
                "{answer}"
            );
            assert_ne!(
                answer.header("access-control-allow-origin"),
                Some("null"),
                "{answer}"
            );
        }
    }
    let open = Request::new("GET", &fleet.at("/.well-known/oauth-authorization-server")).unwrap();
    let open = open.header("Origin", "https://app.example").send().unwrap();
    assert_eq!(
        open.header("access-control-allow-origin"),
        Some("*"),
        "{:?}",
        open.headers
    );
}

both!(gen_30_errors_say_nothing_of_the_inside);
fn gen_30_errors_say_nothing_of_the_inside(db: Db) {
    let fleet = Fleet::shared(db);
    let nowhere = http::get(&fleet.at("/nowhere")).unwrap();
    assert_eq!(nowhere.status, 404);
    boring(&nowhere);
    let headers: String = (0..200)
        .map(|n| format!("X-{n}: {}\r\n", "h".repeat(1024)))
        .collect();
    let bytes = format!(
        "GET / HTTP/1.1\r\nHost: localhost:{}\r\n{headers}\r\n",
        fleet.server.port
    );
    let (text, _) = wire::until_closed(fleet.server.port, bytes.as_bytes());
    assert!(text.is_empty() || text.starts_with("HTTP/1.1 4"), "{text}");
}

fn panics_counted(fleet: &Fleet) -> f64 {
    let text = http::get(&fleet.at("/metrics")).unwrap().text();
    let counted = text
        .lines()
        .find(|line| line.contains("panic") && !line.starts_with('#'));
    counted
        .and_then(|line| line.rsplit(' ').next())
        .map_or(0.0, |figure| figure.parse().unwrap())
}
