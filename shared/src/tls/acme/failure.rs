//! Why an order brought no certificate, and when to try again.

use std::time::Duration;

use rustls_acme::acme::{AcmeError, Auth, ChallengeType, Problem};
use rustls_acme::{EventError, OrderError};

use super::kept::ShelfFault;
use crate::clock::UnixSeconds;

/// An order that failed.
#[derive(Debug)]
pub struct Failure {
    /// One of [`ALL`].
    pub reason: &'static str,
    /// One sentence for the operator.
    pub(super) sentence: String,
    /// The authority asks not to come again before then.
    pub(super) not_before: Option<UnixSeconds>,
}

/// The words for failures.
pub const ALL: [&str; 6] = [
    UNREACHABLE,
    RATE_LIMITED,
    REFUSED,
    CHALLENGE,
    NO_CERTIFICATE,
    STORAGE,
];
/// The directory does not answer, or not as one.
const UNREACHABLE: &str = "unreachable";
/// The authority has had enough of us for now.
const RATE_LIMITED: &str = "rate_limited";
/// The authority does not do this for us: the domain, the account, the order.
const REFUSED: &str = "refused";
/// The authority did not find us at the domain.
const CHALLENGE: &str = "challenge";
/// What came is no certificate for us.
const NO_CERTIFICATE: &str = "no_certificate";
/// A file cannot be read or written.
const STORAGE: &str = "storage";

/// So much of what an authority says is repeated.
const MAX_SAID: usize = 400;
/// RFC 8555 §6.6: an authority says how long in `Retry-After`. rustls-acme keeps the body of a refusal only, so without a
/// time in its text this is waited at least.
const RATE_LIMIT_WAIT: Duration = Duration::from_secs(3600);
/// Nor longer than that: limits count a week at most, and a time far off would let the certificate end unrenewed.
const LONGEST_WAIT: Duration = Duration::from_secs(8 * 24 * 3600);

impl Failure {
    fn new(reason: &'static str, sentence: impl std::fmt::Display) -> Self {
        let sentence: String = sentence.to_string().chars().take(MAX_SAID).collect();
        Self {
            reason,
            sentence,
            not_before: None,
        }
    }

    pub(super) fn timed_out(after: Duration) -> Self {
        let minutes = after.as_secs() / 60;
        Self::new(
            UNREACHABLE,
            format!("the authority was not done within {minutes} minutes"),
        )
    }

    pub(super) fn short_lived(until: Option<UnixSeconds>) -> Self {
        let until = until.map(UnixSeconds::to_rfc3339).unwrap_or_default();
        Self::new(
            NO_CERTIFICATE,
            format!("the certificate that came has little left of its life, which ends at {until}"),
        )
    }

    pub(super) fn storage(sentence: impl std::fmt::Display) -> Self {
        Self::new(STORAGE, sentence)
    }

    pub(super) fn of(error: EventError<ShelfFault, std::io::Error>, now: UnixSeconds) -> Self {
        match error {
            EventError::Order(error) => Self::of_order(error, now),
            EventError::NewCertParse(error) => Self::new(NO_CERTIFICATE, error),
            EventError::CertCacheStore(ShelfFault::Unusable(reason)) => Self::new(NO_CERTIFICATE, reason),
            other => Self::storage(other),
        }
    }

    fn of_order(error: OrderError, now: UnixSeconds) -> Self {
        match error {
            OrderError::Acme(error) => Self::of_request(error, now),
            OrderError::BadAuth(auth) => Self::new(CHALLENGE, of_challenge(&auth)),
            OrderError::BadOrder(order) => Self::new(REFUSED, said(order.error.as_ref())),
            OrderError::TooManyAttemptsAuth(domain) => {
                let sentence =
                    format!("{domain}: the authority did not say in time whether it found us there");
                Self::new(CHALLENGE, sentence)
            }
            OrderError::ProcessingTimeout(_) => {
                Self::new(UNREACHABLE, "the authority did not finish the order")
            }
            OrderError::Rcgen(error) => Self::new(NO_CERTIFICATE, error),
        }
    }

    fn of_request(error: AcmeError, now: UnixSeconds) -> Self {
        if matches!(
            error,
            AcmeError::NoTlsAlpn01Challenge | AcmeError::NoHttp01Challenge
        ) {
            let sentence = format!("the authority does not offer tls.acme.challenge: {error}");
            return Self::new(REFUSED, sentence);
        }
        let text = error.to_string();
        let Some((status, body)) = of_status(&text) else {
            let is_unknown = text.contains("UnknownIssuer");
            let hint = if is_unknown {
                "; trust the directory's own authority by tls.acme.ca_file"
            } else {
                ""
            };
            return Self::new(UNREACHABLE, text + hint);
        };
        Self::of_answer(status, &body, now)
    }

    fn of_answer(status: u16, body: &str, now: UnixSeconds) -> Self {
        // RFC 8555 §6.7: what went wrong is a problem document.
        let problem: Option<Problem> = serde_json::from_str(body).ok();
        let kind = problem.as_ref().and_then(|problem| problem.typ.as_deref());
        let sentence = format!("{status}: {}", said(problem.as_ref()));
        if status == 429 || kind == Some("urn:ietf:params:acme:error:rateLimited") {
            let (least, most) = (now + RATE_LIMIT_WAIT, now + LONGEST_WAIT);
            let named = named_time(&sentence).unwrap_or(least);
            return Self {
                not_before: Some(named.clamp(least, most)),
                ..Self::new(RATE_LIMITED, sentence)
            };
        }
        let reason = if status >= 500 || problem.is_none() {
            UNREACHABLE
        } else {
            REFUSED
        };
        Self::new(reason, sentence)
    }

