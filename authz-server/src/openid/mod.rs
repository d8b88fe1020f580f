//! OpenID Connect on top of OAuth: who the person is, for clients that ask for `openid`.

pub(crate) mod id_token;
mod userinfo;

use shared::jose::Algorithm;

pub(crate) use self::userinfo::userinfo;

/// What ID tokens are signed with: RS256, which every client must understand (OpenID Connect Core §15.1) and expects
/// unless it registered otherwise.
pub(crate) const ID_TOKEN_ALGORITHM: Algorithm = Algorithm::RS256;

/// The claims that an ID token or userinfo may contain, for the metadata.
pub(crate) const CLAIMS: [&str; 14] = [
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "azp",
    "email",
    "email_verified",
    "exp",
    "iat",
    "iss",
    "name",
    "nonce",
    "preferred_username",
    "sub",
];
