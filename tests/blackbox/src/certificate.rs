//! Certificates of clients, and the authorities that sign them.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};
use ring::digest::{SHA256, digest};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};

/// An authority that signs certificates of clients.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate with its private key.
pub struct Identity {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    key: KeyPair,
}

/// A name in a certificate, as text.
pub enum Name<'a> {
    /// `dNSName`.
    Dns(&'a str),
    /// `uniformResourceIdentifier`.
    Uri(&'a str),
}

impl Authority {
    /// A new authority.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// Writes its certificate to a file for `client_ca_file`.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn write(&self, folder: &Path, name: &str) -> PathBuf {
        let path = folder.join(name);
        std::fs::write(&path, &self.pem).unwrap();
        path
    }

    /// Writes a revocation list with this serial number in it, to a file for `client_crl_file`. It ends in that year.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn revoke(&self, serial: u64, until: i32, path: PathBuf) -> PathBuf {
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2024, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2024, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        std::fs::write(&path, list.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }

    /// A certificate of this authority for clients: `C=AT, O=Edge Hive, CN=name`.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn sign(&self, common_name: &str, names: &[Name<'_>]) -> Identity {
        self.sign_params(params(common_name, names))
    }

    /// As [`Self::sign`], with anything about the certificate changed.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn sign_changed(&self, common_name: &str, change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let mut params = params(common_name, &[]);
        change(&mut params);
        self.sign_params(params)
    }

    fn sign_params(&self, params: CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Identity { certificate, key }
    }
}

impl Identity {
    /// A certificate that its owner signed.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn self_signed(common_name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = params(common_name, &[]).self_signed(&key).unwrap().der().clone();
        Self { certificate, key }
    }

    /// Another certificate for the same key.
    ///
    /// # Panics
    /// When it cannot be made.
    #[must_use]
    pub fn renewed(&self) -> Self {
        let key = self.copy_of_key();
        let certificate = params("renewed", &[]).self_signed(&key).unwrap().der().clone();
        Self { certificate, key }
    }

    /// The value of `Client-Cert` (RFC 9440 §2.2).
    #[must_use]
    pub fn header(&self) -> String {
        format!(":{}:", STANDARD.encode(&self.certificate))
    }

    /// `x5t#S256` (RFC 8705 §3.1).
    #[must_use]
    pub fn thumbprint(&self) -> String {
        URL_SAFE_NO_PAD.encode(digest(&SHA256, &self.certificate))
    }

    /// The public key as a JWK, with the certificate if `with_certificate` (RFC 7517 §4.7).
    #[must_use]
    pub fn jwk(&self, with_certificate: bool) -> Value {
        let point = self.key.der_bytes();
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk =
            json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])});
        if with_certificate {
            jwk["x5c"] = json!([STANDARD.encode(&self.certificate)]);
        }
        jwk
    }

    /// The private key, for a handshake.
    ///
    /// # Panics
    /// When it cannot be read again.
    #[must_use]
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::try_from(self.key.serialize_der()).unwrap()
    }

    fn copy_of_key(&self) -> KeyPair {
        KeyPair::try_from(self.key.serialize_der()).unwrap()
    }
}

fn params(common_name: &str, names: &[Name<'_>]) -> CertificateParams {
    let mut params = CertificateParams::default();
    // The default has a common name already, in front.
    params.distinguished_name = DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "AT"),
        (DnType::OrganizationName, "Edge Hive"),
        (DnType::CommonName, common_name),
    ] {
        params.distinguished_name.push(kind, value);
    }
    let text = |name: &str| Ia5String::try_from(name).unwrap();
    let alternatives = names.iter().map(|name| match name {
        Name::Dns(name) => SanType::DnsName(text(name)),
        Name::Uri(name) => SanType::URI(text(name)),
    });
    params.subject_alt_names = alternatives.collect();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}
