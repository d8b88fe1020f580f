//! The claims of a token, each with its exact type. A claim of the wrong type is a fault, never "absent"
//! (CVE-2026-25537), and no number can overflow.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::shape::{Form, Rules};
use super::texts::Parts;
use super::{Check, Confirmation, Expectation, Rare, TokenFault, VerifiedClaims, printable};
use crate::clock::UnixSeconds;
use crate::scope::{Scope, ScopeFault};
use crate::status_list::StatusReference;

/// Where a claim is: its name, or below others as a JSON Pointer (RFC 6901), `/realm_access/roles`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimPath(String);

impl FromStr for ClaimPath {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl ClaimPath {
    /// Whether it names nothing.
    pub fn is_empty(&self) -> bool {
        self.0.trim_start_matches('/').is_empty()
    }

    fn find<'c>(&self, claims: &'c Map<String, Value>) -> Option<&'c Value> {
        let Some(pointer) = self.0.strip_prefix('/') else {
            return claims.get(&self.0);
        };
        let (first, rest) = match pointer.find('/') {
            Some(slash) => pointer.split_at(slash),
            None => (pointer, ""),
        };
        claims
            .get(&first.replace("~1", "/").replace("~0", "~"))?
            .pointer(rest)
    }
}

/// The claims of one token, and by which rules they are read.
pub(super) struct Source<'a> {
    pub(super) claims: &'a Map<String, Value>,
    pub(super) rules: &'a Rules,
    pub(super) expectation: &'a Expectation,
}

