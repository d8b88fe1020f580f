//! The authorization code grant (OAuth 2.1 §4.1.3): what a person allowed, fetched once by the client that asked.
//!
//! What is wrong with the request is refused before anything is used up. Then one conditional write redeems the code,
//! in the transaction that begins its family. oxide-auth's machine for this grant is not driven: it demands a
//! `redirect_uri`, which OAuth 2.1 §10.2 dropped, and reads a clock of its own; its [`Pkce`] is what remains
//! (docs/decisions/0005).

use std::net::IpAddr;

use oxide_auth::code_grant::extensions::Pkce;
use oxide_auth::primitives::grant::Value;
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::secret::{Secret, SecretHash};

use super::family::{self, Granted, NewFamily};
use super::request::TokenRequest;
use super::{Lineage, Permit, sender};
use crate::app::App;
use crate::audit::{Event, Name};
use crate::authorization_details::AuthorizationDetails;
use crate::client::Client;
use crate::client::authenticate::AuthenticatedClient;
use crate::db;
use crate::db::authorization_code::{KnownCode, MAX_FAILURES};
use crate::db::token_family::Of;
use crate::error::Failure;
use crate::status_list::Place;

/// What a code that came back deserves.
#[derive(PartialEq, Eq, Debug)]
enum Verdict {
    Redeem,
    /// Counted: whoever guesses verifiers has few tries (OAuth 2.1 §7.5.2).
    WrongVerifier,
    /// A second valid use: the code was stolen, and nobody knows which of the two is the thief (OAuth 2.1 §4.1.3).
    Replayed,
    /// It is bound to a key, and no proof came with it (RFC 9449 §10).
    Unproven,
    Refused(&'static str),
}

/// What became of it in the transaction.
enum Outcome {
    /// The family that began ends then.
    Redeemed(UnixSeconds),
    /// The code had been redeemed; its family, if it still lived, has been ended.
    Replayed(Option<String>),
    /// The grant or the code ended meanwhile.
    Ended,
}

pub(super) async fn decide(
    app: &App,
    client: &AuthenticatedClient,
    asked: &TokenRequest,
    now: UnixSeconds,
) -> Result<Permit, Failure> {
    let kept = sender::kept_for(client, asked)?;
    let client = client.client();
    let code = asked
        .code
        .as_ref()
        .ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "code is missing"))?
        .hash();
    let Some(known) = db::authorization_code::find(&app.db, &code, now).await? else {
        return Err(family::no_longer().because("there is no such code").into());
    };
    match weigh(&known, client, asked, now) {
        Verdict::Redeem => {}
        Verdict::WrongVerifier => {
            db::authorization_code::count_failure(&app.db, &code).await?;
            return Err(family::no_longer().because("the code_verifier is wrong").into());
        }
        Verdict::Replayed => {
            let end = async |tx: &mut db::Tx| end_family(tx, (&code, &known), asked.source, now).await;
            let outcome = app.db.write(end).await?;
            return Err(refuse(&outcome, &known).into());
        }
        Verdict::Unproven => return Err(sender::unproven("the code is bound to a key").into()),
        Verdict::Refused(reason) => return Err(family::no_longer().because(reason).into()),
    }
    let granted = Granted {
        resource: &known.code.resource,
        scopes: &known.code.scopes,
        grant_scopes: &known.grant_scopes,
        at: UnixSeconds(known.code.created_at),
    };
    let narrowed = (asked.scope.as_ref(), asked.resource.as_deref());
    let (resource, scope) = family::settle(app, client, &granted, narrowed).await?;
    let granted = known.code.authorization_details.as_deref();
    let asked_details = asked.authorization_details.as_deref();
    let details = AuthorizationDetails::left(granted, asked_details, (client, &resource), &scope)?;
    let (family_id, refresh_token) = (family::new_id()?, family::new_refresh_token(client)?);
    let issued = (family_id.as_str(), refresh_token.as_ref());
    let place = app.status_lists.allot(app, &resource, None, now).await?;
    let bound = (kept.as_deref(), &place);
    let shown = (&code, &known, asked.source);
    match redeem(app, shown, (client, bound), issued, now).await? {
        Outcome::Redeemed(ends) => Ok(Permit {
            client: client.clone(),
            subject: known.code.user_id,
            scope,
            resource,
            lineage: Some(Lineage {
                family_id,
                ends,
                refresh_token,
                auth_time: UnixSeconds(known.code.auth_time),
                methods: known.code.methods,
                nonce: known.code.nonce,
            }),
            confirmation: None,
            actor: None,
            authorization_details: details.as_ref().map(AuthorizationDetails::value),
            place: Some(place),
        }),
        outcome => Err(refuse(&outcome, &known).into()),
    }
}

