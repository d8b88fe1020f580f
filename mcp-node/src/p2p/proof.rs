//! How a peer becomes a known one: it shows what the authorization server signed of it, and that it holds the key in
//! there. Noise has proven already that the other end holds the key of its peer id; the record says that this peer id is a
//! node of the fleet; and the answer to a fresh challenge, which names both peers, makes a record worthless for whoever
//! only copied it.
//!
//! ```text
//! caller                                        called
//!   {"nonce"}                              ──►
//!                                          ◄──  {"nonce", "record", "proof"}
//!   believed: takes what the other begins
//!   {"record", "proof"}                    ──►
//!                                               believed: takes and begins
//!                                          ◄──  {"welcome": true}
//!   begins
//! ```

pub(super) mod knock;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use libp2p::PeerId;
use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use serde::{Deserialize, Serialize};
use serde_json::json;
use shared::clock::{self, UnixSeconds};
use shared::fleet::record::{MAX_RECORD_BYTES, SignedRecord, UnverifiedRecord};
use shared::jose::VerifyingKey;
use shared::jwks::{KeyLookup, RemoteKeySet};
use shared::secret::random_bytes;
use shared::signed_jwt::{JwtFault, SignedJwt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::OwnRecord;
use crate::identity::Identity;
use crate::peers::Peers;
use crate::revocation::Revocation;

/// The type of a proof among JWTs: nothing else that the key signs can be taken for one.
const PROOF_TYPE: &str = "edge-hive-peer-proof+jwt";
/// A longer proof is none.
const MAX_PROOF_BYTES: usize = 2048;
/// How long the other has to read why it is refused, and to close its side.
const LAST_WORD: Duration = Duration::from_secs(1);
/// A longer message is not read.
const MAX_MESSAGE_BYTES: usize = MAX_RECORD_BYTES + MAX_PROOF_BYTES + 1024;

/// Who we are, and whom we believe.
pub(super) struct Trust {
    pub(super) identity: Arc<Identity>,
    /// The authorization server of the fleet.
    pub(super) issuer: String,
    pub(super) keys: RemoteKeySet,
    /// What it signed of us.
    pub(super) record: OwnRecord,
    /// Where it is known who was cut off.
    pub(super) peers: Peers,
    /// The server's status lists, where there are some.
    pub(super) revocation: Option<Revocation>,
}

/// Why a peer is not believed. Names nothing that it said.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotProven {
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    #[error("{0}")]
    Jwt(#[from] JwtFault),
    #[error("a message of it has another form")]
    Form,
    #[error("its record is another peer's")]
    OtherPeer,
    #[error("it was revoked")]
    Revoked,
    #[error("this node has no record of its own yet")]
    NoRecord,
    #[error("the issuer's keys cannot be had")]
    NoKeys,
    #[error("its record names no key of the issuer")]
    UnknownKey,
    #[error("it does not believe this node: {0}")]
    Refused(String),
    #[error("there is no randomness")]
    NoRandomness,
    #[error("the connection is closed")]
    Closed,
}

impl NotProven {
    /// The word in the metrics.
    pub(super) fn outcome(&self) -> &'static str {
        match self {
            Self::Io(_) | Self::Closed => "silent",
            Self::Refused(_) => "refused_by_peer",
            other => other.word(),
        }
    }

    /// What the other side is told.
    fn word(&self) -> &'static str {
        match self {
            Self::Jwt(_) | Self::OtherPeer | Self::UnknownKey => "record_refused",
            Self::Revoked => "revoked",
            Self::NoRecord => "no_record",
            Self::NoKeys => "no_keys",
            _ => "form",
        }
    }
}

#[derive(Default, Serialize, Deserialize)]
struct Message {
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    record: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    welcome: Option<bool>,
    /// Instead of everything else: why the sender goes no further.
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
}

/// What a conversation says to the task that owns the swarm.
pub(super) enum Step {
    /// The peer is believed: take what it begins, and say so here.
    Open(oneshot::Sender<()>),
    /// The peer believes us too: begin.
    Begin(Arc<SignedRecord>),
}

