//! Addresses in metadata: where codes go, and pages that people may look at. None of them is fetched here.

use url::{Host, Url};

use super::members::{Members, must};
use super::{Details, MetadataFault};
use crate::authorize::redirect_uri::{self, RedirectUriFault};

/// Longest address of a page or a key set.
const MAX_BYTES: usize = 2000;

/// The redirect URIs, each one that may be registered.
pub(super) fn redirect_uris(members: &Members<'_>) -> Result<Vec<String>, MetadataFault> {
    let list = members.list("redirect_uris", redirect_uri::MAX_COUNT);
    let uris = list
        .map_err(|fault| MetadataFault::redirect_uri(fault.sentence))?
        .unwrap_or_default();
    for uri in &uris {
        redirect_uri::check(uri).map_err(|fault| MetadataFault::redirect_uri(sentence(fault)).about(uri))?;
    }
    Ok(uris)
}

fn sentence(fault: RedirectUriFault) -> String {
    format!("a redirect URI cannot be used: {fault}")
}

/// `application_type` (OpenID Connect Registration §2). Its default there, `web`, is not assumed: clients on loopback
/// leave the member out.
pub(super) fn application_type(members: &Members<'_>) -> Result<Option<String>, MetadataFault> {
    let named = members.text("application_type")?;
    if let Some(other) = named.filter(|name| !matches!(*name, "native" | "web")) {
        return Err(must("application_type", "be native or web").about(other));
    }
    Ok(named.map(str::to_owned))
}

/// A client that says it is on the web has no address on somebody's device. One that says it is a program may have an
/// https address: those can be claimed too (RFC 8252 §7.2).
pub(super) fn check_application_type(details: &Details, uris: &[String]) -> Result<(), MetadataFault> {
    let claims_web = details.application_type.as_deref() == Some("web");
    match uris.iter().find(|uri| claims_web && is_native(uri)) {
        Some(uri) => Err(MetadataFault::redirect_uri(
            "a client whose application_type is web has https redirect URIs only; leave application_type out, or write native",
        )
        .about(uri)),
        None => Ok(()),
    }
}

/// Whether codes sent there reach a program on the person's device.
pub(super) fn is_native(uri: &str) -> bool {
    !uri.starts_with("https:")
}

/// The address of a page that people may be shown a link to.
pub(super) fn page(members: &Members<'_>, name: &'static str) -> Result<Option<String>, MetadataFault> {
    let Some(text) = members.text(name)? else {
        return Ok(None);
    };
    if https(text).is_none() {
        return Err(must(name, "be an https address").about(text));
    }
    Ok(Some(text.to_owned()))
}

/// An https address in plain characters, without a user name, of a bounded length. The scheme of what a parser makes
/// of the text is looked at, so `JavaScript:` is what it is, however it is written.
pub(super) fn https(text: &str) -> Option<Url> {
    let is_plain = |b: u8| b.is_ascii_graphic() && !br#""<>\^`{|}"#.contains(&b);
    if text.len() > MAX_BYTES || !text.bytes().all(is_plain) {
        return None;
    }
    let url = Url::parse(text).ok()?;
    let is_whole = url.scheme() == "https" && url.username().is_empty() && url.password().is_none();
    (is_whole && url.host().is_some()).then_some(url)
}

/// Whether the host of an address is a name that anybody can resolve, or an address of the public Internet. What a name
/// resolves to is checked again on the connection, by whoever fetches.
pub(super) fn is_public(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            let local = ["localhost", "local", "internal", "home.arpa"];
            name.contains('.')
                && !local.iter().any(|end| {
                    name.strip_suffix(end)
                        .is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
                })
        }
        // Nobody publishes keys at a bare number.
        Some(Host::Ipv4(_) | Host::Ipv6(_)) | None => false,
    }
}
