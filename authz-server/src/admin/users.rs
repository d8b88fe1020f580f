//! People who can sign in.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::ask::{Answer, Ask, Reply, Stop};
use super::operation::{CURSOR, Form, Kind, LIMIT, Method, Operation, Parameter};
use super::page::Wanted;
use super::problem::{Code, Problem};
use super::right::{Noun, Right};
use super::tag;
use crate::account::link;
use crate::account::users::{self, Factors, Profile, UserFault, UserView};
use crate::audit::{Name, Target};
use crate::db::user_account::UserRow;
use crate::db::{self, DbFault, Tx};

const PATH: &str = "/users";
const ONE: &str = "/users/{id}";
const STATES: &[&str] = &["active", "disabled"];

pub(crate) static LIST: Operation = Operation {
    method: Method::Get,
    path: PATH,
    name: "listUsers",
    summary: "List accounts, the oldest first",
    noun: Noun::Users,
    query: &[
        LIMIT,
        CURSOR,
        Parameter {
            name: "state",
            what: "Only those that are active, or disabled",
            kind: Kind::Words(STATES),
        },
        Parameter {
            name: "username",
            what: "Only the one with this name",
            kind: Kind::Text,
        },
    ],
    takes: None,
    gives: (200, Some(Form::page_of::<UserView>())),
    is_conditional: false,
    refuses: &[],
    run: list,
};

pub(crate) static CREATE: Operation = Operation {
    method: Method::Post,
    path: PATH,
    name: "createUser",
    summary: "Create an account; the answer holds a link by which the person sets a password once",
    noun: Noun::Users,
    query: &[],
    takes: Some(Form::of::<NewUser>()),
    gives: (201, Some(Form::of::<UserView>())),
    is_conditional: false,
    refuses: &[409],
    run: create,
};

pub(crate) static SHOW: Operation = Operation {
    method: Method::Get,
    path: ONE,
    name: "showUser",
    summary: "Show one account, by its id",
    noun: Noun::Users,
    query: &[],
    takes: None,
    gives: (200, Some(Form::of::<UserView>())),
    is_conditional: false,
    refuses: &[404],
    run: show,
};

pub(crate) static UPDATE: Operation = Operation {
    method: Method::Patch,
    path: ONE,
    name: "updateUser",
    summary: "Change an account, close it or open it again; what is not named stays as it is",
    noun: Noun::Users,
    query: &[],
    takes: Some(Form::of::<UserInput>()),
    gives: (200, Some(Form::of::<UserView>())),
    is_conditional: true,
    refuses: &[404],
    run: update,
};

pub(crate) static RESET: Operation = Operation {
    method: Method::Post,
    path: "/users/{id}/password-reset",
    name: "resetPassword",
    summary: "Take the password away, end everything the person is signed in to or has granted, and make a link to set another",
    noun: Noun::Users,
    query: &[],
    takes: Some(Form::of::<ResetInput>()),
    gives: (200, Some(Form::of::<UserView>())),
    is_conditional: false,
    refuses: &[404, 409],
    run: reset,
};

/// What is said of a new account.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewUser {
    /// What the person types to sign in; kept in lower case.
    username: String,
    /// What pages call the person; the username unless it is said.
    display_name: Option<String>,
    email: Option<String>,
    /// Whether the person may administer this server. It takes the scope admin:write to say so.
    is_admin: Option<bool>,
}

/// What is changed of an account. Of an administrator's, it takes the scope admin:write; nobody changes their own role or
/// closes their own account.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserInput {
    display_name: Option<String>,
    /// `null` takes it away.
    email: Option<String>,
    is_admin: Option<bool>,
    /// Closed: nothing of the person works any more. What ended when it was closed stays ended.
    is_disabled: Option<bool>,
}

/// How a password is reset.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResetInput {
    /// Whether passkeys, second factor and recovery codes go too.
    reset_factors: Option<bool>,
}

impl From<UserFault> for Problem {
    fn from(fault: UserFault) -> Self {
        let sentence = fault.to_string();
        match fault {
            UserFault::Username | UserFault::DisplayName | UserFault::Email | UserFault::Password(_) => {
                Self::new(Code::InvalidValue, sentence)
            }
            UserFault::Taken(_) => Self::new(Code::Conflict, sentence),
            UserFault::NoSuchUser(_) => Self::new(Code::NotFound, sentence),
            UserFault::Db(fault) => fault.into(),
            UserFault::NoRandomness(_) => Self::internal(sentence),
        }
    }
}

