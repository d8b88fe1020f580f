//! A token request, parsed once. Nothing behind it sees raw parameters.

use std::net::IpAddr;

use shared::access_token::Confirmation;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::secret::Secret;

use crate::client::{DEVICE_CODE, JWT_BEARER, TOKEN_EXCHANGE, authenticate};
use crate::params::Params;

/// Every parameter that the token endpoint understands, whichever the grant.
pub(super) const PARAMETERS: [&str; 19] = [
    "grant_type",
    "scope",
    "code",
    "code_verifier",
    "redirect_uri",
    "refresh_token",
    "device_code",
    "authorization_details",
    "assertion",
    "subject_token",
    "subject_token_type",
    "actor_token",
    "actor_token_type",
    "requested_token_type",
    "audience",
    authenticate::PARAMETERS[0],
    authenticate::PARAMETERS[1],
    authenticate::PARAMETERS[2],
    authenticate::PARAMETERS[3],
];

/// The grants of this server. Each is one file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GrantType {
    /// OAuth 2.1 §4.1.3.
    AuthorizationCode,
    /// OAuth 2.1 §4.3.
    RefreshToken,
    /// OAuth 2.1 §4.2.
    ClientCredentials,
    /// RFC 8628 §3.4.
    DeviceCode,
    /// RFC 7523 §2.1.
    JwtBearer,
    /// RFC 8693 §2.1.
    TokenExchange,
}

impl GrantType {
    pub(crate) const ALL: [Self; 6] = [
        Self::AuthorizationCode,
        Self::RefreshToken,
        Self::ClientCredentials,
        Self::DeviceCode,
        Self::JwtBearer,
        Self::TokenExchange,
    ];

    /// The registered name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::RefreshToken => "refresh_token",
            Self::ClientCredentials => "client_credentials",
            Self::DeviceCode => DEVICE_CODE,
            Self::JwtBearer => JWT_BEARER,
            Self::TokenExchange => TOKEN_EXCHANGE,
        }
    }
}

/// What is asked for.
#[derive(Debug)]
pub(super) struct TokenRequest {
    pub(super) grant_type: GrantType,
    /// `None` when the client leaves it to us.
    pub(super) scope: Option<Scope>,
    /// The resource as the client spells it.
    pub(super) resource: Option<String>,
    pub(super) code: Option<Secret>,
    /// RFC 7636 §4.1.
    pub(super) code_verifier: Option<Secret>,
    /// Not needed (OAuth 2.1 §10.2), but when it comes it must be the one of the authorization request.
    pub(super) redirect_uri: Option<String>,
    pub(super) refresh_token: Option<Secret>,
    pub(super) device_code: Option<Secret>,
    /// RFC 9396 §6, as text.
    pub(super) authorization_details: Option<String>,
    /// What the request proves possession of; [`super::sender::prove`] fills it in.
    pub(super) confirmation: Option<Confirmation>,
    /// RFC 7523 §2.1.
    pub(super) assertion: Option<Secret>,
    pub(super) exchange: ExchangeRequest,
    /// The address that it came from, for the audit log; the corridor fills it in.
    pub(super) source: Option<IpAddr>,
}

/// What only an exchange has (RFC 8693 §2.1).
#[derive(Debug, Default)]
pub(super) struct ExchangeRequest {
    pub(super) subject_token: Option<Secret>,
    pub(super) subject_token_type: Option<String>,
    pub(super) actor_token: Option<Secret>,
    pub(super) actor_token_type: Option<String>,
    pub(super) requested_token_type: Option<String>,
    /// Another way to name the resource.
    pub(super) audience: Option<String>,
}

impl TokenRequest {
    pub(super) fn read(params: &mut Params) -> Result<Self, OAuthError> {
        let name = params.take("grant_type");
        let name = name.ok_or_else(|| OAuthError::new(ErrorCode::InvalidRequest, "grant_type is missing"))?;
        let grant_type = GrantType::ALL
            .into_iter()
            .find(|known| known.as_str() == name)
            .ok_or_else(|| {
                OAuthError::new(
                    ErrorCode::UnsupportedGrantType,
                    "this server does not know that grant_type",
                )
            })?;
        let (scope, resource) = asked_for(params)?;
        let authorization_details = params.take("authorization_details");
        if authorization_details.is_some()
            && matches!(grant_type, GrantType::JwtBearer | GrantType::TokenExchange)
        {
            // To pass over them would look like a yes until somebody reads the token.
            return Err(OAuthError::new(
                ErrorCode::InvalidAuthorizationDetails,
                "this grant takes no authorization details",
            ));
        }
        Ok(Self {
            grant_type,
            scope,
            resource,
            code: params.take("code").map(Secret::from),
            code_verifier: params.take("code_verifier").map(Secret::from),
            redirect_uri: params.take("redirect_uri"),
            refresh_token: params.take("refresh_token").map(Secret::from),
            device_code: params.take("device_code").map(Secret::from),
            authorization_details,
            confirmation: None,
            assertion: params.take("assertion").map(Secret::from),
            exchange: ExchangeRequest {
                subject_token: params.take("subject_token").map(Secret::from),
                subject_token_type: params.take("subject_token_type"),
                actor_token: params.take("actor_token").map(Secret::from),
                actor_token_type: params.take("actor_token_type"),
                requested_token_type: params.take("requested_token_type"),
                audience: params.take("audience"),
            },
            source: None,
        })
    }
}

/// `scope` and `resource`, as the device authorization endpoint reads them too.
pub(super) fn asked_for(params: &mut Params) -> Result<(Option<Scope>, Option<String>), OAuthError> {
    let scope = params
        .take("scope")
        .map(|text| text.parse())
        .transpose()
        .map_err(|fault: shared::scope::ScopeFault| {
            OAuthError::new(ErrorCode::InvalidScope, "the scope is malformed or too long")
                .because(fault.to_string())
        })?;
    let mut resources = params.take_resources().into_iter();
    let resource = resources.next();
    // RFC 8707 §2 lets us: a token for two resources could be used by one against the other.
    if resources.next().is_some() {
        return Err(OAuthError::new(
            ErrorCode::InvalidTarget,
            "a token is for one resource; ask once for each",
        ));
    }
    Ok((scope, resource))
}
