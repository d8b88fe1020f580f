//! The claims of a signed token, each with its exact type. A claim of the wrong type is a fault, never "absent"
//! (CVE-2026-25537), and no number can overflow.

use serde_json::{Map, Value};

use super::{Check, Confirmation, Expectation, TokenFault, VerifiedClaims, printable};
use crate::clock::UnixSeconds;
use crate::scope::Scope;
use crate::status_list::StatusReference;

pub(super) fn check(
    claims: &Map<String, Value>,
    expectation: &Expectation,
    now: UnixSeconds,
) -> Result<VerifiedClaims, TokenFault> {
    audience(claims, expectation)?;
    let (issued_at, expires_at) = times(claims, expectation, now)?;
    let required = |name: &str| {
        optional_text(claims, name)?
            .ok_or_else(|| TokenFault::new(Check::Claims, format!("{name} is missing")))
    };
    let verified = VerifiedClaims {
        issuer: expectation.issuer.clone(),
        subject: required("sub")?,
        client_id: required("client_id")?,
        token_id: required("jti")?,
        scope: Scope::default(),
        expires_at,
        issued_at,
        audience: expectation.audience.clone(),
        client_name: optional_text(claims, "client_name")?,
        client_type: optional_text(claims, "client_type")?,
        confirmation: claims.get("cnf").map(Confirmation::read).transpose()?,
        actor: claims.get("act").cloned(),
        may_act: claims.get("may_act").and_then(Value::as_object).cloned(),
        authorization_details: claims.get("authorization_details").cloned(),
        status: None,
        kept: kept(claims, expectation),
    };
    if claims.get("act").is_some_and(|actor| !actor.is_object()) {
        return Err(TokenFault::new(Check::Claims, "act is not an object"));
    }
    if claims.get("may_act").is_some_and(|claim| !claim.is_object()) {
        return Err(TokenFault::new(Check::Claims, "may_act is not an object"));
    }
    if verified
        .authorization_details
        .as_ref()
        .is_some_and(|details| !details.is_array())
    {
        return Err(TokenFault::new(
            Check::Claims,
            "authorization_details is not a list",
        ));
    }
    Ok(VerifiedClaims {
        scope: scope(claims, expectation)?,
        status: claims
            .get("status")
            .map(StatusReference::read)
            .transpose()?
            .flatten(),
        ..verified
    })
}

fn kept(claims: &Map<String, Value>, expectation: &Expectation) -> Map<String, Value> {
    let names = expectation.kept_claims.iter();
    names
        .filter_map(|name| Some((name.clone(), claims.get(name)?.clone())))
        .collect()
}

fn audience(claims: &Map<String, Value>, expectation: &Expectation) -> Result<(), TokenFault> {
    let fault = |reason: String| Err(TokenFault::new(Check::Audience, reason));
    match claims.get("aud") {
        None => fault("aud is missing".to_owned()),
        Some(Value::String(audience)) if *audience == expectation.audience => Ok(()),
        Some(Value::String(audience)) => fault(format!("aud is {}", printable(audience))),
        Some(Value::Array(list)) => {
            if !list.iter().all(Value::is_string) {
                return fault("aud is not a list of strings".to_owned());
            }
            if list.len() > 1 && expectation.single_audience {
                return fault("aud names several resources".to_owned());
            }
            if list
                .iter()
                .any(|audience| *audience == expectation.audience.as_str())
            {
                return Ok(());
            }
            fault("aud does not contain this resource".to_owned())
        }
        Some(_) => fault("aud is neither a string nor a list".to_owned()),
    }
}

fn times(
    claims: &Map<String, Value>,
    expectation: &Expectation,
    now: UnixSeconds,
) -> Result<(UnixSeconds, UnixSeconds), TokenFault> {
    let fault = |reason: String| TokenFault::new(Check::Times, reason);
    let read = |name: &str| match claims.get(name) {
        None => Ok(None),
        Some(value) => match value.as_i64() {
            // The year 9999: beyond it lies no date that anyone means.
            Some(seconds) if (0..=253_402_300_799).contains(&seconds) => Ok(Some(UnixSeconds(seconds))),
            _ => Err(fault(format!(
                "{name} is not a whole number of seconds in a sensible year"
            ))),
        },
    };
    let expires_at = read("exp")?.ok_or_else(|| fault("exp is missing".to_owned()))?;
    let issued_at = read("iat")?.ok_or_else(|| fault("iat is missing".to_owned()))?;
    if now >= expires_at + expectation.leeway {
        return Err(fault(format!(
            "it expired {} s ago",
            now.since(expires_at).as_secs()
        )));
    }
    for (name, start) in [("iat", Some(issued_at)), ("nbf", read("nbf")?)] {
        if let Some(start) = start.filter(|start| *start > now + expectation.leeway) {
            return Err(fault(format!(
                "{name} lies {} s ahead",
                start.since(now).as_secs()
            )));
        }
    }
    Ok((issued_at, expires_at))
}

fn optional_text(claims: &Map<String, Value>, name: &str) -> Result<Option<String>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
        Some(_) => Err(TokenFault::new(
            Check::Claims,
            format!("{name} is not a string with content"),
        )),
    }
}

/// The first of `scope` and the configured claims that is there.
fn scope(claims: &Map<String, Value>, expectation: &Expectation) -> Result<Scope, TokenFault> {
    let fault = |name: &str, reason: &str| TokenFault::new(Check::Scope, format!("{name}: {reason}"));
    if let Some(value) = claims.get("scope") {
        let text = value
            .as_str()
            .ok_or_else(|| fault("scope", "it is not a string"))?;
        return text
            .parse()
            .map_err(|e: crate::scope::ScopeFault| fault("scope", &e.to_string()));
    }
    for name in &expectation.scope_claims {
        let parsed = match claims.get(name) {
            None => continue,
            Some(Value::String(text)) => text.parse(),
            Some(Value::Array(list)) => {
                let tokens: Option<Vec<_>> = list.iter().map(Value::as_str).collect();
                Scope::from_tokens(tokens.ok_or_else(|| fault(name, "it is not a list of strings"))?)
            }
            Some(_) => return Err(fault(name, "it is neither a string nor a list")),
        };
        return parsed.map_err(|e| fault(name, &e.to_string()));
    }
    Ok(Scope::default())
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
            issuer: "https://as".to_owned(),
            audience: "https://rs/mcp".to_owned(),
            algorithms: vec![Algorithm::EdDSA],
            leeway: Duration::from_secs(60),
            single_audience: true,
            kept_claims: Vec::new(),
            scope_claims: vec!["scopes".to_owned(), "scp".to_owned()],
        }
    }

    fn good() -> Value {
        json!({"iss":"https://as","sub":"client:x","aud":"https://rs/mcp","exp":NOW.0 + 60,"iat":NOW.0,"jti":"j",
               "client_id":"x","scope":"mcp:call mcp:read"})
    }

    fn verdict(change: impl FnOnce(&mut Value)) -> Result<VerifiedClaims, Check> {
        let mut claims = good();
        change(&mut claims);
        check(claims.as_object().unwrap(), &expectation(), NOW).map_err(|fault| fault.check)
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
