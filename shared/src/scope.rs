//! Scopes (RFC 6749 §3.3): a sorted set of tokens, so that two equal scopes print alike.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// At most so many scope tokens in one value; more is not a scope but an attack.
pub const MAX_TOKENS: usize = 64;
/// At most so many bytes in one scope token.
pub const MAX_TOKEN_BYTES: usize = 128;

/// A set of scope tokens; may be empty. Kept as it prints: in alphabetical order, with single spaces between them.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct Scope(Box<str>);

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
        let mut set: Vec<&str> = Vec::new();
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
            if let Err(at) = set.binary_search(&token) {
                set.insert(at, token);
            }
        }
        Ok(Self::of_sorted(&set))
    }

    /// Whether `token` is in the set.
    pub fn contains(&self, token: &str) -> bool {
        self.iter().any(|known| known == token)
    }

    /// Whether every token of `self` is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        // Both are sorted: each token is looked for behind the one before it.
        let mut others = other.iter();
        self.iter().all(|token| others.any(|other| other == token))
    }

    /// The tokens that both have.
    pub fn intersection(&self, other: &Self) -> Self {
        let both: Vec<_> = self.iter().filter(|token| other.contains(token)).collect();
        Self::of_sorted(&both)
    }

    /// The tokens that either has.
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<_> = self.iter().chain(other.iter()).collect();
        all.sort_unstable();
        all.dedup();
        Self::of_sorted(&all)
    }

    /// The tokens in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        // The empty text has no token, not an empty one.
        self.0.split(' ').filter(|token| !token.is_empty())
    }

    fn of_sorted(tokens: &[&str]) -> Self {
        Self(tokens.join(" ").into())
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
        f.write_str(&self.0)
    }
}

impl Serialize for Scope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
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
        let five = scope("e d c b a");
        assert!(scope("d b").is_subset(&five) && !scope("b f").is_subset(&five));
        assert!(scope("").is_subset(&read) && scope("").is_subset(&scope("")) && !read.is_subset(&scope("")));
        // A token is a whole one.
        assert!(!both.contains("mcp") && !both.contains("mcp:call mcp:read") && !both.contains(""));
        assert_eq!(scope("").iter().count(), 0);
    }
}
