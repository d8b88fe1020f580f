//! Refresh tokens, on both databases.

use super::*;
use crate::db::tests::{NOW, Places, disable_user};
use crate::token::testing::{House, NODE, all, code_of, with_refresh_token};

const SECOND: Duration = Duration::from_secs(1);
const DAY: Duration = Duration::from_secs(86_400);

async fn refresh(house: &House, token: &Secret, now: UnixSeconds) -> Result<Permit, Failure> {
    decide(&house.app, &house.client, &with_refresh_token(token), now).await
}

/// The next token of a family, and the family.
fn next(permit: Permit) -> (Secret, String) {
    let lineage = permit.lineage.unwrap();
    (lineage.refresh_token.unwrap(), lineage.family_id)
}

async fn is_refused(house: &House, token: &Secret, now: UnixSeconds) {
    assert_eq!(code_of(refresh(house, token, now).await), ErrorCode::InvalidGrant);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_who_race_all_get_the_same_successor() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let mut token = house.refresh_token().await;
        for _ in 0..3 {
            let answers = all((0..16).map(|_| refresh(&house, &token, NOW))).await;
            let mut successors: Vec<_> = answers
                .into_iter()
                .map(|answer| next(answer.unwrap()).0.reveal().to_owned())
                .collect();
            successors.dedup();
            assert_eq!(successors.len(), 1, "{url}");
            token = Secret::from(successors.remove(0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_ends_the_family() {
    let places = Places::new();
    for url in places.urls() {
        // After the window (RT-02).
        let house = House::new(&url, "refresh_retry_window = \"30s\"").await;
        let first = house.refresh_token().await;
        let (second, family_id) = next(refresh(&house, &first, NOW).await.unwrap());
        let (again, _) = next(refresh(&house, &first, NOW + 30 * SECOND).await.unwrap());
        assert_eq!(again.reveal(), second.reveal());
        assert!(!house.is_taken_back(&family_id).await);
        is_refused(&house, &first, NOW + 31 * SECOND).await;
        is_refused(&house, &second, NOW + 31 * SECOND).await;
        assert!(house.is_taken_back(&family_id).await);

        // Within it, once the successor was used (RT-06).
        let first = house.refresh_token().await;
        let (second, _) = next(refresh(&house, &first, NOW).await.unwrap());
        let (third, family_id) = next(refresh(&house, &second, NOW).await.unwrap());
        is_refused(&house, &first, NOW).await;
        is_refused(&house, &third, NOW).await;
        assert!(house.is_taken_back(&family_id).await);

        // A guess ends nothing (RT-16).
        let token = house.refresh_token().await;
        let guess = format!("{}x", &token.reveal()[..token.reveal().len() - 1]);
        is_refused(&house, &Secret::from(guess), NOW).await;
        refresh(&house, &token, NOW).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refresh_that_races_a_revocation_leaves_nothing_living() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        for round in 0..8 {
            let grant_id = house.approve(&format!("g_race_{round}"), "a b c", None).await;
            let house = house.with_grant(grant_id.clone());
            let shown = [
                house.refresh_token().await,
                house.refresh_token().await,
                house.refresh_token().await,
            ];
            let revoke = async {
                let db = &house.app.db;
                let revoked = db.write(async |tx| db::access_grant::revoke(tx, &grant_id, "u_1", NOW).await);
                assert!(revoked.await.unwrap());
            };
            let (answers, ()) =
                tokio::join!(all(shown.iter().map(|token| refresh(&house, token, NOW))), revoke);
            // After the revocation was answered, neither what was shown nor what came of it works (CON-08).
            for (token, answer) in shown.iter().zip(answers) {
                is_refused(&house, token, NOW).await;
                if let Ok(permit) = answer {
                    let (successor, family_id) = next(permit);
                    is_refused(&house, &successor, NOW).await;
                    assert!(house.is_taken_back(&family_id).await);
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_rotates_nothing() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "refresh_retry_window = \"0s\"").await;
        let first = house.refresh_token().await;
        let app = &house.app;
        let asked = || with_refresh_token(&first);
        let wider = TokenRequest {
            scope: Some("a b c".parse().unwrap()),
            ..asked()
        };
        assert_eq!(
            code_of(decide(app, &house.client, &wider, NOW).await),
            ErrorCode::InvalidScope
        );
        let other_node = TokenRequest {
            resource: Some("https://other/mcp".to_owned()),
            ..asked()
        };
        assert_eq!(
            code_of(decide(app, &house.client, &other_node, NOW).await),
            ErrorCode::InvalidTarget
        );
        assert_eq!(
            code_of(decide(app, &house.other, &asked(), NOW).await),
            ErrorCode::InvalidGrant
        );
        // A narrower access token, and the whole scope again the next time.
        let narrow = TokenRequest {
            scope: Some("b".parse().unwrap()),
            resource: Some(NODE.to_owned()),
            ..asked()
        };
        let permit = decide(app, &house.client, &narrow, NOW).await.unwrap();
        assert_eq!(permit.scope.to_string(), "b");
        let permit = refresh(&house, &next(permit).0, NOW).await.unwrap();
        assert_eq!(permit.scope.to_string(), "a b");
        assert!(
            permit
                .lineage
                .as_ref()
                .is_some_and(|lineage| lineage.nonce.is_none())
        );
        // Without a window there is no second time, not even in the same second.
        is_refused(&house, &first, NOW).await;
        is_refused(&house, &next(permit).0, NOW).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_ends_when_idle_and_when_old_and_rotation_moves_only_the_first() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "refresh_ttl = \"30d\"\nrefresh_idle = \"14d\"").await;
        let idle = house.refresh_token().await;
        is_refused(&house, &idle, NOW + 14 * DAY).await;
        // Nobody replayed anything: it is still good for a second less.
        let (second, _) = next(refresh(&house, &idle, NOW + 14 * DAY - SECOND).await.unwrap());
        let (third, _) = next(refresh(&house, &second, NOW + 27 * DAY).await.unwrap());
        let permit = refresh(&house, &third, NOW + 30 * DAY - SECOND).await.unwrap();
        // The access token that is left is short.
        assert_eq!(
            super::super::end_of(&permit, &Default::default(), NOW + 30 * DAY - SECOND),
            NOW + 30 * DAY
        );
        is_refused(&house, &next(permit).0, NOW + 30 * DAY).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_grant_loses_is_lost_at_the_next_use() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let token = house.refresh_token().await;
        // Narrowed, and given an end.
        house.approve("g_1", "a", Some(NOW.0 + 100)).await;
        let permit = refresh(&house, &token, NOW).await.unwrap();
        assert_eq!(permit.scope.to_string(), "a");
        assert_eq!(
            super::super::end_of(&permit, &Default::default(), NOW),
            NOW + 100 * SECOND
        );
        let (token, _) = next(permit);
        is_refused(&house, &token, NOW + 100 * SECOND).await;
        house.approve("g_1", "a b", None).await;
        let (token, _) = next(refresh(&house, &token, NOW).await.unwrap());
        disable_user(&house.app.db, "u_1").await;
        is_refused(&house, &token, NOW).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_of_a_person_or_a_client_ends_at_once() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let db = &house.app.db;
        let permit = refresh(&house, &house.refresh_token().await, NOW).await.unwrap();
        let (token, family_id) = next(permit);
        let listed = db::access_grant::list_of_user(db, "u_1").await.unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(
            (listed[0].client_name.as_str(), listed[0].last_used_at),
            ("x", Some(NOW.0))
        );
        let ended = db.write(async |tx| db::access_grant::revoke_all_of_user(tx, "u_1", NOW).await);
        assert_eq!(ended.await.unwrap(), 1);
        is_refused(&house, &token, NOW).await;
        assert!(house.is_taken_back(&family_id).await);
        assert!(
            db::access_grant::list_of_user(db, "u_1")
                .await
                .unwrap()
                .is_empty()
        );

        let house = house.with_grant(house.approve("g_2", "a b", None).await);
        let permit = refresh(&house, &house.refresh_token().await, NOW).await.unwrap();
        let (token, family_id) = next(permit);
        assert!(db::client::revoke(db, "c_x", NOW).await.unwrap());
        is_refused(&house, &token, NOW).await;
        assert!(house.is_taken_back(&family_id).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_a_replay_outlives_every_clean_up_of_its_family() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let db = &house.app.db;
        let first = house.refresh_token().await;
        let (second, _) = next(refresh(&house, &first, NOW).await.unwrap());
        let forget = async |before| {
            db::authorization_code::forget(db, before).await.unwrap();
            db::refresh_token::forget(db, before).await.unwrap();
            db::token_family::forget(db, before).await.unwrap();
        };
        // RT-19: as late as the family's last second.
        forget(NOW + 30 * DAY).await;
        let late = NOW + 13 * DAY;
        is_refused(&house, &first, late).await;
        is_refused(&house, &second, late).await;
        forget(NOW + 30 * DAY + SECOND).await;
        let hash = first.hash();
        assert!(db::refresh_token::find(db, &hash, NOW).await.unwrap().is_none());
    }
}

#[test]
fn a_retry_is_soon_and_before_its_successor_was_used() {
    let row = |used| ReplacedRow {
        status_list: None,
        status_index: None,
        replaced_at: NOW.0,
        successor_sealed: Vec::new(),
        successor_replaced_at: used,
    };
    let window = 30 * SECOND;
    assert!(is_retry(&row(None), window, NOW));
    assert!(is_retry(&row(None), window, NOW + 30 * SECOND));
    // Another instance's clock is a little behind.
    assert!(is_retry(&row(None), window, NOW - SECOND));
    assert!(!is_retry(&row(None), window, NOW + 31 * SECOND));
    assert!(!is_retry(&row(Some(NOW.0)), window, NOW));
    assert!(!is_retry(&row(None), Duration::ZERO, NOW));
}

/// What is repeated for a lost answer must be refusable for as long as it lives.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_answer_does_not_outlive_its_list() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "refresh_retry_window = \"5m\"").await;
        let db = &house.app.db;
        // Tokens live for an hour, and NOW is on the hour: the list ends two hours from here.
        let late = NOW + SECOND * 3590;
        let first = house.refresh_token().await;
        let lost = refresh(&house, &first, late).await.unwrap();
        let again = refresh(&house, &first, late + 20 * SECOND).await.unwrap();
        assert_eq!(lost.place, again.place, "{url}");
        let ends = |permit: &Permit| permit.lineage.as_ref().unwrap().ends;
        assert_eq!(ends(&again), NOW + SECOND * 7200);
        assert!(ends(&lost) > NOW + DAY);

        // Of tokens that live for a minute, the list may have ended when the client comes again.
        let shorter = db.write(async |tx| {
            let (turn, mut row) = db::resource::hold(tx, NODE).await?.unwrap();
            row.access_ttl = 60;
            db::resource::amend(tx, (turn, &row), NOW).await
        });
        shorter.await.unwrap();
        house.app.catch_up().await.unwrap();
        let second = house.refresh_token().await;
        let at = NOW + SECOND * (3600 - 70);
        let lost = refresh(&house, &second, at).await.unwrap();
        let again = refresh(&house, &second, at + 100 * SECOND).await.unwrap();
        assert_ne!(lost.place, again.place, "{url}");
        let third = refresh(&house, &second, at + 101 * SECOND).await.unwrap();
        assert_eq!(again.place, third.place, "{url}");
        let place = again.place.clone().unwrap();
        let (_, family_id) = next(again);
        let end = async |tx: &mut Tx| {
            db::token_family::revoke(tx, Of::Family(&family_id), "test", at + 102 * SECOND).await
        };
        assert!(!db::status_list::is_set(db, place.stored()).await.unwrap());
        db.write(end).await.unwrap();
        assert!(db::status_list::is_set(db, place.stored()).await.unwrap());
    }
}
