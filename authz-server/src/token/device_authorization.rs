//! The device authorization endpoint (RFC 8628 §3.1): a device without keyboard or browser begins here, and gets one
//! code to poll with and one for a person to type elsewhere.

use std::time::Duration;

use ::web::address::ClientAddress;
use actix_web::http::header::CACHE_CONTROL;
use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use shared::clock::{self, UnixSeconds};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::secret::{NoRandomness, Secret, SecretKind, random_bytes};

use super::request::{GrantType, asked_for};
use super::{may_use, scopes, target};
use crate::account;
use crate::app::App;
use crate::authorization_details::AuthorizationDetails;
use crate::client::Client;
use crate::client::authenticate::{self, authenticate};
use crate::db;
use crate::db::device_authorization::{Crowd, DeviceRow};
use crate::error::{self, Failure};
use crate::params::{MAX_FORM_BYTES, Params};
use crate::registry::Resource;

/// Time to find another screen, sign in and decide.
const LIFE: Duration = Duration::from_secs(600);
/// Seconds between two polls at first (RFC 8628 §3.2).
const INTERVAL: i64 = 5;
/// Requests that may wait at once.
const MOST_WAITING: Crowd = Crowd {
    unproven: 10_000,
    of_client: 1_000,
    of_origin: 100,
};
/// How often a user code that is taken is replaced by another.
const ATTEMPTS: u32 = 5;

/// The letters of a user code: no vowels, so that no word comes of them (RFC 8628 §6.1).
pub(crate) const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";
/// Letters of a user code: 20^8 is 2^34.5.
pub(crate) const CODE_LETTERS: usize = 8;

const PARAMETERS: [&str; 6] = [
    "scope",
    "authorization_details",
    authenticate::PARAMETERS[0],
    authenticate::PARAMETERS[1],
    authenticate::PARAMETERS[2],
    authenticate::PARAMETERS[3],
];

/// RFC 8628 §3.2.
#[derive(Serialize)]
struct DeviceAnswer<'a> {
    device_code: &'a str,
    user_code: &'a str,
    verification_uri: &'a str,
    verification_uri_complete: &'a str,
    expires_in: u64,
    interval: i64,
}

/// `POST /oauth/device_authorization`.
pub(crate) async fn device_authorization(
    app: web::Data<App>,
    request: HttpRequest,
    body: web::Payload,
) -> HttpResponse {
    let answered = begin(&app, &request, body).await;
    answered.unwrap_or_else(|failure| error::answer(&app, &request, failure))
}

async fn begin(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    // Anyone who knows a public client's id may call this, and each call leaves a row.
    app.device_codes.check(ClientAddress::of(request).limit_key())?;
    let body = ::web::body::read(request, body, MAX_FORM_BYTES).await?;
    let mut params = Params::form(request, &body, &PARAMETERS)?;
    let now = clock::now();
    app.catch_up().await?;
    let client = authenticate(app, request, &mut params, now).await?;
    let (scope, resource) = asked_for(&mut params)?;
    may_use(&client, GrantType::DeviceCode)?;
    let is_proven = !client.is_public();
    let client = client.client();
    let resource = target(app, client, resource.as_deref()).await?;
    let scopes = wished(client, &resource, scope.as_ref())?;
    let details = params.take("authorization_details");
    let details = details.map(|text| AuthorizationDetails::ask(&text, (client, &resource), &scopes));
    let row = DeviceRow {
        user_code: String::new(),
        client_id: client.client_id.clone(),
        scopes: scopes.to_string(),
        authorization_details: details.transpose()?.as_ref().map(AuthorizationDetails::text),
        resource: resource.uri.clone(),
        address: ClientAddress::of(request).0.to_string(),
        user_agent: account::user_agent(request),
        created_at: now.0,
        expires_at: (now + LIFE).0,
        is_proven,
    };
    let (device_code, user_code) = keep(app, row, now).await?;
    tracing::debug!(client_id = client.client_id, "a device asks to be let in");
    let (uri, shown) = (app.config.issuer.endpoint("/device"), shown(&user_code));
    Ok(HttpResponse::Ok()
        .insert_header((CACHE_CONTROL, "no-store"))
        .json(DeviceAnswer {
            device_code: device_code.reveal(),
            user_code: &shown,
            verification_uri_complete: &format!("{uri}?user_code={shown}"),
            verification_uri: &uri,
            expires_in: LIFE.as_secs(),
            interval: INTERVAL,
        }))
}

