//! Ids in paths. Some are addresses; no path of this server holds `%`, which two programs may read in two ways
//! (CVE-2026-0976).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// What the encoded form begins with; no id does.
const ENCODED: char = '~';
/// Longest id: an address that is a client's id, or a resource's.
const MAX_BYTES: usize = 2048;

/// An id as it stands in a path: itself where it is plain, otherwise `~` and its base64url.
pub(crate) fn path_of(id: &str) -> String {
    if is_plain(id) {
        return id.to_owned();
    }
    format!("{ENCODED}{}", URL_SAFE_NO_PAD.encode(id))
}

/// The id of which [`path_of`] made `segment`; `None` when it made it of none. An id has one path.
pub(super) fn id_of(segment: &str) -> Option<String> {
    let Some(encoded) = segment.strip_prefix(ENCODED) else {
        return is_plain(segment).then(|| segment.to_owned());
    };
    let bytes = URL_SAFE_NO_PAD.decode(encoded).ok()?;
    let id = String::from_utf8(bytes).ok()?;
    let is_one =
        !id.is_empty() && !is_plain(&id) && id.len() <= MAX_BYTES && !id.chars().any(char::is_control);
    is_one.then_some(id)
}

fn is_plain(id: &str) -> bool {
    let is_unreserved = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !id.is_empty() && id.len() <= MAX_BYTES && !matches!(id, "." | "..") && id.bytes().all(is_unreserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_has_one_path_and_a_path_one_id() {
        for id in ["c_Ab-1", "https://a.example/x?y=%20", "a b", ".", "..", "~x", "ü"] {
            let path = path_of(id);
            assert!(web::frame::is_plain(&format!("/{path}"), &[]), "{path}");
            assert_eq!(id_of(&path).as_deref(), Some(id));
        }
        // "c_x", written as it need not be; NUL; no base64url; nothing.
        for bad in ["~Y194", "~AA", "~?", "~", "", "a b", "."] {
            assert_eq!(id_of(bad), None, "{bad}");
        }
    }
}
