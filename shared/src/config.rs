//! Configuration: a TOML file, then the environment (`EDGE_HIVE_SECTION__KEY`), then flags. Everything is read
//! through a [`Reader`], which remembers each fault instead of stopping at the first, refuses keys that nobody asked
//! for, and can print what is in force.

mod difference;
mod named_file;
mod secret_file;
mod section;
mod values;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

pub use self::difference::{Difference, differences, is_among};
pub use self::named_file::NamedFile;
pub use self::secret_file::{SecretFileFault, read_secret_file, read_secret_text};
pub use self::section::Section;
pub use self::values::{Span, SpanFault};
use crate::secret::SecretHash;

/// Variables that begin so and contain `__` set a configuration key.
const ENVIRONMENT_PREFIX: &str = "EDGE_HIVE_";

/// Every fault of a configuration, one sentence each.
#[derive(Debug)]
pub struct ConfigFaults(pub Vec<String>);

impl fmt::Display for ConfigFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the configuration has {} fault(s):", self.0.len())?;
        self.0.iter().try_for_each(|fault| write!(f, "\n  - {fault}"))
    }
}

impl std::error::Error for ConfigFaults {}

/// Where a value came from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Source {
    Default,
    Environment,
    File,
    Flag,
}

impl Source {
    /// The word that `config show` prints.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Flag => "flag",
        }
    }
}

/// One value in force, for `config show`.
#[derive(Clone, Debug)]
pub struct Setting {
    /// `server.listen` for example.
    pub path: String,
    /// The value as text; empty when the key is not set and has no default.
    pub value: String,
    /// Where it came from.
    pub source: Source,
    /// If the key names a file (`…_file`): what was in it before anybody read it for good. A file that changes under the
    /// reader is therefore seen as changed the next time, never as unchanged.
    pub content: Option<SecretHash>,
}

/// Reads one configuration. Ask for every key once, then call [`Reader::finish`].
#[derive(Debug)]
pub struct Reader {
    root: Table,
    text: String,
    sources: BTreeMap<String, Source>,
    asked: BTreeSet<String>,
    faults: Vec<String>,
    settings: Vec<Setting>,
}

/// The environment of this program, by name: the one door to it. Values that are not UTF-8 are left out.
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

/// The file to read: `explicit` if given, else `default_name` in the working folder if it exists.
pub fn locate(explicit: Option<&Path>, default_name: &str) -> Option<PathBuf> {
    explicit
        .map(Path::to_owned)
        .or_else(|| Some(PathBuf::from(default_name)).filter(|path| path.is_file()))
}

