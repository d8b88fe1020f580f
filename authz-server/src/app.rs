//! What every request of one server shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ::web::metrics::Metrics;
use ::web::rates::KeyedLimit;
use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use shared::access_token::VerifiedClaims;
use shared::clock::UnixSeconds;

use crate::changes::{Changes, Memory};
use crate::client::Client;
use crate::config::Config;
use crate::db::change::{Change, Noun};
use crate::db::{Db, DbFault};
use crate::error::Failure;
use crate::keys::{KeyFault, KeyRing, MasterKey};
use crate::registry::{Registry, Resources};
use crate::revocations::Revocations;

/// Tokens of ours whose signature has been checked already.
const VERIFIED_TOKENS: usize = 10_000;

/// One authorization server.
pub(crate) struct App {
    pub(crate) config: Config,
    pub(crate) db: Db,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) per_client: KeyedLimit,
    pub(crate) per_ip_failures: KeyedLimit,
    /// SHA-256 of a token to its claims.
    pub(crate) verified: Cache<[u8; 32], Arc<VerifiedClaims>>,
    master: Arc<MasterKey>,
    keys: Arc<Keys>,
    changes: Arc<Changes>,
    registry: Arc<Registry>,
    revocations: Arc<Revocations>,
}

/// The keys in memory and whether they must be read again.
struct Keys {
    ring: ArcSwap<KeyRing>,
    is_stale: AtomicBool,
    /// Held while the keys are read again, so that nobody uses the old ones meanwhile.
    reading: tokio::sync::Mutex<()>,
}

impl Memory for Keys {
    fn forget(&self, change: &Change) {
        if matches!(change.noun(), Some(Noun::Key) | None) {
            self.forget_all();
        }
    }

    fn forget_all(&self) {
        self.is_stale.store(true, Ordering::Release);
    }
}

impl App {
    /// Reads or makes the keys and starts following changes.
    pub(crate) async fn new(config: Config, db: Db, now: UnixSeconds) -> Result<Arc<Self>, KeyFault> {
        let master = Arc::new(MasterKey::open(&config.master_key_file)?);
        let ring = KeyRing::load_or_make(&db, &master, now).await?;
        let keys = Arc::new(Keys {
            ring: ArcSwap::from_pointee(ring),
            is_stale: AtomicBool::new(false),
            reading: tokio::sync::Mutex::default(),
        });
        let (registry, revocations) = (Registry::new(), Revocations::new());
        let memories: Vec<Arc<dyn Memory>> = vec![keys.clone(), registry.clone(), revocations.clone()];
        let changes = Changes::new(db.clone(), memories).await?;
        Ok(Arc::new(Self {
            metrics: Arc::new(Metrics::new("authz")),
            per_client: KeyedLimit::new(config.per_client),
            per_ip_failures: KeyedLimit::new(config.per_ip_failures),
            verified: Cache::new(VERIFIED_TOKENS),
            config,
            db,
            master,
            keys,
            changes,
            registry,
            revocations,
        }))
    }

    /// Waits until what is in memory is as new as this request. The first step of every endpoint that decides.
    pub(crate) async fn catch_up(&self) -> Result<(), DbFault> {
        self.changes.catch_up().await
    }

    /// The client named `id`, revoked or not.
    pub(crate) async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, DbFault> {
        self.registry.client(&self.db, &self.changes, id).await
    }

    /// Every registered resource.
    pub(crate) async fn resources(&self) -> Result<Arc<Resources>, DbFault> {
        self.registry.resources(&self.db, &self.changes).await
    }

    /// Whether a token of ours was taken back.
    pub(crate) async fn is_revoked(&self, token_id: &str) -> Result<bool, DbFault> {
        self.revocations.contain(&self.db, &self.changes, token_id).await
    }

    /// The keys to publish: the newest that can be had.
    pub(crate) async fn published_keys(&self) -> Arc<KeyRing> {
        self.keys().await.unwrap_or_else(|failure| {
            tracing::warn!(reason = %failure, "publishing the keys known before");
            self.keys.ring.load_full()
        })
    }

    /// The signing keys, read again if they changed.
    pub(crate) async fn keys(&self) -> Result<Arc<KeyRing>, Failure> {
        if self.keys.is_stale.load(Ordering::Acquire) {
            let _reading = self.keys.reading.lock().await;
            // Cleared first: a change that comes while we read sets it again.
            if self.keys.is_stale.swap(false, Ordering::AcqRel) {
                match KeyRing::load(&self.db, &self.master).await {
                    Ok(ring) => self.keys.ring.store(Arc::new(ring)),
                    Err(fault) => {
                        self.keys.forget_all();
                        return Err(match fault {
                            KeyFault::Db(fault) => Failure::Db(fault),
                            other => Failure::Internal(other.to_string()),
                        });
                    }
                }
            }
        }
        Ok(self.keys.ring.load_full())
    }
}
