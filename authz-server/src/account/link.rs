//! Links that work once: the one that makes the first administrator, and those that let a person set a password.
//!
//! The address of a link is built from the configured issuer, never from what a request says. Its secret stands in
//! the query, so the page sends no `Referer`, and only its hash is stored.

use std::time::Duration;

use ::web::address::ClientAddress;
use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use shared::clock::{self, UnixSeconds};
use shared::secret::{Secret, SecretHash, SecretKind};
use shared::uri::Issuer;

use super::password::{self, PasswordFault};
use super::session::Proof;
use super::sign_in::{complete_with, query_value, with_new_password};
use super::users::{self, Profile, UserFault};
use super::view::Reader;
use super::{Browser, form};
use crate::app::App;
use crate::db::one_time_link::LinkRow;
use crate::db::user_account::UserRow;
use crate::db::{self, Db, DbFault, Tx};
use crate::error::{self, Failure, Trouble};
use crate::pages::{SetPassword, Texts};

/// How long the first administrator's link works.
const FIRST_ADMIN_LIFE: Duration = Duration::from_secs(3600);
/// How long a newcomer's link works, which an operator passes on to them.
const NEWCOMER_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a link works that replaces a password: they are at the telephone.
const RESET_LIFE: Duration = Duration::from_secs(15 * 60);
/// The fields of the form.
const FIELDS: [&str; 5] = ["link", "username", "display_name", "password", "password_again"];

/// A new link: what to open, and until when.
pub(crate) struct Link {
    pub(crate) url: String,
    pub(crate) expires_at: UnixSeconds,
}

/// What the form said.
struct Answers {
    link: Secret,
    username: String,
    display_name: String,
    password: Secret,
    is_repeated: bool,
}

/// Why a link was not used up.
enum Refusal {
    /// It does not work any more.
    Dead,
    /// The person can answer better.
    Again(UserFault),
    /// The two passwords are not the same.
    Differ,
}

impl From<UserFault> for Refusal {
    fn from(fault: UserFault) -> Self {
        Self::Again(fault)
    }
}

/// A link that makes the first administrator, if there is none. Links from earlier starts end.
pub(crate) async fn for_first_admin(
    db: &Db,
    issuer: &Issuer,
    now: UnixSeconds,
) -> Result<Option<Link>, UserFault> {
    if db::user_account::has_admin(db).await? {
        return Ok(None);
    }
    let row = LinkRow {
        purpose: "first-admin".to_owned(),
        user_id: None,
    };
    let (secret, expires_at) = (Secret::generate(SecretKind::Invite)?, now + FIRST_ADMIN_LIFE);
    db.write(async |tx| {
        db::one_time_link::end_first_admin(tx, now).await?;
        db::one_time_link::insert(tx, &secret.hash(), &row, (now, expires_at)).await
    })
    .await?;
    Ok(Some(Link::to(issuer, &secret, expires_at)))
}

/// A link that is not in the database yet.
pub(crate) struct Draft {
    secret: Secret,
    user_id: String,
    link: Link,
}

