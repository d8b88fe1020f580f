//! What is kept between starts: the key of the account, and the certificate with its key.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use ring::digest::{SHA256, digest};
use rustls::client::verify_server_name;
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls_acme::{AccountCache, CertCache};
use rustls_pki_types::ServerName;

use super::AcmeSettings;
use crate::clock::{self, UnixSeconds};
use crate::tls::private_file::write_private;
use crate::tls::{InUse, TlsFault, certified_key_of_pem, file_fault, validity_of};

/// By so much the authority's clock may be ahead.
const SKEW: Duration = Duration::from_secs(3600);

/// The files. Their names follow from what they are for, so that another directory or other domains find nothing there.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    folder: PathBuf,
    account: PathBuf,
    certificate: PathBuf,
}

impl Kept {
    pub(super) fn of(settings: &AcmeSettings) -> Self {
        let directory = &settings.directory;
        let name = |kind: &str, parts: &[String], ending: &str| {
            let text = format!("{directory}\n{}", parts.join("\n"));
            let hash = digest(&SHA256, text.as_bytes());
            let short: String = hash.as_ref().iter().take(8).map(|b| format!("{b:02x}")).collect();
            settings.folder.join(format!("{kind}-{short}.{ending}"))
        };
        Self {
            account: name("account", &settings.contact, "key"),
            certificate: name("certificate", &settings.domains, "pem"),
            folder: settings.folder.clone(),
        }
    }

    pub(super) fn certificate_file(&self) -> PathBuf {
        self.certificate.clone()
    }

    /// Makes the folder, for its owner alone, and reads the certificate that was kept there. One that cannot be used
    /// counts as none: another is ordered.
    pub(super) fn open(&self) -> Result<Option<CertifiedKey>, TlsFault> {
        let fault = |e: std::io::Error| file_fault(&self.folder, e);
        if !self.folder.exists() {
            let mut builder = std::fs::DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o700)
                .create(&self.folder)
                .map_err(fault)?;
        }
        // Found out before an order, of which an authority gives few, is spent on it.
        let probe = self.folder.join("writable");
        write_private(&probe, b"", true).map_err(fault)?;
        // Another instance that shares the folder may have been faster.
        match std::fs::remove_file(&probe) {
            Err(gone) if gone.kind() == std::io::ErrorKind::NotFound => {}
            removed => removed.map_err(fault)?,
        }
        let mode = std::fs::metadata(&self.folder)
            .map_err(fault)?
            .permissions()
            .mode();
        if mode & 0o077 != 0 {
            tracing::warn!(folder = %self.folder.display(), "others can look into the folder of the certificates: chmod 700");
        }
        let Some(pem) = read_if_there(&self.certificate).map_err(|e| file_fault(&self.certificate, e))?
        else {
            return Ok(None);
        };
        match certified_key_of_pem(&pem) {
            Ok(key) => Ok(Some(key)),
            Err(reason) => {
                let path = self.certificate.display();
                tracing::warn!(%path, reason, "the certificate that was kept cannot be used");
                Ok(None)
            }
        }
    }
}

