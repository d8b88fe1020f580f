//! The chain, on both databases: what is written, what is not, and what `verify` finds.

use std::time::Duration;

use shared::oauth_error::ErrorCode;

use super::verify::Verified;
use super::*;
use crate::db::audit_event::{after, append};
use crate::db::tests::{NOW, Places, run as sql};
use crate::db::{Db, DbFault};
use crate::token::testing::{House, all, code_of, redeemed};

async fn open(url: &str) -> Db {
    Db::open(url, &"https://as.example".parse().unwrap(), NOW)
        .await
        .unwrap()
}

async fn disabled(db: &Db, user_id: &str) {
    let event = Event::of_operator(Name::UserDisabled, Target::User(user_id));
    db.write(async |tx| append(tx, &event, NOW).await).await.unwrap();
}

async fn rows(db: &Db) -> Vec<EventRow> {
    after(db, (0, i64::MAX), 1000).await.unwrap()
}

async fn damage(db: &Db) -> String {
    verify(db).await.unwrap_err().to_string()
}

#[test]
fn a_row_is_bound_to_every_word_of_it_and_to_the_row_before() {
    let head = Head {
        sequence: 2,
        hash: "before".to_owned(),
    };
    let event = Event::of_replay(
        Name::RefreshTokenReplayed,
        ("c_1", "u_1", "f_1"),
        Some("203.0.113.7".parse().unwrap()),
        "why",
    );
    let row = link(&event, &head, NOW);
    let expected = concat!(
        r#"{"actor":"c_1","actor_type":"client","details":{},"event":"refresh_token_replayed","#,
        r#""occurred_at":1800000000,"on_behalf_of":"u_1","outcome":"refused","previous_hash":"before","#,
        r#""reason":"why","sequence":2,"source":"203.0.113.7","target":"f_1","target_type":"token_family"}"#
    );
    assert_eq!(row.hash, sha256_base64url(expected.as_bytes()));
    let last = format!(r#","hash":"{}","occurred_at""#, row.hash);
    assert_eq!(line(&row), expected.replacen(r#","occurred_at""#, &last, 1));
    let changes: [fn(&mut EventRow); 13] = [
        |row| row.sequence += 1,
        |row| row.occurred_at += 1,
        |row| row.event.push('x'),
        |row| row.actor_type.push('x'),
        |row| row.actor = None,
        |row| row.on_behalf_of = None,
        |row| row.target_type.push('x'),
        |row| row.target.push('x'),
        |row| row.source = None,
        |row| row.outcome.push('x'),
        |row| row.reason = Some(String::new()),
        |row| row.details = "{ }".to_owned(),
        |row| row.previous_hash.clear(),
    ];
    for change in changes {
        let mut changed = row.clone();
        change(&mut changed);
        assert_ne!(digest(&changed), row.hash, "{changed:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_who_race_make_one_unbroken_chain() {
    let places = Places::new();
    for url in places.urls() {
        let one = open(&url).await;
        let other = open(&url).await;
        let names: Vec<_> = (0..16).map(|n| format!("u_{n}")).collect();
        let writers = names.iter().enumerate();
        all(writers.map(|(n, name)| disabled(if n % 2 == 0 { &one } else { &other }, name))).await;
        let verified = verify(&one).await.unwrap();
        assert_eq!(verified.events, 16, "{url}");
        let rows = rows(&other).await;
        let mut targets: Vec<_> = rows.iter().map(|row| row.target.clone()).collect();
        targets.sort();
        let mut names = names;
        names.sort();
        assert_eq!(targets, names);
        assert_eq!(verified.head, rows[15].hash);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_rolled_back_was_never_told() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url).await;
        let empty = Verified {
            events: 0,
            first: 1,
            head: String::new(),
        };
        assert_eq!(verify(&db).await.unwrap(), empty);
        let failed: Result<(), _> = db
            .write(async |tx| {
                let event = Event::of_operator(Name::UserDisabled, Target::User("u_1"));
                append(tx, &event, NOW).await?;
                Err(DbFault::Unexpected("on purpose".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(rows(&db).await, []);
        assert_eq!(verify(&db).await.unwrap(), empty);
        disabled(&db, "u_1").await;
        assert_eq!(verify(&db).await.unwrap().events, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_verified_part_by_part() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url).await;
        for n in 0..5 {
            disabled(&db, &format!("u_{n}")).await;
        }
        let mut parts = Vec::new();
        let mut after = 0;
        loop {
            let part = verify_part(&db, after, 2).await.unwrap();
            parts.push((part.verified.first, part.verified.events));
            match part.continues_after {
                Some(row) => after = row,
                None => break assert_eq!(part.verified.head, verify(&db).await.unwrap().head),
            }
        }
        assert_eq!(parts, [(1, 2), (3, 2), (5, 1)], "{url}");
        // Where the log has ended meanwhile there is nothing to check but its end.
        assert_eq!(verify_part(&db, 99, 2).await.unwrap().verified.events, 0);
        // Damage is found in its own part, and a row that another part follows is not taken on trust twice.
        sql(&db, "UPDATE audit_event SET reason = 'x' WHERE sequence = 4").await;
        assert!(verify_part(&db, 0, 2).await.is_ok());
        let fault = verify_part(&db, 2, 2).await.unwrap_err().to_string();
        assert!(fault.contains("row 4 is not"), "{fault}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_finds_what_was_done_to_the_log_and_where() {
    let damages = [
        (
            "UPDATE audit_event SET actor = 'u_9' WHERE sequence = 3",
            "row 3 is not what was written",
        ),
        (
            "UPDATE audit_event SET occurred_at = 0 WHERE sequence = 1",
            "row 1 is not what was written",
        ),
        (
            "UPDATE audit_event SET details = '{ }' WHERE sequence = 2",
            "row 2 is not what was written",
        ),
        ("DELETE FROM audit_event WHERE sequence = 1", "row 1 is missing"),
        ("DELETE FROM audit_event WHERE sequence = 3", "row 3 is missing"),
        ("DELETE FROM audit_event WHERE sequence >= 4", "row 4 is missing"),
        ("DELETE FROM audit_event", "row 1 is missing"),
        (
            "UPDATE audit_event SET sequence = 9 WHERE sequence = 2; \
             UPDATE audit_event SET sequence = 2 WHERE sequence = 3; \
             UPDATE audit_event SET sequence = 3 WHERE sequence = 9",
            "row 2 is not what was written",
        ),
        // Whoever also sets the head back has cut the end off, but for rows that were left beyond it.
        (
            "UPDATE audit_head SET sequence = 4",
            "its head is not the hash of row 4",
        ),
        (
            "UPDATE audit_head SET hash = 'x'",
            "its head is not the hash of row 5",
        ),
        (
            "UPDATE audit_head SET sequence = 4, hash = (SELECT hash FROM audit_event WHERE sequence = 4)",
            "row 5 is beyond its head",
        ),
        (
            "UPDATE audit_event SET sequence = 0 WHERE sequence = 1",
            "row 1 is missing",
        ),
        ("DELETE FROM audit_head", "it has no head"),
    ];
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url).await;
        for n in 1..=5 {
            disabled(&db, &format!("u_{n}")).await;
        }
        sql(&db, "CREATE TABLE kept AS SELECT * FROM audit_event").await;
        sql(&db, "CREATE TABLE kept_head AS SELECT * FROM audit_head").await;
        for (statements, found) in damages {
            sql(&db, statements).await;
            let sentence = damage(&db).await;
            assert!(sentence.ends_with(found), "{url}: {statements}: {sentence}");
            sql(
                &db,
                "DELETE FROM audit_event; DELETE FROM audit_head; \
                 INSERT INTO audit_event SELECT * FROM kept; INSERT INTO audit_head SELECT * FROM kept_head",
            )
            .await;
            assert_eq!(verify(&db).await.unwrap().events, 5, "{url}");
        }
    }
}

/// A forger who hashes a row anew must do so with all that follow.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_was_forged_with_its_hash_does_not_fit_the_next() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url).await;
        for n in 1..=3 {
            disabled(&db, &format!("u_{n}")).await;
        }
        let mut forged = rows(&db).await.remove(1);
        forged.target = "u_9".to_owned();
        let hash = digest(&forged);
        let forge = format!("UPDATE audit_event SET target = 'u_9', hash = '{hash}' WHERE sequence = 2");
        sql(&db, &forge).await;
        assert!(
            damage(&db)
                .await
                .ends_with("row 3 does not follow the row before it")
        );
    }
}

/// SQLite takes any value in any column.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_cannot_be_read_is_found() {
    let places = Places::new();
    let [url, _] = places.urls();
    let db = open(&url).await;
    for n in 1..=3 {
        disabled(&db, &format!("u_{n}")).await;
    }
    sql(
        &db,
        "UPDATE audit_event SET occurred_at = 'yesterday' WHERE sequence = 2",
    )
    .await;
    assert!(damage(&db).await.ends_with("row 2 is not what was written"));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_replays_one_is_told_and_a_retry_is_none() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "refresh_retry_window = \"30s\"").await;
        let first = house.refresh_token().await;
        house.refreshed(&first, NOW).await.unwrap();
        // An answer was lost, within the window.
        house.refreshed(&first, NOW).await.unwrap();
        let db = &house.app.db;
        assert_eq!(rows(db).await, [], "{url}");
        let family_id = house.family_of(&first).await;
        let late = UnixSeconds(NOW.0 + 31);
        for answer in all((0..16).map(|_| house.refreshed(&first, late))).await {
            assert_eq!(code_of(answer), ErrorCode::InvalidGrant);
        }
        let written = rows(db).await;
        assert_eq!(written.len(), 1, "{url}: {written:?}");
        let row = &written[0];
        assert_eq!(row.event, "refresh_token_replayed");
        assert_eq!((&*row.actor_type, row.actor.as_deref()), ("client", Some("c_x")));
        assert_eq!(row.on_behalf_of.as_deref(), Some("u_1"));
        assert_eq!((&*row.target_type, &*row.target), ("token_family", &*family_id));
        assert_eq!(row.occurred_at, late.0);
        assert!(!line(row).contains("ehr_"));

        let code = house.code("a", None).await;
        redeemed(&house, &code).await.unwrap();
        assert_eq!(rows(db).await.len(), 1);
        for answer in all((0..16).map(|_| redeemed(&house, &code))).await {
            assert_eq!(code_of(answer), ErrorCode::InvalidGrant);
        }
        let written = rows(db).await;
        assert_eq!(written.len(), 2, "{url}: {written:?}");
        assert_eq!(written[1].event, "authorization_code_replayed");
        assert_eq!(written[1].actor.as_deref(), Some("c_x"));
        assert_eq!(written[1].on_behalf_of.as_deref(), Some("u_1"));
        assert_eq!(verify(db).await.unwrap().events, 2);
    }
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

async fn told_at(db: &Db, user_id: &str, now: UnixSeconds) {
    let event = Event::of_operator(Name::UserDisabled, Target::User(user_id));
    db.write(async |tx| append(tx, &event, now).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_and_the_chain_can_still_be_checked() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url).await;
        // The third is of an instance whose clock is ahead.
        for (n, day) in [(1, 0), (2, 1), (3, 5), (4, 2), (5, 20)] {
            told_at(&db, &format!("u_{n}"), NOW + DAY * day).await;
        }
        let retention = DAY * 10;
        // Nothing is old enough, then only since today.
        for day in [9, 10] {
            prune(&db, retention, NOW + DAY * day).await.unwrap();
            assert_eq!(verify(&db).await.unwrap().events, 5, "{url}");
        }
        // Of two instances one removes them.
        let now = NOW + DAY * 21;
        let (one, other) = tokio::join!(prune(&db, retention, now), prune(&db, retention, now));
        one.unwrap();
        other.unwrap();
        let left = rows(&db).await;
        let names: Vec<_> = left.iter().map(|row| (row.sequence, &*row.event)).collect();
        assert_eq!(names, [(5, "user.disabled"), (6, "audit.pruned")], "{url}");
        let verified = verify(&db).await.unwrap();
        assert_eq!((verified.events, verified.first), (2, 5));
        assert_eq!(verified.head, left[1].hash);
        // Whoever removes more, or says that more was removed, is found.
        sql(&db, "CREATE TABLE kept AS SELECT * FROM audit_event").await;
        let forged = left[1].details.replace("\"removed_to\":4", "\"removed_to\":5");
        for (statement, found) in [
            ("DELETE FROM audit_event WHERE sequence = 5".to_owned(), "row 5 is missing"),
            (
                format!("UPDATE audit_event SET details = '{forged}' WHERE sequence = 6; DELETE FROM audit_event WHERE sequence = 5"),
                "row 6 is not what was written",
            ),
            ("DELETE FROM audit_event WHERE sequence = 6".to_owned(), "row 1 is missing"),
            (
                "INSERT INTO audit_event SELECT 2, occurred_at, event, actor_type, actor, on_behalf_of, target_type, target, \
                 source, outcome, reason, details, previous_hash, hash FROM kept WHERE sequence = 5"
                    .to_owned(),
                "row 2 is beyond its head",
            ),
        ] {
            sql(&db, &statement).await;
            let sentence = damage(&db).await;
            assert!(sentence.ends_with(found), "{url}: {statement}: {sentence}");
            sql(&db, "DELETE FROM audit_event; INSERT INTO audit_event SELECT * FROM kept").await;
        }
        // The log goes on, and what said so goes in its turn.
        told_at(&db, "u_6", NOW + DAY * 40).await;
        prune(&db, retention, NOW + DAY * 41).await.unwrap();
        let left = rows(&db).await;
        let names: Vec<_> = left.iter().map(|row| (row.sequence, &*row.event)).collect();
        assert_eq!(names, [(7, "user.disabled"), (8, "audit.pruned")], "{url}");
        assert_eq!(verify(&db).await.unwrap().first, 7);
    }
}

/// A quiet log is emptied too, but for its newest event.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_in_which_everything_is_old_keeps_its_newest() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url).await;
        prune(&db, DAY, NOW).await.unwrap();
        for n in 0..3 {
            told_at(&db, &format!("u_{n}"), NOW).await;
        }
        prune(&db, DAY, NOW + DAY * 30).await.unwrap();
        let sequences: Vec<_> = rows(&db).await.iter().map(|row| row.sequence).collect();
        assert_eq!(sequences, [3, 4], "{url}");
        assert_eq!(verify(&db).await.unwrap().events, 2);
    }
}
