//! AZ-01 … AZ-42: the authorization endpoint answers the right one, and nobody else; the right place is in `redirects`.

use blackbox::fleet::Wishes;
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::person::{Outcome, Page, Redirect};
use blackbox::published::Published;
use blackbox::registered::{open_fleet, public};
use blackbox::{Db, Fleet, both};
use serde_json::json;
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::Request;

/// Asks without being signed in.
#[track_caller]
pub(super) fn ask(fleet: &Fleet, client_id: &str, more: &[(&str, &str)]) -> Outcome {
    let url = fleet.authorization_url(client_id, &Pkce::fresh(), more);
    fleet.person().open(&url)
}

/// The request is good: a person is asked to sign in.
#[track_caller]
pub(super) fn good(fleet: &Fleet, client_id: &str, more: &[(&str, &str)]) {
    let page = ask(fleet, client_id, more).page();
    assert!(page.has_form("/login"), "{}", page.answer);
    no_referrer(&page);
}

/// `PAGE`: the person is told, nobody is redirected, nothing of the request is repeated.
#[track_caller]
pub(super) fn paged(fleet: &Fleet, client_id: &str, more: &[(&str, &str)]) {
    told(&ask(fleet, client_id, more).page());
}

#[track_caller]
pub(super) fn told(page: &Page) {
    assert_eq!(page.answer.status, 400, "{} {}", page.url, page.answer);
    assert_eq!(page.answer.header("location"), None);
    let kind = page.answer.header("content-type").unwrap();
    assert!(kind.starts_with("text/html"), "{kind}");
    assert!(!page.answer.text().contains("FAKEPATH") && !page.answer.text().contains("evil"));
    no_referrer(page);
}

/// AZ-33.
#[track_caller]
pub(super) fn no_referrer(page: &Page) {
    assert_eq!(page.answer.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.answer.header("x-frame-options"), Some("DENY"));
    for foreign in ["src=\"http", "href=\"http", "src=\"//", "href=\"//"] {
        assert!(
            !page.answer.text().contains(foreign),
            "{foreign} in {}",
            page.answer
        );
    }
}

/// `R`: the client is told, with `state` and `iss`, and no code (RFC 9207 §2).
#[track_caller]
pub(super) fn refused(fleet: &Fleet, client_id: &str, more: &[(&str, &str)], error: &str) -> Redirect {
    let redirect = ask(fleet, client_id, more).redirect();
    assert_eq!(redirect.answer.status, 303, "{}", redirect.answer);
    assert_eq!(
        redirect.param("error").as_deref(),
        Some(error),
        "{}",
        redirect.url
    );
    assert_eq!(redirect.param("iss"), Some(fleet.server.issuer.clone()));
    assert!(
        redirect.url.starts_with(&format!("{CALLBACK}?")),
        "{}",
        redirect.url
    );
    for token in ["code", "access_token", "id_token", "token"] {
        assert_eq!(redirect.param(token), None, "{}", redirect.url);
    }
    assert!(!redirect.url.contains('#'));
    redirect
}

both!(az_01_02_an_unknown_or_ended_client_is_a_page);
fn az_01_02_an_unknown_or_ended_client_is_a_page(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    good(&fleet, &client, &[]);
    paged(&fleet, "c_nobody", &[]);
    paged(&fleet, &client, &[("client_id", "")]);
    fleet.server.json(&["client", "revoke", &client]).unwrap();
    paged(&fleet, &client, &[]);
}

both!(az_03_04_05_the_answer_is_a_code_and_nothing_else);
fn az_03_04_05_the_answer_is_a_code_and_nothing_else(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    refused(&fleet, &client, &[("response_type", "")], "invalid_request");
    for other in [
        "foo",
        "token",
        "id_token",
        "code token",
        "code id_token",
        "none",
        "Code",
    ] {
        let answer = refused(
            &fleet,
            &client,
            &[("response_type", other)],
            "unsupported_response_type",
        );
        assert_eq!(answer.param("state").as_deref(), Some("st-1"));
    }
}

