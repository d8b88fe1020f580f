//! Which workload gets what: rules over the claims of an assertion (MCP workload identity federation).
//!
//! Nothing of an assertion reaches a token but what a rule has matched: a rule's subject is made of `sub` and of the
//! claims that the rule itself constrains.

use std::fmt::Write as _;
use std::str::FromStr;

use serde_json::{Map, Value};
use shared::scope::Scope;

/// The longest subject of a token.
const MAX_SUBJECT: usize = 255;
/// Whoever wants to can have GitHub sign a token: a rule that does not say whose repository it means lets everybody in.
const GITHUB: &str = "https://token.actions.githubusercontent.com";
const OWNERS_AT_GITHUB: [&str; 5] = [
    "sub",
    "repository",
    "repository_id",
    "repository_owner",
    "repository_owner_id",
];

/// A claim, by the names that lead to it, joined with `/`: `kubernetes.io/namespace`. A `/` in a name is written `~1`
/// and a `~` is `~0` (RFC 6901 §3).
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Claim(Vec<String>);

impl FromStr for Claim {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let name = |part: &str| part.replace("~1", "/").replace("~0", "~");
        Ok(Self(text.split('/').map(name).collect()))
    }
}

impl Claim {
    /// Its value, if it is one that can be compared: text, a whole number, true or false. Lists never match.
    fn value(&self, claims: &Map<String, Value>) -> Option<String> {
        let (last, path) = self.0.split_last()?;
        let mut members = claims;
        for name in path {
            members = members.get(name)?.as_object()?;
        }
        match members.get(last)? {
            Value::String(text) => Some(text.clone()),
            Value::Bool(flag) => Some(flag.to_string()),
            Value::Number(number) if !number.is_f64() => Some(number.to_string()),
            _ => None,
        }
    }
}

/// What a claim's value must be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Pattern {
    /// This, byte for byte.
    Exactly(String),
    /// Something that begins so, written with `*` at the end.
    Prefix(String),
}

impl FromStr for Pattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('*') {
            None if text.is_empty() => Err("an empty value matches nothing"),
            None => Ok(Self::Exactly(text.to_owned())),
            Some((prefix, "")) => {
                // repo:acme* would match repo:acme-evil/x.
                if prefix.ends_with(['/', ':', '.', '@', '|', '=']) {
                    Ok(Self::Prefix(prefix.to_owned()))
                } else {
                    Err("before * must stand one of / : . @ | = so that the name before it is complete")
                }
            }
            Some(_) => Err("* may stand at the end only"),
        }
    }
}

impl Pattern {
    fn fits(&self, value: &str) -> bool {
        match self {
            Self::Exactly(text) => value == text,
            Self::Prefix(prefix) => value.starts_with(prefix.as_str()),
        }
    }
}

/// One condition of a rule.
#[derive(Clone, Debug)]
pub(crate) struct Match {
    pub(crate) claim: Claim,
    pub(crate) pattern: Pattern,
}

/// What the subject of a token is made of: text, with claims in braces.
#[derive(Clone, Debug)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Claim(Claim),
}

impl FromStr for Template {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, after) = after.split_once('}').ok_or("a { is not closed")?;
            pieces.push(Piece::Text(before.to_owned()));
            pieces.push(Piece::Claim(name.parse().unwrap_or_default()));
            rest = after;
        }
        if rest.contains('}') {
            return Err("a } is not opened");
        }
        pieces.push(Piece::Text(rest.to_owned()));
        if pieces
            .iter()
            .all(|piece| matches!(piece, Piece::Text(text) if text.is_empty()))
        {
            return Err("it must not be empty");
        }
        Ok(Self(pieces))
    }
}

impl Template {
    fn claims(&self) -> impl Iterator<Item = &Claim> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Claim(claim) => Some(claim),
            Piece::Text(_) => None,
        })
    }

    /// The text for these claims; `None` when one of them is missing, or the text is no subject.
    fn fill(&self, claims: &Map<String, Value>) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => filled.push_str(text),
                Piece::Claim(claim) => filled.push_str(&claim.value(claims)?),
            }
        }
        Some(filled)
    }
}

