//! The pushed authorization request endpoint (RFC 9126): a client leaves its whole request here and gets a reference,
//! so that nothing of it passes the browser. It is checked as the authorization endpoint would.

use std::time::Duration;

use ::web::address::ClientAddress;
use ::web::rates::Exceeded;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::secret::{Secret, random_bytes};
use url::form_urlencoded::Serializer;

use super::arrival::{Arrival, REFERENCE};
use super::raw::PARAMETERS;
use super::request::AuthorizationRequest;
use super::request_object;
use crate::app::App;
use crate::client::authenticate::{self, AuthenticatedClient, authenticate};
use crate::db;
use crate::db::pushed_request::{Most, NewPushedRow};
use crate::dpop;
use crate::error::{self, Failure};
use crate::params::{MAX_FORM_BYTES, Params};

/// Time to bring the person here; what follows takes as long as it takes.
const LIFE: Duration = Duration::from_secs(90);
/// Requests that may wait at once. By default the client's rate ends sooner.
const MOST: Most = Most {
    unproven: 10_000,
    of_one: 1_000,
};

/// RFC 9126 §2.2.
#[derive(Serialize)]
struct PushedAnswer<'a> {
    request_uri: &'a str,
    expires_in: u64,
}

/// `POST /oauth/par`.
pub(crate) async fn push(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let answered = accept(&app, &request, body).await;
    let answer = answered.unwrap_or_else(|failure| error::answer(&app, &request, failure));
    dpop::with_nonce(&app, answer)
}

async fn accept(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let body = ::web::body::read(request, body, MAX_FORM_BYTES).await?;
    let known = [&PARAMETERS[..], &authenticate::PARAMETERS[1..]].concat();
    let mut params = Params::form(request, &body, &known)?;
    let now = clock::now();
    app.catch_up().await?;
    let client = authenticate(app, request, &mut params, now).await?;
    let mut arrival = Arrival::of(parameters(app, request, (&client, params), now).await?);
    // Refused to the caller, whoever would be told at the authorization endpoint (RFC 9126 §2.3).
    let asked = AuthorizationRequest::read(app, &arrival).await?;
    if let Some(proof) = dpop::proof_of(app, request, None, now).await? {
        bind(&mut arrival, asked.dpop_jkt.as_deref(), proof.key())?;
    }
    let reference = keep(app, request, (&client, &arrival.query), now).await?;
    tracing::debug!(client_id = asked.client.client_id, "a request was pushed");
    Ok(HttpResponse::Created()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(PushedAnswer {
            request_uri: reference.reveal(),
            expires_in: LIFE.as_secs(),
        }))
}

/// The parameters that count, without those that authenticate the client.
async fn parameters(
    app: &App,
    request: &HttpRequest,
    (client, mut params): (&AuthenticatedClient, Params),
    now: UnixSeconds,
) -> Result<String, Failure> {
    let client = client.client();
    if params.take("request_uri").is_some() {
        // RFC 9126 §2.1.
        return Err(malformed("a pushed request cannot refer to another").into());
    }
    if let Some(object) = params.take("request") {
        // Everything is inside of it then (RFC 9126 §3).
        return request_object::read(app, client, (&object, ClientAddress::of(request)), now).await;
    }
    if client.details.require_signed_request_object {
        return Err(malformed("this client must sign its requests").into());
    }
    let mut query = Serializer::new(String::new());
    query.append_pair("client_id", &client.client_id);
    for name in PARAMETERS {
        if let Some(value) = params.take(name) {
            query.append_pair(name, &value);
        }
    }
    for resource in params.take_resources() {
        query.append_pair("resource", &resource);
    }
    Ok(query.finish())
}

/// A proof at this endpoint says what `dpop_jkt` would (RFC 9449 §10.1).
fn bind(arrival: &mut Arrival, named: Option<&str>, proven: &str) -> Result<(), OAuthError> {
    match named {
        Some(named) if named == proven => {}
        Some(_) => {
            let sentence = "dpop_jkt is not the key of the DPoP proof";
            return Err(OAuthError::new(ErrorCode::InvalidDpopProof, sentence));
        }
        // A thumbprint is base64url: it needs no encoding.
        None => arrival.query.push_str(&format!("&dpop_jkt={proven}")),
    }
    Ok(())
}

/// Stores the request under a new reference. The table is bounded: what nobody comes for expires.
async fn keep(
    app: &App,
    request: &HttpRequest,
    (client, query): (&AuthenticatedClient, &str),
    now: UnixSeconds,
) -> Result<Secret, Failure> {
    // A stranger who knows the id of a public client must not use its places up.
    let address = if client.is_public() {
        ClientAddress::of(request).limit_key().to_string()
    } else {
        String::new()
    };
    let random = URL_SAFE_NO_PAD.encode(random_bytes::<32>()?);
    let reference = Secret::from(format!("{REFERENCE}{random}"));
    let row = NewPushedRow {
        client_id: &client.client().client_id,
        address: &address,
        content: query,
        created_at: now,
        expires_at: now + LIFE,
    };
    if db::pushed_request::insert(&app.db, &reference.hash(), &row, MOST).await? {
        return Ok(reference);
    }
    tracing::info!(client_id = row.client_id, "too many pushed requests wait");
    // RFC 9126 §2.3.
    Err(Exceeded::come_back(LIFE).into())
}

fn malformed(sentence: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, sentence)
}
