//! Codes, on both databases.

use shared::secret::SecretKind;

use super::*;
use crate::db::session::SessionRow;
use crate::db::tests::{NOW, Places, disable_user};
use crate::token::refresh_token;
use crate::token::testing::{
    House, NODE, REDIRECT, VERIFIER, all, by_place, code_of, with_code, with_refresh_token,
};

const SECOND: std::time::Duration = std::time::Duration::from_secs(1);

async fn exchange(house: &House, code: &Secret) -> Result<Permit, Failure> {
    decide(&house.app, &house.client, &with_code(code), NOW).await
}

fn family_of(permit: &Permit) -> String {
    permit.lineage.as_ref().unwrap().family_id.clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_gives_what_was_granted_once() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let code = house.code("a b offline_access", None).await;
        let permit = exchange(&house, &code).await.unwrap();
        assert_eq!(
            (permit.subject.as_str(), permit.scope.to_string().as_str()),
            ("u_1", "a b")
        );
        let lineage = permit.lineage.as_ref().unwrap();
        assert_eq!(
            (
                lineage.nonce.as_deref(),
                lineage.methods.as_str(),
                lineage.auth_time.0
            ),
            (Some("n"), "pwd otp", NOW.0 - 5)
        );
        assert!(
            lineage
                .refresh_token
                .as_ref()
                .unwrap()
                .reveal()
                .starts_with("ehr_")
        );
        assert!(!house.is_taken_back(&lineage.family_id).await);
        // A second valid use ends what came of the first (CODE-01).
        assert_eq!(code_of(exchange(&house, &code).await), ErrorCode::InvalidGrant);
        assert!(house.is_taken_back(&lineage.family_id).await);
        let refresh = with_refresh_token(lineage.refresh_token.as_ref().unwrap());
        let refreshed = refresh_token::decide(&house.app, &house.client, &refresh, NOW).await;
        assert_eq!(code_of(refreshed), ErrorCode::InvalidGrant);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_sixteen_who_race_one_wins_and_the_race_ends_what_it_won() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let code = house.code("a", None).await;
        let mut won = Vec::new();
        for answer in all((0..16).map(|_| exchange(&house, &code))).await {
            match answer {
                Ok(permit) => won.push(permit),
                Err(_) => assert_eq!(code_of(answer), ErrorCode::InvalidGrant),
            }
        }
        assert_eq!(won.len(), 1, "{url}");
        assert!(house.is_taken_back(&family_of(&won[0])).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_request_changes_nothing() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let code = house.code("a b", None).await;
        let (app, right) = (&house.app, with_code(&code));
        let grant = |answer| assert_eq!(code_of::<Permit>(answer), ErrorCode::InvalidGrant);
        // CODE-03, before and after the owner used it.
        grant(decide(app, &house.other, &right, NOW).await);
        let verifier = |text: &str| TokenRequest {
            code_verifier: Some(Secret::from(text.to_owned())),
            ..with_code(&code)
        };
        for _ in 0..5 {
            grant(
                decide(
                    app,
                    &house.client,
                    &TokenRequest {
                        code_verifier: None,
                        ..with_code(&code)
                    },
                    NOW,
                )
                .await,
            );
            grant(decide(app, &house.client, &verifier(&VERIFIER[..42]), NOW).await);
        }
        let elsewhere = TokenRequest {
            redirect_uri: Some(format!("{REDIRECT}/")),
            ..with_code(&code)
        };
        grant(decide(app, &house.client, &elsewhere, NOW).await);
        let wider = TokenRequest {
            scope: Some("a b c".parse().unwrap()),
            ..with_code(&code)
        };
        assert_eq!(
            code_of(decide(app, &house.client, &wider, NOW).await),
            ErrorCode::InvalidScope
        );
        let other_node = TokenRequest {
            resource: Some("https://other/mcp".to_owned()),
            ..with_code(&code)
        };
        assert_eq!(
            code_of(decide(app, &house.client, &other_node, NOW).await),
            ErrorCode::InvalidTarget
        );
        let nothing = TokenRequest {
            code: None,
            ..with_code(&code)
        };
        assert_eq!(
            code_of(decide(app, &house.client, &nothing, NOW).await),
            ErrorCode::InvalidRequest
        );
        let narrow = TokenRequest {
            scope: Some("b".parse().unwrap()),
            resource: Some(NODE.to_owned()),
            redirect_uri: Some(REDIRECT.to_owned()),
            ..right
        };
        let permit = decide(app, &house.client, &narrow, NOW).await.unwrap();
        assert_eq!(permit.scope.to_string(), "b");
        // CODE-02: an invalid replay is nobody's but the attacker's.
        for _ in 0..4 {
            grant(decide(app, &house.client, &verifier(&"x".repeat(43)), NOW).await);
        }
        grant(decide(app, &house.other, &with_code(&code), NOW).await);
        assert!(!house.is_taken_back(&family_of(&permit)).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_survives_two_wrong_verifiers_and_not_three() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        for (wrong, survives) in [(2, true), (3, false)] {
            let code = house.code("a", None).await;
            let asked = TokenRequest {
                // The challenge itself: a server that took plain would accept it (PKCE-07).
                code_verifier: Some(Secret::from(
                    "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
                )),
                ..with_code(&code)
            };
            for _ in 0..wrong {
                let answer = decide(&house.app, &house.client, &asked, NOW).await;
                assert_eq!(code_of(answer), ErrorCode::InvalidGrant);
            }
            assert_eq!(exchange(&house, &code).await.is_ok(), survives);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ended_since_the_approval_gives_nothing() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let db = &house.app.db;
        let session = SessionRow {
            session_id: "s_1".to_owned(),
            user_id: "u_1".to_owned(),
            methods: "pwd".to_owned(),
            user_agent: String::new(),
            address: String::new(),
            authenticated_at: NOW.0,
            last_seen_at: NOW.0,
            expires_at: NOW.0 + 600,
        };
        let begun = db::session::begin(db, &SecretHash::of(b"cookie"), &session, None, None).await;
        assert!(begun.unwrap());
        let refused = async |code: &Secret, now| {
            let answer = decide(&house.app, &house.client, &with_code(code), now).await;
            assert_eq!(code_of(answer), ErrorCode::InvalidGrant);
        };
        let code = house.code("a", Some("s_1")).await;
        exchange(&house, &code).await.unwrap();
        // CODE-14: the session.
        let code = house.code("a", Some("s_1")).await;
        db::session::end_one(db, "u_1", "s_1", NOW).await.unwrap();
        refused(&code, NOW).await;
        // CODE-05: time.
        let code = house.code("a", None).await;
        refused(&code, NOW + 60 * SECOND).await;
        decide(&house.app, &house.client, &with_code(&code), NOW + 59 * SECOND)
            .await
            .unwrap();
        // The grant, revoked by the person.
        let code = house.code("a", None).await;
        let revoked = db.write(async |tx| db::access_grant::revoke(tx, &house.grant_id, "u_1", NOW).await);
        assert!(revoked.await.unwrap());
        refused(&code, NOW).await;
        // The person.
        let house = house.with_grant(house.approve("g_2", "a", None).await);
        let code = house.code("a", None).await;
        disable_user(&house.app.db, "u_1").await;
        let answer = exchange(&house, &code).await;
        assert_eq!(code_of(answer), ErrorCode::InvalidGrant);
    }
}

#[test]
fn verifiers_are_of_the_grammar() {
    let is = |text: &str| is_well_formed(&Secret::from(text.to_owned()));
    assert!(is(VERIFIER) && is(&"~".repeat(128)));
    for bad in [
        "x".repeat(42),
        "x".repeat(129),
        format!("{}=", "x".repeat(43)),
        format!("{}ä", "x".repeat(43)),
    ] {
        assert!(!is(&bad), "{bad}");
    }
}

/// What Postgres does in one statement, and SQLite not at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_redeemed_at_once_or_nothing_happens() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let app = &house.app;
        let scopes: Scope = "a b".parse().unwrap();
        let place = Place {
            list_id: "l_x".into(),
            index: 7,
        };
        let new = NewFamily {
            place: &place,
            authorization_details: None,
            grant_id: &house.grant_id,
            client: house.client.client(),
            user_id: "u_1",
            resource: NODE,
            scopes: &scopes,
            auth_time: NOW,
            methods: "pwd",
            nonce: None,
            confirmation: None,
        };
        let refresh = Secret::generate(SecretKind::RefreshToken).unwrap();
        let at_once = async |code: &Secret, new: &NewFamily<'_>, now| {
            let family_id = family::new_id().unwrap();
            let ids = (family_id.as_str(), Some(&refresh));
            family::open_at_once(app, &code.hash(), new, ids, now)
                .await
                .unwrap()
        };
        let code = house.code("a b", None).await;
        let of_another = |grant_id| NewFamily { grant_id, ..new };
        // Nothing of these uses the code up.
        assert_eq!(at_once(&code, &of_another("g_other"), NOW).await, None);
        assert_eq!(
            at_once(
                &code,
                &NewFamily {
                    user_id: "u_2",
                    ..new
                },
                NOW
            )
            .await,
            None
        );
        assert_eq!(at_once(&code, &new, NOW + 60 * SECOND).await, None);
        if matches!(app.db, db::Db::Lite(_)) {
            assert_eq!(at_once(&code, &new, NOW).await, None);
            exchange(&house, &code).await.unwrap();
            continue;
        }
        let ends = NOW + app.config.refresh_ttl;
        assert_eq!(at_once(&code, &new, NOW).await, Some(ends));
        assert_eq!(at_once(&code, &new, NOW).await, None);
        let refreshed = refresh_token::decide(app, &house.client, &with_refresh_token(&refresh), NOW).await;
        assert_eq!(refreshed.unwrap().lineage.unwrap().ends, ends);
        // A code with too many wrong verifiers, and one of a grant that was revoked.
        let code = house.code("a b", None).await;
        for _ in 0..MAX_FAILURES {
            db::authorization_code::count_failure(&app.db, &code.hash())
                .await
                .unwrap();
        }
        assert_eq!(at_once(&code, &new, NOW).await, None);
        let code = house.code("a b", None).await;
        let revoked = app
            .db
            .write(async |tx| db::access_grant::revoke(tx, &house.grant_id, "u_1", NOW).await);
        assert!(revoked.await.unwrap());
        assert_eq!(at_once(&code, &new, NOW).await, None);
    }
}

