//! What the server says of a node, signed: alone as a record, which the node shows to its peers, and together with all
//! others as the directory.
//!
//! A record is no credential: it says to whom a key belongs, and whoever shows it still has to prove that they hold the
//! key (RFC 7800 §3.2).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::name;
use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, KeySet, VerifyingKey};
use crate::signed_jwt::{JwtFault, SignedJwt, Times, VerifiedJwt};
use crate::status_list::StatusReference;

/// The type of a record.
pub const RECORD_TYPE: &str = "edge-hive-node+jwt";
/// The type of the directory.
pub const DIRECTORY_TYPE: &str = "edge-hive-nodes+jwt";
/// A longer record is refused.
pub const MAX_RECORD_BYTES: usize = 16 * 1024;
/// A longer directory is refused: some 20 000 nodes.
pub const MAX_DIRECTORY_BYTES: usize = 16 * 1024 * 1024;

const TIMES: Times = Times {
    leeway: Duration::from_secs(60),
    longest: None,
    oldest: None,
};

/// A node as the server knows it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct NodeRecord {
    /// The node's id, which follows from its key.
    pub node_id: String,
    /// Its libp2p peer id, which follows from its key.
    pub peer_id: String,
    /// Its name for people.
    pub name: String,
    /// What tokens for it name as their audience, and where it is reached.
    pub resource: String,
    /// What it can do, in words such as `mcp`.
    pub capabilities: Vec<String>,
    /// When it enrolled.
    pub enrolled_at: UnixSeconds,
    /// Its key (RFC 7800 §3.2).
    pub cnf: Confirmation,
    /// Where the server says whether the record still stands (draft-ietf-oauth-status-list §6.1). The directory names none: who
    /// is in it stands.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<RecordStatus>,
}

/// The place of a record in a status list.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct RecordStatus {
    /// The list, and the place in it.
    pub status_list: StatusReference,
}

/// The key that a node must prove to hold.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Confirmation {
    /// The public key (RFC 8037 §2).
    pub jwk: Map<String, Value>,
}

impl NodeRecord {
    /// The key, if the names are its own.
    pub fn key(&self) -> Result<VerifyingKey, JwtFault> {
        let key = VerifyingKey::from_public_jwk(&self.cnf.jwk, Algorithm::EdDSA);
        let key = key.map_err(|_| JwtFault("its cnf holds no key of a node"))?;
        let public = key.ed25519().ok_or(JwtFault("its cnf holds no key of a node"))?;
        if self.node_id != name::node_id(public) || self.peer_id != name::peer_id(public) {
            return Err(JwtFault("its names are not those of its key"));
        }
        Ok(key)
    }
}

/// A record that was checked, and the text that shows it to others.
#[derive(Clone, PartialEq, Debug)]
pub struct SignedRecord {
    /// What the server says.
    pub record: NodeRecord,
    /// As it was signed.
    pub text: String,
    /// When.
    pub issued_at: UnixSeconds,
    /// Until when it counts.
    pub expires_at: UnixSeconds,
}

/// A directory that was checked.
#[derive(Clone, PartialEq, Debug)]
pub struct SignedDirectory {
    /// Every living node.
    pub nodes: Vec<NodeRecord>,
    /// When it was signed.
    pub issued_at: UnixSeconds,
    /// Until when it counts.
    pub expires_at: UnixSeconds,
}

/// A record that has been taken apart. Use it only to choose the key.
#[derive(Debug)]
pub struct UnverifiedRecord<'a> {
    jwt: SignedJwt<'a>,
    text: &'a str,
}

impl<'a> UnverifiedRecord<'a> {
    /// Takes a record of at most [`MAX_RECORD_BYTES`] apart.
    pub fn parse(text: &'a str) -> Result<Self, JwtFault> {
        let jwt = SignedJwt::parse(text, MAX_RECORD_BYTES)?;
        Ok(Self { jwt, text })
    }

    /// The name of the key that it claims.
    pub fn kid(&self) -> Option<&str> {
        self.jwt.kid()
    }

    /// Checks it as a record of the server `issuer`, whose key of that name is `key`.
    pub fn verify(
        self,
        (issuer, key): (&str, &VerifyingKey),
        now: UnixSeconds,
    ) -> Result<SignedRecord, JwtFault> {
        signed_record(self.jwt.verify(key)?, self.text, issuer, now)
    }
}

/// A directory that has been taken apart. Use it only to choose the key.
#[derive(Debug)]
pub struct UnverifiedDirectory<'a>(SignedJwt<'a>);

impl<'a> UnverifiedDirectory<'a> {
    /// Takes a directory of at most [`MAX_DIRECTORY_BYTES`] apart.
    pub fn parse(text: &'a str) -> Result<Self, JwtFault> {
        SignedJwt::parse(text, MAX_DIRECTORY_BYTES).map(Self)
    }

    /// The name of the key that it claims.
    pub fn kid(&self) -> Option<&str> {
        self.0.kid()
    }

    /// Checks it as the directory of the server `issuer`, whose key of that name is `key`.
    pub fn verify(
        self,
        (issuer, key): (&str, &VerifyingKey),
        now: UnixSeconds,
    ) -> Result<SignedDirectory, JwtFault> {
        let jwt = self.0.verify(key)?;
        let (issued_at, expires_at) = check(&jwt, DIRECTORY_TYPE, issuer, now)?;
        Ok(SignedDirectory {
            nodes: nodes(jwt)?,
            issued_at,
            expires_at,
        })
    }
}

/// Checks a record of the server `issuer`, whose keys are `keys`.
pub fn verify_record(
    text: &str,
    (issuer, keys): (&str, &KeySet),
    now: UnixSeconds,
) -> Result<SignedRecord, JwtFault> {
    let jwt = SignedJwt::parse(text, MAX_RECORD_BYTES)?.verify_with(keys)?;
    signed_record(jwt, text, issuer, now)
}

fn signed_record(
    jwt: VerifiedJwt,
    text: &str,
    issuer: &str,
    now: UnixSeconds,
) -> Result<SignedRecord, JwtFault> {
    let (issued_at, expires_at) = check(&jwt, RECORD_TYPE, issuer, now)?;
    let record = node(Value::Object(jwt.into_claims()))?;
    record.key()?;
    Ok(SignedRecord {
        record,
        text: text.to_owned(),
        issued_at,
        expires_at,
    })
}

fn nodes(jwt: VerifiedJwt) -> Result<Vec<NodeRecord>, JwtFault> {
    let mut claims = jwt.into_claims();
    let Some(Value::Array(nodes)) = claims.remove("nodes") else {
        return Err(JwtFault("it has no list of nodes"));
    };
    let records = nodes.into_iter().map(|value| {
        let record = node(value)?;
        record.key().map(|_| record)
    });
    records.collect()
}

/// What records and directories have in common; returns when it was signed, and until when it counts.
fn check(
    jwt: &VerifiedJwt,
    typ: &str,
    issuer: &str,
    now: UnixSeconds,
) -> Result<(UnixSeconds, UnixSeconds), JwtFault> {
    if !jwt.has_type(&[typ], false) {
        return Err(JwtFault("its typ is that of another kind of JWT"));
    }
    if jwt.text("iss")? != Some(issuer) {
        return Err(JwtFault("iss is another server"));
    }
    let expires_at = jwt.check_times(TIMES, now)?;
    let issued_at = jwt.time("iat")?.ok_or(JwtFault("iat is missing"))?;
    Ok((issued_at, expires_at))
}

fn node(value: Value) -> Result<NodeRecord, JwtFault> {
    serde_json::from_value(value).map_err(|_| JwtFault("it is no record of a node"))
}
