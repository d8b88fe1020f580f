//! The set that is held, and how one takes the place of another. What the issuer itself said over TLS is a matter of its
//! own: a set that only bears a signature may come from whoever has one of the issuer's keys, an old one or a stolen one.
//! It serves until the issuer is reached, and then it has no say.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Inner;
use super::signed::SignedKeySet;
use crate::jose::{KeySet, KeySetFault};

/// Signed sets that others bring serve until the issuer itself was last reached so many times the longest age ago.
const OFFERS: u32 = 7;

pub(super) struct Held {
    pub(super) set: KeySet,
    /// What the issuer itself said last; `None` when a run before this one only kept what others brought.
    pub(super) fetched: Option<Arc<KeySet>>,
    /// When it came into this program.
    pub(super) since: Instant,
    /// How old it was then.
    pub(super) older: Duration,
    /// How long ago the issuer itself had been reached then.
    pub(super) unconfirmed: Duration,
}

impl Held {
    pub(super) fn age(&self) -> Duration {
        self.older.saturating_add(self.since.elapsed())
    }

    fn unconfirmed(&self) -> Duration {
        self.unconfirmed.saturating_add(self.since.elapsed())
    }

    pub(super) fn is_usable(&self, max_stale: Duration) -> bool {
        self.age() <= max_stale && self.unconfirmed() <= max_stale.saturating_mul(OFFERS)
    }

    /// For how long it will still be usable.
    pub(super) fn left(&self, max_stale: Duration) -> Duration {
        let confirmed = max_stale
            .saturating_mul(OFFERS)
            .saturating_sub(self.unconfirmed());
        max_stale.saturating_sub(self.age()).min(confirmed)
    }
}

impl Inner {
    /// Holds and keeps what the issuer said just now.
    pub(super) fn take_up_fetched(&self, document: Vec<u8>) -> Result<(), KeySetFault> {
        let mut set = KeySet::parse_for(&document, &self.algorithms)?;
        let _changing = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.held.load();
        let fetched = held.as_ref().and_then(|held| held.fetched.as_ref());
        self.compare(&mut set, fetched.map(AsRef::as_ref));
        // One that says otherwise is not the issuer's, or is past: it is passed on no longer, and bars no other.
        let stands = |signed: &Arc<SignedKeySet>| signed.agrees_with(&set);
        if !self.signed.load().as_ref().is_none_or(stands) {
            tracing::warn!(
                issuer = self.issuer,
                "the signed key set is dropped: the issuer says otherwise"
            );
            self.signed.store(None);
        }
        self.hold(Held {
            fetched: Some(Arc::new(set.clone())),
            set,
            since: Instant::now(),
            older: Duration::ZERO,
            unconfirmed: Duration::ZERO,
        });
        self.keep(document, (Duration::ZERO, None));
        Ok(())
    }

    /// Holds and keeps a set that somebody brought, and that the issuer signed so long ago. What is held stays as it is
    /// under each name. To be called while `changing` is held.
    pub(super) fn take_up_offered(&self, document: Vec<u8>, mut set: KeySet, older: Duration) {
        let held = self.held.load();
        let Some(held) = held.as_ref() else { return };
        self.compare(&mut set, held.fetched.as_deref());
        self.compare(&mut set, Some(&held.set));
        let unconfirmed = held.unconfirmed();
        self.hold(Held {
            set,
            fetched: held.fetched.clone(),
            since: Instant::now(),
            older,
            unconfirmed,
        });
        self.keep(document, (older, Some(unconfirmed)));
    }

    fn compare(&self, set: &mut KeySet, known: Option<&KeySet>) {
        for (kid, fault) in set.rejected() {
            tracing::error!(issuer = self.issuer, kid, %fault, "a published key is not admitted");
        }
        for kid in known.map(|known| set.keep_known(known)).unwrap_or_default() {
            tracing::error!(
                issuer = self.issuer,
                kid,
                "a key changed under its name; the known one is kept"
            );
        }
    }

    fn hold(&self, held: Held) {
        self.held.store(Some(Arc::new(held)));
    }

    fn keep(&self, document: Vec<u8>, ages: (Duration, Option<Duration>)) {
        if let Some(kept) = self.kept.clone() {
            let issuer = self.issuer.clone();
            // A disk may be slow, and nobody need wait for it.
            tokio::task::spawn_blocking(move || kept.write(&issuer, &document, ages));
        }
    }
}