both!(az_06_07_08_what_this_client_or_server_does_not_do);
fn az_06_07_08_what_this_client_or_server_does_not_do(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    good(
        &fleet,
        &client,
        &[("response_mode", "query"), ("claims", "{}"), ("acr_values", "x")],
    );
    for mode in ["fragment", "form_post", "web_message"] {
        refused(&fleet, &client, &[("response_mode", mode)], "invalid_request");
    }
    // Whoever listens there is never asked: the address answers nobody, and the refusal comes at once.
    let request = [("request_uri", "http://127.0.0.1:9/request")];
    refused(&fleet, &client, &request, "request_uri_not_supported");
    // An object that nobody signed says nothing, not even whom to tell.
    paged(&fleet, &client, &[("request", "e30.e30.")]);
    let device = fleet
        .server
        .create_public_client(&fleet.fresh_name(), &["--public", "--grants", "device_code"])
        .unwrap();
    // Without a redirect URI there is nobody to send an answer to.
    paged(&fleet, &device, &[]);
}

both!(az_25_26_state_comes_back_as_it_was);
fn az_25_26_state_comes_back_as_it_was(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let (long, longer) = ("s".repeat(4096), "s".repeat(4097));
    for state in [
        "s",
        "a&b=c",
        "%00",
        "ünï💡",
        "\"><script>alert(1)</script>",
        "a b+c",
        &long,
    ] {
        let more = [("state", state), ("response_type", "foo")];
        let answer = refused(&fleet, &client, &more, "unsupported_response_type");
        assert_eq!(answer.param("state").as_deref(), Some(state));
    }
    for state in [longer.as_str(), "a\0b"] {
        let answer = refused(&fleet, &client, &[("state", state)], "invalid_request");
        assert_eq!(answer.param("state"), None);
    }
    let twice = [("state", "a"), ("state", "b")];
    assert_eq!(
        refused(&fleet, &client, &twice, "invalid_request").param("state"),
        None
    );
    // GEN-01: any other parameter that stands twice.
    let twice = [("scope", "mcp:read"), ("scope", "mcp:read")];
    refused(&fleet, &client, &twice, "invalid_request");
}

both!(az_09_whom_nobody_vouches_for_is_told_nothing_before_a_page);
fn az_09_whom_nobody_vouches_for_is_told_nothing_before_a_page(db: Db) {
    let (open, published) = (open_fleet(db), Published::shared(db));
    let registered = open.registered(&public(&json!({})));
    let registered = registered["client_id"].as_str().unwrap();
    let (document, _) = published.client(&json!({}));
    for (fleet, client) in [(&open, registered), (&published.fleet, &document)] {
        let ada = fleet.person_account();
        let mut browser = fleet.person();
        for signed_in in [false, true] {
            if signed_in {
                browser.sign_in(&ada, PASSWORD);
            }
            for fault in [
                ("scope", "unknown:scope"),
                ("scope", "mcp:\"read"),
                ("response_type", "token"),
                ("resource", "http://localhost:1/other"),
                ("code_challenge", ""),
                ("prompt", "none"),
            ] {
                let url = fleet.authorization_url(client, &Pkce::fresh(), &[fault]);
                told(&browser.page(&url));
            }
        }
        // Once the person has seen a page, the client may be told.
        let page = browser.page(&fleet.authorization_url(client, &Pkce::fresh(), &[]));
        let denied = browser.decide(&page, "deny", &[]).redirect();
        assert_eq!(denied.param("error").as_deref(), Some("access_denied"));
    }
    // An operator's client is told at once.
    let known = open.web_client(CALLBACK, &[]);
    refused(&open, &known, &[("scope", "unknown:scope")], "invalid_scope");
}

both!(az_33_no_page_tells_others_its_address);
fn az_33_no_page_tells_others_its_address(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, ada) = (fleet.web_client(CALLBACK, &[]), fleet.person_account());
    let url = fleet.authorization_url(&client, &Pkce::fresh(), &[]);
    let mut browser = fleet.person();
    let login = browser.page(&url);
    no_referrer(&login);
    let consent = browser.sign_in_at(&login, &ada, PASSWORD).page();
    assert!(consent.has_form("/consent"), "{}", consent.answer);
    no_referrer(&consent);
    for path in ["/account", "/device", "/logout", "/oauth/authorize"] {
        no_referrer(&browser.page(path));
    }
}

