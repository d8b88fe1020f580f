//! What becomes of documents in the database, on both of them.

use shared::secret::SecretHash;

use super::*;
use crate::db::access_grant;
use crate::db::authorization_code;
use crate::db::client_document::{Impact, write};
use crate::db::device_authorization::{self, Decider, DeviceRow};
use crate::db::session::{self, SessionRow};
use crate::db::tests::{NOW, Places};
use crate::token::testing::{House, NODE};

/// An address of which nothing is ever fetched.
const ID: &str = "https://10.0.0.1/client";
const HOUR: i64 = 3600;

/// A client of this name, and its document as it was fetched at `fetched_at`, good for an hour.
fn rows(name: &str, fetched_at: i64) -> (ClientRow, DocumentRow) {
    let content =
        format!(r#"{{"client_id":"{ID}","client_name":"{name}","redirect_uris":["http://127.0.0.1/cb"]}}"#);
    let grantable = "a b".parse().unwrap();
    let row = content::read(ID, content.as_bytes(), &grantable, NOW).unwrap();
    let document = DocumentRow {
        client_id: ID.to_owned(),
        content,
        is_pinned: false,
        fetched_at,
        fresh_until: fetched_at + HOUR,
    };
    (row, document)
}

#[tokio::test(flavor = "multi_thread")]
async fn cimd_a_document_that_cannot_be_had_is_not_asked_for_by_every_request() {
    let places = Places::new();
    for (url, (age, serves)) in places
        .urls()
        .into_iter()
        .zip([(25 * HOUR, false), (2 * HOUR, true)])
    {
        let app = House::new(&url, "").await.app;
        let (row, document) = rows("A", NOW.0 - age);
        assert!(
            write(&app.db, (&row, &document), content::impact, NOW)
                .await
                .unwrap()
        );
        let serves_at = async |now| current(&app, ID, now).await.unwrap().is_some();
        assert_eq!(serves_at(NOW).await, serves, "{url}");
        let later = NOW + Duration::from_secs(59);
        assert_eq!(serves_at(later).await, serves, "{url}");
        // Had it been fetched again, the pause would have begun again.
        assert!(app.in_force().documents.is_pausing(ID, later));
        let over = NOW + Duration::from_secs(60);
        assert!(!app.in_force().documents.is_pausing(ID, over), "{url}");
        assert_eq!(serves_at(over).await, serves, "{url}");
        assert!(
            app.in_force().documents.is_pausing(ID, over),
            "it was fetched: {url}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn cimd_the_document_of_a_revoked_client_is_not_asked_for() {
    let places = Places::new();
    let [url, _] = places.urls();
    let app = House::new(&url, "").await.app;
    let (row, document) = rows("A", NOW.0 - 2 * HOUR);
    assert!(
        write(&app.db, (&row, &document), content::impact, NOW)
            .await
            .unwrap()
    );
    assert!(crate::db::client::revoke(&app.db, ID, NOW).await.unwrap());
    app.catch_up().await.unwrap();
    let found = current(&app, ID, NOW).await.unwrap().unwrap();
    assert!(found.is_revoked && !app.in_force().documents.is_pausing(ID, NOW));
}

#[tokio::test(flavor = "multi_thread")]
async fn cimd_a_fetch_does_not_undo_a_pin_that_came_meanwhile() {
    let places = Places::new();
    for url in places.urls() {
        let db = House::new(&url, "").await.app.db.clone();
        let put = async |name: &str, is_pinned| {
            let (row, document) = rows(name, NOW.0);
            let document = DocumentRow {
                is_pinned,
                ..document
            };
            let is_written = write(&db, (&row, &document), content::impact, NOW).await.unwrap();
            let row = crate::db::client::find(&db, ID).await.unwrap().unwrap();
            let document = client_document::find(&db, ID).await.unwrap().unwrap();
            assert!(document.content.contains(&format!(r#""{}""#, row.name)), "{url}");
            (is_written, row.name, document.is_pinned)
        };
        let is = |is_written, name: &str, is_pinned| (is_written, name.to_owned(), is_pinned);
        assert_eq!(put("Fetched", false).await, is(true, "Fetched", false), "{url}");
        assert_eq!(put("Newer", false).await, is(true, "Newer", false), "{url}");
        assert_eq!(put("Pinned", true).await, is(true, "Pinned", true), "{url}");
        assert_eq!(put("Late", false).await, is(false, "Pinned", true), "{url}");
        assert_eq!(put("Again", true).await, is(true, "Again", true), "{url}");
        assert!(
            db.write(async |tx| client_document::unpin(tx, ID, NOW).await)
                .await
                .unwrap()
        );
        assert_eq!(put("Free", false).await, is(true, "Free", false), "{url}");
    }
}

/// Lets a device of the house's client in, under its grant, and returns its code.
async fn let_in(house: &House) -> SecretHash {
    let db = &house.app.db;
    let row = SessionRow {
        session_id: "s_1".to_owned(),
        user_id: "u_1".to_owned(),
        methods: "pwd".to_owned(),
        user_agent: String::new(),
        address: "192.0.2.1".to_owned(),
        authenticated_at: NOW.0,
        last_seen_at: NOW.0,
        expires_at: NOW.0 + HOUR,
    };
    let cookie = SecretHash::of(b"cookie");
    assert!(session::begin(db, &cookie, &row, None, None).await.unwrap());
    let row = DeviceRow {
        authorization_details: None,
        user_code: "BBBBBBBB".to_owned(),
        client_id: "c_x".to_owned(),
        resource: NODE.to_owned(),
        scopes: "a".to_owned(),
        address: "192.0.2.1".to_owned(),
        user_agent: String::new(),
        is_proven: true,
        created_at: NOW.0,
        expires_at: NOW.0 + HOUR,
    };
    let code = SecretHash::of(b"device");
    assert!(device_authorization::insert(db, &code, &row, 5).await.unwrap());
    let decider = Decider {
        user_id: "u_1",
        session_id: "s_1",
        auth_time: NOW,
        methods: "pwd",
    };
    let decided = db.write(async |tx| {
        device_authorization::set_grant(tx, "BBBBBBBB", &house.grant_id).await?;
        device_authorization::decide(tx, "BBBBBBBB", true, &decider, NOW).await
    });
    assert!(decided.await.unwrap());
    code
}

#[tokio::test(flavor = "multi_thread")]
async fn cimd_change_of_keys_ends_codes_and_devices_that_wait() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let db = &house.app.db;
        let code = house.code("a", None).await.hash();
        let device = let_in(&house).await;
        let row = crate::db::client::find(db, "c_x").await.unwrap().unwrap();
        let document = DocumentRow {
            client_id: row.client_id.clone(),
            ..rows("A", NOW.0).1
        };
        for (impact, stands) in [(Impact::AskAgain, true), (Impact::Ends, false)] {
            assert!(write(db, (&row, &document), |_, _| impact, NOW).await.unwrap());
            let found = authorization_code::find(db, &code, NOW).await.unwrap();
            assert_eq!(found.unwrap().stands, stands, "{url}");
            let found = device_authorization::find(db, &device, NOW)
                .await
                .unwrap()
                .unwrap();
            assert_eq!(
                (found.state.as_str(), found.stands),
                ("approved", stands),
                "{url}"
            );
            // Both are redeemed under this lock, if at all.
            let lock = db.write(async |tx| access_grant::lock(tx, &house.grant_id, NOW).await);
            assert_eq!(lock.await.unwrap(), stands, "{url}");
        }
    }
}
