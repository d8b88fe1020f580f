//! `token explain`: each check that the node would make, in order, with its verdict. The token is never shown.

mod proof;

use serde::Serialize;
use shared::access_token::{Check, Confirmation, Expectation, TokenFault, UnverifiedToken, VerifiedClaims};
use shared::clock::UnixSeconds;
use shared::jose::{Algorithm, KeySet, VerifyingKey};
use shared::jwks::{KeyLookup, RemoteKeySet};

use crate::issuers::{Introspection, Said, Trust, check_bound};

pub(crate) use self::proof::ShownProof;

/// Why a place in a status list says nothing here.
const NOT_LOOKED_AT: &str = "not looked at here; a running node that refuses the token for it says so";

/// An issuer whose tokens would be taken, and where its keys are.
pub(crate) struct Candidate {
    pub(crate) expectation: Expectation,
    pub(crate) keys: Keys,
    /// Whether its tokens must be bound to a key.
    pub(crate) dpop_required: bool,
}

/// Where keys come from, or what stands in their place.
pub(crate) enum Keys {
    /// A file that the operator has: works without network.
    File(KeySet),
    /// The issuer itself.
    Issuer(Trust),
}

/// The whole story of one token.
#[derive(Serialize)]
pub(crate) struct Explanation {
    /// Whether a node would take the token.
    pub(crate) accepted: bool,
    /// Each check in order.
    pub(crate) steps: Vec<Step>,
    /// What the token says, if it can be believed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claims: Option<Claims>,
}

