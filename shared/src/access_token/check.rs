//! The checks of an access token by name: for logs, metrics and `token explain`.

use std::fmt;

/// The checks, in the order in which they are made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[expect(missing_docs, reason = "each is described by `Check::describe`")]
pub enum Check {
    Size,
    Structure,
    Header,
    Issuer,
    Type,
    Algorithm,
    Key,
    Signature,
    Active,
    Audience,
    Times,
    Claims,
    Binding,
    Scope,
    Status,
}

impl Check {
    /// All checks of a JWT, in order.
    pub const ALL: [Self; 14] = [
        Self::Size,
        Self::Structure,
        Self::Header,
        Self::Issuer,
        Self::Type,
        Self::Algorithm,
        Self::Key,
        Self::Signature,
        Self::Audience,
        Self::Times,
        Self::Claims,
        Self::Binding,
        Self::Scope,
        Self::Status,
    ];

    /// All checks of a token about which its issuer is asked, in order.
    pub const INTROSPECTED: [Self; 9] = [
        Self::Size,
        Self::Issuer,
        Self::Type,
        Self::Active,
        Self::Audience,
        Self::Times,
        Self::Claims,
        Self::Binding,
        Self::Scope,
    ];

    /// The name in logs, metrics and `token explain --json`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Size => "size",
            Self::Structure => "structure",
            Self::Header => "header",
            Self::Type => "type",
            Self::Issuer => "issuer",
            Self::Algorithm => "algorithm",
            Self::Key => "key",
            Self::Signature => "signature",
            Self::Active => "active",
            Self::Audience => "audience",
            Self::Times => "times",
            Self::Claims => "claims",
            Self::Binding => "binding",
            Self::Scope => "scope",
            Self::Status => "status",
        }
    }

    /// What the check demands, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Self::Size => "the token has at most 8 KiB",
            Self::Structure => "three base64url parts: a signed JWT in compact form",
            Self::Header => "a header without repeated members, crit, b64 or zip",
            Self::Type => {
                "it is an access token: typ is at+jwt (RFC 9068 §2.1), or what its issuer has instead"
            }
            Self::Issuer => "iss is an issuer that this node trusts",
            Self::Algorithm => "alg is allowed for the issuer and is the key's own",
            Self::Key => "kid names a key of the issuer",
            Self::Signature => "the signature was made by that key",
            Self::Active => "the issuer says that the token is active (RFC 7662)",
            Self::Audience => "aud is this node's resource",
            Self::Times => "exp lies ahead, nbf and iat do not",
            Self::Claims => "subject, client and id of the token are there and are strings",
            Self::Binding => "the token is not bound to a key that was not shown",
            Self::Scope => "the scope is well formed",
            Self::Status => "the issuer's status list does not say that the token was revoked",
        }
    }

    /// The sentence for `error_description`: true, and no help to a forger.
    pub fn public_sentence(self) -> &'static str {
        match self {
            Self::Issuer => "the token was issued by an authorization server that is not trusted here",
            Self::Algorithm | Self::Key | Self::Signature => "the token's signature cannot be verified",
            Self::Active => "the token is not active: it is unknown, has expired or was revoked",
            Self::Audience => "the token was issued for another resource",
            Self::Times => "the token has expired or is not valid yet",
            Self::Binding => "the token was not shown in the way that its binding to a key asks for",
            Self::Status => "the token was revoked",
            _ => "the token is malformed or not an access token",
        }
    }
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
