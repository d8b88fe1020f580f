//! `kind`: whose product the authorization server is. It decides how tokens are read, and what is usual where the
//! operator says nothing.

use shared::access_token::{EntraVersion, Shape, TokenTypes};
use shared::config::Section;
use shared::uri::Issuer;
use url::Url;

/// What kind of authorization server it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IssuerKind {
    /// Our own: one audience for each token.
    EdgeHive,
    /// Any server that issues RFC 9068 access tokens, or others, if `token_types` says so.
    Generic,
    /// Auth0.
    Auth0,
    /// A custom authorization server of Okta.
    Okta,
    /// A user pool of Amazon Cognito.
    Cognito,
    /// A tenant of Microsoft Entra ID.
    Entra,
    /// A realm of Keycloak.
    Keycloak,
}

const ALL: [(&str, IssuerKind); 7] = [
    ("edge-hive", IssuerKind::EdgeHive),
    ("generic", IssuerKind::Generic),
    ("auth0", IssuerKind::Auth0),
    ("okta", IssuerKind::Okta),
    ("cognito", IssuerKind::Cognito),
    ("entra", IssuerKind::Entra),
    ("keycloak", IssuerKind::Keycloak),
];

impl IssuerKind {
    pub(super) fn read(section: &mut Section<'_>) -> Option<Self> {
        let name: String = section.value("kind", "edge-hive")?;
        let known = ALL.iter().find(|(known, _)| *known == name);
        if known.is_none() {
            let names = ALL.map(|(name, _)| format!("{name:?}")).join(", ");
            section.fault("kind", format!("{name:?} is not known; write one of {names}"));
        }
        known.map(|(_, kind)| *kind)
    }

    /// How its tokens are written. A fault stays in the section.
    pub(super) fn shape(self, section: &mut Section<'_>, issuer: &Issuer) -> Option<Shape> {
        let types: Vec<String> = section.list("token_types", "");
        if self == Self::Generic {
            return generic(section, &types);
        }
        if section.has("token_types") {
            let reason = "only kind = \"generic\" can be told; this kind knows what its tokens look like";
            section.fault("token_types", reason);
        }
        Some(match self {
            Self::EdgeHive | Self::Generic => Shape::EdgeHive,
            Self::Auth0 => Shape::Auth0,
            Self::Okta => Shape::Okta,
            Self::Cognito => Shape::Cognito,
            Self::Entra => return entra(section, issuer),
            Self::Keycloak => Shape::Keycloak,
        })
    }

    /// What it signs with, unless configured.
    pub(super) fn usual_algorithms(self) -> &'static str {
        match self {
            Self::EdgeHive | Self::Generic => "EdDSA,ES256,RS256",
            Self::Keycloak => "RS256,ES256,EdDSA,PS256",
            Self::Auth0 | Self::Okta | Self::Cognito | Self::Entra => "RS256",
        }
    }

    /// Whether it can sign with a secret that the resource server has too.
    pub(super) fn may_share_a_secret(self) -> bool {
        matches!(self, Self::Auth0 | Self::Generic)
    }

    /// Whether it can be asked about tokens (RFC 7662).
    pub(super) fn can_be_asked(self) -> bool {
        !matches!(self, Self::Auth0 | Self::Cognito | Self::Entra)
    }

    /// Whether it wants its endpoint as the audience of our assertions, where others want their identifier.
    pub(super) fn asserts_to_endpoint(self) -> bool {
        self == Self::Okta
    }

    /// Where its keys are, when its metadata name another host. Entra's first form does so.
    pub(super) fn usual_keys(self, issuer: &Issuer) -> Option<Url> {
        if self != Self::Entra || issuer.url().host_str() != Some("sts.windows.net") {
            return None;
        }
        let tenant = issuer.path().trim_start_matches('/');
        format!("https://login.microsoftonline.com/{tenant}/discovery/keys")
            .parse()
            .ok()
    }
}

fn generic(section: &mut Section<'_>, names: &[String]) -> Option<Shape> {
    let mut types = TokenTypes::default();
    for name in names {
        match name.as_str() {
            "at+jwt" => types.at_jwt = true,
            "JWT" => types.jwt = true,
            "none" => types.missing = true,
            other => {
                let reason = format!("{other:?} is not known; write \"at+jwt\", \"JWT\" or \"none\"");
                section.fault("token_types", reason);
                return None;
            }
        }
    }
    let is_standard = !types.jwt && !types.missing;
    Some(if is_standard {
        Shape::Rfc9068
    } else {
        Shape::Plain(types)
    })
}

/// `https://login.microsoftonline.com/<tenant>/v2.0` or `https://sts.windows.net/<tenant>/`, here or in a national cloud.
fn entra(section: &mut Section<'_>, issuer: &Issuer) -> Option<Shape> {
    let path = issuer.url().path();
    let (tenant, version) = match path.strip_suffix("/v2.0") {
        Some(tenant) => (Some(tenant), EntraVersion::V2),
        None => (path.strip_suffix('/'), EntraVersion::V1),
    };
    let tenant = tenant
        .and_then(|path| path.strip_prefix('/'))
        .filter(|id| is_guid(id));
    if tenant.is_none() {
        let reason = "tokens name one tenant, by its id: write https://login.microsoftonline.com/<tenant id>/v2.0 or \
                      https://sts.windows.net/<tenant id>/, and one [[issuer]] for each tenant";
        section.fault("url", reason);
    }
    tenant.map(|tenant| Shape::Entra {
        tenant: tenant.to_owned(),
        version,
    })
}

/// As Entra writes it in `tid`: lower case.
fn is_guid(text: &str) -> bool {
    let groups: Vec<_> = text.split('-').collect();
    let lengths = groups.iter().map(|group| group.len());
    lengths.eq([8, 4, 4, 4, 12])
        && groups
            .iter()
            .all(|group| group.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
}