/// One check.
#[derive(Serialize)]
pub(crate) struct Step {
    pub(crate) check: &'static str,
    pub(crate) demands: &'static str,
    pub(crate) verdict: Verdict,
    /// What was found instead.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// How a check went.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// The claims of an accepted token.
#[derive(Serialize)]
pub(crate) struct Claims {
    issuer: String,
    subject: String,
    client_id: String,
    scope: String,
    audience: String,
    issued_at: i64,
    expires_at: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    bound_to: Option<Confirmation>,
}

/// Makes every check against the issuer that the token names; and those of the proof, if the token needs one.
pub(crate) async fn explain(
    token: &str,
    candidates: &[Candidate],
    proof: Option<&ShownProof>,
    now: UnixSeconds,
) -> Explanation {
    let (checks, verdict) = match whose(token, candidates) {
        Ok((candidate, unverified)) => {
            let checks = match candidate.keys {
                Keys::Issuer(Trust::Introspection(_)) => &Check::INTROSPECTED[..],
                _ => &Check::ALL[..],
            };
            (checks, verify(token, candidate, unverified, now).await)
        }
        Err(fault) => (&Check::ALL[..], Err(fault)),
    };
    let failed = verdict.as_ref().err();
    // The lists are with the node that runs, which follows them.
    let is_on_a_list = verdict.as_ref().is_ok_and(|claims| claims.status().is_some());
    let steps = checks.iter().map(|&check| {
        let is_left_out = is_on_a_list && check == Check::Status;
        let verdict = match failed {
            None if is_left_out => Verdict::Skipped,
            None => Verdict::Passed,
            Some(fault) if check < fault.check => Verdict::Passed,
            Some(fault) if check == fault.check => Verdict::Failed,
            Some(_) => Verdict::Skipped,
        };
        let reason = failed
            .filter(|fault| fault.check == check)
            .map(|fault| fault.reason.clone())
            .or_else(|| is_left_out.then(|| NOT_LOOKED_AT.to_owned()));
        Step {
            check: check.as_str(),
            demands: check.describe(),
            verdict,
            reason,
        }
    });
    let mut steps: Vec<_> = steps.collect();
    let bound = verdict.as_ref().ok().and_then(VerifiedClaims::confirmation);
    steps.extend(bound.map(|bound| proof::step(bound, token, proof, now)));
    Explanation {
        accepted: steps.iter().all(|step| !matches!(step.verdict, Verdict::Failed)),
        steps,
        claims: verdict.as_ref().ok().map(Claims::of),
    }
}

/// The issuer that the token names; or else the one that is asked about tokens that name none.
fn whose<'c, 't>(
    token: &'t str,
    candidates: &'c [Candidate],
) -> Result<(&'c Candidate, Option<UnverifiedToken<'t>>), TokenFault> {
    let of_opaque = || {
        candidates.iter().find(|candidate| {
            matches!(&candidate.keys, Keys::Issuer(Trust::Introspection(asked)) if asked.takes_opaque_tokens())
        })
    };
    let unverified = match UnverifiedToken::parse(token) {
        Ok(unverified) => unverified,
        Err(fault) if fault.check == Check::Structure => {
            return of_opaque().map(|candidate| (candidate, None)).ok_or(fault);
        }
        Err(fault) => return Err(fault),
    };
    let named = match unverified.issuer() {
        Ok(named) => named,
        Err(_) if unverified.names_no_issuer() && of_opaque().is_some() => {
            return of_opaque()
                .map(|candidate| (candidate, None))
                .ok_or_else(|| TokenFault::new(Check::Issuer, "iss is missing"));
        }
        Err(fault) => return Err(fault),
    };
    let found = candidates
        .iter()
        .find(|candidate| *candidate.expectation.issuer == *named);
    let Some(candidate) = found else {
        let shown: String = named.chars().take(128).filter(|c| c.is_ascii_graphic()).collect();
        let trusted: Vec<_> = candidates
            .iter()
            .map(|candidate| &*candidate.expectation.issuer)
            .collect();
        let reason = format!("iss is {shown}; trusted: {}", trusted.join(", "));
        return Err(TokenFault::new(Check::Issuer, reason));
    };
    Ok((candidate, Some(unverified)))
}

async fn verify(
    token: &str,
    candidate: &Candidate,
    unverified: Option<UnverifiedToken<'_>>,
    now: UnixSeconds,
) -> Result<VerifiedClaims, TokenFault> {
    let expectation = &candidate.expectation;
    if let Some(unverified) = &unverified {
        unverified.check_type(expectation)?;
    }
    let claims = match (&candidate.keys, unverified) {
        (Keys::Issuer(Trust::Introspection(asked)), _) => ask(asked, token, expectation, now).await?,
        (_, None) => return Err(TokenFault::new(Check::Structure, "it is no JWT")),
        (Keys::Issuer(Trust::Secret(secret)), Some(unverified)) => {
            unverified.verify_with_secret(secret, expectation, now)?
        }
        (Keys::File(set), Some(unverified)) => {
            let key = in_file(set, &unverified, expectation)?;
            unverified.verify(&key, expectation, now)?
        }
        (Keys::Issuer(Trust::Keys(set)), Some(unverified)) => {
            let algorithm = unverified.algorithm(expectation)?;
            let key = published(set, unverified.named_key(expectation)?, algorithm).await?;
            unverified.verify(&key, expectation, now)?
        }
    };
    check_bound(candidate.dpop_required, &claims)?;
    Ok(claims)
}

async fn ask(
    asked: &Introspection,
    token: &str,
    expectation: &Expectation,
    now: UnixSeconds,
) -> Result<VerifiedClaims, TokenFault> {
    match asked.ask(token, now).await {
        Said::Active(answer) => answer.verify(expectation, now, asked.ttl(), String::new),
        Said::Inactive => Err(TokenFault::new(
            Check::Active,
            "the issuer says that it is not active",
        )),
        Said::Nothing { fault, .. } => {
            let reason = format!("the issuer cannot be asked: {fault}");
            Err(TokenFault::new(Check::Active, reason))
        }
    }
}

fn in_file(
    set: &KeySet,
    unverified: &UnverifiedToken<'_>,
    expectation: &Expectation,
) -> Result<VerifyingKey, TokenFault> {
    let algorithm = unverified.algorithm(expectation)?;
    let key = match unverified.named_key(expectation)? {
        Some(kid) => set.find(kid),
        None => set.only(algorithm),
    };
    key.cloned().ok_or_else(|| {
        let known: Vec<_> = set.iter().map(|(kid, _)| kid).collect();
        let reason = format!("the file has no such key; it has {}", known.join(", "));
        TokenFault::new(Check::Key, reason)
    })
}

async fn published(
    set: &RemoteKeySet,
    kid: Option<&str>,
    algorithm: Algorithm,
) -> Result<VerifyingKey, TokenFault> {
    let lookup = match kid {
        Some(kid) => set.key(kid).await,
        None => set.only_key(algorithm).await,
    };
    match lookup {
        KeyLookup::Key(key) => Ok(key),
        KeyLookup::UnknownKid => Err(TokenFault::new(Check::Key, "the issuer publishes no such key")),
        KeyLookup::Unavailable { .. } => {
            let fault = set.status().fault.unwrap_or_default();
            let reason = format!("the issuer's keys cannot be had: {fault}");
            Err(TokenFault::new(Check::Key, reason))
        }
    }
}

impl Claims {
    fn of(claims: &VerifiedClaims) -> Self {
        Self {
            issuer: claims.issuer().to_owned(),
            subject: claims.subject().to_owned(),
            client_id: claims.client_id().to_owned(),
            scope: claims.scope().to_string(),
            audience: claims.audience().to_owned(),
            issued_at: claims.issued_at().0,
            expires_at: claims.expires_at().0,
            bound_to: claims.confirmation().cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{AUDIENCE, Forge, Holder, NOW};

    fn candidates(forge: &Forge) -> Vec<Candidate> {
        let keys = Keys::File(KeySet::parse(forge.jwks().to_string().as_bytes()).unwrap());
        vec![Candidate {
            expectation: forge.expectation(),
            keys,
            dpop_required: false,
        }]
    }

    #[tokio::test]
    async fn a_good_token_passes_every_check() {
        let forge = Forge::new("https://as.example");
        let explanation = explain(&forge.token(|_| {}), &candidates(&forge), None, NOW).await;
        assert!(explanation.accepted);
        assert!(
            explanation
                .steps
                .iter()
                .all(|step| step.verdict == Verdict::Passed)
        );
        assert_eq!(explanation.steps.len(), Check::ALL.len());
        assert_eq!(explanation.claims.unwrap().audience, AUDIENCE);
    }

    #[tokio::test]
    async fn nothing_is_said_of_a_status_list_that_nobody_looked_at() {
        let forge = Forge::new("https://as.example");
        let place =
            serde_json::json!({"status_list": {"idx": 7, "uri": "https://as.example/oauth/status/1"}});
        let token = forge.token(|claims| claims["status"] = place);
        let explanation = explain(&token, &candidates(&forge), None, NOW).await;
        let step = explanation
            .steps
            .iter()
            .find(|step| step.check == "status")
            .unwrap();
        assert!(explanation.accepted);
        assert_eq!(
            (step.verdict, step.reason.as_deref()),
            (Verdict::Skipped, Some(NOT_LOOKED_AT))
        );
    }

    #[tokio::test]
    async fn the_first_failure_is_named_and_the_rest_is_skipped() {
        let forge = Forge::new("https://as.example");
        let token = forge.token(|claims| claims["aud"] = "https://other/mcp".into());
        let explanation = explain(&token, &candidates(&forge), None, NOW).await;
        let verdicts: Vec<_> = explanation
            .steps
            .iter()
            .map(|step| (step.check, step.verdict))
            .collect();
        assert!(!explanation.accepted && explanation.claims.is_none());
        assert!(verdicts.contains(&("signature", Verdict::Passed)));
        assert!(verdicts.contains(&("audience", Verdict::Failed)));
        assert!(verdicts.contains(&("times", Verdict::Skipped)));
        let printed = serde_json::to_string(&explanation).unwrap();
        assert!(printed.contains("https://other/mcp") && !printed.contains(&token));
    }

    #[tokio::test]
    async fn an_unknown_issuer_is_told_beside_the_known_ones() {
        let (ours, theirs) = (
            Forge::new("https://as.example"),
            Forge::new("https://other.example"),
        );
        let explanation = explain(&theirs.token(|_| {}), &candidates(&ours), None, NOW).await;
        let failed = explanation
            .steps
            .iter()
            .find(|step| step.verdict == Verdict::Failed)
            .unwrap();
        assert_eq!(
            failed.reason.as_deref(),
            Some("iss is https://other.example; trusted: https://as.example")
        );
    }

    #[tokio::test]
    async fn a_bound_token_is_told_with_its_key_and_judged_with_its_proof() {
        let forge = Forge::new("https://as.example");
        let (holder, thief) = (Holder::new(1), Holder::new(2));
        let key = holder.confirmation()["jkt"].as_str().unwrap().to_owned();
        let token = forge.token(|claims| claims["cnf"] = holder.confirmation());
        let story = async |proof: Option<String>| {
            let shown = proof.map(|text| ShownProof {
                text,
                method: "POST".to_owned(),
                url: AUDIENCE.parse().unwrap(),
            });
            let explanation = explain(&token, &candidates(&forge), shown.as_ref(), NOW).await;
            let step = explanation
                .steps
                .iter()
                .find(|step| step.check == "proof")
                .unwrap();
            (
                explanation.accepted,
                step.verdict,
                step.reason.clone().unwrap_or_default(),
            )
        };
        let (accepted, verdict, reason) = story(None).await;
        assert!(accepted && reason.contains(&key), "{reason}");
        assert_eq!(verdict, Verdict::Skipped);
        let good = story(Some(holder.proof(&token, "j", |_| {}))).await;
        assert_eq!(good, (true, Verdict::Passed, String::new()));
        let (accepted, verdict, reason) = story(Some(thief.proof(&token, "j", |_| {}))).await;
        assert_eq!((accepted, verdict), (false, Verdict::Failed));
        assert!(reason.contains("not with"), "{reason}");
        let (accepted, _, reason) = story(Some(holder.proof("other", "j", |_| {}))).await;
        assert!(!accepted && reason.contains("ath"), "{reason}");
    }

    #[tokio::test]
    async fn a_bearer_token_is_refused_where_tokens_must_be_bound() {
        let forge = Forge::new("https://as.example");
        let mut strict = candidates(&forge);
        strict[0].dpop_required = true;
        let explanation = explain(&forge.token(|_| {}), &strict, None, NOW).await;
        let failed = explanation
            .steps
            .iter()
            .find(|step| step.verdict == Verdict::Failed);
        assert!(!explanation.accepted && failed.is_some_and(|step| step.check == "binding"));
    }
}
