//! The middleware.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::{Error, HttpMessage};
use shared::scope::Scope;

use super::{Admitted, Door};

/// Lets nobody by who has not the scope; hands the caller to the endpoint, as [`Admitted`].
#[derive(Clone, Debug)]
pub struct Needs {
    door: Door,
    scope: Scope,
}

impl Needs {
    pub(super) fn new(door: Door, scope: Scope) -> Self {
        Self { door, scope }
    }
}

impl<S, B> Transform<S, ServiceRequest> for Needs
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Behind<S>;
    type InitError = ();
    type Future = Ready<Result<Behind<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Behind {
            needs: self.clone(),
            service: Rc::new(service),
        }))
    }
}

/// An endpoint behind the door.
#[derive(Debug)]
pub struct Behind<S> {
    needs: Needs,
    service: Rc<S>,
}

impl<S, B> Service<ServiceRequest> for Behind<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.service.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (needs, service) = (self.needs.clone(), Rc::clone(&self.service));
        Box::pin(async move {
            match needs.door.admit(request.request(), &needs.scope).await {
                Ok(caller) => {
                    request.extensions_mut().insert(Admitted(caller));
                    Ok(service.call(request).await?.map_into_left_body())
                }
                Err(answer) => Ok(request.into_response(answer).map_into_right_body()),
            }
        })
    }
}
