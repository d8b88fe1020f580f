//! AZ-10 … AZ-23: an answer goes where the client is registered, byte for byte, and nowhere else.

use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::{Db, Fleet, Place, both, near_and_far};

use super::authorize::{good, paged};

const REGISTERED: &str = "https://client.example/cb?tenant=a";

/// None of these is the registered one, which itself works.
#[track_caller]
fn only_the_registered(db: Db, others: &[&str]) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(REGISTERED, &[]);
    good(&fleet, &client, &[("redirect_uri", REGISTERED)]);
    for other in others {
        paged(&fleet, &client, &[("redirect_uri", other)]);
    }
}

/// The same for paths on the registered host, with the registered query.
#[track_caller]
fn only_the_registered_path(db: Db, paths: &[&str]) {
    let others: Vec<String> = paths
        .iter()
        .map(|path| format!("https://client.example{path}?tenant=a"))
        .collect();
    only_the_registered(db, &others.iter().map(String::as_str).collect::<Vec<_>>());
}

both!(az_10_11_a_redirect_uri_is_one_that_is_registered);
fn az_10_11_a_redirect_uri_is_one_that_is_registered(db: Db) {
    only_the_registered(
        db,
        &[
            "https://client.example/cb",
            "https://client.example/other?tenant=a",
            "https://client.example/cb?tenant=a&x=1",
            "https://client.example/cb?tenant=a&code=x",
            "https://client.example/cb?code=x",
            "https://client.example/cb?tenant=a&state=",
            "https://client.example/cb?tenant=b",
            "https://client.example/cb?tenant=a#f",
            "https://client.example/cb?tenant=a#",
            "https://client.example/cb?",
        ],
    );
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(REGISTERED, &[]);
    // The only registered one may be left out.
    good(&fleet, &client, &[("redirect_uri", "")]);
    // GEN-01 where it matters most.
    let twice = [("redirect_uri", REGISTERED), ("redirect_uri", REGISTERED)];
    paged(&fleet, &client, &twice);
    paged(&fleet, &client, &[("client_id", &client), ("client_id", &client)]);
}

both!(az_13_what_means_the_same_is_not_the_same);
fn az_13_what_means_the_same_is_not_the_same(db: Db) {
    only_the_registered(
        db,
        &[
            "https://client.example:443/cb?tenant=a",
            "https://client.example:/cb?tenant=a",
            "https://client.example/cb/?tenant=a",
            "https://client.example//cb?tenant=a",
            "https://client.example./cb?tenant=a",
            "https://CLIENT.example/cb?tenant=a",
            "HTTPS://client.example/cb?tenant=a",
            "https://client.example/%63b?tenant=a",
            "https://client.example/CB?tenant=a",
            "https://xn--clint-esa.example/cb?tenant=a",
            "https://cliënt.example/cb?tenant=a",
        ],
    );
}

both!(az_14_no_path_leads_out_of_the_registered_one);
fn az_14_no_path_leads_out_of_the_registered_one(db: Db) {
    only_the_registered_path(
        db,
        &[
            "/cb/FAKEPATH",
            "/cb%2FFAKEPATH",
            "/cb/..%2FFAKEPATH",
            "/cb/../FAKEPATH",
            "/cb/%2e%2e%2FFAKEPATH",
            "/cb/%2e%2e/FAKEPATH",
            "/cb/%252e%252e%252FFAKEPATH",
            "/cb%252FFAKEPATH",
            "/cb/..%252FFAKEPATH",
            "/cb/.%2e/FAKEPATH",
            "/cb/..%5CFAKEPATH",
            "/cb\\..\\FAKEPATH",
            "/FAKEPATH/../cb",
            "/FAKEPATH/%2e%2e/cb",
            "/./cb",
            "/cb/.",
            "/cb%00FAKEPATH",
            "/cb%3FFAKEPATH",
            "/cb%23FAKEPATH",
            "/cb.FAKEPATH",
        ],
    );
}

both!(az_15_no_separator_hides_another_path);
fn az_15_no_separator_hides_another_path(db: Db) {
    only_the_registered_path(
        db,
        &[
            "/cb/;/../../FAKEPATH",
            "/cb;/../FAKEPATH",
            "/cb/%3B%2F..",
            "/cb/%3B/../FAKEPATH",
            "/cb%3B%2F..%2FFAKEPATH",
            "/cb/%0A%0D/../",
            "/cb%0A%0D/../FAKEPATH",
            "/cb/%09/../FAKEPATH",
            "/cb;x=y",
            "/cb%3Bx",
        ],
    );
}

