//! Places and bits, on both databases.

use std::collections::HashSet;
use std::time::Duration;

use shared::jose::KeySet;
use shared::status_list::UnverifiedList;

use super::*;
use crate::db;
use crate::db::tests::{NOW, Places};
use crate::db::token_family::Of;
use crate::token::testing::{House, NODE, all, resource};

async fn node(house: &House) -> Arc<Resource> {
    let resources = house.app.resources().await.unwrap();
    Arc::clone(resources.find(NODE).unwrap())
}

/// The bit of a place, as the signed list says it.
async fn bit(app: &App, place: &Place) -> u8 {
    app.catch_up().await.unwrap();
    let published = app
        .status_lists
        .published(app, &place.list_id, NOW)
        .await
        .unwrap();
    let published = published.expect("there is such a list");
    let keys: KeySet = KeySet::parse(app.keys().await.unwrap().document.as_bytes()).unwrap();
    let token = std::str::from_utf8(&published.token).unwrap();
    let list = UnverifiedList::parse(token).unwrap();
    let key = keys.find(list.kid().unwrap()).unwrap().clone();
    let reference = place.reference(&app.config.issuer);
    let issuer = app.config.issuer.as_str();
    let list = list.verify(&key, (issuer, &reference.uri), NOW).unwrap();
    list.list.get(reference.index).unwrap()
}

