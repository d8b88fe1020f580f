//! What requests say, read strictly: whatever is not known is refused, so that a typing error changes nothing.

use serde_json::{Map, Value};
use shared::config::Span;
use url::form_urlencoded;

use super::problem::{Code, Problem};

/// The query of a request, or what the command line puts in its place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(&'static str, String)>);

impl Query {
    /// Reads a query of which `known` are the names.
    pub(super) fn read(text: &str, known: &[&'static str]) -> Result<Self, Problem> {
        Self::of(form_urlencoded::parse(text.as_bytes()), known)
    }

    /// The same of pairs.
    pub(super) fn of(
        pairs: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>,
        known: &[&'static str],
    ) -> Result<Self, Problem> {
        let mut read = Vec::<(&'static str, String)>::new();
        for (name, value) in pairs {
            let (name, value) = (name.as_ref(), value.as_ref());
            let Some(name) = known.iter().find(|known| **known == name) else {
                return Err(wrong(
                    "there is a query parameter that this operation does not know",
                ));
            };
            if read.iter().any(|(seen, _)| seen == name) {
                return Err(wrong(format!("{name} stands twice in the query")));
            }
            if value.is_empty() || value.chars().any(char::is_control) || value.contains('\u{fffd}') {
                return Err(wrong(format!("{name} in the query is empty or no text")));
            }
            read.push((name, value.to_owned()));
        }
        Ok(Self(read))
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(known, _)| *known == name)?;
        Some(self.0.swap_remove(at).1)
    }

    /// A whole number from 1 to `most`.
    pub(super) fn number(&mut self, name: &str, most: u32) -> Result<Option<u32>, Problem> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let number = text.parse().ok().filter(|number| (1..=most).contains(number));
        number
            .map(Some)
            .ok_or_else(|| wrong(format!("{name} is a number from 1 to {most}")))
    }

    /// One of these words.
    pub(super) fn word(
        &mut self,
        name: &str,
        words: &[&'static str],
    ) -> Result<Option<&'static str>, Problem> {
        let Some(text) = self.take(name) else {
            return Ok(None);
        };
        let found = words.iter().find(|word| **word == text);
        found
            .copied()
            .map(Some)
            .ok_or_else(|| wrong(format!("{name} is one of {}", words.join(", "))))
    }
}

/// The JSON object in the body of a request. Each member is taken out once; what is left over is not known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Body(Map<String, Value>);

impl Body {
    /// Reads bytes: one object, no member twice.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Problem> {
        match shared::json::object(bytes) {
            Ok(members) => Ok(Self(members)),
            Err(fault) => Err(Problem::new(
                Code::InvalidRequest,
                "the body is one JSON object, in which no member stands twice",
            )
            .because(fault.to_string())),
        }
    }

    /// As the command line has it.
    pub(super) fn of(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// A text. `null` is as if it were not there.
    pub(super) fn text(&mut self, name: &str) -> Result<Option<String>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(wrong(format!("{name} is a string"))),
        }
    }

    /// A text that is read into something; the fault of the reading is told.
    pub(super) fn parsed<T>(&mut self, name: &str) -> Result<Option<T>, Problem>
    where
        T: std::str::FromStr<Err: std::fmt::Display>,
    {
        let Some(text) = self.text(name)? else {
            return Ok(None);
        };
        text.parse()
            .map(Some)
            .map_err(|fault| Problem::new(Code::InvalidValue, format!("{name}: {fault}")))
    }

    /// An object, whatever is in it.
    pub(super) fn object(&mut self, name: &str) -> Result<Option<Map<String, Value>>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Object(members)) => Ok(Some(members)),
            Some(_) => Err(wrong(format!("{name} is an object"))),
        }
    }

    /// A time such as `10m`.
    pub(super) fn span(&mut self, name: &str) -> Result<Option<Span>, Problem> {
        self.parsed(name)
    }

    /// A text, or `null`, which says that there is none; the outer `None` says nothing.
    pub(super) fn nullable(&mut self, name: &str) -> Result<Option<Option<String>>, Problem> {
        if self.0.get(name).is_some_and(Value::is_null) {
            self.0.remove(name);
            return Ok(Some(None));
        }
        Ok(self.text(name)?.map(Some))
    }

    /// A whole number from 1 on.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<u32>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                let number = whole(&value).and_then(|number| u32::try_from(number).ok());
                let number = number.filter(|number| *number > 0);
                number
                    .map(Some)
                    .ok_or_else(|| wrong(format!("{name} is a whole number from 1 to {}", u32::MAX)))
            }
        }
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &str) -> Result<Option<bool>, Problem> {
        match self.0.remove(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(flag)),
            Some(_) => Err(wrong(format!("{name} is true or false"))),
        }
    }

    /// Some texts.
    pub(super) fn texts(&mut self, name: &str) -> Result<Option<Vec<String>>, Problem> {
        let list = match self.0.remove(name) {
            None | Some(Value::Null) => return Ok(None),
            Some(Value::Array(list)) if list.len() <= 100 => list,
            Some(Value::Array(_)) => {
                let sentence = format!("{name} has at most 100 members");
                return Err(Problem::new(Code::InvalidValue, sentence));
            }
            Some(_) => return Err(wrong(format!("{name} is a list of strings"))),
        };
        let texts: Option<Vec<_>> = list
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Some(text),
                _ => None,
            })
            .collect();
        texts
            .map(Some)
            .ok_or_else(|| wrong(format!("{name} is a list of strings")))
    }

    /// Everything of these names, whatever it is.
    pub(super) fn members(&mut self, names: &[&str]) -> Map<String, Value> {
        names
            .iter()
            .filter_map(|name| self.0.remove_entry(*name))
            .collect()
    }

    /// Nothing may be left over.
    pub(super) fn end(self) -> Result<(), Problem> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(name) => {
                let name: String = name.chars().filter(|c| !c.is_control()).take(60).collect();
                Err(wrong(format!("this operation does not know the member {name:?}")))
            }
        }
    }
}

