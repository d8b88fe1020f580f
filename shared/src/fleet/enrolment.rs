//! How a node enrols: it signs what it says of itself together with the invite that it was given.
//!
//! The signature proves the key. The invite's hash ties the statement to this one invite, and its audience to this one
//! server, so that whoever sees it can neither use it elsewhere nor put another key beside it. That it is used once
//! follows from the invite, which is.

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::clock::UnixSeconds;
use crate::jose::{Ed25519Key, VerifyingKey, sha256_base64url};
use crate::secret::{NoRandomness, Secret, random_bytes};
use crate::signed_jwt::{JwtFault, SignedJwt, Times};

/// The type of the JWT that a node signs.
pub const TYPE: &str = "edge-hive-enrolment+jwt";
/// A longer one is refused.
pub const MAX_BYTES: usize = 8 * 1024;
/// Longest name of a node, in bytes.
pub const MAX_NAME: usize = 100;
/// Most capabilities of a node, and the longest word for one.
pub const MAX_CAPABILITIES: (usize, usize) = (16, 64);
/// A statement is made for one request.
const LIFE: Duration = Duration::from_secs(120);
const TIMES: Times = Times {
    leeway: Duration::from_secs(60),
    longest: Some(Duration::from_secs(300)),
    oldest: Some(Duration::from_secs(300)),
};

/// What a node says of itself.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Description {
    /// The resource as which it serves; `None` leaves it to the invite.
    pub resource: Option<String>,
    /// Its name for people; `None` leaves it to the invite, or to its id.
    pub name: Option<String>,
    /// What it can do, in words such as `mcp`.
    pub capabilities: Vec<String>,
    /// The version of its program.
    pub version: Option<String>,
}

/// Signs `description` for the server `issuer` and the holder of `invite`.
pub fn sign(
    key: &Ed25519Key,
    (issuer, invite): (&str, &Secret),
    description: &Description,
    now: UnixSeconds,
) -> Result<String, NoRandomness> {
    let mut claims = json!({
        "aud": issuer,
        "iat": now,
        "exp": now + LIFE,
        "jti": URL_SAFE_NO_PAD.encode(random_bytes::<16>()?),
        "invite_sha256": invite_hash(invite),
        "capabilities": description.capabilities,
    });
    for (name, value) in [
        ("resource", &description.resource),
        ("name", &description.name),
        ("version", &description.version),
    ] {
        if let Some(value) = value {
            claims[name] = Value::from(value.as_str());
        }
    }
    Ok(key.sign_jwt(TYPE, &claims))
}

/// Checks a statement that came with `key` and `invite`, and returns what it says.
pub fn verify(
    proof: &str,
    key: &VerifyingKey,
    (issuer, invite): (&str, &Secret),
    now: UnixSeconds,
) -> Result<Description, JwtFault> {
    let jwt = SignedJwt::parse(proof, MAX_BYTES)?;
    if !jwt.has_type(&[TYPE], false) {
        return Err(JwtFault("its typ is not that of an enrolment"));
    }
    let jwt = jwt.verify(key)?;
    if !jwt.is_only_for(issuer) {
        return Err(JwtFault("aud is not this server's issuer identifier alone"));
    }
    jwt.check_times(TIMES, now)?;
    if jwt.text("jti")?.is_none() {
        return Err(JwtFault("jti is missing"));
    }
    if jwt.text("invite_sha256")? != Some(&invite_hash(invite)) {
        return Err(JwtFault("it was made for another invite"));
    }
    let text = |name| jwt.text(name).map(|text| text.map(str::to_owned));
    let description = Description {
        resource: text("resource")?,
        name: text("name")?,
        capabilities: capabilities(jwt.claims().get("capabilities"))?,
        version: text("version")?,
    };
    let is_line = |text: &String| text.len() <= MAX_NAME && !text.chars().any(char::is_control);
    if [&description.name, &description.version]
        .into_iter()
        .flatten()
        .any(|text| !is_line(text))
    {
        return Err(JwtFault(
            "its name or version is longer than 100 bytes, or no line of text",
        ));
    }
    Ok(description)
}

