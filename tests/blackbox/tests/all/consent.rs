//! UI-11 … UI-15, AZ-42, CON-12: what a person is asked, and that only their own answer counts, once.

use blackbox::answers::{granted, refused_400};
use blackbox::people::{CALLBACK, PASSWORD, Pkce};
use blackbox::person::{Page, Person};
use blackbox::{Db, Fleet, both};

/// Somebody who looks at a consent page.
fn asked(fleet: &Fleet, client_id: &str, more: &[(&str, &str)]) -> (Person, Page, String) {
    let ada = fleet.person_account();
    let mut browser = fleet.person();
    let page = browser.page(&fleet.authorization_url(client_id, &Pkce::fresh(), more));
    let page = browser.sign_in_at(&page, &ada, PASSWORD).page();
    assert!(page.has_form("/consent"), "{}", page.answer);
    (browser, page, ada)
}

both!(ui_11_only_the_browser_that_was_asked_can_answer);
fn ui_11_only_the_browser_that_was_asked_can_answer(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let (mut ada, page, _) = asked(&fleet, &client, &[]);
    let (mut eve, her_page, _) = asked(&fleet, &client, &[]);
    // Another browser with the whole form, then with its own token but the interaction of the first.
    assert_eq!(eve.decide(&page, "allow", &[]).page().answer.status, 403);
    let form = page.form("/consent");
    let i = form.fields.iter().find(|(name, _)| name == "i").unwrap();
    let stolen = eve.decide(&her_page, "allow", &[("i", &i.1)]).page();
    assert_eq!(stolen.answer.status, 403, "{}", stolen.answer);
    assert_eq!(eve.page(&page.url).answer.status, 403);
    // UI-14: a made-up transaction, and no token at all.
    assert_eq!(
        ada.decide(&page, "allow", &[("i", "made-up")])
            .page()
            .answer
            .status,
        403
    );
    assert_eq!(
        ada.decide(&page, "allow", &[("csrf", "")]).page().answer.status,
        403
    );
    fleet.remember(&ada.decide(&page, "allow", &[]).redirect().code());
}

