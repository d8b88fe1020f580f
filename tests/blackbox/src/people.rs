//! What tests about people do all the time: accounts, clients with redirect URIs, the way from a request to tokens.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use serde_json::Value;
use xtask::http::{Answer, form_encode};

use crate::Fleet;
use crate::answers::granted;
use crate::fleet::SCOPES;
use crate::person::{Person, Redirect};

/// A password that any account may have.
pub const PASSWORD: &str = "correct horse battery staple";

/// Where clients of these tests are called back. Nobody listens there, and nobody needs to.
pub const CALLBACK: &str = "http://127.0.0.1:9/callback";

/// A proof key for one authorization request (RFC 7636).
#[derive(Debug, Clone)]
pub struct Pkce {
    /// The secret half.
    pub verifier: String,
    /// Its SHA-256 in base64url.
    pub challenge: String,
}

impl Pkce {
    /// A fresh pair.
    ///
    /// # Panics
    /// When the system has no randomness.
    #[must_use]
    #[expect(
        clippy::disallowed_methods,
        reason = "a test is not linked with the crate of that door"
    )]
    pub fn fresh() -> Self {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).unwrap();
        Self::of(&URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The pair of this verifier.
    #[must_use]
    pub fn of(verifier: &str) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, verifier.as_bytes());
        Self {
            verifier: verifier.into(),
            challenge: URL_SAFE_NO_PAD.encode(digest),
        }
    }
}

impl Fleet {
    /// A browser without cookies.
    #[must_use]
    pub fn person(&self) -> Person {
        Person::new(&self.server.issuer)
    }

    /// An account with [`PASSWORD`], made on the command line; returns its user name.
    #[must_use]
    pub fn person_account(&self) -> String {
        let name = self.fresh_name();
        self.user(&name, PASSWORD, &[]);
        name
    }

    /// An account, made on the command line; returns what the command prints.
    ///
    /// # Panics
    /// When the command refuses.
    pub fn user(&self, name: &str, password: &str, words: &[&str]) -> Value {
        let made = self.server.create_user(name, password, words).unwrap();
        self.remember(password);
        made
    }

    /// A public client with this redirect URI; returns its id.
    ///
    /// # Panics
    /// When the command refuses.
    #[must_use]
    pub fn web_client(&self, redirect_uri: &str, words: &[&str]) -> String {
        let resource = self.node.url();
        let mut line = vec!["--public", "--redirect-uri", redirect_uri];
        if !words.contains(&"--resource") {
            line.extend(["--resource", &resource]);
        }
        if !words.contains(&"--scopes") {
            line.extend(["--scopes", SCOPES]);
        }
        line.extend(words);
        self.server
            .create_public_client(&self.fresh_name(), &line)
            .unwrap()
    }

    /// The address of an authorization request. `more` goes over the usual parameters; an empty value leaves one out.
    #[must_use]
    pub fn authorization_url(&self, client_id: &str, pkce: &Pkce, more: &[(&str, &str)]) -> String {
        let resource = self.node.url();
        let usual = [
            ("response_type", "code"),
            ("client_id", client_id),
            ("redirect_uri", CALLBACK),
            ("state", "st-1"),
            ("code_challenge", &pkce.challenge),
            ("code_challenge_method", "S256"),
            ("resource", &resource),
        ];
        let kept = usual
            .iter()
            .filter(|(name, _)| !more.iter().any(|(set, _)| set == name));
        let all = kept.chain(more.iter().filter(|(_, value)| !value.is_empty()));
        let query: Vec<String> = all
            .map(|(name, value)| format!("{name}={}", form_encode(value)))
            .collect();
        format!("{}/oauth/authorize?{}", self.server.issuer, query.join("&"))
    }

    /// Lets a person allow a request and returns the redirect with the code.
    #[must_use]
    #[track_caller]
    pub fn allowed(
        &self,
        person: &mut Person,
        username: &str,
        client_id: &str,
        (pkce, more): (&Pkce, &[(&str, &str)]),
    ) -> Redirect {
        let url = self.authorization_url(client_id, pkce, more);
        let redirect = person.allow(&url, (username, PASSWORD));
        self.remember(&redirect.code());
        redirect
    }

    /// Redeems a code of a public client as it was asked for by [`Self::authorization_url`].
    #[must_use]
    pub fn redeem(&self, client_id: &str, code: &str, pkce: &Pkce, more: &[(&str, &str)]) -> Answer {
        let usual = [
            ("grant_type", "authorization_code"),
            ("client_id", client_id),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("code_verifier", &pkce.verifier),
        ];
        let kept = usual
            .into_iter()
            .filter(|(name, _)| !more.iter().any(|(set, _)| set == name));
        let form: Vec<(&str, &str)> = kept
            .chain(more.iter().copied().filter(|(_, value)| !value.is_empty()))
            .collect();
        self.kept_tokens(self.post_bare("/oauth/token", &form))
    }

    /// Refreshes for a public client.
    #[must_use]
    pub fn refresh(&self, client_id: &str, refresh_token: &str, more: &[(&str, &str)]) -> Answer {
        let usual = [
            ("grant_type", "refresh_token"),
            ("client_id", client_id),
            ("refresh_token", refresh_token),
        ];
        self.kept_tokens(self.post_bare("/oauth/token", &[&usual, more].concat()))
    }

    /// The whole way: a person allows, the code is redeemed. Returns the token answer.
    ///
    /// # Panics
    /// When any step is refused.
    #[must_use]
    #[track_caller]
    pub fn code_tokens(&self, person: &mut Person, username: &str, client_id: &str) -> Value {
        let pkce = Pkce::fresh();
        let redirect = self.allowed(person, username, client_id, (&pkce, &[]));
        assert_eq!(
            redirect.param("state").as_deref(),
            Some("st-1"),
            "{}",
            redirect.url
        );
        assert_eq!(
            redirect.param("iss"),
            Some(self.server.issuer.clone()),
            "{}",
            redirect.url
        );
        granted(&self.redeem(client_id, &redirect.code(), &pkce, &[]))
    }

    fn kept_tokens(&self, answer: Answer) -> Answer {
        if let Ok(body) = answer.json() {
            for name in ["refresh_token", "id_token"] {
                if let Some(token) = body.get(name).and_then(Value::as_str) {
                    self.remember(token);
                }
            }
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_7636_appendix_b() {
        let pair = Pkce::of("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        assert_eq!(pair.challenge, "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
    }
}
