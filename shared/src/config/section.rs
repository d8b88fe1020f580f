//! Reading one section.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use toml::Value;

use super::{NamedFile, Reader, scalar};

/// One section while it is read. Each getter returns a usable value even after a fault, so that reading goes on.
#[derive(Debug)]
pub struct Section<'r> {
    pub(super) reader: &'r mut Reader,
    pub(super) prefix: String,
}

impl Section<'_> {
    /// The value of `key`, if it is there and parses.
    pub fn optional<T: FromStr<Err: fmt::Display>>(&mut self, key: &str) -> Option<T> {
        let path = self.ask(key);
        let text = match self.reader.find(&path).map(scalar) {
            None => {
                self.reader.record(&path, String::new(), false);
                return None;
            }
            Some(None) => {
                self.reader.fault(&path, "must be a single value");
                return None;
            }
            Some(Some(text)) => text,
        };
        self.reader.record(&path, text.clone(), true);
        text.parse()
            .map_err(|e| self.reader.fault(&path, format!("{text:?}: {e}")))
            .ok()
    }

    /// The value of `key`, or `default` (which is parsed just as a written value is).
    pub fn value<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, default: &str) -> Option<T> {
        let path = format!("{}.{key}", self.prefix);
        if self.reader.find(&path).is_some() {
            return self.optional(key);
        }
        self.ask(key);
        self.reader.record(&path, default.to_owned(), false);
        default
            .parse()
            .map_err(|e| self.reader.fault(&path, format!("{default:?}: {e}")))
            .ok()
    }

    /// The list under `key`, or `default` split at commas. In the environment a list is written with commas.
    pub fn list<T: FromStr<Err: fmt::Display>>(&mut self, key: &str, default: &str) -> Vec<T> {
        let path = self.ask(key);
        let split = |text: &str| {
            text.split(',')
                .map(str::trim)
                .filter(|s| !s.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let found = self.reader.find(&path);
        let texts: Option<Vec<String>> = match found {
            None => Some(split(default)),
            Some(Value::Array(items)) => items.iter().map(scalar).collect(),
            Some(Value::String(text)) => Some(split(text.trim_start_matches('[').trim_end_matches(']'))),
            Some(_) => None,
        };
        let is_written = found.is_some();
        let Some(texts) = texts else {
            self.reader.fault(&path, "must be a list of values");
            return Vec::new();
        };
        let texts: Vec<&str> = texts.iter().map(|text| text.trim_matches('"')).collect();
        let mut values = Vec::new();
        for text in &texts {
            match text.parse() {
                Ok(value) => values.push(value),
                Err(e) => self.reader.fault(&path, format!("{text:?}: {e}")),
            }
        }
        let shown: Vec<_> = texts.iter().copied().map(listed).collect();
        self.reader.record(&path, shown.join(", "), is_written);
        values
    }

    /// A sub-table of free names with text values, `[node.logs]` for example.
    pub fn map(&mut self, key: &str) -> BTreeMap<String, String> {
        let path = self.ask(key);
        let Some(value) = self.reader.find(&path).cloned() else {
            return BTreeMap::new();
        };
        let Value::Table(table) = value else {
            self.reader.fault(&path, "must be a table of names and values");
            return BTreeMap::new();
        };
        let mut map = BTreeMap::new();
        for (name, value) in &table {
            self.reader.asked.insert(format!("{path}.{name}"));
            match scalar(value) {
                Some(text) => {
                    self.reader.record(&format!("{path}.{name}"), text.clone(), true);
                    map.insert(name.clone(), text);
                }
                None => self
                    .reader
                    .fault(&format!("{path}.{name}"), "must be a single value"),
            }
        }
        map
    }

    /// The file that `key` names, as it was when the key was read.
    pub fn file_of(&self, key: &str) -> NamedFile {
        let path = format!("{}.{key}", self.prefix);
        let mut settings = self.reader.settings.iter();
        let found = settings.find(|one| one.path == path);
        found.map(NamedFile::of).unwrap_or_default()
    }

    /// Remembers a fault about `key` that the caller found.
    pub fn fault(&mut self, key: &str, reason: impl fmt::Display) {
        let path = format!("{}.{key}", self.prefix);
        self.reader.fault(&path, reason);
    }

    /// Whether `key` is written anywhere.
    pub fn has(&self, key: &str) -> bool {
        self.reader.find(&format!("{}.{key}", self.prefix)).is_some()
    }

    fn ask(&mut self, key: &str) -> String {
        let path = format!("{}.{key}", self.prefix);
        self.reader.asked.insert(self.prefix.clone());
        self.reader.asked.insert(path.clone());
        path
    }
}

/// One value of a list, so that no two lists are shown alike: in quotes if it is empty or could be taken for several.
fn listed(text: &str) -> Cow<'_, str> {
    let is_plain = !text.is_empty() && !text.contains([',', '"']) && text.trim() == text;
    if is_plain {
        text.into()
    } else {
        format!("{text:?}").into()
    }
}
