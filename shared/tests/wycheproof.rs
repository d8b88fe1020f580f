//! JWT-41: the signatures of Project Wycheproof, by the keys and secrets of this project, as tokens meet them: a public key
//! comes as a JWK, and is admitted for one algorithm. What a JWS may look like around its signature is tested where nodes
//! are (`foreign::jwt_form` of the black-box tests, `jose-differential.mjs`).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use shared::jose::{Algorithm, MacAlgorithm, SharedSecret, VerifyingKey};
use wycheproof::TestResult;
use wycheproof::{ecdsa, eddsa, mac, rsa_pkcs1_verify, rsa_pss_verify};

/// How many vectors were run, with how many good signatures among them.
#[derive(Default)]
struct Tally {
    run: usize,
    good: usize,
}

impl Tally {
    fn judge(&mut self, what: &str, id: usize, result: TestResult, verifies: bool) {
        self.run += 1;
        self.good += usize::from(verifies);
        match result {
            TestResult::Valid => assert!(verifies, "{what} {id} is good"),
            TestResult::Invalid => assert!(!verifies, "{what} {id} is not good"),
            TestResult::Acceptable => {}
        }
    }
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A number as JWKs have it: without zeros before it (RFC 7518 §2, Base64urlUInt).
fn number(bytes: &[u8]) -> String {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    encoded(&bytes[zeros..])
}

/// The key, if it is admitted.
fn key(jwk: &Value, algorithm: Algorithm) -> Option<VerifyingKey> {
    VerifyingKey::from_public_jwk(jwk.as_object()?, algorithm).ok()
}

#[test]
fn jwt_41_signatures_of_ed25519() {
    let mut tally = Tally::default();
    for group in eddsa::TestSet::load(eddsa::TestName::Ed25519)
        .unwrap()
        .test_groups
    {
        let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encoded(&group.key.pk)});
        let key = key(&jwk, Algorithm::EdDSA).unwrap();
        for test in group.tests {
            let verifies = key.verifies(&test.msg, &test.sig);
            tally.judge("EdDSA", test.tc_id, test.result, verifies);
        }
    }
    assert!(
        tally.run >= 140 && tally.good >= 60,
        "{} {}",
        tally.run,
        tally.good
    );
}

#[test]
fn jwt_41_signatures_of_curves() {
    use ecdsa::TestName::{EcdsaSecp256r1Sha256P1363, EcdsaSecp384r1Sha384P1363};
    for (name, algorithm, curve) in [
        (EcdsaSecp256r1Sha256P1363, Algorithm::ES256, "P-256"),
        (EcdsaSecp384r1Sha384P1363, Algorithm::ES384, "P-384"),
    ] {
        let mut tally = Tally::default();
        for group in ecdsa::TestSet::load(name).unwrap().test_groups {
            // 0x04, and both coordinates in full length.
            let (x, y) = group.key.key[1..].split_at(group.key.key.len() / 2);
            let jwk = json!({"kty": "EC", "crv": curve, "x": encoded(x), "y": encoded(y)});
            let key = key(&jwk, algorithm).unwrap();
            for test in group.tests {
                let verifies = key.verifies(&test.msg, &test.sig);
                tally.judge(curve, test.tc_id, test.result, verifies);
            }
        }
        assert!(
            tally.run >= 200 && tally.good >= 100,
            "{curve} {} {}",
            tally.run,
            tally.good
        );
    }
}

