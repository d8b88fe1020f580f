//! Stand-ins of well-known providers: each issues a token as its documentation describes it, which a node of that kind
//! takes, and near misses of it, which the node refuses, each by the check that is there for it.

mod auth0;
mod cognito;
mod entra;
mod keycloak;
mod okta;
mod plain;

use blackbox::answers::{refused_401, refused_403};
use blackbox::forge::{Key, encode, fresh_id, hs256, key_set, now, part, with};
use blackbox::issuer::Issuer;
use blackbox::lone_node::LoneNode;
use serde_json::{Value, json};

/// A provider and the node that trusts it.
struct Provider {
    node: LoneNode,
    /// What it calls itself.
    id: String,
    header: Value,
    claims: Value,
    /// Whether tokens must say which key signed them.
    names_keys: bool,
}

/// What a provider's tokens look like.
struct Sample {
    kind: &'static str,
    /// What stands behind the address in its name.
    path: &'static str,
    /// More TOML of the `[[issuer]]` table.
    more: &'static str,
    header: Value,
    /// All but `iss`, `iat` and `exp`; `aud` only where it is not the node.
    claims: Value,
}

impl Provider {
    fn start(sample: Sample) -> Self {
        let keys = (Key::ed25519("ed"), Key::p256("ec"), Key::rsa("rsa"));
        let issuer = Issuer::start(key_set(&[&keys.2]));
        let id = format!("{}{}", issuer.url, sample.path);
        issuer.set_metadata("issuer", json!(id));
        let table = format!(
            "\n[[issuer]]\nurl = \"{id}\"\nkind = \"{}\"\n{}\n",
            sample.kind, sample.more
        );
        let node = LoneNode::start_table(issuer, keys, &table);
        let mut claims = json!({"iss": id, "aud": node.node.url(), "iat": now(), "exp": now() + 600});
        for (name, value) in sample.claims.as_object().unwrap() {
            claims = with(&claims, name, value.clone());
        }
        Self {
            node,
            id,
            header: sample.header,
            claims,
            names_keys: !sample.more.contains("token_types"),
        }
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        self.node.rsa.sign(header, claims)
    }

    fn good(&self) -> String {
        self.sign(&self.header, &with(&self.claims, "exp", json!(now() + 599)))
    }

    /// The good claims with one changed; null takes one out.
    fn claim(&self, name: &str, value: Value) -> String {
        self.sign(&self.header, &with(&self.claims, name, value))
    }

    /// The good header with one member changed; null takes one out.
    fn head(&self, name: &str, value: Value) -> String {
        self.sign(&with(&self.header, name, value), &self.claims)
    }

    #[track_caller]
    fn takes(&self, token: &str) -> Value {
        let answer = self.node.call(token);
        assert_eq!(answer.status, 200, "{answer} {}", part(token, 1));
        let (failed, story) = self.node.explain(token);
        assert_eq!(failed, None, "{story}");
        story["claims"].clone()
    }

    #[track_caller]
    fn refuses(&self, token: &str, check: &str) {
        let claims = token.split('.').count() == 3;
        let shown = if claims { part(token, 1) } else { json!(token) };
        let (failed, story) = self.node.explain(token);
        assert_eq!(failed.as_deref(), Some(check), "{shown} {story}");
        refused_401(&self.node.call(token), Some("invalid_token"));
    }

    /// The good token, and what nobody's tokens may be.
    #[track_caller]
    fn takes_its_own_and_no_near_miss(&self) -> Value {
        let seen = self.takes(&self.good());
        assert_eq!(seen["issuer"], self.id.as_str());
        self.refuses(&self.claim("aud", json!("http://localhost/other")), "audience");
        self.refuses(&self.claim("iss", json!(format!("{}x", self.id))), "issuer");
        self.refuses(&self.claim("exp", json!(now() - 61)), "times");
        self.refuses(&self.claim("iat", Value::Null), "times");
        self.refuses(&self.claim("sub", Value::Null), "claims");
        if self.names_keys {
            self.refuses(&self.head("kid", Value::Null), "key");
        }
        self.refuses(&self.head("kid", json!("other")), "key");
        self.refuses(&self.head("typ", json!("dpop+jwt")), "type");
        self.refuses(&self.head("alg", json!("PS256")), "algorithm");
        self.refuses(&self.head("crit", json!(["exp"])), "header");
        // The public key as the secret, in the forms in which an attacker has it.
        for secret in [
            self.node.rsa.public_bytes(),
            self.node.rsa.jwk().to_string().into_bytes(),
        ] {
            let confused = hs256(&with(&self.header, "alg", json!("HS256")), &self.claims, &secret);
            self.refuses(&confused, "algorithm");
        }
        // The claims of one token under the signature of another.
        let (good, other) = (self.good(), self.claim("sub", json!("somebody-else")));
        let parts: Vec<&str> = good.split('.').collect();
        let swapped = format!("{}.{}.{}", parts[0], other.split('.').nth(1).unwrap(), parts[2]);
        self.refuses(&swapped, "signature");
        let unsigned = with(&self.header, "alg", json!("none"));
        let unsigned = format!(
            "{}.{}.{}",
            encode(unsigned.to_string()),
            encode(self.claims.to_string()),
            encode("x")
        );
        self.refuses(&unsigned, "algorithm");
        // And it still is the token that is at fault, not the node.
        self.takes(&self.good());
        seen
    }

    /// A token that is good and may do nothing here.
    #[track_caller]
    fn takes_without_scope(&self, token: &str) {
        let (failed, story) = self.node.explain(token);
        assert_eq!(failed, None, "{story}");
        assert_eq!(story["claims"]["scope"], "");
        refused_403(&self.node.call(token), "mcp:call");
    }
}

/// What a person's browser gets beside the access token (OpenID Connect Core §2).
fn id_token(provider: &Provider, audience: &str, more: Value) -> Value {
    let mut claims = json!({
        "iss": provider.id, "aud": audience, "sub": "ada", "iat": now(), "exp": now() + 600, "auth_time": now(),
    });
    for (name, value) in more.as_object().unwrap() {
        claims = with(&claims, name, value.clone());
    }
    claims
}
