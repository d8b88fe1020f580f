//! UI-08: the time of a refusal tells nobody who has an account.

use blackbox::fleet::Wishes;
use blackbox::{Db, Fleet, PASSWORD, both};
use xtask::fleet::UNLIMITED_SERVER;
use xtask::timing::{self, Way};

/// Each is a hash of a debug build, a tenth of a second.
const TURNS: usize = 40;
/// A difference that counts: a fiftieth of a hash.
const PART: f64 = 0.02;

both!(ui_08_a_refusal_takes_the_same_time_whoever_is_meant);
fn ui_08_a_refusal_takes_the_same_time_whoever_is_meant(db: Db) {
    let wishes = Wishes {
        server: Some(format!("{UNLIMITED_SERVER}\n[login]\nper_account = \"off\"\n")),
        ..Wishes::default()
    };
    let fleet = Fleet::start(db, &wishes);
    let (known, closed) = (fleet.person_account(), fleet.person_account());
    fleet.server.json(&["user", "disable", &closed]).unwrap();
    let linked = fleet.fresh_name();
    fleet
        .server
        .json(&["user", "create", "--username", &linked])
        .unwrap();
    let unknown = fleet.fresh_name();
    let wrong = "not the password of anyone";
    let cases = [
        (&known, wrong),
        (&unknown, wrong),
        (&closed, PASSWORD),
        // Whoever was made without a password and has not set one yet.
        (&linked, PASSWORD),
    ];
    let person = fleet.person();
    let mut ways: Vec<Way<'_>> = Vec::new();
    for (username, password) in cases {
        let mut person = person.clone();
        let csrf = person
            .page("/login")
            .form("/login")
            .value("csrf")
            .unwrap()
            .to_owned();
        ways.push(Box::new(move || {
            let fields = [
                ("csrf", csrf.as_str()),
                ("username", username),
                ("password", password),
            ];
            assert_eq!(person.post("/login", &fields).status, 401);
        }));
    }
    let found = timing::compare(TURNS, &mut ways);
    println!("{db:?}: {found:?}");
    for difference in &found {
        assert!(!difference.is_more_than(PART), "{found:?}");
    }
}
