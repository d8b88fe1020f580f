//! Questions to people: how many wait, and who may answer.

use super::*;
use crate::db::approval::{ApprovalRow, Asked};

async fn with_node(url: &str) -> Db {
    let db = with_people(url).await;
    let node = node::NodeRow {
        client_id: "c_x".to_owned(),
        node_id: "swift-fox-000000".to_owned(),
        thumbprint: "t".to_owned(),
        jwk: "{}".to_owned(),
        name: "north".to_owned(),
        resource: "https://rs.example/mcp".to_owned(),
        capabilities: String::new(),
        version: None,
        enrolled_at: NOW.0,
        ended_at: None,
        ended_by: None,
    };
    db.write(async |tx| node::insert(tx, &node).await).await.unwrap();
    db
}

fn question(id: &str, user_id: Option<&str>) -> ApprovalRow {
    ApprovalRow {
        approval_id: id.to_owned(),
        node_client: "c_x".to_owned(),
        tool: "t".to_owned(),
        summary: "s".to_owned(),
        arguments: "{}".to_owned(),
        arguments_sha256: "h".to_owned(),
        caller_iss: "https://as.example".to_owned(),
        caller_sub: "u_x".to_owned(),
        caller_client: "c_y".to_owned(),
        resource: "https://rs.example/mcp".to_owned(),
        user_id: user_id.map(str::to_owned),
        created_at: NOW.0,
        expires_at: NOW.0 + 60,
        decision: None,
        decided_at: None,
        decided_by: None,
    }
}

async fn ask(db: &Db, row: &ApprovalRow) -> Asked {
    let poll = SecretHash::of(row.approval_id.as_bytes());
    approval::insert(db, row, &poll, 5).await.unwrap()
}

async fn answer(db: &Db, id: &str, user_id: &str) -> bool {
    let decided = db.write(async |tx| approval::decide(tx, id, ("approved", user_id), NOW).await);
    decided.await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_questions_at_once_no_more_wait_than_may() {
    let places = Places::new();
    for url in places.urls() {
        let db = with_node(&url).await;
        let rows: Vec<_> = (0..16).map(|n| question(&n.to_string(), Some("u_x"))).collect();
        let asked = all(rows.iter().map(|row| ask(&db, row))).await;
        let open: Vec<_> = rows
            .iter()
            .zip(&asked)
            .filter(|(_, asked)| **asked == Asked::Open)
            .collect();
        assert_eq!(open.len(), 5, "{url}: {asked:?}");
        assert!(asked.iter().all(|asked| *asked != Asked::NoNode));
        // Each that is answered makes room for one, and so does time.
        assert!(answer(&db, &open[0].0.approval_id, "u_x").await);
        assert_eq!(ask(&db, &question("next", None)).await, Asked::Open);
        assert_eq!(ask(&db, &question("more", None)).await, Asked::TooMany);
        let later = ApprovalRow {
            created_at: NOW.0 + 60,
            expires_at: NOW.0 + 120,
            ..question("later", None)
        };
        assert_eq!(ask(&db, &later).await, Asked::Open);
        db.write(async |tx| node::revoke(tx, "c_x", NOW).await)
            .await
            .unwrap();
        assert_eq!(ask(&db, &question("none", None)).await, Asked::NoNode, "{url}");
    }
}

/// Whatever was looked up before: when the answer is written, it is theirs to give.
#[tokio::test(flavor = "multi_thread")]
async fn who_may_answer_is_asked_when_the_answer_is_written() {
    let places = Places::new();
    for url in places.urls() {
        let db = with_node(&url).await;
        add_user(&db, "u_admin").await;
        run(
            &db,
            "UPDATE user_account SET is_admin = TRUE WHERE user_id = 'u_admin'",
        )
        .await;
        for (id, user_id) in [("own", Some("u_x")), ("one", None), ("two", None)] {
            assert_eq!(ask(&db, &question(id, user_id)).await, Asked::Open);
        }
        // Another's question, administrator or not, and one for administrators.
        assert!(
            !answer(&db, "own", "u_admin").await && !answer(&db, "one", "u_x").await,
            "{url}"
        );
        assert!(
            answer(&db, "own", "u_x").await && answer(&db, "one", "u_admin").await,
            "{url}"
        );
        assert!(!answer(&db, "own", "u_x").await);
        run(
            &db,
            "UPDATE user_account SET is_admin = FALSE WHERE user_id = 'u_admin'",
        )
        .await;
        assert!(!answer(&db, "two", "u_admin").await, "{url}");
    }
}
