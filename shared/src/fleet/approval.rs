//! A person's answer to "may this call run?", signed by the server that asked them. It says everything that it was asked
//! about, so that the node can check it without asking anybody, and for no other call.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::UnixSeconds;
use crate::jose::VerifyingKey;
use crate::signed_jwt::{JwtFault, SignedJwt, Times};

/// The type of the answer.
pub const TYPE: &str = "edge-hive-approval+jwt";
/// A longer answer is refused.
pub const MAX_BYTES: usize = 16 * 1024;
/// Longest text of the arguments that a person is shown; calls with more cannot be approved.
pub const MAX_ARGUMENTS: usize = 8 * 1024;
/// Longest name of a tool.
pub const MAX_TOOL: usize = 256;
/// Longest sentence about the tool.
pub const MAX_SUMMARY: usize = 500;

/// What is asked: one call of one caller.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Question {
    /// The tool.
    pub tool: String,
    /// [`crate::digest::arguments_digest`] of its arguments.
    pub arguments_sha256: String,
    /// Who issued the caller's token: a subject is unique only together with it.
    pub caller_iss: String,
    /// The subject of the caller's token.
    pub caller_sub: String,
    /// The client of the caller's token.
    pub caller_client: String,
    /// The audience of the caller's token.
    pub resource: String,
}

/// What the person said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decision {
    /// The call may run, once.
    Approved,
    /// It may not.
    Denied,
}

/// The claims of an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Answer {
    /// The server that asked.
    pub iss: String,
    /// The node, by its client.
    pub aud: String,
    /// The approval's id.
    pub jti: String,
    /// When the person answered.
    pub iat: UnixSeconds,
    /// From when on it counts no more.
    pub exp: UnixSeconds,
    /// What they were asked.
    #[serde(flatten)]
    pub question: Question,
    /// What they said.
    pub decision: Decision,
    /// Who they are: a user of the server.
    pub approver: String,
}

/// Checks that `text` is the answer of `issuer` to `question`, which the node `audience` asked as `id`, and returns it.
pub fn verify(
    text: &str,
    key: &VerifyingKey,
    (issuer, audience, id): (&str, &str, &str),
    question: &Question,
    now: UnixSeconds,
) -> Result<Answer, JwtFault> {
    let jwt = SignedJwt::parse(text, MAX_BYTES)?;
    if !jwt.has_type(&[TYPE], false) {
        return Err(JwtFault("its typ is not that of an answer"));
    }
    let jwt = jwt.verify(key)?;
    if jwt.text("iss")? != Some(issuer) || !jwt.is_only_for(audience) || jwt.text("jti")? != Some(id) {
        return Err(JwtFault(
            "it is another server's, for another node or about another question",
        ));
    }
    // No leeway: the node and the server have agreed on the end before.
    let times = Times {
        leeway: Duration::ZERO,
        longest: None,
        oldest: None,
    };
    let issued_at = jwt.time("iat")?.ok_or(JwtFault("iat is missing"))?;
    // The clocks of the two differ; the node's own decides about the end only.
    jwt.check_times(times, now.max(issued_at))?;
    let answer: Answer = serde_json::from_value(Value::Object(jwt.into_claims()))
        .map_err(|_| JwtFault("a claim of it is missing or has another type"))?;
    if answer.question != *question {
        return Err(JwtFault("it is about another call"));
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::jose::{Algorithm, Ed25519Key};

    const NOW: UnixSeconds = UnixSeconds(1_795_000_000);

    fn question() -> Question {
        Question {
            tool: "fs_delete".to_owned(),
            arguments_sha256: "abc".to_owned(),
            caller_iss: "https://as.example".to_owned(),
            caller_sub: "u_1".to_owned(),
            caller_client: "c_1".to_owned(),
            resource: "https://node.example/mcp".to_owned(),
        }
    }

    #[test]
    fn an_answer_counts_for_its_question_alone() {
        let key = Ed25519Key::generate().unwrap();
        let public = VerifyingKey::from_public_jwk(&key.public_jwk(), Algorithm::EdDSA).unwrap();
        let answer = Answer {
            iss: "https://as.example".to_owned(),
            aud: "c_node".to_owned(),
            jti: "a1".to_owned(),
            iat: NOW,
            exp: NOW + Duration::from_secs(600),
            question: question(),
            decision: Decision::Approved,
            approver: "u_1".to_owned(),
        };
        let claims = serde_json::to_value(&answer).unwrap();
        let bound = ("https://as.example", "c_node", "a1");
        let check = |claims: &Value, typ: &str, asked: &Question, now| {
            verify(&key.sign_jwt(typ, claims), &public, bound, asked, now)
        };
        assert_eq!(check(&claims, TYPE, &question(), NOW), Ok(answer.clone()));
        // The server's clock may be ahead.
        assert_eq!(
            check(&claims, TYPE, &question(), NOW - Duration::from_secs(90)),
            Ok(answer)
        );
        assert!(check(&claims, TYPE, &question(), NOW + Duration::from_secs(600)).is_err());
        assert!(check(&claims, "at+jwt", &question(), NOW).is_err());
        for name in [
            "tool",
            "arguments_sha256",
            "caller_iss",
            "caller_sub",
            "caller_client",
            "resource",
            "iss",
            "aud",
            "jti",
            "decision",
        ] {
            let mut other = claims.clone();
            other[name] = json!("other");
            assert!(check(&other, TYPE, &question(), NOW).is_err(), "{name}");
        }
        let stranger = Ed25519Key::generate().unwrap();
        assert!(
            verify(
                &stranger.sign_jwt(TYPE, &claims),
                &public,
                bound,
                &question(),
                NOW
            )
            .is_err()
        );
    }
}
