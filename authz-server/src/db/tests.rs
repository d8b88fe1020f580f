//! The statements and transactions, on both databases.

mod asked;
mod content;
mod expand;
mod upgrade;

use shared::clock::UnixSeconds;
use shared::secret::SecretHash;
use sqlx::{AssertSqlSafe, Executor, SqlSafeStr};
use xtask::postgres::Cluster;

use super::*;
use crate::token::testing::all;

pub(crate) const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

/// An empty place of each kind. The file lasts as long as this value, the database as long as the test program.
pub(crate) struct Places {
    pub(crate) folder: tempfile::TempDir,
}

impl Places {
    pub(crate) fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn urls(&self) -> [String; 2] {
        let file = format!("sqlite:{}/test.db", self.folder.path().display());
        [file, Cluster::shared().unwrap().create_database().unwrap()]
    }
}

/// A person, as bare as can be.
pub(crate) async fn add_user(db: &Db, user_id: &str) {
    const ADD: &str = "INSERT INTO user_account (user_id, username, display_name, is_admin, created_at) \
         VALUES ($1, $1, $1, FALSE, 0)";
    on!(db, c => async { sqlx::query(ADD).bind(user_id).execute(c).await.map(|_| ()) }).unwrap();
}

/// Disables a person, and nothing else that should come with it.
pub(crate) async fn disable_user(db: &Db, user_id: &str) {
    const DISABLE: &str = "UPDATE user_account SET disabled_at = 1 WHERE user_id = $1";
    on!(db, c => async { sqlx::query(DISABLE).bind(user_id).execute(c).await.map(|_| ()) }).unwrap();
}

/// What somebody with the database's password does.
pub(crate) async fn run(db: &Db, statements: &str) {
    on!(db, c => async { sqlx::raw_sql(AssertSqlSafe(statements)).execute(c).await.map(|_| ()) }).unwrap();
}

async fn open(url: &str, issuer: &str) -> Result<Db, OpenFault> {
    Db::open(url, &issuer.parse().unwrap(), NOW).await
}