/// One rule of a platform.
#[derive(Clone, Debug)]
pub(crate) struct Rule {
    /// The registered client as which the workload acts.
    pub(crate) client: String,
    /// The resource that it may reach.
    pub(crate) resource: String,
    /// The most that it may have there.
    pub(crate) scopes: Scope,
    /// What it is called in tokens, behind the platform's name.
    pub(crate) subject: Template,
    /// All of them must fit.
    pub(crate) matches: Vec<Match>,
}

impl Rule {
    /// Whether conditions and subject of a rule for assertions of `issuer` can be used as they were written.
    pub(crate) fn check(
        matches: &[Match],
        subject: Option<&Template>,
        issuer: Option<&str>,
    ) -> Result<(), &'static str> {
        if matches.is_empty() {
            return Err("a rule without conditions would let everybody in whom the issuer knows");
        }
        let names = |name: &str| {
            matches
                .iter()
                .any(|one| one.claim == Claim(vec![name.to_owned()]))
        };
        if issuer == Some(GITHUB) && !OWNERS_AT_GITHUB.into_iter().any(names) {
            return Err(
                "anybody can have a token of GitHub: name sub, repository, repository_id, repository_owner or repository_owner_id",
            );
        }
        let is_constrained = |claim: &Claim| {
            *claim == Claim(vec!["sub".to_owned()]) || matches.iter().any(|one| one.claim == *claim)
        };
        if !subject.is_none_or(|subject| subject.claims().all(is_constrained)) {
            return Err(
                "the subject is made of sub and of claims that the rule itself matches, and of nothing else",
            );
        }
        Ok(())
    }

    /// Whether the rule is about the workload with these claims.
    pub(crate) fn fits(&self, claims: &Map<String, Value>) -> bool {
        self.matches.iter().all(|one| {
            let value = one.claim.value(claims);
            value.is_some_and(|value| one.pattern.fits(&value))
        })
    }

    /// The subject of a token for the workload: no user's and no client's begins with `workload:`. `None` when the
    /// claims do not make one: tokens carry visible ASCII only there.
    pub(crate) fn subject(&self, platform: &str, claims: &Map<String, Value>) -> Option<String> {
        let mut subject = format!("workload:{platform}:");
        write!(subject, "{}", self.subject.fill(claims)?).ok()?;
        let is_plain = subject.bytes().all(|b| b.is_ascii_graphic());
        (is_plain && subject.len() <= MAX_SUBJECT).then_some(subject)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rule(matches: &[(&str, &str)], subject: &str) -> Rule {
        let matches = matches.iter().map(|(claim, pattern)| Match {
            claim: claim.parse().unwrap(),
            pattern: pattern.parse().unwrap(),
        });
        Rule {
            client: "c_x".to_owned(),
            resource: "https://rs/mcp".to_owned(),
            scopes: "a".parse().unwrap(),
            subject: subject.parse().unwrap(),
            matches: matches.collect(),
        }
    }

    fn claims(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    /// A projected service account token, shortened.
    fn kubernetes() -> Map<String, Value> {
        claims(json!({
            "iss": "https://kubernetes.default.svc.cluster.local",
            "sub": "system:serviceaccount:agents:indexer",
            "kubernetes.io": {
                "namespace": "agents",
                "pod": {"name": "indexer-7c5", "uid": "9d3"},
                "serviceaccount": {"name": "indexer", "uid": "14ee"},
            },
        }))
    }

    #[test]
    fn a_claim_is_found_where_it_stands() {
        let namespace = [("kubernetes.io/namespace", "agents")];
        assert!(rule(&namespace, "{sub}").fits(&kubernetes()));
        for miss in [
            ("kubernetes.io/namespace", "agent"),
            ("kubernetes.io/namespace", "agents/"),
            ("namespace", "agents"),
            ("kubernetes.io/pod", "indexer-7c5"),
            ("kubernetes.io/namespace/x", "agents"),
        ] {
            assert!(!rule(&[miss], "{sub}").fits(&kubernetes()), "{miss:?}");
        }
        // Every condition must hold.
        let both = [
            ("kubernetes.io/namespace", "agents"),
            ("kubernetes.io/serviceaccount/name", "other"),
        ];
        assert!(!rule(&both, "{sub}").fits(&kubernetes()));
        let named =
            claims(json!({"https://x.example/a~b": "1", "n": 7, "ok": true, "list": ["a"], "f": 1.5}));
        for (name, value, fits) in [
            ("https:~1~1x.example~1a~0b", "1", true),
            ("n", "7", true),
            ("ok", "true", true),
            ("list", "a", false),
            ("f", "1.5", false),
        ] {
            assert_eq!(rule(&[(name, value)], "{sub}").fits(&named), fits, "{name}");
        }
    }

    #[test]
    fn a_prefix_ends_where_a_name_ends() {
        let github =
            claims(json!({"sub": "repo:acme/tools:ref:refs/heads/main", "repository_owner": "acme"}));
        assert!(rule(&[("sub", "repo:acme/*")], "{sub}").fits(&github));
        assert!(!rule(&[("sub", "repo:acm/*")], "{sub}").fits(&github));
        let spiffe = claims(json!({"sub": "spiffe://prod.example/ns/agents/sa/indexer"}));
        assert!(rule(&[("sub", "spiffe://prod.example/ns/agents/*")], "{sub}").fits(&spiffe));
        assert!(!rule(&[("sub", "spiffe://prod.example/ns/agent/*")], "{sub}").fits(&spiffe));
        for bad in ["repo:acme*", "*", "", "repo:*/x", "a**"] {
            assert!(bad.parse::<Pattern>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_subject_is_made_of_what_the_rule_has_matched() {
        let of = |subject: &str| {
            let rule = rule(
                &[
                    ("kubernetes.io/namespace", "agents"),
                    ("kubernetes.io/serviceaccount/name", "indexer"),
                ],
                subject,
            );
            Rule::check(&rule.matches, Some(&rule.subject), None).ok()?;
            rule.subject("prod", &kubernetes())
        };
        assert_eq!(
            of("{sub}").unwrap(),
            "workload:prod:system:serviceaccount:agents:indexer"
        );
        assert_eq!(
            of("{kubernetes.io/namespace}/{kubernetes.io/serviceaccount/name}").unwrap(),
            "workload:prod:agents/indexer"
        );
        assert_eq!(of("indexer").unwrap(), "workload:prod:indexer");
        // A claim that nobody constrains is whatever its bearer made it.
        assert_eq!(of("{kubernetes.io/pod/name}"), None);
        for bad in ["", "{sub", "sub}", "a}{b"] {
            assert!(bad.parse::<Template>().is_err(), "{bad}");
        }
        let one = rule(&[("sub", "a/*")], "{sub}");
        for sub in [
            json!("a/\n"),
            json!("a/ b"),
            json!("a/ü"),
            json!("a/".repeat(200)),
        ] {
            assert_eq!(one.subject("p", &claims(json!({"sub": sub}))), None, "{sub}");
        }
    }

    #[test]
    fn a_rule_that_lets_everybody_in_is_no_rule() {
        let check = |matches: &[(&str, &str)], issuer| {
            let rule = rule(matches, "{sub}");
            Rule::check(&rule.matches, Some(&rule.subject), Some(issuer))
        };
        assert!(check(&[], "https://op.example").is_err());
        assert!(check(&[("ref", "refs/heads/main")], "https://op.example").is_ok());
        assert!(check(&[("ref", "refs/heads/main")], GITHUB).is_err());
        assert!(check(&[("ref", "refs/heads/main"), ("repository", "acme/x")], GITHUB).is_ok());
    }
}
