//! The ID token of a foreign OpenID Provider, checked as OpenID Connect Core §3.1.3.7 asks.

use std::time::Duration;

use ring::digest;
use serde_json::Value;

use crate::clock::UnixSeconds;
use crate::jose::{Algorithm, VerifyingKey, decode_base64url};
use crate::secret::{Secret, SecretHash};
use crate::signed_jwt::{SignedJwt, VerifiedJwt, numeric_date};

/// A longer token is refused before anything of it is decoded.
pub const MAX_ID_TOKEN_BYTES: usize = 16 * 1024;
/// Tolerated difference of clocks.
const LEEWAY: Duration = Duration::from_secs(60);
/// An ID token is made for this very sign-in: one that was issued earlier than this is somebody's old one.
const MAX_AGE: Duration = Duration::from_secs(600);
/// OpenID Connect Core §2: a subject has at most 255 ASCII characters.
const MAX_SUBJECT: usize = 255;

/// Why an ID token is refused. Names no value of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct IdTokenFault(&'static str);

/// What the relying party demands.
#[derive(Debug)]
pub struct Expected<'a> {
    /// The provider, byte for byte.
    pub issuer: &'a str,
    /// The relying party as the provider knows it.
    pub client_id: &'a str,
    /// The `nonce` of this sign-in.
    pub nonce: &'a Secret,
    /// The access token that came along, for `at_hash`.
    pub access_token: Option<&'a Secret>,
    /// The person was asked to prove who they are from here on (`max_age=0`): then `auth_time` must say that they did.
    pub authenticated_since: Option<UnixSeconds>,
}

/// Who signed in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// Never reassigned by its issuer; nothing else identifies a person (OpenID Connect Core §5.7).
    pub subject: String,
    /// `name`.
    pub name: Option<String>,
    /// `preferred_username`: a wish, not an identity.
    pub preferred_username: Option<String>,
    /// `email`, if the provider says that it was verified.
    pub verified_email: Option<String>,
}

/// An ID token that has been taken apart. Nothing in it is true yet.
pub struct UnverifiedIdToken<'a> {
    jwt: SignedJwt<'a>,
}

impl<'a> UnverifiedIdToken<'a> {
    /// Takes the token apart and reads its header.
    pub fn parse(token: &'a str) -> Result<Self, IdTokenFault> {
        let jwt = SignedJwt::parse(token, MAX_ID_TOKEN_BYTES).map_err(|fault| IdTokenFault(fault.0))?;
        // RFC 8725 §3.11: a JWT that was made for another purpose says so here.
        if !jwt.has_type(&["JWT"], true) {
            return Err(IdTokenFault("its typ is not JWT"));
        }
        Ok(Self { jwt })
    }

    /// The name of the key that it claims; it may have none (OpenID Connect Core §10.1).
    pub fn kid(&self) -> Option<&str> {
        self.jwt.kid()
    }

    /// The algorithm that it claims.
    pub fn algorithm(&self) -> Algorithm {
        self.jwt.algorithm()
    }

    /// Makes every check, with the key that [`Self::kid`] names in the issuer's set; without a name, with the only one
    /// there for [`Self::algorithm`].
    pub fn verify(
        self,
        key: &VerifyingKey,
        expected: &Expected<'_>,
        now: UnixSeconds,
    ) -> Result<Identity, IdTokenFault> {
        let verified = self.jwt.verify(key);
        let jwt = verified.map_err(|_| IdTokenFault("its signature is not that of the issuer's key"))?;
        let claims = Claims { jwt };
        if claims.text("iss") != Some(expected.issuer) {
            return Err(IdTokenFault("iss is another issuer"));
        }
        claims.check_audience(expected.client_id)?;
        claims.check_times(now)?;
        let nonce = claims.text("nonce").ok_or(IdTokenFault("nonce is missing"))?;
        if SecretHash::of(nonce.as_bytes()) != expected.nonce.hash() {
            return Err(IdTokenFault("nonce is that of another sign-in"));
        }
        claims.check_access_token(expected.access_token)?;
        claims.check_authentication(expected.authenticated_since)?;
        let subject = claims.text("sub").unwrap_or_default();
        if subject.is_empty()
            || subject.len() > MAX_SUBJECT
            || !subject.bytes().all(|b| b == b' ' || b.is_ascii_graphic())
        {
            return Err(IdTokenFault("sub is not 1 to 255 ASCII characters"));
        }
        let is_verified = claims.get("email_verified") == Some(&Value::Bool(true));
        Ok(Identity {
            subject: subject.to_owned(),
            name: claims.text("name").map(str::to_owned),
            preferred_username: claims.text("preferred_username").map(str::to_owned),
            verified_email: claims.text("email").filter(|_| is_verified).map(str::to_owned),
        })
    }
}

/// The claims, which the provider signed.
struct Claims {
    jwt: VerifiedJwt,
}

