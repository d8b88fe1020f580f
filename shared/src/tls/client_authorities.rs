//! The authorities whose certificates name clients (RFC 8705 §2.1).

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};

use super::{ClientCertificate, TlsFault, file_fault};
use crate::clock::UnixSeconds;

/// Authorities, and what they revoked.
#[derive(Clone)]
pub struct ClientAuthorities(Arc<dyn ClientCertVerifier>);

impl ClientAuthorities {
    /// Reads PEM files: of the authorities, and of their revocation lists. Where lists are used, a certificate counts
    /// only if a list of its authority is there and is not out of date.
    pub fn read(ca_file: &Path, crl_file: Option<&Path>) -> Result<Self, TlsFault> {
        let mut roots = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(ca_file).map_err(|e| file_fault(ca_file, e))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|e| file_fault(ca_file, e))?;
            roots.add(certificate).map_err(|e| file_fault(ca_file, e))?;
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
        if let Some(crl_file) = crl_file {
            let lists =
                CertificateRevocationListDer::pem_file_iter(crl_file).map_err(|e| file_fault(crl_file, e))?;
            let lists: Result<Vec<_>, _> = lists.collect();
            let lists = lists.map_err(|e| file_fault(crl_file, e))?;
            if lists.is_empty() {
                return Err(file_fault(crl_file, "it has no revocation list in it"));
            }
            builder = builder.with_crls(lists).enforce_revocation_expiration();
        }
        let verifier = builder.build().map_err(|e| file_fault(ca_file, e))?;
        Ok(Self(verifier))
    }

    /// Whether a chain of certificates for clients leads from `shown` to one of the authorities at `now`. The error is
    /// for the log.
    pub fn vouch_for(&self, shown: &ClientCertificate, now: UnixSeconds) -> Result<(), String> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.0).unwrap_or_default()));
        let verified = self.0.verify_client_cert(shown.own(), shown.intermediates(), now);
        verified.map(|_| ()).map_err(|fault| fault.to_string())
    }
}

impl fmt::Debug for ClientAuthorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientAuthorities(…)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, Issuer, KeyPair,
        NameConstraints,
    };

    use super::*;

    /// An authority that may name the clients of one domain only (RFC 5280 §4.2.1.10).
    #[test]
    fn ca_40_an_authority_names_only_what_it_may() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("good.example".to_owned())],
            excluded_subtrees: Vec::new(),
        });
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        let authorities = ClientAuthorities::read(&file, None).unwrap();
        let issuer = Issuer::new(params, key);
        let verdict = |name: &str| {
            let mut params = CertificateParams::new([name.to_owned()]).unwrap();
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            let certificate = params.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            let shown = ClientCertificate::new(vec![certificate.der().clone()]).unwrap();
            authorities.vouch_for(&shown, crate::clock::now())
        };
        assert_eq!(verdict("agent.good.example"), Ok(()));
        for name in ["agent.evil.example", "*.evil.example", "notgood.example"] {
            assert!(verdict(name).is_err(), "{name}");
        }
    }
}
