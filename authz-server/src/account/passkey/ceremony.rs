//! A ceremony: what the server keeps between the options that it sends and the credential that comes back. It is
//! bound to one browser and over after one answer, whatever that is.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shared::clock::UnixSeconds;
use shared::oauth_error::OAuthError;
use shared::secret::random_bytes;
use webauthn_rs::prelude::{DiscoverableAuthentication, PasskeyRegistration, Webauthn};

use super::{document, internal, refusal};
use crate::account::Browser;
use crate::app::App;
use crate::db;
use crate::db::interaction::InteractionRow;
use crate::error::Failure;

/// Time for the person and their device.
pub(super) const LIFE: Duration = Duration::from_secs(300);
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
    /// The credential that the browser made or showed.
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

/// Opens a ceremony and tells the script its options.
pub(super) async fn open(
    app: &App,
    browser: &Browser,
    (ceremony, options): (&Ceremony, Value),
    now: UnixSeconds,
) -> Result<HttpResponse, Failure> {
    let row = InteractionRow {
        interaction_id: URL_SAFE_NO_PAD.encode(random_bytes::<16>()?),
        kind: KIND.to_owned(),
        content: serde_json::to_string(ceremony).map_err(internal)?,
        started_at: now.0,
    };
    db::interaction::open(&app.db, &row, &browser.hash(), now + LIFE).await?;
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
