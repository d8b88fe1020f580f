//! Issuers and resources: the exact string, which is what is compared and signed, beside the parsed URL.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use url::{Host, Url};

/// Why a text is no issuer or resource.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum UriFault {
    /// A resource of more than [`ResourceUri::MAX_LENGTH`] bytes.
    #[error("it has more than 2048 bytes")]
    Length,
    /// Not an absolute URL.
    #[error("it is not an absolute URL")]
    NotAbsolute,
    /// Neither `https` nor `http` on a loopback host.
    #[error("it must be https (plain http only on localhost, 127.0.0.1 or [::1])")]
    Scheme,
    /// It has a fragment, a user name or a password.
    #[error("it must not contain a fragment or a user name")]
    Extra,
    /// An issuer with a query (RFC 8414 §2).
    #[error("an issuer has no query")]
    Query,
    /// An issuer that ends in a slash: clients compare the string, and would not find it equal.
    #[error("an issuer does not end in a slash; leave it out")]
    TrailingSlash,
    /// White space, control characters or a backslash, which URL parsers repair in different ways.
    #[error("it contains characters that do not belong in a URL")]
    Character,
    /// Upper-case scheme or host, default port, dot segments: not the form a client would type.
    #[error("write it in its normal form: lower-case host, no default port, no dot segments")]
    NotNormal,
}

/// Whether `host` is this machine: `localhost`, `*.localhost`, `127.0.0.0/8`, `[::1]`.
pub fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}

/// Parses a URL that may carry tokens: https, or http on this very machine.
fn parse_secure(text: &str) -> Result<Url, UriFault> {
    if text.bytes().any(|b| b <= b' ' || b == b'\\' || b >= 0x7f) {
        return Err(UriFault::Character);
    }
    let url = Url::parse(text).map_err(|_| UriFault::NotAbsolute)?;
    let host = url.host().ok_or(UriFault::NotAbsolute)?;
    match url.scheme() {
        "https" => {}
        "http" if is_loopback(&host) => {}
        _ => return Err(UriFault::Scheme),
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(UriFault::Extra);
    }
    Ok(url)
}

/// The identifier of an authorization server (RFC 8414 §2). Compared byte for byte.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Issuer {
    text: String,
    url: Url,
}

impl Issuer {
    /// The identifier exactly as configured.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed form.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The path of the issuer without a trailing slash; empty for an issuer without path.
    pub fn path(&self) -> &str {
        self.url.path().trim_end_matches('/')
    }

    /// An endpoint below the issuer: `path` begins with a slash.
    pub fn endpoint(&self, path: &str) -> String {
        // OpenID Connect Discovery §4.1: without the slash that some end in.
        format!("{}{path}", self.text.trim_end_matches('/'))
    }

    /// Where the metadata document `name` of this issuer is: inserted before the path (RFC 8414 §3.1).
    pub fn well_known(&self, name: &str) -> String {
        format!(
            "{}/.well-known/{name}{}",
            self.url.origin().ascii_serialization(),
            self.path()
        )
    }
}

impl Issuer {
    /// The identifier of somebody else, who may write it with a slash at its end, as Auth0 and Entra do.
    pub fn of_stranger(text: &str) -> Result<Self, UriFault> {
        let url = parse_secure(text)?;
        if url.query().is_some() {
            return Err(UriFault::Query);
        }
        let normal = url.as_str();
        if normal != text && normal.strip_suffix('/') != Some(text) {
            return Err(UriFault::NotNormal);
        }
        Ok(Self {
            text: text.to_owned(),
            url,
        })
    }
}

impl FromStr for Issuer {
    type Err = UriFault;

    fn from_str(text: &str) -> Result<Self, UriFault> {
        let issuer = Self::of_stranger(text)?;
        if text.ends_with('/') {
            return Err(UriFault::TrailingSlash);
        }
        Ok(issuer)
    }
}

/// A protected resource's identifier (RFC 8707 §2, RFC 9728 §1.2), exactly as registered.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ResourceUri {
    text: String,
    url: Url,
}

impl ResourceUri {
    /// The longest that is accepted, in bytes: what a database can index, and more than any browser's address line needs.
    pub const MAX_LENGTH: usize = 2048;

    /// The identifier exactly as registered: what stands in `aud`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed form.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The form under which two spellings of one resource meet: lower-case scheme and host, no default port,
    /// no slash at the end. Only for finding a registered resource; what is signed is [`Self::as_str`].
    pub fn lookup_key(&self) -> String {
        let normal = self.url.as_str();
        normal.strip_suffix('/').unwrap_or(normal).to_owned()
    }

    /// Where the metadata of this resource is (RFC 9728 §3.1): inserted before the path.
    pub fn metadata_url(&self) -> String {
        let origin = self.url.origin().ascii_serialization();
        let path = self.url.path().trim_end_matches('/');
        match self.url.query() {
            None => format!("{origin}/.well-known/oauth-protected-resource{path}"),
            Some(query) => format!("{origin}/.well-known/oauth-protected-resource{path}?{query}"),
        }
    }
}

