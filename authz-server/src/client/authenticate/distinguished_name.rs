//! Distinguished names, as a client is registered with one and as a certificate carries it.
//!
//! The two are compared in a normal form: the order of the parts, their types and their characters must be the same;
//! how a certificate encodes the characters (`PrintableString`, `UTF8String`) and how the text escapes them does not
//! matter. Letters are compared with case, which is stricter than RFC 4517 §4.2.11: a certificate authority that lets
//! two customers differ in case only must not make them one.

use std::collections::BTreeSet;
use std::str::FromStr;

use x509_parser::asn1_rs::{Any, FromDer, Tag, ToDer};
use x509_parser::x509::X509Name;

/// A longer text is no name that an authority signs.
const MAX_TEXT: usize = 2048;

/// A distinguished name: its parts from the most significant one (the country) on, as a certificate has them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct DistinguishedName(Vec<BTreeSet<Attribute>>);

/// A type, as a dotted number, and its value.
type Attribute = (String, AttributeValue);

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum AttributeValue {
    Text(String),
    /// The encoding of what is no text.
    Der(Vec<u8>),
}

/// The text is no distinguished name of RFC 4514.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("must be a distinguished name as RFC 4514 writes it: CN=name,O=organisation,C=XX")]
pub(crate) struct NoDistinguishedName;

/// RFC 4514 §3, and those that openssl and others write besides.
const SHORT_NAMES: [(&str, &str); 14] = [
    ("CN", "2.5.4.3"),
    ("SN", "2.5.4.4"),
    ("SERIALNUMBER", "2.5.4.5"),
    ("C", "2.5.4.6"),
    ("L", "2.5.4.7"),
    ("ST", "2.5.4.8"),
    ("STREET", "2.5.4.9"),
    ("O", "2.5.4.10"),
    ("OU", "2.5.4.11"),
    ("ORGANIZATIONIDENTIFIER", "2.5.4.97"),
    ("UID", "0.9.2342.19200300.100.1.1"),
    ("DC", "0.9.2342.19200300.100.1.25"),
    ("EMAILADDRESS", "1.2.840.113549.1.9.1"),
    ("E", "1.2.840.113549.1.9.1"),
];

impl DistinguishedName {
    /// The name of a certificate. `None` if it has none: nobody is registered as nothing.
    pub(crate) fn of(name: &X509Name<'_>) -> Option<Self> {
        let mut parts = Vec::new();
        for part in name.iter() {
            let mut attributes = BTreeSet::new();
            for attribute in part.iter() {
                let value = attribute.attr_value();
                let value = match text(value) {
                    Some(text) => text,
                    None => AttributeValue::Der(value.to_der_vec().ok()?),
                };
                attributes.insert((attribute.attr_type().to_id_string(), value));
            }
            parts.push(attributes);
        }
        (!parts.is_empty()).then_some(Self(parts))
    }
}

impl FromStr for DistinguishedName {
    type Err = NoDistinguishedName;

    /// RFC 4514 §3. The text begins with the least significant part.
    fn from_str(text: &str) -> Result<Self, NoDistinguishedName> {
        if text.is_empty() || text.len() > MAX_TEXT {
            return Err(NoDistinguishedName);
        }
        let mut parts = Vec::new();
        let mut attributes = BTreeSet::new();
        let mut rest = text;
        loop {
            let (attribute, end, after) = attribute(rest).ok_or(NoDistinguishedName)?;
            attributes.insert(attribute);
            match end {
                Some('+') => {}
                _ => parts.push(std::mem::take(&mut attributes)),
            }
            if end.is_none() {
                parts.reverse();
                return Ok(Self(parts));
            }
            rest = after;
        }
    }
}

/// Reads one `type=value`, and returns the separator behind it with what follows.
fn attribute(text: &str) -> Option<(Attribute, Option<char>, &str)> {
    let (name, value) = text.split_once('=')?;
    // A space after a separator is not in the grammar, but in what people write.
    let identifier = object_identifier(name.trim_start_matches(' '))?;
    if let Some(hexadecimal) = value.strip_prefix('#') {
        let length = hexadecimal.find([',', '+']).unwrap_or(hexadecimal.len());
        let (digits, after) = hexadecimal.split_at(length);
        let (end, after) = separator(after);
        return Some(((identifier, encoded(&hex(digits)?)), end, after));
    }
    let (bytes, end, after) = unescape(value)?;
    let text = String::from_utf8(bytes).ok().filter(|text| !text.is_empty())?;
    Some(((identifier, AttributeValue::Text(text)), end, after))
}

fn separator(text: &str) -> (Option<char>, &str) {
    let mut characters = text.chars();
    (characters.next(), characters.as_str())
}

fn object_identifier(name: &str) -> Option<String> {
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    if name.contains('.') && name.split('.').all(is_number) {
        return Some(name.to_owned());
    }
    SHORT_NAMES
        .iter()
        .find(|(short, _)| short.eq_ignore_ascii_case(name))
        .map(|(_, identifier)| (*identifier).to_owned())
}

