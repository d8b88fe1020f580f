//! One line.

use std::net::IpAddr;
use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;
use shared::access_token::VerifiedClaims;
use shared::clock::UnixSeconds;
use shared::digest::arguments_digest;

use crate::approval::Approved;
use crate::gate::Operation;

/// So many bytes are written of a text that the caller made up, at most.
const MOST: usize = 256;
/// And of a URI.
const MOST_OF_URI: usize = 1024;

/// One decision and how it ended.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    /// When it was decided.
    #[serde(serialize_with = "rfc3339")]
    time: UnixSeconds,
    #[serde(flatten)]
    who: Option<Who>,
    /// The MCP method; plain-JSON endpoints stand for the method that they mirror.
    #[serde(skip_serializing_if = "String::is_empty")]
    method: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt: Option<String>,
    /// SHA-256 of the canonical arguments ([`shared::digest`]), base64url.
    #[serde(skip_serializing_if = "Option::is_none")]
    arguments_sha256: Option<String>,
    /// The id of a person's approval, where the tool needed one, and who gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    approval: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    approver: Option<String>,
    /// `allowed` or `denied`.
    decision: &'static str,
    /// How what was allowed ended, or why it was denied.
    outcome: &'static str,
    /// From the decision to the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<IpAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip)]
    closes: bool,
}

/// The caller, from its token.
#[derive(Clone, Debug, Serialize)]
struct Who {
    issuer: String,
    subject: String,
    client_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    /// Who acts for the subject, as the token says it (RFC 8693 §4.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    /// `jti`.
    token_id: String,
}

/// Where a request came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Via {
    /// The caller's address; behind a proxy that the operator named, the one that it tells.
    pub(crate) address: Option<IpAddr>,
    /// W3C Trace Context.
    pub(crate) traceparent: Option<String>,
}

impl Entry {
    /// A decision of now.
    pub(crate) fn at(now: UnixSeconds, via: Via) -> Self {
        Self {
            time: now,
            address: via.address,
            traceparent: via.traceparent,
            who: None,
            method: String::new(),
            tool: None,
            resource: None,
            prompt: None,
            arguments_sha256: None,
            approval: None,
            approver: None,
            decision: "",
            outcome: "",
            duration_ms: None,
            closes: false,
        }
    }

    /// The mark behind the last line.
    pub(super) fn closing() -> Self {
        Self {
            closes: true,
            ..Self::at(UnixSeconds(0), Via::default())
        }
    }

    /// When it was decided.
    pub(super) fn decided_at(&self) -> UnixSeconds {
        self.time
    }

    /// What a collector can search by, beside the line itself.
    pub(super) fn attributes(&self) -> Vec<(&'static str, String)> {
        let who = self.who.as_ref();
        let attributes = [
            ("decision", Some(self.decision.to_owned())),
            ("outcome", Some(self.outcome.to_owned())),
            ("method", Some(self.method.clone())),
            ("tool", self.tool.clone()),
            ("issuer", who.map(|who| who.issuer.clone())),
            ("subject", who.map(|who| who.subject.clone())),
            ("client_id", who.map(|who| who.client_id.clone())),
            ("token_id", who.map(|who| who.token_id.clone())),
        ];
        attributes
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect()
    }

    pub(super) fn closes(&self) -> bool {
        self.closes
    }

    /// About this caller.
    pub(crate) fn of(mut self, claims: &VerifiedClaims) -> Self {
        self.who = Some(Who {
            issuer: claims.issuer().to_owned(),
            subject: claims.subject().to_owned(),
            client_id: claims.client_id().to_owned(),
            client_name: claims.client_name().map(str::to_owned),
            act: claims.actor().cloned(),
            token_id: claims.token_id().to_owned(),
        });
        self
    }

    /// About this operation.
    pub(crate) fn doing(mut self, operation: &Operation<'_>) -> Self {
        self.method = bounded(operation.method, MOST);
        self.tool = operation.tool.map(|tool| bounded(tool, MOST));
        self.resource = operation.resource.map(|uri| bounded(uri, MOST_OF_URI));
        self.prompt = operation.prompt.map(|prompt| bounded(prompt, MOST));
        if operation.has_arguments() {
            self.arguments_sha256 = Some(arguments_digest(operation.arguments));
        }
        self
    }

    /// A person has said yes to it.
    pub(crate) fn approved_by(mut self, approved: Option<&Approved>) -> Self {
        self.approval = approved.map(|approved| approved.id.clone());
        self.approver = approved.map(|approved| approved.approver.clone());
        self
    }

    /// It was allowed, and ended so.
    pub(crate) fn ended(mut self, outcome: &'static str, after: Duration) -> Self {
        self.decision = "allowed";
        self.outcome = outcome;
        self.duration_ms = Some((after.as_secs_f64() * 1e6).round() / 1e3);
        self
    }

    /// It was denied.
    pub(crate) fn denied(mut self, reason: &'static str) -> Self {
        self.decision = "denied";
        self.outcome = reason;
        self
    }

    /// The line, with its line feed. JSON escapes control characters, so it is one line whatever a caller sent.
    pub(super) fn line(&self) -> String {
        // Texts, numbers and values of JSON can always be written.
        let mut line = serde_json::to_string(self).unwrap_or_default();
        line.push('\n');
        line
    }
}

/// The first `most` bytes of a text, or a few less, and a mark where something is missing.
fn bounded(text: &str, most: usize) -> String {
    let end = text.floor_char_boundary(most);
    let mark = if end < text.len() { "…" } else { "" };
    format!("{}{mark}", &text[..end])
}

fn rfc3339<S: Serializer>(time: &UnixSeconds, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_callers_write_is_cut() {
        let entry = |text: &str| {
            Entry::at(UnixSeconds(0), Via::default()).doing(&Operation {
                method: text,
                tool: Some(text),
                resource: Some(text),
                prompt: Some(text),
                ..Operation::default()
            })
        };
        let short = entry("short");
        assert_eq!(
            (short.method.as_str(), short.resource.as_deref()),
            ("short", Some("short"))
        );
        let long = entry(&"ü".repeat(100_000));
        assert!(long.line().len() < 3 * MOST + MOST_OF_URI + 512);
        for (text, most) in [
            (Some(long.method), MOST),
            (long.tool, MOST),
            (long.prompt, MOST),
            (long.resource, MOST_OF_URI),
        ] {
            assert_eq!(text, Some(format!("{}…", "ü".repeat(most / 2))));
        }
        assert_eq!(bounded("aü", 2), "a…");
        assert_eq!(bounded("aü", 3), "aü");
    }
}
