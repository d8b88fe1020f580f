//! What an authorization server says about a token when it is asked (RFC 7662 §2.2). Its word replaces the signature;
//! for whom the token is, how long and for what is still checked here (§4).

use std::time::Duration;

use serde_json::{Map, Value};

use super::claims::Source;
use super::shape::{Form, Rules};
use super::{Check, Expectation, Shape, TokenFault, VerifiedClaims, printable};
use crate::clock::UnixSeconds;
use crate::json::{self, JsonFault};

/// The members have the names of RFC 7662 §2.2, whatever the tokens look like.
const RULES: Rules = Rules {
    clients: &["client_id", "azp"],
    ids: &["jti", "uti"],
    needs_id: false,
    scopes: &[("scope", Form::Text)],
    configured_first: true,
};

/// The same for our own server, whose answers have nothing else.
const EDGE_HIVE: Rules = Rules {
    clients: &["client_id"],
    ids: &["jti"],
    configured_first: false,
    ..RULES
};

/// Members in which servers say what kind of token it is, beside those of the standard.
const KINDS: [&str; 3] = ["typ", "type", "tokenName"];
/// What they say there of tokens that open nothing here.
const OTHER_KINDS: [&str; 9] = [
    "refresh",
    "offline",
    "refresh_token",
    "rt+jwt",
    "id",
    "id_token",
    "logout",
    "logout_token",
    "logout+jwt",
];
/// Members of ID tokens and logout tokens alone (OpenID Connect Core §3.3.2.11, RFC 8417 §2.2).
const NEVER: [&str; 4] = ["at_hash", "c_hash", "s_hash", "events"];
/// Before the id of a client that acts for nobody, where the issuer names no subject.
const CLIENT: &str = "client:";

/// An answer that says nothing: the issuer is at fault, not the token.
#[derive(Debug, thiserror::Error)]
pub enum AnswerFault {
    /// No JSON object, or a member twice.
    #[error("the answer: {0}")]
    Json(#[from] JsonFault),
    /// `active` is missing or no truth value (RFC 7662 §2.2 requires it).
    #[error("the answer does not say whether the token is active")]
    Undecided,
}

/// What the issuer says of an active token. Nothing of it was checked.
#[derive(Debug)]
pub struct Introspected(Map<String, Value>);

impl Introspected {
    /// Reads an answer; `None` when the token is not active.
    pub fn parse(body: &[u8]) -> Result<Option<Self>, AnswerFault> {
        let members = json::object(body)?;
        match members.get("active") {
            Some(Value::Bool(true)) => Ok(Some(Self(members))),
            Some(Value::Bool(false)) => Ok(None),
            _ => Err(AnswerFault::Undecided),
        }
    }

    /// Checks what was said against `expectation`. `unnamed` names a token without `jti`, and `kept` is how long the
    /// answer counts: as long does a token live of which no `exp` is told.
    pub fn verify(
        &self,
        expectation: &Expectation,
        now: UnixSeconds,
        kept: Duration,
        unnamed: impl FnOnce() -> String,
    ) -> Result<VerifiedClaims, TokenFault> {
        match self.0.get("iss") {
            None => {}
            Some(Value::String(issuer)) if **issuer == *expectation.issuer => {}
            Some(_) => {
                return Err(TokenFault::new(
                    Check::Issuer,
                    "the answer's iss is another issuer",
                ));
            }
        }
        self.check_type(&expectation.shape)?;
        let rules = if expectation.shape == Shape::EdgeHive {
            &EDGE_HIVE
        } else {
            &RULES
        };
        let source = Source {
            claims: &self.0,
            rules,
            expectation,
        };
        source.audience()?;
        let (issued_at, expires_at) = source.known_times(now)?;
        let (id, subject) = (source.token_id()?, source.text("sub")?);
        // A client that acts for nobody may have no subject (RFC 7662 §2.2).
        let own = format!("{CLIENT}{}", source.needed_client()?);
        if let Some(other) = subject.filter(|subject| subject.starts_with(CLIENT))
            && other != own
        {
            // Somebody who may choose a name would be taken for that client.
            return Err(TokenFault::new(
                Check::Claims,
                "sub begins with client: and is not that of its client",
            ));
        }
        let hash = if id.is_none() { unnamed() } else { String::new() };
        source.common(
            (subject.unwrap_or(&own), id.unwrap_or(&hash)),
            (issued_at.unwrap_or(now), expires_at.unwrap_or(now + kept)),
        )
    }

