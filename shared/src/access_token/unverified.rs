//! A token taken apart: strict base64url, strict JSON, each member of its exact type, and nothing believed.

use serde_json::{Map, Value};

use super::shape::TokenType;
use super::{Check, Expectation, MAX_TOKEN_BYTES, TokenFault, VerifiedClaims, claims, marks, printable};
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, SharedSecret, VerifyingKey, decode_base64url, sha256_base64url};
use crate::json;

/// A token that has been taken apart. Nothing in it is true yet: use it only to choose the issuer and the key.
pub struct UnverifiedToken<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    algorithm: String,
    kid: Option<String>,
    typ: TokenType,
    claims: Map<String, Value>,
}

impl<'a> UnverifiedToken<'a> {
    /// Makes the checks up to [`Check::Header`].
    pub fn parse(token: &'a str) -> Result<Self, TokenFault> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenFault::new(
                Check::Size,
                format!("it has {} bytes", token.len()),
            ));
        }
        let structure = |reason: &str| TokenFault::new(Check::Structure, reason);
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(structure("it has not three parts"));
        };
        let decode = |part: &str| decode_base64url(part).filter(|bytes| !bytes.is_empty());
        let header_bytes = decode(header).ok_or_else(|| structure("the header is not base64url"))?;
        let payload = decode(payload).ok_or_else(|| structure("the claims are not base64url"))?;
        let signature = decode(signature).ok_or_else(|| structure("the signature is not base64url"))?;
        let header_members =
            json::object(&header_bytes).map_err(|e| TokenFault::new(Check::Header, e.to_string()))?;
        let (algorithm, kid, typ) = read_header(&header_members)?;
        let claims = json::object(&payload).map_err(|e| structure(&format!("the claims: {e}")))?;
        let signed = token.len() - token.rsplit('.').next().map_or(0, str::len) - 1;
        Ok(Self {
            signing_input: &token.as_bytes()[..signed],
            signature,
            algorithm,
            kid,
            typ,
            claims,
        })
    }

    /// The issuer that the token claims, to choose whose keys to ask.
    pub fn issuer(&self) -> Result<&str, TokenFault> {
        match self.claims.get("iss") {
            Some(Value::String(issuer)) => Ok(issuer),
            Some(_) => Err(TokenFault::new(Check::Issuer, "iss is not a string")),
            None => Err(TokenFault::new(Check::Issuer, "iss is missing")),
        }
    }

    /// Whether it names no issuer at all.
    pub fn names_no_issuer(&self) -> bool {
        !self.claims.contains_key("iss")
    }

    /// Whether the token says of itself that it is an access token, in the way of its issuer ([`Check::Type`]).
    pub fn check_type(&self, expectation: &Expectation) -> Result<(), TokenFault> {
        marks::check(&self.claims, &self.typ, expectation)
    }

    /// The algorithm that the token claims, if `expectation` allows it.
    pub fn algorithm(&self, expectation: &Expectation) -> Result<Algorithm, TokenFault> {
        let algorithm: Algorithm = self.algorithm.parse().map_err(|_| self.forbidden())?;
        if expectation.algorithms.contains(&algorithm) {
            Ok(algorithm)
        } else {
            Err(self.forbidden())
        }
    }

    fn forbidden(&self) -> TokenFault {
        TokenFault::new(
            Check::Algorithm,
            format!("alg {} is not allowed", printable(&self.algorithm)),
        )
    }

    /// The audience that the token claims, if it is a single one.
    pub fn claimed_audience(&self) -> Option<&str> {
        self.claims.get("aud").and_then(Value::as_str)
    }

    /// The name of the key that the token claims.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The same; `None` only where tokens of this shape may leave it out.
    pub fn named_key(&self, expectation: &Expectation) -> Result<Option<&str>, TokenFault> {
        match &self.kid {
            Some(kid) => Ok(Some(kid)),
            None if expectation.shape.may_leave_out_kid() => Ok(None),
            None => Err(TokenFault::new(Check::Key, "kid is missing")),
        }
    }

    /// Makes all checks from [`Check::Issuer`] on, with the key that [`Self::kid`] names in the issuer's set.
    pub fn verify(
        self,
        key: &VerifyingKey,
        expectation: &Expectation,
        now: UnixSeconds,
    ) -> Result<VerifiedClaims, TokenFault> {
        self.check_issuer(expectation)?;
        self.check_type(expectation)?;
        let algorithm = self.algorithm(expectation)?;
        if algorithm != key.algorithm() {
            let reason = format!("alg is {algorithm} but the key is for {}", key.algorithm());
            return Err(TokenFault::new(Check::Algorithm, reason));
        }
        if self.named_key(expectation)?.is_some_and(|kid| kid != key.kid()) {
            return Err(TokenFault::new(Check::Key, "kid names another key"));
        }
        if !key.verifies(self.signing_input, &self.signature) {
            return Err(TokenFault::new(Check::Signature, "the signature does not fit"));
        }
        self.check_claims(expectation, now)
    }

    /// As [`Self::verify`], for an issuer that shares a secret with us. There is one, whatever `kid` says, and it knows
    /// one algorithm: nothing that verifies with a public key can be verified here, and nothing here with a public key.
    pub fn verify_with_secret(
        self,
        secret: &SharedSecret,
        expectation: &Expectation,
        now: UnixSeconds,
    ) -> Result<VerifiedClaims, TokenFault> {
        self.check_issuer(expectation)?;
        self.check_type(expectation)?;
        if self.algorithm != secret.algorithm().as_str() {
            return Err(self.forbidden());
        }
        if !secret.verifies(self.signing_input, &self.signature) {
            return Err(TokenFault::new(Check::Signature, "the signature does not fit"));
        }
        self.check_claims(expectation, now)
    }

    fn check_issuer(&self, expectation: &Expectation) -> Result<(), TokenFault> {
        if *self.issuer()? == *expectation.issuer {
            return Ok(());
        }
        Err(TokenFault::new(Check::Issuer, "iss is another issuer"))
    }

    fn check_claims(
        &self,
        expectation: &Expectation,
        now: UnixSeconds,
    ) -> Result<VerifiedClaims, TokenFault> {
        let source = claims::Source {
            claims: &self.claims,
            rules: expectation.shape.rules(&self.typ),
            expectation,
        };
        source.check(now, || sha256_base64url(self.signing_input))
    }
}

