//! What is kept between starts: the key of the account, and the certificate with its key.

use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use ring::digest::{SHA256, digest};
use rustls::sign::CertifiedKey;
use rustls_acme::{AccountCache, CertCache};

use super::AcmeSettings;
use crate::tls::private_file::write_private;
use crate::tls::{InUse, TlsFault, certified_key_of_pem, file_fault};

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
        std::fs::remove_file(&probe).map_err(fault)?;
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

    async fn store_cert(&self, _: &[String], _: &str, pem: &[u8]) -> Result<(), ShelfFault> {
        let key = certified_key_of_pem(pem).map_err(ShelfFault::Unusable)?;
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
