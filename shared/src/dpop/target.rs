//! What `htu` must name: the address of a request as its sender sees it, without query and fragment, compared after
//! the normalisations of RFC 3986 §6.2.2 and §6.2.3 (RFC 9449 §4.3, item 9).

use url::Url;

/// The address of a request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Target(String);

impl Target {
    /// `path` at the origin of `base`. Both are ours; the path may be a client's spelling of one.
    pub fn at(base: &Url, path: &str) -> Self {
        let origin = base.origin().ascii_serialization();
        Self(normal(&format!("{origin}{path}")).unwrap_or_default())
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `htu` is this address.
    pub(super) fn is_named_by(&self, htu: &str) -> bool {
        !self.0.is_empty() && normal(htu).as_deref() == Some(&*self.0)
    }
}

/// Scheme and host in lower case, no default port, no dot segments (all by the URL parser); no query, no fragment;
/// escapes in upper case, and none for characters that need none.
fn normal(address: &str) -> Option<String> {
    // URL parsers repair these, each in its own way.
    if address.bytes().any(|b| b <= b' ' || b == b'\\' || b >= 0x7f) {
        return None;
    }
    let url = Url::parse(address).ok()?;
    let is_web = matches!(url.scheme(), "https" | "http");
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    let path = normal_escapes(url.path());
    Some(format!("{}{path}", url.origin().ascii_serialization()))
}

/// RFC 3986 §6.2.2.1 and §6.2.2.2.
fn normal_escapes(path: &str) -> String {
    let mut normal = String::with_capacity(path.len());
    let mut rest = path;
    while let Some((before, after)) = rest.split_once('%') {
        normal.push_str(before);
        let escaped = after
            .get(..2)
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match escaped {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                normal.push(char::from(byte));
                rest = &after[2..];
            }
            Some(byte) => {
                normal.push_str(&format!("%{byte:02X}"));
                rest = &after[2..];
            }
            None => {
                normal.push('%');
                rest = after;
            }
        }
    }
    normal.push_str(rest);
    normal
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Target {
        Target::at(&"https://rs.example/ignored".parse().unwrap(), path)
    }

    #[test]
    fn spellings_of_one_address_are_one() {
        for htu in [
            "https://rs.example/mcp",
            "HTTPS://RS.Example/mcp",
            "https://rs.example:443/mcp",
            "https://rs.example/mcp?x=1#y",
            "https://rs.example/a/../mcp",
            "https://rs.example/%6d%63%70",
        ] {
            assert!(target("/mcp").is_named_by(htu), "{htu}");
        }
        assert!(target("/").is_named_by("https://rs.example"));
        assert!(target("/r/edge%3a%2F").is_named_by("https://rs.example/r/edge%3A%2f"));
        assert!(target("/mcp?x").is_named_by("https://rs.example/mcp"));
    }

    #[test]
    fn other_addresses_are_others() {
        for htu in [
            "",
            "/mcp",
            "rs.example/mcp",
            "http://rs.example/mcp",
            "https://rs.example:8443/mcp",
            "https://rs.example.evil/mcp",
            "https://evil@rs.example/mcp",
            "https://rs.example/mcp/",
            "https://rs.example/MCP",
            "https://rs.example\\mcp",
            " https://rs.example/mcp",
            "https://rs.example/m\ncp",
            "https://rs.example/mcp%2f",
            "ftp://rs.example/mcp",
        ] {
            assert!(!target("/mcp").is_named_by(htu), "{htu}");
        }
        // An escaped slash divides nothing.
        assert!(!target("/r/a/b").is_named_by("https://rs.example/r/a%2Fb"));
        // Half an escape is what it is.
        assert!(target("/r/%4").is_named_by("https://rs.example/r/%4"));
        assert!(!target("/r/%4").is_named_by("https://rs.example/r/%40"));
    }
}
