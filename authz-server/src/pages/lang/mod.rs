//! The languages of the pages. Another one is a file like `en.rs`, and its line in [`Lang`].

mod en;
mod es;
mod texts;

pub(crate) use self::texts::{Reason, Texts};

/// More of `ui_locales` or `Accept-Language` is not read.
const MAX_BYTES: usize = 512;
/// As many ranges of it.
const MAX_RANGES: usize = 32;

/// A language that pages exist in.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Lang {
    #[default]
    En,
    Es,
}

impl Lang {
    const ALL: [Self; 2] = [Self::En, Self::Es];

    /// The language for a person: what the client asks for (OpenID Connect Core §3.1.2.1 `ui_locales`, in order), else
    /// what their browser asks for (RFC 9110 §12.5.4), else English.
    pub(crate) fn choose(ui_locales: Option<&str>, accept_language: Option<&str>) -> Self {
        let asked = bounded(ui_locales)
            .split_ascii_whitespace()
            .take(MAX_RANGES)
            .find_map(Self::matching);
        asked
            .or_else(|| Self::accepted(bounded(accept_language)))
            .unwrap_or_default()
    }

    fn accepted(header: &str) -> Option<Self> {
        let mut best: Option<(Self, u16)> = None;
        for range in header.split(',').take(MAX_RANGES) {
            let (tag, weight) = match range.split_once(';') {
                Some((tag, parameter)) => (tag.trim(), quality(parameter)),
                None => (range.trim(), 1000),
            };
            let Some(lang) = Self::matching(tag) else {
                continue;
            };
            // Of equal weights the first wins.
            if weight > best.map_or(0, |(_, weight)| weight) {
                best = Some((lang, weight));
            }
        }
        best.map(|(lang, _)| lang)
    }

    /// RFC 4647 §3.4: the range is shortened from its end until it fits, so its first subtag decides.
    fn matching(range: &str) -> Option<Self> {
        let primary = range.split(['-', '_']).next().unwrap_or_default();
        if primary == "*" {
            return Some(Self::default());
        }
        Self::ALL
            .into_iter()
            .find(|lang| primary.eq_ignore_ascii_case(lang.tag()))
    }

    /// The BCP 47 tag.
    pub(crate) fn tag(self) -> &'static str {
        match self {
            Self::En => "en",
            Self::Es => "es",
        }
    }

    /// Its sentences.
    pub(crate) fn texts(self) -> &'static Texts {
        match self {
            Self::En => &en::EN,
            Self::Es => &es::ES,
        }
    }
}

fn bounded(text: Option<&str>) -> &str {
    let text = text.unwrap_or_default();
    text.get(..text.floor_char_boundary(MAX_BYTES)).unwrap_or(text)
}

/// `q=0.8` in thousandths (RFC 9110 §12.4.2); 0, so "not acceptable", for what is none.
fn quality(parameter: &str) -> u16 {
    let value = match parameter.trim().split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("q") => value.trim(),
        _ => return 0,
    };
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return 0;
    }
    match whole {
        "0" => format!("{fraction:0<3}").parse().unwrap_or(0),
        "1" if fraction.bytes().all(|byte| byte == b'0') => 1000,
        _ => 0,
    }
}

/// `sentence` with each `{name}` replaced by its value. Values are not read again.
pub(crate) fn fill(sentence: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(sentence.len());
    let mut rest = sentence;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            rest = after;
            break;
        };
        let value = values.iter().find(|(known, _)| *known == name);
        filled.push_str(value.map_or("", |(_, value)| value));
        rest = tail;
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_is_asked_first_then_the_browser() {
        for (ui_locales, accept_language, expected) in [
            (None, None, Lang::En),
            (Some("es"), Some("en"), Lang::Es),
            (Some("fr-CA es-419 en"), None, Lang::Es),
            (Some("fr de"), Some("es-ES,es;q=0.9"), Lang::Es),
            (None, Some("fr;q=1, en;q=0.5, es;q=0.7"), Lang::Es),
            (None, Some("en, es"), Lang::En),
            (None, Some("es;q=0, en;q=0.1"), Lang::En),
            (None, Some("ES-mx"), Lang::Es),
            (None, Some("est, esu"), Lang::En),
            (None, Some("*"), Lang::En),
            (None, Some("es;q=2, es;q=0.1234, ;;=,"), Lang::En),
        ] {
            let chosen = Lang::choose(ui_locales, accept_language);
            assert_eq!(chosen, expected, "{ui_locales:?} {accept_language:?}");
        }
    }

    #[test]
    fn only_the_beginning_of_a_long_header_is_read() {
        let long = format!("{}, es", "xx,".repeat(10_000));
        assert_eq!(Lang::choose(None, Some(&long)), Lang::En);
        assert_eq!(Lang::choose(Some(&"é".repeat(400)), Some("es")), Lang::Es);
    }

    #[test]
    fn a_value_is_not_filled_again() {
        assert_eq!(fill("a {x} b {y}", &[("x", "{y}"), ("y", "1")]), "a {y} b 1");
        assert_eq!(fill("open { end", &[]), "open  end");
    }

    /// The placeholders of every sentence, in the order of the file.
    fn placeholders(source: &str) -> Vec<(String, Vec<String>)> {
        // rustfmt puts a long sentence on a line of its own.
        source
            .replace(":\n        ", ": ")
            .lines()
            .filter_map(|line| line.trim().split_once(": \""))
            .map(|(field, text)| {
                let names = text.split('{').skip(1);
                let mut names: Vec<String> = names
                    .map(|name| name.split('}').next().unwrap().to_owned())
                    .collect();
                names.sort();
                (field.to_owned(), names)
            })
            .collect()
    }

    #[test]
    fn every_language_has_the_same_placeholders() {
        let english = placeholders(include_str!("en.rs"));
        assert!(english.len() > 100, "the sentences were not found");
        assert!(english.iter().any(|(_, names)| !names.is_empty()));
        assert_eq!(placeholders(include_str!("es.rs")), english);
    }
}
