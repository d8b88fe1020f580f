//! Forms out of a page: a small tolerant scanner, enough for pages that are well formed.

/// A form of a page with what a browser would send for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Form {
    /// Where it goes, as written.
    pub action: String,
    /// `get` or `post`, in lower case.
    pub method: String,
    /// Names and values that are sent when nobody touches it: hidden and prefilled fields, what is checked or selected.
    pub fields: Vec<(String, String)>,
    /// Every name that can be sent, with the values that the page offers for it (empty for free text).
    pub offers: Vec<(String, String)>,
    /// Names and values of its buttons.
    pub buttons: Vec<(String, String)>,
}

impl Form {
    /// The value that is sent for `name` when nobody touches it.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(known, _)| known == name);
        field.map(|(_, value)| value.as_str())
    }

    /// Whether the page lets a person send this name with this value.
    #[must_use]
    pub fn offers(&self, name: &str, value: &str) -> bool {
        let both = self.offers.iter().chain(&self.buttons);
        both.into_iter()
            .any(|(known, offered)| known == name && offered == value)
    }
}

/// Every form of a page, in order.
#[must_use]
pub fn forms(html: &str) -> Vec<Form> {
    let mut forms = Vec::new();
    let mut open: Option<Form> = None;
    let mut select: Option<(String, bool)> = None;
    for tag in tags(html) {
        match (tag.name.as_str(), &mut open) {
            ("form", _) => {
                open = Some(Form {
                    action: tag.get("action").unwrap_or_default(),
                    method: tag.get("method").unwrap_or_else(|| "get".into()).to_lowercase(),
                    fields: Vec::new(),
                    offers: Vec::new(),
                    buttons: Vec::new(),
                });
            }
            ("/form", form) => forms.extend(form.take()),
            ("input", Some(form)) => input(form, &tag),
            ("textarea", Some(form)) => {
                let name = tag.get("name").unwrap_or_default();
                form.offers.push((name.clone(), String::new()));
                form.fields.push((name, String::new()));
            }
            ("button", Some(form)) => {
                if let Some(name) = tag.get("name") {
                    form.buttons.push((name, tag.get("value").unwrap_or_default()));
                }
            }
            ("select", Some(_)) => select = tag.get("name").map(|name| (name, false)),
            ("/select", Some(_)) => select = None,
            ("option", Some(form)) => {
                if let Some((name, chosen)) = &mut select {
                    let value = tag.get("value").unwrap_or_default();
                    form.offers.push((name.clone(), value.clone()));
                    // The first option counts unless another one is marked.
                    if tag.get("selected").is_some() && *chosen {
                        form.fields.retain(|(known, _)| known != name);
                        *chosen = false;
                    }
                    if !*chosen {
                        form.fields.push((name.clone(), value));
                        *chosen = true;
                    }
                }
            }
            _ => {}
        }
    }
    forms
}

fn input(form: &mut Form, tag: &Tag) {
    let Some(name) = tag.get("name") else { return };
    let kind = tag.get("type").unwrap_or_else(|| "text".into()).to_lowercase();
    let is_choice = kind == "radio" || kind == "checkbox";
    let value = tag
        .get("value")
        .unwrap_or_else(|| if is_choice { "on".into() } else { String::new() });
    if kind == "submit" {
        form.buttons.push((name, value));
        return;
    }
    form.offers.push((name.clone(), value.clone()));
    if !is_choice || tag.get("checked").is_some() {
        form.fields.push((name, value));
    }
}

struct Tag {
    name: String,
    attributes: Vec<(String, String)>,
}

impl Tag {
    fn get(&self, name: &str) -> Option<String> {
        let found = self.attributes.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.clone())
    }
}

fn tags(html: &str) -> Vec<Tag> {
    let mut tags = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        if rest.starts_with("!--") {
            rest = rest.find("-->").map_or("", |end| &rest[end + 3..]);
            continue;
        }
        if !rest.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/') {
            continue;
        }
        let (tag, after) = tag(rest);
        rest = after;
        tags.push(tag);
    }
    tags
}

