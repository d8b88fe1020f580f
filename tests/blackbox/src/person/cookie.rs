//! A cookie as a browser reads it.

/// A cookie as the server set it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Its attributes as written, in lower case: `httponly`, `path=/`, `samesite=lax`.
    pub attributes: Vec<String>,
}

impl Cookie {
    /// Reads the value of a `Set-Cookie` header.
    #[must_use]
    pub fn read(line: &str) -> Self {
        let mut parts = line.split(';').map(str::trim);
        let (name, value) = parts
            .next()
            .unwrap_or_default()
            .split_once('=')
            .unwrap_or_default();
        Self {
            name: name.into(),
            value: value.into(),
            attributes: parts.map(str::to_lowercase).collect(),
        }
    }

    /// Whether it has this attribute, written in lower case.
    #[must_use]
    pub fn has(&self, attribute: &str) -> bool {
        self.attributes.iter().any(|known| known == attribute)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_with_its_attributes() {
        let cookie = Cookie::read("__Host-eh_session=a=b; Path=/; HttpOnly; Secure; SameSite=Lax");
        assert_eq!((&*cookie.name, &*cookie.value), ("__Host-eh_session", "a=b"));
        assert!(cookie.has("httponly") && cookie.has("samesite=lax") && cookie.has("path=/"));
        assert!(!cookie.has("max-age=0"));
    }
}
