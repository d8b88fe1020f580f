//! UI-07, UI-23: the second factor is asked for whichever way somebody signs in, and nobody uses up the tries of
//! somebody else.

use blackbox::answers::retry_after;
use blackbox::person::{Page, Person};
use blackbox::{Db, Fleet, PASSWORD, Place, both, near_and_far};

use super::account::{code, is_signed_in, second_step, send, shown_secret, signed_in};
use super::upstream::{elsewhere, is_in, is_out};

/// As long as no code is.
const WRONG: &str = "0000000";
/// Codes that one account may try in an hour, as one browser or as all that are not known.
const PER_ACCOUNT: usize = 20;

/// Sets a second factor up; returns the recovery codes.
pub(super) fn set_up(home: &mut Person) -> Vec<String> {
    let started = send(home, "/account/totp/start", &[]);
    assert_eq!(started.status, 200, "{started}");
    let secret = shown_secret(&started.text());
    let page = Page {
        url: home.at("/account/totp/start"),
        answer: started,
    };
    let form = page.form("/account/totp/confirm");
    let confirmed = home.submit_once(&page, &form, &[("code", &code(&secret, 0))]).1;
    assert_eq!(confirmed.status, 200, "{confirmed}");
    let shown = confirmed.text();
    let codes: Vec<String> = shown
        .split("<li><code>")
        .skip(1)
        .map(|rest| rest[..14].to_owned())
        .collect();
    assert_eq!(codes.len(), 10, "{shown}");
    codes
}

both!(ui_23_a_sign_in_elsewhere_is_one_factor_too);
fn ui_23_a_sign_in_elsewhere_is_one_factor_too(db: Db) {
    let elsewhere = elsewhere(db, "");
    let mut home = elsewhere.fleet.person();
    is_in(&elsewhere.sign_in(&mut home, "ada"), &home);
    let codes = set_up(&mut home);
    let mut person = elsewhere.fleet.person();
    let asked = elsewhere.sign_in(&mut person, "ada");
    is_out(&asked, &person, 200);
    let page = Page {
        url: person.at("/login/upstream/callback"),
        answer: asked,
    };
    is_out(&second_step(&mut person, &page, WRONG), &person, 401);
    is_in(&second_step(&mut person, &page, &codes[0]), &person);
    assert!(is_signed_in(&mut person));
    // Somebody who asked for none is let in at once.
    let mut other = elsewhere.fleet.person();
    is_in(&elsewhere.sign_in(&mut other, "bob"), &other);
}

both!(ui_07_a_stranger_with_the_password_uses_up_no_tries_of_its_owner);
fn ui_07_a_stranger_with_the_password_uses_up_no_tries_of_its_owner(db: Db) {
    let fleet = Fleet::shared(db);
    let username = fleet.person_account();
    let mut home = signed_in(&fleet, &username);
    let codes = set_up(&mut home);
    let ask = |person: &mut Person| {
        person.forget("eh_session");
        person.sign_in(&username, PASSWORD).page()
    };
    // Each right password lets a stranger try five codes; none of them makes the browser known.
    let mut tried = 0;
    let refused = loop {
        let mut stranger = fleet.person();
        let page = ask(&mut stranger);
        let mut answers = (0..5).map(|_| second_step(&mut stranger, &page, WRONG));
        if let Some(refused) = answers.find(|answer| answer.status == 429) {
            break refused;
        }
        tried += 5;
        assert!(tried <= PER_ACCOUNT, "codes are tried without end");
    };
    assert!(retry_after(&refused) > 0, "{refused}");
    let mut stranger = fleet.person();
    let page = ask(&mut stranger);
    assert_eq!(second_step(&mut stranger, &page, &codes[0]).status, 429);
    assert!(!is_signed_in(&mut stranger));
    // The browser in which the person signed in before has tries of its own.
    let page = ask(&mut home);
    assert_eq!(second_step(&mut home, &page, &codes[0]).status, 303);
    assert!(is_signed_in(&mut home));
}

near_and_far!(ui_19_an_operator_can_take_lost_factors_away);
fn ui_19_an_operator_can_take_lost_factors_away(place: Place) {
    let fleet = Fleet::shared(place);
    let username = fleet.person_account();
    set_up(&mut signed_in(&fleet, &username));
    // A new password alone is no way around the second factor.
    for (words, is_asked) in [(&[][..], true), (&["--reset-factors"], false)] {
        let line = [&["user", "set-password", &username], words].concat();
        let made = fleet.server.json(&line).unwrap();
        assert_eq!(made["has_second_factor"], is_asked, "{made}");
        let link = made["set_password_link"].as_str().unwrap();
        fleet.remember(link.rsplit('=').next().unwrap());
        let mut person = fleet.person();
        let page = person.page(link);
        let form = page.form("/login/link");
        let fields = [("password", PASSWORD), ("password_again", PASSWORD)];
        assert_eq!(person.submit_once(&page, &form, &fields).1.status, 303);
        let next = person.sign_in(&username, PASSWORD).page();
        assert_eq!(next.has_form("/login/second-factor"), is_asked, "{}", next.answer);
        assert_eq!(is_signed_in(&mut person), !is_asked);
    }
}

both!(ui_19_a_link_for_another_password_works_for_a_quarter_of_an_hour);
fn ui_19_a_link_for_another_password_works_for_a_quarter_of_an_hour(db: Db) {
    let fleet = Fleet::shared(db);
    let name = fleet.person_account();
    let minutes = |words: &[&str]| {
        let made = fleet.server.json(words).unwrap();
        (made["link_expires_at"].as_i64().unwrap() - blackbox::forge::now()) / 60
    };
    assert!((14..=15).contains(&minutes(&["user", "set-password", &name])));
    // Whoever has none yet gets it passed on, perhaps tomorrow.
    let newcomer = format!("{name}new");
    assert!(minutes(&["user", "create", "--username", &newcomer]) > 23 * 60);
}