both!(az_27_one_resource_that_is_known);
fn az_27_one_resource_that_is_known(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    good(&fleet, &client, &[]);
    good(&fleet, &client, &[("resource", "")]);
    let (node, other) = (fleet.node.url(), fleet.resource(&[]));
    let fragment = format!("{node}#f");
    for resource in ["http://localhost:1/other", "relative", &fragment, &other] {
        refused(&fleet, &client, &[("resource", resource)], "invalid_target");
    }
    let two = [("resource", node.as_str()), ("resource", other.as_str())];
    refused(&fleet, &client, &two, "invalid_target");
}

both!(az_29_30_scopes_follow_the_grammar_and_never_grow);
fn az_29_30_scopes_follow_the_grammar_and_never_grow(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &["--scopes", "mcp:read"]);
    for scope in [
        "mcp:read  mcp:call",
        "mcp:\"read",
        "mcp:read\tx",
        " mcp:read",
        "ü",
        "mcp:call",
        "unknown",
    ] {
        refused(&fleet, &client, &[("scope", scope)], "invalid_scope");
    }
    let ada = fleet.person_account();
    let pkce = Pkce::fresh();
    let more = [("scope", "mcp:read mcp:call unknown")];
    let code = fleet
        .allowed(&mut fleet.person(), &ada, &client, (&pkce, &more))
        .code();
    let tokens = blackbox::answers::granted(&fleet.redeem(&client, &code, &pkce, &[]));
    assert_eq!(tokens["scope"], "mcp:read");
}

both!(az_31_a_post_is_answered_as_a_get_is);
fn az_31_a_post_is_answered_as_a_get_is(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, ada) = (fleet.web_client(CALLBACK, &[]), fleet.person_account());
    let url = fleet.authorization_url(&client, &Pkce::fresh(), &[]);
    let (address, query) = url.split_once('?').unwrap();
    let post = |body: &str| {
        let request = Request::post(address).unwrap();
        request
            .header("Content-Type", "application/x-www-form-urlencoded")
            .body(body)
    };
    let mut browser = fleet.person();
    // From a foreign page, without cookies: sent on as a GET, so that the browser's cookies come along.
    let answer = browser.send(post(query));
    assert_eq!(answer.status, 303, "{answer}");
    let location = answer.header("location").unwrap().to_owned();
    let page = browser.page(&location);
    let page = browser.sign_in_at(&page, &ada, PASSWORD).page();
    assert!(page.has_form("/consent"), "{}", page.answer);
    let answer = browser.send(post(query));
    assert_eq!(answer.status, 303, "{answer}");
    let consent = answer.header("location").unwrap();
    assert!(consent.starts_with("/consent?i="), "{consent}");
    let answer = browser.send(post(&query.replace("response_type=code", "response_type=foo")));
    let error = answer.header("location").unwrap();
    assert!(
        error.starts_with(&format!("{CALLBACK}?error=unsupported_response_type")),
        "{error}"
    );
    let page = browser.send(post("client_id=nobody"));
    assert_eq!((page.status, page.header("location")), (400, None), "{page}");
    let both = Request::post(&url).unwrap();
    let both = both
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(query);
    assert_eq!(browser.send(both).status, 400);
}