impl Draft {
    /// One by which this person sets a password, their first one or another.
    pub(crate) fn for_password(
        issuer: &Issuer,
        (user_id, is_newcomer): (&str, bool),
        now: UnixSeconds,
    ) -> Result<Self, UserFault> {
        let life = if is_newcomer { NEWCOMER_LIFE } else { RESET_LIFE };
        let secret = Secret::generate(SecretKind::Invite)?;
        Ok(Self {
            link: Link::to(issuer, &secret, now + life),
            user_id: user_id.to_owned(),
            secret,
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.link.url
    }

    pub(crate) fn expires_at(&self) -> UnixSeconds {
        self.link.expires_at
    }

    /// Writes it, as a part of something larger. Earlier links of the person end.
    pub(crate) async fn write(&self, tx: &mut Tx, now: UnixSeconds) -> Result<(), DbFault> {
        let row = LinkRow {
            purpose: "set-password".to_owned(),
            user_id: Some(self.user_id.clone()),
        };
        db::one_time_link::end_of_user(tx, &self.user_id, now).await?;
        db::one_time_link::insert(tx, &self.secret.hash(), &row, (now, self.link.expires_at)).await
    }
}

impl Link {
    fn to(issuer: &Issuer, secret: &Secret, expires_at: UnixSeconds) -> Self {
        Self {
            url: issuer.endpoint(&format!("/login/link?link={}", secret.reveal())),
            expires_at,
        }
    }
}

/// `GET /login/link?link=…`: asks for the password. Nothing is used up: programs that look at links do not spoil them.
pub(crate) async fn page(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let shown = open(&app, &request).await;
    shown.unwrap_or_else(|failure| error::page(&app, &request, failure))
}

/// `POST /login/link`: uses the link up.
pub(crate) async fn submit(app: web::Data<App>, request: HttpRequest, body: web::Payload) -> HttpResponse {
    let done = answer(&app, &request, body).await;
    done.unwrap_or_else(|failure| error::page(&app, &request, failure))
}

async fn open(app: &App, request: &HttpRequest) -> Result<HttpResponse, Failure> {
    let browser = Browser::of(app, request)?;
    let reader = Reader::new(app, request, &browser, None);
    let link = Secret::from(query_value(request, "link").unwrap_or_default());
    let Some((row, person)) = living(app, &link.hash(), clock::now()).await? else {
        return Err(dead(app, request));
    };
    let template = SetPassword {
        page: reader.page(),
        link: link.reveal(),
        person: row
            .user_id
            .as_ref()
            .and(person.as_ref())
            .map(|user| user.display_name.as_str()),
        username: person.as_ref().map_or("", |user| user.username.as_str()),
        display_name: "",
        min_length: password::MIN_CHARACTERS,
        error: None,
    };
    Ok(reader.show(&template, StatusCode::OK))
}

async fn answer(app: &App, request: &HttpRequest, body: web::Payload) -> Result<HttpResponse, Failure> {
    let (browser, mut params) = form(app, request, body, &FIELDS).await?;
    let now = clock::now();
    let mut take = |name: &str| params.take(name).unwrap_or_default();
    let password = Secret::from(take("password"));
    let answers = Answers {
        link: Secret::from(take("link")),
        username: take("username"),
        display_name: take("display_name"),
        is_repeated: Secret::from(take("password_again")).reveal() == password.reveal(),
        password,
    };
    let reader = Reader::new(app, request, &browser, None);
    let Some((row, person)) = living(app, &answers.link.hash(), now).await? else {
        return Err(dead(app, request));
    };
    let used = match (&row.user_id, &person) {
        (Some(_), Some(person)) => set_password(app, &answers, person, now).await?,
        (None, _) => make_first_admin(app, &answers, now).await?,
        (Some(_), None) => Err(Refusal::Dead),
    };
    let row = match used {
        Ok(row) => row,
        Err(Refusal::Dead) => return Err(dead(app, request)),
        Err(refusal) => return Ok(again(&reader, &answers, person.as_ref(), &refusal)),
    };
    tracing::info!(user = row.user_id, "a one-time link was used");
    if person.is_some() {
        // They sign in with it: who set it may lack their second factor, and their password store learns it.
        return Ok(with_new_password(app));
    }
    let proof = Proof {
        user_id: &row.user_id,
        methods: "pwd",
        password_hash: row.password_hash.as_deref(),
    };
    let response = complete_with(app, request, &proof, None, now).await?;
    response.ok_or(Failure::Forbidden("the account was changed meanwhile"))
}

/// What a link is for and whose it is, if it still works.
async fn living(
    app: &App,
    link: &SecretHash,
    now: UnixSeconds,
) -> Result<Option<(LinkRow, Option<UserRow>)>, Failure> {
    let Some(row) = db::one_time_link::find(&app.db, link, now).await? else {
        return Ok(None);
    };
    match &row.user_id {
        Some(user_id) => {
            let person = db::user_account::find(&app.db, user_id).await?;
            let person = person.filter(|person| person.disabled_at.is_none());
            Ok(person.map(|person| (row, Some(person))))
        }
        None if db::user_account::has_admin(&app.db).await? => Ok(None),
        None => Ok(Some((row, None))),
    }
}

async fn set_password(
    app: &App,
    answers: &Answers,
    person: &UserRow,
    now: UnixSeconds,
) -> Result<Result<UserRow, Refusal>, Failure> {
    let hashed = match check(app, answers, &person.username).await? {
        Ok(hashed) => hashed,
        Err(refusal) => return Ok(Err(refusal)),
    };
    let done = app
        .db
        .write(async |tx| {
            if !db::user_account::lock(tx, &person.user_id, None).await?
                || db::one_time_link::take(tx, &answers.link.hash(), now)
                    .await?
                    .is_none()
            {
                return Ok(false);
            }
            users::set_password_in(tx, &person.user_id, &hashed, None, now).await
        })
        .await?;
    Ok(done.then(|| person.clone()).ok_or(Refusal::Dead))
}

async fn make_first_admin(
    app: &App,
    answers: &Answers,
    now: UnixSeconds,
) -> Result<Result<UserRow, Refusal>, Failure> {
    let profile = Profile {
        username: answers.username.clone(),
        display_name: Some(answers.display_name.clone()),
        email: None,
        is_admin: true,
    };
    let mut row = match users::draft(profile, None, now) {
        Ok(row) => row,
        Err(fault) => return Ok(Err(fault.into())),
    };
    row.password_hash = match check(app, answers, &row.username).await? {
        Ok(hashed) => Some(hashed),
        Err(refusal) => return Ok(Err(refusal)),
    };
    let made = app
        .db
        .write(async |tx| {
            // One after the other: of two links, the second finds an administrator.
            db::change::take_turn(tx).await?;
            if db::user_account::has_admin_in(tx).await?
                || db::one_time_link::take(tx, &answers.link.hash(), now)
                    .await?
                    .is_none()
            {
                return Ok(false);
            }
            db::one_time_link::end_first_admin(tx, now).await?;
            db::user_account::insert(tx, &row).await?;
            Ok(true)
        })
        .await;
    match made {
        Ok(true) => Ok(Ok(row)),
        Ok(false) => Ok(Err(Refusal::Dead)),
        Err(DbFault::Constraint(_)) => Ok(Err(UserFault::Taken(row.username).into())),
        Err(fault) => Err(fault.into()),
    }
}

/// The PHC string of the new password, if it keeps the rules. Only the holder of a living link makes this work.
async fn check(app: &App, answers: &Answers, username: &str) -> Result<Result<String, Refusal>, Failure> {
    if let Err(fault) = password::check(username, &answers.password) {
        return Ok(Err(UserFault::from(fault).into()));
    }
    if !answers.is_repeated {
        return Ok(Err(Refusal::Differ));
    }
    password::hash(app, answers.password.clone()).await.map(Ok)
}

fn again(
    reader: &Reader<'_>,
    answers: &Answers,
    person: Option<&UserRow>,
    refusal: &Refusal,
) -> HttpResponse {
    let page = reader.page();
    let template = SetPassword {
        page,
        link: answers.link.reveal(),
        person: person.map(|user| user.display_name.as_str()),
        username: person.map_or(&answers.username, |user| &user.username),
        display_name: &answers.display_name,
        min_length: password::MIN_CHARACTERS,
        error: Some(sentence(page.texts(), refusal)),
    };
    reader.show(&template, StatusCode::BAD_REQUEST)
}

fn sentence(texts: &'static Texts, refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Differ => texts.passwords_differ,
        Refusal::Again(UserFault::Password(PasswordFault::TooShort)) => texts.password_too_short,
        Refusal::Again(UserFault::Password(PasswordFault::TooLong)) => texts.password_too_long,
        Refusal::Again(UserFault::Password(PasswordFault::IsUsername)) => texts.password_too_common,
        Refusal::Again(UserFault::Taken(_)) => texts.username_taken,
        Refusal::Again(UserFault::DisplayName) => texts.display_name_not_allowed,
        Refusal::Again(_) | Refusal::Dead => texts.username_not_allowed,
    }
}

/// A link that does not work any more.
fn dead(app: &App, request: &HttpRequest) -> Failure {
    // 256 bits are not guessed; whoever tries is slowed down all the same.
    let counted = app.per_ip_failures.check(ClientAddress::of(request).limit_key());
    counted.map_or_else(Failure::from, |()| Failure::Shown(Trouble::Link))
}
