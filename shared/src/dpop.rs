//! Proofs of possession (DPoP, RFC 9449): whoever shows a bound token also signs the request with the token's key.
//!
//! Both programs check a proof here, in one order: one header, size, structure, header, key, signature, method and
//! address, access token, nonce, times. What is left to the caller is what only it can know: whether the key is the
//! expected one, and whether the proof was seen before ([`Proof::fingerprint`]).

mod nonce;
mod target;

use std::borrow::Cow;
use std::time::Duration;

use ring::digest::{Context, SHA256};
use serde_json::{Map, Value};

pub use self::nonce::Nonces;
pub use self::target::Target;
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, VerifyingKey, decode_base64url, sha256_base64url};
use crate::json;

/// How old a proof may be (RFC 9449 §11.1: "a relatively brief period").
pub const MAX_AGE: Duration = Duration::from_secs(60);
/// How far a client's clock may be off.
pub const CLOCKS: Duration = Duration::from_secs(30);
/// How long a proof that is dated by its `iat` can be good, from the first moment to the last.
const DATED_LIFE: Duration = Duration::from_secs(MAX_AGE.as_secs() + 2 * CLOCKS.as_secs());
/// No proof is good for longer, whatever dates it.
pub const LONGEST_LIFE: Duration = Nonces::LIFE;
/// A longer proof is refused before anything of it is decoded.
pub const MAX_PROOF_BYTES: usize = 8 * 1024;
/// RFC 9449 §4.2 asks for 96 random bits or a UUID; whatever a client takes fits in here.
const MAX_JTI_BYTES: usize = 256;
/// The longest `htu`: what HTTP servers take as an address.
const MAX_HTU_BYTES: usize = 4 * 1024;

/// Names in `alg` of a proof, and how each is checked. `Ed25519` is RFC 9864's name for what RFC 8037 calls `EdDSA`.
/// PKCS #1 v1.5 is not among them: nothing new should need it (RFC 8725 §3.2).
const NAMES: [(&str, Algorithm); 5] = [
    ("ES256", Algorithm::ES256),
    ("EdDSA", Algorithm::EdDSA),
    ("Ed25519", Algorithm::EdDSA),
    ("ES384", Algorithm::ES384),
    ("PS256", Algorithm::PS256),
];

/// What metadata and challenges say of `alg` (RFC 9449 §5.1, §7.1).
pub fn algorithms() -> impl Iterator<Item = &'static str> {
    NAMES.into_iter().map(|(name, _)| name)
}

/// Why a proof is refused.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ProofFault {
    /// `invalid_dpop_proof` (RFC 9449 §5, §7.1). The reason is for the log.
    #[error("{0}")]
    Invalid(Cow<'static, str>),
    /// `use_dpop_nonce` (RFC 9449 §8, §9): no nonce, or one that is not ours or too old.
    #[error("{0}")]
    Nonce(&'static str),
}

fn invalid(reason: &'static str) -> ProofFault {
    ProofFault::Invalid(Cow::Borrowed(reason))
}

/// What a proof must be for.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The request's method, exactly.
    pub method: &'a str,
    /// The request's address, from the configuration and never from `Host`.
    pub target: &'a Target,
    /// The token that came with it; `None` where none is shown, as at a token endpoint.
    pub access_token: Option<&'a str>,
    /// The nonces that we give out.
    pub nonces: &'a Nonces,
}

/// A proof whose signature, purpose and time have been checked. There is no other way to get one.
#[derive(Clone, Debug)]
pub struct Proof {
    key: String,
    fingerprint: [u8; 32],
    good_until: UnixSeconds,
}

impl Proof {
    /// The thumbprint of the key that made it (RFC 7638), as it stands in `cnf.jkt`.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// By what it is known again: key, `jti` and address (RFC 9449 §11.1). Never the signature, of which there may be
    /// several that are good.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// When it has stopped being good everywhere: it must be known until then.
    pub fn good_until(&self) -> UnixSeconds {
        self.good_until
    }

    /// The proof of a request, if it has one: the values are those of its `DPoP` headers.
    ///
    /// A second header, or two proofs in one, is no proof at all (RFC 9449 §4.3, item 1).
    pub fn of_request<'a>(
        mut headers: impl Iterator<Item = &'a [u8]>,
        expected: &Expected<'_>,
        now: UnixSeconds,
    ) -> Result<Option<Self>, ProofFault> {
        let Some(value) = headers.next() else {
            return Ok(None);
        };
        if headers.next().is_some() {
            return Err(invalid("there are two DPoP headers"));
        }
        let text = str::from_utf8(value).map_err(|_| invalid("the DPoP header is not ASCII"))?;
        Self::verify(text.trim_matches([' ', '\t']), expected, now).map(Some)
    }

    /// Makes every check of RFC 9449 §4.3 but those that are left to the caller.
    pub fn verify(proof: &str, expected: &Expected<'_>, now: UnixSeconds) -> Result<Self, ProofFault> {
        let parts = Parts::read(proof)?;
        let key = parts.signer()?;
        let claims = &parts.claims;
        if required_text(claims, "htm")? != expected.method {
            return Err(invalid("htm is another method"));
        }
        let htu = required_text(claims, "htu")?;
        if htu.len() > MAX_HTU_BYTES || !expected.target.is_named_by(htu) {
            return Err(invalid("htu is another address"));
        }
        let jti = required_text(claims, "jti")?;
        if jti.is_empty() || jti.len() > MAX_JTI_BYTES {
            return Err(invalid("jti is empty or too long"));
        }
        if let Some(token) = expected.access_token
            && required_text(claims, "ath")? != sha256_base64url(token.as_bytes())
        {
            return Err(invalid("ath is of another access token"));
        }
        let good_until = times(claims, expected.nonces, now)?;
        Ok(Self {
            fingerprint: fingerprint(key.kid(), jti, expected.target),
            key: key.kid().to_owned(),
            good_until,
        })
    }
}