impl Source<'_> {
    /// Makes the checks from [`Check::Audience`] on. `unnamed` names a token that has no name of its own.
    pub(super) fn check(
        &self,
        now: UnixSeconds,
        unnamed: impl FnOnce() -> String,
    ) -> Result<VerifiedClaims, TokenFault> {
        self.audience()?;
        let (issued_at, expires_at) = self.times(now)?;
        let missing = |name: &str| TokenFault::new(Check::Claims, format!("{name} is missing"));
        let subject = self.text("sub")?.ok_or_else(|| missing("sub"))?;
        let place = self.claims.get("status").map(StatusReference::read).transpose()?;
        let hash;
        let token_id = match self.token_id()? {
            Some(id) => id,
            None if self.rules.needs_id => return Err(missing(self.rules.ids[0])),
            None => {
                hash = unnamed();
                &hash
            }
        };
        Ok(VerifiedClaims {
            status: place.flatten().map(Box::new),
            ..self.common((subject, token_id), (issued_at, expires_at))?
        })
    }

    /// What is read alike from a token and from what its issuer says of it.
    pub(super) fn common(
        &self,
        (subject, token_id): (&str, &str),
        (issued_at, expires_at): (UnixSeconds, UnixSeconds),
    ) -> Result<VerifiedClaims, TokenFault> {
        let fault = |reason: &str| TokenFault::new(Check::Claims, reason);
        let client_id = self.needed_client()?;
        let has = |name: &str, is: fn(&Value) -> bool| self.claims.get(name).is_none_or(is);
        if !has("act", Value::is_object) {
            return Err(fault("act is not an object"));
        }
        if !has("may_act", Value::is_object) {
            return Err(fault("may_act is not an object"));
        }
        if !has("authorization_details", Value::is_array) {
            return Err(fault("authorization_details is not a list"));
        }
        let rare = Rare {
            confirmation: self.claims.get("cnf").map(Confirmation::read).transpose()?,
            actor: self.claims.get("act").cloned(),
            may_act: self.claims.get("may_act").and_then(Value::as_object).cloned(),
            authorization_details: self.claims.get("authorization_details").cloned(),
            kept: self.kept(),
        };
        Ok(VerifiedClaims {
            issuer: Arc::clone(&self.expectation.issuer),
            texts: Parts {
                subject,
                client_id,
                token_id,
                client_name: self.text("client_name")?.unwrap_or_default(),
                client_type: self.text("client_type")?.unwrap_or_default(),
            }
            .into(),
            expires_at,
            issued_at,
            audience: Arc::clone(&self.expectation.audience),
            // Who is asked about a token need not be asked about its place.
            status: None,
            scope: self.scope()?,
            rare: (rare != Rare::default()).then(|| Box::new(rare)),
        })
    }

    fn kept(&self) -> Map<String, Value> {
        let names = self.expectation.kept_claims.iter();
        names
            .filter_map(|name| Some((name.clone(), self.claims.get(name)?.clone())))
            .collect()
    }

    pub(super) fn audience(&self) -> Result<(), TokenFault> {
        let expected = self.expectation;
        let fault = |reason: String| Err(TokenFault::new(Check::Audience, reason));
        let client_is_ours = || -> Result<bool, TokenFault> {
            let client = self.client()?;
            Ok(client.is_some_and(|client| expected.clients.iter().any(|known| *known == client)))
        };
        match self.claims.get("aud") {
            // Cognito, without resource binding: the client is all that says for whom the token is.
            None if expected.shape == super::Shape::Cognito && client_is_ours()? => return Ok(()),
            None => return fault("aud is missing".to_owned()),
            Some(Value::String(audience)) if **audience == *expected.audience => {}
            Some(Value::String(audience)) => return fault(format!("aud is {}", printable(audience))),
            Some(Value::Array(list)) => {
                if !list.iter().all(Value::is_string) {
                    return fault("aud is not a list of strings".to_owned());
                }
                if list.len() > 1 && expected.shape.has_one_audience() {
                    return fault("aud names several resources".to_owned());
                }
                if !list.iter().any(|audience| *audience == *expected.audience) {
                    return fault("aud does not contain this resource".to_owned());
                }
            }
            Some(_) => return fault("aud is neither a string nor a list".to_owned()),
        }
        if expected.clients.is_empty() || client_is_ours()? {
            return Ok(());
        }
        fault("it was issued to a client whose tokens are not taken".to_owned())
    }

    /// `iat` and `exp`.
    fn times(&self, now: UnixSeconds) -> Result<(UnixSeconds, UnixSeconds), TokenFault> {
        let missing = |name: &str| TokenFault::new(Check::Times, format!("{name} is missing"));
        let (issued_at, expires_at) = self.known_times(now)?;
        let expires_at = expires_at.ok_or_else(|| missing("exp"))?;
        Ok((issued_at.ok_or_else(|| missing("iat"))?, expires_at))
    }

    /// `iat` and `exp`, each checked if it is there; and so is `nbf`.
    pub(super) fn known_times(
        &self,
        now: UnixSeconds,
    ) -> Result<(Option<UnixSeconds>, Option<UnixSeconds>), TokenFault> {
        let fault = |reason: String| TokenFault::new(Check::Times, reason);
        let read = |name: &str| match self.claims.get(name) {
            None => Ok(None),
            Some(value) => match value.as_i64() {
                // The year 9999: beyond it lies no date that anyone means.
                Some(seconds) if (0..=253_402_300_799).contains(&seconds) => Ok(Some(UnixSeconds(seconds))),
                _ => Err(fault(format!(
                    "{name} is not a whole number of seconds in a sensible year"
                ))),
            },
        };
        let (expires_at, issued_at, not_before) = (read("exp")?, read("iat")?, read("nbf")?);
        let leeway = self.expectation.leeway;
        if let Some(expires_at) = expires_at.filter(|exp| now >= *exp + leeway) {
            return Err(fault(format!(
                "it expired {} s ago",
                now.since(expires_at).as_secs()
            )));
        }
        for (name, start) in [("iat", issued_at), ("nbf", not_before)] {
            if let Some(start) = start.filter(|start| *start > now + leeway) {
                return Err(fault(format!(
                    "{name} lies {} s ahead",
                    start.since(now).as_secs()
                )));
            }
        }
        Ok((issued_at, expires_at))
    }

    /// A claim that is text with content.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, TokenFault> {
        match self.claims.get(name) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text)),
            Some(_) => Err(TokenFault::new(
                Check::Claims,
                format!("{name} is not a string with content"),
            )),
        }
    }

    /// The client, which must be named.
    pub(super) fn needed_client(&self) -> Result<&str, TokenFault> {
        let missing = || format!("{} is missing", self.rules.clients[0]);
        self.client()?
            .ok_or_else(|| TokenFault::new(Check::Claims, missing()))
    }

    /// The client, by each of its names that is there.
    fn client(&self) -> Result<Option<&str>, TokenFault> {
        let mut found = None;
        for name in self.rules.clients {
            match (self.text(name)?, found) {
                (Some(client), None) => found = Some(client),
                (Some(client), Some(other)) if client != other => {
                    let reason = format!("{name} is not {}", printable(other));
                    return Err(TokenFault::new(Check::Claims, reason));
                }
                _ => {}
            }
        }
        Ok(found)
    }

    /// The token's name, if it has one.
    pub(super) fn token_id(&self) -> Result<Option<&str>, TokenFault> {
        for name in self.rules.ids {
            if let Some(id) = self.text(name)? {
                return Ok(Some(id));
            }
        }
        Ok(None)
    }

    fn scope(&self) -> Result<Scope, TokenFault> {
        let configured = || {
            let path = self.expectation.scope_claim.as_ref()?;
            Some((path.0.as_str(), path.find(self.claims)?, Form::Either))
        };
        let own = || {
            let mut names = self.rules.scopes.iter();
            names.find_map(|(name, form)| Some((*name, self.claims.get(*name)?, *form)))
        };
        // Our own tokens have a scope wherever they have one: nothing stands before it.
        let found = if self.rules.configured_first {
            configured().or_else(own)
        } else {
            let first = self.rules.scopes.first();
            let first = first.and_then(|(name, form)| Some((*name, self.claims.get(*name)?, *form)));
            first.or_else(configured).or_else(own)
        };
        let Some((name, value, form)) = found else {
            return Ok(Scope::default());
        };
        let prefix = self.expectation.scope_prefix.as_deref();
        read_scope(value, form, prefix)
            .map_err(|reason| TokenFault::new(Check::Scope, format!("{name}: {reason}")))
    }
}

