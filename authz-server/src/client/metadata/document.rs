//! The way back: what is registered, as a document.

use serde_json::{Map, Value, json};

use crate::db::DbFault;
use crate::db::client::ClientRow;

/// Everything that is registered of a client and that a document can say (RFC 7591 §3.2.1). Read again under the policy
/// of whoever wrote it, it gives the same client.
pub(crate) fn document(row: &ClientRow) -> Result<Map<String, Value>, DbFault> {
    let damaged = |_| DbFault::Unexpected(format!("client {} is damaged", row.client_id));
    let mut document: Map<String, Value> = serde_json::from_str(&row.details).map_err(damaged)?;
    let words = |text: &str| text.split_ascii_whitespace().map(Value::from).collect::<Vec<_>>();
    let redirect_uris: Value = serde_json::from_str(&row.redirect_uris).map_err(damaged)?;
    let (methods, grants) = (words(&row.auth_methods), words(&row.grants));
    let response_types = if grants.iter().any(|grant| grant == "authorization_code") {
        json!(["code"])
    } else {
        json!([])
    };
    document.insert("client_name".to_owned(), json!(row.name));
    document.insert("redirect_uris".to_owned(), redirect_uris);
    document.insert("grant_types".to_owned(), json!(grants));
    document.insert("response_types".to_owned(), response_types);
    document.insert("scope".to_owned(), json!(row.scopes));
    document.insert(
        "token_endpoint_auth_method".to_owned(),
        methods.first().cloned().unwrap_or_default(),
    );
    if methods.len() > 1 {
        document.insert("token_endpoint_auth_methods_supported".to_owned(), json!(methods));
    }
    Ok(document)
}
