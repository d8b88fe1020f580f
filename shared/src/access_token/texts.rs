//! The short texts of a token, one behind the other in one place: thousands of tokens are remembered, and each place
//! costs room and the time to find it.

/// Texts of one token. One that is empty is not there: none of the claims may be (`text` of [`super::claims`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Texts {
    all: Box<str>,
    ends: [u32; 5],
}

/// What there is to be kept.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Parts<'a> {
    pub(super) subject: &'a str,
    pub(super) client_id: &'a str,
    pub(super) token_id: &'a str,
    pub(super) client_name: &'a str,
    pub(super) client_type: &'a str,
}

impl From<Parts<'_>> for Texts {
    fn from(parts: Parts<'_>) -> Self {
        let parts = [
            parts.subject,
            parts.client_id,
            parts.token_id,
            parts.client_name,
            parts.client_type,
        ];
        let mut end = 0u32;
        let ends = parts.map(|part| {
            // Nothing that is read has 4 GiB.
            end = end.saturating_add(u32::try_from(part.len()).unwrap_or(u32::MAX));
            end
        });
        Self {
            all: parts.concat().into(),
            ends,
        }
    }
}

impl Texts {
    pub(super) fn subject(&self) -> &str {
        self.between(0, self.ends[0])
    }

    pub(super) fn client_id(&self) -> &str {
        self.between(self.ends[0], self.ends[1])
    }

    pub(super) fn token_id(&self) -> &str {
        self.between(self.ends[1], self.ends[2])
    }

    pub(super) fn client_name(&self) -> Option<&str> {
        Some(self.between(self.ends[2], self.ends[3])).filter(|name| !name.is_empty())
    }

    pub(super) fn client_type(&self) -> Option<&str> {
        Some(self.between(self.ends[3], self.ends[4])).filter(|kind| !kind.is_empty())
    }

    fn between(&self, start: u32, end: u32) -> &str {
        self.all.get(start as usize..end as usize).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_text_is_found_again() {
        let texts = Texts::from(Parts {
            subject: "client:é",
            client_id: "é",
            token_id: "j",
            client_name: "",
            client_type: "ai-agent",
        });
        assert_eq!(
            (texts.subject(), texts.client_id(), texts.token_id()),
            ("client:é", "é", "j")
        );
        assert_eq!(
            (texts.client_name(), texts.client_type()),
            (None, Some("ai-agent"))
        );
        let bare = Texts::from(Parts::default());
        assert_eq!((bare.subject(), bare.client_type()), ("", None));
    }
}
