//! `[offline]`: how long the node goes on alone when an authorization server cannot be reached.

use std::time::Duration;

use shared::config::{Reader, Span};
use shared::jwks::{DEFAULT_MAX_STALE, MIN_MAX_STALE};

/// A shorter time would end between two questions to the issuer.
const MIN_REVOCATION: Duration = Duration::from_secs(60);

/// What becomes of a token when nobody can say any more whether it was revoked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OnStale {
    /// 503: it may have been.
    Refuse,
    /// It is taken, until it expires.
    Accept,
}

/// The policy.
#[derive(Clone, Copy, Debug)]
pub struct OfflinePolicy {
    /// How long a key set serves, unless an issuer has a time of its own.
    pub keys: Duration,
    /// How old what is known of revocations may be.
    pub revocation: Duration,
    /// And what comes after that.
    pub on_stale: OnStale,
}

impl Default for OfflinePolicy {
    fn default() -> Self {
        Self {
            keys: DEFAULT_MAX_STALE,
            revocation: Duration::from_secs(15 * 60),
            on_stale: OnStale::Refuse,
        }
    }
}

impl OfflinePolicy {
    /// Reads the section. Faults stay in the reader.
    pub(super) fn read(reader: &mut Reader) -> Self {
        let usual = Self::default();
        let mut section = reader.section("offline");
        let keys = section
            .value::<Span>("keys", "24h")
            .map_or(usual.keys, |span| span.0);
        if keys < MIN_MAX_STALE {
            section.fault("keys", "keys are fetched once a minute at most: write 1m or more");
        }
        let revocation = section
            .value::<Span>("revocation", "15m")
            .map_or(usual.revocation, |span| span.0);
        if revocation < MIN_REVOCATION {
            section.fault("revocation", "one lost answer would use it up: write 1m or more");
        }
        let on_stale = match section.value::<String>("on_stale", "refuse").as_deref() {
            Some("accept") => OnStale::Accept,
            Some("refuse") | None => OnStale::Refuse,
            Some(_) => {
                section.fault("on_stale", "write \"refuse\" or \"accept\"");
                OnStale::Refuse
            }
        };
        Self {
            keys,
            revocation,
            on_stale,
        }
    }
}
