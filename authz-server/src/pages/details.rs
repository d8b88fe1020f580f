//! Authorization details (RFC 9396) as the person who is asked sees them: all of it, and nothing interpreted.

use serde_json::Value;

use super::lang::Lang;
use crate::authorization_details::{self, AuthorizationDetails, Element};

/// One element on a page.
#[derive(Clone, Debug)]
pub(crate) struct DetailItem {
    pub(crate) kind: String,
    pub(crate) lines: Vec<DetailLine>,
}

/// One member of it.
#[derive(Clone, Debug)]
pub(crate) struct DetailLine {
    pub(crate) name: String,
    /// What it is about; `None` for a member that only the resource understands.
    pub(crate) words: Option<&'static str>,
    /// Each value as text; JSON where it is neither a string nor a list of strings.
    pub(crate) values: Vec<String>,
}

impl DetailItem {
    /// The elements of `details`, if there are any.
    pub(crate) fn list(lang: Lang, details: Option<&AuthorizationDetails>) -> Vec<Self> {
        details
            .into_iter()
            .flat_map(AuthorizationDetails::iter)
            .map(|element| Self::of(lang, element))
            .collect()
    }

    fn of(lang: Lang, element: &Element) -> Self {
        let members = element.iter().filter(|(name, _)| *name != "type");
        Self {
            kind: authorization_details::kind(element).to_owned(),
            lines: members
                .map(|(name, value)| DetailLine {
                    name: name.clone(),
                    words: words(lang, name),
                    values: values(value),
                })
                .collect(),
        }
    }
}

fn values(value: &Value) -> Vec<String> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match value {
        Value::Array(list) if list.iter().all(Value::is_string) && !list.is_empty() => {
            list.iter().map(text).collect()
        }
        other => vec![text(other)],
    }
}

fn words(lang: Lang, name: &str) -> Option<&'static str> {
    let texts = lang.texts();
    Some(match name {
        "locations" => texts.detail_locations,
        "actions" => texts.detail_actions,
        "datatypes" => texts.detail_datatypes,
        "privileges" => texts.detail_privileges,
        authorization_details::IDENTIFIER => texts.detail_identifier,
        _ => return None,
    })
}