/// Stores the request under codes of its own. The table is bounded: what nobody decides about expires.
async fn keep(app: &App, mut row: DeviceRow, now: UnixSeconds) -> Result<(Secret, String), Failure> {
    let origin = (row.client_id.as_str(), row.address.as_str());
    let waiting = db::device_authorization::waiting(&app.db, origin, now).await?;
    if !has_room(waiting, row.is_proven) {
        let refusal = OAuthError::new(
            ErrorCode::TemporarilyUnavailable,
            "too many devices are waiting to be let in; try again later",
        );
        return Err(refusal.because(format!("there wait {waiting:?}")).into());
    }
    let device_code = Secret::generate(SecretKind::DeviceCode)?;
    for _ in 0..ATTEMPTS {
        row.user_code = user_code()?;
        if db::device_authorization::insert(&app.db, &device_code.hash(), &row, INTERVAL).await? {
            return Ok((device_code, row.user_code));
        }
    }
    Err(Failure::Internal("no user code was free".to_owned()))
}

/// Whether one more may wait. A client that proved who it is has places that no stranger can fill; the others share
/// theirs, and there a stranger who knows the id of one must not use all of that one's up.
fn has_room(waiting: Crowd, is_proven: bool) -> bool {
    let all = match is_proven {
        true => waiting.of_client < MOST_WAITING.of_client,
        false => waiting.unproven < MOST_WAITING.unproven,
    };
    all && waiting.of_origin < MOST_WAITING.of_origin
}

/// What of its wish the client can be granted. Asking for nothing in particular means all that it shares with the
/// resource, without the scopes about the person.
fn wished(client: &Client, resource: &Resource, asked: Option<&Scope>) -> Result<Scope, OAuthError> {
    let wished = match asked {
        Some(asked) => asked.intersection(&scopes::grantable(client, resource)),
        None => client.scopes.intersection(&resource.scopes),
    };
    if wished.is_empty() {
        let sentence = "the client or the resource allows none of that scope";
        return Err(OAuthError::new(ErrorCode::InvalidScope, sentence));
    }
    Ok(wished)
}

/// Eight random letters, each as likely as any other.
fn user_code() -> Result<String, NoRandomness> {
    let mut code = String::with_capacity(CODE_LETTERS);
    while code.len() < CODE_LETTERS {
        for byte in random_bytes::<16>()? {
            // 240 is the largest multiple of 20 in a byte: what lies above would favour the first letters.
            if byte < 240 && code.len() < CODE_LETTERS {
                code.push(char::from(ALPHABET[usize::from(byte) % ALPHABET.len()]));
            }
        }
    }
    Ok(code)
}

/// The code as people read it: `XXXX-XXXX`.
pub(crate) fn shown(user_code: &str) -> String {
    match user_code.split_at_checked(CODE_LETTERS / 2) {
        Some((first, second)) => format!("{first}-{second}"),
        None => user_code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn strangers_do_not_take_the_places_of_those_who_prove_who_they_are() {
        let waiting = |unproven, of_client, of_origin| Crowd {
            unproven,
            of_client,
            of_origin,
        };
        assert!(has_room(waiting(9_999, 9_999, 99), false));
        assert!(!has_room(waiting(10_000, 0, 0), false));
        assert!(has_room(waiting(10_000, 999, 99), true));
        assert!(!has_room(waiting(0, 1_000, 0), true));
        for is_proven in [true, false] {
            assert!(!has_room(waiting(100, 100, 100), is_proven));
        }
    }

    #[test]
    fn a_user_code_is_eight_letters_of_its_alphabet() {
        let codes: Vec<String> = (0..500).map(|_| user_code().unwrap()).collect();
        let mut letters = HashSet::new();
        for code in &codes {
            assert_eq!(code.len(), CODE_LETTERS);
            letters.extend(code.bytes());
        }
        assert_eq!(letters, ALPHABET.iter().copied().collect());
        assert_eq!(codes.iter().collect::<HashSet<_>>().len(), codes.len());
        assert_eq!(shown("BCDFGHJK"), "BCDF-GHJK");
    }
}
