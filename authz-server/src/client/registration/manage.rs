//! A client looks after its own registration (RFC 7592).

use actix_web::http::StatusCode;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::Value;
use shared::clock::{self, UnixSeconds};
use shared::secret::{Secret, SecretHash, SecretKind};

use super::answer::{self, NewSecret};
use super::gate::{self, Owner};
use super::{Document, allowed_scope, document, refusal, statement};
use crate::app::App;
use crate::client::metadata::{Metadata, MetadataFault, Policy};
use crate::client::trust;
use crate::db::client::{ClientRow, Update};
use crate::db::{self, DbFault, Tx};
use crate::error::Failure;

/// Members that are ours to say (RFC 7592 §2.2).
const OURS: [&str; 4] = [
    "registration_access_token",
    "registration_client_uri",
    "client_secret_expires_at",
    "client_id_issued_at",
];
/// Our extension: the answer has a new secret, and the old one works for the overlap.
const ROTATE: &str = "rotate_client_secret";

/// What is registered.
pub(super) async fn read(app: &App, request: &HttpRequest, client_id: &str) -> Result<HttpResponse, Failure> {
    app.catch_up().await?;
    let owner = gate::owner(app, request, client_id).await?;
    tell(app, &owner, None, None).await
}

/// Puts another document in the place of what is registered. All of it: what it leaves out has its default again, and
/// what it repeats is judged like what is new.
pub(super) async fn update(
    app: &App,
    request: &HttpRequest,
    client_id: &str,
    body: web::Payload,
) -> Result<HttpResponse, Failure> {
    let now = clock::now();
    let read = document(request, body).await;
    app.catch_up().await?;
    let owner = gate::owner(app, request, client_id).await?;
    let mut document = read?;
    let wants_secret = check_own_members(&mut document, &owner, now).map_err(refusal)?;
    let statement = statement::apply(app, document, now).await?;
    let policy = Policy {
        may_act_alone: owner.may_act_alone,
        ..Policy::REGISTRATION
    };
    let metadata = Metadata::read(&statement.document, &policy).map_err(refusal)?;
    let scope = allowed_scope(app, &metadata).await?.to_string();
    let had_secret = owner
        .client
        .auth_methods
        .iter()
        .any(|method| method.uses_secret());
    let uses_secret = metadata.uses_secret();
    let secret = match uses_secret && (wants_secret || !had_secret) {
        true => Some(Secret::generate(SecretKind::ClientSecret)?),
        false => None,
    };
    let hash = secret.as_ref().map(Secret::hash);
    // A client that no longer authenticates with a secret has none, from now on.
    let old_until = match uses_secret {
        true => now + app.in_force().changeable.clients.registration.secret_overlap,
        false => now,
    };
    let edit = |row: &mut ClientRow| {
        let before = row.clone();
        metadata.write(row)?;
        row.scopes.clone_from(&scope);
        Ok::<_, serde_json::Error>(trust::consent_after(&before, row))
    };
    let written = app.db.write(async |tx| {
        let done = db::client::update_in(tx, client_id, now, &edit).await?;
        if done.is_done() {
            replace_secret(tx, client_id, (hash.as_ref(), uses_secret), (now, old_until)).await?;
            db::registration::touch(tx, client_id, now).await?;
        }
        Ok::<_, DbFault>(done)
    });
    match written.await? {
        Update::Done => {}
        Update::Gone => return Err(gate::not_valid("the registration ended meanwhile")),
        Update::Refused(fault) => return Err(Failure::Internal(fault.to_string())),
    }
    tracing::info!(
        client_id,
        rotated = secret.is_some(),
        "a client changed its registration"
    );
    let new_secret = secret.as_ref().map(|secret| NewSecret {
        secret,
        old_until: had_secret.then_some(old_until),
    });
    tell(app, &owner, new_secret, statement.text.as_deref()).await
}

/// Ends the client, its tokens and everything it was granted.
pub(super) async fn delete(
    app: &App,
    request: &HttpRequest,
    client_id: &str,
) -> Result<HttpResponse, Failure> {
    app.catch_up().await?;
    gate::owner(app, request, client_id).await?;
    if !db::client::revoke(&app.db, client_id, clock::now()).await? {
        return Err(gate::not_valid("the registration ended meanwhile"));
    }
    tracing::info!(client_id, "a client ended its registration");
    Ok(HttpResponse::NoContent()
        .insert_header((CACHE_CONTROL, "no-store"))
        .finish())
}

/// Checks and takes out what is not metadata (RFC 7592 §2.2); returns whether a new secret is wanted.
fn check_own_members(
    document: &mut Document,
    owner: &Owner,
    now: UnixSeconds,
) -> Result<bool, MetadataFault> {
    if let Some(name) = OURS.into_iter().find(|name| document.contains_key(*name)) {
        return Err(MetadataFault::metadata(format!(
            "{name} is not the client's to say; leave it out"
        )));
    }
    if document.remove("client_id") != Some(Value::String(owner.client.client_id.clone())) {
        return Err(MetadataFault::metadata(
            "client_id must be the id of this registration",
        ));
    }
    let is_own = |secret: &Value| {
        let hash = secret.as_str().map(|text| SecretHash::of(text.as_bytes()));
        hash.is_some_and(|hash| owner.client.has_secret(&hash, now))
    };
    if document
        .remove("client_secret")
        .is_some_and(|secret| !is_own(&secret))
    {
        return Err(MetadataFault::metadata(
            "client_secret must be the current secret, or be left out",
        ));
    }
    match document.remove(ROTATE) {
        None | Some(Value::Bool(false) | Value::Null) => Ok(false),
        Some(Value::Bool(true)) => Ok(true),
        Some(_) => Err(MetadataFault::metadata(
            "rotate_client_secret must be true or false",
        )),
    }
}

/// Writes what becomes of the client's secrets.
async fn replace_secret(
    tx: &mut Tx,
    client_id: &str,
    (new, uses_secret): (Option<&SecretHash>, bool),
    (now, old_until): (UnixSeconds, UnixSeconds),
) -> Result<(), DbFault> {
    if new.is_some() || !uses_secret {
        db::client_secret::drop_ending(tx, client_id).await?;
        db::client_secret::end_at(tx, client_id, old_until).await?;
    }
    match new {
        Some(hash) => db::client_secret::insert(tx, client_id, hash, now).await,
        None => Ok(()),
    }
}

/// Answers with what is registered now.
async fn tell(
    app: &App,
    owner: &Owner,
    new_secret: Option<NewSecret<'_>>,
    statement: Option<&str>,
) -> Result<HttpResponse, Failure> {
    let row = db::client::find(&app.db, &owner.client.client_id).await?;
    let row = row.ok_or_else(|| gate::not_valid("the registration ended meanwhile"))?;
    let answer = answer::Registered {
        row: &row,
        token: &owner.token,
        new_secret,
        statement,
    };
    answer.send(app, StatusCode::OK)
}
