//! What identifies the arguments of a call: a hash that does not depend on the order of members or on white space.

use ring::digest::{Context, SHA256};
use rmcp::model::JsonObject;
use serde_json::Value;

/// SHA-256 of the arguments. No arguments and an empty object are the same call.
pub(crate) fn of_arguments(arguments: Option<&JsonObject>) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    match arguments {
        Some(arguments) => object(&mut context, arguments),
        None => object(&mut context, &JsonObject::new()),
    }
    let mut digest = [0; 32];
    digest.copy_from_slice(context.finish().as_ref());
    digest
}

fn object(context: &mut Context, members: &JsonObject) {
    let mut names: Vec<&String> = members.keys().collect();
    names.sort_unstable();
    context.update(b"{");
    for name in names {
        text(context, name);
        if let Some(member) = members.get(name) {
            value(context, member);
        }
    }
    context.update(b"}");
}

fn value(context: &mut Context, any: &Value) {
    match any {
        Value::Object(members) => object(context, members),
        Value::Array(items) => {
            context.update(b"[");
            items.iter().for_each(|item| value(context, item));
            context.update(b"]");
        }
        Value::String(content) => text(context, content),
        Value::Null => context.update(b"n"),
        Value::Bool(true) => context.update(b"t"),
        Value::Bool(false) => context.update(b"f"),
        Value::Number(number) => {
            context.update(b"#");
            context.update(number.to_string().as_bytes());
            context.update(b";");
        }
    }
}

/// With its length in front, so that no text can look like what follows it.
fn text(context: &mut Context, content: &str) {
    context.update(b"\"");
    context.update(&(content.len() as u64).to_be_bytes());
    context.update(content.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(text: &str) -> [u8; 32] {
        let arguments: JsonObject = serde_json::from_str(text).unwrap();
        of_arguments(Some(&arguments))
    }

    #[test]
    fn order_and_spaces_do_not_count() {
        assert_eq!(
            digest(r#"{"a":1,"b":{"x":[1,2],"y":null}}"#),
            digest(r#"{ "b": {"y": null, "x": [1, 2]}, "a": 1 }"#)
        );
        assert_eq!(of_arguments(None), digest("{}"));
    }

    #[test]
    fn everything_else_does() {
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
            "{}",
        ];
        for (place, one) in all.iter().enumerate() {
            for other in &all[place + 1..] {
                assert_ne!(digest(one), digest(other), "{one} {other}");
            }
        }
    }
}
