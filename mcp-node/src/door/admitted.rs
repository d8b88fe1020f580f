//! The extractor.

use std::future::{Ready, ready};
use std::ops::Deref;
use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::error::ErrorInternalServerError;
use actix_web::{Error, FromRequest, HttpMessage, HttpRequest};

use crate::auth::Caller;

/// The caller of an endpoint behind [`super::Needs`]: whoever reads it can rely on its token having been good, and on
/// its scope.
#[derive(Clone, Debug)]
pub struct Admitted(pub(super) Arc<Caller>);

impl Deref for Admitted {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.0
    }
}

impl FromRequest for Admitted {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    /// Without a door before the endpoint there is no caller, and nothing is answered but 500.
    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let caller = request.extensions().get::<Self>().cloned();
        ready(caller.ok_or_else(|| ErrorInternalServerError("there is no door before this endpoint")))
    }
}
