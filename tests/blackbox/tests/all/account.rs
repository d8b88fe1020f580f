//! REV-09, UI-03, UI-23: the account page of a person, the second step of a sign-in, and what ends when they say so.

use blackbox::answers::{granted, refused_400};
use blackbox::person::Page;
use blackbox::{CALLBACK, Db, Fleet, PASSWORD, Person, both};
use ring::hmac;
use xtask::http::Answer;

const NEW_PASSWORD: &str = "seven words that nobody else has";

pub(super) fn signed_in(fleet: &Fleet, username: &str) -> Person {
    let mut person = fleet.person();
    let page = person.sign_in(username, PASSWORD).page();
    assert!(page.url.ends_with("/account"), "{}", page.url);
    person
}

/// Whether the server still knows the browser's session.
pub(super) fn is_signed_in(person: &mut Person) -> bool {
    person.get("/account").status == 200
}

/// Sends a form of the account page.
pub(super) fn send(person: &mut Person, action: &str, fields: &[(&str, &str)]) -> Answer {
    let page = person.page("/account");
    let form = page.form(action);
    person.submit_once(&page, &form, fields).1
}

fn is_back_with(answer: &Answer, notice: &str) {
    let place = answer.header("location").unwrap_or_default();
    assert_eq!(answer.status, 303, "{answer}");
    assert!(place.ends_with(&format!("/account?done={notice}")), "{place}");
}

both!(rev_09_a_grant_that_its_owner_revokes_ends_with_its_tokens);
fn rev_09_a_grant_that_its_owner_revokes_ends_with_its_tokens(db: Db) {
    let fleet = Fleet::shared(db);
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let tokens = fleet.code_tokens(&mut fleet.person(), &username, &client_id);
    let refresh = tokens["refresh_token"].as_str().unwrap();
    let mut person = signed_in(&fleet, &username);

    // Another person does not see it, and cannot end it.
    let mut stranger = signed_in(&fleet, &fleet.person_account());
    let page = person.page("/account");
    let form = page.form("/account/grants/revoke");
    let grant_id = form.value("grant_id").unwrap();
    let theirs = stranger.page("/account");
    assert!(!theirs.answer.text().contains(grant_id));
    let csrf = theirs.form("/logout").value("csrf").unwrap().to_owned();
    stranger.post(
        "/account/grants/revoke",
        &[("csrf", &csrf), ("grant_id", grant_id)],
    );
    let tokens = granted(&fleet.refresh(&client_id, refresh, &[]));
    let refresh = tokens["refresh_token"].as_str().unwrap();

    // UI-03: nor a form without the token of this browser.
    for fields in [
        vec![("grant_id", grant_id)],
        vec![("grant_id", grant_id), ("csrf", &csrf)],
    ] {
        assert_eq!(person.post("/account/grants/revoke", &fields).status, 403);
    }
    let answer = person.submit_once(&page, &form, &[]).1;
    is_back_with(&answer, "grant-revoked");
    refused_400(&fleet.refresh(&client_id, refresh, &[]), "invalid_grant");
    assert!(!person.page("/account").answer.text().contains(grant_id));
}

both!(rev_09_revoke_all_and_a_new_password_end_every_grant);
fn rev_09_revoke_all_and_a_new_password_end_every_grant(db: Db) {
    let fleet = Fleet::shared(db);
    let (username, client_id) = (fleet.person_account(), fleet.web_client(CALLBACK, &[]));
    let other_client = fleet.web_client(CALLBACK, &[]);
    let (mut home, mut work) = (signed_in(&fleet, &username), signed_in(&fleet, &username));
    let grant = |client_id: &str| {
        let tokens = fleet.code_tokens(&mut fleet.person(), &username, client_id);
        tokens["refresh_token"].as_str().unwrap().to_owned()
    };
    let (first, second) = (grant(&client_id), grant(&other_client));
    is_back_with(
        &send(&mut home, "/account/grants/revoke-all", &[]),
        "grants-revoked",
    );
    refused_400(&fleet.refresh(&client_id, &first, &[]), "invalid_grant");
    refused_400(&fleet.refresh(&other_client, &second, &[]), "invalid_grant");

    let refresh = grant(&client_id);
    let wrong = [("current", NEW_PASSWORD), ("new", NEW_PASSWORD)];
    is_back_with(&send(&mut home, "/account/password", &wrong), "wrong-password");
    let short = [("current", PASSWORD), ("new", "short")];
    is_back_with(
        &send(&mut home, "/account/password", &short),
        "password-too-short",
    );
    assert!(is_signed_in(&mut work));
    let right = [("current", PASSWORD), ("new", NEW_PASSWORD)];
    is_back_with(&send(&mut home, "/account/password", &right), "password-set");
    assert!(is_signed_in(&mut home) && !is_signed_in(&mut work));
    refused_400(&fleet.refresh(&client_id, &refresh, &[]), "invalid_grant");
    let page = fleet.person().sign_in(&username, NEW_PASSWORD).page();
    assert!(page.url.ends_with("/account"), "{}", page.url);
}

