//! What every request of one server shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::web::metrics::Metrics;
use ::web::rates::{AddressLimit, KeyedLimit};
use actix_web::HttpRequest;
use actix_web::http::header::HOST;
use arc_swap::ArcSwap;
use quick_cache::sync::Cache;
use shared::clock::UnixSeconds;
use shared::dpop::Nonces;
use shared::http_client::Own;
use shared::tls::{ClientAuthorities, TlsFault};
use shared::uri::Issuer;
use webauthn_rs::prelude::Webauthn;

use crate::account::{self, Throttle, Turns, crowd};
use crate::admin;
use crate::authorize::Guesses;
use crate::changes::{Changes, Epoch, Memory};
use crate::client::usage::Usage;
use crate::client::{AuthMethod, Client};
use crate::config::Config;
use crate::console;
use crate::counts::Counts;
use crate::db::change::{Change, Noun};
use crate::db::{Db, DbFault};
use crate::error::Failure;
use crate::fleet::Directory;
use crate::health::NewerMigrations;
use crate::in_force::{BuildFault, InForce};
use crate::keys::{KeyFault, KeyRing, MasterKey};
use crate::latency::Latency;
use crate::registry::{Registry, Resources};
use crate::reload::Reloads;
use crate::revocations::Revocations;
use crate::status_list::StatusLists;
use crate::token::family;
use crate::token::own::OwnToken;

/// Tokens of ours whose signature has been checked already.
const VERIFIED_TOKENS: usize = 10_000;