/// Reads one tag; `text` begins after its `<`.
fn tag(text: &str) -> (Tag, &str) {
    let end = text
        .find(|c: char| c.is_whitespace() || c == '>')
        .unwrap_or(text.len());
    let name = text[..end].trim_end_matches('/').to_lowercase();
    let name = if text.starts_with('/') {
        text[..end].to_lowercase()
    } else {
        name
    };
    let mut rest = &text[end..];
    let mut attributes = Vec::new();
    loop {
        rest = rest.trim_start_matches(|c: char| c.is_whitespace() || c == '/');
        if rest.is_empty() {
            break;
        }
        if let Some(after) = rest.strip_prefix('>') {
            rest = after;
            break;
        }
        let end = rest
            .find(|c: char| c.is_whitespace() || matches!(c, '=' | '>'))
            .unwrap_or(rest.len());
        // A stray `=` must not hold the scanner up.
        let end = if end == 0 {
            rest.chars().next().map_or(0, char::len_utf8)
        } else {
            end
        };
        let key = rest[..end].to_lowercase();
        rest = rest[end..].trim_start();
        let mut value = String::new();
        if let Some(after) = rest.strip_prefix('=') {
            (value, rest) = attribute(after.trim_start());
        }
        attributes.push((key, unescape(&value)));
    }
    (Tag { name, attributes }, rest)
}

fn attribute(text: &str) -> (String, &str) {
    for quote in ['"', '\''] {
        if let Some(inner) = text.strip_prefix(quote) {
            let end = inner.find(quote).unwrap_or(inner.len());
            return (inner[..end].into(), inner.get(end + 1..).unwrap_or_default());
        }
    }
    let end = text
        .find(|c: char| c.is_whitespace() || c == '>')
        .unwrap_or(text.len());
    (text[..end].into(), &text[end..])
}

/// Character references as an escaping template writes them.
#[must_use]
pub fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        plain.push_str(&rest[..at]);
        rest = &rest[at..];
        let known = rest
            .find(';')
            .and_then(|end| Some((character(&rest[1..end])?, end)));
        if let Some((character, end)) = known {
            plain.push(character);
            rest = &rest[end + 1..];
        } else {
            plain.push('&');
            rest = &rest[1..];
        }
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    let number = |digits: &str, radix| char::from_u32(u32::from_str_radix(digits, radix).ok()?);
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => match name.strip_prefix('#')? {
            hex if hex.starts_with(['x', 'X']) => number(&hex[1..], 16),
            digits => number(digits, 10),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_as_a_browser_reads_it() {
        let html = r#"<!-- <form action="/no"> --><p>1 < 2</p>
            <form method="POST" action="/consent?a=1&amp;b=2">
            <input type=hidden name=csrf value='t&#x27;"'>
            <input name="note" value="x &lt; y" required/>
            <input type="radio" name="duration" value="day"><input type="radio" name="duration" value="month" checked>
            <input type="checkbox" name="remember" value="yes">
            <select name="lang"><option value="en">E</option><option selected value="es">S</option></select>
            <button name="decision" value="allow">Allow</button><button>Plain</button></form>
            <form action="/logout"></form>"#;
        let forms = forms(html);
        assert_eq!(forms.len(), 2);
        let form = &forms[0];
        assert_eq!((&*form.action, &*form.method), ("/consent?a=1&b=2", "post"));
        assert_eq!(form.value("csrf"), Some("t'\""));
        assert_eq!(form.value("note"), Some("x < y"));
        assert_eq!(form.value("duration"), Some("month"));
        assert_eq!(form.value("remember"), None);
        assert_eq!(form.value("lang"), Some("es"));
        assert!(form.offers("remember", "yes") && form.offers("decision", "allow"));
        assert!(!form.offers("decision", "deny"));
        assert_eq!((&*forms[1].action, &*forms[1].method), ("/logout", "get"));
    }

    #[test]
    fn no_page_holds_the_scanner_up() {
        for html in [
            "<",
            "<form",
            "<form =",
            "<form a=\"",
            "<input = = >",
            "</",
            "<!--",
            "<form><input name=&>",
        ] {
            assert!(forms(html).is_empty() || html.contains("</form>"), "{html}");
        }
    }
}
