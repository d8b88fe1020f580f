//! Redirect URIs: which ones may be registered, and which request fits a registered one.
//!
//! They are compared as text (OAuth 2.1 §2.3.1). Nothing is parsed, decoded or put in normal form: two programs that
//! read one URL in two ways are how codes end up elsewhere. The one exception is the port of a loopback address,
//! which a native program learns only when it listens (RFC 8252 §7.3).

use url::{Host, Url};

/// Longest redirect URI.
pub(crate) const MAX_BYTES: usize = 2000;
/// Most redirect URIs of one client.
pub(crate) const MAX_COUNT: usize = 32;

/// How a loopback address may be spelled, exactly.
const LOOPBACK: [&str; 3] = ["127.0.0.1", "[::1]", "localhost"];
/// Private-use schemes without a dot that programs in wide use have all the same (RFC 8252 §7.1 asks for one).
const KNOWN_SCHEMES: [&str; 1] = ["cursor"];
/// Parameters that an answer adds; one that stood there already would be read instead (RFC 6749 §4.1.2, RFC 9207).
const ANSWERS: [&str; 6] = ["code", "state", "iss", "error", "error_description", "error_uri"];

/// Why a redirect URI cannot be registered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum RedirectUriFault {
    #[error("it is not an absolute URI of at most 2000 bytes")]
    NotAbsolute,
    #[error("it has a character that programs read in different ways")]
    Character,
    #[error("it has a fragment")]
    Fragment,
    #[error("it has a user name in front of the host")]
    UserInfo,
    #[error("it has a . or .. segment")]
    DotSegment,
    #[error("it must be https, http to 127.0.0.1, [::1] or localhost, or a scheme with a dot in it")]
    Scheme,
    #[error("its query has a parameter that answers add: code, state, iss or error")]
    Parameter,
}

/// Whether `text` may be registered.
pub(crate) fn check(text: &str) -> Result<(), RedirectUriFault> {
    // RFC 3986 §2 without what some parsers repair: backslash, quotes, brackets of other kinds, anything not ASCII.
    let plain = |b: u8| b.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&b);
    if !text.bytes().all(plain) {
        return Err(RedirectUriFault::Character);
    }
    if text.contains('#') {
        return Err(RedirectUriFault::Fragment);
    }
    let url = Url::parse(text).map_err(|_| RedirectUriFault::NotAbsolute)?;
    let (scheme, rest) = text.split_once(':').ok_or(RedirectUriFault::NotAbsolute)?;
    if text.len() > MAX_BYTES || rest.is_empty() {
        return Err(RedirectUriFault::NotAbsolute);
    }
    let (before_query, query) = rest.split_once('?').unwrap_or((rest, ""));
    let authority = before_query
        .strip_prefix("//")
        .map(|rest| rest.split('/').next().unwrap_or_default());
    if authority.is_some_and(|authority| authority.contains('@')) {
        return Err(RedirectUriFault::UserInfo);
    }
    check_scheme(scheme, authority, &url)?;
    if before_query.split('/').any(is_dot_segment) {
        return Err(RedirectUriFault::DotSegment);
    }
    let mut names = query
        .split('&')
        .map(|pair| pair.split('=').next().unwrap_or_default());
    // Decoded, since whoever reads the answer decodes too.
    if names.any(|name| match crate::params::decode(name.as_bytes()) {
        Ok(name) => ANSWERS.contains(&&*name),
        Err(_) => true,
    }) {
        return Err(RedirectUriFault::Parameter);
    }
    Ok(())
}

