//! What is other in one configuration than in another.

use std::collections::BTreeMap;

use super::{NamedFile, Setting};

/// A key whose value, or whose file, is another one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Difference {
    /// `limits.per_ip` for example.
    pub path: String,
    /// `None`: the key was not there.
    pub before: Option<String>,
    /// `None`: it is there no longer.
    pub after: Option<String>,
    /// The values are the same, and what is in the file that they name is not.
    pub is_content: bool,
}

/// Whether `path` is one of `keys`: whole keys, and beginnings of keys that end in a dot.
pub fn is_among(path: &str, keys: &[&str]) -> bool {
    keys.iter()
        .any(|known| path == *known || (known.ends_with('.') && path.starts_with(known)))
}

/// Every difference, those of keys that are there now first. Where a value comes from is none, and a key without a value
/// is as one that is not there. `is_taken` tells for which keys another value is taken now: the file of such a key is
/// other unless it is known to be the same ([`NamedFile`]); that of any other only if it is known not to be.
pub fn differences(
    before: &[Setting],
    after: &[Setting],
    is_taken: impl Fn(&str) -> bool,
) -> Vec<Difference> {
    let by_path = |settings: &'_ [Setting]| {
        let set = settings.iter().filter(|one| !one.value.is_empty());
        let pairs = set.map(|one| (one.path.clone(), one.clone()));
        pairs.collect::<BTreeMap<_, _>>()
    };
    let (mut old, new) = (by_path(before), by_path(after));
    let mut all = Vec::new();
    for (path, setting) in new {
        let known = old.remove(&path);
        let same = known.as_ref().filter(|known| known.value == setting.value);
        let is_content = same.is_some();
        let is_as_before = same.is_some_and(|known| {
            if is_taken(&path) {
                return NamedFile::of(known) == NamedFile::of(&setting);
            }
            // A file that was not there has been made by now, by the program itself for example.
            let contents = known.content.zip(setting.content);
            contents.is_none_or(|(then, now)| then == now)
        });
        if is_as_before {
            continue;
        }
        all.push(Difference {
            path,
            before: known.map(|known| known.value),
            after: Some(setting.value),
            is_content,
        });
    }
    all.extend(old.into_iter().map(|(path, setting)| Difference {
        path,
        before: Some(setting.value),
        after: None,
        is_content: false,
    }));
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Source;
    use crate::secret::SecretHash;

    fn settings(all: &[(&str, &str, &[u8])]) -> Vec<Setting> {
        let one = |(path, value, content): &(&str, &str, &[u8])| Setting {
            path: (*path).to_owned(),
            value: (*value).to_owned(),
            source: Source::File,
            content: Some(SecretHash::of(content)),
        };
        all.iter().map(one).collect()
    }

    #[test]
    fn what_is_other_is_told_with_both_values() {
        let before = settings(&[
            ("a", "1", b""),
            ("b_file", "x", b"1"),
            ("c", "2", b""),
            ("gone", "3", b""),
            ("unset", "", b""),
        ]);
        let after = settings(&[
            ("a", "1", b""),
            ("b_file", "x", b"2"),
            ("c", "4", b""),
            ("new", "5", b""),
        ]);
        let all = differences(&before, &after, |_| true);
        let told: Vec<_> = all
            .iter()
            .map(|one| {
                (
                    &*one.path,
                    one.before.as_deref(),
                    one.after.as_deref(),
                    one.is_content,
                )
            })
            .collect();
        let expected = [
            ("b_file", Some("x"), Some("x"), true),
            ("c", Some("2"), Some("4"), false),
            ("new", None, Some("5"), false),
            ("gone", Some("3"), None, false),
        ];
        assert_eq!(told, expected);
        assert!(differences(&after, &after, |_| true).is_empty());
    }
}
