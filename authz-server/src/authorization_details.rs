//! Authorization details (RFC 9396): what a client asks for beyond scopes, as a JSON list of objects.
//!
//! What the members of a type mean is between client and resource. This server knows the common ones (§2.2), lets
//! each type through only where the resource has it and the client may ask for it, shows all of it to the person, and
//! never adds to what was granted.

use serde_json::{Map, Value};
use shared::json;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::scope::Scope;
use shared::uri::ResourceUri;

use crate::client::Client;
use crate::db::DbFault;
use crate::registry::Resource;

/// Longest list, as text.
const MAX_BYTES: usize = 4096;
/// Most elements: a person reads each of them.
const MAX_ELEMENTS: usize = 16;
/// Most bytes of a list and a scope together: a longer token is refused by nodes
/// ([`shared::access_token::MAX_TOKEN_BYTES`]).
const MAX_WITH_SCOPE: usize = 4608;
/// Longest name of a type.
const MAX_TYPE: usize = 128;
/// The common members that are lists of strings (RFC 9396 §2.2).
pub(crate) const LISTS: [&str; 4] = ["locations", "actions", "datatypes", "privileges"];
/// The common member that is a string.
pub(crate) const IDENTIFIER: &str = "identifier";

/// One element: an object with a type.
pub(crate) type Element = Map<String, Value>;

/// A list that is not empty.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct AuthorizationDetails(Vec<Element>);

impl AuthorizationDetails {
    /// Reads what `client` asks for at `resource`, with `scope` beside it.
    pub(crate) fn ask(
        text: &str,
        (client, resource): (&Client, &Resource),
        scope: &Scope,
    ) -> Result<Self, OAuthError> {
        check_bytes(text)?;
        let asked = Self::read(text)?;
        // What is kept is not what came: a number may be longer when it is written again.
        check_bytes(&asked.text())?;
        if let Some(other) = asked.0.iter().find(|one| !may_ask(one, client, resource)) {
            let refusal = refused("this client may not ask for that type at this resource");
            return Err(refusal.because(format!("the type is {}", kind(other))));
        }
        let is_here = |location: &Value| {
            let uri = location
                .as_str()
                .and_then(|text| text.parse::<ResourceUri>().ok());
            uri.is_some_and(|uri| uri.lookup_key() == resource.lookup_key)
        };
        let locations = asked.0.iter().filter_map(|one| one.get("locations"));
        if !locations.filter_map(Value::as_array).flatten().all(is_here) {
            // The token is for that resource alone (RFC 8707 §2).
            return Err(refused("locations may name the resource of the token only"));
        }
        asked.check_length(scope)?;
        Ok(asked)
    }

    /// A list as it was stored. How long it may be was asked before it was.
    pub(crate) fn stored(text: &str) -> Result<Self, DbFault> {
        Self::read(text)
            .map_err(|_| DbFault::Unexpected("stored authorization details are damaged".to_owned()))
    }

    /// What of a stored grant is left for a request: it may narrow the list, element by element, and never widen it
    /// (RFC 9396 §6); and what resource or client have lost meanwhile is lost here too.
    pub(crate) fn left(
        granted: Option<&str>,
        asked: Option<&str>,
        (client, resource): (&Client, &Resource),
        scope: &Scope,
    ) -> Result<Option<Self>, crate::error::Failure> {
        let asked = asked.map(|text| check_bytes(text).and_then(|()| Self::read(text)));
        let asked = asked.transpose()?;
        let granted = granted.map(Self::stored).transpose()?;
        let given = granted.as_ref().map_or(&[][..], |granted| &granted.0);
        if let Some(asked) = &asked
            && !asked.0.iter().all(|one| given.contains(one))
        {
            return Err(refused("the authorization details exceed what was granted").into());
        }
        let is_wanted = |one: &Element| asked.as_ref().is_none_or(|asked| asked.0.contains(one));
        // As they were granted, however the request spells them.
        let still_allowed = given
            .iter()
            .filter(|one| is_wanted(one) && may_ask(one, client, resource));
        let left = Self(still_allowed.cloned().collect());
        if left.0.is_empty() {
            return match asked {
                Some(_) => Err(refused("nothing of these authorization details is allowed any more").into()),
                None => Ok(None),
            };
        }
        left.check_length(scope)?;
        Ok(Some(left))
    }

