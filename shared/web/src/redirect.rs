//! Plain HTTP that leads to https, and to nothing else.

use std::net::SocketAddr;

use actix_web::http::{Method, StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use shared::secret::SecretKind;
use shared::tls::ServerTls;
use url::{Url, form_urlencoded};

use crate::answer;
use crate::frame::is_plain;

/// Where plain HTTP is listened for, and where it leads.
#[derive(Clone, Debug)]
pub struct Redirect {
    /// Addresses to listen on.
    pub addresses: Vec<SocketAddr>,
    /// What this program is reached by, the most usual first: scheme, host and port count.
    pub bases: Vec<Url>,
}

/// Names of parameters that hold what nobody else may know, whoever made it: RFC 6749 §A, RFC 6750 §2.3, RFC 7521 §4,
/// RFC 8628 §3.4, RFC 8693 §2.1.
const SECRETS: [&str; 11] = [
    "access_token",
    "actor_token",
    "assertion",
    "client_assertion",
    "client_secret",
    "code",
    "code_verifier",
    "device_code",
    "password",
    "refresh_token",
    "subject_token",
];

impl Redirect {
    /// The base with the host that the caller asked for; the port is that of this listener, and says nothing.
    fn base(&self, host: Option<&str>) -> Option<&Url> {
        let asked: Url = format!("http://{}/", host?).parse().ok()?;
        self.bases.iter().find(|base| base.host_str() == asked.host_str())
    }

    fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let host = request.headers().get(header::HOST);
        let Some(base) = self.base(host.and_then(|value| value.to_str().ok())) else {
            let sentence = "this server does not answer for that host name";
            return answer::error(StatusCode::MISDIRECTED_REQUEST, "invalid_request", sentence);
        };
        let (uri, authority) = (request.uri(), base.authority());
        if !matches!(*request.method(), Method::GET | Method::HEAD) || shows_a_secret(request) {
            let sentence = format!(
                "plain HTTP is not served: use https://{authority}. What was sent here crossed the network in clear: \
                 replace every secret, token and code that was in it"
            );
            return answer::error(StatusCode::FORBIDDEN, "invalid_request", &sentence);
        }
        if !is_plain(uri.path(), &[]) {
            return answer::error(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is nothing at this address",
            );
        }
        // RFC 6797 §7.2; the host is ours, whatever the caller wrote.
        let place = format!(
            "https://{authority}{}",
            uri.path_and_query().map_or("/", |path| path.as_str())
        );
        HttpResponse::PermanentRedirect()
            .insert_header((header::LOCATION, place))
            .finish()
    }
}

/// The routes of the listener. What is asked safely, and shows nothing, is sent to https; what was sent along over plain
/// HTTP is known to the network by now, and whoever sent it should learn that, and not be led on.
pub(crate) fn routes(redirect: &Redirect, tls: &ServerTls, config: &mut web::ServiceConfig) {
    if let Some(orders) = tls.orders.clone() {
        let path = "/.well-known/acme-challenge/{token}";
        config.service(answer::document(path, move |token: web::Path<String>| {
            let answered = orders.http_answer(&token);
            async move {
                match answered {
                    // RFC 8555 §8.3: its type, if it has one, is this.
                    Some(text) => HttpResponse::Ok()
                        .content_type("application/octet-stream")
                        .body(text),
                    None => answer::not_found().await,
                }
            }
        }));
    }
    let redirect = redirect.clone();
    config.default_service(web::to(move |request: HttpRequest| {
        let answered = redirect.answer(&request);
        async move { answered }
    }));
}

/// Whether the caller showed something that must not go over a network in clear.
fn shows_a_secret(request: &HttpRequest) -> bool {
    let query = request.uri().query().unwrap_or_default();
    request.headers().contains_key(header::AUTHORIZATION)
        || form_urlencoded::parse(query.as_bytes())
            .any(|(name, value)| SECRETS.contains(&&*name) || SecretKind::of(&value).is_some())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn answered(request: TestRequest) -> (u16, Option<String>) {
        let redirect = Redirect {
            addresses: Vec::new(),
            bases: ["https://auth.example", "https://mtls.example:8443/x"]
                .map(|url| url.parse().unwrap())
                .to_vec(),
        };
        let answer = redirect.answer(&request.to_http_request());
        let location = answer.headers().get(header::LOCATION);
        let location = location.map(|value| value.to_str().unwrap().to_owned());
        (answer.status().as_u16(), location)
    }

    fn get(host: &str, target: &str) -> TestRequest {
        TestRequest::get().uri(target).insert_header((header::HOST, host))
    }

    #[test]
    fn safe_requests_are_led_to_our_own_names_alone() {
        let led = |host, target| answered(get(host, target));
        let to = |place: &str| (308, Some(place.to_owned()));
        assert_eq!(led("auth.example", "/"), to("https://auth.example/"));
        assert_eq!(
            led("Auth.example:80", "/login?a=b%20c"),
            to("https://auth.example/login?a=b%20c")
        );
        assert_eq!(
            led("mtls.example", "/oauth/token"),
            to("https://mtls.example:8443/oauth/token")
        );
        for (host, target, status) in [
            ("evil.example", "/", 421),
            ("auth.example@evil.example", "/", 421),
            ("", "/", 421),
            ("auth.example", "//evil.example/", 404),
            ("auth.example", "/a/../b", 404),
        ] {
            assert_eq!(led(host, target), (status, None), "{host} {target}");
        }
    }

    #[test]
    fn who_sent_a_secret_in_clear_is_told_so_and_not_led_on() {
        let with = |request: TestRequest| answered(request).0;
        assert_eq!(with(get("auth.example", "/me?state=1")), 308);
        assert_eq!(with(get("auth.example", "/login/link?link=words")), 308);
        for target in ["/me?access_token=1", "/login/link?link=ehi_x", "/me?a=%65hr_x"] {
            assert_eq!(with(get("auth.example", target)), 403, "{target}");
        }
        assert_eq!(
            with(get("auth.example", "/me").insert_header((header::AUTHORIZATION, "Bearer x"))),
            403
        );
        let post = TestRequest::post()
            .uri("/oauth/token")
            .insert_header((header::HOST, "auth.example"));
        assert_eq!(with(post), 403);
    }
}
