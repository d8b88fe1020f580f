//! Patterns of names and URIs, as operators write them: `fs_*`, `file:///srv/*/public/*`, or no star at all.

use std::convert::Infallible;
use std::str::FromStr;

/// A text in which `*` stands for any characters, none included. Everything else stands for itself, with case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pattern(Box<str>);

impl FromStr for Pattern {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self(text.into()))
    }
}

impl Pattern {
    /// The pattern as it was written.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` fits. Takes the first place that fits for each part, so that no text makes it try twice.
    pub(super) fn matches(&self, text: &str) -> bool {
        let Some((first, rest)) = self.0.split_once('*') else {
            return *self.0 == *text;
        };
        let Some(mut left) = text.strip_prefix(first) else {
            return false;
        };
        let (inner, last) = rest.rsplit_once('*').unwrap_or(("", rest));
        for part in inner.split('*').filter(|part| !part.is_empty()) {
            match left.find(part) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        left.ends_with(last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(pattern: &str, text: &str) -> bool {
        let Ok(pattern) = pattern.parse::<Pattern>();
        pattern.matches(text)
    }

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text) in [
            ("fs_read", "fs_read"),
            ("fs_*", "fs_read"),
            ("fs_*", "fs_"),
            ("*", ""),
            ("*_read", "fs_read"),
            ("file:///srv/*/public/*", "file:///srv/a/b/public/x"),
            ("a*b*c", "aXbXbXc"),
            ("**", "x"),
        ] {
            assert!(fits(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("fs_read", "fs_reader"),
            ("fs_read", "FS_read"),
            ("fs_*", "fs"),
            ("fs_*", "xfs_read"),
            ("a*a", "a"),
            ("*_read", "fs_read_all"),
            ("a*b*c", "acb"),
            ("", "x"),
            ("f.o", "foo"),
        ] {
            assert!(!fits(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn a_long_text_takes_no_longer_than_its_length() {
        let pattern = "a*".repeat(50) + "b";
        let text = "a".repeat(1 << 20);
        assert!(!fits(&pattern, &text));
        assert!(fits(&pattern, &(text + "b")));
    }
}