impl Reader {
    /// Reads `file` (nothing, if `None`) and lays the environment over it.
    pub fn open(file: Option<&Path>, environment: &BTreeMap<String, String>) -> Result<Self, ConfigFaults> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|e| ConfigFaults(vec![format!("cannot read {}: {e}", path.display())]))?,
        };
        Self::from_text(text, environment)
    }

    /// As [`Self::open`], from the text of a file.
    pub fn from_text(text: String, environment: &BTreeMap<String, String>) -> Result<Self, ConfigFaults> {
        let root: Table = text
            .parse()
            .map_err(|fault| ConfigFaults(vec![syntax_fault(&text, &fault)]))?;
        let mut reader = Self {
            root,
            text,
            sources: BTreeMap::new(),
            asked: BTreeSet::new(),
            faults: Vec::new(),
            settings: Vec::new(),
        };
        for (name, value) in environment {
            let Some(path) = name
                .strip_prefix(ENVIRONMENT_PREFIX)
                .filter(|rest| rest.contains("__"))
            else {
                continue;
            };
            let path = path.to_ascii_lowercase().replace("__", ".");
            reader.set(&path, value, Source::Environment);
        }
        Ok(reader)
    }

    /// Sets one key, `server.listen` or `issuer.0.url`, as a flag or a short environment name does.
    pub fn set(&mut self, path: &str, value: &str, source: Source) {
        if insert(&mut self.root, path, value) {
            self.sources.insert(path.to_owned(), source);
        } else {
            self.faults.push(format!(
                "{} cannot set {path}: that is not a key",
                source.as_str()
            ));
        }
    }

    /// Remembers a fault that the caller found itself. `path` is the key it is about.
    pub fn fault(&mut self, path: &str, reason: impl fmt::Display) {
        let place = match (self.sources.get(path), self.line_of(path)) {
            (Some(source), _) => format!(" ({})", source.as_str()),
            (None, Some(line)) => format!(" (line {line})"),
            (None, None) => String::new(),
        };
        self.faults.push(format!("{path}{place}: {reason}"));
    }

    /// The keys of `[name]`.
    pub fn section(&mut self, name: &str) -> Section<'_> {
        self.asked.insert(name.to_owned());
        if self.root.get(name).is_some_and(|value| !value.is_table()) {
            self.fault(name, "must be a section: [name]");
        }
        Section {
            prefix: name.to_owned(),
            reader: self,
        }
    }

    /// Refuses `[name]` or `[[name]]` as a whole, if it is written: one sentence instead of one for each of its keys.
    pub fn refuse(&mut self, name: &str, reason: &str) {
        if self.root.contains_key(name) {
            self.fault(name, reason);
            self.root.remove(name);
        }
    }

    /// How many `[[name]]` tables there are, at the top or below a section or table (`federation.workload.0.rule`). Read
    /// each with `section(&format!("{name}.{index}"))`.
    pub fn count(&mut self, name: &str) -> usize {
        self.asked.insert(name.to_owned());
        match self.find(name) {
            None => 0,
            Some(Value::Array(tables)) if tables.iter().all(Value::is_table) => tables.len(),
            Some(_) => {
                self.fault(name, "must be a list of tables: [[name]]");
                0
            }
        }
    }

    /// Refuses what nobody asked for; then either every fault or the values in force.
    pub fn finish(mut self) -> Result<Vec<Setting>, ConfigFaults> {
        let mut unknown = Vec::new();
        collect_unknown(&self.root, "", &self.asked, &mut unknown);
        for path in unknown {
            let (section, key) = path.rsplit_once('.').unwrap_or(("", &path));
            let siblings = self
                .asked
                .iter()
                .filter(|known| known.rsplit_once('.').map_or("", |(s, _)| s) == section);
            let nearest = siblings
                .map(|known| known.rsplit_once('.').map_or(known.as_str(), |(_, k)| k))
                .max_by(|a, b| strsim::jaro_winkler(a, key).total_cmp(&strsim::jaro_winkler(b, key)));
            let hint = nearest
                .map(|known| format!("; did you mean {known}?"))
                .unwrap_or_default();
            self.fault(&path, format!("there is no such key{hint}"));
        }
        if self.faults.is_empty() {
            Ok(self.settings)
        } else {
            Err(ConfigFaults(self.faults))
        }
    }

    fn find(&self, path: &str) -> Option<&Value> {
        let mut steps = path.split('.');
        let mut value = self.root.get(steps.next()?)?;
        for step in steps {
            value = match value {
                Value::Array(list) => list.get(step.parse::<usize>().ok()?)?,
                _ => value.get(step)?,
            };
        }
        Some(value)
    }

    fn record(&mut self, path: &str, value: String, found: bool) {
        let source = match self.sources.get(path) {
            Some(source) => *source,
            None if found => Source::File,
            None => Source::Default,
        };
        self.settings.push(Setting {
            path: path.to_owned(),
            content: if path.ends_with("_file") {
                named_file::content(&value)
            } else {
                None
            },
            value,
            source,
        });
    }

    /// The line of a key in the file, to point at. Finds the usual spelling, `key = …` below `[section]`.
    fn line_of(&self, path: &str) -> Option<usize> {
        let (section, key) = path.rsplit_once('.').unwrap_or(("", path));
        let is_index = |step: &&str| step.bytes().all(|b| b.is_ascii_digit());
        let (indices, names): (Vec<&str>, Vec<&str>) = section
            .split('.')
            .partition(|step| is_index(step) && !step.is_empty());
        let index = match indices.as_slice() {
            [] => 0,
            [index] => index.parse().ok()?,
            // The second table of the third: counting headers would not find it.
            _ => return None,
        };
        let name = names.join(".");
        let (mut current, mut seen) = (section.is_empty(), 0);
        for (number, line) in self.text.lines().enumerate() {
            let line = line.trim();
            if let Some(header) = line.strip_prefix('[') {
                let header = header
                    .trim_start_matches('[')
                    .split(']')
                    .next()
                    .unwrap_or_default()
                    .trim();
                if key == header && section.is_empty() {
                    return Some(number + 1);
                }
                current = header == name && seen == index;
                seen += usize::from(header == name);
            } else if current && line.split('=').next().is_some_and(|left| left.trim() == key) {
                return Some(number + 1);
            }
        }
        None
    }
}

/// What is wrong and where, and nothing of what is written there: it goes to logs and callers, and a line may hold a
/// secret.
fn syntax_fault(text: &str, fault: &toml::de::Error) -> String {
    let before = fault.span().and_then(|span| text.get(..span.start));
    let place = before.map_or_else(String::new, |before| {
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        format!(" (line {line}, column {column})")
    });
    // Serde quotes the value that it does not take, a number too large for example. The parser's own words are fixed.
    let message = match fault.message() {
        quoting if quoting.starts_with("invalid type: ") || quoting.starts_with("invalid value: ") => {
            "such a value cannot stand here"
        }
        message => message.trim_end(),
    };
    format!("it is not TOML{place}: {message}")
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Array(_) | Value::Table(_) => None,
        other => Some(other.to_string()),
    }
}

fn insert(table: &mut Table, path: &str, text: &str) -> bool {
    let Some((first, rest)) = path.split_once('.') else {
        table.insert(path.to_owned(), Value::String(text.to_owned()));
        return true;
    };
    if let Some((index, inner)) = rest
        .split_once('.')
        .and_then(|(i, inner)| Some((i.parse::<usize>().ok()?, inner)))
    {
        let list = table.entry(first).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(list) = list else { return false };
        if index > list.len() {
            return false;
        }
        if index == list.len() {
            list.push(Value::Table(Table::new()));
        }
        return list[index]
            .as_table_mut()
            .is_some_and(|table| insert(table, inner, text));
    }
    let inner = table.entry(first).or_insert_with(|| Value::Table(Table::new()));
    inner
        .as_table_mut()
        .is_some_and(|table| insert(table, rest, text))
}

fn collect_unknown(table: &Table, prefix: &str, asked: &BTreeSet<String>, unknown: &mut Vec<String>) {
    for (key, value) in table {
        let path = if prefix.is_empty() {
            key.clone()
        } else {
            format!("{prefix}.{key}")
        };
        if !asked.contains(&path) {
            unknown.push(path);
            continue;
        }
        match value {
            Value::Table(inner) => collect_unknown(inner, &path, asked, unknown),
            Value::Array(list) => {
                for (index, inner) in list
                    .iter()
                    .enumerate()
                    .filter_map(|(i, v)| Some((i, v.as_table()?)))
                {
                    collect_unknown(inner, &format!("{path}.{index}"), asked, unknown);
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