impl From<UserFault> for Stop {
    fn from(fault: UserFault) -> Self {
        match fault {
            UserFault::Db(fault) => fault.into(),
            fault => Self::Problem(fault.into()),
        }
    }
}

fn list<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut query = ask.query();
        let wanted = Wanted::read(&mut query)?;
        let open = query.word("state", STATES)?.map(|state| state == "active");
        let (at, id) = &wanted.after;
        let rows = match query.take("username") {
            Some(name) => {
                let found = db::user_account::find_by_username(ask.db, &users::normalised(&name)).await?;
                let is_asked = |row: &UserRow| {
                    open.is_none_or(|open| open == row.disabled_at.is_none())
                        && (row.created_at, &row.user_id) > (*at, id)
                };
                found.into_iter().filter(is_asked).collect()
            }
            None => db::user_account::page(ask.db, open, (*at, id), wanted.rows()).await?,
        };
        let page = wanted.page(rows, |row| (row.created_at, &row.user_id), UserView::from);
        Ok(Answer::list(&page)?)
    })
}

fn show<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let id = ask.id()?;
        let row = db::user_account::find(ask.db, id).await?;
        let row = row.ok_or_else(|| UserFault::NoSuchUser(id.to_owned()))?;
        Ok(Answer::one(&UserView::from(row))?)
    })
}

/// Administrators are made and changed by who may do everything: whoever is one may, too (ADM-09).
pub(super) fn check_role(ask: &Ask<'_>, is_admin: bool) -> Result<(), Problem> {
    let all = Right::Write.everywhere();
    ask.check_rights(is_admin.then_some(&*all).into_iter())
}

fn create<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let profile = Profile {
            username: body
                .text("username")?
                .ok_or_else(|| Problem::new(Code::InvalidRequest, "username is missing"))?,
            display_name: body.text("display_name")?,
            email: body.text("email")?,
            is_admin: body.flag("is_admin")?.unwrap_or(false),
        };
        // A hash is for whoever has this machine: they have read the password from a file.
        let hash = if ask.by.is_operator() {
            body.text("password_phc")?
        } else {
            None
        };
        body.end()?;
        check_role(ask, profile.is_admin)?;
        let row = users::draft(profile, hash, ask.now)?;
        let link = match row.password_hash {
            Some(_) => None,
            None => Some(link::Draft::for_password(
                &ask.config.issuer,
                (&row.user_id, true),
                ask.now,
            )?),
        };
        ask.write(async |tx| {
            match db::user_account::insert(tx, &row).await {
                // The id is random, so it was the name.
                Err(DbFault::Constraint(_)) => return Err(UserFault::Taken(row.username.clone()).into()),
                written => written?,
            }
            if let Some(link) = &link {
                link.write(tx, ask.now).await?;
            }
            let mut event = ask.by.event(Name::UserCreated, Target::User(&row.user_id));
            event.details.insert("is_admin".to_owned(), row.is_admin.into());
            db::audit_event::append(tx, &event, ask.now).await?;
            let seen = UserView::from(row.clone());
            let shown = with_link(row.clone(), link.as_ref());
            Ok(Answer::made(&shown, &seen, (PATH, &row.user_id))?)
        })
        .await
    })
}

fn with_link(row: UserRow, link: Option<&link::Draft>) -> UserView {
    UserView {
        set_password_link: link.map(|link| link.url().to_owned()),
        link_expires_at: link.map(|link| link.expires_at().0),
        ..row.into()
    }
}

/// The account that the caller has seen, which nobody changes until the transaction ends.
async fn held(ask: &Ask<'_>, tx: &mut Tx) -> Result<UserRow, Stop> {
    let id = ask.id()?;
    let row = db::user_account::hold(tx, id).await?;
    let row = row.ok_or_else(|| UserFault::NoSuchUser(id.to_owned()))?;
    ask.check_condition(&UserView::from(row.clone()))?;
    check_role(ask, row.is_admin)?;
    Ok(row)
}