/// Each part with its length in front, so that no two proofs run together. The address is ours, not the spelling of
/// the client: two spellings are one use.
fn fingerprint(key: &str, jti: &str, target: &Target) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in ["dpop", key, jti, target.as_str()] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.finish().as_ref());
    fingerprint
}

/// Until when the proof is good. A nonce of ours dates it better than any clock of the client's (RFC 9449 §4.3,
/// item 11), so then `iat` need only be there.
fn times(claims: &Map<String, Value>, nonces: &Nonces, now: UnixSeconds) -> Result<UnixSeconds, ProofFault> {
    let issued_at = seconds(claims, "iat")?.ok_or_else(|| invalid("iat is missing"))?;
    let nonce = match claims.get("nonce") {
        None => None,
        Some(Value::String(nonce)) => Some(nonce.as_str()),
        Some(_) => return Err(invalid("nonce is not a string")),
    };
    let is_dated = match nonce {
        Some(nonce) if nonces.is_ours(nonce, now) => true,
        Some(_) => return Err(ProofFault::Nonce("the nonce is not one of ours, or too old")),
        None if nonces.are_required() => return Err(ProofFault::Nonce("the nonce is missing")),
        None => false,
    };
    if !is_dated && issued_at > now + CLOCKS {
        return Err(invalid("iat lies ahead"));
    }
    if !is_dated && issued_at + MAX_AGE + CLOCKS < now {
        return Err(invalid("iat is too long ago"));
    }
    if seconds(claims, "exp")?.is_some_and(|end| end + CLOCKS <= now) {
        return Err(invalid("the proof has expired"));
    }
    if seconds(claims, "nbf")?.is_some_and(|start| start > now + CLOCKS) {
        return Err(invalid("the proof is not valid yet"));
    }
    Ok(now + if is_dated { Nonces::LIFE } else { DATED_LIFE })
}

/// A proof taken apart; nothing in it is true yet.
struct Parts<'a> {
    signing_input: &'a [u8],
    signature: Vec<u8>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
}

impl<'a> Parts<'a> {
    fn read(proof: &'a str) -> Result<Self, ProofFault> {
        if proof.len() > MAX_PROOF_BYTES {
            return Err(invalid("it is too long"));
        }
        let mut parts = proof.split('.');
        let (Some(header), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid("it has not three parts"));
        };
        let decode = |part: &str| decode_base64url(part).filter(|bytes| !bytes.is_empty());
        let object = |part: &str, what| {
            let bytes = decode(part).ok_or_else(|| invalid("a part is not base64url"))?;
            json::object(&bytes).map_err(|fault| ProofFault::Invalid(format!("the {what}: {fault}").into()))
        };
        Ok(Self {
            signing_input: &proof.as_bytes()[..header.len() + 1 + claims.len()],
            header: object(header, "header")?,
            claims: object(claims, "claims")?,
            signature: decode(signature).ok_or_else(|| invalid("the signature is not base64url"))?,
        })
    }

    /// The key in the header, which has made the signature.
    fn signer(&self) -> Result<VerifyingKey, ProofFault> {
        // What changes how a JWS is read has no place here (RFC 7515 §4.1.11, RFC 7797).
        if ["crit", "b64", "zip", "enc"]
            .iter()
            .any(|member| self.header.contains_key(*member))
        {
            return Err(invalid("the header contains crit, b64, zip or enc"));
        }
        let media_type = required_text(&self.header, "typ")?;
        // Media types are compared without case, and "application/" may be left out (RFC 7515 §4.1.9).
        if !["dpop+jwt", "application/dpop+jwt"]
            .iter()
            .any(|known| known.eq_ignore_ascii_case(media_type))
        {
            return Err(invalid("typ is not dpop+jwt"));
        }
        let name = required_text(&self.header, "alg")?;
        let (_, algorithm) = NAMES
            .into_iter()
            .find(|(known, _)| *known == name)
            .ok_or_else(|| invalid("alg is not allowed"))?;
        let jwk = match self.header.get("jwk") {
            Some(Value::Object(jwk)) => jwk,
            Some(_) => return Err(invalid("jwk is not an object")),
            None => return Err(invalid("jwk is missing")),
        };
        let key = VerifyingKey::from_public_jwk(jwk, algorithm)
            .map_err(|fault| ProofFault::Invalid(format!("jwk: {fault}").into()))?;
        if !key.verifies(self.signing_input, &self.signature) {
            return Err(invalid("the signature does not fit"));
        }
        Ok(key)
    }
}

fn required_text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<&'a str, ProofFault> {
    match members.get(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(ProofFault::Invalid(format!("{name} is not a string").into())),
        None => Err(ProofFault::Invalid(format!("{name} is missing").into())),
    }
}

/// A `NumericDate` (RFC 7519 §2) that is a whole number between 1970 and the year 9999: nothing that could overflow.
fn seconds(claims: &Map<String, Value>, name: &str) -> Result<Option<UnixSeconds>, ProofFault> {
    const YEAR_10000: i64 = 253_402_300_800;
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let number = value.as_i64().filter(|number| (0..YEAR_10000).contains(number));
    match number {
        Some(number) => Ok(Some(UnixSeconds(number))),
        None => Err(ProofFault::Invalid(format!("{name} is not a time").into())),
    }
}

#[cfg(test)]
mod tests;
