//! How the access tokens of one kind of authorization server are written: which `typ` they have, and which claims name
//! the client, the token and the scope. What tells them from ID tokens stands in [`super::marks`].

/// A kind of authorization server, as far as its tokens show it. Each reads what its documentation promises, and
/// nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Shape {
    /// RFC 9068 to the letter, for one resource: our own server.
    EdgeHive,
    /// RFC 9068; perhaps for several resources.
    Rfc9068,
    /// Any other server; the operator says which `typ` its access tokens have.
    Plain(TokenTypes),
    /// Both token profiles of Auth0: its own, and RFC 9068.
    Auth0,
    /// Custom authorization servers of Okta. Those of the organization itself are for Okta alone.
    Okta,
    /// User pools of Amazon Cognito. Without resource binding, no token has an audience: then the client is it.
    Cognito,
    /// Microsoft Entra ID.
    Entra {
        /// The tenant's id: `tid` of every token.
        tenant: String,
        /// Which endpoint issues them.
        version: EntraVersion,
    },
    /// Realms of Keycloak.
    Keycloak,
}

/// The two forms of Entra's tokens. The resource chooses (`requestedAccessTokenVersion`), not the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EntraVersion {
    /// Issued by `https://sts.windows.net/<tenant>/`.
    V1,
    /// Issued by `https://login.microsoftonline.com/<tenant>/v2.0`.
    V2,
}

/// Which `typ` access tokens have (RFC 7515 §4.1.9).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TokenTypes {
    /// `at+jwt`: then the token is one of RFC 9068, whole.
    pub at_jwt: bool,
    /// `JWT`, which ID tokens have too.
    pub jwt: bool,
    /// None at all.
    pub missing: bool,
}

/// The `typ` of one token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum TokenType {
    AtJwt,
    Jwt,
    Missing,
    Other(String),
}

/// How a scope claim is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    Text,
    List,
    Either,
}

/// Where the claims of a token say what.
#[derive(Debug)]
pub(super) struct Rules {
    /// The client; where several are there, they agree.
    pub(super) clients: &'static [&'static str],
    /// The token's own name.
    pub(super) ids: &'static [&'static str],
    pub(super) needs_id: bool,
    /// The scope: the first that is there.
    pub(super) scopes: &'static [(&'static str, Form)],
    /// Whether the claim that the operator named comes before those.
    pub(super) configured_first: bool,
}

const EDGE_HIVE: Rules = Rules {
    clients: &["client_id"],
    ids: &["jti"],
    needs_id: true,
    scopes: &[
        ("scope", Form::Text),
        ("scopes", Form::Either),
        ("scp", Form::Either),
    ],
    configured_first: false,
};

const RFC_9068: Rules = Rules {
    configured_first: true,
    ..EDGE_HIVE
};

const PLAIN: Rules = Rules {
    clients: &["client_id", "azp", "cid", "appid"],
    ids: &["jti", "uti"],
    needs_id: false,
    scopes: &[
        ("scope", Form::Either),
        ("scopes", Form::Either),
        ("scp", Form::Either),
    ],
    configured_first: true,
};

/// <https://auth0.com/docs/secure/tokens/access-tokens/access-token-profiles>: `azp`, and no `jti`.
const AUTH0: Rules = Rules {
    clients: &["azp"],
    ids: &["jti"],
    needs_id: false,
    scopes: &[("scope", Form::Text)],
    configured_first: true,
};

const OKTA: Rules = Rules {
    clients: &["cid"],
    ids: &["jti"],
    needs_id: true,
    scopes: &[("scp", Form::List)],
    configured_first: true,
};

const COGNITO: Rules = Rules {
    clients: &["client_id"],
    ids: &["jti"],
    needs_id: true,
    scopes: &[("scope", Form::Text)],
    configured_first: true,
};

const ENTRA_V1: Rules = Rules {
    clients: &["appid"],
    ids: &["uti"],
    needs_id: false,
    scopes: &[("scp", Form::Text)],
    // What a person may do (`roles`) is not what they let the client do (`scp`): roles count in tokens of apps alone.
    configured_first: false,
};

const ENTRA_V2: Rules = Rules {
    clients: &["azp"],
    ..ENTRA_V1
};

const KEYCLOAK: Rules = Rules {
    clients: &["azp", "client_id"],
    ids: &["jti"],
    needs_id: true,
    scopes: &[("scope", Form::Text)],
    configured_first: true,
};

impl Shape {
    /// Whether tokens may leave out which key signed them, when the issuer has only one for the algorithm.
    pub fn may_leave_out_kid(&self) -> bool {
        matches!(self, Self::Plain(_))
    }

    /// Whether a token for several resources is refused. Our own server issues none.
    pub(super) fn has_one_audience(&self) -> bool {
        *self == Self::EdgeHive
    }

    pub(super) fn takes(&self, typ: &TokenType) -> bool {
        match (self, typ) {
            (_, TokenType::Other(_)) => false,
            (Self::EdgeHive | Self::Rfc9068, typ) => *typ == TokenType::AtJwt,
            (Self::Plain(types), TokenType::AtJwt) => types.at_jwt,
            (Self::Plain(types), TokenType::Jwt) => types.jwt,
            (Self::Plain(types), TokenType::Missing) => types.missing,
            (Self::Auth0 | Self::Entra { .. } | Self::Keycloak, typ) => *typ != TokenType::Missing,
            (Self::Okta | Self::Cognito, _) => true,
        }
    }

    pub(super) fn rules(&self, typ: &TokenType) -> &'static Rules {
        match self {
            Self::EdgeHive => &EDGE_HIVE,
            Self::Rfc9068 => &RFC_9068,
            // Whoever writes the type of RFC 9068 is held to all of it.
            Self::Plain(_) | Self::Auth0 if *typ == TokenType::AtJwt => &RFC_9068,
            Self::Plain(_) => &PLAIN,
            Self::Auth0 => &AUTH0,
            Self::Okta => &OKTA,
            Self::Cognito => &COGNITO,
            Self::Entra { version, .. } => match version {
                EntraVersion::V1 => &ENTRA_V1,
                EntraVersion::V2 => &ENTRA_V2,
            },
            Self::Keycloak => &KEYCLOAK,
        }
    }
}
