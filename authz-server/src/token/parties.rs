//! Those whom a token names besides its client: its subject and whoever acts for it. When one of them is gone, the
//! token is worth nothing, though nobody took back the token itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::access_token::VerifiedClaims;
use shared::clock::UnixSeconds;

use super::{family, own};
use crate::app::App;
use crate::db;
use crate::error::Failure;
use crate::policy::exchange::actors;

/// What user ids begin with.
const USER: &str = "u_";
/// What the ids begin with of people whom only their identity provider knows ([`super::id_jag`]).
pub(super) const ELSEWHERE: &str = "e_";
/// What the subjects of workloads begin with ([`crate::policy::workload`]).
const WORKLOAD: &str = "workload:";

/// Whether `party` is a person with an account here.
pub(super) fn is_user(party: &str) -> bool {
    party.starts_with(USER)
}

/// The parts of a `jti` by which a token that came of an exchange names what the shown one rested on.
const CLIENT: &str = "k_";
const RESOURCE: &str = "r_";
const GRANT: &str = "g_";

/// What a token that is exchanged rests on, as parts of the new token's `jti`: its client, its resource, and the grant
/// with which the person agreed to the exchange, if they had to.
pub(super) fn rests_on(shown: &VerifiedClaims, grant_id: Option<&str>) -> String {
    let encode = |text: &str| URL_SAFE_NO_PAD.encode(text);
    let (client, resource) = (encode(shown.client_id()), encode(shown.audience()));
    let mut parts = format!("{CLIENT}{client}.{RESOURCE}{resource}");
    if let Some(grant_id) = grant_id {
        // A grant's id has that prefix already.
        parts.push('.');
        parts.push_str(grant_id);
    }
    parts
}

/// Whether what the tokens rested on that led to this one is still there.
async fn supports_stand(app: &App, claims: &VerifiedClaims, now: UnixSeconds) -> Result<bool, Failure> {
    let decode = |text: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .unwrap_or_default()
    };
    for part in claims.token_id().split('.') {
        let stands = if let Some(client_id) = part.strip_prefix(CLIENT) {
            let client = app.client(&decode(client_id)).await?;
            client.is_some_and(|client| client.honours(claims.issued_at()))
        } else if let Some(uri) = part.strip_prefix(RESOURCE) {
            let (uri, resources) = (decode(uri), app.resources().await?);
            resources.find(&uri).is_some_and(|resource| {
                resource.uri == uri && claims.issued_at() + own::CLOCKS >= resource.created_at
            })
        } else if part.starts_with(GRANT) {
            db::access_grant::stands(&app.db, part, now).await?
        } else {
            true
        };
        if !stands {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether all of them are still there. The client itself is looked at elsewhere.
pub(super) async fn stand(app: &App, claims: &VerifiedClaims, now: UnixSeconds) -> Result<bool, Failure> {
    if !supports_stand(app, claims, now).await? {
        return Ok(false);
    }
    let own = claims.client_id();
    for party in actors(claims.actor()).chain([claims.subject()]) {
        if party != own && !stands(app, party, claims).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

async fn stands(app: &App, party: &str, claims: &VerifiedClaims) -> Result<bool, Failure> {
    if party.starts_with(ELSEWHERE) || party.starts_with(WORKLOAD) {
        // Whoever vouched for them was asked when the token was made.
        return Ok(true);
    }
    if !party.starts_with(USER) {
        let client = app.client(party).await?;
        return Ok(client.is_some_and(|client| client.honours(claims.issued_at())));
    }
    if party == claims.subject() && is_of_family(claims) {
        // A family ends with its person (db::token_family::Of::User).
        return Ok(true);
    }
    let user = db::user_account::find(&app.db, party).await?;
    Ok(user.is_some_and(|user| user.disabled_at.is_none()))
}

fn is_of_family(claims: &VerifiedClaims) -> bool {
    let mut ancestors = family::ancestors_of(claims.token_id());
    ancestors
        .next()
        .is_some_and(|first| first.starts_with(family::PREFIX))
}

/// A person's family begins when they sign in; a token that an identity provider vouches for has none.
#[cfg(test)]
#[test]
fn ids_of_parties_do_not_collide() {
    let parties = [USER, ELSEWHERE, WORKLOAD, "c_"];
    let parts = [family::PREFIX, family::TOKEN, CLIENT, RESOURCE, GRANT];
    let prefixes = [&parties[..], &parts].concat();
    for (at, one) in prefixes.iter().enumerate() {
        assert!(
            prefixes[at + 1..]
                .iter()
                .all(|other| !other.starts_with(one) && !one.starts_with(other))
        );
    }
}
