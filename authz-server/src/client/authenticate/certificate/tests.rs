//! Names in certificates. The certificates are made here; that their owner has the key is the handshake's business.

use rcgen::string::Ia5String;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use super::*;

fn certificate(common_name: &str, alternatives: Vec<SanType>) -> Vec<u8> {
    let mut params = CertificateParams::default();
    // The default has a common name already, in front.
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CountryName, "AT");
    params
        .distinguished_name
        .push(DnType::OrganizationName, "Edge Hive");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.subject_alt_names = alternatives;
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn text(name: &str) -> Ia5String {
    name.try_into().unwrap()
}

fn names(der: &[u8], details: Details) -> bool {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    is_named(&certificate, &details)
}

#[test]
fn ca_33_a_name_of_one_kind_is_not_one_of_another() {
    let dns = |name: &str| Details {
        tls_client_auth_san_dns: Some(name.to_owned()),
        ..Details::default()
    };
    let by_name = certificate("a.example", vec![SanType::DnsName(text("a.example"))]);
    assert!(names(&by_name, dns("a.example")) && names(&by_name, dns("A.Example")));
    assert!(!names(&by_name, dns("b.example")));
    // In the common name only, or as a name of another kind.
    assert!(!names(&certificate("a.example", vec![]), dns("a.example")));
    let elsewhere = [
        SanType::URI(text("a.example")),
        SanType::Rfc822Name(text("a.example")),
    ];
    assert!(!names(&certificate("x", elsewhere.to_vec()), dns("a.example")));
    let wildcard = certificate("x", vec![SanType::DnsName(text("*.example"))]);
    assert!(!names(&wildcard, dns("a.example")));
}

#[test]
fn each_kind_of_alternative_name_is_found() {
    let address = "2001:db8::1".parse().unwrap();
    let der = certificate(
        "x",
        vec![
            SanType::URI(text("spiffe://fleet/agent")),
            SanType::IpAddress(address),
            SanType::IpAddress("192.0.2.7".parse().unwrap()),
            SanType::Rfc822Name(text("agent@fleet.example")),
        ],
    );
    let uri = |value: &str| Details {
        tls_client_auth_san_uri: Some(value.to_owned()),
        ..Details::default()
    };
    let ip = |value: &str| Details {
        tls_client_auth_san_ip: Some(value.to_owned()),
        ..Details::default()
    };
    let email = |value: &str| Details {
        tls_client_auth_san_email: Some(value.to_owned()),
        ..Details::default()
    };
    assert!(names(&der, uri("spiffe://fleet/agent")) && !names(&der, uri("spiffe://fleet/agent/")));
    assert!(names(&der, ip("2001:db8:0:0::1")) && names(&der, ip("192.0.2.7")));
    assert!(!names(&der, ip("192.0.2.8")) && !names(&der, ip("x")));
    assert!(names(&der, email("agent@fleet.example")) && !names(&der, email("Agent@fleet.example")));
}

#[test]
fn ca_34_the_subject_is_compared_in_normal_form() {
    let der = certificate("Ada", vec![]);
    let subject = |value: &str| Details {
        tls_client_auth_subject_dn: Some(value.to_owned()),
        ..Details::default()
    };
    for same in [
        "CN=Ada,O=Edge Hive,C=AT",
        "cn=A\\64a, o=Edge Hive, c=AT",
        "2.5.4.3=Ada,O=#0c09456467652048697665,C=AT",
    ] {
        assert!(names(&der, subject(same)), "{same}");
    }
    for other in [
        "C=AT,O=Edge Hive,CN=Ada",
        "CN=ada,O=Edge Hive,C=AT",
        "CN=Ada,O=Edge Hive",
        "CN=Ada",
        "CN=Ada,O=Edge Hive,C=AT,DC=x",
        "nonsense",
    ] {
        assert!(!names(&der, subject(other)), "{other}");
    }
}

#[test]
fn exactly_one_registered_name_counts() {
    let der = certificate("Ada", vec![SanType::DnsName(text("a.example"))]);
    let both = Details {
        tls_client_auth_subject_dn: Some("CN=Ada,O=Edge Hive,C=AT".to_owned()),
        tls_client_auth_san_dns: Some("a.example".to_owned()),
        ..Details::default()
    };
    assert!(!names(&der, both) && !names(&der, Details::default()));
}

#[test]
fn ca_32_the_method_is_one_that_was_listed_and_works_here() {
    use AuthMethod::{None as Public, PrivateKeyJwt, SelfSignedTlsClientAuth, TlsClientAuth};
    let certificate = || {
        let der = certificate("x", vec![]);
        ClientCertificate::new(vec![der.into()])
    };
    let method = |listed: &[AuthMethod], is_shown: bool, working: &[AuthMethod]| {
        let mut client = crate::token::testing::client("client_credentials", "a");
        client.auth_methods = listed.to_vec();
        let shown = Shown {
            certificate: is_shown.then(certificate).flatten(),
            from: ClientAddress([192, 0, 2, 1].into()),
        };
        assert_eq!(shown.certificate.is_some(), is_shown);
        shown.method(&client, |method| working.contains(&method))
    };
    let choices = [PrivateKeyJwt, SelfSignedTlsClientAuth, Public];
    let both = [TlsClientAuth, SelfSignedTlsClientAuth];
    // Public is what it said it may be, unless it shows a certificate where that means something.
    assert_eq!(method(&choices, false, &both), Public);
    assert_eq!(method(&choices, true, &both), SelfSignedTlsClientAuth);
    assert_eq!(method(&choices, true, &[]), Public);
    // Without that, nothing but the certificate will do.
    for is_shown in [false, true] {
        assert_eq!(method(&both, is_shown, &both), TlsClientAuth);
        assert_eq!(
            method(&both, is_shown, &[SelfSignedTlsClientAuth]),
            SelfSignedTlsClientAuth
        );
        assert_eq!(
            method(&[SelfSignedTlsClientAuth], is_shown, &[]),
            SelfSignedTlsClientAuth
        );
        assert_eq!(
            method(&[PrivateKeyJwt], is_shown, &both),
            Public,
            "which it did not list"
        );
    }
}
