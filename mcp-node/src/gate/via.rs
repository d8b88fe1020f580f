//! Where the request that is being answered came from, for everything below the endpoint's middleware. The audit log
//! tells it, and nothing is decided by it: that is why it need not be handed from room to room.

use ::web::address::ClientAddress;
use actix_web::HttpRequest;

use crate::audit::Via;

tokio::task_local! {
    static VIA: Via;
}

/// The longest `traceparent` (W3C Trace Context §3.2.2; later versions may add something).
const MAX_TRACEPARENT: usize = 128;

/// Where `request` came from.
pub(crate) fn came_from(request: &HttpRequest) -> Via {
    let traceparent = request
        .headers()
        .get("traceparent")
        .and_then(|value| value.to_str().ok());
    Via {
        address: Some(ClientAddress::of(request).0),
        traceparent: traceparent
            .filter(|text| text.len() <= MAX_TRACEPARENT)
            .map(str::to_owned),
    }
}

/// Answers a request, and remembers where it came from meanwhile.
pub(crate) async fn remembering<T>(via: Via, answer: impl Future<Output = T>) -> T {
    VIA.scope(via, answer).await
}

/// Where it came from; nothing is known outside of a request.
pub(super) fn via() -> Via {
    VIA.try_with(Clone::clone).unwrap_or_default()
}
