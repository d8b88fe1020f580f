//! Who may register, and who may touch a registration. Every refusal about a token is the same answer: what there is,
//! what there was and what never was look alike from outside.

use std::sync::Arc;
use std::time::Duration;

use ::web::address::ClientAddress;
use ::web::rates::Exceeded;
use actix_web::HttpRequest;
use actix_web::http::header::AUTHORIZATION;
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, SecretHash};

use crate::app::App;
use crate::client::{Client, Origin};
use crate::config::RegistrationMode;
use crate::db;
use crate::error::Failure;

/// How long to wait when there is no room: some registrations will have been used or forgotten.
const NO_ROOM: Duration = Duration::from_secs(3600);

/// What lets a stranger register.
pub(super) struct Admission {
    /// The invite that is used up with it.
    pub(super) invite: Option<SecretHash>,
    /// Whether the client may have tokens without a person.
    pub(super) may_act_alone: bool,
}

/// Admits whoever has an invite, or where anybody may register, anybody who does not do so too often.
pub(super) async fn admit(app: &App, request: &HttpRequest, now: UnixSeconds) -> Result<Admission, Failure> {
    let address = ClientAddress::of(request).limit_key();
    let in_force = app.in_force();
    let registration = &in_force.changeable.clients.registration;
    let Some(token) = bearer(request)? else {
        if registration.mode != RegistrationMode::Open {
            return Err(stranger(app, request, "no initial access token was shown"));
        }
        app.registrations
            .check(address)
            .inspect_err(|_| app.metrics.refused("registrations"))?;
        return Ok(Admission {
            invite: None,
            may_act_alone: false,
        });
    };
    let hash = token.hash();
    match db::initial_access_token::standing(&app.db, &hash, now).await? {
        Some(may_act_alone) => Ok(Admission {
            invite: Some(hash),
            may_act_alone,
        }),
        None => Err(stranger(
            app,
            request,
            "the initial access token is unknown, expired, revoked or used up",
        )),
    }
}

/// Refuses while too many registrations wait for their first use. Who was invited is not among those who flood.
pub(super) async fn check_room(app: &App, admission: &Admission) -> Result<(), Failure> {
    if admission.invite.is_some() {
        return Ok(());
    }
    let unused = db::client_life::count_unused(&app.db).await?;
    if unused >= i64::from(app.in_force().changeable.clients.registration.max_unused) {
        tracing::warn!(
            unused,
            "registrations are refused until some have been used or forgotten"
        );
        return Err(Exceeded::come_back(NO_ROOM).into());
    }
    Ok(())
}

/// A client that showed the token of its registration.
pub(super) struct Owner {
    pub(super) client: Arc<Client>,
    /// The token, which answers repeat (RFC 7592 §3).
    pub(super) token: Secret,
    pub(super) may_act_alone: bool,
}

/// The client `client_id`, if the request has the token of its registration.
pub(super) async fn owner(app: &App, request: &HttpRequest, client_id: &str) -> Result<Owner, Failure> {
    let Some(token) = bearer(request)? else {
        return Err(stranger(app, request, "no registration access token was shown"));
    };
    // No id of ours has other characters, and Postgres takes no NUL in a text.
    let is_id = !client_id.is_empty() && client_id.bytes().all(|b| b.is_ascii_graphic());
    let (row, client) = if is_id {
        (
            db::registration::find(&app.db, client_id).await?,
            app.client(client_id).await?,
        )
    } else {
        (None, None)
    };
    let living = client.filter(|client| !client.is_revoked && client.origin == Origin::Registration);
    if let (Some(row), Some(client)) = (row, living)
        && SecretHash::from_stored(&row.token_hash) == Some(token.hash())
    {
        app.per_client.check(client_id)?;
        return Ok(Owner {
            client,
            token,
            may_act_alone: row.may_act_alone,
        });
    }
    Err(stranger(
        app,
        request,
        "the registration access token is not that of a living registration of this id",
    ))
}

/// The one refusal of a token, counted against the address that tries.
fn stranger(app: &App, request: &HttpRequest, reason: &'static str) -> Failure {
    let address = ClientAddress::of(request).limit_key();
    match app.per_ip_failures.check(address) {
        Ok(()) => not_valid(reason),
        Err(exceeded) => exceeded.into(),
    }
}

/// The refusal of a token (RFC 7592 §2: 401).
pub(super) fn not_valid(reason: &'static str) -> Failure {
    let sentence = "the token is missing, unknown, expired or used up";
    OAuthError::new(ErrorCode::InvalidToken, sentence)
        .because(reason)
        .into()
}

/// The token of the one `Authorization: Bearer …` header (RFC 6750 §2.1). It is never looked for in the body.
fn bearer(request: &HttpRequest) -> Result<Option<Secret>, Failure> {
    let mut values = request.headers().get_all(AUTHORIZATION);
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        let sentence = "there are two Authorization headers";
        return Err(OAuthError::new(ErrorCode::InvalidRequest, sentence).into());
    }
    value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| Some(Secret::from(token.trim_matches(' ').to_owned())))
        .ok_or_else(|| not_valid("the Authorization header is not Bearer"))
}