/// Everything that can be said of a code without writing. A request that is wrong in any part, of whatever client,
/// changes nothing: otherwise a stranger with half of what is needed could end an honest client's tokens.
fn weigh(known: &KnownCode, client: &Client, asked: &TokenRequest, now: UnixSeconds) -> Verdict {
    let code = &known.code;
    if code.client_id != client.client_id {
        return Verdict::Refused("the code is another client's");
    }
    if asked
        .redirect_uri
        .as_ref()
        .is_some_and(|uri| *uri != code.redirect_uri)
    {
        return Verdict::Refused("redirect_uri is not that of the authorization request");
    }
    // Before the verifier: without the key, whoever has both can neither redeem the code nor end what came of it.
    if let Some(key) = &code.dpop_jkt {
        match asked.confirmation.as_ref().and_then(|shown| shown.jkt.as_ref()) {
            Some(shown) if shown == key => {}
            Some(_) => return Verdict::Refused("the proof is made with another key than dpop_jkt"),
            None => return Verdict::Unproven,
        }
    }
    let Some(verifier) = asked
        .code_verifier
        .as_ref()
        .filter(|verifier| is_well_formed(verifier))
    else {
        return Verdict::Refused("code_verifier is missing or malformed");
    };
    let is_spent = known.redeemed_at.is_some() || known.failures >= MAX_FAILURES;
    if !matches(verifier, &code.code_challenge) {
        return if is_spent {
            Verdict::Refused("the code_verifier is wrong, and the code is spent")
        } else {
            Verdict::WrongVerifier
        };
    }
    if known.redeemed_at.is_some() {
        return Verdict::Replayed;
    }
    if is_spent {
        return Verdict::Refused("the code is spent: too many wrong verifiers");
    }
    if now.0 >= code.expires_at {
        return Verdict::Refused("the code has expired");
    }
    if !known.stands {
        return Verdict::Refused("the grant, the person or their session has ended");
    }
    Verdict::Redeem
}

/// RFC 7636 §4.1: 43 to 128 unreserved characters.
fn is_well_formed(verifier: &Secret) -> bool {
    let text = verifier.reveal();
    (43..=128).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

/// RFC 7636 §4.6 with S256, in constant time.
fn matches(verifier: &Secret, challenge: &str) -> bool {
    // The machine's own form of a challenge made with S256.
    let kept = Value::private(Some(format!("{challenge}S")));
    Pkce::required()
        .verify(Some(kept), Some(verifier.reveal().into()))
        .is_ok()
}

async fn redeem(
    app: &App,
    (hash, known, source): (&SecretHash, &KnownCode, Option<IpAddr>),
    (client, (kept, place)): (&Client, (Option<&str>, &Place)),
    (family_id, refresh_token): (&str, Option<&Secret>),
    now: UnixSeconds,
) -> Result<Outcome, Failure> {
    let code = &known.code;
    let scopes: Scope = code
        .scopes
        .parse()
        .map_err(|_| Failure::Internal("a granted scope is damaged".to_owned()))?;
    let new = NewFamily {
        grant_id: &code.grant_id,
        client,
        user_id: &code.user_id,
        resource: &code.resource,
        scopes: &scopes,
        auth_time: UnixSeconds(code.auth_time),
        methods: &code.methods,
        nonce: code.nonce.as_deref(),
        authorization_details: code.authorization_details.as_deref(),
        confirmation: kept,
        place,
    };
    let issued = (family_id, refresh_token);
    if let Some(ends) = family::open_at_once(app, hash, &new, issued, now).await? {
        return Ok(Outcome::Redeemed(ends));
    }
    let redeemed = app.db.write(async |tx| {
        if !db::access_grant::lock(tx, &code.grant_id, now).await? {
            return Ok(Outcome::Ended);
        }
        if db::authorization_code::redeem(tx, hash, family_id, now).await? {
            let ends = family::open(tx, &app.config, &new, issued, now).await?;
            return Ok(Outcome::Redeemed(ends));
        }
        end_family(tx, (hash, known), source, now).await
    });
    Ok(redeemed.await?)
}

/// Ends what came of a redeemed code.
async fn end_family(
    tx: &mut db::Tx,
    (code, known): (&SecretHash, &KnownCode),
    source: Option<IpAddr>,
    now: UnixSeconds,
) -> Result<Outcome, db::DbFault> {
    let Some(family_id) = db::authorization_code::family(tx, code).await? else {
        return Ok(Outcome::Ended);
    };
    let why = "its authorization code was replayed";
    let ended = db::token_family::revoke(tx, Of::Family(&family_id), why, now).await?;
    if ended == 0 {
        return Ok(Outcome::Replayed(None));
    }
    let whose = (&*known.code.client_id, &*known.code.user_id, &*family_id);
    let event = Event::of_replay(Name::AuthorizationCodeReplayed, whose, source, why);
    db::audit_event::append(tx, &event, now).await?;
    Ok(Outcome::Replayed(Some(family_id)))
}

fn refuse(outcome: &Outcome, known: &KnownCode) -> OAuthError {
    match outcome {
        Outcome::Replayed(Some(family_id)) => {
            tracing::warn!(
                event = "authorization_code_replayed",
                client_id = known.code.client_id,
                user_id = known.code.user_id,
                family_id,
                "security: an authorization code was replayed; everything that came of it has ended"
            );
            family::no_longer().because("the code was redeemed before")
        }
        Outcome::Replayed(None) => family::no_longer().because("the code was redeemed before"),
        Outcome::Ended | Outcome::Redeemed(_) => {
            family::no_longer().because("the code or its grant ended meanwhile")
        }
    }
}

#[cfg(test)]
mod tests;
