//! `GET /.well-known/jwks.jwt`: the key set as a JWT (OpenID Federation 1.0 §5.2.1, `signed_jwks_uri`), which nodes pass on
//! to those that cannot reach us.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde_json::Value;
use shared::clock::{self, UnixSeconds};
use shared::jose::{Algorithm, sha256_base64url};
use shared::jwks::SIGNED_TYPE;

use super::{KEYS_CACHED, catch_up_if_possible};
use crate::app::App;
use crate::conditional::{self, Tagged};
use crate::error::{self, Failure};

/// What every node understands.
const ALGORITHM: Algorithm = Algorithm::EdDSA;
/// It is signed anew this often, in seconds, and when a key changes; in between all instances write the same bytes.
const SIGNED_EVERY: i64 = 300;
/// How long it counts: nodes must know the keys while we are away.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Serialize)]
struct Claims<'a> {
    iss: &'a str,
    sub: &'a str,
    iat: UnixSeconds,
    exp: UnixSeconds,
    keys: &'a Value,
}

/// The handler.
pub(crate) async fn signed_key_set(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    catch_up_if_possible(&app).await;
    let text = match sign(&app, clock::now()).await {
        Ok(text) => text,
        Err(failure) => return error::answer(&app, &request, failure),
    };
    let etag = format!("\"{}\"", sha256_base64url(text.as_bytes()));
    let document = Tagged {
        etag: &etag,
        content_type: &format!("application/{SIGNED_TYPE}"),
        cache_control: KEYS_CACHED,
        body: text,
    };
    conditional::answer(&request, document)
}

async fn sign(app: &App, now: UnixSeconds) -> Result<String, Failure> {
    let keys = app.published_keys().await;
    let internal = |reason: String| Failure::Internal(format!("the signed key set: {reason}"));
    let document: Value = serde_json::from_str(&keys.document).map_err(|e| internal(e.to_string()))?;
    let issuer = app.config.issuer.as_str();
    let iat = signed_at(now, keys.read_at);
    let claims = Claims {
        iss: issuer,
        sub: issuer,
        iat,
        exp: iat + LIFE,
        keys: &document["keys"],
    };
    let claims = serde_json::to_vec(&claims).map_err(|e| internal(e.to_string()))?;
    let signer = keys.signer(ALGORITHM);
    let signer = signer.ok_or_else(|| internal(format!("there is no {ALGORITHM} key")))?;
    signer
        .sign_jwt(SIGNED_TYPE, &claims)
        .map_err(|e| internal(e.to_string()))
}

/// Nodes take only what is newer than what they have: a key that is new, or gone, makes it so at once.
fn signed_at(now: UnixSeconds, changed_at: UnixSeconds) -> UnixSeconds {
    UnixSeconds(now.0 - now.0.rem_euclid(SIGNED_EVERY)).max(changed_at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_of_keys_is_newer_than_what_was_signed_before() {
        let at = |now, changed_at| signed_at(UnixSeconds(now), UnixSeconds(changed_at)).0;
        assert_eq!(at(3100, 0), 3000);
        assert_eq!(at(3299, 3150), 3150);
        assert_eq!(at(3300, 3150), 3300);
    }
}
