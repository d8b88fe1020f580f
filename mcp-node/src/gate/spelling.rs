//! Other spellings of a resource's URI. Whoever reads the resource may take them for the same, so a rule applies when
//! it applies to any of them.

use std::borrow::Cow;

use url::Url;

/// `uri` as it was written and, where they differ, as those who read it may understand it: normalised (RFC 3986 §6.2.2),
/// with percent-encoding undone, without empty segments, and without what a reader of files or pages leaves aside. Of
/// an upstream's URI with its prefix (`files+file:///a`), what follows the prefix is the URI that the upstream reads.
pub(super) fn spellings(uri: &str) -> Vec<Cow<'_, str>> {
    let mut found = vec![Cow::Borrowed(uri)];
    let mut add = |spelling: String| {
        if found.iter().all(|known| *known != spelling) {
            found.push(Cow::Owned(spelling));
        }
    };
    let mut parts = vec![("", uri)];
    parts.extend(prefixed(uri));
    for (prefix, own) in parts {
        let decoded = percent_decoded(own);
        for text in [own, &decoded] {
            add(format!("{prefix}{text}"));
            let single = single_slashes(text);
            let readings = [Some(text), single.as_deref()].into_iter().flatten();
            for url in readings.filter_map(|reading| Url::parse(reading).ok()) {
                for normal in [bare(url.clone()), String::from(url)] {
                    let shorter = normal.strip_suffix('/').filter(|_| normal.starts_with(FILE));
                    for normal in [Some(&*normal), shorter].into_iter().flatten() {
                        add(format!("{prefix}{normal}"));
                        add(format!("{prefix}{}", percent_decoded(normal)));
                    }
                }
            }
        }
    }
    found
}

const FILE: &str = "file:";

/// An upstream's prefix with its `+`, and the upstream's own URI. A prefix has no `+` in it, so the first one ends it.
fn prefixed(uri: &str) -> Option<(&str, &str)> {
    let at = uri.find('+')? + 1;
    let is_before_scheme = uri.find(':').is_some_and(|colon| at <= colon);
    is_before_scheme.then(|| uri.split_at(at))
}

/// The URI of a file as a file system reads its path: `\` for `/`, and no empty segments. That comes before dot segments
/// are taken out, for which an empty one is a segment (`a//..` is `a/` in a URL and `.` in a file system).
fn single_slashes(uri: &str) -> Option<String> {
    // Which parsers of URLs pass over.
    let uri = uri.replace(['\t', '\n', '\r'], "");
    let at = uri.find(':')? + 1;
    let (scheme, rest) = uri.split_at(at);
    if !scheme.trim_start().eq_ignore_ascii_case(FILE) {
        return None;
    }
    let rest = rest.replace('\\', "/");
    let has_authority = rest.starts_with("//") && !rest.starts_with("///");
    let mut single = String::with_capacity(uri.len());
    single.push_str(if has_authority { "file:/" } else { FILE });
    let mut before = ' ';
    for c in rest.chars() {
        if c != '/' || before != '/' {
            single.push(c);
        }
        before = c;
    }
    Some(single)
}

/// Without what does not say where something is: user, fragment; and of a file, host and query.
fn bare(mut url: Url) -> String {
    url.set_fragment(None);
    // These two and the host fail where a URL cannot have them, and then it has none.
    url.set_username("").ok();
    url.set_password(None).ok();
    if url.scheme() == "file" {
        url.set_query(None);
        url.set_host(None).ok();
    }
    url.into()
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
        assert_eq!(spellings("a:b+c"), ["a:b+c"]);
        assert_eq!(spellings("no uri %zz %4").len(), 1);
    }

    #[test]
    fn what_an_upstream_reads_is_found_behind_its_prefix() {
        for (hidden, plain) in [
            ("u+file:/secret/x", "u+file:///secret/x"),
            ("u+file:secret/x", "u+file:///secret/x"),
            ("u+file://localhost/secret/x", "u+file:///secret/x"),
            ("u+file://elsewhere/secret/x", "u+file:///secret/x"),
            ("u+file:///secret\\x", "u+file:///secret/x"),
            ("u+FILE:/secret/x", "u+file:///secret/x"),
            ("u+ file:/secret/x", "u+file:///secret/x"),
            ("u+file:////secret/x", "u+file:///secret/x"),
            ("u+fi\tle:////secret/x", "u+file:///secret/x"),
            ("u+file:///secret//x", "u+file:///secret/x"),
            ("u+file:///a//../secret/x", "u+file:///secret/x"),
            ("u+file:////a/../secret/x", "u+file:///secret/x"),
            ("u+file:///%2Fsecret%2fx", "u+file:///secret/x"),
            ("u+file:///a/%2e%2e/%73ecret/x", "u+file:///secret/x"),
            ("u+%66ile:/secret/x", "u+file:///secret/x"),
            ("u+file:///secret/x?y#z", "u+file:///secret/x"),
            ("u+file:///secret/x/", "u+file:///secret/x"),
            ("u+file:/my%20own/x", "u+file:///my own/x"),
            ("u+http://HOST.example:80/a", "u+http://host.example/a"),
            ("u+https://me:pw@host.example:443/a#b", "u+https://host.example/a"),
            ("u+https://host.example/b/../%61", "u+https://host.example/a"),
            ("file:////secret/x", "file:///secret/x"),
        ] {
            let found = spellings(hidden);
            assert!(found.iter().any(|uri| uri == plain), "{hidden}: {found:?}");
            assert_eq!(found[0], hidden);
        }
        // Another resource stays another.
        let found = spellings("u+file:///open/secret/x");
        assert!(
            found.iter().all(|uri| !uri.starts_with("u+file:///secret")),
            "{found:?}"
        );
        let found = spellings("v+file:/secret/x");
        assert!(found.iter().all(|uri| uri.starts_with("v+")), "{found:?}");
    }
}
