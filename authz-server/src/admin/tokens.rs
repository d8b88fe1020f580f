//! Tokens by their value: what one is, and an end to it.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use shared::secret::Secret;
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply};
use super::operation::{Form, Method, Operation};
use super::problem::{Code, Problem};
use super::right::Noun;
use crate::audit::{self, Name, Target};
use crate::db;
use crate::token::{self, Found};

pub(crate) static INTROSPECT: Operation = Operation {
    method: Method::Ask,
    path: "/introspection",
    name: "introspectToken",
    summary: "Say what an access token or a refresh token of this server is, whoever has it",
    noun: Noun::Tokens,
    query: &[],
    takes: Some(Form::of::<TokenInput>()),
    gives: (200, Some(Form::of::<TokenView>())),
    is_conditional: false,
    refuses: &[],
    run: introspect,
};

pub(crate) static REVOKE: Operation = Operation {
    method: Method::Post,
    path: "/revocation",
    name: "revokeToken",
    summary: "End a token that somebody found; with a refresh token ends everything that came of the same code",
    noun: Noun::Tokens,
    query: &[],
    takes: Some(Form::of::<TokenInput>()),
    gives: (204, None),
    is_conditional: false,
    refuses: &[404],
    run: revoke,
};

/// A token by its value.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TokenInput {
    /// An access token or a refresh token.
    #[schema(min_length = 1)]
    token: String,
}

/// What a token is (RFC 7662 §2.2). Of one that is not active, or none of this server's, nothing else is said.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Introspection)]
pub(crate) struct TokenView {
    active: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iss: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    sub: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    /// Of an access token. It begins with the id of what came of one code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    client_type: Option<String>,
    /// The key that it is bound to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cnf: Option<Value>,
    /// Who acts for the subject.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    act: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    authorization_details: Option<Value>,
}

fn value_of(ask: &Ask<'_>) -> Result<Secret, Problem> {
    let mut body = ask.body();
    let token = body.text("token")?;
    body.end()?;
    let token = token.filter(|token| !token.is_empty());
    token
        .map(Secret::from)
        .ok_or_else(|| Problem::new(Code::InvalidRequest, "token is missing"))
}

fn introspect<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let (app, token) = (ask.server()?, value_of(ask)?);
        let answer = token::look_up(app, token, ask.now).await.map_err(Problem::from)?;
        let view: TokenView =
            serde_json::from_slice(&answer).map_err(|fault| Problem::internal(fault.to_string()))?;
        Ok(Answer::list(&view)?)
    })
}

fn revoke<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let (app, token) = (ask.server()?, value_of(ask)?);
        let found = Found::find(app, token, ask.now).await.map_err(Problem::from)?;
        let found = found.ok_or_else(|| {
            Problem::new(
                Code::NotFound,
                "that is no token of this server, or it has expired",
            )
        })?;
        let (target, client_id, user_id) = match &found {
            Found::Family {
                family_id,
                client_id,
                user_id,
            } => (
                Target::Family(family_id),
                client_id.as_str(),
                Some(user_id.as_str()),
            ),
            Found::Token(claims, _) => {
                let subject = claims.subject();
                let person = Some(subject).filter(|subject| *subject != claims.client_id());
                (Target::Token(claims.token_id()), claims.client_id(), person)
            }
        };
        ask.write(async |tx| {
            // What has ended is as revoked as can be (RFC 7009 §2.2).
            if found.end(tx, ask.now).await? {
                let mut event = ask.by.event(Name::TokensRevoked, target);
                event.details.extend(audit::details([
                    ("client_id", Some(client_id)),
                    ("user_id", user_id),
                ]));
                db::audit_event::append(tx, &event, ask.now).await?;
            }
            Ok(Answer::done())
        })
        .await
    })
}