/// One conversation, over `stream` with `peer`.
pub(super) struct Conversation<S> {
    pub(super) stream: S,
    pub(super) peer: PeerId,
    pub(super) trust: Arc<Trust>,
    pub(super) steps: mpsc::Sender<Step>,
}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Conversation<S> {
    /// Holds it. `is_ours` is whether we called. Whoever waits for the end sets a time.
    pub(super) async fn hold(mut self, is_ours: bool) -> Result<(), NotProven> {
        let held = if is_ours {
            self.call().await
        } else {
            self.answer().await
        };
        if let Err(fault) = &held
            && !matches!(
                fault,
                NotProven::Io(_) | NotProven::Refused(_) | NotProven::Closed
            )
        {
            let last = Message {
                refused: Some(fault.word().to_owned()),
                ..Message::default()
            };
            self.say(&last).await.ok();
            self.stream.close().await.ok();
            // Whoever is refused is disconnected, and over QUIC what is on its way then is lost.
            timeout(LAST_WORD, self.stream.read(&mut [0])).await.ok();
        } else {
            self.stream.close().await.ok();
        }
        held
    }

    async fn call(&mut self) -> Result<(), NotProven> {
        let challenge = fresh()?;
        self.say(&Message {
            nonce: Some(challenge.clone()),
            ..Message::default()
        })
        .await?;
        let answer = self.hear().await?;
        let proven = self.believe(&answer, &challenge).await?;
        self.open().await?;
        let nonce = answer.nonce.ok_or(NotProven::Form)?;
        self.say(&self.introduction(None, &nonce)?).await?;
        if self.hear().await?.welcome != Some(true) {
            return Err(NotProven::Form);
        }
        self.begin(proven).await
    }

    async fn answer(&mut self) -> Result<(), NotProven> {
        let nonce = self.hear().await?.nonce.ok_or(NotProven::Form)?;
        let challenge = fresh()?;
        self.say(&self.introduction(Some(challenge.clone()), &nonce)?)
            .await?;
        let introduction = self.hear().await?;
        let proven = self.believe(&introduction, &challenge).await?;
        self.open().await?;
        self.begin(proven).await?;
        self.say(&Message {
            welcome: Some(true),
            ..Message::default()
        })
        .await
    }

    /// Our record, and the answer to the other's challenge.
    fn introduction(&self, nonce: Option<String>, challenge: &str) -> Result<Message, NotProven> {
        if challenge.len() > 128 {
            return Err(NotProven::Form);
        }
        let identity = &self.trust.identity;
        let record = self.trust.own_record().ok_or(NotProven::NoRecord)?;
        Ok(Message {
            nonce,
            record: Some(record),
            proof: Some(sign(identity, &self.peer, challenge)),
            ..Message::default()
        })
    }

    async fn believe(&mut self, said: &Message, challenge: &str) -> Result<Arc<SignedRecord>, NotProven> {
        let (Some(text), Some(proof)) = (&said.record, &said.proof) else {
            return Err(NotProven::Form);
        };
        let signed = self.trust.examine(text, clock::now()).await?;
        let record = &signed.record;
        if record.peer_id != self.peer.to_base58() {
            return Err(NotProven::OtherPeer);
        }
        let ours = self.trust.identity.peer_id();
        check(proof, &record.key()?, (&record.peer_id, &ours), challenge)?;
        Ok(Arc::new(signed))
    }

    async fn open(&mut self) -> Result<(), NotProven> {
        let (opened, done) = oneshot::channel();
        self.step(Step::Open(opened)).await?;
        done.await.map_err(|_| NotProven::Closed)
    }

    async fn begin(&mut self, record: Arc<SignedRecord>) -> Result<(), NotProven> {
        self.step(Step::Begin(record)).await
    }

    async fn step(&mut self, step: Step) -> Result<(), NotProven> {
        self.steps.send(step).await.map_err(|_| NotProven::Closed)
    }

    async fn say(&mut self, message: &Message) -> Result<(), NotProven> {
        let bytes = serde_json::to_vec(message).map_err(io::Error::other)?;
        let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
        self.stream.write_all(&length.to_be_bytes()).await?;
        self.stream.write_all(&bytes).await?;
        Ok(self.stream.flush().await?)
    }

    async fn hear(&mut self) -> Result<Message, NotProven> {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).await?;
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_MESSAGE_BYTES {
            return Err(NotProven::Form);
        }
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).await?;
        let message: Message = serde_json::from_slice(&bytes).map_err(|_| NotProven::Form)?;
        match message.refused {
            // It is shown in our log: a word of ours, or none.
            Some(word) if word.len() <= 32 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_') => {
                Err(NotProven::Refused(word))
            }
            Some(_) => Err(NotProven::Form),
            None => Ok(message),
        }
    }
}

