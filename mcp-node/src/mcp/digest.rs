//! What identifies the arguments of a call: the SHA-256 of their canonical form, which does not depend on the order of
//! members, on white space or on escapes.
//!
//! The canonical form is that of RFC 8785 (JCS), UTF-8: no white space, members sorted by the UTF-16 code units of their
//! names, the shortest escapes, numbers as ECMAScript prints them; no arguments are `{}`. One thing differs: whole numbers
//! are written digit by digit, also beyond 2^53, where JCS would round two different ones to the same. A fraction is the
//! number that was read: with more than 15 digits its last one may differ from what another parser reads.

use ring::digest::{SHA256, digest};
use rmcp::model::JsonObject;
use serde_json::{Number, Value};

/// SHA-256 of the canonical arguments. No arguments and an empty object are the same call.
pub fn of_arguments(arguments: Option<&JsonObject>) -> [u8; 32] {
    let canonical = canonical(arguments);
    let mut bytes = [0; 32];
    bytes.copy_from_slice(digest(&SHA256, canonical.as_bytes()).as_ref());
    bytes
}

/// The canonical form itself.
pub fn canonical(arguments: Option<&JsonObject>) -> String {
    let mut text = String::new();
    match arguments {
        Some(arguments) => object(&mut text, arguments),
        None => text.push_str("{}"),
    }
    text
}

/// A digest as people compare it, in lower case.
pub fn hexadecimal(digest: &[u8; 32]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn object(text: &mut String, members: &JsonObject) {
    let mut members: Vec<_> = members.iter().collect();
    members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
    text.push('{');
    for (place, (name, member)) in members.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        string(text, name);
        text.push(':');
        value(text, member);
    }
    text.push('}');
}

fn value(text: &mut String, any: &Value) {
    match any {
        Value::Object(members) => object(text, members),
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                value(text, item);
            }
            text.push(']');
        }
        Value::String(content) => string(text, content),
        Value::Null => text.push_str("null"),
        Value::Bool(true) => text.push_str("true"),
        Value::Bool(false) => text.push_str("false"),
        Value::Number(number) => text.push_str(&numeral(number)),
    }
}

/// serde_json's escapes are those of RFC 8785 §3.2.2.2.
fn string(text: &mut String, content: &str) {
    // A text can always be written.
    text.push_str(&serde_json::to_string(content).unwrap_or_default());
}

/// ECMAScript's Number::toString (RFC 8785 §3.2.2.3).
fn numeral(number: &Number) -> String {
    let float = match number.as_f64() {
        Some(float) if number.is_f64() && float.is_finite() => float,
        _ => return number.to_string(),
    };
    if float == 0.0 {
        return "0".to_owned();
    }
    // The shortest digits that are read back as the same number: d.ddde±x.
    let written = format!("{:e}", float.abs());
    let (mantissa, exponent) = written.split_once('e').unwrap_or((&written, "0"));
    let digits: String = mantissa.chars().filter(char::is_ascii_digit).collect();
    let point = exponent.parse::<i32>().unwrap_or(0) + 1;
    let count = i32::try_from(digits.len()).unwrap_or(i32::MAX);
    let zeros = |count: i32| "0".repeat(usize::try_from(count).unwrap_or(0));
    let (head, tail) = digits.split_at(usize::try_from(point.clamp(0, count)).unwrap_or(0));
    let unsigned = match point {
        _ if count <= point && point <= 21 => format!("{digits}{}", zeros(point - count)),
        1..=21 => format!("{head}.{tail}"),
        -5..=0 => format!("0.{}{digits}", zeros(-point)),
        _ => {
            let (first, rest) = digits.split_at(1);
            let fraction = if rest.is_empty() {
                String::new()
            } else {
                format!(".{rest}")
            };
            format!("{first}{fraction}e{:+}", point - 1)
        }
    };
    if float < 0.0 {
        format!("-{unsigned}")
    } else {
        unsigned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> JsonObject {
        serde_json::from_str(text).unwrap()
    }

    fn digest(text: &str) -> [u8; 32] {
        of_arguments(Some(&parsed(text)))
    }

    #[test]
    fn order_spaces_and_escapes_do_not_count() {
        assert_eq!(
            digest(r#"{"a":1,"b":{"x":[1,2],"y":null}}"#),
            digest(r#"{ "b": {"y": null, "x": [1, 2]}, "\u0061": 1 }"#)
        );
        assert_eq!(of_arguments(None), digest("{}"));
        // sha256sum of "{}".
        let empty = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";
        assert_eq!(hexadecimal(&of_arguments(None)), empty);
    }

    #[test]
    fn the_examples_of_rfc_8785() {
        let text = r#"{"numbers":[333333333.25,1E30,4.50,2e-3,0.000000000000000000000000001],
            "string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}"#;
        let expected = r#"{"literals":[null,true,false],"numbers":[333333333.25,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}"#;
        assert_eq!(canonical(Some(&parsed(text))), expected);
        // §3.2.3: by UTF-16 code units, so that U+1F600 (D83D …) comes before U+FB33.
        let sorted = canonical(Some(&parsed(
            r#"{"\u20ac":1,"\r":2,"\ufb33":3,"1":4,"\ud83d\ude00":5,"\u0080":6,"\u00f6":7}"#,
        )));
        let order: Vec<_> = sorted.split(':').skip(1).map(|part| part.as_bytes()[0]).collect();
        assert_eq!(order, *b"2467153");
    }

    #[test]
    fn numbers_as_ecmascript_prints_them() {
        for (text, expected) in [
            ("-0.0", "0"),
            ("1.0", "1"),
            ("-1.5", "-1.5"),
            ("1e21", "1e+21"),
            ("1e20", "100000000000000000000"),
            ("1.25e20", "125000000000000000000"),
            ("0.000001", "0.000001"),
            ("0.0000001", "1e-7"),
            ("1.25e-9", "1.25e-9"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("9007199254740993", "9007199254740993"),
            ("18446744073709551615", "18446744073709551615"),
        ] {
            let object = parsed(&format!(r#"{{"n":{text}}}"#));
            assert_eq!(
                canonical(Some(&object)),
                format!(r#"{{"n":{expected}}}"#),
                "{text}"
            );
        }
    }

    #[test]
    fn everything_else_counts() {
        let all = [
            r#"{"a":1}"#,
            r#"{"a":"1"}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"1":null}}"#,
            r#"{"a":null}"#,
            r#"{"a":false}"#,
            r#"{"a":true}"#,
            r#"{"a":[1,2]}"#,
            r#"{"a":[[1],2]}"#,
            r#"{"a":[12]}"#,
            r#"{"ab":"c"}"#,
            r#"{"a":"bc"}"#,
            r#"{"a":"b","c":"d"}"#,
            r#"{"a":"b\",\"c\":\"d"}"#,
            "{}",
        ];
        for (place, one) in all.iter().enumerate() {
            for other in &all[place + 1..] {
                assert_ne!(digest(one), digest(other), "{one} {other}");
            }
        }
    }
}