fn read_if_there(path: &Path) -> std::io::Result<Option<Vec<u8>>> {
    match std::fs::read(path) {
        Ok(content) => Ok(Some(content)),
        Err(fault) if fault.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Where rustls-acme puts what it got: into use, and then into the files.
pub(super) struct Shelf {
    pub(super) kept: Kept,
    pub(super) in_use: Arc<InUse>,
}

/// Why something is not kept.
#[derive(Debug, thiserror::Error)]
pub(super) enum ShelfFault {
    /// What came is no certificate for its key. It is not used.
    #[error("{0}")]
    Unusable(String),
    /// It is in use, but not in its file.
    #[error("{0}")]
    NotWritten(std::io::Error),
}

#[async_trait]
impl CertCache for Shelf {
    type EC = ShelfFault;

    /// An order begins when it is time for one, so there is never one to find.
    async fn load_cert(&self, _: &[String], _: &str) -> Result<Option<Vec<u8>>, ShelfFault> {
        Ok(None)
    }

    async fn store_cert(&self, domains: &[String], _: &str, pem: &[u8]) -> Result<(), ShelfFault> {
        let key = certified_key_of_pem(pem).map_err(ShelfFault::Unusable)?;
        let (in_use, now) = (self.in_use.validity(), clock::now());
        must_serve(&key, domains, in_use, now).map_err(ShelfFault::Unusable)?;
        self.in_use.certificate.store(Some(Arc::new(key)));
        let (path, pem) = (
            self.kept.certificate.clone(),
            zeroize::Zeroizing::new(pem.to_vec()),
        );
        written(move || write_private(&path, &pem, true))
            .await
            .map_err(ShelfFault::NotWritten)
    }
}

/// Whether a certificate can take the place of the one in use, whose validity is `in_use`. Authorities make mistakes too, and
/// what is replaced does not come back.
fn must_serve(
    key: &CertifiedKey,
    domains: &[String],
    in_use: Option<(UnixSeconds, UnixSeconds)>,
    now: UnixSeconds,
) -> Result<(), String> {
    let leaf = key.cert.first().ok_or("there is no certificate in it")?;
    let parsed = ParsedCertificate::try_from(leaf).map_err(|e| e.to_string())?;
    for domain in domains {
        let name = ServerName::try_from(domain.as_str()).map_err(|e| e.to_string())?;
        verify_server_name(&parsed, &name).map_err(|_| format!("it is not for {domain}"))?;
    }
    let (from, until) = validity_of(key).ok_or("it does not say how long it counts")?;
    let replaced = in_use.map_or(now, |(_, until)| until.max(now));
    if from > now + SKEW {
        return Err(format!("it counts from {} on only", from.to_rfc3339()));
    }
    if until <= replaced {
        let (until, replaced) = (until.to_rfc3339(), replaced.to_rfc3339());
        return Err(format!(
            "it counts until {until}, and is to count beyond {replaced}"
        ));
    }
    Ok(())
}

#[async_trait]
impl AccountCache for Shelf {
    type EA = std::io::Error;

    async fn load_account(&self, _: &[String], _: &str) -> Result<Option<Vec<u8>>, std::io::Error> {
        let path = self.kept.account.clone();
        written(move || read_if_there(&path)).await
    }

    async fn store_account(&self, _: &[String], _: &str, key: &[u8]) -> Result<(), std::io::Error> {
        let (path, key) = (self.kept.account.clone(), zeroize::Zeroizing::new(key.to_vec()));
        written(move || write_private(&path, &key, true)).await
    }
}

/// Off the threads that serve.
async fn written<T: Send + 'static>(
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|e| Err(std::io::Error::other(e)))
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// A certificate for these names, of so many hours ago until in so many.
    fn made(names: &[&str], (from, until): (i64, i64), now: UnixSeconds) -> CertifiedKey {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let since_1970 = |hours: i64| Duration::from_secs((now.0 + hours * 3600).unsigned_abs());
        let at = |hours: i64| date_time_ymd(1970, 1, 1) + since_1970(hours);
        (params.not_before, params.not_after) = (at(from), at(until));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem() + &key.serialize_pem();
        certified_key_of_pem(pem.as_bytes()).unwrap()
    }

    #[test]
    fn a_certificate_is_replaced_by_one_that_serves_longer_and_for_every_domain() {
        let now = clock::now();
        let domains = ["a.example".to_owned(), "b.example".to_owned()];
        let both = ["a.example", "b.example"];
        let in_use = Some((now - SKEW, now + SKEW * 2));
        let judged =
            |names: &[&str], life, in_use| must_serve(&made(names, life, now), &domains, in_use, now);
        for in_use in [None, in_use, Some((now - SKEW * 9, now - SKEW))] {
            assert_eq!(judged(&both, (-1, 3), in_use), Ok(()));
            // Clocks differ.
            assert_eq!(judged(&both, (1, 3), in_use), Ok(()));
            for (names, life) in [
                (&["a.example"][..], (-1, 3)),
                (&["a.example", "c.example"], (-1, 3)),
                (&both, (2, 9)),
                (&both, (-2, -1)),
            ] {
                assert!(judged(names, life, in_use).is_err(), "{names:?} {life:?}");
            }
        }
        assert!(judged(&both, (-1, 2), in_use).unwrap_err().contains("beyond"));
    }
}
