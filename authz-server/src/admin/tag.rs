//! Entity tags and conditions (RFC 9110 §8.8.3, §13.1.1): whoever changes something says what they have seen of it.

use serde::Serialize;
use serde_json::Value;
use shared::digest::canonical;
use shared::jose::sha256_base64url;

use super::problem::{Code, Problem};

/// Stands for all that is shown of something, in quotes.
pub(super) fn of(shown: &impl Serialize) -> Result<String, Problem> {
    let value: Value = serde_json::to_value(shown).map_err(|e| Problem::internal(e.to_string()))?;
    Ok(format!("\"{}\"", sha256_base64url(canonical(&value).as_bytes())))
}

/// What a request says of the state that it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Nothing. The command line asks so: it shows and changes in one breath.
    None,
    /// `If-Match: *`.
    Any,
    /// One of these.
    Tags(Vec<String>),
}

impl Condition {
    /// Reads the value of `If-Match`.
    pub(super) fn read(text: &str) -> Result<Self, Problem> {
        let malformed = || Problem::new(Code::InvalidRequest, "If-Match is * or a list of tags in quotes");
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let mut tags = Vec::new();
        for tag in text.split(',').map(str::trim) {
            // Weak tags never match (RFC 9110 §13.1.1); they are no mistake.
            let opaque = tag.strip_prefix("W/").unwrap_or(tag);
            let inner = opaque.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
            if inner.is_none_or(|inner| inner.contains(['"', ' '])) {
                return Err(malformed());
            }
            tags.push(tag.to_owned());
        }
        Ok(Self::Tags(tags))
    }

    /// Whether what is there now is what the request is about (ADM-05).
    pub(super) fn check(&self, tag: &str) -> Result<(), Problem> {
        match self {
            Self::Tags(tags) if !tags.iter().any(|known| known == tag) => Err(Problem::new(
                Code::PreconditionFailed,
                "it was changed since; read it again, and change what is there now",
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_condition_is_a_star_or_tags() {
        assert_eq!(Condition::read(" * ").unwrap(), Condition::Any);
        let tags = Condition::read("\"a\", W/\"b\"").unwrap();
        assert!(tags.check("\"a\"").is_ok());
        assert!(tags.check("\"b\"").is_err() && tags.check("W/\"c\"").is_err());
        assert!(Condition::Any.check("\"x\"").is_ok() && Condition::None.check("\"x\"").is_ok());
        for bad in ["", "a", "\"a", "\"a\" \"b\"", "\"a\",", "*,\"a\""] {
            assert!(Condition::read(bad).is_err(), "{bad}");
        }
    }
}
