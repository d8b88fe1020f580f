//! A program of one's own behind the door: docs/library.md. Arguments: the resource, its issuer, where to listen.

use std::error::Error;

use actix_web::{App, HttpServer, web};
use mcp_node::door::{Admitted, Door};

async fn orders(caller: Admitted) -> String {
    format!("the orders of {}\n", caller.claims().subject())
}

async fn reset(caller: Admitted) -> String {
    format!("reset by {}\n", caller.claims().client_id())
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut words = std::env::args().skip(1);
    let mut next = |usual: &str| words.next().unwrap_or_else(|| usual.to_owned());
    let (resource, issuer) = (next("http://localhost:8090"), next("http://localhost:9000"));
    let listen = next("127.0.0.1:8090");

    let door = Door::open(&resource, &issuer, &["orders:read", "orders:admin"])?;
    let (read, admin) = (door.needs("orders:read")?, door.needs("orders:admin")?);
    let program = HttpServer::new(move || {
        App::new()
            .configure(|app| door.metadata(app))
            .service(web::resource("/orders").wrap(read.clone()).get(orders))
            .service(web::resource("/reset").wrap(admin.clone()).post(reset))
    });
    Ok(program.workers(1).bind(listen)?.run().await?)
}
