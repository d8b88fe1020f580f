//! `GET /oauth/status/{list}` and `GET /oauth/status`: the lists and the directory of a resource's lists.

use std::sync::Arc;
use std::time::Duration;

use ::web::address::ClientAddress;
use ::web::answer;
use actix_web::http::StatusCode;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock;
use shared::oauth_error::{ErrorCode, OAuthError};
use shared::status_list::MEDIA_TYPE;
use shared::uri::ResourceUri;
use tokio::time::{Instant, sleep_until};

use super::publish::{Directory, TTL};
use super::{is_list_id, tag_of};
use crate::app::App;
use crate::conditional::{self, Tagged};
use crate::db::status_node::NODES;
use crate::error::{self, Failure};

/// The longest wait for news (RFC 7240 §4.3, `wait`), in seconds: proxies give up after a minute.
const LONGEST_WAIT: u64 = 30;
/// The longest query that is read, in bytes: the longest resource with half of it escaped.
const MAX_QUERY: usize = 4096;

/// One list (§8.1, §8.2). States of the past (`time`, §8.4) are not kept.
pub(crate) async fn list(app: web::Data<App>, request: HttpRequest, name: web::Path<String>) -> HttpResponse {
    let asked_for_past = request
        .query_string()
        .split('&')
        .any(|pair| pair.split('=').next() == Some("time"));
    if asked_for_past {
        let sentence = "states of the past are not kept";
        return answer::error(StatusCode::NOT_IMPLEMENTED, "invalid_request", sentence);
    }
    let found = async {
        // Whatever else stands there is looked for nowhere.
        if !is_list_id(&name) {
            return Ok(None);
        }
        app.catch_up().await?;
        app.status_lists.published(&app, &name, clock::now()).await
    };
    match found.await {
        Ok(Some(list)) => document(&request, MEDIA_TYPE, (&list.etag, &list.token)),
        Ok(None) => answer::error(
            StatusCode::NOT_FOUND,
            "invalid_request",
            "there is no such status list, or all its tokens have expired",
        ),
        Err(failure) => error::answer(&app, &request, failure),
    }
}

/// The lists of a resource, and with `nodes=true` those of the nodes' records too; or all (§9.3). With `Prefer: wait=N` and the `ETag` that is known, the answer waits for a
/// change.
pub(crate) async fn aggregation(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    match directory(&app, &request).await {
        Ok(directory) => document(
            &request,
            "application/json",
            (&directory.etag, &directory.document),
        ),
        Err(failure) => error::answer(&app, &request, failure),
    }
}

async fn directory(app: &App, request: &HttpRequest) -> Result<Arc<Directory>, Failure> {
    let query = request.query_string();
    if query.len() > MAX_QUERY {
        let sentence = "the query is too long for the name of a resource";
        return Err(OAuthError::new(ErrorCode::InvalidRequest, sentence).into());
    }
    let pairs = || url::form_urlencoded::parse(query.as_bytes());
    let resource = pairs()
        .find(|(name, _)| name == "resource")
        .map(|(_, value)| value.into_owned());
    let has_nodes = pairs().any(|(name, value)| name == "nodes" && value == "true");
    let Some(resource) = resource else {
        app.catch_up().await?;
        return app.status_lists.whole_directory(app, clock::now()).await;
    };
    // What cannot be a resource has no lists.
    if resource.parse::<ResourceUri>().is_err() {
        return Ok(Arc::new(Directory::empty()?));
    }
    let deadline = Instant::now() + Duration::from_secs(wait_of(request));
    app.catch_up().await?;
    let resources = app.resources().await?;
    // Of another resource there is no news. Listened to before the state is read: nothing that changes after that is missed.
    let known = resources.find(&resource).filter(|found| found.uri == resource);
    let from = ClientAddress::of(request).limit_key();
    let (tag, of_nodes) = (tag_of(&resource), has_nodes.then(|| tag_of(NODES)));
    let tags = (&*tag, of_nodes.as_deref());
    let mut listener = known.and_then(|_| app.status_lists.news.listen(tags, from));
    loop {
        app.catch_up().await?;
        let mut directory = app.status_lists.directory(app, &resource, clock::now()).await?;
        if has_nodes {
            let of_nodes = app.status_lists.directory(app, NODES, clock::now()).await?;
            directory = Arc::new(directory.and(&of_nodes)?);
        }
        let Some(listener) = listener
            .as_mut()
            .filter(|_| conditional::is_known(request, &directory.etag))
        else {
            return Ok(directory);
        };
        let is_news = tokio::select! {
            changed = listener.changed() => changed,
            () = sleep_until(deadline) => false,
        };
        if !is_news {
            return Ok(directory);
        }
    }
}

/// `wait` of `Prefer`; 0 when it is not there.
fn wait_of(request: &HttpRequest) -> u64 {
    let preferences = request.headers().get_all("prefer");
    let wait = preferences
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .find_map(|preference| preference.trim().strip_prefix("wait=")?.parse::<u64>().ok());
    wait.unwrap_or(0).min(LONGEST_WAIT)
}

/// 200 with the document or 304 without. Lists are compressed as they are; nothing is compressed on the way.
fn document(request: &HttpRequest, media_type: &str, (etag, body): (&str, &Bytes)) -> HttpResponse {
    let document = Tagged {
        etag,
        content_type: media_type,
        cache_control: &format!("public, max-age={TTL}"),
        body: body.clone(),
    };
    conditional::answer(request, document)
}