async fn prepare(db: &Db, statement: &'static str) -> Result<(), sqlx::Error> {
    let text = AssertSqlSafe(statement).into_sql_str();
    match db {
        Db::Pg(home) => home.pool.prepare(text).await.map(|_| ()),
        Db::Lite(lite) => lite.pool().prepare(text).await.map(|_| ()),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_statement_is_understood_by_both_databases() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
        for statement in statements() {
            prepare(&db, statement)
                .await
                .map_err(|e| format!("{url}: {statement}: {e}"))
                .unwrap();
        }
        if matches!(db, Db::Pg(_)) {
            for statement in redemption::POSTGRES_STATEMENTS
                .iter()
                .chain(status_list::POSTGRES_STATEMENTS)
                .chain(status_revoked::POSTGRES_STATEMENTS)
            {
                prepare(&db, statement).await.unwrap();
            }
        }
        assert!(prepare(&db, "SELECT nothing FROM nowhere").await.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn data_belongs_to_one_issuer() {
    let places = Places::new();
    for url in places.urls() {
        open(&url, "https://as.example").await.unwrap();
        open(&url, "https://as.example").await.unwrap();
        let sentence = open(&url, "https://other.example").await.unwrap_err().to_string();
        assert!(
            sentence.contains("https://as.example") && sentence.contains("database.url"),
            "{sentence}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_changes_nothing() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
        let failed: Result<(), _> = db
            .write(async |tx| {
                change::take_turn(tx).await?;
                Err(DbFault::Unexpected("on purpose".to_owned()))
            })
            .await;
        assert!(failed.is_err());
        assert_eq!(change::head(&db).await.unwrap(), 0);
        db.write(async |tx| change::take_turn(tx).await).await.unwrap();
        assert_eq!(change::head(&db).await.unwrap(), 1);
    }
}

/// Redeeming a code in one statement rests on it: whoever waited for a grant must see that it was revoked meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_does_not_choose_how_transactions_see_each_other() {
    const STRICTER: &str = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET default_transaction_isolation TO serializable', \
         current_database()); END $$";
    const SHOW: &str = "SELECT current_setting('transaction_isolation')";
    let places = Places::new();
    let [_, url] = places.urls();
    let plain = sqlx::PgPool::connect(&url).await.unwrap();
    plain.execute(STRICTER).await.unwrap();
    plain.close().await;
    // The setting is in force for whoever says nothing.
    let plain = sqlx::PgPool::connect(&url).await.unwrap();
    let seen: String = sqlx::query_scalar(SHOW).fetch_one(&plain).await.unwrap();
    assert_eq!(seen, "serializable");
    let db = open(&url, "https://as.example").await.unwrap();
    let seen: String = db
        .write(async |tx| {
            let Tx::Pg(lease, _) = tx else {
                panic!("not Postgres")
            };
            Ok(sqlx::query_scalar(SHOW).fetch_one(lease.connection()).await?)
        })
        .await
        .unwrap();
    assert_eq!(seen, "read committed");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_browser_has_just_begun_makes_no_room_for_what_it_began_before() {
    let places = Places::new();
    let browser = SecretHash::of(b"browser");
    let end = UnixSeconds(NOW.0 + 600);
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
        // All in one second, the newest last in the order of ids.
        for n in 0..30 {
            let row = interaction::InteractionRow {
                interaction_id: format!("i_{n:02}"),
                kind: "device".to_owned(),
                content: "{}".to_owned(),
                started_at: NOW.0,
            };
            interaction::open(&db, &row, &browser, end).await.unwrap();
            let id = (row.interaction_id.as_str(), "device");
            let found = interaction::find(&db, id, &browser, NOW).await.unwrap();
            assert!(found.is_some(), "{n} on {url}");
        }
        assert_eq!(interaction::count(&db, NOW, 100).await.unwrap(), 20);
    }
}

/// As when the disk is full: SQLite ends the transaction by itself. The connection must not be the worse for it.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_database_ended_spoils_no_connection() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
        for _ in 0..12 {
            let failed = db
                .write(async |tx| {
                    on!(tx tx, c => async { sqlx::query("ROLLBACK").execute(c).await.map(|_| ()) })?;
                    Err::<(), _>(DbFault::Unavailable("database or disk is full".to_owned()))
                })
                .await;
            assert!(failed.is_err());
        }
        assert_eq!(change::head(&db).await.unwrap(), 0);
        db.write(async |tx| change::take_turn(tx).await).await.unwrap();
        assert_eq!(change::head(&db).await.unwrap(), 1);
    }
}

/// As when this program stood still in the middle: whoever asked is told to come back.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_the_database_gave_up_is_unavailable_and_no_fault() {
    const IMPATIENT: &str = "SET LOCAL idle_in_transaction_session_timeout = 10";
    let places = Places::new();
    let [_, url] = places.urls();
    let db = open(&url, "https://as.example").await.unwrap();
    let given_up: Result<i64, _> = db
        .write(async |tx| {
            on!(tx tx, c => async { sqlx::query(IMPATIENT).execute(c).await.map(|_| ()) })?;
            loop {
                tokio::time::sleep(Duration::from_millis(200)).await;
                change::take_turn(tx).await?;
            }
        })
        .await;
    assert!(matches!(given_up, Err(DbFault::Unavailable(_))), "{given_up:?}");
    assert_eq!(change::head(&db).await.unwrap(), 0);
    db.write(async |tx| change::take_turn(tx).await).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_who_change_different_columns_undo_nothing_of_each_other() {
    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "https://as.example").await.unwrap();
        let row = client::ClientRow {
            client_id: "c_x".to_owned(),
            name: "old".to_owned(),
            client_type: "service".to_owned(),
            auth_methods: "client_secret_basic".to_owned(),
            grants: "client_credentials".to_owned(),
            scopes: "a b".to_owned(),
            resources: "[]".to_owned(),
            created_at: NOW.0,
            tokens_not_before: 0,
            revoked_at: None,
            redirect_uris: "[]".to_owned(),
            approves_as: None,
            origin: "operator".to_owned(),
            details: "{}".to_owned(),
            last_used_at: None,
            expires_at: None,
        };
        client::insert(&db, &row, None).await.unwrap();
        for round in 0..20 {
            let name = format!("name {round}");
            let scopes = format!("a{round}");
            let renamed = client::update(&db, "c_x", NOW, |row| {
                row.name.clone_from(&name);
                Ok::<_, ()>(client::Consent::Stays)
            });
            let narrowed = client::update(&db, "c_x", NOW, |row| {
                row.scopes.clone_from(&scopes);
                Ok::<_, ()>(client::Consent::Stays)
            });
            let (renamed, narrowed) = tokio::join!(renamed, narrowed);
            assert_eq!(renamed.unwrap(), client::Update::Done);
            assert_eq!(narrowed.unwrap(), client::Update::Done);
            let row = client::find(&db, "c_x").await.unwrap().unwrap();
            assert_eq!((row.name, row.scopes), (name, scopes));
        }
        let refused = client::update(&db, "c_x", NOW, |row| {
            row.name.clear();
            Err("no")
        });
        assert_eq!(refused.await.unwrap(), client::Update::Refused("no"));
        assert_eq!(client::find(&db, "c_x").await.unwrap().unwrap().name, "name 19");
        let gone = client::update(&db, "c_y", NOW, |_| Ok::<_, ()>(client::Consent::IsVoid));
        assert_eq!(gone.await.unwrap(), client::Update::Gone);
    }
}

