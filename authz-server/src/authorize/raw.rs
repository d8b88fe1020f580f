//! The parameters of an authorization request, before anything is made of them.

use shared::oauth_error::{ErrorCode, OAuthError};

use crate::params;

/// Every parameter that is understood, besides `resource`. `claims`, `acr_values`, `display` and `id_token_hint` are
/// not: a request may carry them, and they change nothing.
pub(super) const PARAMETERS: [&str; 18] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "request",
    "request_uri",
    "code_challenge",
    "code_challenge_method",
    "state",
    "scope",
    "prompt",
    "max_age",
    "login_hint",
    "ui_locales",
    "nonce",
    "registration",
    "authorization_details",
    "dpop_jkt",
];

/// The parameters as they came.
#[derive(Default)]
pub(super) struct Raw {
    single: Vec<(&'static str, String)>,
    /// Every `resource`.
    pub(super) resources: Vec<String>,
    /// The first fault that the client may be told of.
    fault: Option<OAuthError>,
}

/// The pairs of a query that are understood, as they came: what is kept of a request that anybody may send.
pub(super) fn understood(query: &str) -> String {
    let is_known = |pair: &&str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let name = params::decode(name.as_bytes());
        !value.is_empty() && name.is_ok_and(|name| name == "resource" || PARAMETERS.contains(&&*name))
    };
    query.split('&').filter(is_known).collect::<Vec<_>>().join("&")
}

impl Raw {
    /// Reads a query: a known parameter once, an empty one is absent, an unknown one is nothing (RFC 6749 §3.1).
    /// The error is one of the parameters that say whom to answer, so it is for a page.
    pub(super) fn scan(query: &str) -> Result<Self, OAuthError> {
        let mut raw = Self::default();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let Ok(name) = params::decode(name.as_bytes()) else {
                continue;
            };
            let known = PARAMETERS.iter().find(|known| **known == name);
            if known.is_none() && name != "resource" {
                continue;
            }
            let fault = match params::decode(value.as_bytes()) {
                Ok(value) if value.is_empty() => continue,
                Ok(value) if value.contains('\0') => malformed("a parameter contains a NUL character"),
                Ok(value) => match known {
                    None => {
                        raw.resources.push(value.into_owned());
                        continue;
                    }
                    Some(known) if raw.single.iter().all(|(seen, _)| seen != known) => {
                        raw.single.push((known, value.into_owned()));
                        continue;
                    }
                    Some(_) => malformed("a parameter stands twice").because(format!("{name} stands twice")),
                },
                Err(fault) => fault,
            };
            if matches!(&*name, "client_id" | "redirect_uri") {
                return Err(fault);
            }
            if name == "state" {
                // Two states, or one that is no text: neither can be given back.
                raw.single.retain(|(known, _)| *known != "state");
                raw.single.push(("state", String::new()));
            }
            raw.note(fault);
        }
        Ok(raw)
    }

    /// What would be told to the client, were it known where.
    pub(super) fn take_fault(&mut self) -> Option<OAuthError> {
        self.fault.take()
    }

    pub(super) fn note(&mut self, fault: OAuthError) {
        self.fault.get_or_insert(fault);
    }

    pub(super) fn take(&mut self, name: &str) -> Option<String> {
        let at = self.single.iter().position(|(known, _)| *known == name)?;
        Some(self.single.swap_remove(at).1).filter(|value| !value.is_empty())
    }
}

pub(super) fn malformed(sentence: &'static str) -> OAuthError {
    OAuthError::new(ErrorCode::InvalidRequest, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(query: &str) -> Option<ErrorCode> {
        match Raw::scan(query) {
            Ok(raw) => raw.fault.map(|fault| fault.code),
            Err(_) => panic!("{query} is for a page"),
        }
    }

    #[test]
    fn a_parameter_stands_once_and_an_unknown_one_is_nothing() {
        let query = "client_id=c&state=a%26b+c&scope=&resource=r1&resource=r2&foo=1&foo=%zz&claims=x&&prompt";
        let mut raw = Raw::scan(query).unwrap();
        assert!(raw.fault.is_none());
        assert_eq!(raw.take("client_id").unwrap(), "c");
        assert_eq!(raw.take("state").unwrap(), "a&b c");
        assert_eq!((raw.take("scope"), raw.take("prompt")), (None, None));
        assert_eq!(raw.resources, ["r1", "r2"]);
    }

    #[test]
    fn who_is_answered_must_be_certain() {
        for query in [
            "client_id=a&client_id=a",
            "redirect_uri=a&redirect_uri=b",
            "client_id=%ff",
            "redirect_uri=%",
            "client_id=a%00",
        ] {
            assert!(Raw::scan(query).is_err(), "{query}");
        }
        for query in ["scope=a&scope=a", "nonce=%ff", "prompt=%zz", "login_hint=a%00"] {
            assert_eq!(fault(query), Some(ErrorCode::InvalidRequest), "{query}");
        }
    }

    #[test]
    fn a_state_that_cannot_be_given_back_is_left_out() {
        for query in [
            "state=a&state=b",
            "state=a&state=b&state=c",
            "state=%ff",
            "state=a%00b",
        ] {
            let mut raw = Raw::scan(query).unwrap();
            assert!(raw.fault.is_some(), "{query}");
            assert_eq!(raw.take("state"), None, "{query}");
        }
        let mut raw = Raw::scan("state=a&scope=b&scope=b").unwrap();
        assert_eq!(raw.take("state").as_deref(), Some("a"));
    }
}
