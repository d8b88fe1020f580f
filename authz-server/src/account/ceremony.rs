//! A ceremony of WebAuthn between two requests: what our script sends, what is kept meanwhile, and what it is answered.

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::random_bytes;
use webauthn_rs::prelude::{DiscoverableAuthentication, PasskeyRegistration, Webauthn};

use super::gate::Stop;
use super::passkey::LIFE;
use super::{Browser, crowd};
use crate::app::App;
use crate::db;
use crate::db::interaction::InteractionRow;
use crate::error::{self, Failure};

/// Largest body. Attestation is not asked for, so a credential is small.
const MAX_BYTES: usize = 16 * 1024;
const KIND: &str = "passkey";

/// What an open ceremony needs to know.
#[derive(Serialize, Deserialize)]
pub(super) enum Ceremony {
    Adding {
        user_id: String,
        state: Box<PasskeyRegistration>,
    },
    SigningIn {
        /// The interaction that goes on afterwards.
        i: Option<String>,
        state: Box<DiscoverableAuthentication>,
    },
}

/// A request of our script.
pub(super) struct Asked<'a> {
    pub(super) party: &'a Webauthn,
    pub(super) browser: Browser,
    pub(super) body: Map<String, Value>,
}

impl Asked<'_> {
    pub(super) fn credential<T: DeserializeOwned>(&mut self) -> Result<T, OAuthError> {
        let value = self.body.remove("credential").unwrap_or_default();
        serde_json::from_value(value)
            .map_err(|fault| refusal("credential is missing or malformed").because(fault.to_string()))
    }
}

/// Reads the body of a request that our script sent from a page of this browser.
pub(super) async fn read<'a>(
    app: &'a App,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<Asked<'a>, Failure> {
    let bytes = ::web::body::read(request, body, MAX_BYTES).await?;
    let browser = Browser::of(app, request)?;
    let token = request
        .headers()
        .get("x-csrf-token")
        .and_then(|value| value.to_str().ok());
    if !browser.made(app, token.unwrap_or_default()) {
        return Err(Failure::Forbidden(
            "the request has no anti-forgery token of this browser",
        ));
    }
    let Some(party) = &app.passkeys else {
        return Err(refusal("there are no passkeys at this address").into());
    };
    let body = if bytes.is_empty() {
        Map::new()
    } else {
        shared::json::object(&bytes)
            .map_err(|fault| refusal("the body must be one JSON object").because(fault.to_string()))?
    };
    app.catch_up().await?;
    Ok(Asked { party, browser, body })
}

/// Opens a ceremony; the answer has what the browser's API wants, and the ceremony's id.
pub(super) async fn open(
    app: &App,
    (request, browser): (&HttpRequest, &Browser),
    (ceremony, options): (&Ceremony, Value),
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let row = InteractionRow {
        interaction_id: URL_SAFE_NO_PAD.encode(random_bytes::<16>()?),
        kind: KIND.to_owned(),
        content: serde_json::to_string(ceremony).map_err(internal)?,
        started_at: now.0,
    };
    crowd::open(app, request, (&row, browser), now + LIFE).await?;
    Ok(document(
        &json!({ "options": options, "ceremony": row.interaction_id }),
    ))
}

/// Ends the ceremony that a request names, whatever comes of it: nothing can be played again.
pub(super) async fn close(app: &App, asked: &mut Asked<'_>, now: UnixSeconds) -> Result<Ceremony, Failure> {
    let id = asked
        .body
        .get("ceremony")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let hash = asked.browser.hash();
    let over = || refusal("this ceremony is over, or another browser's");
    let found = db::interaction::find(&app.db, (id, KIND), &hash, now).await?;
    let row = found.ok_or_else(over)?;
    let is_first = app
        .db
        .write(async |tx| db::interaction::finish(tx, id, &hash, now).await)
        .await?;
    if !is_first {
        return Err(over().into());
    }
    serde_json::from_str(&row.content).map_err(internal)
}

/// The answer to our script. Who must sign in first is told so, and where.
pub(super) fn answered(app: &App, request: &HttpRequest, result: Result<HttpResponse, Stop>) -> HttpResponse {
    match result {
        Ok(answer) => answer,
        Err(Stop::Failed(failure)) => error::answer(app, request, failure),
        Err(Stop::Elsewhere(redirect)) => {
            let body = json!({
                "error": "login_required",
                "error_description": "sign in again to change how you sign in",
                "location": place(app, "/login"),
            });
            let mut answer = document(&body);
            *answer.status_mut() = StatusCode::UNAUTHORIZED;
            for cookie in redirect.cookies() {
                if answer.add_cookie(&cookie).is_err() {
                    tracing::error!("a cookie could not be written");
                }
            }
            answer
        }
    }
}

/// JSON that nobody may cache.
pub(super) fn document(body: &Value) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(body)
}

/// The path of a page of ours below the host.
pub(super) fn place(app: &App, path: &str) -> String {
    format!("{}{path}", app.config.issuer.path())
}

/// A request that makes no sense.
pub(super) fn refusal(sentence: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, sentence)
}

/// Trouble of our own.
pub(super) fn internal(fault: impl ToString) -> Failure {
    Failure::Internal(fault.to_string())
}