fn capabilities(claim: Option<&Value>) -> Result<Vec<String>, JwtFault> {
    let wrong = JwtFault("its capabilities are not at most 16 words of 64 letters");
    let list = match claim {
        None => return Ok(Vec::new()),
        Some(Value::Array(list)) if list.len() <= MAX_CAPABILITIES.0 => list,
        Some(_) => return Err(wrong),
    };
    let is_word = |word: &&str| {
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._:/".contains(&b);
        !word.is_empty() && word.len() <= MAX_CAPABILITIES.1 && word.bytes().all(is_plain)
    };
    let words = list
        .iter()
        .map(|word| word.as_str().filter(is_word).map(str::to_owned));
    words.collect::<Option<_>>().ok_or(wrong)
}

fn invite_hash(invite: &Secret) -> String {
    sha256_base64url(invite.reveal().as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::Algorithm;
    use crate::secret::SecretKind;

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);
    const ISSUER: &str = "https://as.example";

    #[test]
    fn a_statement_counts_for_its_server_its_invite_and_its_key_alone() {
        let key = Ed25519Key::generate().unwrap();
        let public =
            |key: &Ed25519Key| VerifyingKey::from_public_jwk(&key.public_jwk(), Algorithm::EdDSA).unwrap();
        let invite = Secret::generate(SecretKind::Invite).unwrap();
        let description = Description {
            resource: Some("https://node.example/mcp".to_owned()),
            name: Some("north".to_owned()),
            capabilities: vec!["mcp".to_owned()],
            version: None,
        };
        let proof = sign(&key, (ISSUER, &invite), &description, NOW).unwrap();
        let check =
            |key: &VerifyingKey, issuer, invite: &Secret, now| verify(&proof, key, (issuer, invite), now);
        assert_eq!(check(&public(&key), ISSUER, &invite, NOW), Ok(description));
        let other = Ed25519Key::generate().unwrap();
        assert!(check(&public(&other), ISSUER, &invite, NOW).is_err());
        assert!(check(&public(&key), "https://other.example", &invite, NOW).is_err());
        let stranger = Secret::generate(SecretKind::Invite).unwrap();
        assert!(check(&public(&key), ISSUER, &stranger, NOW).is_err());
        let minutes = |n: u64| Duration::from_secs(n * 60);
        assert!(check(&public(&key), ISSUER, &invite, NOW + minutes(2)).is_ok());
        assert!(check(&public(&key), ISSUER, &invite, NOW + minutes(3)).is_err());
        assert!(check(&public(&key), ISSUER, &invite, NOW - minutes(2)).is_err());
    }

    #[test]
    fn another_kind_of_jwt_and_other_words_are_refused() {
        let key = Ed25519Key::generate().unwrap();
        let public = VerifyingKey::from_public_jwk(&key.public_jwk(), Algorithm::EdDSA).unwrap();
        let invite = Secret::generate(SecretKind::Invite).unwrap();
        let good = json!({"aud": ISSUER, "iat": NOW, "exp": NOW.0 + 60, "jti": "j", "invite_sha256": invite_hash(&invite)});
        let check = |typ, claims: &Value| verify(&key.sign_jwt(typ, claims), &public, (ISSUER, &invite), NOW);
        assert_eq!(check(TYPE, &good), Ok(Description::default()));
        assert!(check("JWT", &good).is_err());
        for (name, value) in [
            ("aud", json!([ISSUER, "https://x.example"])),
            ("iat", Value::Null),
            ("exp", json!(NOW.0 + 3600)),
            ("jti", Value::Null),
            ("resource", json!(7)),
            ("name", json!("a\nb")),
            ("name", json!("x".repeat(101))),
            ("capabilities", json!("mcp")),
            ("capabilities", json!(["a b"])),
            ("capabilities", json!(vec!["x"; 17])),
        ] {
            let mut bad = good.clone();
            bad[name] = value;
            assert!(check(TYPE, &bad).is_err(), "{name}: {}", bad[name]);
        }
    }
}
