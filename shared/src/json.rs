//! JSON read strictly: a member that stands twice is refused at every depth, because two readers of it may take
//! different ones (RFC 8259 §4, RFC 8725 §2.6). So is a member that `serde_json` would take for a sign of its own.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Why bytes are no acceptable JSON object.
#[derive(Debug, thiserror::Error)]
pub enum JsonFault {
    /// Not JSON, a repeated or reserved member, nested too deeply (128), or bytes after the end.
    #[error("it is not JSON, or repeats a member: {0}")]
    Syntax(#[from] serde_json::Error),
    /// JSON, but no object.
    #[error("it is not a JSON object")]
    NotAnObject,
}

/// With its features `raw_value` and `arbitrary_precision`, `serde_json` reads an object whose first member has such a name
/// as the JSON in it, or as a number. A reader that knows nothing of that sees another value.
const RESERVED: &str = "$serde_json::private::";

/// Whether a member of this name means something else to some readers than to others.
pub fn is_reserved(name: &str) -> bool {
    name.starts_with(RESERVED)
}

/// Parses one JSON object and nothing after it.
pub fn object(bytes: &[u8]) -> Result<Map<String, Value>, JsonFault> {
    match value(bytes)? {
        Value::Object(members) => Ok(members),
        _ => Err(JsonFault::NotAnObject),
    }
}

/// Parses one JSON value and nothing after it.
pub fn value(bytes: &[u8]) -> Result<Value, JsonFault> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut reader)?;
    reader.end()?;
    Ok(value)
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Number::from_f64(value)
            .map(Value::Number)
            .ok_or_else(|| E::custom("a number is out of range"))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if is_reserved(&name) {
                return Err(A::Error::custom("the name of a member is reserved"));
            }
            let value = members.next_value_seed(Self)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom("a member stands twice"));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_members_are_refused_at_every_depth() {
        assert!(object(br#"{"a":1,"b":{"c":[1,2.5,null,true,"x"]}}"#).is_ok());
        assert!(object(br#"{"a":1,"a":1}"#).is_err());
        assert!(object(br#"{"b":[{"a":1,"a":2}]}"#).is_err());
        assert!(object(br#"{"a":1,"\u0061":2}"#).is_err());
    }

    #[test]
    fn reserved_members_are_refused_at_every_depth() {
        assert!(object(br#"{"$serde_json":1,"o":{"private::RawValue":"{}"}}"#).is_ok());
        for text in [
            r#"{"$serde_json::private::RawValue":"{}"}"#,
            r#"{"o":[{"$serde_json::private::RawValue":"{\"force\":true}"}]}"#,
            r#"{"o":{"a":1,"\u0024serde_json::private::Number":"1"}}"#,
        ] {
            assert!(object(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn only_one_object_and_nothing_else() {
        assert!(matches!(object(b"[]"), Err(JsonFault::NotAnObject)));
        assert!(object(b"{} x").is_err());
        assert!(object(b"\xef\xbb\xbf{}").is_err());
        assert!(object(b"{\"a\":\"\xff\"}").is_err());
        assert!(object(format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).as_bytes()).is_err());
    }
}
