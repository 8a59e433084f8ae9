//! The two ports: gRPC, and HTTP with gRPC-Web, REST and `/healthz`. Both carry the same gRPC routes behind the same gate.

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tintype_process::Metrics;
use tintype_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        admin_service_server::AdminServiceServer, auth_service_server::AuthServiceServer, image_service_server::ImageServiceServer,
        user_service_server::UserServiceServer,
    },
};
use tonic::service::Routes;
use tonic_health::{pb::health_server::HealthServer, server::HealthService};
use tonic_web::GrpcWebLayer;

use crate::{
    auth::{Gate, admit},
    calls::{Bounds, bound},
    core::SharedCore,
    health::HealthReceiver,
    http::Problem,
    limits::Limits,
    rpc::{AdminRpcs, AuthRpcs, ImageRpcs, UserRpcs},
    status::no_such_method,
};

/// All gRPC services within their bounds and behind the gate.
pub(crate) fn grpc_routes(core: &SharedCore, bounds: Bounds, gate: Gate, health: HealthService) -> anyhow::Result<Router> {
    // What a message announces as its length is reserved before it arrives, and of some services before anybody was asked for a token.
    let plain_bytes = Limits::MAX_PLAIN_MESSAGE_BYTES;
    let auth = AuthServiceServer::new(AuthRpcs(core.clone())).max_decoding_message_size(plain_bytes);
    let users = UserServiceServer::new(UserRpcs(core.clone())).max_decoding_message_size(plain_bytes);
    let admin = AdminServiceServer::new(AdminRpcs(core.clone())).max_decoding_message_size(plain_bytes);
    let images = ImageServiceServer::new(ImageRpcs(core.clone())).max_decoding_message_size(Limits::MAX_MESSAGE_BYTES);
    let health = HealthServer::new(health).max_decoding_message_size(Limits::MAX_HEALTH_MESSAGE_BYTES);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Without it clients show the details of errors as bytes.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(auth)
        .add_service(images)
        .add_service(users)
        .add_service(admin)
        .add_service(health)
        .add_service(reflection().build_v1()?.max_decoding_message_size(Limits::MAX_REFLECTION_MESSAGE_BYTES))
        .add_service(reflection().build_v1alpha()?.max_decoding_message_size(Limits::MAX_REFLECTION_MESSAGE_BYTES));
    let routes = routes.into_axum_router().layer(middleware::from_fn_with_state(gate, admit));
    Ok(routes.layer(middleware::from_fn_with_state(bounds, bound)))
}

/// The HTTP port: the gRPC routes in gRPC-Web, REST, and what plain HTTP clients ask for.
pub(crate) fn http_routes(grpc: Router, rest: Router, bounds: Bounds, health: HealthReceiver, metrics: Metrics) -> Router {
    // Outside the gRPC-Web layer, which answers 400 to every other HTTP/1.1 request.
    let plain = Router::new().route("/healthz", get(healthz)).with_state(health).route("/metrics", get(self::metrics)).with_state(metrics);
    let plain = plain.merge(rest).layer(middleware::from_fn_with_state(bounds, bound));
    grpc.layer(GrpcWebLayer::new()).fallback(not_found).merge(plain)
}

async fn healthz(State(health): State<HealthReceiver>) -> Response {
    let health = health.borrow().clone();
    let code = if health.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health.to_json())).into_response()
}

async fn metrics(State(metrics): State<Metrics>) -> impl IntoResponse {
    ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], metrics.render())
}

async fn not_found(request: Request) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.starts_with("application/grpc") {
        return no_such_method().into_http();
    }
    Problem::new(StatusCode::NOT_FOUND, "nothing is here; see /api/openapi.json, /healthz and /metrics").into_response()
}
