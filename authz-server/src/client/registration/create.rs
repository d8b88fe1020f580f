//! A new registration (RFC 7591 §3).

use ::web::address::ClientAddress;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock;
use shared::secret::{Secret, SecretKind};

use super::answer::{self, NewSecret};
use super::gate::{self, Admission};
use super::{allowed_scope, document, refusal, statement};
use crate::app::App;
use crate::client::Origin;
use crate::client::metadata::{Metadata, Policy};
use crate::client::register::new_client_id;
use crate::db::{self, DbFault};
use crate::error::Failure;

/// From the request to the new client.
pub(super) async fn create(
    app: &App,
    request: &HttpRequest,
    body: web::Payload,
) -> Result<HttpResponse, Failure> {
    let now = clock::now();
    let read = document(request, body).await;
    app.catch_up().await?;
    let admission = gate::admit(app, request, now).await?;
    let statement = statement::apply(app, read?, now).await?;
    let policy = Policy {
        may_act_alone: admission.may_act_alone,
        ..Policy::REGISTRATION
    };
    let metadata = Metadata::read(&statement.document, &policy).map_err(refusal)?;
    gate::check_room(app, &admission).await?;
    let mut row = metadata
        .new_row(new_client_id()?, Origin::Registration, now)
        .map_err(|fault| Failure::Internal(fault.to_string()))?;
    row.scopes = allowed_scope(app, &metadata).await?.to_string();
    row.expires_at = Some((now + app.in_force().changeable.clients.registration.unused_ttl).0);
    let token = Secret::generate(SecretKind::RegistrationAccessToken)?;
    let secret = match metadata.uses_secret() {
        true => Some(Secret::generate(SecretKind::ClientSecret)?),
        false => None,
    };
    let (token_hash, secret_hash) = (token.hash(), secret.as_ref().map(Secret::hash));
    let Admission {
        invite,
        may_act_alone,
    } = admission;
    let address = ClientAddress::of(request).0.to_string();
    let written = app.db.write(async |tx| {
        // One write decides: of two who use the last turn of an invite at once, one registers.
        if let Some(invite) = &invite
            && !db::initial_access_token::take(tx, invite, now).await?
        {
            return Ok(false);
        }
        db::client::insert_in(tx, &row, secret_hash.as_ref()).await?;
        let proof = (&token_hash, may_act_alone);
        db::registration::insert(tx, &row.client_id, proof, &address, now).await?;
        Ok::<_, DbFault>(true)
    });
    if !written.await? {
        return Err(gate::not_valid("the initial access token was used up meanwhile"));
    }
    tracing::info!(client_id = row.client_id, name = ?row.name, "a client registered itself");
    let answer = answer::Registered {
        row: &row,
        token: &token,
        new_secret: secret.as_ref().map(|secret| NewSecret {
            secret,
            old_until: None,
        }),
        statement: statement.text.as_deref(),
    };
    answer.send(app, StatusCode::CREATED)
}
