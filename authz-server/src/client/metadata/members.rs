//! The members of a document, each read as what it has to be. `null` and the empty text mean that there is none
//! (RFC 7592 §2.2; clients in use write both).

use serde_json::{Map, Value};
use shared::jose::Algorithm;

use super::{MAX_BYTES, MAX_TEXT, MetadataFault, fault};

/// A document of a bounded size.
pub(super) struct Members<'d>(&'d Map<String, Value>);

impl<'d> Members<'d> {
    pub(super) fn of(document: &'d Map<String, Value>) -> Result<Self, MetadataFault> {
        match serde_json::to_string(document) {
            Ok(text) if text.len() <= MAX_BYTES => Ok(Self(document)),
            _ => Err(fault::too_large()),
        }
    }

    /// The member as it stands there.
    pub(super) fn value(&self, name: &str) -> Option<&'d Value> {
        self.0
            .get(name)
            .filter(|value| !value.is_null() && *value != &Value::String(String::new()))
    }

    pub(super) fn text(&self, name: &'static str) -> Result<Option<&'d str>, MetadataFault> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(must(name, "be a string")),
        }
    }

    pub(super) fn flag(&self, name: &'static str) -> Result<bool, MetadataFault> {
        match self.value(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(_) => Err(must(name, "be true or false")),
        }
    }

    /// A list of at most `most` strings; an empty one is a list too.
    pub(super) fn list(&self, name: &'static str, most: usize) -> Result<Option<Vec<String>>, MetadataFault> {
        let Some(value) = self.value(name) else {
            return Ok(None);
        };
        let list = value.as_array().filter(|list| list.len() <= most);
        let texts = list.and_then(|list| list.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        texts
            .map(Some)
            .ok_or_else(|| must(name, &format!("be a list of at most {most} strings")))
    }

    /// One line that people can read.
    pub(super) fn line(&self, name: &'static str, most: usize) -> Result<Option<String>, MetadataFault> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        check_line(name, text, most)?;
        Ok(Some(text.to_owned()))
    }

    /// Several of them.
    pub(super) fn lines(
        &self,
        name: &'static str,
        most: usize,
    ) -> Result<Option<Vec<String>>, MetadataFault> {
        let list = self.list(name, most)?;
        for text in list.iter().flatten() {
            check_line(name, text, MAX_TEXT)?;
        }
        Ok(list)
    }

    /// The name of an algorithm, one of `known`. Symmetric ones and `none` never are (RFC 8725 §3.1).
    pub(super) fn algorithm(
        &self,
        name: &'static str,
        known: &[Algorithm],
    ) -> Result<Option<String>, MetadataFault> {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        if text
            .parse::<Algorithm>()
            .is_ok_and(|algorithm| known.contains(&algorithm))
        {
            return Ok(Some(text.to_owned()));
        }
        let names: Vec<_> = known.iter().map(|algorithm| algorithm.as_str()).collect();
        Err(must(name, &format!("be one of {}", names.join(", "))).about(text))
    }
}

/// A sentence about a member. Both parts are ours, so it can be sent.
pub(super) fn must(name: &str, be: &str) -> MetadataFault {
    MetadataFault::metadata(format!("{name} must {be}"))
}

fn check_line(name: &str, text: &str, most: usize) -> Result<(), MetadataFault> {
    if text.is_empty() || text.len() > most || text.chars().any(is_invisible) {
        let be = format!("have 1 to {most} bytes and no invisible or direction-changing characters");
        return Err(must(name, &be).about(text));
    }
    Ok(())
}

/// Whether a character is not seen, or changes how its neighbours are: what is shown to people would not be what is
/// there (Unicode Technical Report 36 §2).
pub(crate) fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{e0fff}')
}