/// Whoever revokes a grant waits for a redemption under way, and ends what comes of it; or comes first.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_grant_that_is_revoked_meanwhile_nothing_lives_on() {
    let places = Places::new();
    for url in places.urls() {
        let mut house = House::new(&url, "").await;
        for round in 0..20 {
            if round > 0 {
                let grant_id = house.approve(&format!("g_r{round}"), "a b", None).await;
                house = house.with_grant(grant_id);
            }
            let code = house.code("a", None).await;
            let revoke = house
                .app
                .db
                .write(async |tx| db::access_grant::revoke(tx, &house.grant_id, "u_1", NOW).await);
            let (answer, revoked) = tokio::join!(exchange(&house, &code), revoke);
            assert!(revoked.unwrap());
            match answer {
                Ok(permit) => assert!(house.is_taken_back(&family_of(&permit)).await, "{url}"),
                Err(_) => assert_eq!(code_of(answer), ErrorCode::InvalidGrant),
            }
        }
    }
}

/// PKCE-10. What is compared early and what late must not show; that it would show is seen of a comparison that stops.
#[test]
fn pkce_10_a_wrong_challenge_takes_as_long_wherever_it_is_wrong() {
    const RIGHT: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let verifier = Secret::from(VERIFIER.to_owned());
    let (early, late) = (format!("x{}", &RIGHT[1..]), format!("{}x", &RIGHT[..42]));
    assert!(matches(&verifier, RIGHT));
    let ours = by_place(&|challenge| matches(&verifier, challenge), (&early, &late));
    assert!(!ours.is_more_than(0.02), "{ours:?}");
    let stops = |challenge: &str| RIGHT.bytes().zip(challenge.bytes()).all(|(a, b)| a == b);
    let other = by_place(&stops, (&early, &late));
    assert!(other.is_more_than(0.02), "{other:?}");
}