    /// Whether the answer is about an access token: servers know refresh tokens and ID tokens too.
    fn check_type(&self, shape: &Shape) -> Result<(), TokenFault> {
        let fault = |name: &str, found: &Value| {
            let found = found.as_str().unwrap_or("no text");
            Err(TokenFault::new(
                Check::Type,
                format!("the answer's {name} is {}", printable(found)),
            ))
        };
        let is = |value: &Value, known: &[&str]| {
            let text = value.as_str();
            text.is_some_and(|text| known.iter().any(|known| known.eq_ignore_ascii_case(text)))
        };
        if *shape == Shape::EdgeHive && !self.0.contains_key("token_type") {
            // Our server says it of every access token.
            return Err(TokenFault::new(Check::Type, "the answer has no token_type"));
        }
        for name in KINDS {
            if let Some(found) = self.0.get(name).filter(|found| is(found, &OTHER_KINDS)) {
                return fault(name, found);
            }
        }
        if let Some(name) = NEVER.iter().find(|name| self.0.contains_key(**name)) {
            let reason = format!("the answer has {name}, as access tokens never have");
            return Err(TokenFault::new(Check::Type, reason));
        }
        if let Some(found) = self.0.get("token_type") {
            // RFC 6749 §5.1; some servers name the kind of token instead (RFC 8693 §3).
            let access = [
                "Bearer",
                "DPoP",
                "access_token",
                "urn:ietf:params:oauth:token-type:access_token",
            ];
            if !is(found, &access) {
                return fault("token_type", found);
            }
            let bound = self.0.get("cnf").is_some_and(|cnf| cnf.get("jkt").is_some());
            if is(found, &["DPoP"]) && !bound {
                let reason = "the answer's token_type is DPoP, and cnf names no key";
                return Err(TokenFault::new(Check::Binding, reason));
            }
        }
        // Cognito's word, and Ory Hydra's.
        if let Some(found) = self
            .0
            .get("token_use")
            .filter(|found| !is(found, &["access", "access_token"]))
        {
            return fault("token_use", found);
        }
        // Keycloak's word.
        match self.0.get("typ") {
            Some(found) if *shape == Shape::Keycloak && !is(found, &["Bearer", "DPoP"]) => {
                fault("typ", found)
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const KEPT: Duration = Duration::from_secs(30);

    fn expectation(shape: Shape) -> Expectation {
        Expectation {
            issuer: "https://as".into(),
            audience: "https://rs/mcp".into(),
            algorithms: Vec::new(),
            leeway: Duration::from_secs(60),
            shape,
            clients: Vec::new(),
            scope_claim: None,
            scope_prefix: None,
            kept_claims: Vec::new(),
        }
    }

    fn verdict(change: impl FnOnce(&mut Value)) -> Result<VerifiedClaims, Check> {
        verdict_of(Shape::Keycloak, change)
    }

    fn verdict_of(shape: Shape, change: impl FnOnce(&mut Value)) -> Result<VerifiedClaims, Check> {
        let mut said = json!({
            "active": true, "iss": "https://as", "sub": "ada", "aud": "https://rs/mcp", "client_id": "agent",
            "exp": NOW.0 + 60, "iat": NOW.0, "jti": "j", "scope": "mcp:read", "token_type": "Bearer",
        });
        change(&mut said);
        let said = Introspected::parse(said.to_string().as_bytes()).unwrap().unwrap();
        let verified = said.verify(&expectation(shape), NOW, KEPT, || "hash".to_owned());
        verified.map_err(|fault| fault.check)
    }

    fn without(said: &mut Value, names: &[&str]) {
        for name in names {
            said.as_object_mut().unwrap().remove(*name);
        }
    }

    #[test]
    fn active_is_a_truth_value_or_nothing_was_said() {
        let parse = |text: &str| Introspected::parse(text.as_bytes());
        assert!(parse(r#"{"active":true}"#).unwrap().is_some());
        assert!(parse(r#"{"active":false,"aud":"x"}"#).unwrap().is_none());
        for odd in [
            "{}",
            r#"{"active":"true"}"#,
            r#"{"active":1}"#,
            r#"{"active":null}"#,
        ] {
            assert!(matches!(parse(odd), Err(AnswerFault::Undecided)), "{odd}");
        }
        for odd in ["", "[]", "<html>", r#"{"active":false,"active":true}"#] {
            assert!(matches!(parse(odd), Err(AnswerFault::Json(_))), "{odd}");
        }
    }

    #[test]
    fn what_may_be_left_out_and_what_not() {
        let whole = verdict(|_| {}).unwrap();
        assert_eq!(
            (whole.subject(), whole.client_id(), whole.token_id()),
            ("ada", "agent", "j")
        );
        let least =
            verdict(|said| without(said, &["iss", "sub", "exp", "iat", "jti", "scope", "token_type"]));
        let least = least.unwrap();
        assert_eq!((least.subject(), least.token_id()), ("client:agent", "hash"));
        assert_eq!(least.expires_at(), NOW + KEPT);
        assert!(least.scope().is_empty());
        assert_eq!(
            verdict(|said| without(said, &["aud"])).unwrap_err(),
            Check::Audience
        );
        assert_eq!(
            verdict(|said| without(said, &["client_id"])).unwrap_err(),
            Check::Claims
        );
    }

    #[test]
    fn nobody_is_called_as_a_client_that_it_is_not() {
        let called = |subject: &str| verdict(|said| said["sub"] = json!(subject));
        assert_eq!(called("client:agent").unwrap().subject(), "client:agent");
        assert_eq!(called("client:other").unwrap_err(), Check::Claims);
        assert_eq!(called("client:").unwrap_err(), Check::Claims);
        assert_eq!(called("clients").unwrap().subject(), "clients");
    }

    #[test]
    fn what_is_said_is_checked() {
        for (name, odd, check) in [
            ("iss", json!("https://other"), Check::Issuer),
            ("iss", json!(7), Check::Issuer),
            ("aud", json!("https://rs"), Check::Audience),
            ("aud", json!([]), Check::Audience),
            ("exp", json!(NOW.0 - 60), Check::Times),
            ("exp", json!("1800000060"), Check::Times),
            ("nbf", json!(NOW.0 + 61), Check::Times),
            ("sub", json!(7), Check::Claims),
            ("azp", json!("somebody"), Check::Claims),
            ("scope", json!(["mcp:read"]), Check::Scope),
            ("cnf", json!({"kid": "x"}), Check::Binding),
            ("token_type", json!("refresh_token"), Check::Type),
            ("token_type", json!("N_A"), Check::Type),
            ("token_type", json!("DPoP"), Check::Binding),
            ("token_use", json!("refresh_token"), Check::Type),
            ("typ", json!("Refresh"), Check::Type),
            ("typ", json!("ID"), Check::Type),
        ] {
            assert_eq!(
                verdict(|said| said[name] = odd.clone()).unwrap_err(),
                check,
                "{name} {odd}"
            );
        }
        for (name, odd) in [
            ("typ", json!("Refresh")),
            ("typ", json!("rt+jwt")),
            ("type", json!("refresh_token")),
            ("tokenName", json!("id_token")),
            ("at_hash", json!("x")),
            ("events", json!({})),
        ] {
            // Also where the answer does not say token_type, which need not be there.
            let of_another_kind = verdict_of(Shape::Rfc9068, |said| {
                without(said, &["token_type"]);
                said[name] = odd.clone();
            });
            assert_eq!(of_another_kind.unwrap_err(), Check::Type, "{name} {odd}");
        }
        let bare = |shape| verdict_of(shape, |said| without(said, &["token_type"]));
        assert!(bare(Shape::Rfc9068).is_ok());
        assert_eq!(bare(Shape::EdgeHive).unwrap_err(), Check::Type);
        let print = "A".repeat(43);
        let bound = verdict(|said| {
            said["token_type"] = json!("DPoP");
            said["cnf"] = json!({"jkt": print});
        });
        assert!(bound.unwrap().confirmation().is_some());
    }
}