impl Claims {
    /// Rules 3 to 5: for us, and when for others too, then asked for by us.
    fn check_audience(&self, client_id: &str) -> Result<(), IdTokenFault> {
        let others = match self.get("aud") {
            Some(Value::String(only)) if only == client_id => false,
            Some(Value::Array(list)) if list.iter().any(|one| one.as_str() == Some(client_id)) => {
                list.len() > 1
            }
            _ => return Err(IdTokenFault("aud is another client")),
        };
        match self.get("azp") {
            None if !others => Ok(()),
            None => Err(IdTokenFault("it is for several clients and azp is missing")),
            Some(azp) if azp.as_str() == Some(client_id) => Ok(()),
            Some(_) => Err(IdTokenFault("azp is another client")),
        }
    }

    /// Rules 9 and 10.
    fn check_times(&self, now: UnixSeconds) -> Result<(), IdTokenFault> {
        let time = |name: &str| self.get(name).and_then(numeric_date);
        let (exp, iat) = (
            time("exp").ok_or(IdTokenFault("exp is missing"))?,
            time("iat").ok_or(IdTokenFault("iat is missing"))?,
        );
        if exp <= now - LEEWAY {
            return Err(IdTokenFault("it has expired"));
        }
        if iat > now + LEEWAY || iat < now - MAX_AGE {
            return Err(IdTokenFault("it was not issued just now"));
        }
        if self.get("nbf").is_some() && time("nbf").is_none_or(|nbf| nbf > now + LEEWAY) {
            return Err(IdTokenFault("it is not valid yet"));
        }
        Ok(())
    }

    /// Rule 13, §3.1.2.1: `auth_time` must be there when `max_age` was asked for, and tell of a sign-in since then.
    fn check_authentication(&self, since: Option<UnixSeconds>) -> Result<(), IdTokenFault> {
        let Some(since) = since else {
            return Ok(());
        };
        let at = self.get("auth_time").and_then(numeric_date);
        match at.ok_or(IdTokenFault("auth_time is missing"))? {
            at if at < since - LEEWAY => Err(IdTokenFault("the person was not asked to sign in again")),
            _ => Ok(()),
        }
    }

    /// §3.1.3.8: when `at_hash` is there, it is the left half of the access token's hash.
    fn check_access_token(&self, access_token: Option<&Secret>) -> Result<(), IdTokenFault> {
        let Some(at_hash) = self.get("at_hash") else {
            return Ok(());
        };
        let algorithm = match self.jwt.algorithm() {
            Algorithm::ES256 | Algorithm::PS256 | Algorithm::RS256 => &digest::SHA256,
            Algorithm::ES384 | Algorithm::PS384 | Algorithm::RS384 => &digest::SHA384,
            Algorithm::EdDSA | Algorithm::PS512 | Algorithm::RS512 => &digest::SHA512,
        };
        let fits = access_token.is_some_and(|token| {
            let hash = digest::digest(algorithm, token.reveal().as_bytes());
            let half = &hash.as_ref()[..algorithm.output_len() / 2];
            at_hash
                .as_str()
                .and_then(decode_base64url)
                .is_some_and(|shown| shown == half)
        });
        if fits {
            Ok(())
        } else {
            Err(IdTokenFault("at_hash is that of another access token"))
        }
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.jwt.claims().get(name)
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Value::as_str)
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use ring::signature::{Ed25519KeyPair, KeyPair};
    use serde_json::json;

    use super::*;
    use crate::jose::KeySet;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn pair() -> Ed25519KeyPair {
        Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
    }

    fn sign(header: &Value, claims: &Value) -> String {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let input = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = encode(pair().sign(input.as_bytes()).as_ref());
        format!("{input}.{signature}")
    }

    fn good() -> Value {
        json!({
            "iss": "https://op.example/", "aud": "us", "sub": "42", "nonce": "n", "exp": NOW.0 + 300, "iat": NOW.0,
            "name": "Ada", "preferred_username": "ada", "email": "ada@x.example", "email_verified": true,
        })
    }

    fn check(token: &str) -> Result<Identity, IdTokenFault> {
        check_since(token, None)
    }

    fn check_since(token: &str, authenticated_since: Option<UnixSeconds>) -> Result<Identity, IdTokenFault> {
        let x = URL_SAFE_NO_PAD.encode(pair().public_key().as_ref());
        let set = json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k"}]}).to_string();
        let set = KeySet::parse(set.as_bytes()).unwrap();
        let unverified = UnverifiedIdToken::parse(token)?;
        let key = match unverified.kid() {
            Some(kid) => set.find(kid),
            None => set.only(unverified.algorithm()),
        };
        let (nonce, access_token) = (Secret::from("n".to_owned()), Secret::from("at".to_owned()));
        let expected = Expected {
            issuer: "https://op.example/",
            client_id: "us",
            nonce: &nonce,
            access_token: Some(&access_token),
            authenticated_since,
        };
        unverified.verify(key.unwrap(), &expected, NOW)
    }

