//! `[tls]` of a configuration.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::acme::AcmeSettings;
use super::{Origin, ServerTls, TlsFault, self_signed};
use crate::config::Reader;

/// How the listen addresses speak TLS (`[tls]`).
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TlsMode {
    /// Plain HTTP; only on loopback.
    Off,
    /// A local certificate authority and a certificate for `names`, kept in `folder`.
    SelfSigned {
        /// Where `ca.pem`, `cert.pem` and their keys are.
        folder: PathBuf,
        /// DNS names and addresses of the certificate.
        names: Vec<String>,
    },
    /// PEM files that somebody else renews.
    Files {
        /// The chain, our certificate first.
        cert_file: PathBuf,
        /// The private key.
        key_file: PathBuf,
    },
    /// Certificates of an authority that speaks ACME (RFC 8555), which we renew.
    Acme(Box<AcmeSettings>),
}

/// Reads `[tls]`. `names` are those under which the program is reached: what a self-signed certificate is made for, and,
/// as far as a public authority knows them, an ordered one.
pub fn read_mode(reader: &mut Reader, data_dir: &Path, names: Vec<String>) -> TlsMode {
    let mut section = reader.section("tls");
    let mode: Option<String> = section.value("mode", "off");
    let (cert_file, key_file) = (
        section.optional::<PathBuf>("cert_file"),
        section.optional::<PathBuf>("key_file"),
    );
    let mut acme_section = reader.section("tls.acme");
    let acme = AcmeSettings::read(&mut acme_section, data_dir, &names);
    if mode.as_deref() == Some("acme") {
        acme.check(&mut acme_section, &names);
    }
    let mut section = reader.section("tls");
    match mode.as_deref() {
        Some("self-signed") => TlsMode::SelfSigned {
            folder: data_dir.join("tls"),
            names,
        },
        Some("files") => match (cert_file, key_file) {
            (Some(cert_file), Some(key_file)) => TlsMode::Files { cert_file, key_file },
            _ => {
                section.fault("mode", "\"files\" needs cert_file and key_file");
                TlsMode::Off
            }
        },
        Some("acme") => TlsMode::Acme(Box::new(acme)),
        Some("off") | None => TlsMode::Off,
        Some(_) => {
            section.fault("mode", "must be \"off\", \"self-signed\", \"files\" or \"acme\"");
            TlsMode::Off
        }
    }
}

/// Reads `tls.redirect_listen`: addresses that speak plain HTTP only to send browsers to https.
pub fn read_redirect(reader: &mut Reader, mode: &TlsMode) -> Vec<SocketAddr> {
    let mut section = reader.section("tls");
    let addresses: Vec<SocketAddr> = section.list("redirect_listen", "");
    if !addresses.is_empty() && *mode == TlsMode::Off {
        section.fault(
            "redirect_listen",
            "needs tls.mode: a proxy that ends TLS redirects by itself",
        );
    }
    if let TlsMode::Acme(acme) = mode
        && acme.is_answered_in_clear()
        && addresses.is_empty()
    {
        section.fault(
            "redirect_listen",
            "\"http-01\" is answered there: name an address that port 80 of the domains leads to",
        );
    }
    addresses
}

impl TlsMode {
    /// Reads or makes what the mode needs; `None` for plain HTTP.
    pub fn prepare(&self) -> Result<Option<ServerTls>, TlsFault> {
        match self {
            Self::Off => Ok(None),
            Self::SelfSigned { folder, names } => {
                let made = self_signed::ensure(folder, names)?;
                let origin = Origin::Files(made.cert_file, made.key_file);
                ServerTls::of(origin, Some(made.ca_file)).map(Some)
            }
            Self::Files { cert_file, key_file } => {
                let origin = Origin::Files(cert_file.clone(), key_file.clone());
                ServerTls::of(origin, None).map(Some)
            }
            Self::Acme(settings) => ServerTls::of(Origin::Acme(settings.clone()), None).map(Some),
        }
    }

    /// What a program on this machine trusts when it asks the one beside it, besides the public authorities: a chain that
    /// has its authority in it vouches for itself.
    pub fn own_authorities(&self) -> Option<PathBuf> {
        match self {
            Self::Off => None,
            Self::SelfSigned { folder, .. } => Some(folder.join("ca.pem")),
            Self::Files { cert_file, .. } => Some(cert_file.clone()),
            Self::Acme(settings) => Some(settings.certificate_file()),
        }
    }

    /// The same for who asks from elsewhere: the authority alone.
    pub fn authority(&self) -> Option<PathBuf> {
        match self {
            Self::Off | Self::Files { .. } => None,
            Self::SelfSigned { folder, .. } => Some(folder.join("ca.pem")),
            Self::Acme(settings) => settings.ca_file.clone(),
        }
    }
}
