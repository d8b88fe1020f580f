//! An interaction: what a browser came for, kept on the server while the person signs in and decides. The browser
//! carries its id only, and another browser's id opens nothing.

use std::time::Duration;

use actix_web::HttpRequest;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use shared::secret::random_bytes;

use super::arrival::Arrival;
use crate::account::{Browser, SignedIn, crowd};
use crate::app::App;
use crate::db;
use crate::db::interaction::InteractionRow;
use crate::error::Failure;

/// Time to sign in and decide.
pub(crate) const LIFE: Duration = Duration::from_secs(600);

/// Why a person is here.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// A client sent them to the authorization endpoint.
    Authorize {
        /// Its request; read and checked again at every step.
        #[serde(flatten)]
        arrival: Arrival,
        /// What they have allowed already, before they signed in elsewhere: the scopes that the page showed.
        allowed: Option<String>,
        /// The session in which it came; every sign-in makes another.
        session_id: Option<String>,
    },
    /// They want to connect a device (RFC 8628 §3.3).
    Device {
        /// The code that they entered, normalised.
        user_code: String,
    },
    /// A node asks whether a call may run ([`crate::fleet`]).
    Approval {
        /// Which question.
        approval_id: String,
    },
}

impl Purpose {
    fn kind(&self) -> &'static str {
        match self {
            Self::Authorize { .. } => "authorize",
            Self::Device { .. } => "device",
            Self::Approval { .. } => "approval",
        }
    }
}

/// An open interaction of this browser.
#[derive(Clone, Debug)]
pub(crate) struct Interaction {
    pub(crate) id: String,
    pub(crate) purpose: Purpose,
    /// A sign-in counts as fresh when it is not older (`prompt=login`).
    pub(crate) started_at: UnixSeconds,
}

impl Interaction {
    /// Whether the person signed in because of it: afterwards, and not in the session that was there before. Seconds
    /// alone would not tell.
    pub(crate) fn brought_about(&self, person: &SignedIn) -> bool {
        let before = match &self.purpose {
            Purpose::Authorize { session_id, .. } => session_id.as_deref(),
            Purpose::Device { .. } | Purpose::Approval { .. } => None,
        };
        person.authenticated_at >= self.started_at && before != Some(&person.session_id)
    }

    /// Where the person goes on once they are signed in: a path below the host.
    pub(crate) fn resume_path(&self, app: &App) -> String {
        let base = app.config.issuer.path();
        match &self.purpose {
            Purpose::Authorize { .. } => format!("{base}/consent?i={}", self.id),
            Purpose::Approval { approval_id } => format!("{base}/approve/{approval_id}"),
            Purpose::Device { .. } => format!("{base}/device?i={}", self.id),
        }
    }
}

/// Opens an interaction for ten minutes.
pub(crate) async fn open(
    app: &App,
    request: &HttpRequest,
    browser: &Browser,
    purpose: Purpose,
    now: UnixSeconds,
) -> Result<Interaction, Failure> {
    let id = URL_SAFE_NO_PAD.encode(random_bytes::<16>()?);
    let row = InteractionRow {
        interaction_id: id.clone(),
        kind: purpose.kind().to_owned(),
        content: serde_json::to_string(&purpose).map_err(|e| Failure::Internal(e.to_string()))?,
        started_at: now.0,
    };
    crowd::open(app, request, (&row, browser), now + LIFE).await?;
    Ok(Interaction {
        id,
        purpose,
        started_at: now,
    })
}

/// The open interaction `id` of this browser; `None` when it is unknown, finished, expired or another browser's.
pub(crate) async fn find(
    app: &App,
    browser: &Browser,
    id: &str,
    now: UnixSeconds,
) -> Result<Option<Interaction>, Failure> {
    for kind in ["authorize", "device", "approval"] {
        let found = db::interaction::find(&app.db, (id, kind), &browser.hash(), now).await?;
        if let Some(row) = found {
            let purpose = serde_json::from_str(&row.content).map_err(|e| Failure::Internal(e.to_string()))?;
            return Ok(Some(Interaction {
                id: row.interaction_id,
                purpose,
                started_at: UnixSeconds(row.started_at),
            }));
        }
    }
    Ok(None)
}