    /// The outcome for the good token with one claim changed; `null` leaves it out.
    fn with(name: &str, value: Value) -> Result<Identity, IdTokenFault> {
        let mut claims = good();
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value,
        }
        check(&sign(&json!({"alg": "EdDSA", "kid": "k"}), &claims))
    }

    #[test]
    fn a_good_token_says_who_signed_in() {
        let identity = with("typ", json!("x")).unwrap();
        assert_eq!(identity.subject, "42");
        assert_eq!(identity.name.as_deref(), Some("Ada"));
        assert_eq!(identity.verified_email.as_deref(), Some("ada@x.example"));
        assert_eq!(
            with("email_verified", json!("true")).unwrap().verified_email,
            None
        );
    }

    #[test]
    fn every_claim_is_demanded_and_compared() {
        for name in ["iss", "aud", "sub", "nonce", "exp", "iat"] {
            assert!(with(name, Value::Null).is_err(), "without {name}");
        }
        for (name, bad) in [
            ("iss", json!("https://op.example")),
            ("aud", json!("them")),
            ("aud", json!(["them"])),
            ("aud", json!(["us", "them"])),
            ("azp", json!("them")),
            ("sub", json!("")),
            ("sub", json!("a\nb")),
            ("sub", json!(42)),
            ("sub", json!("x".repeat(256))),
            ("nonce", json!("m")),
            ("exp", json!(NOW.0 - 60)),
            ("exp", json!(1e300)),
            ("iat", json!(NOW.0 + 61)),
            ("iat", json!(NOW.0 - 601)),
            ("nbf", json!(NOW.0 + 61)),
            ("nbf", json!("now")),
            ("at_hash", json!("AAAA")),
        ] {
            assert!(with(name, bad.clone()).is_err(), "{name} {bad}");
        }
        for (name, fine) in [
            ("aud", json!(["us"])),
            ("azp", json!("us")),
            ("exp", json!(NOW.0 - 59)),
            ("nbf", json!(NOW.0)),
        ] {
            assert!(with(name, fine.clone()).is_ok(), "{name} {fine}");
        }
    }

    #[test]
    fn several_audiences_need_azp() {
        let mut claims = good();
        claims["aud"] = json!(["us", "them"]);
        claims["azp"] = json!("us");
        assert!(check(&sign(&json!({"alg": "EdDSA", "kid": "k"}), &claims)).is_ok());
    }

    #[test]
    fn at_hash_is_the_left_half_of_the_hash() {
        let hash = digest::digest(&digest::SHA512, b"at");
        let half = URL_SAFE_NO_PAD.encode(&hash.as_ref()[..32]);
        assert!(with("at_hash", json!(half)).is_ok());
    }

    #[test]
    fn a_proof_that_was_asked_for_is_a_new_one() {
        let since = |auth_time: Value, since: Option<UnixSeconds>| {
            let mut claims = good();
            claims["auth_time"] = auth_time;
            check_since(&sign(&json!({"alg": "EdDSA", "kid": "k"}), &claims), since).is_ok()
        };
        assert!(since(json!(NOW.0), Some(NOW)) && since(json!(NOW.0 - 60), Some(NOW)));
        for bad in [
            json!(NOW.0 - 61),
            json!(0),
            json!("now"),
            json!(null),
            json!(1e300),
        ] {
            assert!(!since(bad.clone(), Some(NOW)), "{bad}");
            assert!(since(bad.clone(), None), "{bad}: nobody asked");
        }
    }

    #[test]
    fn headers_that_confuse_are_refused() {
        for header in [
            json!({"alg": "none", "kid": "k"}),
            json!({"alg": "HS256", "kid": "k"}),
            json!({"alg": "RS256", "kid": "k"}),
            json!({"alg": "EdDSA", "kid": 1}),
            json!({"alg": "EdDSA", "kid": "k", "crit": ["x"]}),
            json!({"alg": "EdDSA", "kid": "k", "typ": "at+jwt"}),
            json!({"alg": "EdDSA", "kid": "k", "typ": "logout+jwt"}),
        ] {
            assert!(check(&sign(&header, &good())).is_err(), "{header}");
        }
        assert!(check(&sign(&json!({"alg": "EdDSA", "kid": "k", "typ": "jwt"}), &good())).is_ok());
        // Without a name it is the issuer's only key for that algorithm.
        assert!(check(&sign(&json!({"alg": "EdDSA"}), &good())).is_ok());
        let token = sign(&json!({"alg": "EdDSA", "kid": "k"}), &good());
        let mut forged = token.clone();
        let at = forged.find('.').unwrap() + 5;
        forged.replace_range(at..=at, if &token[at..=at] == "A" { "B" } else { "A" });
        assert!(check(&forged).is_err());
        assert!(check(token.rsplit_once('.').unwrap().0).is_err());
        assert!(check(&format!("{token}.x")).is_err());
    }
}