both!(rev_09_a_person_signs_their_other_browsers_out);
fn rev_09_a_person_signs_their_other_browsers_out(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let (mut home, mut work) = (signed_in(&fleet, &username), signed_in(&fleet, &username));
    is_back_with(&send(&mut home, "/account/sessions/end", &[]), "session-ended");
    assert!(is_signed_in(&mut home) && !is_signed_in(&mut work));
    let mut phone = signed_in(&fleet, &username);
    is_back_with(
        &send(&mut home, "/account/sessions/end-others", &[]),
        "others-ended",
    );
    assert!(is_signed_in(&mut home) && !is_signed_in(&mut phone));
}

/// RFC 6238 with the parameters that every app knows, `steps` from now.
pub(super) fn code(secret: &[u8], steps: i64) -> String {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is not linked with the crate of that door"
    )]
    let now = std::time::SystemTime::now();
    let seconds = now.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let counter = i64::try_from(seconds / 30).unwrap() + steps;
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let tag = hmac::sign(&key, &counter.to_be_bytes());
    let tag = tag.as_ref();
    let at = usize::from(tag[19] & 15);
    let number = u32::from_be_bytes(tag[at..at + 4].try_into().unwrap()) & 0x7fff_ffff;
    format!("{:06}", number % 1_000_000)
}

/// The secret that a page shows in Base32.
pub(super) fn shown_secret(page: &str) -> Vec<u8> {
    let shown = page.split("<p class=\"secret\"><code>").nth(1).unwrap();
    let shown = shown.split('<').next().unwrap();
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0u32, 0);
    for letter in shown.bytes().filter(|letter| *letter != b' ') {
        let value = match letter {
            b'A'..=b'Z' => letter - b'A',
            _ => letter - b'2' + 26,
        };
        bits = (bits << 5) | u32::from(value);
        count += 5;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from((bits >> count) & 0xff).unwrap());
        }
    }
    bytes
}

pub(super) fn second_step(person: &mut Person, page: &Page, code: &str) -> Answer {
    let form = page.form("/login/second-factor");
    person.submit_once(page, &form, &[("code", code)]).1
}

both!(ui_23_a_second_factor_is_asked_for_and_no_code_works_twice);
fn ui_23_a_second_factor_is_asked_for_and_no_code_works_twice(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let mut home = signed_in(&fleet, &username);
    let started = send(&mut home, "/account/totp/start", &[]);
    assert_eq!(started.status, 200, "{started}");
    let secret = shown_secret(&started.text());
    let page = Page {
        url: home.at("/account/totp/start"),
        answer: started,
    };
    let form = page.form("/account/totp/confirm");
    // Shown, but not in force: a password is still enough.
    signed_in(&fleet, &username);
    let used = code(&secret, 0);
    let confirmed = home.submit_once(&page, &form, &[("code", &used)]).1;
    assert_eq!(confirmed.status, 200, "{confirmed}");
    let shown = confirmed.text();
    let codes: Vec<_> = shown
        .split("<li><code>")
        .skip(1)
        .map(|rest| &rest[..14])
        .collect();
    assert_eq!(codes.len(), 10, "{shown}");

    let (mut first, mut second) = (fleet.person(), fleet.person());
    let asked = first.sign_in(&username, PASSWORD).page();
    let asked_too = second.sign_in(&username, PASSWORD).page();
    assert!(!is_signed_in(&mut first));
    assert_eq!(second_step(&mut first, &asked, &used).status, 401);
    let good = code(&secret, 1);
    assert_eq!(second_step(&mut first, &asked, &good).status, 303);
    assert!(is_signed_in(&mut first));
    assert_eq!(second_step(&mut second, &asked_too, &good).status, 401);
    assert!(!is_signed_in(&mut second));
    assert_eq!(second_step(&mut second, &asked_too, codes[0]).status, 303);
    assert!(is_signed_in(&mut second));
    let mut third = fleet.person();
    let asked = third.sign_in(&username, PASSWORD).page();
    assert_eq!(second_step(&mut third, &asked, codes[0]).status, 401);
}
