//! Authorization codes (OAuth 2.1 §4.1.2): the one place where they are made. One transaction decides who of several
//! answers to one question counts, writes what was allowed, and keeps the code.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use shared::clock::UnixSeconds;
use shared::scope::Scope;
use shared::secret::{Secret, SecretHash, SecretKind, random_bytes};

use super::approval::{self, Approval, Lasts};
use super::request::AuthorizationRequest;
use super::step::code_scope;
use crate::account::SignedIn;
use crate::app::App;
use crate::authorization_details::AuthorizationDetails;
use crate::client::document;
use crate::console;
use crate::db::access_grant::{self, GrantRow};
use crate::db::authorization_code::{self, CodeRow};
use crate::db::{self, Tx};
use crate::error::Failure;

/// Who allows it, and how they proved who they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Approver<'a> {
    pub(super) user_id: &'a str,
    /// `None` through the testing door.
    pub(super) session_id: Option<&'a str>,
    pub(super) auth_time: UnixSeconds,
    pub(super) methods: &'a str,
}

impl<'a> Approver<'a> {
    /// A person in their browser.
    pub(super) fn person(person: &'a SignedIn) -> Self {
        Self {
            user_id: &person.user.user_id,
            session_id: Some(&person.session_id),
            auth_time: person.authenticated_at,
            methods: &person.methods,
        }
    }
}

/// Why a code may be made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Basis<'a> {
    /// A grant that covers the request, and nobody needs to be asked.
    Standing(&'a GrantRow),
    /// They have just said yes.
    Approved {
        /// What they had granted before.
        before: Option<&'a GrantRow>,
        remember: bool,
        lasts: Lasts,
    },
}

impl<'a> Basis<'a> {
    /// Nobody was asked: an administrator enters the console, with this standing grant.
    pub(super) fn entering(before: Option<&'a GrantRow>) -> Self {
        Self::Approved {
            before,
            remember: false,
            lasts: Lasts::AsBefore,
        }
    }
}

/// An interaction that this answer finishes: its id and the browser it belongs to.
pub(super) type Finishing<'a> = Option<(&'a str, SecretHash)>;

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// The code to send.
    Code(Secret),
    /// Somebody else, in another tab for example, has answered before.
    Decided,
    /// The standing grant, or the session, has ended.
    Gone,
}

/// Makes a code for `asked`.
pub(super) async fn issue(
    app: &App,
    asked: &AuthorizationRequest,
    (approver, basis): (Approver<'_>, Basis<'_>),
    finishing: Finishing<'_>,
    now: UnixSeconds,
) -> Result<Outcome, Failure> {
    let code = Secret::generate(SecretKind::AuthorizationCode)?;
    if matches!(basis, Basis::Approved { .. }) {
        document::keep(app, &asked.client, now).await?;
        if console::is_it(&asked.client) {
            console::keep(app, now).await?;
        }
    }
    let new_grant_id = format!("g_{}", URL_SAFE_NO_PAD.encode(random_bytes::<16>()?));
    let row = |grant_id: &str, scopes: &Scope| CodeRow {
        grant_id: grant_id.to_owned(),
        client_id: asked.client.client_id.clone(),
        user_id: approver.user_id.to_owned(),
        redirect_uri: asked.to.redirect_uri.clone(),
        code_challenge: asked.code_challenge.clone(),
        resource: asked.resource.uri.clone(),
        scopes: scopes.to_string(),
        nonce: asked.nonce.clone(),
        session_id: approver.session_id.map(str::to_owned),
        auth_time: approver.auth_time.0,
        methods: approver.methods.to_owned(),
        created_at: now.0,
        expires_at: (now + app.config.code_ttl).0,
        dpop_jkt: asked.dpop_jkt.clone(),
        authorization_details: asked
            .authorization_details
            .as_ref()
            .map(AuthorizationDetails::text),
    };
    if let (Basis::Standing(grant), None, None) = (&basis, &finishing, &asked.pushed) {
        let row = row(&grant.grant_id, &asked.scope);
        let is_kept = authorization_code::insert_under(&app.db, &code.hash(), &row).await?;
        return Ok(if is_kept {
            Outcome::Code(code)
        } else {
            Outcome::Gone
        });
    }
    let outcome = app.db.write(async |tx| {
        if let Some((interaction, browser)) = &finishing
            && !db::interaction::finish(tx, interaction, browser, now).await?
        {
            return Ok(Outcome::Decided);
        }
        // RFC 9126 §7.3: a reference serves one answer, however often its page was shown.
        if let Some(reference) = &asked.pushed
            && !db::pushed_request::finish(tx, reference, now).await?
        {
            return Ok(Outcome::Decided);
        }
        if let Some(session_id) = approver.session_id
            && !db::session::stands(tx, (approver.user_id, session_id), now).await?
        {
            return Ok(Outcome::Gone);
        }
        let allowed = allow(tx, asked, (approver, basis), &new_grant_id, now).await?;
        let Some((grant_id, scopes)) = allowed else {
            return Ok(Outcome::Gone);
        };
        authorization_code::insert(tx, &code.hash(), &row(&grant_id, &scopes)).await?;
        Ok(Outcome::Code(code.clone()))
    });
    Ok(outcome.await?)
}

/// The grant that the code belongs to and the scopes that it carries; `None` when the standing one is gone.
async fn allow(
    tx: &mut Tx,
    asked: &AuthorizationRequest,
    (approver, basis): (Approver<'_>, Basis<'_>),
    new_grant_id: &str,
    now: UnixSeconds,
) -> Result<Option<(String, Scope)>, db::DbFault> {
    let (before, remember, lasts) = match basis {
        Basis::Standing(grant) => {
            let stands = access_grant::lock(tx, &grant.grant_id, now).await?;
            return Ok(stands.then(|| (grant.grant_id.clone(), asked.scope.clone())));
        }
        Basis::Approved {
            before,
            remember,
            lasts,
        } => (before, remember, lasts),
    };
    let approval = Approval {
        user_id: approver.user_id,
        client_id: &asked.client.client_id,
        resource: &asked.resource.uri,
        scopes: &asked.scope,
        remember,
        lasts,
    };
    let grant = approval::record(tx, &approval, new_grant_id, now).await?;
    // The grant that was read before the transaction may have been revoked since.
    let granted: Scope = grant.scopes.parse().unwrap_or_default();
    let scopes = code_scope(asked, before).intersection(&granted);
    Ok(Some((grant.grant_id, scopes)))
}