both!(az_35_prompts_and_ages);
fn az_35_prompts_and_ages(db: Db) {
    let fleet = Fleet::shared(db);
    let (client, ada) = (fleet.web_client(CALLBACK, &[]), fleet.person_account());
    refused(&fleet, &client, &[("prompt", "none")], "login_required");
    for prompt in ["none login", "create", "None"] {
        refused(&fleet, &client, &[("prompt", prompt)], "invalid_request");
    }
    refused(&fleet, &client, &[("max_age", "soon")], "invalid_request");
    let mut browser = fleet.person();
    drop(browser.sign_in(&ada, PASSWORD));
    let mut open = |more: &[(&str, &str)]| {
        let url = fleet.authorization_url(&client, &Pkce::fresh(), more);
        (browser.open(&url), browser.clone())
    };
    let silent = open(&[("prompt", "none")]).0.redirect();
    assert_eq!(silent.param("error").as_deref(), Some("consent_required"));
    let (consent, mut copy) = open(&[("max_age", "3600")]);
    let redirect = copy
        .decide(&consent.page(), "allow", &[("remember", "on")])
        .redirect();
    fleet.remember(&redirect.code());
    // Remembered: at once, with and without a prompt for silence.
    for more in [&[][..], &[("prompt", "none")]] {
        fleet.remember(&open(more).0.redirect().code());
    }
    // Asked all the same.
    for prompt in ["consent", "select_account"] {
        assert!(
            open(&[("prompt", prompt)]).0.page().has_form("/consent"),
            "{prompt}"
        );
    }
    let (again, mut copy) = open(&[("prompt", "login")]);
    let again = again.page();
    assert!(again.has_form("/login"), "{}", again.answer);
    fleet.remember(&copy.sign_in_at(&again, &ada, PASSWORD).redirect().code());
}

both!(az_36_a_browser_opens_only_so_many);
fn az_36_a_browser_opens_only_so_many(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let mut browser = fleet.person();
    let mut places = Vec::new();
    for _ in 0..30 {
        let answer = browser.get(&fleet.authorization_url(&client, &Pkce::fresh(), &[]));
        let location = answer.header("location").unwrap();
        places.push(location.replace("/login?", "/consent?"));
    }
    let statuses: Vec<u16> = places.iter().map(|place| browser.get(place).status).collect();
    let open = statuses.iter().filter(|status| **status == 303).count();
    assert!((1..=20).contains(&open), "{statuses:?}");
}

both!(az_41_codes_cannot_be_guessed);
fn az_41_codes_cannot_be_guessed(db: Db) {
    let fleet = door(db);
    let (ada, pkce) = (fleet.person_account(), Pkce::fresh());
    let client = fleet.web_client(CALLBACK, &["--approve-as", &ada]);
    let mut codes: Vec<String> = (0..50)
        .map(|_| {
            let code = fleet
                .person()
                .open(&fleet.authorization_url(&client, &pkce, &[]))
                .redirect()
                .code();
            fleet.remember(&code);
            code
        })
        .collect();
    for code in &codes {
        // 256 bits in base64url behind the prefix.
        assert_eq!((code.len(), code.starts_with("eha_")), (47, true));
        assert!(
            code.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
        );
    }
    codes.sort();
    codes.dedup();
    assert_eq!(codes.len(), 50);
}

fn door(db: Db) -> Fleet {
    let server = format!("{UNLIMITED_SERVER}\n[login]\ntesting_door = true\n");
    Fleet::start(
        db,
        &Wishes {
            server: Some(server),
            ..Wishes::default()
        },
    )
}

both!(the_testing_door_is_shut_unless_it_was_opened);
fn the_testing_door_is_shut_unless_it_was_opened(db: Db) {
    let open = door(db);
    let ada = open.person_account();
    let pkce = Pkce::fresh();
    let client = open.web_client(CALLBACK, &["--approve-as", &ada]);
    let code = open
        .person()
        .open(&open.authorization_url(&client, &pkce, &[]))
        .redirect()
        .code();
    open.remember(&code);
    blackbox::answers::granted(&open.redeem(&client, &code, &pkce, &[]));
    // Only for people that there are.
    let line = [
        "client",
        "create",
        "--name",
        "x",
        "--public",
        "--redirect-uri",
        CALLBACK,
    ];
    let nobody = [&line[..], &["--approve-as", "nobody"]].concat();
    assert!(open.server.json(&nobody).is_err());
    open.server.json(&["user", "disable", &ada]).unwrap();
    paged(&open, &client, &[]);
    let shut = Fleet::shared(db);
    let bob = shut.person_account();
    assert!(
        shut.server
            .json(&[&line[..], &["--approve-as", &bob]].concat())
            .is_err()
    );
}
