//! Addresses as a browser reads them.

use xtask::http::Url;

/// The parameters of an address's query, decoded, in order.
#[must_use]
pub fn query(url: &str) -> Vec<(String, String)> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('#').next().unwrap_or_default();
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .map(|(name, value)| (decode(name), decode(value)))
        .collect()
}

/// Decodes one form-encoded word.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                let digits = std::str::from_utf8(&digits).unwrap();
                bytes.push(u8::from_str_radix(digits, 16).unwrap());
            }
            _ => bytes.push(byte),
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// What `reference` means on the page at `base`.
pub fn absolute(base: &str, reference: &str) -> String {
    match reference {
        _ if reference.contains("://") => reference.into(),
        "" => base.into(),
        _ if reference.starts_with('/') => format!("{}{reference}", origin(base)),
        // Private-use redirect URIs may have no slashes (RFC 8252 §7.1).
        _ if reference.contains(':') => reference.into(),
        _ => panic!("a relative reference that our pages do not use: {reference}"),
    }
}

/// Scheme, host and port.
pub fn origin(url: &str) -> String {
    Url::parse(url).map_or_else(|_| url.to_owned(), |url| url.origin())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_queries() {
        assert_eq!(absolute("http://h:1/a?b", "/c?d"), "http://h:1/c?d");
        assert_eq!(absolute("http://h:1/a", "https://x/y"), "https://x/y");
        assert_eq!(
            absolute("http://h:1/a", "com.example:/cb?code=1"),
            "com.example:/cb?code=1"
        );
        let pairs = query("http://h/cb?kept=1&code=a%2Bb&state=x+y#f");
        assert_eq!(pairs[1], ("code".into(), "a+b".into()));
        assert_eq!(pairs[2], ("state".into(), "x y".into()));
        assert_eq!(query("http://h/cb"), vec![]);
    }
}
