//! UI-03 to UI-09, UI-16 to UI-21, AZ-32: signing in and out, one-time links, accounts that end.

use std::time::{Duration, Instant};

use blackbox::answers::{granted, retry_after};
use blackbox::fleet::Wishes;
use blackbox::{CALLBACK, Db, Fleet, PASSWORD, Person, Pkce, Place, both, near_and_far};
use serde_json::Value;
use xtask::fleet::UNLIMITED_SERVER;
use xtask::http::{Answer, Request};

const WRONG: &str = "not the password of anyone";

/// POSTs the sign-in form once, without following.
fn try_password(person: &mut Person, username: &str, password: &str) -> Answer {
    let page = person.page("/login");
    let form = page.form("/login");
    let fields = [("username", username), ("password", password)];
    person.submit_once(&page, &form, &fields).1
}

/// A browser that is signed in.
fn signed_in(fleet: &Fleet, username: &str) -> Person {
    let mut person = fleet.person();
    let answer = try_password(&mut person, username, PASSWORD);
    assert_eq!(answer.status, 303, "{answer}");
    person
}

/// Whether the server still knows the browser's session.
fn is_signed_in(person: &mut Person) -> bool {
    let answer = person.get("/login");
    assert!(matches!(answer.status, 200 | 303), "{answer}");
    answer.status == 303
}

/// The path and query of a link that the command line or the log shows.
fn path_of(fleet: &Fleet, link: &str) -> String {
    let path = link.strip_prefix(&fleet.server.issuer);
    path.expect("UI-20: a link is below the issuer").to_owned()
}

/// What a page says, without what differs from page to page: the anti-forgery token and the typed name.
fn text_without(answer: &Answer, username: &str) -> String {
    let text = answer.text();
    let mut kept = String::new();
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("csrf") {
        kept.push_str(before);
        rest = after.split_once('>').map_or("", |(_, rest)| rest);
    }
    kept.push_str(rest);
    kept.replace(username, "NAME")
}

both!(az_32_a_right_password_is_answered_with_303_and_a_new_session);
fn az_32_a_right_password_is_answered_with_303_and_a_new_session(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let mut person = fleet.person();
    // Names are compared in lower case and without the spaces that phones add.
    let answer = try_password(&mut person, &format!(" {} ", username.to_uppercase()), PASSWORD);
    assert_eq!(answer.status, 303, "{answer}");
    assert_eq!(answer.header("location"), Some("/account"), "{answer}");
    assert!(is_signed_in(&mut person));
}

both!(ui_05_signing_in_makes_a_new_session_whatever_came_before);
fn ui_05_signing_in_makes_a_new_session_whatever_came_before(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let mut victim = fleet.person();
    victim.page("/login");
    let planted = "ehb_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    victim.take(blackbox::person::Cookie::read(&format!("eh_session={planted}")));
    assert_eq!(try_password(&mut victim, &username, PASSWORD).status, 303);
    let first = victim.cookie("eh_session").unwrap().value.clone();
    assert_ne!(first, planted);
    // Again, as when somebody else had signed in first: the session of before is over.
    let mut earlier = victim.clone();
    assert!(is_signed_in(&mut earlier));
    let page = earlier.page("/logout");
    let csrf = page.form("/logout").value("csrf").unwrap().to_owned();
    let fields = [
        ("csrf", csrf.as_str()),
        ("username", &username),
        ("password", PASSWORD),
    ];
    assert_eq!(victim.post("/login", &fields).status, 303);
    assert_ne!(victim.cookie("eh_session").unwrap().value, first);
    assert!(is_signed_in(&mut victim));
    assert!(!is_signed_in(&mut earlier), "the session of before goes on");
}

both!(ui_06_cookies_are_kept_from_scripts_and_other_sites);
fn ui_06_cookies_are_kept_from_scripts_and_other_sites(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let person = signed_in(&fleet, &username);
    assert_eq!(person.cookies().len(), 3, "{:?}", person.cookies());
    for cookie in person.cookies() {
        for attribute in ["httponly", "samesite=lax", "path=/"] {
            assert!(cookie.has(attribute), "{attribute}: {cookie:?}");
        }
        let names_host = cookie.attributes.iter().any(|a| a.starts_with("domain"));
        assert!(!names_host, "{cookie:?}");
    }
}

