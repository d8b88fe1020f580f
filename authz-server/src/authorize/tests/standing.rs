//! What must still stand when a person's yes is written, on both databases.

use std::sync::Arc;
use std::time::Duration;

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;

use super::steps::asked;
use crate::account::{SignedIn, User};
use crate::authorize::approval::{Approval, Lasts, approve};
use crate::authorize::code::{Approver, Basis, Outcome, issue};
use crate::authorize::device::{Waiting, write_down};
use crate::db;
use crate::db::device_authorization::{self, DeviceRow};
use crate::db::session::{self, SessionRow};
use crate::db::tests::{NOW, Places};
use crate::token::testing::{House, NODE};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// Somebody who was signed in when their request was looked at.
async fn signed_in(house: &House, session_id: &str) -> SignedIn {
    let row = SessionRow {
        session_id: session_id.to_owned(),
        user_id: "u_1".to_owned(),
        methods: "pwd".to_owned(),
        user_agent: String::new(),
        address: "192.0.2.1".to_owned(),
        authenticated_at: NOW.0,
        last_seen_at: NOW.0,
        expires_at: (NOW + DAY).0,
    };
    let cookie = SecretHash::of(session_id.as_bytes());
    let has_begun = session::begin(&house.app.db, &cookie, &row, None, None).await;
    assert!(has_begun.unwrap());
    SignedIn {
        session_id: row.session_id,
        user: User {
            user_id: row.user_id,
            username: "ada".to_owned(),
            display_name: "Ada".to_owned(),
            email: None,
            is_admin: false,
            is_disabled: false,
        },
        authenticated_at: NOW,
        methods: row.methods,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_yes_counts_in_a_session_that_stands() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let app = &house.app;
        let (ended, living) = (signed_in(&house, "s_1").await, signed_in(&house, "s_2").await);
        session::end_others(&app.db, "u_1", "s_2", NOW).await.unwrap();
        let said_yes = |person| {
            let basis = Basis::Approved {
                before: None,
                remember: false,
                lasts: Lasts::AsBefore,
            };
            (Approver::person(person), basis)
        };
        let late = issue(app, &asked("a"), said_yes(&ended), None, NOW).await;
        assert!(matches!(late.unwrap(), Outcome::Gone), "{url}");
        let in_time = issue(app, &asked("a"), said_yes(&living), None, NOW).await;
        assert!(matches!(in_time.unwrap(), Outcome::Code(_)), "{url}");

        let row = DeviceRow {
            authorization_details: None,
            user_code: "BBBBBBBB".to_owned(),
            client_id: "c_x".to_owned(),
            resource: NODE.to_owned(),
            scopes: "a".to_owned(),
            address: "192.0.2.1".to_owned(),
            user_agent: String::new(),
            created_at: NOW.0,
            expires_at: (NOW + HOUR).0,
            is_proven: false,
        };
        let device_code = SecretHash::of(b"device");
        assert!(
            device_authorization::insert(&app.db, &device_code, &row, 5)
                .await
                .unwrap()
        );
        let waiting = Waiting {
            details: None,
            row,
            client: Arc::clone(house.client.client()),
            resource: Arc::clone(app.resources().await.unwrap().find(NODE).unwrap()),
            scopes: "a".parse().unwrap(),
        };
        let state = async || {
            let found = device_authorization::find(&app.db, &device_code, NOW)
                .await
                .unwrap();
            found.unwrap().state
        };
        assert!(!write_down(app, &ended, &waiting, true, NOW).await.unwrap());
        assert_eq!(state().await, "pending", "{url}");
        assert!(write_down(app, &living, &waiting, true, NOW).await.unwrap());
        assert_eq!(state().await, "approved", "{url}");
    }
}

/// A grant of no end, from which a refresh token came, is approved once more: for a day. Whether that token lives
/// after an approval at `again`, and whether the grant is still the same.
async fn approved_again(url: &str, again: UnixSeconds) -> (bool, bool) {
    let house = House::new(url, "").await;
    let token = house.refresh_token().await;
    let scopes = "a".parse().unwrap();
    let yes = async |lasts, now| {
        let approval = Approval {
            user_id: "u_1",
            client_id: "c_x",
            resource: NODE,
            scopes: &scopes,
            remember: false,
            lasts,
        };
        let db = &house.app.db;
        db.write(async |tx| approve(tx, &approval, &format!("g_{now:?}"), now).await)
            .await
            .unwrap()
    };
    assert_eq!(yes(Lasts::For(DAY), NOW).await, house.grant_id);
    let grant_id = yes(Lasts::UntilRevoked, again).await;
    let found = db::refresh_token::find(&house.app.db, &token.hash(), again)
        .await
        .unwrap();
    (found.unwrap().stands, grant_id == house.grant_id)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_yes_revives_nothing_of_a_grant_that_has_expired() {
    let second = Duration::from_secs(1);
    for (again, is_the_same) in [(NOW + DAY, false), (NOW + (DAY - second), true)] {
        let places = Places::new();
        for url in places.urls() {
            assert_eq!(
                approved_again(&url, again).await,
                (is_the_same, is_the_same),
                "{url}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_grant_is_kept_as_long_as_anything_refers_to_it() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "refresh_ttl = \"1d\"\nrefresh_idle = \"1d\"").await;
        let db = &house.app.db;
        house.refresh_token().await;
        let is_kept = async |now: UnixSeconds| {
            // In the order of a clean-up.
            db::authorization_code::forget(db, now).await.unwrap();
            db::refresh_token::forget(db, now).await.unwrap();
            db::token_family::forget(db, now).await.unwrap();
            db::access_grant::forget(db, now).await.unwrap();
            db::access_grant::exists(db, &house.grant_id).await.unwrap()
        };
        let month = NOW + 30 * DAY;
        let revoked =
            db.write(async |tx| db::access_grant::revoke(tx, &house.grant_id, "u_1", NOW + HOUR).await);
        assert!(revoked.await.unwrap());
        assert!(is_kept(NOW + HOUR + HOUR).await, "{url}: its family is there");
        assert!(!is_kept(month).await, "{url}");
        let living = house.approve("g_3", "a", None).await;
        db::access_grant::forget(db, month).await.unwrap();
        assert!(
            db::access_grant::exists(db, &living).await.unwrap(),
            "{url}: it stands"
        );
    }
}
