//! Which scope a code would carry. oxide-auth's authorization machine asks the questions of the code grant in their
//! order, its PKCE extension among them; we answer each from what is already proven.

use std::borrow::Cow;

use oxide_auth::code_grant::authorization::{Authorization, Input, Output, Request};
use oxide_auth::code_grant::extensions::Pkce;
use oxide_auth::primitives::grant::Extensions;
use oxide_auth::primitives::registrar::{BoundClient, ExactUrl, PreGrant, RegisteredUrl};
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;

use crate::client::Client;
use crate::registry::Resource;

/// Scopes about the person rather than a resource (OpenID Connect Core §5.4, §11). A client of people may ask for
/// them without being registered for them, and gets them only when it asks.
const IDENTITY: [&str; 3] = ["email", "openid", "profile"];
/// Accepted and of no effect: who may have a refresh token is a matter of the client's grants.
const OFFLINE_ACCESS: &str = "offline_access";

/// What is proven of a request when its scope is decided.
pub(super) struct Facts<'a> {
    pub(super) client: &'a Client,
    pub(super) resource: &'a Resource,
    /// As requested, found to be the client's.
    pub(super) redirect_uri: &'a str,
    pub(super) code_challenge: Option<&'a str>,
}

/// Runs the machine.
pub(super) fn negotiate(facts: &Facts<'_>, asked: Option<&Scope>) -> Result<Scope, OAuthError> {
    let view = View {
        facts,
        scope: asked.map(Scope::to_string).filter(|scope| !scope.is_empty()),
    };
    let broken = || {
        OAuthError::new(
            ErrorCode::InvalidRequest,
            "the authorization request is malformed",
        )
    };
    let mut machine = Authorization::new(&view);
    let mut input = Input::None;
    loop {
        input = match machine.advance(input) {
            Output::Bind { client_id, .. } => {
                let redirect_uri: ExactUrl = facts.redirect_uri.parse().map_err(|_| broken())?;
                let bound_client = BoundClient {
                    client_id: Cow::Owned(client_id),
                    redirect_uri: Cow::Owned(RegisteredUrl::Exact(redirect_uri)),
                };
                Input::Bound {
                    request: &view,
                    bound_client,
                }
            }
            Output::Extend => Input::Extended(extensions(facts).ok_or_else(broken)?),
            Output::Negotiate { bound_client, .. } => {
                let pre_grant = PreGrant {
                    client_id: bound_client.client_id.clone().into_owned(),
                    redirect_uri: bound_client.redirect_uri.clone().into_owned(),
                    scope: grantable(facts, asked)?
                        .to_string()
                        .parse()
                        .map_err(|_| nothing_left())?,
                };
                Input::Negotiated {
                    pre_grant,
                    state: None,
                }
            }
            Output::Ok { pre_grant, .. } => {
                // The machine's scope prints in random order; ours is sorted.
                return Scope::from_tokens(pre_grant.scope.iter()).map_err(|_| nothing_left());
            }
            Output::Err(_) => return Err(broken()),
        };
    }
}

fn extensions(facts: &Facts<'_>) -> Option<Extensions> {
    let pkce = Pkce::required();
    let challenge = facts.code_challenge.map(Cow::Borrowed);
    let proven = pkce.challenge(Some(Cow::Borrowed("S256")), challenge).ok()??;
    let mut extensions = Extensions::new();
    extensions.set(&pkce, proven);
    Some(extensions)
}

/// What the client, the resource and the request all allow. Asking for nothing in particular means all that the client
/// may do at the resource.
fn grantable(facts: &Facts<'_>, asked: Option<&Scope>) -> Result<Scope, OAuthError> {
    let at_resource = facts.client.scopes.intersection(&facts.resource.scopes);
    let asked = asked.filter(|asked| asked.iter().any(|token| token != OFFLINE_ACCESS));
    let granted = match asked {
        None => at_resource,
        Some(asked) => {
            let identity = Scope::from_tokens(IDENTITY).unwrap_or_default();
            asked.intersection(&at_resource.union(&identity))
        }
    };
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

/// The machine's view of the request.
struct View<'a> {
    facts: &'a Facts<'a>,
    scope: Option<String>,
}

impl Request for View<'_> {
    fn valid(&self) -> bool {
        true
    }

    fn client_id(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(&self.facts.client.client_id))
    }

    fn scope(&self) -> Option<Cow<'_, str>> {
        self.scope.as_deref().map(Cow::Borrowed)
    }

    fn redirect_uri(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed(self.facts.redirect_uri))
    }

    fn state(&self) -> Option<Cow<'_, str>> {
        None
    }

    fn response_type(&self) -> Option<Cow<'_, str>> {
        Some(Cow::Borrowed("code"))
    }

    fn extension(&self, _: &str) -> Option<Cow<'_, str>> {
        None
    }
}
