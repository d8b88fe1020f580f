//! Just enough of a URL: scheme, authority and what follows, kept as written.

use crate::fault::{Explain, Fault, Outcome};

/// An absolute `http` or `https` URL, split but not normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    authority: String,
    target: String,
    tls: bool,
}

impl Url {
    /// Splits `text`; a fragment is not sent to servers and therefore refused.
    ///
    /// # Errors
    /// When it is not `http://host…` or `https://host…`.
    pub fn parse(text: &str) -> Outcome<Self> {
        let (tls, rest) = match (text.strip_prefix("http://"), text.strip_prefix("https://")) {
            (Some(rest), _) => (false, rest),
            (_, Some(rest)) => (true, rest),
            _ => return Err(Fault::new(format!("not an http URL: {text}"))),
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        if authority.is_empty() || rest.contains(['#', ' ', '\r', '\n']) {
            return Err(Fault::new(format!("not a usable URL: {text}")));
        }
        let target = if target.starts_with('/') {
            target.into()
        } else {
            format!("/{target}")
        };
        Ok(Self {
            authority: authority.into(),
            target,
            tls,
        })
    }

    /// Host and port as written, for the Host header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Path and query as written.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Scheme, host and port.
    #[must_use]
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// The port, written or implied.
    ///
    /// # Errors
    /// When what stands behind the colon is not a port.
    pub fn port(&self) -> Outcome<u16> {
        match self.explicit_port() {
            Some(digits) => digits.parse().explain(format!("not a port: {digits}")),
            None => Ok(if self.tls { 443 } else { 80 }),
        }
    }

    /// What to connect to.
    #[must_use]
    pub fn socket(&self) -> String {
        match self.explicit_port() {
            Some(_) => self.authority.clone(),
            None => format!("{}:{}", self.authority, if self.tls { 443 } else { 80 }),
        }
    }

    fn explicit_port(&self) -> Option<&str> {
        let after_address = self.authority.rfind(']').map_or(0, |end| end + 1);
        self.authority[after_address..]
            .split_once(':')
            .map(|(_, port)| port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_kept_as_written() {
        let url = Url::parse("http://localhost:8080/a%2fb?x=1").unwrap();
        assert_eq!((url.authority(), url.target()), ("localhost:8080", "/a%2fb?x=1"));
        assert_eq!(url.socket(), "localhost:8080");
        assert_eq!(Url::parse("https://[::1]").unwrap().socket(), "[::1]:443");
        assert_eq!(Url::parse("http://[::1]:7").unwrap().port().unwrap(), 7);
    }

    #[test]
    fn what_is_no_url_is_refused() {
        for text in [
            "",
            "ftp://x",
            "http://",
            "http:///p",
            "http://h/#f",
            "http://h/a b",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
    }
}