/// A client and a person, who approve each other's devices.
async fn with_people(url: &str) -> Db {
    let db = open(url, "https://as.example").await.unwrap();
    let row = client::ClientRow {
        client_id: "c_x".to_owned(),
        name: "x".to_owned(),
        client_type: "native".to_owned(),
        auth_methods: "none".to_owned(),
        grants: "urn:ietf:params:oauth:grant-type:device_code".to_owned(),
        scopes: "a".to_owned(),
        resources: "[]".to_owned(),
        created_at: NOW.0,
        tokens_not_before: 0,
        revoked_at: None,
        redirect_uris: "[]".to_owned(),
        approves_as: None,
        origin: "operator".to_owned(),
        details: "{}".to_owned(),
        last_used_at: None,
        expires_at: None,
    };
    client::insert(&db, &row, None).await.unwrap();
    let person = user_account::UserRow {
        user_id: "u_x".to_owned(),
        username: "x".to_owned(),
        display_name: "x".to_owned(),
        email: None,
        is_admin: false,
        password_hash: None,
        totp_sealed: None,
        totp_confirmed_at: None,
        created_at: NOW.0,
        disabled_at: None,
    };
    db.write(async |tx| user_account::insert(tx, &person).await)
        .await
        .unwrap();
    db
}

fn device(user_code: &str) -> device_authorization::DeviceRow {
    device_authorization::DeviceRow {
        user_code: user_code.to_owned(),
        client_id: "c_x".to_owned(),
        resource: "https://rs.example/mcp".to_owned(),
        scopes: "a".to_owned(),
        authorization_details: None,
        address: "192.0.2.1".to_owned(),
        user_agent: String::new(),
        created_at: NOW.0,
        expires_at: NOW.0 + 600,
        is_proven: user_code.starts_with('P'),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_polls_too_fast_waits_longer_from_then_on() {
    let places = Places::new();
    for url in places.urls() {
        let db = with_people(&url).await;
        let (code, other) = (SecretHash::of(b"one"), SecretHash::of(b"two"));
        assert!(
            device_authorization::insert(&db, &code, &device("BBBBBBBB"), 5)
                .await
                .unwrap()
        );
        // A user code that is taken is not given twice.
        assert!(
            !device_authorization::insert(&db, &other, &device("BBBBBBBB"), 5)
                .await
                .unwrap()
        );
        assert!(
            device_authorization::insert(&db, &other, &device("CCCCCCCC"), 5)
                .await
                .unwrap()
        );
        let at = async |second: i64| {
            device_authorization::poll(&db, &code, UnixSeconds(NOW.0 + second))
                .await
                .unwrap()
        };
        assert!(at(0).await && at(5).await);
        assert!(!at(6).await);
        // Ten seconds from the poll that was too early.
        assert!(!at(12).await);
        assert!(at(27).await && !at(36).await);
        let third = SecretHash::of(b"three");
        assert!(
            device_authorization::insert(&db, &third, &device("PPPPPPPP"), 5)
                .await
                .unwrap()
        );
        let waiting = async |client_id, address, now| {
            let waiting = device_authorization::waiting(&db, (client_id, address), now)
                .await
                .unwrap();
            (waiting.unproven, waiting.of_client, waiting.of_origin)
        };
        let end = UnixSeconds(NOW.0 + 600);
        assert_eq!(waiting("c_x", "192.0.2.1", NOW).await, (2, 3, 3));
        assert_eq!(waiting("c_x", "192.0.2.2", NOW).await, (2, 3, 0));
        assert_eq!(waiting("c_y", "192.0.2.1", NOW).await, (2, 0, 0));
        assert_eq!(waiting("c_x", "192.0.2.1", end).await, (0, 0, 0));
        assert!(
            device_authorization::pending(&db, "BBBBBBBB", NOW)
                .await
                .unwrap()
                .is_some()
        );
        assert!(
            device_authorization::pending(&db, "BBBBBBBB", end)
                .await
                .unwrap()
                .is_none()
        );
        device_authorization::forget(&db, UnixSeconds(NOW.0 + 601))
            .await
            .unwrap();
        assert!(
            device_authorization::find(&db, &code, NOW)
                .await
                .unwrap()
                .is_none()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_decided_about_once_and_let_in_once() {
    let places = Places::new();
    for url in places.urls() {
        let db = with_people(&url).await;
        let code = SecretHash::of(b"one");
        assert!(
            device_authorization::insert(&db, &code, &device("BBBBBBBB"), 5)
                .await
                .unwrap()
        );
        let decider = device_authorization::Decider {
            user_id: "u_x",
            session_id: "s_x",
            auth_time: NOW,
            methods: "pwd",
        };
        let (db, code, decider) = (&db, &code, &decider);
        let decisions = (0..16).map(|number| async move {
            let allowed = number % 2 == 0;
            db.write(async |tx| device_authorization::decide(tx, "BBBBBBBB", allowed, decider, NOW).await)
                .await
                .unwrap()
        });
        let won = all(decisions).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, 1, "{url}");
        let row = device_authorization::find(db, code, NOW).await.unwrap().unwrap();
        let was_allowed = row.state == "approved";
        assert!(was_allowed || row.state == "denied");
        let redemptions = (0..16).map(|number| async move {
            let family = format!("f_{number}");
            db.write(async |tx| device_authorization::redeem(tx, code, &family, NOW).await)
                .await
                .unwrap()
        });
        let won = all(redemptions).await.into_iter().filter(|won| *won).count();
        assert_eq!(won, usize::from(was_allowed), "{url}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_elsewhere_is_linked_once() {
    let places = Places::new();
    for url in places.urls() {
        let db = with_people(&url).await;
        let link = async |subject: &str| {
            let key = ("https://op.example", subject);
            db.write(async |tx| federated_identity::insert(tx, key, "u_x", NOW).await)
                .await
                .unwrap()
        };
        assert!(link("1").await && !link("1").await && link("2").await);
        let found = federated_identity::find(&db, "https://op.example", "1")
            .await
            .unwrap();
        assert_eq!(found.as_deref(), Some("u_x"));
        // The same subject at another provider is somebody else.
        assert_eq!(
            federated_identity::find(&db, "https://other.example", "1")
                .await
                .unwrap(),
            None
        );
        assert_eq!(federated_identity::of_user(&db, "u_x").await.unwrap().len(), 2);
    }
}

/// A command line that holds SQLite's lock makes writers wait, and give up in time; readers never notice.
#[tokio::test(flavor = "multi_thread")]
async fn waiting_writers_leave_readers_alone() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}/test.db", folder.path().display());
    let (db, other) = (
        open(&url, "https://as.example").await.unwrap(),
        open(&url, "https://as.example").await.unwrap(),
    );
    let held = other.begin().await.unwrap();
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let db = db.clone();
            tokio::spawn(async move { db.write(async |tx| change::take_turn(tx).await).await })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(change::head(&db).await.unwrap(), 0);
    }
    for writer in writers {
        assert!(matches!(writer.await.unwrap(), Err(DbFault::Unavailable(_))));
    }
    drop(held);
    db.write(async |tx| change::take_turn(tx).await).await.unwrap();
    assert_eq!(change::head(&db).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn par_15_pushed_requests_have_so_many_places_and_serve_once() {
    use pushed_request::{Most, NewPushedRow, find, finish, forget, insert};

    let places = Places::new();
    for url in places.urls() {
        let db = open(&url, "http://localhost:9000").await.unwrap();
        let most = Most {
            unproven: 5,
            of_one: 3,
        };
        let push = async |name: String, client_id: &str, at: i64| {
            let row = NewPushedRow {
                client_id,
                // It proved who it is.
                address: if client_id == "c_sure" { "" } else { "192.0.2.1" },
                content: "a=b",
                created_at: UnixSeconds(at),
                expires_at: UnixSeconds(at + 90),
            };
            insert(&db, &SecretHash::of(name.as_bytes()), &row, most)
                .await
                .unwrap()
        };
        for n in 0..3 {
            assert!(push(format!("x{n}"), "c_x", 1000).await, "{url}");
        }
        assert!(!push("x3".to_owned(), "c_x", 1000).await, "{url}");
        for n in 0..2 {
            assert!(push(format!("y{n}"), "c_y", 1000).await, "{url}");
        }
        // None is left for anybody who proves nothing.
        assert!(!push("z".to_owned(), "c_z", 1000).await, "{url}");
        for n in 0..3 {
            assert!(push(format!("sure{n}"), "c_sure", 1000).await, "{url}");
        }
        assert!(!push("sure3".to_owned(), "c_sure", 1000).await, "{url}");
        // An answer frees a place, and counts once.
        let first = SecretHash::of(b"x0");
        let finishes =
            all((0..8).map(|_| db.write(async |tx| finish(tx, &first, UnixSeconds(1001)).await))).await;
        assert_eq!(
            finishes.into_iter().filter(|won| *won.as_ref().unwrap()).count(),
            1
        );
        assert_eq!(find(&db, &first).await.unwrap().unwrap().finished_at, Some(1001));
        assert!(push("x4".to_owned(), "c_x", 1002).await, "{url}");
        // So does the end of its time, before anything is cleaned.
        assert!(push("x5".to_owned(), "c_x", 1090).await, "{url}");
        forget(&db, UnixSeconds(1091)).await.unwrap();
        assert!(find(&db, &first).await.unwrap().is_none());
        assert!(find(&db, &SecretHash::of(b"x5")).await.unwrap().is_some());
    }
}
