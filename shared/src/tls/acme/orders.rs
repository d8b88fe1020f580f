//! Orders a certificate whenever the one in use is missing or has lived two thirds of its life.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use rustls_acme::{AcmeConfig, AcmeState, EventError, EventOk, UseChallenge};

use super::kept::{Kept, Shelf, ShelfFault};
use super::{AcmeSettings, Challenge, Failure};
use crate::clock::{self, UnixSeconds};
use crate::http_client::tls_config;
use crate::tls::{InUse, TlsFault};

/// An order that is not done by then has met an authority that does not answer.
const PATIENCE: Duration = Duration::from_secs(600);
/// How often it is looked whether it is time for something.
const LOOK: Duration = Duration::from_secs(1);

/// Orders of one program.
#[derive(Debug)]
pub struct Orders {
    settings: AcmeSettings,
    kept: Kept,
    client: Arc<rustls::ClientConfig>,
    in_use: Arc<InUse>,
    fulfilled: AtomicU64,
    failed: Mutex<BTreeMap<&'static str, u64>>,
    is_failing: AtomicBool,
}

impl Orders {
    /// Takes the certificate that was kept into use, if there is one. Orders nothing yet.
    pub(in crate::tls) fn prepare(settings: &AcmeSettings, in_use: &Arc<InUse>) -> Result<Self, TlsFault> {
        let client = tls_config(settings.ca_file.as_deref())
            .map_err(|e| TlsFault::Refused(format!("tls.acme: {e}")))?;
        let kept = Kept::of(settings);
        if let Some(key) = kept.open()? {
            in_use.certificate.store(Some(Arc::new(key)));
        }
        Ok(Self {
            settings: settings.clone(),
            kept,
            client: Arc::new(client),
            in_use: Arc::clone(in_use),
            fulfilled: AtomicU64::new(0),
            failed: Mutex::default(),
            is_failing: AtomicBool::new(false),
        })
    }

    /// Whether the last order failed.
    pub fn are_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// How many orders there were, by outcome: `certificate`, or a word of [`super::FAILURES`].
    pub fn by_outcome(&self) -> Vec<(&'static str, u64)> {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let failures = super::FAILURES.map(|reason| (reason, failed.get(reason).copied().unwrap_or(0)));
        let fulfilled = self.fulfilled.load(Ordering::Relaxed);
        std::iter::once(("certificate", fulfilled))
            .chain(failures)
            .collect()
    }

    /// What is answered to an authority that looks over plain HTTP whether a domain is ours (RFC 8555 §8.3).
    pub fn http_answer(&self, token: &str) -> Option<String> {
        self.in_use.challenges.load_full()?.get_http_01_key_auth(token)
    }

    /// Keeps the certificate fresh until the program ends. The listeners must be there already: an authority comes to them.
    pub async fn run(self: Arc<Self>) {
        let domains = self.settings.domains.join(", ");
        let directory = &self.settings.directory;
        if self.in_use.validity().is_none() {
            tracing::warn!(
                domains,
                directory,
                "there is no certificate yet: callers are not answered over TLS until the first order is done"
            );
        }
        let mut in_a_row = 0;
        loop {
            wait_until(|now| self.is_due(now)).await;
            let order = tokio::time::timeout(PATIENCE, self.order());
            let ended = order.await.unwrap_or_else(|_| Err(Failure::timed_out(PATIENCE)));
            // An authority that comes late is told nothing any more.
            self.in_use.challenges.store(None);
            let ended = match ended {
                // One that is to be replaced at once would be ordered again and again.
                Ok(()) if self.is_due(clock::now()) => Err(Failure::short_lived(
                    self.in_use.validity().map(|(_, until)| until),
                )),
                ended => ended,
            };
            match ended {
                Ok(()) => {
                    in_a_row = 0;
                    self.is_failing.store(false, Ordering::Relaxed);
                    self.fulfilled.fetch_add(1, Ordering::Relaxed);
                    let until = self.in_use.validity().map(|(_, until)| until.to_rfc3339());
                    tracing::info!(domains, until, "another certificate is shown from now on");
                }
                Err(failure) => {
                    in_a_row += 1;
                    let now = clock::now();
                    let again = now + failure.wait(in_a_row, now);
                    self.note(&failure);
                    let until = self.in_use.validity().map(|(_, until)| until.to_rfc3339());
                    tracing::error!(
                        domains,
                        directory,
                        reason = failure.reason,
                        explanation = failure.sentence,
                        certificate_until = until,
                        again = again.to_rfc3339(),
                        "no certificate was issued"
                    );
                    wait_until(|now| now >= again).await;
                }
            }
        }
    }

    fn note(&self, failure: &Failure) {
        self.is_failing.store(true, Ordering::Relaxed);
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        *failed.entry(failure.reason).or_default() += 1;
    }

    /// Two thirds of the life of a certificate, as authorities recommend it: 60 days of 90.
    fn is_due(&self, now: UnixSeconds) -> bool {
        let Some((from, until)) = self.in_use.validity() else {
            return true;
        };
        now >= until - until.since(from) / 3
    }

    /// One order, from the directory to the certificate in its file.
    async fn order(&self) -> Result<(), Failure> {
        let mut state = self.begin();
        self.in_use.challenges.store(Some(state.resolver()));
        while let Some(event) = state.next().await {
            match event {
                // The certificate counts already.
                Ok(EventOk::CertCacheStore) => return Ok(()),
                Ok(EventOk::AccountCacheStore) => tracing::debug!("the key of the ACME account is kept"),
                Ok(EventOk::DeployedCachedCert | EventOk::DeployedNewCert) => {}
                Err(EventError::CertCacheStore(ShelfFault::NotWritten(fault))) => {
                    let path = self.kept.certificate_file();
                    tracing::error!(path = %path.display(), %fault, "the new certificate is in use, but could not be kept: the next start orders again");
                    return Ok(());
                }
                Err(fault) => return Err(Failure::of(fault, clock::now())),
            }
        }
        Err(Failure::storage("the order ended without an outcome"))
    }

    fn begin(&self) -> AcmeState<ShelfFault, std::io::Error> {
        let challenge = match self.settings.challenge {
            Challenge::TlsAlpn => UseChallenge::TlsAlpn01,
            Challenge::Http => UseChallenge::Http01,
        };
        AcmeConfig::new_with_client_config(&self.settings.domains, Arc::clone(&self.client))
            .directory(&self.settings.directory)
            .contact(&self.settings.contact)
            .challenge_type(challenge)
            .cache(Shelf {
                kept: self.kept.clone(),
                in_use: Arc::clone(&self.in_use),
            })
            .state()
    }
}

/// Looks every second at the clock of the wall: a machine that slept would oversleep one long wait.
async fn wait_until(is_time: impl Fn(UnixSeconds) -> bool) {
    while !is_time(clock::now()) {
        tokio::time::sleep(LOOK).await;
    }
}