both!(ui_03_ui_04_a_form_works_in_the_browser_that_was_shown_it);
fn ui_03_ui_04_a_form_works_in_the_browser_that_was_shown_it(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let mut attacker = fleet.person();
    let stolen = attacker
        .page("/login")
        .form("/login")
        .value("csrf")
        .unwrap()
        .to_owned();
    let mut victim = fleet.person();
    victim.page("/login");
    for csrf in ["", "x", stolen.as_str()] {
        let fields = [
            ("csrf", csrf),
            ("username", username.as_str()),
            ("password", PASSWORD),
        ];
        let answer = victim.post("/login", &fields);
        assert_eq!(answer.status, 403, "{csrf}: {answer}");
        assert_eq!(victim.cookie("eh_session"), None, "{csrf}");
    }
    let mut person = signed_in(&fleet, &username);
    for csrf in ["", stolen.as_str()] {
        assert_eq!(person.post("/logout", &[("csrf", csrf)]).status, 403);
        assert!(is_signed_in(&mut person), "signed out by a stranger");
    }
    // UI-18: a link does not do it either.
    assert_eq!(person.get("/logout").status, 200);
    assert!(is_signed_in(&mut person));
    // The token of before the sign-in is not one of the session.
    let mut other = fleet.person();
    let before = other
        .page("/login")
        .form("/login")
        .value("csrf")
        .unwrap()
        .to_owned();
    assert_eq!(try_password(&mut other, &username, PASSWORD).status, 303);
    assert_eq!(other.post("/logout", &[("csrf", &before)]).status, 403);
}

both!(ui_18_signing_out_ends_the_session_on_the_server);
fn ui_18_signing_out_ends_the_session_on_the_server(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let mut person = signed_in(&fleet, &username);
    let mut copied = person.clone();
    let page = person.page("/logout");
    let form = page.form("/logout");
    let (_, answer) = person.submit_once(&page, &form, &[]);
    assert_eq!(answer.status, 303, "{answer}");
    assert_eq!(person.cookie("eh_session"), None);
    assert!(!is_signed_in(&mut copied), "a copied cookie still works");
}

both!(ui_08_nobody_learns_who_has_an_account);
fn ui_08_nobody_learns_who_has_an_account(db: Db) {
    let fleet = Fleet::shared(db);
    let (known, closed) = (fleet.person_account(), fleet.person_account());
    fleet.server.json(&["user", "disable", &closed]).unwrap();
    let linked = fleet.fresh_name();
    fleet
        .server
        .json(&["user", "create", "--username", &linked])
        .unwrap();
    let unknown = fleet.fresh_name();
    let cases = [
        (&known, WRONG),
        (&unknown, PASSWORD),
        (&closed, PASSWORD),
        (&linked, PASSWORD),
    ];
    let answers: Vec<(u16, String)> = cases
        .iter()
        .map(|(username, password)| {
            let answer = try_password(&mut fleet.person(), username, password);
            (answer.status, text_without(&answer, username))
        })
        .collect();
    assert_eq!(answers[0].0, 401);
    assert!(answers[0].1.contains("do not match"), "{}", answers[0].1);
    for answer in &answers {
        assert_eq!(*answer, answers[0]);
    }
}

