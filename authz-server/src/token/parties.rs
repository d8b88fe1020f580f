//! Those whom a token names besides its client: its subject and whoever acts for it. When one of them is gone, the
//! token is worth nothing, though nobody took back the token itself.

use shared::access_token::VerifiedClaims;

use super::family;
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

/// Whether all of them are still there. The client itself is looked at elsewhere.
pub(super) async fn stand(app: &App, claims: &VerifiedClaims) -> Result<bool, Failure> {
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
    let prefixes = [USER, ELSEWHERE, WORKLOAD, "c_", family::PREFIX];
    for (at, one) in prefixes.iter().enumerate() {
        assert!(
            prefixes[at + 1..]
                .iter()
                .all(|other| !other.starts_with(one) && !one.starts_with(other))
        );
    }
}
