//! The example of docs/library.md, as its callers meet it.
#![cfg(test)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::{Value, json};
use wiremock::matchers::path;
use wiremock::{Mock, MockServer, ResponseTemplate};

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the example. Cargo builds examples before tests are run.
fn start(resource: &str, issuer: &str, listen: SocketAddr) -> Running {
    let test = std::env::current_exe().unwrap();
    let program = test.ancestors().nth(2).unwrap().join("examples/own_service");
    assert!(program.is_file(), "build it: cargo build -p mcp-node --examples");
    let child = Command::new(program)
        .args([resource, issuer, &listen.to_string()])
        .spawn();
    Running(child.unwrap())
}

fn ask(listen: SocketAddr, method: &str, path: &str, token: Option<&str>) -> (u16, String) {
    let begun = Instant::now();
    let mut stream = loop {
        match TcpStream::connect(listen) {
            Ok(stream) => break stream,
            Err(fault) => assert!(begun.elapsed() < Duration::from_secs(60), "{fault}"),
        }
        std::thread::yield_now();
    };
    let token = token.map(|token| format!("Authorization: Bearer {token}\r\n"));
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {listen}\r\nConnection: close\r\nContent-Length: 0\r\n{}\r\n",
        token.unwrap_or_default()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    (answer[9..12].parse().unwrap(), answer)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_of_ones_own_is_behind_the_door() {
    let key = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let issuer = MockServer::start().await;
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let keys =
        json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "k", "alg": "EdDSA", "use": "sig"}]});
    let metadata = json!({"issuer": issuer.uri(), "jwks_uri": format!("{}/jwks", issuer.uri())});
    for (place, document) in [
        ("/.well-known/oauth-authorization-server", metadata),
        ("/jwks", keys),
    ] {
        let answer = ResponseTemplate::new(200).set_body_json(document);
        Mock::given(path(place)).respond_with(answer).mount(&issuer).await;
    }
    let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let resource = format!("http://{listen}");
    let _running = start(&resource, &issuer.uri(), listen);
    let token = |scope: &str| {
        let now = shared::clock::now().0;
        let claims = json!({
            "iss": issuer.uri(), "sub": "user:ada", "aud": resource, "exp": now + 300, "iat": now, "jti": "j",
            "client_id": "shop", "scope": scope,
        });
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({"typ": "at+jwt", "alg": "EdDSA", "kid": "k"});
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())))
    };

    let (status, answer) = ask(listen, "GET", "/orders", None);
    let metadata = format!("resource_metadata=\"{resource}/.well-known/oauth-protected-resource\"");
    assert!(status == 401 && answer.contains(&metadata), "{answer}");
    let (status, document) = ask(listen, "GET", "/.well-known/oauth-protected-resource", None);
    assert!(status == 200 && document.contains(&issuer.uri()), "{document}");
    let (status, answer) = ask(listen, "GET", "/orders", Some(&token("orders:read")));
    assert!(
        status == 200 && answer.ends_with("the orders of user:ada\n"),
        "{answer}"
    );
    let (status, answer) = ask(listen, "POST", "/reset", Some(&token("orders:read")));
    assert!(
        status == 403
            && answer.contains("error=\"insufficient_scope\"")
            && answer.contains("scope=\"orders:admin\""),
        "{answer}"
    );
    let (status, answer) = ask(listen, "POST", "/reset", Some(&token("orders:*")));
    assert!(status == 200 && answer.ends_with("reset by shop\n"), "{answer}");
}
