//! UI-07: the mark that keeps a person's browser from being slowed down by strangers cannot be made by them.

use blackbox::fleet::Wishes;
use blackbox::person::{Cookie, Person};
use blackbox::{Db, Fleet, PASSWORD, both};

const LIMITS: &str = "\n[login]\nper_account = \"3/h\"\n[limits]\nper_ip = \"off\"\nper_client = \"off\"\nper_ip_failures = \"off\"\n";

fn try_password(person: &mut Person, username: &str, password: &str) -> u16 {
    let page = person.page("/login");
    let form = page.form("/login");
    let fields = [("username", username), ("password", password)];
    person.submit_once(&page, &form, &fields).1.status
}

both!(ui_07_an_anti_forgery_token_is_no_mark_of_a_known_browser);
fn ui_07_an_anti_forgery_token_is_no_mark_of_a_known_browser(db: Db) {
    let wishes = Wishes {
        server: Some(LIMITS.into()),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let username = fleet.fresh_name();
    let made = fleet.user(&username, PASSWORD, &[]);
    let user_id = made["user_id"].as_str().unwrap();
    let mut owner = fleet.person();
    assert_eq!(try_password(&mut owner, &username, PASSWORD), 303);
    let mut attacker = fleet.person();
    while try_password(&mut attacker, &username, "not the password of anyone") != 429 {}

    // A form's token authenticates the browser's cookies. Whoever sends what a mark consists of as those cookies must
    // not get a mark from the next page with a form.
    let (mark, end) = ("AAAAAAAAAAAAAAAAAAAAAA", "99999999999");
    for planted in [
        [
            ("eh_browser", format!("known {mark}.{end} {user_id}")),
            ("eh_session", String::new()),
        ],
        [
            ("eh_browser", format!("known {mark}")),
            ("eh_session", format!("{end} {user_id}")),
        ],
        [
            ("eh_browser", mark.to_owned()),
            ("eh_session", format!("{end} {user_id}")),
        ],
    ] {
        let mut eve = fleet.person();
        for (name, value) in planted.iter().filter(|(_, value)| !value.is_empty()) {
            eve.take(Cookie::read(&format!("{name}={value}")));
        }
        let page = eve.page("/login");
        let form = page.form("/login");
        let token = form.value("csrf").unwrap();
        eve.take(Cookie::read(&format!("eh_known={mark}.{end}.{token}")));
        let fields = [("username", username.as_str()), ("password", PASSWORD)];
        let answer = eve.submit_once(&page, &form, &fields).1;
        assert_eq!(answer.status, 429, "{planted:?}: {answer}");
    }
    // The owner's browser has a mark of ours.
    owner.forget("eh_session");
    assert_eq!(try_password(&mut owner, &username, PASSWORD), 303);
}