/// A whole number, however it is written: to JSON Schema 1.0 is one too.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a whole number in these bounds stays what it is"
)]
fn whole(value: &Value) -> Option<u64> {
    let written = || value.as_f64().filter(|number| number.fract() == 0.0);
    let small = || written().filter(|number| (0.0..=f64::from(u32::MAX)).contains(number));
    value.as_u64().or_else(|| small().map(|number| number as u64))
}

fn wrong(sentence: impl Into<String>) -> Problem {
    Problem::new(Code::InvalidRequest, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_known_and_said_once() {
        let read = |text: &str| Query::read(text, &["state", "limit"]);
        let mut query = read("state=active&limit=3").unwrap();
        assert_eq!(query.take("limit").as_deref(), Some("3"));
        assert_eq!(query.word("state", &["active"]).unwrap(), Some("active"));
        assert_eq!(query.take("state"), None);
        for bad in [
            "stat=active",
            "state=a&state=a",
            "state=",
            "state",
            "state=%00",
            "state=%ff",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(read("state=x").unwrap().word("state", &["active"]).is_err());
    }

    #[test]
    fn a_body_is_known_and_of_the_right_types() {
        let read = |text: &str| Body::read(text.as_bytes());
        let mut body = read(r#"{"name":"x","list":["a"],"ttl":"10m","none":null,"more":{}}"#).unwrap();
        assert_eq!(body.text("name").unwrap().as_deref(), Some("x"));
        assert_eq!(body.texts("list").unwrap().unwrap(), ["a"]);
        assert_eq!(body.span("ttl").unwrap().unwrap().0.as_secs(), 600);
        assert_eq!(body.text("none").unwrap(), None);
        for (text, number) in [
            ("1", Some(1)),
            ("7.0", Some(7)),
            ("1e3", Some(1000)),
            ("0", None),
            ("1.5", None),
        ] {
            let mut body = read(&format!(r#"{{"n":{text}}}"#)).unwrap();
            assert_eq!(body.number("n").ok().flatten(), number, "{text}");
        }
        for far in ["-1", "4294967296", "1e10", "-1.0"] {
            assert!(
                read(&format!(r#"{{"n":{far}}}"#)).unwrap().number("n").is_err(),
                "{far}"
            );
        }
        assert!(body.clone().end().is_err());
        assert_eq!(body.members(&["more"]).len(), 1);
        assert!(body.end().is_ok());
        assert!(read(r#"{"a":1,"a":1}"#).is_err() && read("[]").is_err() && read("").is_err());
        assert!(read(r#"{"a":1}"#).unwrap().text("a").is_err());
        assert!(read(r#"{"a":[1]}"#).unwrap().texts("a").is_err());
        assert!(read(r#"{"a":"soon"}"#).unwrap().span("a").is_err());
    }
}
