//! Token Status Lists (draft-ietf-oauth-status-list): one signed, compressed list says of many tokens whether each still
//! stands. A token names its place in a list; whoever takes tokens keeps the list.
//!
//! What the authorization server writes and what a node demands stand side by side. Reading comes in two steps, as two
//! types: an [`UnverifiedList`] has been taken apart, to choose the key; a [`VerifiedList`] is what the issuer said.

use std::fmt;
use std::io::Read;
use std::io::Write;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::access_token::{Check, TokenFault};
use crate::clock::UnixSeconds;
use crate::jose::{VerifyingKey, decode_base64url, sha256_base64url};
use crate::signed_jwt::{JwtFault, SignedJwt};

/// The type of a list among JWTs (§5.1).
pub const TYPE: &str = "statuslist+jwt";
/// The media type of a list (§8.2).
pub const MEDIA_TYPE: &str = "application/statuslist+jwt";
/// A list that is longer, signed and compressed, is not read.
pub const MAX_TOKEN_BYTES: usize = 1024 * 1024;
/// A list that inflates to more is not read: eight million places of one bit.
pub const MAX_LIST_BYTES: usize = 1024 * 1024;
/// How far the clocks of an issuer and a reader may differ.
const LEEWAY: Duration = Duration::from_secs(60);

/// The place of a token in a list (§6.2, `status.status_list`).
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct StatusReference {
    /// The place.
    #[serde(rename = "idx")]
    pub index: u64,
    /// The list, by its address.
    pub uri: String,
}

impl StatusReference {
    /// Reads the claim `status` of a token. `None` when it names no place in a list: other issuers have claims of that
    /// name, and other mechanisms exist (§6.1).
    pub fn read(claim: &Value) -> Result<Option<Self>, TokenFault> {
        let fault = |reason: &str| TokenFault::new(Check::Status, reason);
        let Some(place) = claim.get("status_list") else {
            return Ok(None);
        };
        let index = place.get("idx").and_then(Value::as_u64);
        let uri = place
            .get("uri")
            .and_then(Value::as_str)
            .filter(|uri| !uri.is_empty());
        Ok(Some(Self {
            index: index.ok_or_else(|| fault("status_list.idx is not a whole number"))?,
            uri: uri
                .ok_or_else(|| fault("status_list.uri is not an address"))?
                .to_owned(),
        }))
    }
}

/// The claims of a list (§5.1).
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the claims are named and defined by §5.1")]
pub struct Claims<'a> {
    pub iss: &'a str,
    pub sub: &'a str,
    pub iat: UnixSeconds,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<UnixSeconds>,
    /// Seconds.
    pub ttl: u64,
    pub status_list: Packed<'a>,
}

/// A compressed list (§4.2).
#[derive(Debug, Serialize)]
pub struct Packed<'a> {
    /// Bits for each token.
    pub bits: u8,
    /// The list, as [`pack`] makes it.
    pub lst: &'a str,
    /// Where the addresses of other lists are (§9.2).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aggregation_uri: Option<&'a str>,
}

/// Compresses a list for `lst` (§4.1, §4.2): zlib, as small as it gets, base64url.
pub fn pack(list: &[u8]) -> std::io::Result<String> {
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::best());
    packer.write_all(list)?;
    Ok(URL_SAFE_NO_PAD.encode(packer.finish()?))
}

/// Why a list is refused. Names no value of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct ListFault(pub &'static str);

impl ListFault {
    /// It was signed before the one that the reader has.
    pub const OLDER: Self = Self("it is older than the one that is held");
    /// It says less than the one that the reader has.
    pub const TAKES_BACK: Self = Self("it takes revocations back");
    const LIES_AHEAD: Self = Self("iat lies ahead");
    const EXPIRED: Self = Self("it has expired");

    /// Whether it lies in what the reader has, or in its clock: another reader may take the same list, so whoever passes it
    /// on may mean well.
    pub fn is_of_reader(self) -> bool {
        [Self::OLDER, Self::TAKES_BACK, Self::LIES_AHEAD, Self::EXPIRED].contains(&self)
    }
}

impl From<JwtFault> for ListFault {
    fn from(fault: JwtFault) -> Self {
        Self(fault.0)
    }
}

/// A list that has been taken apart. Use it only to choose the key.
#[derive(Debug)]
pub struct UnverifiedList<'a>(SignedJwt<'a>);

impl<'a> UnverifiedList<'a> {
    /// Takes a list apart; checks size, form and type.
    pub fn parse(token: &'a str) -> Result<Self, ListFault> {
        let jwt = SignedJwt::parse(token, MAX_TOKEN_BYTES)?;
        if !jwt.has_type(&[TYPE], false) {
            return Err(ListFault("its typ is not statuslist+jwt"));
        }
        Ok(Self(jwt))
    }

    /// The name of the key that it claims.
    pub fn kid(&self) -> Option<&str> {
        self.0.kid()
    }

    /// The address of the list that it claims to be.
    pub fn uri(&self) -> Option<&str> {
        self.0.unverified("sub")
    }

    /// When it claims to have been signed.
    pub fn claimed_iat(&self) -> Option<UnixSeconds> {
        self.0.unverified_time("iat")
    }