impl Trust {
    /// What this node shows, if it has something to show.
    pub(super) fn own_record(&self) -> Option<String> {
        self.record.borrow().as_ref().map(|record| record.text.clone())
    }

    /// Checks a record: the issuer's signature, its times, that its names are those of its key, and that nobody has heard of
    /// its end.
    pub(super) async fn examine(&self, text: &str, now: UnixSeconds) -> Result<SignedRecord, NotProven> {
        let unverified = UnverifiedRecord::parse(text)?;
        let kid = unverified.kid().ok_or(JwtFault("its record names no key"))?;
        let key = match self.keys.known(kid) {
            Some(key) => key,
            // Asks the issuer, as rarely as for tokens.
            None => match self.keys.key(kid).await {
                KeyLookup::Key(key) => key,
                KeyLookup::UnknownKid => return Err(NotProven::UnknownKey),
                KeyLookup::Unavailable { .. } => return Err(NotProven::NoKeys),
            },
        };
        self.judge(unverified, &key, now)
    }

    /// The same of a record that others pass on: while they wait for it, nobody is asked.
    pub(super) fn examine_known(&self, text: &str, now: UnixSeconds) -> Result<SignedRecord, NotProven> {
        let unverified = UnverifiedRecord::parse(text)?;
        let kid = unverified.kid().ok_or(JwtFault("its record names no key"))?;
        let Some(key) = self.keys.known(kid) else {
            // The issuer may have a new one; the next of its kind is judged by that.
            if let Some(revocation) = &self.revocation {
                revocation.ask_for_key(kid);
            }
            return Err(NotProven::UnknownKey);
        };
        self.judge(unverified, &key, now)
    }

    fn judge(
        &self,
        unverified: UnverifiedRecord<'_>,
        key: &VerifyingKey,
        now: UnixSeconds,
    ) -> Result<SignedRecord, NotProven> {
        let signed = unverified.verify((&self.issuer, key), now)?;
        if self.peers.is_revoked(&signed.record.peer_id) || self.has_ended(&signed) {
            return Err(NotProven::Revoked);
        }
        Ok(signed)
    }

    /// Whether a status list says that a record stands no more.
    pub(super) fn has_ended(&self, signed: &SignedRecord) -> bool {
        match (&self.revocation, &signed.record.status) {
            (Some(revocation), Some(status)) => revocation.has_ended(&status.status_list),
            _ => false,
        }
    }
}

fn fresh() -> Result<String, NotProven> {
    let bytes = random_bytes::<32>().map_err(|_| NotProven::NoRandomness)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The answer to a challenge of `peer`.
fn sign(identity: &Identity, peer: &PeerId, challenge: &str) -> String {
    let claims = json!({"iss": identity.peer_id(), "aud": peer.to_base58(), "nonce": challenge});
    identity.key().sign_jwt(PROOF_TYPE, &claims)
}

fn check(proof: &str, key: &VerifyingKey, (from, to): (&str, &str), challenge: &str) -> Result<(), JwtFault> {
    let jwt = SignedJwt::parse(proof, MAX_PROOF_BYTES)?;
    if !jwt.has_type(&[PROOF_TYPE], false) {
        return Err(JwtFault("its proof is another kind of JWT"));
    }
    let jwt = jwt.verify(key)?;
    if jwt.text("iss")? != Some(from) || !jwt.is_only_for(to) {
        return Err(JwtFault("its proof was made by or for another peer"));
    }
    if jwt.text("nonce")? != Some(challenge) {
        return Err(JwtFault("its proof answers another challenge"));
    }
    Ok(())
}

#[cfg(test)]
pub(super) mod tests;