    /// How long to wait after so many failures in a row. A refusal costs the authority a validation, of which Let's Encrypt
    /// lets five an hour fail; to ask whether it is there again costs nothing.
    pub(super) fn wait(&self, in_a_row: u32, now: UnixSeconds) -> Duration {
        let (first, longest) = match self.reason {
            UNREACHABLE => (5, 900),
            _ => (120, 6 * 3600),
        };
        let doubled = 1_u64 << in_a_row.saturating_sub(1).min(16);
        let usual = Duration::from_secs((first * doubled).min(longest));
        let asked = self
            .not_before
            .map_or(Duration::ZERO, |not_before| not_before.since(now));
        usual.max(asked)
    }
}

/// Status and body of a refusal. The library does not export the type of a failed request, so they are read from its text:
/// `… non 2xx http status: 429 "{…}"`.
fn of_status(text: &str) -> Option<(u16, String)> {
    let (_, rest) = text.split_once("non 2xx http status: ")?;
    let (status, quoted) = rest.split_once(' ')?;
    let body = serde_json::from_str(quoted).unwrap_or_else(|_| quoted.to_owned());
    Some((status.parse().ok()?, body))
}

fn of_challenge(auth: &Auth) -> String {
    let rustls_acme::acme::Identifier::Dns(domain) = &auth.identifier;
    let faults = auth.challenges.iter().filter(|challenge| {
        matches!(challenge.typ, ChallengeType::TlsAlpn01 | ChallengeType::Http01) && challenge.error.is_some()
    });
    let told: Vec<String> = faults.map(|challenge| said(challenge.error.as_ref())).collect();
    let told = if told.is_empty() {
        "it does not say why".to_owned()
    } else {
        told.join("; ")
    };
    format!("the authority does not find us at {domain}: {told}")
}

fn said(problem: Option<&Problem>) -> String {
    let Some(problem) = problem else {
        return "without a reason".to_owned();
    };
    let kind = problem.typ.as_deref().unwrap_or_default();
    let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(kind);
    format!(
        "{} ({kind})",
        problem.detail.as_deref().unwrap_or("without a reason")
    )
}

/// The time in "retry after 2026-11-28 12:00:00 UTC", as Boulder, Let's Encrypt's server, writes it.
fn named_time(sentence: &str) -> Option<UnixSeconds> {
    let (_, rest) = sentence.split_once("retry after ")?;
    let digits = rest.get(..19)?;
    let number = |from: usize, to: usize| digits.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    // The days of the civil calendar, in years that begin with March.
    let (year, month) = if month <= 2 {
        (year - 1, month + 9)
    } else {
        (year, month - 3)
    };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * month + 2) / 5 + day - 1 - 719_468;
    Some(UnixSeconds(days * 86_400 + hour * 3600 + minute * 60 + second))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_795_867_200);

    fn refused(status: u16, body: &str) -> Failure {
        let (status, body) = of_status(&format!(
            "http request error: non 2xx http status: {status} {body:?}"
        ))
        .unwrap();
        Failure::of_answer(status, &body, NOW)
    }

    #[test]
    fn a_limit_is_waited_out() {
        let limited = |detail: &str| {
            let body = format!(r#"{{"type":"urn:ietf:params:acme:error:rateLimited","detail":"{detail}"}}"#);
            refused(429, &body)
        };
        assert_eq!(NOW.to_rfc3339(), "2026-11-28T12:00:00Z");
        let named = limited(
            "too many certificates (5) already issued for a.example, retry after 2026-11-29 12:00:00 UTC: see https://ca.example",
        );
        assert_eq!(named.reason, RATE_LIMITED);
        assert_eq!(named.wait(1, NOW), Duration::from_secs(86_400));
        for unnamed in [
            "slow down",
            "retry after a while",
            "retry after 2026-11-28 12:00:10 UTC",
        ] {
            assert_eq!(limited(unnamed).wait(1, NOW), RATE_LIMIT_WAIT, "{unnamed}");
        }
        for far in ["2027-11-28 12:00:00 UTC", "9999-99-99 99:99:99 UTC"] {
            let named = limited(&format!("retry after {far}"));
            assert_eq!(named.wait(1, NOW), LONGEST_WAIT, "{far}");
        }
        // As RFC 8555 §6.6 wants it, without a problem document.
        assert_eq!(refused(429, "busy").wait(1, NOW), RATE_LIMIT_WAIT);
    }

    #[test]
    fn waits_become_longer_and_end_at_a_limit() {
        let refusal = refused(
            400,
            r#"{"type":"urn:ietf:params:acme:error:rejectedIdentifier","detail":"no"}"#,
        );
        assert_eq!(
            (refusal.reason, &*refusal.sentence),
            (REFUSED, "400: no (rejectedIdentifier)")
        );
        let away = refused(502, "<html>");
        assert_eq!(away.reason, UNREACHABLE);
        let waits = |failure: &Failure| [1, 2, 3, 20].map(|n| failure.wait(n, NOW).as_secs());
        assert_eq!(waits(&refusal), [120, 240, 480, 21_600]);
        assert_eq!(waits(&away), [5, 10, 20, 900]);
    }

    #[test]
    fn what_an_authority_says_is_cut() {
        let long = format!(r#"{{"type":"x","detail":"{}"}}"#, "a".repeat(10_000));
        assert_eq!(refused(403, &long).sentence.len(), MAX_SAID);
    }
}