/// `alg`, `kid` and `typ`, from a header that asks for nothing else of us. Key references (`jwk`, `jku`, `x5u`, `x5c`)
/// are never looked at: the key comes from the issuer's set (RFC 8725 §3.10).
fn read_header(header: &Map<String, Value>) -> Result<(String, Option<String>, TokenType), TokenFault> {
    let fault = |reason: &str| TokenFault::new(Check::Header, reason);
    for forbidden in ["crit", "b64", "zip", "enc"] {
        if header.contains_key(forbidden) {
            return Err(fault(&format!(
                "it contains {forbidden}, which access tokens never have"
            )));
        }
    }
    let text = |member: &str| match header.get(member) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.as_str())),
        Some(_) => Err(fault(&format!("{member} is not a string"))),
    };
    let algorithm = text("alg")?.ok_or_else(|| fault("alg is missing"))?;
    let kid = text("kid")?;
    let typ = text("typ")?.map_or(TokenType::Missing, media_type);
    Ok((algorithm.to_owned(), kid.map(str::to_owned), typ))
}

/// Media types are compared without case, and "application/" may be left out (RFC 7515 §4.1.9).
fn media_type(typ: &str) -> TokenType {
    const PREFIX: &str = "application/";
    let bare = match typ.get(..PREFIX.len()) {
        Some(start) if start.eq_ignore_ascii_case(PREFIX) => &typ[PREFIX.len()..],
        _ => typ,
    };
    if bare.eq_ignore_ascii_case("at+jwt") {
        TokenType::AtJwt
    } else if bare.eq_ignore_ascii_case("jwt") {
        TokenType::Jwt
    } else {
        TokenType::Other(typ.to_owned())
    }
}
