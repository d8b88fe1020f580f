//! The signed key set, fetched while the issuer can be reached, so that neighbours may have it.

use std::time::Duration;

use shared::clock;
use shared::http_client::{FetchFault, HttpClient, Question};
use shared::jwks::{MAX_SIGNED_BYTES, Offered, RemoteKeySet};
use shared::uri::Issuer;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::task::Command;

/// It is signed anew this often.
const EVERY: Duration = Duration::from_secs(300);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(30);
/// [`shared::jwks::SIGNED_TYPE`] as a media type.
const MEDIA_TYPE: &str = "application/jwk-set+jwt";
/// Where it is (docs/fleet.md).
const PATH: &str = "/.well-known/jwks.jwt";

/// Fetches until the program stops.
pub(super) async fn fetch_signed(
    client: HttpClient,
    issuer: Issuer,
    keys: RemoteKeySet,
    (commands, stopping): (mpsc::Sender<Command>, CancellationToken),
) {
    let Ok(url) = issuer.endpoint(PATH).parse::<Url>() else {
        return;
    };
    loop {
        // Nothing is believed without a first set, which comes from the issuer itself.
        let pause = match keys.is_ready().await {
            true => fetch(&client, &url, &keys, &commands).await,
            false => AGAIN,
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stopping.cancelled() => return,
        }
    }
}

async fn fetch(
    client: &HttpClient,
    url: &Url,
    keys: &RemoteKeySet,
    commands: &mpsc::Sender<Command>,
) -> Duration {
    let question = Question {
        accept: MEDIA_TYPE,
        etag: None,
        wait: Duration::ZERO,
        max_bytes: MAX_SIGNED_BYTES,
    };
    let news = match client.fetch_news(url, question).await {
        Ok(Some(news)) => news,
        // An authorization server of another kind has none.
        Err(FetchFault::Status(404)) | Ok(None) => return EVERY,
        Err(_) => return AGAIN,
    };
    let offered = String::from_utf8(news.body)
        .map_err(|e| e.to_string())
        .and_then(|token| keys.offer(&token, clock::now()).map_err(|e| e.to_string()));
    match offered {
        Ok(Offered::Taken) => drop(commands.send(Command::KeysRenewed).await),
        Ok(Offered::Known) => {}
        Err(reason) => tracing::warn!(%url, reason, "the signed key set is refused"),
    }
    EVERY
}

#[cfg(test)]
mod tests {
    use shared::jwks::SIGNED_TYPE;

    use super::*;

    #[test]
    fn the_media_type_is_that_of_the_type() {
        assert_eq!(MEDIA_TYPE, format!("application/{SIGNED_TYPE}"));
    }
}
