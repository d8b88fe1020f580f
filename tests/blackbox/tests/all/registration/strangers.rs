//! DCR-16, DCR-25, DCR-26: whom nobody vouches for.

use blackbox::answers::{granted, retry_after};
use blackbox::people::CALLBACK;
use blackbox::registered::{fleet_with, open_fleet, public, text};
use blackbox::{Db, PASSWORD, Pkce, both};
use serde_json::json;

both!(dcr_16_a_registered_client_is_asked_about_each_time);
fn dcr_16_a_registered_client_is_asked_about_each_time(db: Db) {
    let fleet = open_fleet(db);
    let ada = fleet.person_account();
    let client = fleet.registered(&public(&json!({"client_name": "Claude"})));
    let id = text(&client, "client_id");
    let mut browser = fleet.person();
    for round in 0..2 {
        let pkce = Pkce::fresh();
        let mut page = browser.page(&fleet.authorization_url(id, &pkce, &[]));
        if round == 0 {
            page = browser.sign_in_at(&page, &ada, PASSWORD).page();
        }
        assert!(page.has_form("/consent"), "{}", page.answer);
        assert!(page.text().contains("nobody has checked"), "{}", page.text());
        assert!(
            !page
                .form("/consent")
                .fields
                .iter()
                .any(|(name, _)| name == "remember")
        );
        // Ticked all the same.
        let code = browser
            .decide(&page, "allow", &[("remember", "on")])
            .redirect()
            .code();
        fleet.remember(&code);
        granted(&fleet.redeem(id, &code, &pkce, &[]));
    }
    // No silent success, and no silent redirect either (OAuth 2.1 §7.12.2).
    let silent = browser.page(&fleet.authorization_url(id, &Pkce::fresh(), &[("prompt", "none")]));
    assert_eq!(silent.answer.status, 400, "{}", silent.answer);
    // PKCE is asked of everybody.
    let bare = browser.page(&fleet.authorization_url(id, &Pkce::fresh(), &[("code_challenge", "")]));
    assert_eq!(bare.answer.status, 400, "{}", bare.answer);

    // An operator's client: remembered, and then silent.
    let known = fleet.web_client(CALLBACK, &[]);
    let page = browser.page(&fleet.authorization_url(&known, &Pkce::fresh(), &[]));
    assert!(!page.text().contains("nobody has checked"));
    fleet.remember(
        &browser
            .decide(&page, "allow", &[("remember", "on")])
            .redirect()
            .code(),
    );
    let silent = fleet.authorization_url(&known, &Pkce::fresh(), &[("prompt", "none")]);
    fleet.remember(&browser.open(&silent).redirect().code());
    // DCR-26: with another redirect URI nothing is remembered any more.
    let other = "https://client.example/new";
    let line = [
        "client",
        "update",
        &known,
        "--redirect-uri",
        other,
        "--redirect-uri",
        CALLBACK,
    ];
    fleet.server.json(&line).unwrap();
    let refused = browser.open(&silent).redirect();
    assert_eq!(refused.param("error").as_deref(), Some("consent_required"));
    // Another name changes nothing of that.
    let page = browser.page(&fleet.authorization_url(&known, &Pkce::fresh(), &[]));
    fleet.remember(
        &browser
            .decide(&page, "allow", &[("remember", "on")])
            .redirect()
            .code(),
    );
    fleet
        .server
        .json(&["client", "update", &known, "--name", "Renamed"])
        .unwrap();
    fleet.remember(&browser.open(&silent).redirect().code());
}