impl FromStr for ResourceUri {
    type Err = UriFault;

    fn from_str(text: &str) -> Result<Self, UriFault> {
        if text.len() > Self::MAX_LENGTH {
            return Err(UriFault::Length);
        }
        let url = parse_secure(text)?;
        // Normalising escapes some characters, and what is looked up is the normal form.
        if url.as_str().len() > Self::MAX_LENGTH {
            return Err(UriFault::Length);
        }
        Ok(Self {
            text: text.to_owned(),
            url,
        })
    }
}

macro_rules! exact_text {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.text)
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.text)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.text)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?
                    .parse()
                    .map_err(serde::de::Error::custom)
            }
        }
    };
}

exact_text!(Issuer);
exact_text!(ResourceUri);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuers_are_exact_and_know_their_well_known_places() {
        let plain: Issuer = "https://auth.example.com".parse().unwrap();
        assert_eq!(
            plain.well_known("oauth-authorization-server"),
            "https://auth.example.com/.well-known/oauth-authorization-server"
        );
        let path: Issuer = "https://example.com/tenant/a".parse().unwrap();
        assert_eq!(path.well_known("x"), "https://example.com/.well-known/x/tenant/a");
        assert_eq!(
            path.endpoint("/oauth/token"),
            "https://example.com/tenant/a/oauth/token"
        );
        let local: Issuer = "http://localhost:9000".parse().unwrap();
        assert_eq!(local.as_str(), "http://localhost:9000");
    }

    #[test]
    fn issuers_that_clients_could_not_compare_are_refused() {
        for (text, fault) in [
            ("auth.example.com", UriFault::NotAbsolute),
            ("http://auth.example.com", UriFault::Scheme),
            ("https://auth.example.com/", UriFault::TrailingSlash),
            ("https://auth.example.com?x", UriFault::Query),
            ("https://auth.example.com#x", UriFault::Extra),
            ("https://u@auth.example.com", UriFault::Extra),
            ("https://Auth.example.com", UriFault::NotNormal),
            ("https://auth.example.com:443", UriFault::NotNormal),
            ("https://auth.example.com/a/../b", UriFault::NotNormal),
            ("https://auth.example.com\\x", UriFault::Character),
        ] {
            assert_eq!(text.parse::<Issuer>().unwrap_err(), fault, "{text}");
        }
    }

    #[test]
    fn issuers_of_others_may_end_in_a_slash() {
        let auth0 = Issuer::of_stranger("https://tenant.example/").unwrap();
        assert_eq!(auth0.as_str(), "https://tenant.example/");
        assert_eq!(
            auth0.endpoint("/.well-known/openid-configuration"),
            "https://tenant.example/.well-known/openid-configuration"
        );
        let entra = Issuer::of_stranger("https://sts.example/tenant/").unwrap();
        assert_eq!(entra.well_known("x"), "https://sts.example/.well-known/x/tenant");
        assert_eq!(entra.endpoint("/x"), "https://sts.example/tenant/x");
        for bad in [
            "http://as.example/",
            "https://as.example/?x",
            "https://As.example/",
        ] {
            assert!(Issuer::of_stranger(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_resource_has_a_length_that_a_database_can_index() {
        let of_length = |length: usize| {
            let start = "https://node.example.com/";
            format!("{start}{}", "x".repeat(length - start.len()))
        };
        assert!(of_length(2048).parse::<ResourceUri>().is_ok());
        assert_eq!(
            of_length(2049).parse::<ResourceUri>().unwrap_err(),
            UriFault::Length
        );
        // Each of these is three bytes in the normal form.
        let escaped = format!("https://node.example.com/{}", "{".repeat(1000));
        assert_eq!(escaped.parse::<ResourceUri>().unwrap_err(), UriFault::Length);
    }

    #[test]
    fn spellings_of_one_resource_meet() {
        let registered: ResourceUri = "https://node.example.com/mcp".parse().unwrap();
        for spelling in [
            "https://NODE.example.com/mcp",
            "https://node.example.com:443/mcp/",
            "https://node.example.com/mcp",
        ] {
            assert_eq!(
                spelling.parse::<ResourceUri>().unwrap().lookup_key(),
                registered.lookup_key(),
                "{spelling}"
            );
        }
        let other: ResourceUri = "https://node.example.com/mcp2".parse().unwrap();
        assert_ne!(other.lookup_key(), registered.lookup_key());
        assert_eq!(
            registered.metadata_url(),
            "https://node.example.com/.well-known/oauth-protected-resource/mcp"
        );
        let root: ResourceUri = "https://node.example.com/".parse().unwrap();
        assert_eq!(
            root.metadata_url(),
            "https://node.example.com/.well-known/oauth-protected-resource"
        );
    }
}
