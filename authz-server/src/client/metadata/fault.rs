//! Why metadata are refused (RFC 7591 §3.2.2).

use std::borrow::Cow;
use std::fmt;

use shared::oauth_error::{ErrorCode, OAuthError};

/// A code, a sentence for whoever wrote the document, and what it is about, for the log and the command line: that may
/// hold anything.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct MetadataFault {
    pub(crate) code: ErrorCode,
    pub(crate) sentence: Cow<'static, str>,
    subject: Option<String>,
}

impl MetadataFault {
    /// `invalid_client_metadata`.
    pub(crate) fn metadata(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidClientMetadata, sentence)
    }

    /// `invalid_redirect_uri`.
    pub(crate) fn redirect_uri(sentence: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorCode::InvalidRedirectUri, sentence)
    }

    /// Any other code of RFC 7591 §3.2.2.
    pub(crate) fn new(code: ErrorCode, sentence: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            sentence: sentence.into(),
            subject: None,
        }
    }

    /// Adds the value at fault, shortened.
    #[must_use]
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.subject = Some(subject.chars().take(100).collect());
        self
    }
}

pub(super) fn too_large() -> MetadataFault {
    MetadataFault::metadata("the metadata are larger than 16 KiB")
}

/// With the value at fault, escaped.
impl fmt::Display for MetadataFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            Some(subject) => write!(f, "{}: {subject:?}", self.sentence),
            None => f.write_str(&self.sentence),
        }
    }
}

impl std::error::Error for MetadataFault {}

impl From<MetadataFault> for OAuthError {
    fn from(fault: MetadataFault) -> Self {
        let reason = fault.to_string();
        Self::new(fault.code, fault.sentence).because(reason)
    }
}
