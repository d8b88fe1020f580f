//! The door: an access token in, a [`Caller`] out. Nothing reaches a tool but through here.
//!
//! A token that was verified once is remembered until it expires, under its SHA-256; it is still refused as soon as
//! its issuer no longer publishes the key that signed it or takes the token back, and an answer of its issuer counts for a moment only.

mod binding;
mod caller;
mod credentials;
mod nonces;
#[cfg(feature = "open-door")]
mod opened;
mod used_proofs;

use std::sync::Arc;

use quick_cache::sync::Cache;
use ring::digest::{SHA256, digest};
use shared::clock::UnixSeconds;
use shared::dpop::Nonces;

pub(crate) use self::binding::{Bindings, Shown};
pub use self::caller::Caller;
pub(crate) use self::caller::who;
use self::credentials::{Credentials, check_characters};
pub use self::nonces::NonceKeyFault;
pub(crate) use self::nonces::nonces;
use crate::error::Refusal;
use crate::issuers::{Issuers, LEEWAY, NotVerified};

/// So many verified tokens are remembered: usual ones in some 12 MB, the largest that are taken in less than 200.
const REMEMBERED_TOKENS: usize = 16_384;

/// The door of one node.
pub(crate) struct Door {
    issuers: Issuers,
    bindings: Bindings,
    /// By the SHA-256 of the token.
    verified: Cache<[u8; 32], Arc<Caller>>,
    /// When the benchmark has opened the door.
    #[cfg(feature = "open-door")]
    opened: std::sync::OnceLock<opened::Opened>,
}

impl Door {
    /// A door for tokens of `issuers`.
    pub(crate) fn new(issuers: Issuers, bindings: Bindings) -> Self {
        Self {
            issuers,
            bindings,
            verified: Cache::new(REMEMBERED_TOKENS),
            #[cfg(feature = "open-door")]
            opened: std::sync::OnceLock::new(),
        }
    }

    /// Takes everybody for the caller of `token`, from now on, whatever they show; or whoever shows something with a good
    /// signature.
    #[cfg(feature = "open-door")]
    pub(crate) async fn dangerous_open_as(&self, token: &str, checks_signature: bool) -> Result<(), Refusal> {
        let caller = self.verify(token, shared::clock::now()).await?;
        self.opened
            .get_or_init(|| opened::Opened::new(caller, checks_signature));
        Ok(())
    }

    /// Who sent a request. Tokens anywhere but in `Authorization` are not looked at (OAuth 2.1 §5.1).
    pub(crate) async fn authenticate(
        &self,
        shown: &Shown<'_>,
        now: UnixSeconds,
    ) -> Result<Arc<Caller>, Refusal> {
        #[cfg(feature = "open-door")]
        if let Some(opened) = self.opened.get() {
            return opened.let_in(shown.headers);
        }
        let credentials = Credentials::read(shown.headers)?;
        let admitted = match self.remembered(credentials.token, now).await {
            Ok(caller) => {
                let bound = self.issuers.check_bound(caller.issuer_index(), caller.claims());
                bound
                    .and_then(|()| self.bindings.check(shown, &credentials, &caller, now))
                    .map(|()| caller)
            }
            Err(refusal) => Err(refusal),
        };
        admitted.map_err(|refusal| refusal.in_scheme(credentials.scheme))
    }

    /// Whoever the token is for, verified now or before.
    async fn remembered(&self, token: &str, now: UnixSeconds) -> Result<Arc<Caller>, Refusal> {
        let mut key = [0; 32];
        key.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        if let Some(caller) = self.verified.get(&key) {
            let still_has = self
                .issuers
                .still_has(caller.issuer_index(), caller.grounds(), now);
            if still_has && caller.claims().is_current(now, LEEWAY) {
                return Ok(caller);
            }
            self.verified.remove(&key);
        }
        let caller = Arc::new(self.verify(token, now).await?);
        if caller.is_settled() {
            self.verified.insert(key, Arc::clone(&caller));
        }
        Ok(caller)
    }

    /// Whether `caller`, who came in with a good token, may stay: on a stream for example. Never waits.
    pub(crate) fn still_admits(&self, caller: &Caller, now: UnixSeconds) -> bool {
        let may_stay = || {
            self.issuers
                .may_stay(caller.issuer_index(), caller.grounds(), now)
        };
        caller.claims().is_current(now, LEEWAY) && may_stay()
    }

    /// The issuers whose tokens are taken.
    pub(crate) fn issuers(&self) -> &Issuers {
        &self.issuers
    }

    /// The nonces of its proofs (RFC 9449 §9).
    pub(crate) fn nonces(&self) -> &Nonces {
        self.bindings.nonces()
    }

    async fn verify(&self, token: &str, now: UnixSeconds) -> Result<Caller, Refusal> {
        check_characters(token)?;
        match self.issuers.verify(token, now).await {
            Ok(verified) => Ok(Caller::new(verified)),
            Err(NotVerified::Refused(fault)) => Err(Refusal::Token(fault)),
            Err(NotVerified::Unavailable { retry_after }) => Err(Refusal::Unavailable { retry_after }),
        }
    }
}

#[cfg(test)]
mod tests;