    /// Verifies the signature with `key` and everything that §8.3 asks of the list at `uri`, whose issuer is `issuer`.
    pub fn verify(
        self,
        key: &VerifyingKey,
        (issuer, uri): (&str, &str),
        now: UnixSeconds,
    ) -> Result<VerifiedList, ListFault> {
        let verified = self.0.verify(key)?;
        // The draft leaves `iss` to profiles. One that is there must be ours: keys may serve several names.
        if verified.text("iss")?.is_some_and(|named| named != issuer) {
            return Err(ListFault("its iss is another issuer"));
        }
        if verified.text("sub")? != Some(uri) {
            return Err(ListFault("its sub is not the address of the list"));
        }
        let issued_at = verified.time("iat")?.ok_or(ListFault("iat is missing"))?;
        if issued_at > now + LEEWAY {
            return Err(ListFault::LIES_AHEAD);
        }
        let expires_at = verified.time("exp")?;
        if expires_at.is_some_and(|end| now >= end + LEEWAY) {
            return Err(ListFault::EXPIRED);
        }
        let ttl = match verified.claims().get("ttl") {
            None => None,
            Some(ttl) => {
                let seconds = ttl.as_u64().filter(|seconds| *seconds > 0);
                Some(Duration::from_secs(
                    seconds.ok_or(ListFault("ttl is not a positive number"))?,
                ))
            }
        };
        let packed = verified.claims().get("status_list").and_then(Value::as_object);
        let packed = packed.ok_or(ListFault("status_list is missing"))?;
        let aggregation_uri = packed.get("aggregation_uri").and_then(Value::as_str);
        Ok(VerifiedList {
            list: StatusList::unpack(packed)?,
            issued_at,
            expires_at,
            ttl,
            aggregation_uri: aggregation_uri.map(str::to_owned),
        })
    }
}

/// What an issuer says of many of its tokens.
#[derive(Debug)]
pub struct VerifiedList {
    /// The states.
    pub list: StatusList,
    /// When it was signed.
    pub issued_at: UnixSeconds,
    /// When nobody may use it any more.
    pub expires_at: Option<UnixSeconds>,
    /// How long it may serve before the issuer is asked again.
    pub ttl: Option<Duration>,
    /// Where the addresses of other lists are.
    pub aggregation_uri: Option<String>,
}

/// A list of states, each of one, two, four or eight bits.
#[derive(Clone, PartialEq, Eq)]
pub struct StatusList {
    bits: u8,
    bytes: Vec<u8>,
}

impl StatusList {
    /// A list from its bytes. `None` for a number of bits that the draft does not know.
    pub fn new(bits: u8, bytes: Vec<u8>) -> Option<Self> {
        matches!(bits, 1 | 2 | 4 | 8).then_some(Self { bits, bytes })
    }

    fn unpack(packed: &Map<String, Value>) -> Result<Self, ListFault> {
        let bits = packed
            .get("bits")
            .and_then(Value::as_u64)
            .and_then(|bits| u8::try_from(bits).ok());
        let lst = packed.get("lst").and_then(Value::as_str);
        let lst = lst.ok_or(ListFault("lst is missing"))?;
        let bytes = inflate(&decode_base64url(lst).ok_or(ListFault("lst is not base64url"))?)?;
        bits.and_then(|bits| Self::new(bits, bytes))
            .ok_or(ListFault("bits is not 1, 2, 4 or 8"))
    }

    /// How many tokens it speaks of.
    pub fn len(&self) -> u64 {
        self.bytes.len() as u64 * u64::from(8 / self.bits)
    }

    /// Whether it speaks of none.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A short name of what it says: SHA-256 of the list, base64url.
    pub fn digest(&self) -> String {
        sha256_base64url(&self.bytes)
    }

    /// The state of the token at `index`: 0 is valid, 1 invalid, 2 suspended (§7.1). `None` beyond the end.
    pub fn get(&self, index: u64) -> Option<u8> {
        let per_byte = u64::from(8 / self.bits);
        let byte = *usize::try_from(index / per_byte)
            .ok()
            .and_then(|at| self.bytes.get(at))?;
        let shift = u32::try_from(index % per_byte).ok()? * u32::from(self.bits);
        let mask = u8::MAX >> (8 - self.bits);
        Some(byte.checked_shr(shift)? & mask)
    }

    /// Whether this list takes a revocation back, or became shorter. Of a state, the lowest bit must stay: 1 is "invalid",
    /// which is final, while 2 is "suspended", which may be lifted (§7.1). As an odd state stays odd, no way round through
    /// a third state makes a revoked token valid.
    pub fn takes_back(&self, older: &Self) -> bool {
        let lowest = match self.bits {
            1 => 0xff,
            2 => 0b0101_0101,
            4 => 0b0001_0001,
            _ => 1,
        };
        self.bits != older.bits
            || self.bytes.len() < older.bytes.len()
            || older
                .bytes
                .iter()
                .zip(&self.bytes)
                .any(|(old, new)| old & !new & lowest != 0)
    }
}

impl fmt::Debug for StatusList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StatusList({} places of {} bits)", self.len(), self.bits)
    }
}

/// One zlib stream and nothing after it, of at most [`MAX_LIST_BYTES`]; its checksum must fit (RFC 1950 §2.2).
fn inflate(packed: &[u8]) -> Result<Vec<u8>, ListFault> {
    let mut inflater = ZlibDecoder::new(packed);
    let mut bytes = Vec::new();
    let mut limited = (&mut inflater).take(MAX_LIST_BYTES as u64 + 1);
    limited
        .read_to_end(&mut bytes)
        .map_err(|_| ListFault("lst is not zlib"))?;
    if bytes.len() > MAX_LIST_BYTES {
        return Err(ListFault("lst inflates to too much"));
    }
    if inflater.total_in() != packed.len() as u64 {
        return Err(ListFault("something follows after lst"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
