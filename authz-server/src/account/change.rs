//! What people change on their account page: each form does one thing and leads back to the page, which says so.

use ::web::address::ClientAddress;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::Secret;

use super::gate::{Posted, Stop, answered, posted, posted_recently, to};
use super::page::{Notice, back};
use super::password::{self, PasswordFault};
use super::throttle::Try;
use super::{SignedIn, recovery, users};
use crate::app::App;
use crate::db;
use crate::error::Failure;

/// `POST /account/grants/revoke`: the client loses its tokens too (RFC 7009 §2.1).
pub(crate) async fn revoke_grant(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = revoke_one(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn revoke_one(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let mut posted = posted(app, request, body, &["grant_id"], now).await?;
    let grant_id = required(&mut posted, "grant_id")?;
    let user_id = &posted.person.user.user_id;
    // One that was revoked already is as revoked as can be; another person's is as unknown as none.
    let is_revoked = app
        .db
        .write(async |tx| db::access_grant::revoke(tx, &grant_id, user_id, now).await)
        .await?;
    if is_revoked {
        tracing::info!(user_id, grant_id, "grant revoked by its owner");
    }
    Ok(back(app, Notice::GrantRevoked))
}

/// `POST /account/grants/revoke-all`.
pub(crate) async fn revoke_grants(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = revoke_all(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn revoke_all(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let posted = posted(app, request, body, &[], now).await?;
    let user_id = &posted.person.user.user_id;
    let count = app
        .db
        .write(async |tx| db::access_grant::revoke_all_of_user(tx, user_id, now).await)
        .await?;
    tracing::info!(user_id, count, "grants revoked by their owner");
    Ok(back(app, Notice::GrantsRevoked))
}

/// `POST /account/password`: this browser stays signed in; everything else that the old password gave ends.
pub(crate) async fn password(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let result = set_password(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn set_password(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let mut posted = posted(app, request, body, &["current", "new"], now).await?;
    let current = Secret::from(posted.params.take("current").unwrap_or_default());
    let new = Secret::from(posted.params.take("new").unwrap_or_default());
    let person = &posted.person;
    if !app.config.login.passwords {
        return Ok(back(app, Notice::Nothing));
    }
    if let Err(fault) = password::check(&person.user.username, &new) {
        return Ok(back(
            app,
            match fault {
                PasswordFault::TooShort => Notice::PasswordTooShort,
                PasswordFault::TooLong => Notice::PasswordTooLong,
                PasswordFault::IsUsername => Notice::PasswordTooCommon,
            },
        ));
    }
    // Whoever finds a browser signed in must not find out the password there. Each session counts by itself, so that
    // nobody else can use its tries up.
    let who = Try {
        username: &person.user.username,
        address: ClientAddress::of(request).limit_key(),
        known_browser: Some(&person.session_id),
    };
    app.sign_ins.enter(&who, now).map_err(Failure::from)?;
    let row = db::user_account::find(&app.db, &person.user.user_id).await?;
    let verified = row.as_ref().and_then(|row| row.password_hash.clone());
    if !password::verify(app, row.as_ref(), current).await? {
        return Ok(back(app, Notice::WrongPassword));
    }
    app.sign_ins.succeed(&who);
    let hash = password::hash(app, new).await?;
    if !replace(app, person, (verified.as_deref(), &hash), now).await? {
        return Ok(to(app, "/login"));
    }
    let user_id = &person.user.user_id;
    tracing::info!(user_id, "password changed");
    Ok(back(app, Notice::PasswordSet))
}

/// Puts a password in the place of the one that was verified (both PHC strings). Hashing takes its time: whoever has
/// reset the password or ended the session meanwhile was faster, and `false` says so.
pub(super) async fn replace(
    app: &App,
    person: &SignedIn,
    (verified, hash): (Option<&str>, &str),
    now: UnixSeconds,
) -> Result<bool, Failure> {
    let (user_id, session_id) = (&person.user.user_id, person.session_id.as_str());
    let changed = app.db.write(async |tx| {
        let is_same = db::user_account::lock(tx, user_id, verified).await?;
        if !is_same || !db::session::stands(tx, (user_id, session_id), now).await? {
            return Ok(false);
        }
        users::set_password_in(tx, user_id, hash, Some(session_id), now).await
    });
    Ok(changed.await?)
}

/// `POST /account/sessions/end`.
pub(crate) async fn end_session(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = end_one(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn end_one(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let mut posted = posted(app, request, body, &["session_id"], now).await?;
    let session_id = required(&mut posted, "session_id")?;
    // One that has ended already is as ended as can be; another person's is as unknown as none.
    db::session::end_one(&app.db, &posted.person.user.user_id, &session_id, now).await?;
    Ok(back(app, Notice::SessionEnded))
}

/// `POST /account/sessions/end-others`.
pub(crate) async fn end_others(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = end_all_others(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn end_all_others(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let posted = posted(app, request, body, &[], now).await?;
    let person = &posted.person;
    db::session::end_others(&app.db, &person.user.user_id, &person.session_id, now).await?;
    Ok(back(app, Notice::OthersEnded))
}

/// `POST /account/passkeys/remove`.
pub(crate) async fn remove_passkey(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = take_passkey_away(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn take_passkey_away(
    app: &App,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let mut posted = posted_recently(app, request, body, &["credential_id"], now).await?;
    let credential_id = required(&mut posted, "credential_id")?;
    let user_id = &posted.person.user.user_id;
    let passwords = app.config.login.passwords;
    let in_force = app.in_force();
    let provider = in_force.changeable.federation.as_ref();
    let provider = provider.map(|provider| provider.issuer.as_str());
    if db::passkey::remove(&app.db, (user_id, &credential_id), passwords, provider).await? {
        tracing::info!(user_id, "passkey removed");
        return Ok(back(app, Notice::PasskeyRemoved));
    }
    let kept = db::passkey::find(&app.db, &credential_id).await?;
    Ok(match kept.filter(|row| row.user_id == *user_id) {
        Some(_) => back(app, Notice::LastWayIn),
        None => back(app, Notice::PasskeyRemoved),
    })
}

/// `POST /account/recovery-codes`: new ones, and the old ones are worth nothing.
pub(crate) async fn new_recovery_codes(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let result = renew_codes(&app, &request, body).await;
    answered(&app, &request, result)
}

async fn renew_codes(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Stop> {
    let now = clock::now();
    let posted = posted_recently(app, request, body, &[], now).await?;
    let user_id = &posted.person.user.user_id;
    match recovery::renew(app, user_id, now).await? {
        Some(codes) => {
            tracing::info!(user_id, "recovery codes renewed");
            Ok(codes.show(app, request, &posted.browser))
        }
        None => Ok(back(app, Notice::Nothing)),
    }
}

fn required(posted: &mut Posted, name: &str) -> Result<String, OAuthError> {
    posted
        .params
        .take(name)
        .ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "a field of the form is missing"))
}