fn check_not_oneself(ask: &Ask<'_>, row: &UserRow, what: &str) -> Result<(), Problem> {
    if ask.by.user_id() != Some(&row.user_id) {
        return Ok(());
    }
    let sentence = format!("nobody {what} here; another administrator does, or whoever has the command line");
    Err(Problem::new(Code::AccessDenied, sentence))
}

fn update<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let (display_name, email) = (body.text("display_name")?, body.nullable("email")?);
        let (is_admin, is_disabled) = (body.flag("is_admin")?, body.flag("is_disabled")?);
        body.end()?;
        ask.write(async |tx| {
            let before = held(ask, tx).await?;
            let mut row = before.clone();
            if let Some(name) = &display_name {
                row.display_name = users::display_name(Some(name), &row.username)?;
            }
            if let Some(email) = &email {
                row.email = users::email(email.clone())?;
            }
            if let Some(is_admin) = is_admin.filter(|is_admin| *is_admin != row.is_admin) {
                check_not_oneself(ask, &row, "changes their own role")?;
                check_role(ask, is_admin)?;
                row.is_admin = is_admin;
            }
            let is_changed = (&row.display_name, &row.email, row.is_admin)
                != (&before.display_name, &before.email, before.is_admin);
            if is_changed {
                db::user_account::amend(tx, &row).await?;
            }
            let closes = is_disabled.filter(|closes| *closes == row.disabled_at.is_none());
            match closes {
                Some(true) => {
                    check_not_oneself(ask, &row, "closes their own account")?;
                    users::disable_in(tx, &row.user_id, &ask.by, ask.now).await?;
                    row.disabled_at = Some(ask.now.0);
                }
                Some(false) => {
                    users::enable_in(tx, &row.user_id, &ask.by, ask.now).await?;
                    row.disabled_at = None;
                }
                None => {}
            }
            if is_changed {
                let mut event = ask.by.event(Name::UserUpdated, Target::User(&row.user_id));
                event.details.insert("is_admin".to_owned(), row.is_admin.into());
                db::audit_event::append(tx, &event, ask.now).await?;
            }
            Ok(Answer::one(&UserView::from(row))?)
        })
        .await
    })
}

fn reset<'a>(ask: &'a Ask<'a>) -> Reply<'a> {
    Box::pin(async {
        let mut body = ask.body();
        let factors = match body.flag("reset_factors")? {
            Some(true) => Factors::Remove,
            _ => Factors::Keep,
        };
        let hash = if ask.by.is_operator() {
            body.text("password_phc")?
        } else {
            None
        };
        body.end()?;
        let id = ask.id()?;
        let known = db::user_account::find(ask.db, id).await?;
        let known = known.ok_or_else(|| UserFault::NoSuchUser(id.to_owned()))?;
        let link = match hash {
            Some(_) => None,
            None => {
                let is_newcomer = known.password_hash.is_none();
                Some(link::Draft::for_password(
                    &ask.config.issuer,
                    (id, is_newcomer),
                    ask.now,
                )?)
            }
        };
        ask.write(async |tx| {
            let row = held(ask, tx).await?;
            check_not_oneself(ask, &row, "resets their own password")?;
            if link.is_some() && row.disabled_at.is_some() {
                let sentence = "the account is disabled; enable it first: authz-server user enable";
                return Err(Problem::new(Code::Conflict, sentence).into());
            }
            // Whoever knows the old password must not get in first, nor take the link away again.
            users::reset_in(tx, id, (hash.as_deref(), factors), ask.now).await?;
            if let Some(link) = &link {
                link.write(tx, ask.now).await?;
            }
            let mut event = ask.by.event(Name::UserPasswordReset, Target::User(id));
            let has_gone = factors == Factors::Remove;
            event
                .details
                .insert("factors_removed".to_owned(), has_gone.into());
            db::audit_event::append(tx, &event, ask.now).await?;
            let row = db::user_account::hold(tx, id).await?;
            let row = row.ok_or_else(|| UserFault::NoSuchUser(id.to_owned()))?;
            let tag = tag::of(&UserView::from(row.clone()))?;
            Ok(Answer {
                etag: Some(tag),
                ..Answer::list(&with_link(row, link.as_ref()))?
            })
        })
        .await
    })
}