/// https anywhere, http on loopback, or a private-use scheme that a program can own (RFC 8252 §7.1). Everything else,
/// `javascript:` and `data:` above all, runs or reads something in the browser.
fn check_scheme(scheme: &str, authority: Option<&str>, url: &Url) -> Result<(), RedirectUriFault> {
    let allowed = match scheme {
        "https" => authority.is_some_and(|authority| !authority.is_empty()) && url.has_host(),
        "http" => authority.is_some_and(|authority| {
            LOOPBACK.iter().any(|host| {
                let port = authority.strip_prefix(host);
                port.is_some_and(|port| port.is_empty() || is_port(port))
            })
        }),
        private => {
            let written = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+-.".contains(&b);
            let has_dot = private.split('.').count() > 1 && private.split('.').all(|label| !label.is_empty());
            private.bytes().all(written) && (has_dot || KNOWN_SCHEMES.contains(&private))
        }
    };
    if allowed {
        Ok(())
    } else {
        Err(RedirectUriFault::Scheme)
    }
}

fn is_dot_segment(segment: &str) -> bool {
    let decoded = segment.to_ascii_lowercase().replace("%2e", ".");
    decoded == "." || decoded == ".."
}

/// Whether a request for `requested` may be answered at it, given that `registered` is registered.
pub(crate) fn matches(registered: &str, requested: &str) -> bool {
    if registered == requested {
        return true;
    }
    match (loopback(registered), loopback(requested)) {
        (Some(known), Some(asked)) => known == asked,
        _ => false,
    }
}

/// Whether the answer only reaches a program on the same machine (RFC 8252 §7.3).
pub(crate) fn is_loopback(uri: &str) -> bool {
    loopback(uri).is_some()
}

/// The host word and everything behind the port of a plain http loopback URI.
fn loopback(uri: &str) -> Option<(&str, &str)> {
    let rest = uri.strip_prefix("http://")?;
    let host = LOOPBACK.iter().find(|host| rest.starts_with(**host))?;
    let rest = &rest[host.len()..];
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (port, rest) = rest.split_at(end);
    (port.is_empty() || is_port(port)).then_some((*host, rest))
}

/// `:` and a port that can be listened on.
fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|digits| {
        digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok_and(|port| port > 0)
    })
}

/// Where an answer goes, as people read it: the host with its port, or the scheme of a program.
pub(crate) fn shown(uri: &str) -> String {
    let Ok(url) = Url::parse(uri) else {
        return String::new();
    };
    match (url.scheme(), url.host(), url.port()) {
        ("https" | "http", Some(host), Some(port)) => format!("{}:{port}", text_of(&host)),
        ("https" | "http", Some(host), None) => text_of(&host),
        (scheme, ..) => format!("{scheme}:"),
    }
}

