//! The client credentials grant (OAuth 2.1 §4.2): a confidential client asks in its own name.
//!
//! oxide-auth's machine asks the questions of the grant in their order; we answer each from what is already proven.

use std::borrow::Cow;

use oxide_auth::code_grant::client_credentials::{ClientCredentials, Input, Output, Request};
use oxide_auth::primitives::grant::Extensions;
use oxide_auth::primitives::registrar::{BoundClient, PreGrant, RegisteredUrl};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use url::Url;

use super::request::TokenRequest;
use super::{Permit, target};
use crate::app::App;
use crate::authorization_details::AuthorizationDetails;
use crate::client::Client;
use crate::client::authenticate::AuthenticatedClient;
use crate::error::Failure;
use crate::registry::Resource;

/// Load what the decision needs, then decide. There is nothing to record: the token is its own record.
pub(super) async fn decide(
    app: &App,
    client: &AuthenticatedClient,
    asked: &TokenRequest,
) -> Result<Permit, Failure> {
    if client.is_public() {
        let refusal = OAuthError::new(
            ErrorCode::UnauthorizedClient,
            "a public client has no credentials to ask with",
        );
        return Err(refusal.into());
    }
    let client = client.client();
    let resource = target(app, client, asked.resource.as_deref()).await?;
    let scope = negotiate((client, &resource), asked.scope.as_ref(), app.config.issuer.url())?;
    let details = asked.authorization_details.as_deref();
    let details = details.map(|text| AuthorizationDetails::ask(text, (client, &resource), &scope));
    let details = details.transpose()?;
    // The client acts for itself. Its id begins with c_, which no user's ever does (RFC 9700 §4.15).
    Ok(Permit {
        client: client.clone(),
        subject: client.client_id.clone(),
        scope,
        resource,
        lineage: None,
        confirmation: None,
        actor: None,
        authorization_details: details.as_ref().map(AuthorizationDetails::value),
        place: None,
    })
}

/// Runs the machine. Client authentication is behind us, so its first question is answered with yes.
fn negotiate(
    (client, resource): (&Client, &Resource),
    asked: Option<&Scope>,
    nowhere: &Url,
) -> Result<Scope, OAuthError> {
    let view = View {
        client_id: &client.client_id,
        scope: asked.map(Scope::to_string),
    };
    let mut machine = ClientCredentials::new(&view);
    let mut input = Input::None;
    loop {
        input = match machine.advance(input) {
            Output::Authenticate { .. } => Input::Authenticated,
            Output::Binding { client_id } => Input::Bound {
                bound_client: bound(client_id, nowhere),
            },
            Output::Extend => Input::Extended {
                extensions: Extensions::new(),
            },
            Output::Negotiate { bound_client, .. } => {
                let granted = granted_scope(client, resource, asked)?;
                let pre_grant = PreGrant {
                    client_id: bound_client.client_id.clone().into_owned(),
                    redirect_uri: bound_client.redirect_uri.clone().into_owned(),
                    scope: granted.to_string().parse().map_err(|_| nothing_left())?,
                };
                Input::Negotiated { pre_grant }
            }
            Output::Ok { pre_grant, .. } => {
                // The machine's scope prints in random order; ours is sorted.
                return Scope::from_tokens(pre_grant.scope.iter()).map_err(|_| nothing_left());
            }
            Output::Err(_) => {
                return Err(OAuthError::new(
                    ErrorCode::InvalidRequest,
                    "the token request is malformed",
                ));
            }
        };
    }
}

/// What the client, the resource and the request all allow. Asking for nothing in particular means all of it.
fn granted_scope(client: &Client, resource: &Resource, asked: Option<&Scope>) -> Result<Scope, OAuthError> {
    let allowed = client.scopes.intersection(&resource.scopes);
    let granted = asked.map_or_else(|| allowed.clone(), |asked| asked.intersection(&allowed));
    if granted.is_empty() {
        Err(nothing_left())
    } else {
        Ok(granted)
    }
}

fn nothing_left() -> OAuthError {
    OAuthError::new(
        ErrorCode::InvalidScope,
        "the client or the resource allows none of that scope",
    )
}

/// The machine wants a redirect URI even where the grant has none. It gets the issuer, which never leaves it.
fn bound(client_id: &str, nowhere: &Url) -> BoundClient<'static> {
    let redirect_uri = Cow::Owned(RegisteredUrl::Semantic(nowhere.clone()));
    BoundClient {
        client_id: Cow::Owned(client_id.to_owned()),
        redirect_uri,
    }
}

/// The machine's view of the request.
struct View<'a> {
    client_id: &'a str,
    scope: Option<String>,
}

impl Request for View<'_> {
    fn valid(&self) -> bool {
        true
    }

    fn authorization(&self) -> Option<(Cow<'_, str>, Cow<'_, [u8]>)> {
        Some((Cow::Borrowed(self.client_id), Cow::Borrowed(b"")))
    }

    fn scope(&self) -> Option<Cow<'_, str>> {
        self.scope.as_deref().map(Cow::Borrowed)
    }

    fn grant_type(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed("client_credentials"))
    }

    fn extension(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::testing;

    fn granted(client: &str, resource: &str, asked: Option<&str>) -> Result<String, ErrorCode> {
        let client = testing::client("client_credentials", client);
        let resource = testing::resource(resource);
        let asked: Option<Scope> = asked.map(|text| text.parse().unwrap());
        let nowhere = "https://as".parse().unwrap();
        negotiate((&client, &resource), asked.as_ref(), &nowhere)
            .map(|s| s.to_string())
            .map_err(|e| e.code)
    }

    #[test]
    fn a_scope_is_what_client_resource_and_request_all_allow() {
        assert_eq!(granted("a b c", "b c d", None).unwrap(), "b c");
        assert_eq!(granted("a b c", "b c d", Some("c a")).unwrap(), "c");
        assert_eq!(granted("a b", "b c", Some("b")).unwrap(), "b");
        assert_eq!(granted("a b", "b c", Some("a c")), Err(ErrorCode::InvalidScope));
        assert_eq!(granted("a", "b", None), Err(ErrorCode::InvalidScope));
    }
}
