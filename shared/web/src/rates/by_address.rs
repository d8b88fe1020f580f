//! The limit by caller's address: actix-governor's middleware, whose rate can change while it is in use.
//!
//! A governor is built for one rate and keeps it. So another rate is another governor, and every worker builds itself its
//! middleware, in front of the same routes, with the first request that comes after.

use std::cell::RefCell;
use std::fmt;
use std::future::{Ready, ready};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use actix_governor::{
    Governor, GovernorConfig, GovernorConfigBuilder, GovernorMiddleware, KeyExtractor,
    SimpleKeyExtractionError,
};
use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::ErrorInternalServerError;
use actix_web::{Error, HttpMessage, HttpResponse, HttpResponseBuilder};
use arc_swap::ArcSwap;
use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use governor::NotUntil;
use governor::clock::{Clock, DefaultClock, QuantaInstant};
use governor::middleware::NoOpMiddleware;

use super::{Exceeded, Rate};
use crate::address::ClientAddress;

type Counting = NoOpMiddleware<QuantaInstant>;

/// The limit by address. All workers share its counts.
#[derive(Clone)]
pub struct AddressLimit(Arc<ArcSwap<Limit>>);

/// A rate, and what counts against it; nothing, where there is no limit.
struct Limit {
    rate: Rate,
    governor: Option<GovernorConfig<ByAddress, Counting>>,
}

impl Limit {
    fn new(rate: Rate) -> Self {
        let governor = rate.0.and_then(|(count, per)| {
            let mut builder = GovernorConfigBuilder::default().key_extractor(ByAddress(rate));
            builder.period(per / count.get()).burst_size(count.get()).finish()
        });
        Self { rate, governor }
    }
}

impl AddressLimit {
    /// A limit of `rate` for each address.
    pub fn new(rate: Rate) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Limit::new(rate))))
    }

    /// Another rate from now on. What was counted is forgotten then.
    pub fn set_rate(&self, rate: Rate) {
        if self.0.load().rate != rate {
            self.0.store(Arc::new(Limit::new(rate)));
        }
    }

    /// Drops addresses whose allowance is full again.
    pub(super) fn forget_the_idle(&self) {
        if let Some(governor) = &self.0.load().governor {
            governor.limiter().retain_recent();
            governor.limiter().shrink_to_fit();
        }
    }
}

impl fmt::Debug for AddressLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "AddressLimit({})", self.0.load().rate)
    }
}

/// Counts by [`ClientAddress::limit_key`].
#[derive(Clone, Copy, Debug)]
struct ByAddress(Rate);

impl KeyExtractor for ByAddress {
    type Key = IpAddr;
    type KeyExtractionError = SimpleKeyExtractionError<&'static str>;

    fn extract(&self, request: &ServiceRequest) -> Result<IpAddr, Self::KeyExtractionError> {
        let address = request.extensions().get::<ClientAddress>().copied();
        address
            .map(ClientAddress::limit_key)
            .ok_or_else(|| SimpleKeyExtractionError::new("the frame is not in place"))
    }

    fn exceed_rate_limit_response(
        &self,
        until: &NotUntil<QuantaInstant>,
        _: HttpResponseBuilder,
    ) -> HttpResponse {
        Exceeded::new(until.wait_time_from(DefaultClock::default().now()), self.0).answer()
    }
}

impl<S, B> Transform<S, ServiceRequest> for AddressLimit
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = Limited<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Limited {
            limit: self.clone(),
            routes: Routes(Rc::new(service)),
            current: RefCell::default(),
        }))
    }
}

/// The routes of one worker behind the limit.
pub struct Limited<S> {
    limit: AddressLimit,
    routes: Routes<S>,
    current: RefCell<Option<Current<S>>>,
}

/// What a worker built last, and of which limit.
type Current<S> = (Arc<Limit>, Rc<Built<S>>);

type Built<S> = GovernorMiddleware<Routes<S>, ByAddress, Counting>;

impl<S, B> Limited<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    /// The middleware of `limit`, whose counts are those of every worker.
    fn middleware(
        &self,
        limit: &Arc<Limit>,
        governor: &GovernorConfig<ByAddress, Counting>,
    ) -> Option<Rc<Built<S>>> {
        let mut current = self.current.borrow_mut();
        if let Some((of, built)) = &*current
            && Arc::ptr_eq(of, limit)
        {
            return Some(Rc::clone(built));
        }
        let made = Governor::new(governor).new_transform(self.routes.clone());
        // It is ready at once, and cannot fail.
        let built = Rc::new(made.now_or_never()?.ok()?);
        *current = Some((Arc::clone(limit), Rc::clone(&built)));
        Some(built)
    }
}

impl<S, B> Service<ServiceRequest> for Limited<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Result<Self::Response, Error>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.routes.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let limit = self.limit.0.load_full();
        let Some(governor) = &limit.governor else {
            let answered = self.routes.call(request);
            return Box::pin(async { Ok(answered.await?.map_into_left_body()) });
        };
        match self.middleware(&limit, governor) {
            Some(middleware) => Box::pin(middleware.call(request)),
            None => Box::pin(ready(Err(ErrorInternalServerError("no limit could be set up")))),
        }
    }
}

/// What is limited, for one middleware after the other.
struct Routes<S>(Rc<S>);

impl<S> Clone for Routes<S> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<S: Service<ServiceRequest>> Service<ServiceRequest> for Routes<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        self.0.call(request)
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::StatusCode;
    use actix_web::test::{TestRequest, call_service, init_service};
    use actix_web::{App, web};

    use super::*;

    #[tokio::test]
    async fn another_rate_counts_from_the_next_request_on() {
        let limit = AddressLimit::new("2/h".parse().unwrap());
        let routes = || {
            let app = App::new().wrap(limit.clone());
            init_service(app.route("/", web::get().to(HttpResponse::Ok)))
        };
        let workers = [routes().await, routes().await];
        let ask = async |worker: usize| {
            let request = TestRequest::get().uri("/").to_request();
            let address = ClientAddress("192.0.2.1".parse().unwrap());
            request.extensions_mut().insert(address);
            call_service(&workers[worker], request).await.status()
        };
        let full = StatusCode::TOO_MANY_REQUESTS;
        assert_eq!(
            [ask(0).await, ask(1).await, ask(0).await],
            [StatusCode::OK, StatusCode::OK, full]
        );
        limit.set_rate("2/h".parse().unwrap());
        assert_eq!(ask(1).await, full);
        limit.set_rate("off".parse().unwrap());
        for worker in [0, 1, 0, 1] {
            assert_eq!(ask(worker).await, StatusCode::OK);
        }
        limit.set_rate("1/h".parse().unwrap());
        assert_eq!([ask(1).await, ask(0).await], [StatusCode::OK, full]);
    }
}