fn read_scope(value: &Value, form: Form, prefix: Option<&str>) -> Result<Scope, String> {
    let text = |e: ScopeFault| e.to_string();
    let scope: Scope = match value {
        Value::String(scope) if form != Form::List => scope.parse().map_err(text)?,
        Value::Array(list) if form != Form::Text => {
            let tokens: Option<Vec<_>> = list.iter().map(Value::as_str).collect();
            Scope::from_tokens(tokens.ok_or("it is not a list of strings")?).map_err(text)?
        }
        _ => {
            return Err(match form {
                Form::Text => "it is not a string",
                Form::List => "it is not a list",
                Form::Either => "it is neither a string nor a list",
            }
            .to_owned());
        }
    };
    let Some(prefix) = prefix else { return Ok(scope) };
    let whole: Vec<_> = scope.iter().map(|token| format!("{prefix}{token}")).collect();
    Scope::from_tokens(whole.iter().map(String::as_str)).map_err(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::jose::Algorithm;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn expectation() -> Expectation {
        Expectation {
            issuer: "https://as".into(),
            audience: "https://rs/mcp".into(),
            algorithms: vec![Algorithm::EdDSA],
            leeway: Duration::from_secs(60),
            shape: super::super::Shape::EdgeHive,
            clients: Vec::new(),
            scope_claim: None,
            scope_prefix: None,
            kept_claims: Vec::new(),
        }
    }

    fn good() -> Value {
        json!({"iss":"https://as","sub":"client:x","aud":"https://rs/mcp","exp":NOW.0 + 60,"iat":NOW.0,"jti":"j",
               "client_id":"x","scope":"mcp:call mcp:read"})
    }

    fn verdict(change: impl FnOnce(&mut Value)) -> Result<VerifiedClaims, Check> {
        let mut claims = good();
        change(&mut claims);
        judge(&expectation(), &claims)
    }

    fn judge(expectation: &Expectation, claims: &Value) -> Result<VerifiedClaims, Check> {
        let source = Source {
            claims: claims.as_object().unwrap(),
            rules: expectation.shape.rules(&super::super::shape::TokenType::AtJwt),
            expectation,
        };
        source
            .check(NOW, || "unnamed".to_owned())
            .map_err(|fault| fault.check)
    }

    #[test]
    fn a_good_token_passes() {
        let verified = verdict(|_| {}).unwrap();
        assert_eq!(
            (verified.subject(), verified.client_id(), verified.token_id()),
            ("client:x", "x", "j")
        );
        assert_eq!(verified.scope().to_string(), "mcp:call mcp:read");
        assert!(verdict(|c| c["aud"] = json!(["https://rs/mcp"])).is_ok());
        assert_eq!(
            verdict(|c| {
                c.as_object_mut().unwrap().remove("scope");
                c["scp"] = json!(["a", "b"]);
            })
            .unwrap()
            .scope()
            .to_string(),
            "a b"
        );
    }

    #[test]
    fn audiences() {
        for bad in [
            json!("https://rs/mcp2"),
            json!("https://rs"),
            json!([]),
            json!(7),
            json!(["https://rs/mcp", "https://other"]),
            json!([7]),
            json!(null),
        ] {
            assert_eq!(
                verdict(|c| c["aud"] = bad.clone()).unwrap_err(),
                Check::Audience,
                "{bad}"
            );
        }
        assert_eq!(
            verdict(|c| {
                c.as_object_mut().unwrap().remove("aud");
            })
            .unwrap_err(),
            Check::Audience
        );
    }

    #[test]
    fn times_at_their_edges_and_beyond() {
        assert!(verdict(|c| c["exp"] = json!(NOW.0 - 59)).is_ok());
        assert_eq!(
            verdict(|c| c["exp"] = json!(NOW.0 - 60)).unwrap_err(),
            Check::Times
        );
        assert!(verdict(|c| c["nbf"] = json!(NOW.0 + 60)).is_ok());
        assert_eq!(
            verdict(|c| c["nbf"] = json!(NOW.0 + 61)).unwrap_err(),
            Check::Times
        );
        assert_eq!(
            verdict(|c| c["iat"] = json!(NOW.0 + 61)).unwrap_err(),
            Check::Times
        );
        let odd = [
            json!("1800000060"),
            json!(1e300),
            json!(-1),
            json!(null),
            json!(true),
            json!({}),
            json!(1_800_000_060.5),
            json!(u64::MAX),
            json!(253_402_300_800i64),
        ];
        for value in odd {
            for claim in ["exp", "iat", "nbf"] {
                assert_eq!(
                    verdict(|c| c[claim] = value.clone()).unwrap_err(),
                    Check::Times,
                    "{claim} {value}"
                );
            }
        }
    }

    #[test]
    fn required_claims_binding_and_scope() {
        for claim in ["sub", "client_id", "jti"] {
            assert_eq!(
                verdict(|c| {
                    c.as_object_mut().unwrap().remove(claim);
                })
                .unwrap_err(),
                Check::Claims
            );
            assert_eq!(verdict(|c| c[claim] = json!(7)).unwrap_err(), Check::Claims);
            assert_eq!(verdict(|c| c[claim] = json!("")).unwrap_err(), Check::Claims);
        }
        assert_eq!(verdict(|c| c["act"] = json!("x")).unwrap_err(), Check::Claims);
        assert_eq!(verdict(|c| c["may_act"] = json!("x")).unwrap_err(), Check::Claims);
        assert_eq!(
            verdict(|c| c["authorization_details"] = json!({})).unwrap_err(),
            Check::Claims
        );
        assert_eq!(
            verdict(|c| c["cnf"] = json!({"jkt": "x"})).unwrap_err(),
            Check::Binding
        );
        assert_eq!(
            verdict(|c| c["scope"] = json!(["mcp:read"])).unwrap_err(),
            Check::Scope
        );
        assert_eq!(
            verdict(|c| c["scope"] = json!("mcp:read\tmcp:call")).unwrap_err(),
            Check::Scope
        );
    }
}