fn text_of(host: &Host<&str>) -> String {
    host.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_registered() {
        for good in [
            "https://client.example/cb",
            "https://client.example:8443/cb?tenant=a&x",
            "https://client.example",
            "http://127.0.0.1/cb",
            "http://127.0.0.1:33418/",
            "http://localhost:6274/oauth/callback",
            "http://[::1]:1/cb",
            "com.example.app:/cb",
            "cursor://anysphere.cursor-mcp/oauth/callback",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
    }

    #[test]
    fn what_may_not() {
        use RedirectUriFault::{Character, DotSegment, Fragment, NotAbsolute, Parameter, Scheme, UserInfo};
        for (bad, fault) in [
            ("/cb", NotAbsolute),
            ("client.example/cb", NotAbsolute),
            ("https://client.example/cb#f", Fragment),
            ("https://client.example/cb#", Fragment),
            ("https://client.example@evil.example/cb", UserInfo),
            ("https://u:p@client.example/cb", UserInfo),
            ("http://127.0.0.1:80@evil.example/cb", UserInfo),
            ("https://client.example\\@evil.example/cb", Character),
            ("https://client.example/c b", Character),
            ("https://client.example/c\tb", Character),
            ("https://client.example/cb\r\n", Character),
            ("https://clïent.example/cb", Character),
            ("https://client.example/*/../cb", DotSegment),
            ("https://client.example/./cb", DotSegment),
            ("https://client.example/%2e%2E/cb", DotSegment),
            ("https://client.example/.%2e", DotSegment),
            ("http://client.example/cb", Scheme),
            ("http://127.0.0.1.evil.example/cb", Scheme),
            ("http://127.0.0.2/cb", Scheme),
            ("http://0.0.0.0/cb", Scheme),
            ("http://127.0.0.1:0/cb", Scheme),
            ("http://127.0.0.1:65536/cb", NotAbsolute),
            ("http://LOCALHOST/cb", Scheme),
            ("HTTPS://client.example/cb", Scheme),
            ("javascript:alert(1)", Scheme),
            ("JavaScript:alert(1)", Scheme),
            ("data:text/html,x", Scheme),
            ("file:///etc/passwd", Scheme),
            ("vbscript:x", Scheme),
            ("blob:https://client.example/x", Scheme),
            ("about:blank", Scheme),
            ("myapp:/cb", Scheme),
            ("https:///cb", Scheme),
            ("https:client.example/cb", Scheme),
            ("https://client.example/cb?code=x", Parameter),
            ("https://client.example/cb?a=1&st%61te=x", Parameter),
            ("https://client.example/cb?iss", Parameter),
            ("https://client.example/cb?error=x", Parameter),
            ("https://client.example/cb?a%zz=1", Parameter),
        ] {
            assert_eq!(check(bad), Err(fault), "{bad}");
        }
        let long = format!("https://client.example/{}", "a".repeat(MAX_BYTES));
        assert_eq!(check(&long), Err(NotAbsolute));
    }

    #[test]
    fn every_byte_counts() {
        let registered = "https://client.example/cb?tenant=a";
        assert!(matches(registered, registered));
        for other in [
            "https://client.example/cb",
            "https://client.example/cb?tenant=a&x=1",
            "https://client.example/cb?tenant=a&code=x",
            "https://client.example/cb?tenant=A",
            "https://client.example:443/cb?tenant=a",
            "https://client.example./cb?tenant=a",
            "https://CLIENT.example/cb?tenant=a",
            "https://client.example/cb/?tenant=a",
            "https://client.example/cb?tenant=a#",
            "https://client.example.evil/cb?tenant=a",
            "https://client.example@evil.example/cb?tenant=a",
            "https://client.example//evil.example/cb?tenant=a",
            "http://client.example/cb?tenant=a",
        ] {
            assert!(!matches(registered, other), "{other}");
        }
    }

    #[test]
    fn on_loopback_the_port_alone_may_differ() {
        for registered in ["http://127.0.0.1/cb", "http://127.0.0.1:1234/cb"] {
            for same in [
                "http://127.0.0.1/cb",
                "http://127.0.0.1:1/cb",
                "http://127.0.0.1:65535/cb",
            ] {
                assert!(matches(registered, same), "{registered} {same}");
            }
            for other in [
                "http://127.0.0.1:1/cb2",
                "http://127.0.0.1:1/",
                "http://127.0.0.1:1/cb?x",
                "http://127.0.0.1:1/cb#x",
                "http://localhost:1/cb",
                "http://[::1]:1/cb",
                "http://127.0.0.2:1/cb",
                "http://0.0.0.0:1/cb",
                "http://127.0.0.1:80@evil.example/cb",
                "http://127.0.0.1@evil.example/cb",
                "http://127.0.0.1.evil.example/cb",
                "http://127.0.0.1:0/cb",
                "http://127.0.0.1:/cb",
                "http://127.0.0.1:+80/cb",
                "http://127.0.0.1:65536/cb",
                "https://127.0.0.1:1/cb",
                "http://127.0.0.1:1\\@evil.example/cb",
            ] {
                assert!(!matches(registered, other), "{registered} {other}");
            }
        }
        assert!(matches("http://[::1]/cb", "http://[::1]:8080/cb"));
        assert!(matches("http://localhost/cb?a=1", "http://localhost:8080/cb?a=1"));
    }

    #[test]
    fn people_read_a_host() {
        for (uri, text) in [
            ("https://client.example/cb", "client.example"),
            ("https://client.example:8443/cb", "client.example:8443"),
            ("http://[::1]:9/cb", "[::1]:9"),
            ("com.example.app:/cb", "com.example.app:"),
        ] {
            assert_eq!(shown(uri), text);
        }
    }
}
