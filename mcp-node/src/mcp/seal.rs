//! The seal on `requestState` (MCP 2026-07-28, "Multi round-trip requests").
//!
//! A client carries the state of a call from one round to the next, perhaps to another node of the fleet. It can neither
//! read nor alter it, nor use it for another call: the state is encrypted and authenticated together with who calls,
//! what it calls and with which arguments, and it expires. Within that it may be brought more than once: what must
//! happen only once is remembered by whoever does it.

mod ring;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ::ring::aead::Aad;
use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rmcp::ErrorData;
use rmcp::model::JsonObject;
use shared::clock::UnixSeconds;
use shared::secret::{NoRandomness, random_bytes};
use zeroize::Zeroizing;

pub use self::ring::StateKeyFault;
use self::ring::{KeyRing, SALT_BYTES};
use super::digest;
use crate::auth::Caller;

/// The form of the text: a later one would be told apart by it.
const FORM: &str = "s1";
/// No longer state is opened, in bytes of text; clients carry it in a request body.
const MAX_SEALED: usize = 512 * 1024;
const EXPIRY_BYTES: usize = 8;
/// How often a key file is read again.
const REREAD: Duration = Duration::from_secs(60);

/// What a state belongs to. It opens for the same call of the same caller only.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Binding(Vec<u8>);

impl Binding {
    /// The call of `method` on `name` (a tool, a prompt or a resource) with `arguments`, by `caller`.
    pub fn new(caller: &Caller, method: &str, name: &str, arguments: Option<&JsonObject>) -> Self {
        let claims = caller.claims();
        Self::of(
            [claims.issuer(), claims.subject(), claims.client_id()],
            [method, name],
            arguments,
        )
    }

    fn of(caller: [&str; 3], call: [&str; 2], arguments: Option<&JsonObject>) -> Self {
        let mut bytes = Vec::new();
        for part in caller.into_iter().chain(call) {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        bytes.extend_from_slice(&digest::of_arguments(arguments));
        Self(bytes)
    }

    /// The associated data under the key of this id.
    fn associated(&self, key: &str) -> Aad<Vec<u8>> {
        let mut bytes = format!("{FORM}.{key}.").into_bytes();
        bytes.extend_from_slice(&self.0);
        Aad::from(bytes)
    }
}

/// Why a state does not open. The client learns only that it does not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotOpened {
    /// Not of this form.
    #[error("it is not in the form of a sealed state")]
    Form,
    /// Sealed with a key that this node does not have.
    #[error("it was sealed with a key that this node does not have")]
    Key,
    /// Altered, or made for another caller, method, tool or other arguments.
    #[error("it was altered, or made for another call")]
    Forged,
    /// Too old.
    #[error("it has expired")]
    Expired,
}

impl From<NotOpened> for ErrorData {
    fn from(fault: NotOpened) -> Self {
        tracing::info!(%fault, "a requestState was refused");
        Self::invalid_params(
            "the requestState is not one that this server made for this call, or it has expired; begin the call again without it",
            None,
        )
    }
}

/// Seals and opens states with the keys of the node.
pub struct Seal(ArcSwap<KeyRing>);

impl Seal {
    /// A seal with these keys.
    fn new(keys: KeyRing) -> Self {
        Self(ArcSwap::from_pointee(keys))
    }

    /// The keys of `file`, or the node's own in `data_dir`, made now if there are none.
    pub(crate) fn load(file: Option<&Path>, data_dir: &Path) -> Result<Self, StateKeyFault> {
        KeyRing::load(file, data_dir).map(Self::new)
    }

    /// Takes these keys from now on.
    fn replace(&self, keys: KeyRing) {
        self.0.store(keys.into());
    }

    /// `state`, which only [`Seal::open`] with the same binding can read, and only before `valid_for` is over.
    ///
    /// # Errors
    ///
    /// Fails when the operating system gives no randomness.
    pub fn close(
        &self,
        binding: &Binding,
        state: &[u8],
        now: UnixSeconds,
        valid_for: Duration,
    ) -> Result<String, NoRandomness> {
        let salt = random_bytes::<SALT_BYTES>()?;
        let keys = self.0.load();
        let key = keys.sealing();
        let expires = (now + valid_for).0;
        let mut bytes = Vec::with_capacity(SALT_BYTES + EXPIRY_BYTES + state.len() + 16);
        bytes.extend_from_slice(&expires.to_be_bytes());
        bytes.extend_from_slice(state);
        key.encrypt(&salt, binding.associated(key.id()), &mut bytes)?;
        bytes.splice(0..0, salt);
        let id = key.id();
        Ok(format!("{FORM}.{id}.{}", URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The state that [`Seal::close`] was given for this very call, by this node or another one with its keys.
    ///
    /// # Errors
    ///
    /// See [`NotOpened`].
    pub fn open(&self, binding: &Binding, sealed: &str, now: UnixSeconds) -> Result<Vec<u8>, NotOpened> {
        if sealed.len() > MAX_SEALED {
            return Err(NotOpened::Form);
        }
        let mut parts = sealed.splitn(3, '.');
        let (Some(FORM), Some(id), Some(text)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(NotOpened::Form);
        };
        let keys = self.0.load();
        let key = keys.find(id).ok_or(NotOpened::Key)?;
        let mut bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NotOpened::Form)?;
        let (salt, content) = bytes
            .split_first_chunk_mut::<SALT_BYTES>()
            .ok_or(NotOpened::Form)?;
        let plain = key
            .decrypt(salt, binding.associated(id), content)
            .ok_or(NotOpened::Forged)?;
        let (expires, state) = plain
            .split_first_chunk::<EXPIRY_BYTES>()
            .ok_or(NotOpened::Forged)?;
        if UnixSeconds(i64::from_be_bytes(*expires)) <= now {
            return Err(NotOpened::Expired);
        }
        Ok(state.to_vec())
    }
}

/// Takes the keys of `file` again every minute: keys rotate without a restart. Nothing to do for a node's own key.
pub(crate) async fn follow_file(seal: Arc<Seal>, file: Option<PathBuf>) {
    let Some(file) = file else { return };
    let mut last = None;
    loop {
        tokio::time::sleep(REREAD).await;
        let text = match tokio::fs::read_to_string(&file).await {
            Ok(text) => Zeroizing::new(text),
            Err(fault) => {
                tracing::warn!(file = %file.display(), %fault, "the state keys cannot be read; the old ones stay");
                continue;
            }
        };
        if last.as_ref() == Some(&text) {
            continue;
        }
        match KeyRing::parse(&text) {
            Ok(keys) => seal.replace(keys),
            Err(fault) => {
                tracing::warn!(file = %file.display(), fault, "the state keys are not usable; the old ones stay");
            }
        }
        last = Some(text);
    }
}

#[cfg(test)]
mod tests;