both!(ui_13_the_page_says_who_what_where_and_how_long);
fn ui_13_the_page_says_who_what_where_and_how_long(db: Db) {
    let fleet = Fleet::shared(db);
    let name = "\"><script>alert(1)</script>";
    let line = ["client", "update"];
    let client = fleet.web_client("https://client.example:8443/cb", &[]);
    fleet
        .server
        .json(&[&line[..], &[&client, "--name", name]].concat())
        .unwrap();
    let redirect = [("redirect_uri", "https://client.example:8443/cb")];
    let (_, page, _) = asked(&fleet, &client, &redirect);
    let (raw, text) = (page.answer.text(), page.text());
    assert!(!raw.contains("<script>alert"), "{raw}");
    for part in [name, "client.example:8443", &fleet.node.url(), "30", "remember"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Known scopes in words, not as names.
    let is_shown = |line: &&str| !line.starts_with("<input type=\"hidden\"");
    assert!(
        !text
            .lines()
            .filter(is_shown)
            .any(|line| line.contains("mcp:call")),
        "{text}"
    );
    let policy = page.answer.header("content-security-policy").unwrap();
    assert!(
        policy.contains("form-action 'self' https://client.example:8443"),
        "{policy}"
    );
}

both!(ui_15_two_tabs_never_mix);
fn ui_15_two_tabs_never_mix(db: Db) {
    let fleet = Fleet::shared(db);
    let (one, two) = (fleet.web_client(CALLBACK, &[]), fleet.web_client(CALLBACK, &[]));
    let (mut ada, first, _) = asked(&fleet, &one, &[("state", "one")]);
    let second = ada.page(&fleet.authorization_url(&two, &Pkce::fresh(), &[("state", "two")]));
    let reloaded = ada.page(&first.url);
    let denied = ada.decide(&second, "deny", &[]).redirect();
    assert_eq!(denied.param("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.param("state").as_deref(), Some("two"));
    assert_eq!(denied.param("iss"), Some(fleet.server.issuer.clone()));
    let allowed = ada.decide(&reloaded, "allow", &[]).redirect();
    assert_eq!(allowed.param("state").as_deref(), Some("one"));
    fleet.remember(&allowed.code());
    // The back button.
    let again = ada.decide(&first, "allow", &[]).page();
    assert_eq!(again.answer.status, 400, "{}", again.answer);
    assert_eq!(ada.page(&second.url).answer.status, 400);
}

both!(az_42_con_12_many_clicks_one_code);
fn az_42_con_12_many_clicks_one_code(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let (ada, page, _) = asked(&fleet, &client, &[]);
    let form = page.form("/consent");
    let answers: Vec<_> = std::thread::scope(|scope| {
        let click = |_| {
            let (mut browser, page, form) = (ada.clone(), &page, &form);
            scope.spawn(move || browser.submit_once(page, form, &[("decision", "allow")]).1)
        };
        let clicks: Vec<_> = (0..8).map(click).collect();
        clicks.into_iter().map(|click| click.join().unwrap()).collect()
    });
    let won: Vec<_> = answers.iter().filter(|answer| answer.status == 303).collect();
    assert_eq!(won.len(), 1, "{answers:?}");
    let location = won[0].header("location").unwrap();
    let code = blackbox::location::query(location)
        .into_iter()
        .find(|(name, _)| name == "code");
    fleet.remember(&code.unwrap().1);
    assert!(
        answers.iter().all(|answer| matches!(answer.status, 303 | 400)),
        "{answers:?}"
    );
}

both!(a_step_up_adds_and_loses_nothing);
fn a_step_up_adds_and_loses_nothing(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let (mut browser, page, _) = asked(&fleet, &client, &[("scope", "mcp:read")]);
    let remember = [("remember", "on")];
    fleet.remember(&browser.decide(&page, "allow", &remember).redirect().code());
    let mut come_back = |scope: &str| {
        let pkce = Pkce::fresh();
        let more = [("scope", scope)];
        let outcome = browser.open(&fleet.authorization_url(&client, &pkce, &more));
        let (redirect, was_asked) = match outcome {
            blackbox::person::Outcome::Redirect(redirect) => (redirect, false),
            blackbox::person::Outcome::Page(page) => (browser.decide(&page, "allow", &[]).redirect(), true),
        };
        let code = redirect.code();
        fleet.remember(&code);
        let tokens = granted(&fleet.redeem(&client, &code, &pkce, &[]));
        (was_asked, tokens["scope"].as_str().unwrap().to_owned())
    };
    assert_eq!(come_back("mcp:read"), (false, "mcp:read".to_owned()));
    assert_eq!(come_back("mcp:call"), (true, "mcp:call mcp:read".to_owned()));
    // Less is granted as less; what was not remembered is asked again.
    assert_eq!(come_back("mcp:call"), (true, "mcp:call".to_owned()));
    assert_eq!(come_back("mcp:read"), (false, "mcp:read".to_owned()));
}

both!(a_day_does_not_become_for_ever_by_the_way);
fn a_day_does_not_become_for_ever_by_the_way(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let both = [("scope", "mcp:call mcp:read")];
    let (mut browser, page, _) = asked(&fleet, &client, &both);
    let a_day = [("remember", "on"), ("duration", "1-day")];
    fleet.remember(&browser.decide(&page, "allow", &a_day).redirect().code());
    let url = |more: &[(&str, &str)]| fleet.authorization_url(&client, &Pkce::fresh(), more);
    // Remembered, for now.
    fleet.remember(&browser.open(&url(&both)).redirect().code());
    // A page that shows one of them only, allowed until it is revoked.
    let less = browser.page(&url(&[("scope", "mcp:read"), ("prompt", "consent")]));
    let for_ever = [("duration", "until-revoked")];
    fleet.remember(&browser.decide(&less, "allow", &for_ever).redirect().code());
    assert!(browser.page(&url(&[("scope", "mcp:call")])).has_form("/consent"));
}

both!(what_was_granted_at_a_forgotten_resource_is_asked_again);
fn what_was_granted_at_a_forgotten_resource_is_asked_again(db: Db) {
    let fleet = Fleet::shared(db);
    let resource = fleet.resource(&[]);
    let client = fleet.web_client(CALLBACK, &["--resource", &resource]);
    let pkce = Pkce::fresh();
    let wide = [("resource", resource.as_str()), ("scope", "mcp:call mcp:read")];
    let username = fleet.person_account();
    let mut browser = fleet.person();
    let page = browser.page(&fleet.authorization_url(&client, &pkce, &wide));
    let page = browser.sign_in_at(&page, &username, PASSWORD).page();
    let code = browser
        .decide(&page, "allow", &[("remember", "on")])
        .redirect()
        .code();
    let tokens = granted(&fleet.redeem(&client, &code, &pkce, &[]));
    fleet
        .server
        .json(&["resource", "delete", "--uri", &resource])
        .unwrap();
    fleet.server.ensure_resource(&resource, &[]).unwrap();
    // It is another resource by the same name: neither the token nor the memory is for it.
    let refresh = tokens["refresh_token"].as_str().unwrap();
    refused_400(&fleet.refresh(&client, refresh, &[]), "invalid_grant");
    let narrow = [("resource", resource.as_str()), ("scope", "mcp:read")];
    let page = browser.page(&fleet.authorization_url(&client, &Pkce::fresh(), &narrow));
    fleet.remember(&browser.decide(&page, "allow", &[]).redirect().code());
    assert!(
        browser
            .page(&fleet.authorization_url(&client, &Pkce::fresh(), &wide))
            .has_form("/consent")
    );
}

both!(a_form_without_a_decision_decides_nothing);
fn a_form_without_a_decision_decides_nothing(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.web_client(CALLBACK, &[]);
    let (mut ada, page, _) = asked(&fleet, &client, &[]);
    let form = page.form("/consent");
    for fields in [
        &[("decision", "")][..],
        &[("decision", "maybe")],
        &[("decision", "allow"), ("duration", "x")],
    ] {
        assert_eq!(ada.submit_once(&page, &form, fields).1.status, 400);
    }
    fleet.remember(
        &ada.decide(&page, "allow", &[("duration", "1-day")])
            .redirect()
            .code(),
    );
}
