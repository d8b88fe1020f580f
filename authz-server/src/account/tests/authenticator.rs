//! An authenticator in software: one ES256 key, "none" attestation (WebAuthn §6, §8.7).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};
use shared::secret::{random_bytes, system_random};

pub(super) struct Authenticator {
    key: EcdsaKeyPair,
    id: [u8; 32],
    user: Value,
    pub(super) counter: u32,
    /// User present and verified.
    pub(super) flags: u8,
}

impl Authenticator {
    /// Makes a key for `options` (`navigator.credentials.create`) and what the browser sends.
    pub(super) fn create(options: &Value, origin: &str) -> (Self, Value) {
        let random = system_random();
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        let key =
            EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, document.as_ref(), &random).unwrap();
        let made = Self {
            key,
            id: random_bytes().unwrap(),
            user: options["user"]["id"].clone(),
            counter: 1,
            flags: 0x05,
        };
        // {1: 2 (EC2), 3: -7 (ES256), -1: 1 (P-256), -2: x, -3: y} (RFC 9053 §7.1.1)
        let point = made.key.public_key().as_ref();
        let mut cose = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21, 0x58, 32];
        cose.extend(&point[1..33]);
        cose.extend([0x22, 0x58, 32]);
        cose.extend(&point[33..65]);
        let mut data = made.data(made.flags | 0x40);
        data.extend([0; 16]);
        data.extend([0, 32]);
        data.extend(made.id);
        data.extend(cose);
        let mut object = vec![0xa3, 0x63];
        object.extend(b"fmt");
        object.push(0x64);
        object.extend(b"none");
        object.push(0x67);
        object.extend(b"attStmt");
        object.extend([0xa0, 0x68]);
        object.extend(b"authData");
        object.extend([0x58, u8::try_from(data.len()).unwrap()]);
        object.extend(data);
        let credential = json!({
            "id": text(&made.id),
            "rawId": text(&made.id),
            "type": "public-key",
            "response": {
                "clientDataJSON": text(&client_data("webauthn.create", options, origin)),
                "attestationObject": text(&object),
            },
            "extensions": {},
        });
        (made, credential)
    }

    /// Answers `options` (`navigator.credentials.get`).
    pub(super) fn get(&mut self, options: &Value, origin: &str) -> Value {
        self.counter += 1;
        let data = self.data(self.flags);
        let client = client_data("webauthn.get", options, origin);
        let signed = [data.as_slice(), digest(&SHA256, &client).as_ref()].concat();
        let signature = self.key.sign(&system_random(), &signed).unwrap();
        json!({
            "id": text(&self.id),
            "rawId": text(&self.id),
            "type": "public-key",
            "response": {
                "clientDataJSON": text(&client),
                "authenticatorData": text(&data),
                "signature": text(signature.as_ref()),
                "userHandle": self.user,
            },
            "extensions": {},
        })
    }

    fn data(&self, flags: u8) -> Vec<u8> {
        let mut data = digest(&SHA256, b"localhost").as_ref().to_vec();
        data.push(flags);
        data.extend(self.counter.to_be_bytes());
        data
    }
}

fn client_data(kind: &str, options: &Value, origin: &str) -> Vec<u8> {
    json!({ "type": kind, "challenge": options["challenge"], "origin": origin, "crossOrigin": false })
        .to_string()
        .into_bytes()
}

fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}
