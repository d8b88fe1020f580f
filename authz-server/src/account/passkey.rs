//! Passkeys (WebAuthn): adding one to an account, and signing in with one instead of a password.
//!
//! The device checks the person (user verification is required), so a passkey is two factors at once. Nobody types a
//! username: the passkey says whose it is. What a ceremony needs to know stays here, in an interaction of this browser
//! that can be finished once.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use url::Url;
use webauthn_rs::prelude::{
    DiscoverableAuthentication, Passkey, PublicKeyCredential, RegisterPublicKeyCredential, Uuid, Webauthn,
    WebauthnBuilder,
};

use super::ceremony::{Ceremony, answered, close, document, internal, open, place, read, refusal};
use super::gate::{Stop, is_recent, sign_in_again};
use super::page::{self, Notice};
use super::sign_in::after_sign_in;
use super::{Browser, SignedIn, begin, find, known};
use crate::app::App;
use crate::config::Config;
use crate::db;
use crate::db::passkey::PasskeyRow;
use crate::error::Failure;

/// Time for the person and their device.
pub(super) const LIFE: Duration = Duration::from_secs(300);
/// Passkeys of one person.
const MAX_PASSKEYS: usize = 20;
/// Longest name of a passkey, in characters.
const MAX_NAME: usize = 60;

/// The relying party of this issuer. `None` where passkeys are switched off, or cannot work: they belong to a domain,
/// never to an IP address (WebAuthn §5.1.2).
pub(crate) fn relying_party(config: &Config) -> Option<Webauthn> {
    if !config.login.passkeys {
        return None;
    }
    let issuer = config.issuer.url();
    let Some(domain) = issuer.domain() else {
        tracing::warn!(issuer = %config.issuer, "no passkeys: they need an issuer with a domain name, not an IP address");
        return None;
    };
    let origin = Url::parse(&issuer.origin().ascii_serialization()).ok()?;
    let built = WebauthnBuilder::new(domain, &origin)
        .and_then(|builder| builder.rp_name("Edge Hive").timeout(LIFE).build());
    match built {
        Ok(party) => Some(party),
        Err(reason) => {
            tracing::error!(%reason, "no passkeys: the issuer cannot be a relying party");
            None
        }
    }
}

/// `POST /account/passkeys/start`.
pub(crate) async fn start_adding(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = offer_to_add(&app, &request, body).await;
    answered(&app, &request, result)
}

/// `POST /account/passkeys/finish`.
pub(crate) async fn finish_adding(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = add(&app, &request, body).await;
    answered(&app, &request, result)
}

/// `POST /login/passkey/start`.
pub(crate) async fn start_sign_in(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = offer_to_sign_in(&app, &request, body).await;
    answered(&app, &request, result.map_err(Stop::Failed))
}

/// `POST /login/passkey/finish`.
pub(crate) async fn finish_sign_in(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = sign_in(&app, &request, body).await;
    answered(&app, &request, result.map_err(Stop::Failed))
}

async fn offer_to_add(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let asked = read(app, request, body).await?;
    let person = owner(app, &asked.browser, now).await?;
    let user = &person.user;
    let known = db::passkey::of_user(&app.db, &user.user_id).await?;
    if known.len() >= MAX_PASSKEYS {
        return Err(refusal("there are too many passkeys already").into());
    }
    let known: Vec<_> = known
        .iter()
        .filter_map(|row| URL_SAFE_NO_PAD.decode(&row.credential_id).ok())
        .collect();
    let (options, state) = asked
        .party
        .start_passkey_registration(
            user_key(&user.user_id)?,
            &user.username,
            &user.display_name,
            Some(known),
        )
        .map_err(internal)?;
    let ceremony = Ceremony::Adding {
        user_id: user.user_id.clone(),
        state: Box::new(state),
    };
    let mut options = serde_json::to_value(options).map_err(internal)?;
    // Nobody types a username to sign in, so the device must keep the passkey itself (WebAuthn §5.4.6).
    if let Some(selection) = options.pointer_mut("/publicKey/authenticatorSelection") {
        selection["residentKey"] = json!("required");
        selection["requireResidentKey"] = json!(true);
    }
    Ok(open(app, (request, &asked.browser), (&ceremony, options), now).await?)
}

async fn add(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let mut asked = read(app, request, body).await?;
    let person = owner(app, &asked.browser, now).await?;
    let Ceremony::Adding { user_id, state } = close(app, &mut asked, now).await? else {
        return Err(refusal("this ceremony is another one").into());
    };
    if user_id != person.user.user_id {
        return Err(refusal("this ceremony is another person's").into());
    }
    let name = named(asked.body.get("name"));
    let credential: RegisterPublicKeyCredential = asked.credential()?;
    let passkey = asked
        .party
        .finish_passkey_registration(&credential, &state)
        .map_err(|reason| not_accepted(&reason))?;
    let row = PasskeyRow {
        credential_id: URL_SAFE_NO_PAD.encode(passkey.cred_id()),
        user_id,
        name,
        credential: serde_json::to_string(&passkey).map_err(internal)?,
        created_at: now.0,
        last_used_at: None,
    };
    match keep(app, &person, &row, now).await? {
        Kept::Added => {}
        Kept::Known => return Err(refusal("this passkey is known already").into()),
        Kept::SessionEnded => return Err(sign_in_again(app, &asked.browser, now).await),
    }
    tracing::info!(user_id = row.user_id, "passkey added");
    Ok(document(
        &json!({ "location": place(app, &page::path(Notice::PasskeyAdded)) }),
    ))
}

