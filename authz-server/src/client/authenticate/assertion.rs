//! `private_key_jwt`: a client proves who it is with a JWT that it signed (RFC 7523 §2.2 and §3, as revised by
//! draft-ietf-oauth-rfc7523bis).

use std::time::Duration;

use ::web::address::ClientAddress;
use shared::client_assertion::ASSERTION_TYPE;
use shared::clock::UnixSeconds;
use shared::jose::Algorithm;
use shared::oauth_error::OAuthError;
use shared::signed_jwt::{JwtFault, SignedJwt, Times, VerifiedJwt};

use super::{Checked, malformed};
use crate::app::App;
use crate::client::Client;
use crate::db::{self, used_proof};
use crate::error::Failure;
use crate::params::Params;

/// Real ones have half a kilobyte.
const MAX_BYTES: usize = 8 * 1024;
/// A longer `jti` identifies nothing better.
const MAX_JTI: usize = 512;
/// What an assertion may call itself. Any other type was made for another purpose (RFC 8725 §3.11).
const TYPES: [&str; 2] = ["client-authentication+jwt", "JWT"];
/// An assertion is made for one request; a longer life would only help whoever steals it.
const TIMES: Times = Times {
    leeway: Duration::from_secs(60),
    longest: Some(Duration::from_secs(300)),
    oldest: None,
};

/// With what an assertion may be signed, in the order of the metadata document (RFC 8414 §2).
pub(crate) const SIGNING_ALGORITHMS: [Algorithm; 9] = Algorithm::ALL;

/// Takes the assertion out of the request. One without its type, or of another type, is a malformed request.
pub(super) fn take(params: &mut Params) -> Result<Option<String>, OAuthError> {
    match (
        params.take("client_assertion"),
        params.take("client_assertion_type"),
    ) {
        (None, None) => Ok(None),
        (Some(assertion), Some(kind)) if kind == ASSERTION_TYPE => Ok(Some(assertion)),
        (_, Some(kind)) if kind != ASSERTION_TYPE => Err(malformed("client_assertion_type is not supported")),
        (None, _) => Err(malformed("client_assertion is missing")),
        (_, _) => Err(malformed("client_assertion_type is missing")),
    }
}

/// An assertion that has been taken apart. Whoever it names has proven nothing yet.
pub(super) struct Assertion<'a> {
    jwt: SignedJwt<'a>,
    client_id: String,
}

impl<'a> Assertion<'a> {
    /// Reads whom it names. RFC 7523 §3, rules 1 and 2 B: issuer and subject are the client.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        let jwt = SignedJwt::parse(text, MAX_BYTES).map_err(because)?;
        let (issuer, subject) = (jwt.unverified("iss"), jwt.unverified("sub"));
        let client_id = subject.filter(|subject| issuer == Some(subject) && !subject.is_empty());
        let client_id = client_id.ok_or("the assertion's iss and sub are not one client")?;
        // Postgres takes no NUL in a text.
        if client_id.contains(char::is_control) {
            return Err("the assertion's sub has control characters".to_owned());
        }
        Ok(Self {
            client_id: client_id.to_owned(),
            jwt,
        })
    }

    pub(super) fn client_id(&self) -> &str {
        &self.client_id
    }

    /// Checks everything, and uses the assertion up. `from` is who shows it.
    pub(super) async fn check(
        self,
        app: &App,
        client: &Client,
        from: ClientAddress,
        now: UnixSeconds,
    ) -> Checked {
        if !self.jwt.has_type(&TYPES, true) {
            return Ok(Err(
                "the assertion's typ is that of another kind of JWT".to_owned()
            ));
        }
        let pinned = client.details.token_endpoint_auth_signing_alg.as_deref();
        if pinned.is_some_and(|pinned| pinned != self.jwt.algorithm().as_str()) {
            return Ok(Err(format!(
                "the assertion is signed with {}, the client registered another algorithm",
                self.jwt.algorithm()
            )));
        }
        let jwt = match app.in_force().client_keys.verify(client, self.jwt, from).await {
            Ok(jwt) => jwt,
            Err(fault) => return Ok(Err(format!("the assertion: {}", fault.unproven(client)?))),
        };
        match check_claims(&jwt, client, app.config.issuer.as_str(), now) {
            Ok(single_use) => use_up(app, client, single_use).await,
            Err(fault) => Ok(Err(because(fault))),
        }
    }
}

/// What makes an assertion unlike any other of its client, and until when that must be remembered.
struct SingleUse {
    jti: String,
    expires_at: UnixSeconds,
}

/// RFC 7523 §3, rules 1 to 7, of an assertion whose signature was verified.
fn check_claims(
    jwt: &VerifiedJwt,
    client: &Client,
    issuer: &str,
    now: UnixSeconds,
) -> Result<SingleUse, JwtFault> {
    for name in ["iss", "sub"] {
        if jwt.text(name)? != Some(&client.client_id) {
            return Err(JwtFault("iss or sub is not the client"));
        }
    }
    // rfc7523bis: our identifier alone. The address of an endpoint would let another server, which names that address
    // as its own, collect assertions for us.
    if !jwt.is_only_for(issuer) {
        return Err(JwtFault("aud is not this server's issuer identifier alone"));
    }
    let expires_at = jwt.check_times(TIMES, now)?;
    let jti = jwt.text("jti")?.ok_or(JwtFault("jti is missing"))?;
    if jti.len() > MAX_JTI {
        return Err(JwtFault("jti is too long"));
    }
    Ok(SingleUse {
        jti: jti.to_owned(),
        expires_at,
    })
}

/// Whoever comes second with an assertion is not the client.
async fn use_up(app: &App, client: &Client, single_use: SingleUse) -> Checked {
    let SingleUse { jti, expires_at } = single_use;
    let key = used_proof::key("assertion", &client.client_id, &jti);
    let is_first = db::used_proof::consume(&app.db, &key, expires_at + TIMES.leeway).await;
    if is_first.map_err(Failure::from)? {
        return Ok(Ok(()));
    }
    tracing::warn!(
        client_id = client.client_id,
        "an assertion was shown a second time"
    );
    Ok(Err("the assertion was used before".to_owned()))
}

fn because(fault: JwtFault) -> String {
    format!("the assertion: {fault}")
}