/// A value with its escapes resolved, up to a separator that is not escaped.
fn unescape(value: &str) -> Option<(Vec<u8>, Option<char>, &str)> {
    let mut bytes = Vec::new();
    // Spaces at the end count only when they are escaped.
    let mut solid = 0;
    let mut characters = value.chars();
    loop {
        match characters.next() {
            None => {
                bytes.truncate(solid);
                return Some((bytes, None, ""));
            }
            Some(end @ (',' | '+')) => {
                bytes.truncate(solid);
                return Some((bytes, Some(end), characters.as_str()));
            }
            Some('"' | ';' | '<' | '>' | '\0') => return None,
            Some('\\') => {
                let rest = characters.as_str();
                match rest.chars().next()? {
                    escaped @ ('"' | '+' | ',' | ';' | '<' | '>' | ' ' | '#' | '=' | '\\') => {
                        bytes.push(escaped as u8);
                        characters = rest[1..].chars();
                    }
                    _ => {
                        bytes.extend(hex(rest.get(..2)?)?);
                        characters = rest[2..].chars();
                    }
                }
                solid = bytes.len();
            }
            Some(' ') if bytes.is_empty() => {}
            Some(plain) => {
                bytes.extend_from_slice(plain.encode_utf8(&mut [0; 4]).as_bytes());
                if plain != ' ' {
                    solid = bytes.len();
                }
            }
        }
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    if digits.is_empty() || !digits.len().is_multiple_of(2) || !digits.is_ascii() {
        return None;
    }
    (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect()
}

/// What `#` and hexadecimal digits encode: text if it is one, so that both spellings of a name are the same one.
fn encoded(der: &[u8]) -> AttributeValue {
    let read = Any::from_der(der).ok().filter(|(rest, _)| rest.is_empty());
    let text = read.and_then(|(_, value)| text(&value));
    text.unwrap_or_else(|| AttributeValue::Der(der.to_vec()))
}

/// The characters of a string whose encoding is a part of UTF-8.
fn text(value: &Any<'_>) -> Option<AttributeValue> {
    let is_text = matches!(
        value.tag(),
        Tag::NumericString | Tag::PrintableString | Tag::Utf8String | Tag::Ia5String
    );
    let text = std::str::from_utf8(value.as_bytes()).ok().filter(|_| is_text)?;
    Some(AttributeValue::Text(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<DistinguishedName, NoDistinguishedName> {
        text.parse()
    }

    #[test]
    fn one_name_has_many_spellings() {
        let name = parse("CN=Ada\\, Inc.+UID=7,O=Edge Hive,C=AT").unwrap();
        for same in [
            "cn=Ada\\2c Inc.+uid=7,o=Edge Hive,c=AT",
            "UID=7+CN=Ada\\, Inc., O=Edge Hive, C=AT",
            "2.5.4.3=Ada\\, Inc.+0.9.2342.19200300.100.1.1=7,2.5.4.10=Edge Hive,C=AT",
            // UTF8String, PrintableString.
            "CN=Ada\\, Inc.+UID=7,O=#0c09456467652048697665,C=#13024154",
            "CN= Ada\\, Inc. +UID=7,O=Edge Hive,C=AT",
        ] {
            assert_eq!(parse(same).as_ref(), Ok(&name), "{same}");
        }
        assert_eq!(parse("CN=Lu\\C4\\8Di\\C4\\87"), parse("CN=Lučić"));
    }

    #[test]
    fn order_case_and_number_of_parts_matter() {
        let name = parse("CN=Ada,O=Edge Hive,C=AT").unwrap();
        for other in [
            "C=AT,O=Edge Hive,CN=Ada",
            "CN=ada,O=Edge Hive,C=AT",
            "CN=Ada,O=Edge Hive",
            "CN=Ada,O=Edge Hive,C=AT,C=AT",
            "CN=Ada,OU=x,O=Edge Hive,C=AT",
            "CN=Ada\\ ,O=Edge Hive,C=AT",
            "CN=Ada+O=Edge Hive,C=AT",
            "CN=Ada,O=Edge  Hive,C=AT",
        ] {
            assert_ne!(parse(other).unwrap(), name, "{other}");
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for bad in [
            "",
            "CN",
            "CN=",
            "=x",
            "XX=y",
            "CN=a,",
            "CN=a,,O=b",
            "CN=a\\",
            "CN=a\\z1",
            "CN=\\ff",
            "CN=#0",
            "CN=#",
            "CN=#zz",
            "CN=a;b",
            "1..2=x",
            "1.02=x",
            "CN=a\\é",
            "CN=#éé",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert!(parse(&format!("CN={}", "x".repeat(MAX_TEXT))).is_err());
    }
}
