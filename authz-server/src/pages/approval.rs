//! May this call run?

use askama::Template;
use shared::clock::UnixSeconds;

use super::{ClientIdentity, Page};

/// `GET /approve/{id}`. Its form goes to the same address (`decision` = `approve` or `deny`).
#[derive(Template)]
#[template(path = "approval.html")]
pub(crate) struct ApprovalQuestion<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) approval_id: &'a str,
    pub(crate) tool: &'a str,
    /// The node's sentence about the tool.
    pub(crate) summary: &'a str,
    /// JSON, one member on a line.
    pub(crate) arguments: &'a str,
    /// The program that calls.
    pub(crate) client: &'a str,
    pub(crate) identity: ClientIdentity<'a>,
    /// For whom it calls, as its token says.
    pub(crate) subject: &'a str,
    /// Whether that is the person who looks.
    pub(crate) is_own: bool,
    /// Another server that says so of the program and of whom it calls for; empty when we do.
    pub(crate) vouched_by: &'a str,
    pub(crate) node: &'a str,
    pub(crate) node_id: &'a str,
    pub(crate) node_uri: &'a str,
    /// From when on the answer counts no more.
    pub(crate) ends: UnixSeconds,
    /// Who is signed in.
    pub(crate) person: &'a str,
}

/// After the decision.
#[derive(Template)]
#[template(path = "approval_done.html")]
pub(crate) struct ApprovalDone<'a> {
    pub(crate) page: Page<'a>,
    pub(crate) is_approved: bool,
    pub(crate) tool: &'a str,
}

/// Text of a node or a token, with what cannot be seen, or changes how its neighbours read, written out.
pub(crate) fn visible(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    text.chars().for_each(|c| push_visible(&mut shown, c));
    shown
}

fn push_visible(text: &mut String, c: char) {
    if crate::client::metadata::is_invisible(c) {
        text.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
    } else {
        text.push(c);
    }
}

/// JSON with line breaks for people. Only white space is added between its tokens, so that nothing else is approved than
/// what is shown. What could change how a line reads (direction marks, invisible letters) is shown as an escape.
pub(crate) fn indented(json: &str) -> String {
    let mut text = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let (mut in_string, mut is_escaped) = (false, false);
    let mut characters = json.chars().peekable();
    let line = |text: &mut String, depth: usize| {
        text.push('\n');
        text.push_str(&"  ".repeat(depth.min(32)));
    };
    while let Some(c) = characters.next() {
        if in_string {
            in_string = is_escaped || c != '"';
            is_escaped = !is_escaped && c == '\\';
            push_visible(&mut text, c);
            continue;
        }
        match c {
            '"' => {
                in_string = true;
                text.push(c);
            }
            '{' | '[' => {
                text.push(c);
                match characters.peek() {
                    Some(&end @ ('}' | ']')) => {
                        characters.next();
                        text.push(end);
                    }
                    _ => {
                        depth += 1;
                        line(&mut text, depth);
                    }
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut text, depth);
                text.push(c);
            }
            ',' => {
                text.push(c);
                line(&mut text, depth);
            }
            ':' => text.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_white_space_comes_between_tokens() {
        assert_eq!(
            indented(r#"{"a":[1,{"b":{}}],"c":"x{,:\"[ y\\"}"#),
            "{\n  \"a\": [\n    1,\n    {\n      \"b\": {}\n    }\n  ],\n  \"c\": \"x{,:\\\"[ y\\\\\"\n}"
        );
        assert_eq!(indented("{}"), "{}");
    }

    #[test]
    fn nothing_changes_how_a_line_reads() {
        let shown = indented("{\"path\":\"a\u{202e}b\u{200b}c\"}");
        assert_eq!(shown, "{\n  \"path\": \"a\\u{202e}b\\u{200b}c\"\n}");
        assert_eq!(visible("Deletes\u{202e} ñ"), "Deletes\\u{202e} ñ");
    }
}
