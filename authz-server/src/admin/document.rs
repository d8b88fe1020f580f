//! The OpenAPI 3.1 document, made of [`super::TABLE`], and the metadata of the API as a protected resource.

use actix_web::{HttpRequest, HttpResponse, web};
use shared::jose::sha256_base64url;
use shared::metadata::ProtectedResource;
use utoipa::PartialSchema;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::{ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::security::{
    AuthorizationCode, ClientCredentials, Flow, OAuth2, Scopes, SecurityRequirement, SecurityScheme,
};
use utoipa::openapi::server::ServerBuilder;
use utoipa::openapi::{ComponentsBuilder, HttpMethod, InfoBuilder, OpenApi, OpenApiBuilder, Ref, Required};

use super::operation::{Form, Kind, Method, Operation, Parameter};
use super::problem::ProblemBody;
use super::resource::PATH;
use super::{TABLE, page, resource, right};
use crate::app::App;
use crate::conditional::{self, Tagged};
use crate::error::{self, Failure};

/// The name of the way in which tokens are got.
const SECURITY: &str = "oauth2";
/// Text without control characters and replacement characters: what a query can say ([`super::input::Query`]).
const TEXT: &str = r"^[^\u0000-\u001f\u007f-\u009f\ufffd]+$";
/// An id as it stands in a path ([`super::path_of`]).
const ID: &str = "^(~[A-Za-z0-9_-]+|[A-Za-z0-9._-]+)$";
/// A star, or tags in quotes (RFC 9110 §13.1.1).
const TAGS: &str = "^([*]|(W/)?\"[^\", ]*\"(, *(W/)?\"[^\", ]*\")*)$";
/// Statuses that any operation may answer.
const ALWAYS: [u16; 6] = [400, 401, 403, 422, 429, 503];

/// `GET /admin/openapi.json`. It is the same for everybody, and tells nothing of this server but its address.
pub(super) async fn serve(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let text = openapi(app.base_of(&request).as_str())
        .to_json()
        .map_err(|fault| Failure::Internal(fault.to_string()));
    match text {
        Ok(text) => known(&request, text),
        Err(failure) => error::answer(&app, &request, failure),
    }
}

/// `GET /.well-known/oauth-protected-resource/admin/v1` (RFC 9728 §3): where tokens for the API come from.
pub(super) async fn metadata(app: web::Data<App>, request: HttpRequest) -> HttpResponse {
    let issuer = &app.config.issuer;
    let document = ProtectedResource {
        resource: resource::uri(issuer),
        authorization_servers: vec![issuer.as_str().to_owned()],
        scopes_supported: right::scopes(),
        bearer_methods_supported: vec!["header".to_owned()],
        dpop_signing_alg_values_supported: shared::dpop::algorithms().map(str::to_owned).collect(),
        dpop_bound_access_tokens_required: false,
        tls_client_certificate_bound_access_tokens: app.config.mutual_tls.is_on(),
        resource_name: resource::NAME.to_owned(),
    };
    match serde_json::to_string(&document) {
        Ok(text) => known(&request, text),
        Err(fault) => error::answer(&app, &request, Failure::Internal(fault.to_string())),
    }
}

fn known(request: &HttpRequest, text: String) -> HttpResponse {
    let document = Tagged {
        etag: &format!("\"{}\"", sha256_base64url(text.as_bytes())),
        content_type: "application/json",
        cache_control: "no-cache",
        body: text,
    };
    conditional::answer(request, document)
}

/// The document of a server whose base is `base`.
pub(crate) fn openapi(base: &str) -> OpenApi {
    let mut paths = PathsBuilder::new();
    let mut components = ComponentsBuilder::new().schema("Problem", ProblemBody::schema());
    for operation in TABLE {
        for form in operation.takes.iter().chain(&operation.gives.1) {
            let mut parts = Vec::new();
            (form.parts)(&mut parts);
            components = components
                .schemas_from_iter(parts)
                .schema((form.name)(), (form.schema)());
        }
        let method = match operation.method {
            Method::Get => HttpMethod::Get,
            Method::Ask | Method::Post | Method::Again => HttpMethod::Post,
            Method::Patch => HttpMethod::Patch,
            Method::Delete => HttpMethod::Delete,
        };
        // Items of one path are put together.
        paths = paths.path(
            format!("{PATH}{}", operation.path),
            PathItem::new(method, described(operation)),
        );
    }
    let info = InfoBuilder::new()
        .title("Edge Hive Auth: administration")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Every refusal is a problem document (RFC 9457). An id that is an address stands in a path as ~ and its base64url.",
        ))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new().url(base).build()]))
        .paths(paths)
        .components(Some(components.security_scheme(SECURITY, security(base)).build()))
        .build()
}

