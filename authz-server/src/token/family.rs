//! Families: everything that came of one code or device code. Here they begin, and here is checked, at every use,
//! whether what a person once granted still stands.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::secret::{NoRandomness, Secret, SecretHash, SecretKind, random_bytes};

use super::scopes;
use crate::app::App;
use crate::client::Client;
use crate::config::Config;
use crate::db::token_family::NewFamilyRow;
use crate::db::{self, DbFault, Tx};
use crate::error::Failure;
use crate::registry::Resource;
use crate::status_list::Place;

/// A longer scope makes tokens that nodes refuse ([`shared::access_token::MAX_TOKEN_BYTES`]). It is refused before
/// anything is used up.
const MAX_SCOPE_BYTES: usize = 3 * 1024;

/// What a family is made of. Client, user and resource are the grant's.
#[derive(Debug)]
pub(crate) struct NewFamily<'a> {
    pub(crate) grant_id: &'a str,
    pub(crate) client: &'a Client,
    pub(crate) user_id: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) scopes: &'a Scope,
    /// When and how the person proved who they are.
    pub(crate) auth_time: UnixSeconds,
    pub(crate) methods: &'a str,
    pub(crate) nonce: Option<&'a str>,
    /// RFC 9396: a JSON list.
    pub(crate) authorization_details: Option<&'a str>,
    /// What must be shown with its refresh tokens ([`super::sender::kept_for`]).
    pub(crate) confirmation: Option<&'a str>,
    /// Of its first access token, in a status list.
    pub(crate) place: &'a Place,
}

/// What the ids of families begin with.
pub(super) const PREFIX: &str = "f_";
/// What a token's own part of its `jti` begins with: random as it is, it must not look like anything else.
pub(super) const TOKEN: &str = "t_";

impl<'a> NewFamily<'a> {
    fn row(&'a self, config: &Config, family_id: &'a str, now: UnixSeconds) -> NewFamilyRow<'a> {
        NewFamilyRow {
            family_id,
            grant_id: self.grant_id,
            client_id: &self.client.client_id,
            user_id: self.user_id,
            resource: self.resource,
            scopes: self.scopes.to_string(),
            auth_time: self.auth_time,
            methods: self.methods,
            nonce: self.nonce,
            authorization_details: self.authorization_details,
            expires_at: now + config.refresh_ttl,
            confirmation: self.confirmation.map(str::to_owned),
            status: self.place.stored(),
        }
    }
}

/// The id of a family to be.
pub(crate) fn new_id() -> Result<String, NoRandomness> {
    Ok(format!(
        "{PREFIX}{}",
        URL_SAFE_NO_PAD.encode(random_bytes::<16>()?)
    ))
}

/// The first refresh token of a family to be, if the client may have one.
pub(crate) fn new_refresh_token(client: &Client) -> Result<Option<Secret>, NoRandomness> {
    if client.has_grant(super::GrantType::RefreshToken.as_str()) {
        Secret::generate(SecretKind::RefreshToken).map(Some)
    } else {
        Ok(None)
    }
}

/// Begins a family and returns when it ends: nothing of it lives longer, access tokens neither. Ids and secrets are
/// made before the transaction, which may run several times; the grant is locked in it before.
pub(crate) async fn open(
    tx: &mut Tx,
    config: &Config,
    new: &NewFamily<'_>,
    (family_id, refresh): (&str, Option<&Secret>),
    now: UnixSeconds,
) -> Result<UnixSeconds, DbFault> {
    let end = db::token_family::open(tx, &new.row(config, family_id, now), now).await?;
    if let Some(refresh) = refresh {
        let idle_end = idle_end(config, end, now);
        db::refresh_token::insert(tx, &refresh.hash(), family_id, (now, idle_end), None).await?;
    }
    Ok(end)
}

