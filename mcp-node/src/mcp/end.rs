//! When a stream must end: with the token by which it was opened, or with the program. Whoever serves one looks here, so
//! that its client is told properly before the connection is cut.

use http::request::Parts;
use rmcp::model::Extensions;
use tokio_util::sync::CancellationToken;

/// The end of one stream.
#[derive(Clone, Default)]
pub(crate) struct End(CancellationToken);

impl End {
    /// The end of the stream that answers a request; of a request without one, an end that never comes.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        let parts = extensions.get::<Parts>();
        parts
            .and_then(|parts| parts.extensions.get::<Self>())
            .cloned()
            .unwrap_or_default()
    }

    /// The stream must end now.
    pub(crate) fn reach(&self) {
        self.0.cancel();
    }

    /// Waits until the stream must end.
    pub(crate) async fn reached(&self) {
        self.0.cancelled().await;
    }
}