fn described(operation: &Operation) -> OperationBuilder {
    let mut described = OperationBuilder::new()
        .tag(operation.noun.as_str())
        .operation_id(Some(operation.name))
        .summary(Some(operation.summary))
        .responses(responses(operation));
    for scope in right::needed(operation.noun, operation.right()) {
        // Any one of them suffices.
        described = described.security(SecurityRequirement::new(SECURITY, [scope]));
    }
    if operation.path.contains("{id}") {
        described = described.parameter(parameter("id", ParameterIn::Path, pattern(ID)));
    }
    for known in operation.query {
        let mut parameter = parameter(known.name, ParameterIn::Query, schema_of(known));
        if matches!(known.kind, Kind::Needed) {
            parameter = parameter.required(Required::True);
        }
        described = described.parameter(parameter.description(Some(known.what)));
    }
    if operation.is_conditional {
        let what = "The ETag of what is changed, as it was read, or *";
        let header = parameter("If-Match", ParameterIn::Header, pattern(TAGS));
        described = described.parameter(header.required(Required::True).description(Some(what)));
    }
    if operation.is_repeatable() {
        let what =
            "A new one for each request; whoever sends a request again with it gets the first answer again";
        let header = parameter("Idempotency-Key", ParameterIn::Header, pattern("^[!-~]{1,255}$"));
        described = described.parameter(header.description(Some(what)));
    }
    if let Some(form) = &operation.takes {
        let body = RequestBodyBuilder::new()
            .content("application/json", content(form))
            .required(Some(Required::True));
        described = described.request_body(Some(body.build()));
    }
    described
}

fn responses(operation: &Operation) -> ResponsesBuilder {
    let (status, form) = operation.gives;
    let mut good = ResponseBuilder::new().description("Done");
    if let Some(form) = form {
        good = good.content("application/json", content(&form));
    }
    let has_tag = operation.path.contains("{id}") || status == 201;
    if has_tag && status != 204 {
        let header = HeaderBuilder::new().schema(Some(text())).build();
        good = good.header("ETag", header);
    }
    if status == 201 {
        good = good.header("Location", HeaderBuilder::new().schema(Some(text())).build());
    }
    let mut statuses: Vec<u16> = ALWAYS.to_vec();
    statuses.extend(operation.refuses);
    if operation.takes.is_some() {
        statuses.extend([413, 415]);
    }
    if operation.is_conditional {
        statuses.extend([412, 428]);
    }
    statuses.sort_unstable();
    let mut all = ResponsesBuilder::new().response(status.to_string(), good.build());
    for status in statuses {
        let problem = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name("Problem")))
            .build();
        let refusal = ResponseBuilder::new()
            .description("Not done")
            .content("application/problem+json", problem);
        all = all.response(status.to_string(), refusal.build());
    }
    all
}

fn content(form: &Form) -> utoipa::openapi::Content {
    let reference = Ref::from_schema_name((form.name)());
    ContentBuilder::new().schema(Some(reference)).build()
}

fn parameter(name: &str, place: ParameterIn, schema: Object) -> ParameterBuilder {
    let required = if place == ParameterIn::Path {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .schema(Some(schema))
}

fn text() -> Object {
    Object::with_type(SchemaType::Type(Type::String))
}

fn pattern(pattern: &str) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .pattern(Some(pattern))
        .build()
}

fn schema_of(parameter: &Parameter) -> Object {
    match parameter.kind {
        Kind::Text | Kind::Needed => pattern(TEXT),
        Kind::Cursor => pattern(page::CURSOR),
        Kind::Words(words) => ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::String))
            .enum_values(Some(words.iter().copied()))
            .build(),
        Kind::Number(most) => ObjectBuilder::new()
            .schema_type(SchemaType::Type(Type::Integer))
            .minimum(Some(1))
            .maximum(Some(most))
            .build(),
    }
}

fn security(base: &str) -> SecurityScheme {
    let scopes = || {
        let named = right::scopes();
        Scopes::from_iter(named.into_iter().map(|scope| (scope.clone(), scope)))
    };
    let (authorize, token) = (format!("{base}/oauth/authorize"), format!("{base}/oauth/token"));
    SecurityScheme::OAuth2(OAuth2::with_description(
        [
            Flow::AuthorizationCode(AuthorizationCode::new(authorize, &token, scopes())),
            Flow::ClientCredentials(ClientCredentials::new(&token, scopes())),
        ],
        "An access token of this server whose resource is this API. A person must be an administrator.",
    ))
}
