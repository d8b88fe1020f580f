//! One list, as it is held: read by every request, replaced as a whole when a newer one comes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use arc_swap::ArcSwap;
use shared::clock::UnixSeconds;
use shared::lasting_clock::Moment;
use shared::status_list::{ListFault, StatusList, VerifiedList};

use tokio::time::Instant;

use super::{Inner, lock};

/// How often a list is asked for when nothing else tells of changes, and the issuer does not say.
const USUAL_TTL: Duration = Duration::from_secs(30);

/// A list.
pub(super) struct HeldList {
    content: ArcSwap<Content>,
    /// Held while one content takes the place of another: what was compared is what is replaced, however many bring one.
    changing: Mutex<()>,
    /// When the issuer last said that this is what it says.
    confirmed_at: AtomicU64,
    label: Mutex<Label>,
    /// When it was asked for the last time only to have a newer signature.
    renewed_at: Mutex<Option<Instant>>,
}

struct Content {
    list: StatusList,
    issued_at: UnixSeconds,
    expires_at: Option<UnixSeconds>,
    ttl: Duration,
    digest: String,
    /// As it was signed, to be kept and passed on.
    token: String,
}

/// By what names the issuer knows this content.
#[derive(Default)]
struct Label {
    etag: Option<String>,
    version: String,
}

/// The place of a token, with the list at hand.
#[derive(Clone)]
pub(crate) struct Mark {
    list: Arc<HeldList>,
    index: u64,
    owner: Arc<Inner>,
}

impl HeldList {
    /// A list that the issuer confirmed at `moment`.
    pub(super) fn new(verified: VerifiedList, token: &str, moment: Moment) -> Self {
        Self {
            content: ArcSwap::from_pointee(Content::new(verified, token)),
            changing: Mutex::default(),
            confirmed_at: AtomicU64::new(moment.millis()),
            label: Mutex::default(),
            renewed_at: Mutex::default(),
        }
    }

    /// The place `index`; `None` when the list has none.
    pub(super) fn mark(self: &Arc<Self>, index: u64, owner: &Arc<Inner>) -> Option<Mark> {
        self.content.load().list.get(index)?;
        Some(Mark {
            list: Arc::clone(self),
            index,
            owner: Arc::clone(owner),
        })
    }

    /// Takes a newer content. One that is older, shorter or takes a revocation back is refused: whoever serves it may be
    /// an old copy, or lie.
    pub(super) fn replace(
        &self,
        verified: VerifiedList,
        token: &str,
        whence: Whence,
    ) -> Result<Replaced, ListFault> {
        let _changing = lock(&self.changing);
        let held = self.content.load();
        let of_held = (&held.list, held.issued_at);
        let replaced = compare((&verified.list, verified.issued_at), of_held, whence);
        match replaced {
            Ok(Replaced::Changed | Replaced::Renewed) => {
                self.content.store(Arc::new(Content::new(verified, token)));
            }
            Ok(Replaced::Known) => {}
            Err(ListFault(reason)) => tracing::error!(
                event = "status_list_refused",
                reason,
                "security: a status list is refused"
            ),
        }
        replaced
    }

    pub(super) fn describe(&self, etag: Option<String>, version: &str) {
        *lock(&self.label) = Label {
            etag,
            version: version.to_owned(),
        };
    }

    /// The issuer says at `moment`, or later, that the content is current.
    pub(super) fn confirm(&self, moment: Moment) {
        self.confirmed_at.fetch_max(moment.millis(), Ordering::AcqRel);
    }

    pub(super) fn confirmed_at(&self) -> Moment {
        Moment::from_millis(self.confirmed_at.load(Ordering::Acquire))
    }

    /// When the issuer signed it.
    pub(super) fn issued_at(&self) -> UnixSeconds {
        self.content.load().issued_at
    }

    /// The name of what it says.
    pub(super) fn digest(&self) -> String {
        self.content.load().digest.clone()
    }

    /// Whether the issuer may be asked for the same list signed anew: no more often than `every`.
    pub(super) fn may_renew(&self, every: Duration) -> bool {
        let mut renewed_at = lock(&self.renewed_at);
        if renewed_at.is_some_and(|at| at.elapsed() < every) {
            return false;
        }
        *renewed_at = Some(Instant::now());
        true
    }

    pub(super) fn etag(&self) -> Option<String> {
        lock(&self.label).etag.clone()
    }

    pub(super) fn version(&self) -> String {
        lock(&self.label).version.clone()
    }

    /// How long it may serve before the issuer is asked again, where nothing else tells of changes.
    pub(super) fn ttl(&self) -> Duration {
        self.content.load().ttl
    }

    pub(super) fn token(&self) -> String {
        self.content.load().token.clone()
    }

    /// Whether nobody may use it any more.
    pub(super) fn has_ended(&self, now: UnixSeconds, leeway: Duration) -> bool {
        let content = self.content.load();
        content.expires_at.is_some_and(|end| now >= end + leeway)
    }
}

/// Who brings a content.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Whence {
    /// The issuer itself, over TLS.
    Issuer,
    /// Another node. What it has is the issuer's, but may be of any time.
    Neighbour,
}

/// What became of the content that was held.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Replaced {
    /// Another one says something else of some token.
    Changed,
    /// The same was signed anew.
    Renewed,
    /// It stayed.
    Known,
}

/// What a content is beside the one that is held. Within one second a list may be signed several times (`iat` is of whole
/// seconds): of two such the one that revokes more is the later. Where neither does, only the issuer can say, or two nodes
/// would send them round and round.
pub(super) fn compare(
    (new, new_at): (&StatusList, UnixSeconds),
    (held, held_at): (&StatusList, UnixSeconds),
    whence: Whence,
) -> Result<Replaced, ListFault> {
    if new == held {
        return Ok(if new_at > held_at {
            Replaced::Renewed
        } else {
            Replaced::Known
        });
    }
    let takes_back = new.takes_back(held);
    if whence == Whence::Neighbour {
        let is_later = new_at > held_at || (new_at == held_at && !takes_back && held.takes_back(new));
        if !is_later {
            return Ok(Replaced::Known);
        }
    }
    if new_at < held_at {
        Err(ListFault::OLDER)
    } else if takes_back {
        Err(ListFault::TAKES_BACK)
    } else {
        Ok(Replaced::Changed)
    }
}

impl Content {
    fn new(verified: VerifiedList, token: &str) -> Self {
        Self {
            digest: verified.list.digest(),
            list: verified.list,
            issued_at: verified.issued_at,
            expires_at: verified.expires_at,
            ttl: verified.ttl.unwrap_or(USUAL_TTL),
            token: token.to_owned(),
        }
    }
}

impl Mark {
    /// Whether the token still stands, as far as is known. Neither waits nor allocates: it is asked on every request.
    pub(crate) fn stands(&self, now: UnixSeconds) -> bool {
        !self.is_revoked() && !self.owner.is_stale(self, now)
    }

    /// Whether the issuer says anything but "valid" of the token: invalid, suspended, or a state of its own (§7.1).
    pub(super) fn is_revoked(&self) -> bool {
        self.list.content.load().list.get(self.index) != Some(0)
    }

    pub(super) fn confirmed_at(&self) -> Moment {
        self.list.confirmed_at()
    }

    pub(super) fn has_ended(&self, now: UnixSeconds, leeway: Duration) -> bool {
        self.list.has_ended(now, leeway)
    }
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mark({})", self.index)
    }
}
