//! The node as a member of a fleet: what it asks its authorization server with its own key.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use shared::client_assertion::{self, ASSERTION_TYPE};
use shared::clock::UnixSeconds;
use shared::fleet::approval::{self, Answer, Question};
use shared::fleet::report::{Heard, Report};
use shared::http_client::{ClientFault, Exchanged, FetchFault, HttpClient};
use shared::jose::Algorithm;
use shared::jwks::{DEFAULT_MAX_STALE, KeyLookup, KeySetSettings, RemoteKeySet};
use shared::secret::{NoRandomness, Secret};
use shared::signed_jwt::SignedJwt;
use url::Url;

use crate::config::{ApprovedBy, NodeConfig};
use crate::enrolment::Enrolment;
use crate::identity::Identity;
use crate::issuers::{Issuers, Trust};

/// A longer answer is none of ours.
const MAX_BYTES: usize = 64 * 1024;
/// Lets a node ask for invites.
const MAY_INVITE: &str = "fleet:invite";

/// The server could not be asked, or does not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MemberFault {
    #[error(transparent)]
    Fetch(#[from] FetchFault),
    #[error(transparent)]
    Randomness(#[from] NoRandomness),
    #[error("{0}")]
    Refused(String),
    #[error("the authorization server answered strangely: {0}")]
    Strange(String),
}

/// A question that waits for a person.
#[derive(Clone, Debug)]
pub(crate) struct Ticket {
    pub(crate) approval_id: String,
    /// Where the person answers.
    pub(crate) url: Url,
    poll: Secret,
    pub(crate) expires_at: UnixSeconds,
    /// Between two looks.
    pub(crate) interval: Duration,
}

#[cfg(test)]
impl Ticket {
    /// A question that nobody asked, for tests of what keeps them.
    pub(crate) fn for_tests(approval_id: &str, expires_at: UnixSeconds) -> Self {
        Self {
            approval_id: approval_id.to_owned(),
            url: Url::from_file_path("/").unwrap(),
            poll: Secret::from(String::new()),
            expires_at,
            interval: Duration::from_secs(1),
        }
    }
}

/// How a question stands.
#[derive(Debug)]
pub(crate) enum Standing {
    Pending,
    /// Checked: it is the server's, and about this very call.
    Decided(Box<Answer>),
    /// It has expired, or the server knows nothing of it any more.
    Over,
}

/// The node's enrolment, in use.
#[derive(Debug)]
pub(crate) struct Membership {
    identity: Arc<Identity>,
    enrolment: Enrolment,
    client: HttpClient,
    /// The place of the server among the trusted issuers.
    issuer: usize,
    /// Its keys, fetched only if the tokens of that issuer are not known by them.
    keys: RemoteKeySet,
}

impl Membership {
    /// The membership that the data folder speaks of, if it is that of this node as it is configured.
    pub(crate) fn of(
        identity: Arc<Identity>,
        enrolment: Option<Enrolment>,
        config: &NodeConfig,
    ) -> Result<Option<Self>, ClientFault> {
        let Some(enrolment) = enrolment else {
            return Ok(None);
        };
        let is_ours = enrolment.resource == config.resource.as_str() && enrolment.node_id == identity.id();
        let trusted = config.issuers.iter().enumerate();
        let issuer = trusted
            .into_iter()
            .find(|(_, issuer)| issuer.issuer == enrolment.issuer);
        let Some((place, issuer)) = issuer.filter(|_| is_ours) else {
            let (issuer, node_id, resource) = (&enrolment.issuer, &enrolment.node_id, &enrolment.resource);
            tracing::warn!(%issuer, node_id, resource, "the node enrolled as another one than it is configured as; enrol again");
            return Ok(None);
        };
        let client = HttpClient::new(issuer.ca_file.as_deref())?;
        let settings = KeySetSettings {
            issuer: enrolment.issuer.clone(),
            jwks_uri: None,
            algorithms: vec![Algorithm::EdDSA],
            max_stale: DEFAULT_MAX_STALE,
            kept: None,
        };
        Ok(Some(Self {
            keys: RemoteKeySet::new(client.clone(), settings),
            client,
            issuer: place,
            identity,
            enrolment,
        }))
    }

    /// What the node was told when it enrolled.
    pub(crate) fn enrolment(&self) -> &Enrolment {
        &self.enrolment
    }

    /// How the server is asked.
    pub(crate) fn client(&self) -> &HttpClient {
        &self.client
    }

    /// Who the node is.
    pub(crate) fn identity(&self) -> &Arc<Identity> {
        &self.identity
    }

    /// The place of the server among the trusted issuers.
    pub(crate) fn place(&self) -> usize {
        self.issuer
    }

    /// The server's keys. One whose tokens are known by something else still signs records and answers with its keys.
    pub(crate) fn keys<'k>(&'k self, issuers: &'k Issuers) -> &'k RemoteKeySet {
        match issuers.iter().nth(self.issuer).map(|issuer| &issuer.trust) {
            Some(Trust::Keys(keys)) => keys,
            _ => &self.keys,
        }
    }

    /// Whether the server lets this node ask for invites.
    pub(crate) fn may_invite(&self) -> bool {
        self.enrolment.scope.split(' ').any(|scope| scope == MAY_INVITE)
    }

    /// A token for this node's own addresses, on its own behalf.
    pub(crate) async fn own_token(&self, scope: &str, now: UnixSeconds) -> Result<Secret, MemberFault> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
        }
        let form = [
            ("grant_type", "client_credentials"),
            ("scope", scope),
            ("resource", &self.enrolment.resource),
        ];
        let granted: Granted = self.post("/oauth/token", &form, (200, now)).await?;
        Ok(Secret::from(granted.access_token))
    }

    /// Asks the server to have a person asked. `shown` is the canonical text of the arguments.
    pub(crate) async fn ask(
        &self,
        question: &Question,
        (summary, shown): (&str, &str),
        (by, ttl): (ApprovedBy, Duration),
        now: UnixSeconds,
    ) -> Result<Ticket, MemberFault> {
        #[derive(Deserialize)]
        struct Taken {
            approval_id: String,
            verification_uri: Url,
            poll_token: String,
            expires_in: u64,
            interval: u64,
        }
        let ttl = format!("{}s", ttl.as_secs());
        let approver = match by {
            ApprovedBy::Caller => "caller",
            ApprovedBy::Operator => "operator",
        };
        let form = [
            ("tool", question.tool.as_str()),
            ("summary", summary),
            ("arguments", shown),
            ("arguments_sha256", &question.arguments_sha256),
            ("caller_iss", &question.caller_iss),
            ("caller_sub", &question.caller_sub),
            ("caller_client", &question.caller_client),
            ("approver", approver),
            ("ttl", &ttl),
        ];
        let taken: Taken = self.post("/fleet/approvals", &form, (201, now)).await?;
        let page = self.enrolment.issuer.endpoint("/approve/");
        if !taken.verification_uri.as_str().starts_with(&page) {
            return Err(MemberFault::Strange("the page is not its own".to_owned()));
        }
        Ok(Ticket {
            approval_id: taken.approval_id,
            url: taken.verification_uri,
            poll: Secret::from(taken.poll_token),
            expires_at: now + Duration::from_secs(taken.expires_in),
            interval: Duration::from_secs(taken.interval.clamp(1, 30)),
        })
    }

    /// Looks whether somebody has answered, and checks the answer.
    pub(crate) async fn look(
        &self,
        issuers: &Issuers,
        (ticket, question): (&Ticket, &Question),
        now: UnixSeconds,
    ) -> Result<Standing, MemberFault> {
        let path = format!("/fleet/approvals/{}", ticket.approval_id);
        let url = self.endpoint(&path)?;
        let answer = self.client.exchange_as(&ticket.poll, &url, MAX_BYTES).await?;
        if answer.status == 404 {
            return Ok(Standing::Over);
        }
        let standing = answer.json().filter(|_| answer.status == 200);
        let standing = standing.ok_or_else(|| MemberFault::Refused(answer.complaint()))?;
        match standing["status"].as_str() {
            Some("pending") => Ok(Standing::Pending),
            Some("expired") => Ok(Standing::Over),
            Some("approved" | "denied") => {
                let text = standing["answer"].as_str().unwrap_or_default();
                let answer = self.verify(issuers, text, (ticket, question), now).await?;
                Ok(Standing::Decided(Box::new(answer)))
            }
            _ => Err(MemberFault::Strange("the status is unknown".to_owned())),
        }
    }

    async fn verify(
        &self,
        issuers: &Issuers,
        text: &str,
        (ticket, question): (&Ticket, &Question),
        now: UnixSeconds,
    ) -> Result<Answer, MemberFault> {
        let strange = |reason: &str| MemberFault::Strange(reason.to_owned());
        let jwt = SignedJwt::parse(text, approval::MAX_BYTES).map_err(|fault| strange(fault.0))?;
        let kid = jwt.kid().ok_or_else(|| strange("the answer names no key"))?;
        let key = match self.keys(issuers).key(kid).await {
            KeyLookup::Key(key) => key,
            KeyLookup::UnknownKid => return Err(strange("the answer is signed with an unknown key")),
            KeyLookup::Unavailable { .. } => {
                return Err(MemberFault::Refused("its keys cannot be had now".to_owned()));
            }
        };
        let bound = (
            self.enrolment.issuer.as_str(),
            self.enrolment.client_id.as_str(),
            ticket.approval_id.as_str(),
        );
        approval::verify(text, &key, bound, question, now).map_err(|fault| strange(fault.0))
    }

    /// Asks for an invite, with the yes of an operator. The answer has its command line.
    pub(crate) async fn invite(
        &self,
        approval_id: &str,
        (resource, name): (Option<&str>, Option<&str>),
        now: UnixSeconds,
    ) -> Result<Value, MemberFault> {
        let mut form = vec![("approval_id", approval_id)];
        form.extend(resource.map(|resource| ("node_resource", resource)));
        form.extend(name.map(|name| ("name", name)));
        self.post("/fleet/invites", &form, (201, now)).await
    }

    /// Tells the server how the node is; returns how long to wait before it is told again.
    pub(crate) async fn report(&self, report: &Report, now: UnixSeconds) -> Result<Duration, MemberFault> {
        let text = report.to_json();
        let heard: Heard = self
            .post("/fleet/report", &[("report", &text)], (200, now))
            .await?;
        Ok(Duration::from_secs(heard.interval))
    }

    /// POSTs a form as the node's client; only the status `good` is good.
    async fn post<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        form: &[(&str, &str)],
        (good, now): (u16, UnixSeconds),
    ) -> Result<T, MemberFault> {
        let assertion = self.assertion(now)?;
        let proof = [
            ("client_assertion_type", ASSERTION_TYPE),
            ("client_assertion", assertion.reveal()),
        ];
        let url = self.endpoint(path)?;
        let answer: Exchanged = self
            .client
            .exchange_form(&url, &[&proof[..], form].concat(), MAX_BYTES)
            .await?;
        if answer.status != good {
            return Err(MemberFault::Refused(answer.complaint()));
        }
        serde_json::from_slice(&answer.body).map_err(|e| MemberFault::Strange(e.to_string()))
    }

    /// RFC 7523 §3: who the node is, for one request.
    fn assertion(&self, now: UnixSeconds) -> Result<Secret, NoRandomness> {
        let (client_id, issuer) = (&self.enrolment.client_id, self.enrolment.issuer.as_str());
        let claims = client_assertion::claims(client_id, issuer, now)?;
        let jwt = self.identity.key().sign_jwt("client-authentication+jwt", &claims);
        Ok(Secret::from(jwt))
    }

    fn endpoint(&self, path: &str) -> Result<Url, MemberFault> {
        let url = self.enrolment.issuer.endpoint(path).parse();
        url.map_err(|e: url::ParseError| MemberFault::Strange(e.to_string()))
    }
}