/// Redeems `code` and begins its family, where the database can do both in one statement; returns when the family
/// ends. `None`, and nothing has happened, when it cannot, or the code is not to be had: a transaction finds out why.
pub(super) async fn open_at_once(
    app: &App,
    code: &SecretHash,
    new: &NewFamily<'_>,
    (family_id, refresh): (&str, Option<&Secret>),
    now: UnixSeconds,
) -> Result<Option<UnixSeconds>, DbFault> {
    let row = new.row(&app.config, family_id, now);
    let hash = refresh.map(Secret::hash);
    let kept = (hash.as_ref(), idle_end(&app.config, row.expires_at, now));
    db::redemption::at_once(&app.db, code, &row, kept, now).await
}

/// When a refresh token ends that nobody uses: never later than its family (RFC 9700 §4.14.2).
pub(super) fn idle_end(config: &Config, family_end: UnixSeconds, now: UnixSeconds) -> UnixSeconds {
    family_end.min(now + config.refresh_idle)
}

/// What an access token came of, by its `jti`, whose parts are divided by dots: first its family, when a person stands
/// behind it, then each token that was exchanged on the way to it (RFC 8693) with what that one rested on
/// ([`super::parties`]), at last its own. To take one of them back takes back all that came of it.
pub(crate) fn ancestors_of(token_id: &str) -> impl Iterator<Item = &str> {
    token_id.match_indices('.').map(|(end, _)| &token_id[..end])
}

/// Whether a person granted this very token to its client: it came of a code or a device code, and of nothing else.
pub(crate) fn was_granted(token_id: &str) -> bool {
    token_id.starts_with(PREFIX) && exchanges_behind(token_id) == 0
}

/// How many exchanges led to an access token (RFC 8693).
pub(super) fn exchanges_behind(token_id: &str) -> usize {
    let tokens = token_id.split('.').filter(|part| part.starts_with(TOKEN));
    tokens.count().saturating_sub(1)
}

/// What was granted, as a code or refresh token remembers it.
#[derive(Debug)]
pub(super) struct Granted<'a> {
    pub(super) resource: &'a str,
    /// What the code or family was given.
    pub(super) scopes: &'a str,
    /// What the person allows by now.
    pub(super) grant_scopes: &'a str,
    /// When it was granted.
    pub(super) at: UnixSeconds,
}

/// What of a grant still stands for this request: the resource, and the scope that is left. Nothing that was true
/// when it was granted is believed without another look (OAuth 2.1 §4.3.1). A request may narrow the scope, not widen
/// it (OAuth 2.1 §4.3.1), and name the granted resource only (RFC 8707 §2.2).
pub(super) async fn settle(
    app: &App,
    client: &Client,
    granted: &Granted<'_>,
    (scope, resource): (Option<&Scope>, Option<&str>),
) -> Result<(Arc<Resource>, Scope), Failure> {
    let resources = app.resources().await?;
    let target = |sentence| OAuthError::new(ErrorCode::InvalidTarget, sentence);
    let found = resources
        .find(granted.resource)
        .filter(|found| found.uri == granted.resource)
        .ok_or_else(|| target("the resource is no longer registered"))?;
    if !client.resources.is_empty() && !client.resources.contains(&found.uri) {
        return Err(target("this client may no longer ask for that resource").into());
    }
    if let Some(asked) = resource
        && resources.find(asked).is_none_or(|asked| asked.uri != found.uri)
    {
        return Err(target("this was granted for another resource").into());
    }
    if found.created_at > granted.at || !client.honours(granted.at) {
        // Another resource by the same name, and nobody was asked about that one.
        let reason = format!("{} was registered again after the grant", found.uri);
        return Err(no_longer().because(reason).into());
    }
    let left = left_of(granted, &scopes::grantable(client, found), scope)?;
    Ok((Arc::clone(found), left))
}

