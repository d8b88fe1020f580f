//! Who may ask: the one place where a token is turned into somebody who may use the API.

use ::web::address::ClientAddress;
use actix_web::HttpRequest;
use shared::clock::UnixSeconds;
use shared::oauth_error::{ErrorCode, OAuthError};

use super::by::By;
use super::operation::Operation;
use super::{resource, right};
use crate::app::App;
use crate::client::Origin;
use crate::db;
use crate::error::Failure;
use crate::token::{family, shown};

/// Whoever shows a token of this very server, for this very resource, with a scope that the operation needs: a client
/// that an operator made, in its own name; or through such a client an administrator, who granted it.
pub(super) async fn enter(
    app: &App,
    request: &HttpRequest,
    operation: &Operation,
    now: UnixSeconds,
) -> Result<By, Failure> {
    let claims = shown::active(app, request, now).await?;
    let wrong = |reason: &'static str| Failure::from(shown::invalid_token().because(reason));
    if claims.audience() != resource::uri(&app.config.issuer) {
        return Err(wrong("the token is for another resource"));
    }
    let client = app.client(claims.client_id()).await?;
    if client.is_none_or(|client| client.origin != Origin::Operator) {
        return Err(wrong("no operator made the client of the token"));
    }
    let person = match claims.subject() {
        subject if subject == claims.client_id() => None,
        // By a code or a device code, and by no exchange or assertion: what somebody else says of a person makes
        // nobody an administrator.
        subject if family::was_granted(claims.token_id()) => Some(subject),
        _ => return Err(wrong("the token speaks for somebody who did not grant it")),
    };
    if let Some(user_id) = person {
        let user = db::user_account::find(&app.db, user_id).await?;
        if user.is_none_or(|user| !user.is_admin || user.disabled_at.is_some()) {
            let sentence = "the person of the token is no administrator";
            return Err(OAuthError::new(ErrorCode::AccessDenied, sentence).into());
        }
    }
    let scope = claims.scope();
    let needed = right::needed(operation.noun, operation.right());
    if !needed.iter().any(|wanted| scope.contains(wanted)) {
        let sentence = format!("the token needs the scope {} or {}", needed[0], needed[1]);
        return Err(OAuthError::new(ErrorCode::InsufficientScope, sentence).into());
    }
    app.administration.check((claims.client_id(), person))?;
    let source = ClientAddress::of(request).0;
    Ok(By::token(claims.client_id(), person, scope, source))
}