/// What became of a new passkey.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kept {
    Added,
    /// Somebody has it already.
    Known,
    /// The session in which it was made has ended meanwhile.
    SessionEnded,
}

/// Keeps a passkey that a person made in their session. A reset or a sign-out that came meanwhile comes first: no
/// passkey is left behind by a session that ended.
pub(super) async fn keep(
    app: &App,
    person: &SignedIn,
    row: &PasskeyRow,
    now: UnixSeconds,
) -> Result<Kept, Failure> {
    let session = (person.user.user_id.as_str(), person.session_id.as_str());
    let kept = app.db.write(async |tx| {
        if !db::session::stands(tx, session, now).await? {
            return Ok(Kept::SessionEnded);
        }
        let is_new = db::passkey::insert(tx, row).await?;
        Ok(if is_new { Kept::Added } else { Kept::Known })
    });
    Ok(kept.await?)
}

async fn offer_to_sign_in(
    app: &App,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Failure> {
    let now = clock::now();
    let asked = read(app, request, body).await?;
    let (mut options, state) = asked
        .party
        .start_discoverable_authentication()
        .map_err(internal)?;
    // The person pressed a button: the browser asks at once instead of waiting in a list of suggestions.
    options.mediation = None;
    let i = asked.body.get("i").and_then(Value::as_str);
    let ceremony = Ceremony::SigningIn {
        i: i.filter(|i| i.len() <= 64).map(str::to_owned),
        state: Box::new(state),
    };
    let options = serde_json::to_value(options).map_err(internal)?;
    open(app, (request, &asked.browser), (&ceremony, options), now).await
}

async fn sign_in(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let now = clock::now();
    let mut asked = read(app, request, body).await?;
    let Ceremony::SigningIn { i, state } = close(app, &mut asked, now).await? else {
        return Err(refusal("this ceremony is another one").into());
    };
    let credential: PublicKeyCredential = asked.credential()?;
    let row = verify(app, asked.party, (&credential, *state), now).await?;
    let owner = db::user_account::find(&app.db, &row.user_id).await?;
    if owner.is_none_or(|owner| owner.disabled_at.is_some()) {
        return Err(not_accepted(&"the account is disabled").into());
    }
    let location = after_sign_in(app, &asked.browser, i.as_deref(), now).await?;
    let mut answer = document(&json!({ "location": location }));
    begin(app, request, (&row.user_id, "hwk"), &mut answer, now).await?;
    known::set(app, &asked.browser, (&row.user_id, now), &mut answer)?;
    tracing::info!(user_id = row.user_id, "signed in with a passkey");
    Ok(answer)
}

/// Checks an assertion against the passkey that it names, and notes the use.
async fn verify(
    app: &App,
    party: &Webauthn,
    (credential, state): (&PublicKeyCredential, DiscoverableAuthentication),
    now: UnixSeconds,
) -> Result<PasskeyRow, Failure> {
    let (user, id) = party
        .identify_discoverable_authentication(credential)
        .map_err(|reason| not_accepted(&reason))?;
    let found = db::passkey::find(&app.db, &URL_SAFE_NO_PAD.encode(id)).await?;
    let row = found.ok_or_else(|| not_accepted(&"the passkey is not known"))?;
    // WebAuthn §7.2, step 6: the passkey is the one of the user whom the device names.
    if user_key(&row.user_id)? != user {
        return Err(not_accepted(&"the passkey is another person's").into());
    }
    let mut passkey: Passkey = serde_json::from_str(&row.credential).map_err(internal)?;
    let result = party
        .finish_discoverable_authentication_v2(credential, state, &passkey)
        .map_err(|reason| not_accepted(&reason))?;
    if !result.user_verified() {
        return Err(not_accepted(&"the device did not check the person").into());
    }
    passkey.update_credential(&result);
    let after = serde_json::to_string(&passkey).map_err(internal)?;
    let change = (row.credential.as_str(), after.as_str());
    let is_noted = app
        .db
        .write(async |tx| db::passkey::used(tx, &row.credential_id, change, now).await)
        .await?;
    if !is_noted {
        return Err(not_accepted(&"the passkey was used or removed at the same time").into());
    }
    Ok(row)
}

/// Who adds a passkey: signed in, and a short time ago.
async fn owner(app: &App, browser: &Browser, now: UnixSeconds) -> Result<SignedIn, Stop> {
    match find(app, browser, now).await? {
        Some(person) if is_recent(&person, now) => Ok(person),
        _ => Err(sign_in_again(app, browser, now).await),
    }
}

/// What a device calls the person: the 128 bits of their id, which say nothing about them (WebAuthn §14.6.1).
fn user_key(user_id: &str) -> Result<Uuid, Failure> {
    let bits = user_id
        .strip_prefix("u_")
        .and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
    bits.and_then(|bits| Uuid::from_slice(&bits).ok())
        .ok_or_else(|| Failure::Internal(format!("{user_id} is not u_ and 128 bits")))
}

/// A name that a page can show.
fn named(value: Option<&Value>) -> String {
    let typed = value.and_then(Value::as_str).unwrap_or_default();
    let name: String = typed
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
        .collect();
    if name.is_empty() {
        "Passkey".to_owned()
    } else {
        name
    }
}

/// One answer for everything that is wrong with a passkey: which it was is for the log.
fn not_accepted(reason: &impl ToString) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidGrant, "the passkey was not accepted").because(reason.to_string())
}