/// What of the granted scope is asked for and still allowed.
fn left_of(granted: &Granted<'_>, grantable: &Scope, asked: Option<&Scope>) -> Result<Scope, Failure> {
    let refusal = |sentence| OAuthError::new(ErrorCode::InvalidScope, sentence);
    let damaged = |_| Failure::Internal("a granted scope is damaged".to_owned());
    let given: Scope = granted.scopes.parse().map_err(damaged)?;
    let allowed: Scope = granted.grant_scopes.parse().map_err(damaged)?;
    if asked.is_some_and(|asked| !asked.is_subset(&given)) {
        return Err(refusal("the scope exceeds what was granted").into());
    }
    let left = asked
        .unwrap_or(&given)
        .intersection(&allowed)
        .intersection(grantable);
    let left = scopes::of_access_token(&left);
    if left.is_empty() {
        return Err(refusal("nothing of that scope is allowed any more").into());
    }
    if left.to_string().len() > MAX_SCOPE_BYTES {
        return Err(refusal("the scope makes the token too long; ask for less of it").into());
    }
    Ok(left)
}

/// What a person granted has ended: revoked, expired, or they are disabled or signed out.
pub(super) fn no_longer() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidGrant,
        "it is unknown, expired, revoked or was used before; ask the person again",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(given: &str, allowed: &str, grantable: &str, asked: Option<&str>) -> Result<String, ErrorCode> {
        let granted = Granted {
            resource: "https://rs/mcp",
            scopes: given,
            grant_scopes: allowed,
            at: UnixSeconds(0),
        };
        let asked: Option<Scope> = asked.map(|text| text.parse().unwrap());
        match left_of(&granted, &grantable.parse().unwrap(), asked.as_ref()) {
            Ok(scope) => Ok(scope.to_string()),
            Err(Failure::Refused(refusal)) => Err(refusal.code),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_scope_is_narrowed_by_everyone_and_widened_by_nobody() {
        assert_eq!(left("a b", "a b c", "a b c", None).unwrap(), "a b");
        assert_eq!(left("a b", "a b c", "a b c", Some("b")).unwrap(), "b");
        assert_eq!(
            left("a b", "a b c", "a b c", Some("b c")),
            Err(ErrorCode::InvalidScope)
        );
        assert_eq!(left("a b", "a", "a b", None).unwrap(), "a");
        assert_eq!(left("a b", "a b", "b", None).unwrap(), "b");
        assert_eq!(left("a b", "a b", "c", None), Err(ErrorCode::InvalidScope));
        assert_eq!(left("a b", "a", "b", None), Err(ErrorCode::InvalidScope));
    }

    #[test]
    fn offline_access_alone_gives_no_access_token() {
        let all = "a offline_access";
        assert_eq!(left(all, all, all, None).unwrap(), "a");
        assert_eq!(
            left(all, all, all, Some("offline_access")),
            Err(ErrorCode::InvalidScope)
        );
    }

    #[test]
    fn a_scope_that_makes_tokens_too_long_is_refused_in_time() {
        let many = (0..60)
            .map(|n| format!("{n:03}{}", "x".repeat(60)))
            .collect::<Vec<_>>()
            .join(" ");
        assert_eq!(left(&many, &many, &many, None), Err(ErrorCode::InvalidScope));
    }

    #[test]
    fn a_token_names_all_that_it_came_of() {
        let of = |id: &str| ancestors_of(id).map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(of("f_x.y"), ["f_x"]);
        assert_eq!(of("f_x.y.z"), ["f_x", "f_x.y"]);
        assert!(of("Ue2Bd").is_empty());
        assert!(of(&new_id().unwrap()).is_empty());
        let exchanges = [
            "t_x",
            "t_x.k_c.r_r.t_y",
            "t_x.k_c.r_r.t_y.k_c.r_r.g_g.t_z",
            "f_x.t_y",
            "f_x.t_y.k_c.r_r.t_z",
        ]
        .map(exchanges_behind);
        assert_eq!(exchanges, [0, 1, 2, 0, 1]);
        let granted = ["f_x.t_y", "f_x.t_y.k_c.r_r.t_z", "t_x", "t_x.k_c.r_r.t_y"].map(was_granted);
        assert_eq!(granted, [true, false, false, false]);
    }
}
