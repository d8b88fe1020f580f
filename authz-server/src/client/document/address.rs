//! Which texts are a `client_id` that is an address (Client ID Metadata Documents, "Client Identifier").

use url::Url;

/// Longest address.
const MAX_BYTES: usize = 500;

/// The address that `client_id` is; `None` when it is an ordinary id, or an address that cannot be one.
///
/// It is judged as it is written: an address that a parser would repair, or write in another way, means one thing to us
/// and another to whoever publishes there.
pub(super) fn address(client_id: &str) -> Option<Url> {
    if !client_id.starts_with("https://") || client_id.len() > MAX_BYTES {
        return None;
    }
    let url = Url::parse(client_id).ok()?;
    let is_as_written = url.as_str() == client_id && client_id.bytes().all(|b| b.is_ascii_graphic());
    let has_extras = client_id.contains(['#', '\\', '@']) || url.path() == "/";
    let has_dot_segment = url.path().split('/').any(|segment| {
        let plain = segment.to_ascii_lowercase().replace("%2e", ".");
        plain == "." || plain == ".."
    });
    (is_as_written && !has_extras && !has_dot_segment).then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cimd_02_03_an_address_is_taken_as_it_is_written_or_not_at_all() {
        for good in [
            "https://claude.ai/oauth/claude-code-client-metadata",
            "https://chatgpt.com/oauth/client.json",
            "https://vscode.dev/oauth/client-metadata.json",
            "https://docs.example:8443/a/b?c=d",
            "https://docs.example/a%20b",
            "https://10.1.2.3/a",
            "https://xn--bcher-kva.example/a",
        ] {
            assert_eq!(address(good).map(String::from).as_deref(), Some(good));
        }
        let long = format!("https://docs.example/{}", "a".repeat(MAX_BYTES));
        for bad in [
            "",
            "c_ordinary",
            "http://docs.example/a",
            "HTTPS://docs.example/a",
            "https:docs.example/a",
            "https:/docs.example/a",
            "https:///docs.example/a",
            "https://docs.example",
            "https://docs.example/",
            "https://docs.example?a",
            "https://docs.example/?a",
            "https://docs.example/a#f",
            "https://docs.example/a#",
            "https://user@docs.example/a",
            "https://user:pw@docs.example/a",
            "https://@docs.example/a",
            "https://docs.example/./a",
            "https://docs.example/../a",
            "https://docs.example/a/..",
            "https://docs.example/%2e%2e/a",
            "https://docs.example/%2E/a",
            "https://docs.example/.%2e/a",
            "https://docs.example\\a",
            "https://docs.example/a\\b",
            "https://docs.example/a b",
            " https://docs.example/a",
            "https://docs.example/a ",
            "https://docs.example/a\t",
            "https://docs\n.example/a",
            "https://Docs.example/a",
            "https://docs.example:443/a",
            "https://docs.example:/a",
            "https://docs.example/ä",
            "https://bücher.example/a",
            "https://１２７.0.0.1/a",
            "https://0x7f.1/a",
            "https://2130706433/a",
            "https://[::ffff:127.0.0.1]/a",
            "https://docs.example:99999/a",
            &long,
        ] {
            assert_eq!(address(bad), None, "{bad:?}");
        }
    }
}
