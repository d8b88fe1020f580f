//! A local certificate authority for a laptop or a LAN: made once, kept, and its certificate printed so that clients
//! can be told to trust it. The server's certificate is made anew at each start, so that it never expires unnoticed.

use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::{TlsFault, file_fault, write_private};

/// The files that [`ensure`] made or found.
pub(super) struct Made {
    pub(super) ca_file: PathBuf,
    pub(super) cert_file: PathBuf,
    pub(super) key_file: PathBuf,
}

pub(super) fn ensure(folder: &Path, names: &[String]) -> Result<Made, TlsFault> {
    std::fs::create_dir_all(folder).map_err(|e| file_fault(folder, e))?;
    let (ca_file, ca_key_file) = (folder.join("ca.pem"), folder.join("ca-key.pem"));
    if !ca_file.exists() {
        make_authority(&ca_file, &ca_key_file)?;
    }
    let read = |path: &Path| std::fs::read_to_string(path).map_err(|e| file_fault(path, e));
    let ca_key = KeyPair::from_pem(&read(&ca_key_file)?).map_err(|e| file_fault(&ca_key_file, e))?;
    let issuer = Issuer::new(authority(), ca_key);

    let mut params = CertificateParams::new(names.to_vec()).map_err(refused)?;
    params.distinguished_name.push(
        DnType::CommonName,
        names.first().map_or("edge-hive", String::as_str),
    );
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(refused)?;
    let certificate = params.signed_by(&key, &issuer).map_err(refused)?;
    let (cert_file, key_file) = (folder.join("cert.pem"), folder.join("key.pem"));
    write_private(&key_file, key.serialize_pem().as_bytes(), true).map_err(|e| file_fault(&key_file, e))?;
    write_private(&cert_file, certificate.pem().as_bytes(), true).map_err(|e| file_fault(&cert_file, e))?;
    Ok(Made {
        ca_file,
        cert_file,
        key_file,
    })
}

/// The authority's certificate but for its key. Always the same, so that [`ensure`] needs only the key to sign.
fn authority() -> CertificateParams {
    let mut params = CertificateParams::default();
    params
        .distinguished_name
        .push(DnType::CommonName, "Edge Hive local authority");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// The key is written first: an authority without key could never sign again.
fn make_authority(ca_file: &Path, ca_key_file: &Path) -> Result<(), TlsFault> {
    let key = KeyPair::generate().map_err(refused)?;
    let certificate = authority().self_signed(&key).map_err(refused)?;
    write_private(ca_key_file, key.serialize_pem().as_bytes(), true)
        .map_err(|e| file_fault(ca_key_file, e))?;
    write_private(ca_file, certificate.pem().as_bytes(), true).map_err(|e| file_fault(ca_file, e))
}

fn refused(error: rcgen::Error) -> TlsFault {
    TlsFault::Refused(error.to_string())
}
