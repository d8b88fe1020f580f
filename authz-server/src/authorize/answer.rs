//! The authorization response (OAuth 2.1 §4.1.2): the only place that sends a browser to a client.

use actix_web::HttpResponse;
use actix_web::http::header::LOCATION;
use shared::oauth_error::OAuthError;
use url::form_urlencoded::Serializer;

use crate::app::App;

/// Where a request is answered: a redirect URI that was found to be the client's, with the client's `state`.
#[derive(Clone, Debug)]
pub(super) struct Destination {
    pub(super) redirect_uri: String,
    /// Given back as it came, byte for byte.
    pub(super) state: Option<String>,
}

impl Destination {
    /// The code (OAuth 2.1 §4.1.2).
    pub(super) fn grant(&self, app: &App, code: &str) -> HttpResponse {
        self.send(app, &[("code", code)])
    }

    /// An error (OAuth 2.1 §4.1.2.1).
    pub(super) fn refuse(&self, app: &App, refusal: &OAuthError) -> HttpResponse {
        app.metrics.refused(refusal.code.as_str());
        tracing::info!(error = %refusal.code, reason = %refusal.reason, "refused at the redirect URI");
        let members = [
            ("error", refusal.code.as_str()),
            ("error_description", &*refusal.description),
        ];
        self.send(app, &members)
    }

    /// 303, so that what was posted to us is not posted on (RFC 9700 §4.12).
    fn send(&self, app: &App, members: &[(&str, &str)]) -> HttpResponse {
        let location = self.location(app.config.issuer.as_str(), members);
        HttpResponse::SeeOther()
            .insert_header((LOCATION, location))
            .finish()
    }

    /// The redirect URI as it was registered, query and all, with the answer behind it. `iss` tells the client which
    /// server speaks (RFC 9207 §2).
    fn location(&self, issuer: &str, members: &[(&str, &str)]) -> String {
        let mut answer = Serializer::new(String::new());
        answer.extend_pairs(members);
        if let Some(state) = &self.state {
            answer.append_pair("state", state);
        }
        answer.append_pair("iss", issuer);
        let separator = match self.redirect_uri.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some((_, query)) if query.ends_with('&') => "",
            Some(_) => "&",
        };
        format!("{}{separator}{}", self.redirect_uri, answer.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_keeps_the_query_and_gives_state_back() {
        let state = "a&b=\"><script>ü\u{7f} +%00";
        for (uri, start) in [
            ("https://c.example/cb", "https://c.example/cb?code=x&state="),
            (
                "https://c.example/cb?t=%2F",
                "https://c.example/cb?t=%2F&code=x&state=",
            ),
            ("https://c.example?", "https://c.example?code=x&state="),
            ("http://127.0.0.1:7/cb", "http://127.0.0.1:7/cb?code=x&state="),
        ] {
            let to = Destination {
                redirect_uri: uri.to_owned(),
                state: Some(state.to_owned()),
            };
            let location = to.location("https://as.example/t", &[("code", "x")]);
            assert!(location.starts_with(start), "{location}");
            let url: url::Url = location.parse().unwrap();
            let read = |name: &str| url.query_pairs().find(|(key, _)| key == name).unwrap().1;
            assert_eq!(read("state"), state);
            assert_eq!(read("iss"), "https://as.example/t");
        }
    }
}