both!(dcr_16_every_page_says_that_nobody_vouches_for_it);
fn dcr_16_every_page_says_that_nobody_vouches_for_it(db: Db) {
    const DEVICE: &str = "urn:ietf:params:oauth:grant-type:device_code";
    let fleet = open_fleet(db);
    // It reads as if it were a client of that host.
    let grants = ["authorization_code", "refresh_token", DEVICE];
    let document = json!({"client_name": "Claude (claude.ai)", "grant_types": grants});
    let stranger = fleet.registered(&public(&document));
    let line = ["--public", "--grants", "device_code,refresh_token"];
    let node = fleet.node.url();
    let known = fleet
        .server
        .create_public_client(&fleet.fresh_name(), &line)
        .unwrap();
    let ada = fleet.person_account();
    let mut browser = fleet.person();
    browser.sign_in(&ada, PASSWORD);
    for (client, sentence) in [
        (text(&stranger, "client_id"), "nobody has checked this name"),
        (&*known, "Registered by the operator"),
    ] {
        let asked = [("client_id", client), ("resource", &*node)];
        let begun = granted(&fleet.post_bare("/oauth/device_authorization", &asked));
        fleet.remember(text(&begun, "device_code"));
        let page = browser.page("/device");
        let form = page.form("/device");
        let fields = [("user_code", text(&begun, "user_code"))];
        let question = browser.submit(&page, &form, &fields).page();
        assert!(question.text().contains(sentence), "{}", question.text());
        let form = question.form("/device/decision");
        let done = browser.submit(&question, &form, &[("decision", "allow")]).page();
        assert_eq!(done.answer.status, 200, "{}", done.answer);
        let account = browser.page("/account");
        assert!(account.text().contains(sentence), "{}", account.text());
    }
}

both!(dcr_16_what_a_client_could_take_back_is_not_taken_from_it);
fn dcr_16_what_a_client_could_take_back_is_not_taken_from_it(db: Db) {
    let fleet = open_fleet(db);
    let client = fleet.registered(&public(&json!({})));
    let id = text(&client, "client_id");
    let node = fleet.node.url();
    let update = |words: &[&str]| fleet.server.json(&[&["client", "update", id], words].concat());
    for words in [
        &["--scopes", "mcp:read"][..],
        &["--grants", "authorization_code"],
        &["--scopes", "mcp:read", "--resource", &node],
    ] {
        let sentence = update(words).unwrap_err().to_string();
        assert!(
            sentence.contains("registered itself") && sentence.contains("--resource"),
            "{sentence}"
        );
    }
    let limited = update(&["--resource", &node]).unwrap();
    assert_eq!(limited["resources"], json!([node]));
    assert_eq!(limited["scope"], client["scope"]);
    // An operator's own client is limited as ever.
    let known = fleet.web_client(CALLBACK, &[]);
    let line = ["client", "update", &known, "--scopes", "mcp:read"];
    assert_eq!(fleet.server.json(&line).unwrap()["scope"], "mcp:read");
}

both!(dcr_25_a_flood_is_429);
fn dcr_25_a_flood_is_429(db: Db) {
    let fleet = fleet_with(db, "registration = \"open\"\nregistrations_per_address = \"3/h\"");
    for _ in 0..3 {
        fleet.registered(&public(&json!({})));
    }
    let answer = fleet.register(&public(&json!({})), None);
    assert_eq!(answer.status, 429, "{answer}");
    assert!(retry_after(&answer) <= 3600);
    // Whoever was invited is not among those who flood.
    let made = fleet.server.json(&["client", "invite"]).unwrap();
    let token = text(&made, "initial_access_token");
    fleet.remember(token);
    let answer = fleet.register(&public(&json!({})), Some(token));
    assert_eq!(answer.status, 201, "{answer}");
}

both!(dcr_25_there_is_room_for_so_many_unused_ones);
fn dcr_25_there_is_room_for_so_many_unused_ones(db: Db) {
    let clients = "registration = \"open\"\nregistrations_per_address = \"off\"\nmax_unused = 2";
    let fleet = fleet_with(db, clients);
    let first = fleet.registered(&public(&json!({})));
    let used = fleet.registered(&public(&json!({})));
    let answer = fleet.register(&public(&json!({})), None);
    assert_eq!(answer.status, 429, "{answer}");
    retry_after(&answer);
    // One that ends makes no room before it is forgotten: whoever registers and ends in turn fills the table too.
    let (id, token) = (
        text(&first, "client_id"),
        text(&first, "registration_access_token"),
    );
    assert_eq!(fleet.manage("DELETE", id, Some(token), None).status, 204);
    assert_eq!(fleet.register(&public(&json!({})), None).status, 429);
    // One that is used does, once that is written.
    let ada = fleet.person_account();
    let _tokens = fleet.code_tokens(&mut fleet.person(), &ada, text(&used, "client_id"));
    fleet.restart_server();
    fleet.registered(&public(&json!({})));
    assert_eq!(fleet.register(&public(&json!({})), None).status, 429);
}