both!(ui_07_guessing_is_slowed_down_and_the_owner_gets_in);
fn ui_07_guessing_is_slowed_down_and_the_owner_gets_in(db: Db) {
    let limits = "\n[login]\nper_account = \"5/h\"\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\nper_ip_failures = \"off\"\n";
    let wishes = Wishes {
        server: Some(limits.into()),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let (username, other) = (fleet.person_account(), fleet.person_account());
    let mut owner = signed_in(&fleet, &username);
    let mut attacker = fleet.person();
    for _ in 0..5 {
        assert_eq!(try_password(&mut attacker, &username, WRONG).status, 401);
    }
    let refused = try_password(&mut attacker, &username, PASSWORD);
    assert_eq!(refused.status, 429, "{refused}");
    assert!(retry_after(&refused) > 0, "{refused}");
    // Nor from a fresh browser, and an unknown name is slowed down just the same.
    assert_eq!(try_password(&mut fleet.person(), &username, PASSWORD).status, 429);
    let unknown = fleet.fresh_name();
    for _ in 0..5 {
        assert_eq!(try_password(&mut attacker, &unknown, WRONG).status, 401);
    }
    assert_eq!(try_password(&mut attacker, &unknown, WRONG).status, 429);
    // The owner's browser is known, and others' accounts are not concerned.
    owner.forget("eh_session");
    assert_eq!(try_password(&mut owner, &username, PASSWORD).status, 303);
    signed_in(&fleet, &other);
    // A mark of one account is none for another.
    let mut stranger = signed_in(&fleet, &other);
    stranger.forget("eh_session");
    assert_eq!(try_password(&mut stranger, &username, PASSWORD).status, 429);
}

both!(ui_07_spraying_over_accounts_is_slowed_down_by_address);
fn ui_07_spraying_over_accounts_is_slowed_down_by_address(db: Db) {
    let limits = "\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\nper_ip_failures = \"6/h\"\n";
    let wishes = Wishes {
        server: Some(limits.into()),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let mut attacker = fleet.person();
    let statuses: Vec<u16> = (0..8)
        .map(|n| try_password(&mut attacker, &format!("someone{n}"), WRONG).status)
        .collect();
    assert_eq!(statuses, [401, 401, 401, 401, 401, 401, 429, 429]);
}

both!(ui_09_a_flood_of_sign_ins_leaves_everything_else_alone);
fn ui_09_a_flood_of_sign_ins_leaves_everything_else_alone(db: Db) {
    let fleet = Fleet::shared(db);
    let client = fleet.client(&[]);
    let names: Vec<String> = (0..50).map(|_| fleet.fresh_name()).collect();
    let statuses = std::thread::scope(|scope| {
        let flood: Vec<_> = names
            .iter()
            .map(|name| {
                let mut person = fleet.person();
                scope.spawn(move || try_password(&mut person, name, WRONG).status)
            })
            .collect();
        let mut slowest = Duration::ZERO;
        while flood.iter().any(|one| !one.is_finished()) {
            let start = Instant::now();
            granted(&fleet.ask_token(&client, &[]));
            let health = xtask::http::get(&fleet.at("/healthz")).unwrap();
            assert_eq!(health.status, 200);
            slowest = slowest.max(start.elapsed());
        }
        // One hash of a debug build takes a tenth of a second; fifty in front of a token would take five.
        assert!(slowest < Duration::from_secs(2), "a token took {slowest:?}");
        flood
            .into_iter()
            .map(|one| one.join().unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(statuses, [401; 50]);
}

both!(ui_16_ui_17_an_interaction_goes_on_in_its_own_browser_only);
fn ui_16_ui_17_an_interaction_goes_on_in_its_own_browser_only(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let client_id = fleet.web_client(CALLBACK, &[]);
    let url = fleet.authorization_url(&client_id, &Pkce::fresh(), &[("login_hint", "\"><b>me")]);
    let mut person = fleet.person();
    let page = person.page(&url);
    let form = page.form("/login");
    assert_eq!(form.value("username"), Some("\"><b>me"), "{}", page.answer);
    let i = form.value("i").unwrap().to_owned();
    for stray in [i.as_str(), "https://evil.example/", "//evil.example", "../x"] {
        let mut other = fleet.person();
        let csrf = other
            .page("/login")
            .form("/login")
            .value("csrf")
            .unwrap()
            .to_owned();
        let fields = [
            ("csrf", csrf.as_str()),
            ("username", &username),
            ("password", PASSWORD),
            ("i", stray),
        ];
        let answer = other.post("/login", &fields);
        assert_eq!(answer.header("location"), Some("/account"), "{stray}: {answer}");
    }
    let fields = [("username", username.as_str()), ("password", PASSWORD)];
    let (_, answer) = person.submit_once(&page, &form, &fields);
    assert_eq!(answer.status, 303);
    let resumed = format!("/consent?i={i}");
    assert_eq!(answer.header("location"), Some(resumed.as_str()), "{answer}");
    // Who is signed in is not asked again, unless the client wants a fresh proof.
    assert!(person.page(&url).has_form("/consent"));
    assert!(person.page(&format!("{url}&prompt=login")).has_form("/login"));
}

near_and_far!(ui_19_a_link_sets_a_password_once);
fn ui_19_a_link_sets_a_password_once(place: Place) {
    let fleet = Fleet::shared(place);
    let username = fleet.person_account();
    let client_id = fleet.web_client(CALLBACK, &[]);
    let mut before = signed_in(&fleet, &username);
    let tokens = fleet.code_tokens(&mut before, &username, &client_id);
    let old = fleet.server.json(&["user", "set-password", &username]).unwrap();
    let made = fleet.server.json(&["user", "set-password", &username]).unwrap();
    let (old, link) = (link_of(&fleet, &old), link_of(&fleet, &made));
    let mut person = fleet.person();
    assert_eq!(person.get(&old).status, 400, "an older link still works");
    let page = person.page(&link);
    let form = page.form("/login/link");
    let again = |person: &mut Person, first: &str, second: &str| {
        let fields = [("password", first), ("password_again", second)];
        person.submit_once(&page, &form, &fields).1
    };
    for (first, second) in [("short", "short"), ("long enough 1", "long enough 2"), ("", "")] {
        assert_eq!(again(&mut person, first, second).status, 400, "{first}");
    }
    // The old password went with the making of the link: whoever knew it must not be faster than its owner.
    assert!(!is_signed_in(&mut before));
    assert_eq!(
        fleet.person().sign_in(&username, PASSWORD).page().answer.status,
        401
    );
    // UI-03: not from another browser.
    let mut other = fleet.person();
    other.page("/login");
    assert_eq!(
        again(&mut other, "quite another one", "quite another one").status,
        403
    );
    let new = "quite another password";
    fleet.remember(new);
    let set = again(&mut person, new, new);
    assert_eq!(set.status, 303, "{set}");
    // They are told, in their language, and by us: another word in the address says nothing.
    let place = set.header("location").unwrap();
    let says = |language: &str, place: &str, sentence: &str| {
        let mut reader = fleet.person().with_header("Accept-Language", language);
        reader.page(place).text().contains(sentence)
    };
    assert!(says("en", place, "Your new password is set."), "{place}");
    assert!(says("es", place, "Tu nueva contraseña está guardada."), "{place}");
    assert!(!says("en", "/login?done=x", "Your new password is set."));
    assert_eq!(again(&mut person, new, new).status, 400, "the link worked twice");
    assert_eq!(person.get(&link).status, 400);
    // UI-19: what the old password gave is over.
    assert!(!is_signed_in(&mut before));
    let refreshed = fleet.refresh(&client_id, tokens["refresh_token"].as_str().unwrap(), &[]);
    assert_eq!(refreshed.status, 400, "{refreshed}");
    assert_eq!(try_password(&mut fleet.person(), &username, PASSWORD).status, 401);
    assert_eq!(try_password(&mut fleet.person(), &username, new).status, 303);
}

both!(ui_19_the_first_administrator_is_made_once);
fn ui_19_the_first_administrator_is_made_once(db: Db) {
    let fleet = Fleet::start(db, &Wishes::default());
    let logs = fleet.logs();
    let line = logs
        .lines()
        .find(|line| line.starts_with("First administrator: open "));
    let link = line.unwrap().split(' ').nth(3).unwrap();
    let mut person = fleet.person();
    let page = person.page(&path_of(&fleet, link));
    let form = page.form("/login/link");
    let fields = [
        ("username", "root"),
        ("display_name", "The first"),
        ("password", PASSWORD),
        ("password_again", PASSWORD),
    ];
    let (_, answer) = person.submit_once(&page, &form, &fields);
    assert_eq!(answer.status, 303, "{answer}");
    assert!(is_signed_in(&mut person));
    let users = fleet.server.json(&["user", "list"]).unwrap();
    assert_eq!(users[0]["username"], "root");
    assert_eq!(users[0]["is_admin"], true);
    let mut second = fleet.person();
    assert_eq!(second.get(&path_of(&fleet, link)).status, 400);
    let csrf = second
        .page("/login")
        .form("/login")
        .value("csrf")
        .unwrap()
        .to_owned();
    let secret = form.value("link").unwrap();
    let again = [
        &fields[1..],
        &[("username", "eve"), ("csrf", &csrf), ("link", secret)],
    ]
    .concat();
    assert_eq!(second.post("/login/link", &again).status, 400);
    assert_eq!(
        fleet
            .server
            .json(&["user", "list"])
            .unwrap()
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

near_and_far!(code_14_rt_13_a_disabled_account_ends_at_once);
fn code_14_rt_13_a_disabled_account_ends_at_once(place: Place) {
    let fleet = Fleet::shared(place);
    let username = fleet.person_account();
    let client_id = fleet.web_client(CALLBACK, &[]);
    let mut person = signed_in(&fleet, &username);
    let tokens = fleet.code_tokens(&mut person, &username, &client_id);
    let pkce = Pkce::fresh();
    let code = fleet
        .allowed(&mut person, &username, &client_id, (&pkce, &[]))
        .code();
    assert_eq!(fleet.call(tokens["access_token"].as_str().unwrap()).status, 200);
    fleet.server.json(&["user", "disable", &username]).unwrap();
    assert!(!is_signed_in(&mut person));
    assert_eq!(fleet.redeem(&client_id, &code, &pkce, &[]).status, 400);
    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    assert_eq!(fleet.refresh(&client_id, refresh_token, &[]).status, 400);
    assert_eq!(try_password(&mut fleet.person(), &username, PASSWORD).status, 401);
    // Opened again, the person signs in anew; what ended stays ended.
    fleet.server.json(&["user", "enable", &username]).unwrap();
    assert!(!is_signed_in(&mut person));
    assert_eq!(fleet.refresh(&client_id, refresh_token, &[]).status, 400);
    signed_in(&fleet, &username);
}

both!(ui_20_ui_21_the_page_serves_its_person);
fn ui_20_ui_21_the_page_serves_its_person(db: Db) {
    let fleet = Fleet::shared(db);
    let page = fleet.person().page("/login");
    let text = page.text();
    for part in [
        "autocomplete=\"username webauthn\"",
        "autocomplete=\"current-password\"",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("autocomplete=\"off\"") && !text.contains("onpaste"));
    let evil = Request::new("GET", &fleet.at("/login"))
        .unwrap()
        .header("Host", "evil.example");
    let answer = evil.send().unwrap();
    assert!(
        answer.status >= 400 && !answer.text().contains("evil.example"),
        "{answer}"
    );
    let spanish = fleet.person().with_header("Accept-Language", "es").page("/login");
    assert!(spanish.text().contains("lang=\"es\""));
}

both!(ui_24_sessions_end_by_themselves);
fn ui_24_sessions_end_by_themselves(db: Db) {
    for (ttl, idle) in [("1s", "1h"), ("1h", "1s")] {
        // No limits: the question is asked as fast as it is answered.
        let config =
            format!("{UNLIMITED_SERVER}\n[login]\nsession_ttl = \"{ttl}\"\nsession_idle = \"{idle}\"\n");
        let wishes = Wishes {
            server: Some(config),
            ..Wishes::default()
        };
        let fleet = Fleet::start(db, &wishes);
        let username = fleet.person_account();
        let mut person = signed_in(&fleet, &username);
        let start = Instant::now();
        // What is waited for is the end itself; the deadline only keeps a broken server from hanging the test.
        while is_signed_in(&mut person) {
            assert!(
                start.elapsed() < Duration::from_secs(10),
                "ttl {ttl}, idle {idle}"
            );
        }
    }
}

near_and_far!(user_commands_keep_secrets_out_of_the_command_line);
fn user_commands_keep_secrets_out_of_the_command_line(place: Place) {
    let fleet = Fleet::shared(place);
    let name = fleet.fresh_name();
    let made: Value = fleet
        .server
        .json(&[
            "user",
            "create",
            "--username",
            &name,
            "--email",
            "a@b.example",
            "--admin",
        ])
        .unwrap();
    assert_eq!(made["is_admin"], true, "{made}");
    assert_eq!(made["has_password"], false, "{made}");
    assert!(made["user_id"].as_str().unwrap().starts_with("u_"));
    assert_eq!(fleet.person().page(&link_of(&fleet, &made)).answer.status, 200);
    for refused in [
        &["user", "create", "--username", &name][..],
        &["user", "create", "--username", "a b"],
        &["user", "create", "--username", "x", "--password", PASSWORD],
        &["user", "set-password", "nobody-of-that-name"],
        &["user", "disable", "nobody-of-that-name"],
    ] {
        assert!(fleet.server.json(refused).is_err(), "{refused:?}");
    }
}

/// The path of the link that `user create` or `user set-password` printed.
fn link_of(fleet: &Fleet, made: &Value) -> String {
    let link = made["set_password_link"].as_str().unwrap();
    fleet.remember(link.rsplit('=').next().unwrap());
    path_of(fleet, link)
}