fn of_client(client_id: &str) -> Option<BlockOwner<'_>> {
    Some(BlockOwner {
        client_id,
        user_id: None,
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn stat_16_no_place_is_given_twice_and_none_tells_the_order() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let node = node(&house).await;
        let app = &house.app;
        // A second instance, and one that is killed with half a block in hand.
        let (other, killed) = (StatusLists::new(), StatusLists::new());
        let mut given = Vec::new();
        for round in 0..40 {
            let asks = (0..96).map(|n| {
                let lists = [&*app.status_lists, &*other, &*killed][n % 3];
                let owner = if n % 2 == 0 { of_client("c_x") } else { None };
                let node = Arc::clone(&node);
                async move { lists.allot(app, &node, owner, NOW).await.unwrap() }
            });
            given.extend(all(asks).await);
            if round == 20 {
                killed.blocks.forget_all();
            }
        }
        let distinct: HashSet<_> = given
            .iter()
            .map(|place| (place.list_id.to_string(), place.index))
            .collect();
        assert_eq!(distinct.len(), 40 * 96, "{url}");
        let list = db::status_list::all(&app.db, NOW).await.unwrap();
        assert_eq!(list.len(), 1);
        // In a block of random order, one in two neighbours ascends; in order, all would.
        let mine: Vec<i64> = (0..512)
            .step_by(1)
            .map(|n| given[n * 3 % given.len()].index)
            .collect();
        let ascending = mine.windows(2).filter(|pair| pair[0] < pair[1]).count();
        assert!((100..412).contains(&ascending), "{ascending}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_window_that_is_full_gets_another_list() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let wanted = |length| db::status_list::Wanted {
            resource: NODE,
            window_end: NOW,
            owner: None,
            length,
            new_list: "unused",
        };
        let lease = async |length, new_list| {
            let wanted = db::status_list::Wanted {
                new_list,
                ..wanted(length)
            };
            db::status_list::lease(&house.app.db, wanted, NOW)
                .await
                .unwrap()
                .unwrap()
        };
        let half = db::status_list::CAPACITY / 2;
        assert_eq!(lease(half, "l_1").await.first_index, 0);
        assert_eq!(lease(half, "l_2").await.first_index, half);
        let third = lease(16, "l_3").await;
        assert_eq!((third.list_id.as_str(), third.first_index), ("l_3", 0));
        assert_eq!(lease(16, "l_4").await.list_id, "l_3");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_ends_tokens_sets_their_bits_and_no_others() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let (app, node) = (&house.app, node(&house).await);
        let allot = async |owner: Option<BlockOwner<'_>>| {
            app.status_lists.allot(app, &node, owner, NOW).await.unwrap()
        };
        let (mine, also_mine, others) = (
            allot(of_client("c_x")).await,
            allot(of_client("c_x")).await,
            allot(of_client("c_y")).await,
        );
        let for_person = allot(Some(BlockOwner {
            client_id: "c_y",
            user_id: Some("u_1"),
        }))
        .await;
        assert_eq!(bit(app, &mine).await, 0);
        // One token.
        let revocation = db::revoked_token::Revocation {
            token_id: "t_1",
            client_id: "c_x",
            expires_at: NOW + Duration::from_secs(60),
            status: Some(mine.stored()),
        };
        db::revoked_token::insert(&app.db, &revocation, NOW)
            .await
            .unwrap();
        assert_eq!((bit(app, &mine).await, bit(app, &also_mine).await), (1, 0));
        // An exchange of it comes too late; one of another token goes, and so does one of what came of that.
        let heir = async |child: &Place, parent: &Place| {
            let heir = db::status_list::Heir {
                place: child.stored(),
                parent: Some(parent.stored()),
                grant_id: Some("g_agreed"),
            };
            db::status_list::add_heir(&app.db, heir).await.unwrap()
        };
        let (child, grandchild) = (allot(of_client("c_y")).await, allot(of_client("c_y")).await);
        assert!(!heir(&child, &mine).await);
        assert!(heir(&child, &also_mine).await && heir(&grandchild, &child).await);
        // The client, and with it what was exchanged for its tokens.
        assert!(db::client::revoke(&app.db, "c_x", NOW).await.unwrap());
        assert_eq!(bit(app, &also_mine).await, 1);
        assert_eq!((bit(app, &child).await, bit(app, &grandchild).await), (1, 1));
        assert_eq!((bit(app, &others).await, bit(app, &for_person).await), (0, 0));
        let late = app.status_lists.allot(app, &node, of_client("c_x"), NOW).await;
        assert!(late.is_err(), "a revoked client gets no place");
        // The person.
        crate::account::users::disable(&app.db, "u_1", NOW).await.unwrap();
        assert_eq!((bit(app, &others).await, bit(app, &for_person).await), (0, 1));
        // The resource; one that is registered by its name later has lists of its own.
        assert!(db::resource::delete(&app.db, NODE, NOW).await.unwrap());
        assert_eq!(bit(app, &others).await, 1);
        let gone = app.status_lists.allot(app, &node, of_client("c_y"), NOW).await;
        assert!(gone.is_err());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn families_end_with_every_token_that_came_of_them() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "refresh_retry_window = \"30s\"").await;
        let app = &house.app;
        let (first, others) = (house.refresh_token().await, house.refresh_token().await);
        let refresh = async |token: &shared::secret::Secret| {
            let permit = crate::token::testing::refresh(&house, token, NOW).await;
            let lineage = permit.unwrap();
            (lineage.0, lineage.1, lineage.2)
        };
        let (second, place, family_id) = refresh(&first).await;
        // The answer was lost: the same place.
        let (_, again, _) = refresh(&first).await;
        assert_eq!(place, again);
        let (_, newest, _) = refresh(&second).await;
        assert_ne!(place, newest);
        let (_, foreign, _) = refresh(&others).await;
        let child = Place {
            index: newest.index + 1,
            ..newest.clone()
        };
        let heir = db::status_list::Heir {
            place: child.stored(),
            parent: Some(newest.stored()),
            grant_id: None,
        };
        assert!(db::status_list::add_heir(&app.db, heir).await.unwrap());
        for place in [&place, &newest, &foreign, &child] {
            assert_eq!(bit(app, place).await, 0);
        }
        app.db
            .write(async |tx| db::token_family::revoke(tx, Of::Family(&family_id), "test", NOW).await)
            .await
            .unwrap();
        for place in [&place, &newest, &child] {
            assert_eq!(bit(app, place).await, 1, "{url}");
        }
        assert_eq!(bit(app, &foreign).await, 0);
        // The grant ends the rest.
        app.db
            .write(async |tx| db::access_grant::revoke(tx, &house.grant_id, "u_1", NOW).await)
            .await
            .unwrap();
        assert_eq!(bit(app, &foreign).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_die_with_their_tokens() {
    let places = Places::new();
    for url in places.urls() {
        let house = House::new(&url, "").await;
        let (app, node) = (&house.app, node(&house).await);
        let place = app
            .status_lists
            .allot(app, &node, of_client("c_x"), NOW)
            .await
            .unwrap();
        let list = &place.list_id;
        let row = db::status_list::find(&app.db, list, NOW).await.unwrap().unwrap();
        let end = UnixSeconds(row.window_end);
        assert!(end >= NOW + node.access_ttl && end <= NOW + 2 * node.access_ttl);
        let at = async |now| app.status_lists.published(app, list, now).await.unwrap();
        assert!(at(end + Duration::from_secs(60)).await.is_some());
        assert!(at(end + Duration::from_secs(121)).await.is_none());
        db::status_list::forget(&app.db, end + Duration::from_secs(1))
            .await
            .unwrap();
        assert!(db::status_list::find(&app.db, list, NOW).await.unwrap().is_none());
    }
}

#[test]
fn a_changed_list_names_its_resource() {
    let id = new_list_id("https://rs/mcp").unwrap();
    assert_eq!(tag_in(&id).unwrap(), tag_of("https://rs/mcp"));
    assert_ne!(tag_of("https://rs/mcp"), tag_of("https://rs/mcp2"));
    for other in ["t_x", "f_x", "l_", "*"] {
        assert_eq!(tag_in(other), None);
    }
    assert!(is_list_id(&id), "{id}");
    let others = [
        id[1..].to_owned(),
        format!("{id}A"),
        id.replace("l_", "f_"),
        format!("{}\0", &id[..id.len() - 1]),
        format!("{}é", &id[..id.len() - 2]),
        String::new(),
    ];
    for other in others {
        assert!(!is_list_id(&other), "{other:?}");
    }
    let issuer: Issuer = "https://as.example/tenant".parse().unwrap();
    let place = Place {
        list_id: id.as_str().into(),
        index: 7,
    };
    let reference = place.reference(&issuer);
    assert_eq!(
        reference.uri,
        format!("https://as.example/tenant/oauth/status/{id}")
    );
    assert_eq!(Place::named(&issuer, &reference), Some(place));
    let elsewhere = StatusReference {
        uri: format!("https://evil.example/oauth/status/{id}"),
        index: 7,
    };
    assert_eq!(Place::named(&issuer, &elsewhere), None);
    assert_eq!(resource("a").uri, "https://rs/mcp");
}
