//! The digest of a tool call's arguments: one value for one meaning, however it was written.
//!
//! The text that is hashed is the JSON Canonicalization Scheme (RFC 8785), with one difference: an integer is written
//! exactly, also where a double could not hold it. RFC 8785 would round it, and two calls would have one digest.

use serde_json::{Map, Number, Value};

use crate::jose::sha256_base64url;

/// The SHA-256 of the canonical text of `arguments`, base64url. Arguments that are not there are an empty object: a tool
/// cannot tell them apart.
pub fn arguments_digest(arguments: Option<&Map<String, Value>>) -> String {
    sha256_base64url(canonical_arguments(arguments).as_bytes())
}

/// The canonical text of `arguments`, of which [`arguments_digest`] is the hash.
pub fn canonical_arguments(arguments: Option<&Map<String, Value>>) -> String {
    let mut text = String::new();
    match arguments {
        Some(arguments) => write_object(arguments, &mut text),
        None => text.push_str("{}"),
    }
    text
}

/// The canonical text of `value`.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write(value, &mut text);
    text
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => write_number(number, text),
        Value::String(string) => write_string(string, text),
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(item, text);
            }
            text.push(']');
        }
        Value::Object(members) => write_object(members, text),
    }
}

/// RFC 8785 §3.2.3: members in the order of their names' UTF-16 code units. The map's own order depends on how
/// `serde_json` was built.
fn write_object(members: &Map<String, Value>, text: &mut String) {
    let mut sorted: Vec<_> = members.iter().collect();
    sorted.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    text.push('{');
    for (index, (name, value)) in sorted.into_iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(name, text);
        text.push(':');
        write(value, text);
    }
    text.push('}');
}

/// RFC 8785 §3.2.2.2: `serde_json` escapes just what it asks to be escaped.
fn write_string(string: &str, text: &mut String) {
    text.push_str(&Value::from(string).to_string());
}

/// RFC 8785 §3.2.2.3: as ECMAScript's `Number::toString` (ECMA-262 §6.1.6.1.20), integers exactly.
fn write_number(number: &Number, text: &mut String) {
    match number.as_f64() {
        Some(double) if number.is_f64() => write_double(double, text),
        _ => text.push_str(&number.to_string()),
    }
}

fn write_double(double: f64, text: &mut String) {
    if double == 0.0 {
        // Also the negative zero.
        text.push('0');
        return;
    }
    // The shortest digits that give the same double, d.ddde±x: the same that ECMAScript takes.
    let shortest = format!("{:e}", double.abs());
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if double < 0.0 {
        text.push('-');
    }
    // The decimal point stands after this many digits.
    let point = exponent + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |n: i32| "0".repeat(usize::try_from(n).unwrap_or(0));
    if (count..=21).contains(&point) {
        text.push_str(&digits);
        text.push_str(&zeros(point - count));
    } else if (1..=21).contains(&point) {
        let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
        text.push_str(&format!("{whole}.{fraction}"));
    } else if (-5..=0).contains(&point) {
        text.push_str(&format!("0.{}{digits}", zeros(-point)));
    } else {
        let (first, rest) = digits.split_at(1);
        let dot = if rest.is_empty() { "" } else { "." };
        let sign = if exponent < 0 { '-' } else { '+' };
        text.push_str(&format!("{first}{dot}{rest}e{sign}{}", exponent.abs()));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_canonical_text_is_that_of_rfc_8785() {
        // §3.2.2 and §3.2.3, and appendix B.
        let value = json!({
            "numbers": [333_333_333.333_333_3, 1e30, 4.50, 2e-3, 0.000_000_000_000_000_000_000_000_001],
            "string": "\u{20ac}$\u{f}\nA'B\"\\\\\"/",
            "literals": [null, true, false],
        });
        let expected = "{\"literals\":[null,true,false],\"numbers\":[333333333.3333333,1e+30,4.5,0.002,1e-27],\
                        \"string\":\"€$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\"}";
        assert_eq!(canonical(&value), expected);
        let names =
            json!({"\u{20ac}": 1, "\r": 2, "\u{fb33}": 3, "1": 4, "\u{1f600}": 5, "\u{80}": 6, "\u{f6}": 7});
        assert_eq!(
            canonical(&names),
            "{\"\\r\":2,\"1\":4,\"\u{80}\":6,\"\u{f6}\":7,\"\u{20ac}\":1,\"\u{1f600}\":5,\"\u{fb33}\":3}"
        );
        for (double, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (295_147_905_179_352_830_000.0, "295147905179352830000"),
            (9.999_999_999_999_997e22, "9.999999999999997e+22"),
            (1e23, "1e+23"),
            (0.000_001, "0.000001"),
            (1e-7, "1e-7"),
            (-424.5, "-424.5"),
        ] {
            assert_eq!(canonical(&json!(double)), text);
        }
    }

    #[test]
    fn what_a_person_was_shown_is_what_runs() {
        // Each text is read as the double that it stands for, however long its fraction is, and so again and again.
        for n in 1..20_000_u32 {
            let double = f64::from(n).sqrt() / 7.0;
            let shown = canonical(&json!({ "x": double }));
            let read: Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(read["x"].as_f64(), Some(double), "{shown}");
            assert_eq!(canonical(&read), shown);
        }
    }

    #[test]
    fn one_meaning_has_one_digest_and_two_have_two() {
        let digest = |text: &str| {
            let value: Value = serde_json::from_str(text).unwrap();
            arguments_digest(value.as_object())
        };
        let one = digest(r#"{"path":"/a","n":1,"deep":{"y":[1,2],"x":null}}"#);
        assert_eq!(
            one,
            digest(r#"{ "deep": {"x":null, "y":[1, 2]}, "n":1.0, "p\u0061th":"\/a" }"#)
        );
        for other in [
            r#"{"path":"/b","n":1,"deep":{"y":[1,2],"x":null}}"#,
            r#"{"path":"/a","n":"1","deep":{"y":[1,2],"x":null}}"#,
            r#"{"path":"/a","n":1,"deep":{"y":[2,1],"x":null}}"#,
            r#"{"path":"/a","n":1,"deep":{"y":[1,2]}}"#,
        ] {
            assert_ne!(one, digest(other), "{other}");
        }
        assert_eq!(arguments_digest(None), digest("{}"));
        // A double cannot tell these apart.
        assert_ne!(
            digest(r#"{"n":9007199254740993}"#),
            digest(r#"{"n":9007199254740992}"#)
        );
    }
}
