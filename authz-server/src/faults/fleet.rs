//! The requests of nodes, and of the people who answer them.

use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::test::TestRequest;
use actix_web::web;
use serde_json::{Value, json};
use shared::clock;
use shared::fleet::enrolment::{self, Description};
use shared::jose::{Ed25519Key, sha256_base64url};
use shared::secret::{Secret, SecretHash};

use super::{Ask, Done, examine};
use crate::app::App;
use crate::browsing::{Browsing, account};
use crate::db;
use crate::db::approval::ApprovalRow;
use crate::fleet::invite::{self, Invite};

const ENROLLED: Done = Done(StatusCode::CREATED, "\"node_id\"");

/// What a new node sends.
async fn candidate(app: &App) -> Value {
    let (issuer, now) = (app.config.issuer.as_str(), clock::now());
    let wanted = Invite {
        ttl: Duration::from_secs(600),
        ..Invite::default()
    };
    let made = invite::prepare(&app.db, issuer, wanted, now).await.unwrap();
    app.db.write(async |tx| made.write(tx).await).await.unwrap();
    let (invite, key) = (Secret::from(made.shown.invite), Ed25519Key::generate().unwrap());
    let description = Description {
        resource: Some(format!("https://rs/{}/mcp", key.thumbprint())),
        ..Description::default()
    };
    let proof = enrolment::sign(&key, (issuer, &invite), &description, now).unwrap();
    json!({"invite": invite.reveal(), "jwk": key.public_jwk(), "proof": proof})
}

fn enrol(body: Value) -> impl Fn(&Browsing) -> TestRequest {
    move |_| TestRequest::post().uri("/fleet/enroll").set_json(&body)
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_13_an_enrolment() {
    examine(async |app: &web::Data<App>| Ask {
        request: Box::new(enrol(candidate(app).await)),
        browsing: Browsing::new(app),
        done: ENROLLED,
        // To the same node, the answer is given again.
        over: None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_13_the_directory() {
    examine(async |app: &web::Data<App>| Ask {
        request: Box::new(|_| TestRequest::get().uri("/fleet/nodes")),
        browsing: Browsing::new(app),
        done: Done(StatusCode::OK, "eyJ"),
        over: None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dur_13_an_answer_to_a_node() {
    examine(async |app: &web::Data<App>| {
        let user_id = account(app).await;
        let browsing = Browsing::signed_in(app, &user_id, 0).await;
        let request = enrol(candidate(app).await)(&browsing);
        let node = browsing.send(request).await.json();
        let row = ApprovalRow {
            approval_id: sha256_base64url(user_id.as_bytes())[..22].to_owned(),
            node_client: node["client_id"].as_str().unwrap().to_owned(),
            tool: "fs_delete".to_owned(),
            summary: "Deletes files".to_owned(),
            arguments: "{}".to_owned(),
            arguments_sha256: sha256_base64url(b"{}"),
            caller_iss: app.config.issuer.as_str().to_owned(),
            caller_sub: user_id.clone(),
            caller_client: "c_x".to_owned(),
            resource: node["resource"].as_str().unwrap().to_owned(),
            user_id: Some(user_id),
            created_at: 0,
            expires_at: clock::now().0 + 600,
            decision: None,
            decided_at: None,
            decided_by: None,
        };
        let poll = SecretHash::of(row.approval_id.as_bytes());
        let asked = db::approval::insert(&app.db, &row, &poll, 1).await;
        assert_eq!(asked.unwrap(), db::approval::Asked::Open);
        let path = format!("/approve/{}", row.approval_id);
        Ask {
            request: Box::new(move |browsing| {
                let fields = [("decision", "approve".to_owned()), ("csrf", browsing.csrf())];
                TestRequest::post().uri(&path).set_form(fields)
            }),
            browsing,
            done: Done(StatusCode::OK, "fs_delete"),
            over: Some(Done(StatusCode::BAD_REQUEST, "invalid_request")),
        }
    })
    .await;
}
