//! Scopes (RFC 6749 §3.3): a sorted set of tokens, so that two equal scopes print alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// At most so many scope tokens in one value; more is not a scope but an attack.
pub const MAX_TOKENS: usize = 64;
/// At most so many bytes in one scope token.
pub const MAX_TOKEN_BYTES: usize = 128;

/// A set of scope tokens in alphabetical order; may be empty.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Scope(Vec<Box<str>>);

/// Why a text is no scope.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ScopeFault {
    /// A character outside of `%x21 / %x23-5B / %x5D-7E`.
    #[error("a scope may contain printable ASCII only, without quotes and backslashes")]
    Character,
    /// An empty token: two spaces in a row, or one at an end.
    #[error("scopes are separated by single spaces")]
    Spacing,
    /// Too many or too long tokens.
    #[error("at most 64 scopes of at most 128 characters each")]
    Size,
}

impl Scope {
    /// Builds a scope from tokens; each must satisfy the grammar of RFC 6749 §3.3.
    pub fn from_tokens<'a>(tokens: impl IntoIterator<Item = &'a str>) -> Result<Self, ScopeFault> {
        let mut set: Vec<Box<str>> = Vec::new();
        for token in tokens {
            if token.is_empty() {
                return Err(ScopeFault::Spacing);
            }
            if token.len() > MAX_TOKEN_BYTES || set.len() == MAX_TOKENS {
                return Err(ScopeFault::Size);
            }
            if !token
                .bytes()
                .all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
            {
                return Err(ScopeFault::Character);
            }
            if let Err(at) = set.binary_search_by(|known| (**known).cmp(token)) {
                set.insert(at, token.into());
            }
        }
        Ok(Self(set))
    }

    /// Whether `token` is in the set.
    pub fn contains(&self, token: &str) -> bool {
        self.0.binary_search_by(|known| (**known).cmp(token)).is_ok()
    }

    /// Whether every token of `self` is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.0.iter().all(|token| other.contains(token))
    }

    /// The tokens that both have.
    pub fn intersection(&self, other: &Self) -> Self {
        Self(
            self.0
                .iter()
                .filter(|token| other.contains(token))
                .cloned()
                .collect(),
        )
    }

    /// The tokens that either has.
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.0.iter().chain(&other.0).cloned().collect();
        all.sort_unstable();
        all.dedup();
        Self(all)
    }

    /// The tokens in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|token| &**token)
    }

    /// Whether there is no token.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for Scope {
    type Err = ScopeFault;

    /// Parses the space separated form. The empty text is the empty scope.
    fn from_str(text: &str) -> Result<Self, ScopeFault> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        Self::from_tokens(text.split(' '))
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, token) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(" ")?;
            }
            f.write_str(token)?;
        }
        Ok(())
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Scope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope(text: &str) -> Scope {
        text.parse().unwrap()
    }

    #[test]
    fn prints_sorted_and_without_repeats() {
        assert_eq!(
            scope("mcp:read mcp:call mcp:read").to_string(),
            "mcp:call mcp:read"
        );
        assert_eq!(scope("").to_string(), "");
    }

    #[test]
    fn refuses_what_the_grammar_refuses() {
        assert_eq!("a  b".parse::<Scope>(), Err(ScopeFault::Spacing));
        assert_eq!(" a".parse::<Scope>(), Err(ScopeFault::Spacing));
        assert_eq!("a\"b".parse::<Scope>(), Err(ScopeFault::Character));
        assert_eq!("a\tb".parse::<Scope>(), Err(ScopeFault::Character));
        assert_eq!("ä".parse::<Scope>(), Err(ScopeFault::Character));
        assert_eq!("x".repeat(129).parse::<Scope>(), Err(ScopeFault::Size));
        let many = (0..65).map(|n| n.to_string()).collect::<Vec<_>>().join(" ");
        assert_eq!(many.parse::<Scope>(), Err(ScopeFault::Size));
    }

    #[test]
    fn set_operations() {
        let (read, both) = (scope("mcp:read"), scope("mcp:call mcp:read"));
        assert!(read.is_subset(&both) && !both.is_subset(&read));
        assert_eq!(both.intersection(&scope("mcp:read other")), read);
        assert_eq!(read.union(&scope("mcp:call")), both);
        assert!(both.contains("mcp:call") && !read.contains("mcp:call"));
    }
}