/// The server cannot begin.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AppFault {
    #[error(transparent)]
    Keys(#[from] KeyFault),
    #[error(transparent)]
    Db(#[from] DbFault),
    #[error("tls.client_ca_file: {0}")]
    Authorities(#[from] TlsFault),
    #[error(transparent)]
    Outbound(#[from] BuildFault),
}

/// One authorization server.
pub(crate) struct App {
    pub(crate) config: Config,
    /// What changes without a restart.
    in_force: ArcSwap<InForce>,
    /// Where a reload is asked for.
    pub(crate) reloads: Reloads,
    pub(crate) db: Db,
    pub(crate) newer_migrations: NewerMigrations,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) counts: Counts,
    /// How long answers took.
    pub(crate) latency: Latency,
    /// Requests by address, before anybody is authenticated.
    pub(crate) per_ip: AddressLimit,
    pub(crate) per_client: KeyedLimit,
    pub(crate) per_ip_failures: KeyedLimit,
    /// Codes tried as a second factor, by account.
    pub(crate) second_factor: KeyedLimit,
    /// What passkeys are made for; `None` where there are none.
    pub(crate) passkeys: Option<Webauthn>,
    pub(crate) device_codes: KeyedLimit,
    /// Requests for the admin API, by who asks.
    pub(crate) administration: KeyedLimit,
    /// Registrations of strangers, by address.
    pub(crate) registrations: KeyedLimit,
    /// Which clients were used today.
    pub(crate) usage: Usage,
    /// Wrong user codes.
    pub(crate) guesses: Guesses,
    /// Failed sign-ins of people.
    pub(crate) sign_ins: Throttle,
    /// How much people have begun and not finished.
    pub(crate) crowd: crowd::Crowd,
    /// The turns in which passwords are hashed.
    pub(crate) passwords: Arc<Turns>,
    /// What DPoP proofs are dated by (RFC 9449 §8).
    pub(crate) nonces: Nonces,
    /// The authorities whose certificates name clients.
    pub(crate) client_authorities: Option<ClientAuthorities>,
    /// SHA-256 of a token to its claims.
    pub(crate) verified: Cache<[u8; 32], Arc<OwnToken>>,
    /// The nodes of the fleet, signed.
    pub(crate) directory: Arc<Directory>,
    master: Arc<MasterKey>,
    keys: Arc<Keys>,
    changes: Arc<Changes>,
    registry: Arc<Registry>,
    revocations: Arc<Revocations>,
    /// Where nodes learn that a token was taken back.
    pub(crate) status_lists: Arc<StatusLists>,
}

/// The keys in memory and whether they must be read again.
struct Keys {
    loaded: ArcSwap<Loaded>,
    /// How many changes of keys are known of.
    changes: AtomicU64,
    /// Held while the keys are read again.
    reading: tokio::sync::Mutex<()>,
}

struct Loaded {
    ring: Arc<KeyRing>,
    /// How many changes were known of before the ring was read. When it is fewer than now, nobody may use the ring.
    as_of: u64,
}

impl Memory for Keys {
    fn forget(&self, change: &Change) {
        if matches!(change.noun(), Some(Noun::Key) | None) {
            self.forget_all();
        }
    }

    fn forget_all(&self) {
        self.changes.fetch_add(1, Ordering::AcqRel);
    }
}

impl Keys {
    /// The ring, if it is as new as the last change.
    fn current(&self) -> Option<Arc<KeyRing>> {
        let loaded = self.loaded.load();
        (loaded.as_of == self.changes.load(Ordering::Acquire)).then(|| Arc::clone(&loaded.ring))
    }
}

impl App {
    /// Reads or makes the keys and starts following changes.
    pub(crate) async fn new(config: Config, db: Db, now: UnixSeconds) -> Result<Arc<Self>, AppFault> {
        let master = Arc::new(MasterKey::open(&config.master_key_file)?);
        let ring = KeyRing::load_or_make(&db, &master, now).await?;
        let keys = Arc::new(Keys {
            loaded: ArcSwap::from_pointee(Loaded {
                ring: Arc::new(ring),
                as_of: 0,
            }),
            // One ahead: changes are followed from a little later on, so the first request reads the keys once more.
            changes: AtomicU64::new(1),
            reading: tokio::sync::Mutex::default(),
        });
        let registry = Registry::new(admin::built_in(&config), console::client(&config));
        let revocations = Revocations::new();
        let status_lists = StatusLists::new();
        let directory = Directory::new();
        let memories: Vec<Arc<dyn Memory>> = vec![
            keys.clone(),
            registry.clone(),
            revocations.clone(),
            status_lists.clone(),
            directory.clone(),
        ];
        let changes = Changes::new(db.clone(), memories).await?;
        let authorities = &config.mutual_tls;
        let client_authorities = authorities
            .client_ca_file
            .as_ref()
            .map(|ca_file| ClientAuthorities::read(ca_file, authorities.client_crl_file.as_deref()))
            .transpose()?;
        let in_force = InForce::new(
            Arc::clone(&config.as_read),
            config.settings.clone(),
            own(&config),
            None,
        )?;
        let limits = config.as_read.limits;
        let per_address = config.as_read.clients.registration.per_address;
        let metrics = Metrics::new("edge_hive_authz");
        Ok(Arc::new(Self {
            counts: Counts::of(&metrics),
            latency: Latency::new(now),
            metrics: Arc::new(metrics),
            per_ip: AddressLimit::new(limits.per_ip),
            per_client: KeyedLimit::new(limits.per_client),
            per_ip_failures: KeyedLimit::new(limits.per_ip_failures),
            second_factor: KeyedLimit::new(account::second_factor::PER_ACCOUNT),
            passkeys: account::passkey::relying_party(&config),
            device_codes: KeyedLimit::new(limits.device_codes),
            administration: KeyedLimit::new(limits.administration),
            registrations: KeyedLimit::new(per_address),
            usage: Usage::new(),
            guesses: Guesses::new(),
            sign_ins: Throttle::new(limits.per_account, limits.per_ip_failures),
            crowd: crowd::Crowd::new(),
            passwords: Turns::new(),
            client_authorities,
            nonces: Nonces::new(master.nonces(), config.dpop_nonces_required),
            verified: Cache::new(VERIFIED_TOKENS),
            newer_migrations: NewerMigrations::default(),
            in_force: ArcSwap::from_pointee(in_force),
            reloads: Reloads::default(),
            config,
            db,
            directory,
            master,
            keys,
            changes,
            registry,
            revocations,
            status_lists,
        }))
    }

    /// Waits until what is in memory is as new as this request. The first step of every endpoint that decides.
    pub(crate) async fn catch_up(&self) -> Result<(), DbFault> {
        self.changes.catch_up().await
    }

    /// The reader of changes, for whoever keeps things in memory.
    pub(crate) fn changes(&self) -> &Changes {
        &self.changes
    }

    /// The point that memory has reached ([`Changes::epoch`]).
    pub(crate) fn epoch(&self) -> Epoch {
        self.changes.epoch()
    }

    /// Puts into memory what was read after `epoch` was taken, unless it has changed since ([`Changes::fill`]).
    pub(crate) fn keep(&self, epoch: Epoch, concerns: impl Fn(&Change) -> bool, keep: impl FnOnce()) {
        self.changes.fill(epoch, concerns, keep);
    }

    /// What stands before the path in the address to which `request` was sent: that of the mutual-TLS aliases, that of
    /// the operators' own listener, or ours.
    pub(crate) fn base_of(&self, request: &HttpRequest) -> &Issuer {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
        let is_meant =
            |base: &&Issuer| host.is_some_and(|host| host.eq_ignore_ascii_case(base.url().authority()));
        let others = [
            self.config.mutual_tls.url.as_ref(),
            self.config.admin.url.as_ref(),
        ];
        others
            .into_iter()
            .flatten()
            .find(is_meant)
            .unwrap_or(&self.config.issuer)
    }

    /// Whether clients can authenticate by `method` here: not everywhere can they show a certificate.
    pub(crate) fn takes(&self, method: AuthMethod) -> bool {
        match method {
            AuthMethod::TlsClientAuth => self.client_authorities.is_some(),
            AuthMethod::SelfSignedTlsClientAuth => self.config.mutual_tls.is_on(),
            _ => true,
        }
    }

    /// The key under which the signing keys are sealed.
    pub(crate) fn master_key(&self) -> &Arc<MasterKey> {
        &self.master
    }

    /// The key under which secrets of people are sealed.
    pub(crate) fn master(&self) -> &MasterKey {
        &self.master
    }

    /// Where this server is itself, for whoever fetches what a stranger names.
    pub(crate) fn own(&self) -> Own {
        own(&self.config)
    }

    /// What changes without a restart, as it is now. A request that asks twice may be told two things: one that decides
    /// by several parts of it keeps what it was told first.
    pub(crate) fn in_force(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Goes by `next` from now on ([`crate::reload`]).
    pub(crate) fn put_in_force(&self, next: InForce) {
        let limits = next.changeable.limits;
        self.per_ip.set_rate(limits.per_ip);
        self.per_client.set_rate(limits.per_client);
        self.per_ip_failures.set_rate(limits.per_ip_failures);
        self.sign_ins
            .set_rates(limits.per_account, limits.per_ip_failures);
        self.device_codes.set_rate(limits.device_codes);
        self.administration.set_rate(limits.administration);
        let registration = &next.changeable.clients.registration;
        self.registrations.set_rate(registration.per_address);
        self.in_force.store(Arc::new(next));
    }

    /// Limits whose idle entries are to be dropped now and then.
    pub(crate) fn limits(&self) -> Vec<KeyedLimit> {
        let mut limits = vec![
            self.per_client.clone(),
            self.per_ip_failures.clone(),
            self.device_codes.clone(),
            self.administration.clone(),
            self.second_factor.clone(),
            self.crowd.late.clone(),
            self.registrations.clone(),
        ];
        let in_force = self.in_force();
        limits.extend(in_force.documents.limits());
        limits.extend(in_force.client_keys.limits());
        limits
    }

    /// The client named `id`, revoked or not, as far as it is known; nothing is fetched
    /// ([`crate::client::document::current`]).
    pub(crate) async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, DbFault> {
        let registered = self.registry.client(&self.db, &self.changes, id).await?;
        Ok(registered.or_else(|| self.in_force().documents.copy(id)))
    }

    /// Every registered resource.
    pub(crate) async fn resources(&self) -> Result<Arc<Resources>, DbFault> {
        self.registry.resources(&self.db, &self.changes).await
    }

    /// Whether a token of ours was taken back, or anything that it came of was.
    pub(crate) async fn is_revoked(&self, token_id: &str) -> Result<bool, DbFault> {
        let contain = |id| self.revocations.contain(&self.db, &self.changes, id);
        for ancestor in family::ancestors_of(token_id) {
            if contain(ancestor).await? {
                return Ok(true);
            }
        }
        contain(token_id).await
    }

    /// The keys to publish: the newest that can be had.
    pub(crate) async fn published_keys(&self) -> Arc<KeyRing> {
        self.keys().await.unwrap_or_else(|failure| {
            tracing::warn!(reason = %failure, "publishing the keys known before");
            self.known_keys()
        })
    }

    /// The keys as they were read last.
    pub(crate) fn known_keys(&self) -> Arc<KeyRing> {
        Arc::clone(&self.keys.loaded.load().ring)
    }

    /// The signing keys, read again if they changed.
    pub(crate) async fn keys(&self) -> Result<Arc<KeyRing>, Failure> {
        if let Some(ring) = self.keys.current() {
            return Ok(ring);
        }
        let _reading = self.keys.reading.lock().await;
        if let Some(ring) = self.keys.current() {
            return Ok(ring);
        }
        // Counted first: what is read may already contain a change that comes meanwhile, but need not.
        let as_of = self.keys.changes.load(Ordering::Acquire);
        let ring = KeyRing::load(&self.db, &self.master)
            .await
            .map_err(|fault| match fault {
                KeyFault::Db(fault) => Failure::Db(fault),
                other => Failure::Internal(other.to_string()),
            })?;
        let ring = Arc::new(ring);
        self.keys.loaded.store(Arc::new(Loaded {
            ring: Arc::clone(&ring),
            as_of,
        }));
        Ok(ring)
    }
}

fn own(config: &Config) -> Own {
    Own {
        host: config.issuer.url().host_str().map(str::to_owned),
        listen: [
            &config.listen[..],
            &config.mutual_tls.listen,
            &config.admin.listen,
        ]
        .concat()
        .into_iter()
        .chain(config.metrics_listen)
        .collect(),
    }
}
