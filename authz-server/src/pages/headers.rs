//! A page as an HTTP answer: what a browser may do with it, and what it must not.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, X_FRAME_OPTIONS,
};
use askama::Template;
use url::{Host, Url};

/// Everything of the policy but the targets of forms. No inline style or script, no other origin, no frame around it.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; \
                      base-uri 'none'; frame-ancestors 'none'; form-action 'self'";

/// Renders `template`. `form_targets` are the sources, from [`form_source`], that a form of the page may end at:
/// Chromium applies `form-action` to the redirects after a POST too (CSP 3 §4.2.2).
pub(crate) fn render(template: &impl Template, status: StatusCode, form_targets: &[&str]) -> HttpResponse {
    match template.render() {
        Ok(html) => HttpResponse::build(status)
            .insert_header((CONTENT_TYPE, "text/html; charset=utf-8"))
            .insert_header((CONTENT_SECURITY_POLICY, policy(form_targets)))
            .insert_header((X_FRAME_OPTIONS, "DENY"))
            .insert_header((CACHE_CONTROL, "no-store"))
            .insert_header((REFERRER_POLICY, "no-referrer"))
            .insert_header((VARY, "Accept-Language, Cookie"))
            .body(html),
        Err(fault) => {
            tracing::error!(%fault, "a page could not be rendered");
            HttpResponse::InternalServerError()
                .insert_header((CONTENT_TYPE, "text/plain; charset=utf-8"))
                .body("Something went wrong on our side.")
        }
    }
}

/// The `form-action` source that covers a redirect to `redirect_uri`: its origin. Where CSP has no way to say that
/// host, its scheme (an IPv6 literal is no `host-source`, CSP 3 §2.3.1; a private-use scheme has no host, RFC 8252 §7.1).
pub(crate) fn form_source(redirect_uri: &Url) -> String {
    let scheme = redirect_uri.scheme();
    let host = match redirect_uri.host() {
        Some(Host::Ipv4(address)) => address.to_string(),
        Some(Host::Domain(name)) if is_host_source(name) => name.to_owned(),
        _ => return format!("{scheme}:"),
    };
    match (scheme, redirect_uri.port()) {
        ("http" | "https", Some(port)) => format!("{scheme}://{host}:{port}"),
        ("http" | "https", None) => format!("{scheme}://{host}"),
        _ => format!("{scheme}:"),
    }
}

fn is_host_source(name: &str) -> bool {
    !name.is_empty()
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.'))
}

fn policy(form_targets: &[&str]) -> String {
    let mut policy = POLICY.to_owned();
    // A space, comma or semicolon would begin something else, and a star would allow everybody.
    let is_plain =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'/' | b'+');
    for target in form_targets {
        if !target.is_empty() && target.bytes().all(is_plain) {
            policy.push(' ');
            policy.push_str(target);
        }
    }
    policy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(uri: &str) -> String {
        form_source(&Url::parse(uri).unwrap())
    }

    #[test]
    fn a_redirect_uri_becomes_the_narrowest_source_that_csp_can_say() {
        assert_eq!(source("https://client.example/cb?x=1"), "https://client.example");
        assert_eq!(
            source("https://client.example:8443/cb"),
            "https://client.example:8443"
        );
        assert_eq!(source("http://127.0.0.1:1234/cb"), "http://127.0.0.1:1234");
        assert_eq!(source("http://localhost/cb"), "http://localhost");
        assert_eq!(source("http://[::1]:1234/cb"), "http:");
        assert_eq!(source("cursor://anysphere.cursor-mcp/oauth/cb"), "cursor:");
        assert_eq!(source("com.example.app:/cb"), "com.example.app:");
        assert_eq!(source("https://a;b.example/cb"), "https:");
    }

    #[test]
    fn a_target_cannot_widen_the_policy() {
        let policy = policy(&["https://a.example", "*", "https://b; script-src *", "x, y", ""]);
        assert!(
            policy.ends_with("form-action 'self' https://a.example"),
            "{policy}"
        );
        assert!(!policy.contains("unsafe-inline"));
        assert_eq!(policy.matches("script-src").count(), 1);
    }
}