    /// Whether all of it may still be asked for.
    pub(crate) fn is_allowed(&self, client: &Client, resource: &Resource) -> bool {
        self.0.iter().all(|one| may_ask(one, client, resource))
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Element> {
        self.0.iter()
    }

    /// The list as a token carries it.
    pub(crate) fn value(&self) -> Value {
        Value::Array(self.0.iter().cloned().map(Value::Object).collect())
    }

    /// The list as it is stored.
    pub(crate) fn text(&self) -> String {
        self.value().to_string()
    }

    /// Strictly: a member that stands twice could be granted in one reading and used in the other.
    fn read(text: &str) -> Result<Self, OAuthError> {
        let broken = || refused("authorization_details must be a JSON list of objects with a type");
        let value = json::value(text.as_bytes()).map_err(|fault| broken().because(fault.to_string()))?;
        let Value::Array(list) = value else {
            return Err(broken());
        };
        if list.is_empty() || list.len() > MAX_ELEMENTS {
            return Err(refused("the list must have 1 to 16 elements"));
        }
        let mut elements = Vec::new();
        for element in list {
            let Value::Object(element) = element else {
                return Err(broken());
            };
            check_members(&element)?;
            elements.push(element);
        }
        Ok(Self(elements))
    }

    fn check_length(&self, scope: &Scope) -> Result<(), OAuthError> {
        if self.text().len() + scope.to_string().len() > MAX_WITH_SCOPE {
            return Err(refused("scope and authorization details make the token too long"));
        }
        Ok(())
    }
}

fn check_bytes(text: &str) -> Result<(), OAuthError> {
    if text.len() > MAX_BYTES {
        return Err(refused("the authorization details are too long"));
    }
    Ok(())
}

/// The type of an element.
pub(crate) fn kind(element: &Element) -> &str {
    element.get("type").and_then(Value::as_str).unwrap_or_default()
}

/// Whether `name` can be the name of a type: visible ASCII, so that it can stand in a list of words.
pub(crate) fn is_type_name(name: &str) -> bool {
    (1..=MAX_TYPE).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
}

fn may_ask(element: &Element, client: &Client, resource: &Resource) -> bool {
    let kind = kind(element);
    let names = |list: &[String]| list.iter().any(|known| known == kind);
    names(&resource.authorization_details_types) && names(&client.details.authorization_details_types)
}

fn check_members(element: &Element) -> Result<(), OAuthError> {
    if !is_type_name(kind(element)) {
        return Err(refused("every authorization detail needs a type"));
    }
    let is_list_of_text = |value: &Value| {
        value
            .as_array()
            .is_some_and(|list| list.iter().all(Value::is_string))
    };
    let lists = LISTS.iter().filter_map(|name| element.get(*name));
    let mut identifiers = element.get(IDENTIFIER).into_iter();
    if !lists.into_iter().all(is_list_of_text) || !identifiers.all(Value::is_string) {
        return Err(refused(
            "a common member of the authorization details has the wrong form",
        ));
    }
    if !element.iter().all(|(name, value)| is_plain(name) && shows(value)) {
        return Err(refused(
            "the authorization details contain characters that cannot be shown",
        ));
    }
    Ok(())
}

/// Whether a person sees all of `value`, in the order in which it is written.
fn shows(value: &Value) -> bool {
    match value {
        Value::String(text) => is_plain(text),
        Value::Array(list) => list.iter().all(shows),
        Value::Object(members) => members.iter().all(|(name, value)| is_plain(name) && shows(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => true,
    }
}

/// No control characters and none that turn the direction of writing, hide or join (Unicode TR 36 §2.5).
fn is_plain(text: &str) -> bool {
    let hides = |c: char| {
        matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    !text.chars().any(|c| c.is_control() || hides(c))
}

/// RFC 9396 §5.
fn refused(sentence: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidAuthorizationDetails, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Failure;
    use crate::token::testing;

    fn client(types: &[&str]) -> Client {
        let mut client = testing::client("authorization_code", "a");
        client.details.authorization_details_types = types.iter().map(|&name| name.to_owned()).collect();
        client
    }

    fn resource(types: &[&str]) -> Resource {
        Resource {
            authorization_details_types: types.iter().map(|&name| name.to_owned()).collect(),
            ..testing::resource("a")
        }
    }

    fn ask(text: &str) -> Result<AuthorizationDetails, String> {
        let (client, resource) = (client(&["call", "other"]), resource(&["call", "file"]));
        AuthorizationDetails::ask(text, (&client, &resource), &"a".parse().unwrap()).map_err(|refusal| {
            assert_eq!(refusal.code, ErrorCode::InvalidAuthorizationDetails);
            refusal.description.to_string()
        })
    }

    fn left(granted: Option<&str>, asked: Option<&str>, known: &[&str]) -> Result<Option<String>, ErrorCode> {
        let (client, resource) = (client(&["call", "file"]), resource(known));
        let scope = "a".parse().unwrap();
        match AuthorizationDetails::left(granted, asked, (&client, &resource), &scope) {
            Ok(left) => Ok(left.map(|left| left.text())),
            Err(Failure::Refused(refusal)) => Err(refusal.code),
            Err(other) => panic!("{other}"),
        }
    }

    #[test]
    fn a_list_of_objects_whose_types_both_sides_know() {
        let text = r#"[{"type":"call","actions":["a"],"identifier":"x","locations":["https://RS/mcp"],"limit":{"eur":1.5}}]"#;
        let asked = ask(text).unwrap();
        assert_eq!(AuthorizationDetails::stored(&asked.text()).unwrap(), asked);
        for unknown in [
            r#"[{"type":"file"}]"#,
            r#"[{"type":"other"}]"#,
            r#"[{"type":"call"},{"type":"Call"}]"#,
        ] {
            assert_eq!(
                ask(unknown).unwrap_err(),
                "this client may not ask for that type at this resource"
            );
        }
        assert_eq!(
            ask(r#"[{"type":"call","locations":["https://rs/mcp","https://other/mcp"]}]"#).unwrap_err(),
            "locations may name the resource of the token only"
        );
    }

    #[test]
    fn what_reads_in_two_ways_or_not_at_all_is_refused() {
        for text in [
            "",
            "{}",
            "[]",
            "[1]",
            "[{}]",
            r#"[{"type":7}]"#,
            r#"[{"type":""}]"#,
            r#"[{"type":"call","type":"call"}]"#,
            r#"[{"type":"call","x":{"a":1,"a":2}}]"#,
            r#"[{"type":"call"}] x"#,
            r#"[{"type":"call","actions":"a"}]"#,
            r#"[{"type":"call","actions":[1]}]"#,
            r#"[{"type":"call","identifier":1}]"#,
            "[{\"type\":\"call\",\"x\":\"pay\u{202e}001\"}]",
            r#"[{"type":"call","x":["a\nb"]}]"#,
            "[{\"type\":\"call\",\"\u{200b}x\":1}]",
        ] {
            assert!(ask(text).is_err(), "{text}");
        }
        let many = format!("[{}]", vec![r#"{"type":"call"}"#; 17].join(","));
        assert_eq!(ask(&many).unwrap_err(), "the list must have 1 to 16 elements");
        let long = format!(r#"[{{"type":"call","x":"{}"}}]"#, "x".repeat(4096));
        assert_eq!(ask(&long).unwrap_err(), "the authorization details are too long");
    }

    #[test]
    fn a_list_is_measured_as_it_is_kept() {
        let numbers =
            |count: usize| format!(r#"[{{"type":"call","n":[{}]}}]"#, vec!["1e15"; count].join(","));
        let (short, long) = (numbers(200), numbers(700));
        assert!(long.len() < MAX_BYTES);
        assert_eq!(ask(&long).unwrap_err(), "the authorization details are too long");
        let kept = ask(&short).unwrap();
        assert!(kept.text().len() > 3 * short.len());
        assert_eq!(AuthorizationDetails::stored(&kept.text()).unwrap(), kept);
        // Whatever an older rule let in can still be read.
        let older = numbers(5000);
        assert!(AuthorizationDetails::stored(&older).is_ok());
    }

    #[test]
    fn a_list_is_narrowed_by_everyone_and_widened_by_nobody() {
        let (one, two) = (r#"{"type":"call","n":1}"#, r#"{"type":"file"}"#);
        let (both, first) = (format!("[{one},{two}]"), format!("[{one}]"));
        let all = ["call", "file"];
        let sorted = |text: &str| Some(AuthorizationDetails::stored(text).unwrap().text());
        assert_eq!(left(Some(&both), None, &all).unwrap(), sorted(&both));
        assert_eq!(left(Some(&both), Some(&first), &all).unwrap(), sorted(&first));
        // The order of members says nothing.
        assert_eq!(
            left(Some(&both), Some(r#"[{"n":1,"type":"call"}]"#), &all).unwrap(),
            sorted(&first)
        );
        assert_eq!(left(Some(&both), None, &["call"]).unwrap(), sorted(&first));
        assert_eq!(left(Some(&both), None, &[]).unwrap(), None);
        assert_eq!(left(None, None, &all).unwrap(), None);
        let refused = Err(ErrorCode::InvalidAuthorizationDetails);
        assert_eq!(left(None, Some(&first), &all), refused);
        assert_eq!(left(Some(&first), Some(&both), &all), refused);
        assert_eq!(
            left(Some(&both), Some(r#"[{"type":"call","n":2}]"#), &all),
            refused
        );
        assert_eq!(left(Some(&both), Some(&format!("[{two}]")), &["call"]), refused);
    }
}
