//! Clients that register themselves (RFC 7591) and look after their registration (RFC 7592).
//!
//! Whoever is admitted ([`gate`]) hands in a document; a software statement overrides what it says ([`statement`]); what
//! holds together is written ([`create`], [`manage`]) and answered as it was written ([`answer`]).

mod answer;
mod create;
mod gate;
mod manage;
mod statement;

use ::web::body;
use actix_web::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use actix_web::{HttpRequest, HttpResponse, web};
use serde_json::{Map, Value};
use shared::oauth_error::{Challenge, ErrorCode};
use shared::scope::Scope;

pub(crate) use self::statement::StatementIssuers;
use super::metadata::{self, Metadata, MetadataFault};
use crate::app::App;
use crate::error::{self, Failure};
use crate::params::Params;
use crate::token::scopes;

/// A larger body is not read. The document in it may have a quarter of that; the rest is room for a software statement.
const MAX_BODY: usize = 64 * 1024;

/// `POST /oauth/register` (RFC 7591 §3.1).
pub(crate) async fn register(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = create::create(&app, &request, body).await;
    answered.unwrap_or_else(|failure| refuse(&app, &request, failure))
}

/// `GET /oauth/register/{client_id}` (RFC 7592 §2.1).
pub(crate) async fn read(app: web::Data<App>, request: HttpRequest, path: web::Path<String>) -> HttpResponse {
    let answered = manage::read(&app, &request, &path).await;
    answered.unwrap_or_else(|failure| refuse(&app, &request, failure))
}

/// `PUT /oauth/register/{client_id}` (RFC 7592 §2.2).
pub(crate) async fn update(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<String>,
    body: web::Payload,
) -> HttpResponse {
    let answered = manage::update(&app, &request, &path, body).await;
    answered.unwrap_or_else(|failure| refuse(&app, &request, failure))
}

/// `DELETE /oauth/register/{client_id}` (RFC 7592 §2.3).
pub(crate) async fn delete(
    app: web::Data<App>,
    request: HttpRequest,
    path: web::Path<String>,
) -> HttpResponse {
    let answered = manage::delete(&app, &request, &path).await;
    answered.unwrap_or_else(|failure| refuse(&app, &request, failure))
}

/// The answer to a failure. One about the token comes with the challenge of RFC 6750 §3, which names no error when no
/// token was shown.
fn refuse(app: &App, request: &HttpRequest, failure: Failure) -> HttpResponse {
    let challenge = match &failure {
        Failure::Refused(refusal) if refusal.code == ErrorCode::InvalidToken => {
            let was_shown = request.headers().contains_key(AUTHORIZATION);
            let challenge = Challenge {
                error: was_shown.then_some(refusal.code),
                error_description: was_shown.then_some(&*refusal.description),
                ..Challenge::default()
            };
            HeaderValue::from_str(&challenge.to_string()).ok()
        }
        _ => None,
    };
    let mut response = error::answer(app, request, failure);
    if let Some(challenge) = challenge {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    response
}

/// The document in a body.
async fn document(request: &HttpRequest, payload: web::Payload) -> Result<Document, Failure> {
    let bytes = body::read(request, payload, MAX_BODY).await?;
    if !Params::is_json(request) {
        return Err(refusal(MetadataFault::metadata(
            "the body must be application/json",
        )));
    }
    metadata::whole_object(&bytes).map_err(refusal)
}

/// A JSON object as it came.
type Document = Map<String, Value>;

fn refusal(fault: MetadataFault) -> Failure {
    Failure::Refused(fault.into())
}

/// What a client that nobody vouches for may ask for, of what strangers may have and some resource offers (RFC 7591
/// §3.2.1 lets us replace what it wants).
///
/// One that acts for people may ask for all of it, whatever it named: MCP clients name the scopes of the first
/// challenge that they met, and a step-up needs others. Each person decides. One that acts alone asks nobody, so what
/// it named is all that it gets.
async fn allowed_scope(app: &App, metadata: &Metadata) -> Result<Scope, Failure> {
    let resources = app.resources().await?;
    let offered = resources
        .iter()
        .fold(Scope::default(), |all, resource| all.union(&resource.scopes));
    let offered = offered.intersection(&app.in_force().changeable.clients.scopes);
    let acts_alone = metadata.grants.iter().any(|grant| grant == "client_credentials");
    Ok(match &metadata.scopes {
        Some(wanted) if acts_alone => wanted.intersection(&offered.union(&scopes::identity())),
        Some(wanted) => wanted.intersection(&scopes::identity()).union(&offered),
        None => offered,
    })
}