both!(az_16_17_no_host_looks_like_the_registered_one);
fn az_16_17_no_host_looks_like_the_registered_one(db: Db) {
    only_the_registered(
        db,
        &[
            "https://client.example@evil.example/cb?tenant=a",
            "https://client.example:x@evil.example/cb?tenant=a",
            "https://client.example%40evil.example/cb?tenant=a",
            "https://client.example\\@evil.example/cb?tenant=a",
            "https://client.example\\.evil.example/cb?tenant=a",
            "https:\\\\client.example/cb?tenant=a",
            "https://client.example\t/cb?tenant=a",
            "https://client.example\n/cb?tenant=a",
            "https://client.example /cb?tenant=a",
            " https://client.example/cb?tenant=a",
            "https://client.example/cb?tenant=a ",
            "//client.example/cb?tenant=a",
            "//evil.example/cb?tenant=a",
            "https:/client.example/cb?tenant=a",
            "https:client.example/cb?tenant=a",
            "/cb?tenant=a",
            // AZ-17.
            "https://evil.client.example/cb?tenant=a",
            "https://client.example.evil/cb?tenant=a",
            "https://client.evil/cb?tenant=a",
            "https://evilclient.example/cb?tenant=a",
            "http://client.example/cb?tenant=a",
            // AZ-23.
            "javascript:alert(1)",
            "data:text/html,x",
            "JavaScript:alert(1)",
            "blob:https://client.example/cb?tenant=a",
        ],
    );
}

both!(az_18_a_registered_query_is_kept);
fn az_18_a_registered_query_is_kept(db: Db) {
    let fleet = Fleet::shared(db);
    let registered = "https://client.example/cb?tenant=a%2Fb&x";
    let (client, ada) = (fleet.web_client(registered, &[]), fleet.person_account());
    let url = fleet.authorization_url(&client, &Pkce::fresh(), &[("redirect_uri", registered)]);
    let redirect = fleet.person().allow(&url, (&ada, PASSWORD));
    assert!(
        redirect.url.starts_with(&format!("{registered}&code=")),
        "{}",
        redirect.url
    );
    fleet.remember(&redirect.code());
    assert_eq!(redirect.param("iss"), Some(fleet.server.issuer.clone()));
    assert_eq!(redirect.param("state").as_deref(), Some("st-1"));
}

both!(az_20_21_on_loopback_the_port_alone_may_differ);
fn az_20_21_on_loopback_the_port_alone_may_differ(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client("http://127.0.0.1/cb", &[]);
    for other in [
        "http://127.0.0.1:9/cb2",
        "http://127.0.0.1:9/cb?x=1",
        "http://localhost:9/cb",
        "http://[::1]:9/cb",
        "http://127.0.0.2:9/cb",
        "http://0.0.0.0:9/cb",
        "http://127.0.0.1:80@evil/cb",
        "https://127.0.0.1:9/cb",
    ] {
        paged(&fleet, &client, &[("redirect_uri", other)]);
    }
    let ada = fleet.person_account();
    let requested = "http://127.0.0.1:43121/cb";
    let url = fleet.authorization_url(&client, &Pkce::fresh(), &[("redirect_uri", requested)]);
    let redirect = fleet.person().allow(&url, (&ada, PASSWORD));
    assert!(
        redirect.url.starts_with(&format!("{requested}?code=")),
        "{}",
        redirect.url
    );
    fleet.remember(&redirect.code());
}

near_and_far!(az_23_what_runs_in_a_browser_is_never_registered);
fn az_23_what_runs_in_a_browser_is_never_registered(place: Place) {
    let fleet = Fleet::shared(place);
    let create = |uri: &str| {
        let line = [
            "client",
            "create",
            "--name",
            "x",
            "--public",
            "--redirect-uri",
            uri,
        ];
        fleet.server.json(&line)
    };
    create("https://client.example/cb").unwrap();
    create("com.example.app:/cb").unwrap();
    create("cursor://anysphere.cursor-mcp/oauth/callback").unwrap();
    for uri in [
        "javascript:alert(1)",
        "JavaScript:alert(1)",
        "data:text/html,x",
        "file:///etc/passwd",
        "vbscript:x",
        "blob:https://client.example/x",
        "http://client.example/cb",
        "https://client.example/cb#f",
        "https://client.example/cb?code=1",
        "https://u@client.example/cb",
        "https://client.example/a/../cb",
        "/cb",
    ] {
        assert!(create(uri).is_err(), "{uri}");
    }
    let uri = ["--redirect-uri", "javascript:alert(1)"];
    let client = fleet.web_client(CALLBACK, &[]);
    assert!(
        fleet
            .server
            .json(&[&["client", "update", &client], &uri[..]].concat())
            .is_err()
    );
    let other = [
        "client",
        "update",
        &client,
        "--redirect-uri",
        "https://client.example/new",
    ];
    let view = fleet.server.json(&other).unwrap();
    assert_eq!(view["redirect_uris"][0], "https://client.example/new");
    paged(&fleet, &client, &[]);
    good(&fleet, &client, &[("redirect_uri", "https://client.example/new")]);
}