#[test]
fn jwt_41_signatures_of_rsa() {
    use Algorithm::{RS256, RS384, RS512};
    use rsa_pkcs1_verify::TestName as Name;
    for (name, algorithm) in [
        (Name::Rsa2048Sha256, RS256),
        (Name::Rsa3072Sha256, RS256),
        (Name::Rsa4096Sha256, RS256),
        (Name::Rsa2048Sha384, RS384),
        (Name::Rsa3072Sha384, RS384),
        (Name::Rsa4096Sha384, RS384),
        (Name::Rsa2048Sha512, RS512),
        (Name::Rsa3072Sha512, RS512),
        (Name::Rsa4096Sha512, RS512),
    ] {
        let mut tally = Tally::default();
        for group in rsa_pkcs1_verify::TestSet::load(name).unwrap().test_groups {
            let jwk = json!({"kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e)});
            let Some(key) = key(&jwk, algorithm) else {
                // Other exponents than 65537 are not admitted.
                assert_ne!(number(&group.key.e), "AQAB");
                continue;
            };
            for test in group.tests {
                let verifies = key.verifies(&test.msg, &test.sig);
                tally.judge(algorithm.as_str(), test.tc_id, test.result, verifies);
            }
        }
        assert!(
            tally.run >= 200 && tally.good >= 5,
            "{name:?} {} {}",
            tally.run,
            tally.good
        );
    }
}

#[test]
fn jwt_41_signatures_of_rsa_with_salt() {
    use Algorithm::{PS256, PS384, PS512};
    use rsa_pss_verify::TestName as Name;
    for (name, algorithm, is_of_jose) in [
        (Name::RsaPss2048Sha256Mgf1SaltLen32, PS256, true),
        (Name::RsaPss3072Sha256Mgf1SaltLen32, PS256, true),
        (Name::RsaPss4096Sha256Mgf1SaltLen32, PS256, true),
        (Name::RsaPss2048Sha384Mgf1SaltLen48, PS384, true),
        (Name::RsaPss4096Sha384Mgf1SaltLen48, PS384, true),
        (Name::RsaPss4096Sha512Mgf1SaltLen64, PS512, true),
        // RFC 7518 §3.5: the salt is as long as the hash, and the hash of the mask is the same.
        (Name::RsaPss2048Sha256Mgf1SaltLen0, PS256, false),
        (Name::RsaPss4096Sha512Mgf1SaltLen32, PS512, false),
        (Name::RsaPss2048Sha256Mgf1Sha1_20, PS256, false),
    ] {
        let mut tally = Tally::default();
        for group in rsa_pss_verify::TestSet::load(name).unwrap().test_groups {
            let jwk = json!({"kty": "RSA", "n": number(&group.key.n), "e": number(&group.key.e)});
            let key = key(&jwk, algorithm).unwrap();
            for test in group.tests {
                let verifies = key.verifies(&test.msg, &test.sig);
                let result = match test.result {
                    result if is_of_jose => result,
                    TestResult::Valid => TestResult::Invalid,
                    // What is wrong there because its salt is another may be right here.
                    _ => TestResult::Acceptable,
                };
                tally.judge(algorithm.as_str(), test.tc_id, result, verifies);
            }
        }
        assert!(
            tally.run >= 50 && (tally.good >= 20 || !is_of_jose),
            "{name:?} {} {}",
            tally.run,
            tally.good
        );
    }
}

#[test]
fn jwt_41_codes_of_shared_secrets() {
    for (name, algorithm) in [
        (mac::TestName::HmacSha256, MacAlgorithm::HS256),
        (mac::TestName::HmacSha384, MacAlgorithm::HS384),
        (mac::TestName::HmacSha512, MacAlgorithm::HS512),
    ] {
        let mut tally = Tally::default();
        for group in mac::TestSet::load(name).unwrap().test_groups {
            for test in group.tests {
                let Ok(secret) = SharedSecret::new(algorithm, &test.key) else {
                    assert!(test.key.len() < algorithm.least_bytes());
                    continue;
                };
                // RFC 7518 §3.2: the whole code, and no part of it.
                let is_whole = group.tag_size == 8 * hash_bytes(algorithm);
                let result = if is_whole {
                    test.result
                } else {
                    TestResult::Invalid
                };
                let verifies = secret.verifies(&test.msg, &test.tag);
                tally.judge(algorithm.as_str(), test.tc_id, result, verifies);
            }
        }
        assert!(
            tally.run >= 50 && tally.good >= 15,
            "{name:?} {} {}",
            tally.run,
            tally.good
        );
    }
}

fn hash_bytes(algorithm: MacAlgorithm) -> usize {
    match algorithm {
        MacAlgorithm::HS256 => 32,
        MacAlgorithm::HS384 => 48,
        MacAlgorithm::HS512 => 64,
    }
}
