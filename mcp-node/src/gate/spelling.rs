//! Other spellings of a resource's URI. Whoever reads the resource may take them for the same, so a rule applies when
//! it applies to any of them.

use std::borrow::Cow;

use url::Url;

/// `uri` as it was written and, where they differ, without dot segments (RFC 3986 §6.2.2.3) and with percent-encoding
/// undone.
pub(super) fn spellings(uri: &str) -> Vec<Cow<'_, str>> {
    let mut found = vec![Cow::Borrowed(uri)];
    let mut add = |spelling: Option<String>| {
        if let Some(spelling) = spelling.filter(|spelling| found.iter().all(|known| known != spelling)) {
            found.push(Cow::Owned(spelling));
        }
    };
    let normal = |text: &str| Url::parse(text).ok().map(String::from);
    add(normal(uri));
    if uri.contains('%') {
        let decoded = percent_decoded(uri);
        add(normal(&decoded));
        add(Some(decoded));
    }
    found
}

/// What is no escape, or would be no UTF-8, stays as it is or becomes U+FFFD: no rule is about it.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        let escaped = tail.get(..2).filter(|_| byte == b'%');
        let value = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(value.unwrap_or(byte));
        rest = if value.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_resource_has_several_spellings() {
        for hidden in [
            "file:///srv/../etc/passwd",
            "file:///srv/%2e%2e/etc/passwd",
            "file:///%65tc/passwd",
            "FILE:///etc/passwd",
            "file:///./etc/passwd",
            "file:///srv%2f..%2fetc%2fpasswd",
        ] {
            let found = spellings(hidden);
            assert!(
                found.iter().any(|uri| uri == "file:///etc/passwd"),
                "{hidden}: {found:?}"
            );
            assert_eq!(found[0], hidden);
        }
        assert_eq!(spellings("edge-hive://status"), ["edge-hive://status"]);
        assert_eq!(spellings("no uri %zz %4").len(), 1);
    }
}
