//! The two ports: gRPC, and HTTP with gRPC-Web, REST and `/healthz`. Both carry the same gRPC routes behind the same gate.

use std::time::Duration;

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{StatusCode, header::CONTENT_TYPE},
    middleware,
    response::{IntoResponse, Response},
    routing::get,
};
use tintype_proto::{
    FILE_DESCRIPTOR_SET,
    v1::{
        admin_service_server::AdminServiceServer, auth_service_server::AuthServiceServer, image_service_server::ImageServiceServer,
        user_service_server::UserServiceServer,
    },
};
use tonic::{
    service::Routes,
    transport::{Identity, Server, ServerTlsConfig},
};
use tonic_health::{pb::health_server::HealthServer, server::HealthService};
use tonic_web::GrpcWebLayer;

use crate::{
    auth::{Gate, admit},
    core::SharedCore,
    health::HealthReceiver,
    http::Problem,
    limits::Limits,
    rpc::{AdminRpcs, AuthRpcs, ImageRpcs, UserRpcs},
    status::no_such_method,
};

/// Flow-control windows (RFC 9113, section 6.9): enough for 60 Mbit/s over 100 ms on one stream, and a bound on what one client can park here:
/// while the store is slow, a stream has up to twice as much in memory, with the chunk at hand and what the allocator adds.
const STREAM_WINDOW_BYTES: u32 = 3 << 18;
const CONNECTION_WINDOW_BYTES: u32 = 5 << 19;
/// tonic passes "unset" on as "unbounded"; these are hyper's own defaults against reset floods (CVE-2023-44487).
const MAX_PENDING_RESETS: usize = 20;
const MAX_ERROR_RESETS: usize = 1024;
const MAX_HEADER_BYTES: u32 = 16 << 10;
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_PATIENCE: Duration = Duration::from_secs(20);

/// All gRPC services behind the gate.
pub(crate) fn grpc_routes(core: &SharedCore, gate: Gate, health: HealthService) -> anyhow::Result<Router> {
    let auth = AuthServiceServer::new(AuthRpcs(core.clone()));
    let images = ImageServiceServer::new(ImageRpcs(core.clone())).max_decoding_message_size(Limits::MAX_MESSAGE_BYTES);
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Without it clients show the details of errors as bytes.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(auth)
        .add_service(images)
        .add_service(UserServiceServer::new(UserRpcs(core.clone())))
        .add_service(AdminServiceServer::new(AdminRpcs(core.clone())))
        .add_service(HealthServer::new(health))
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?);
    Ok(routes.into_axum_router().layer(middleware::from_fn_with_state(gate, admit)))
}

/// The HTTP port: the gRPC routes in gRPC-Web, REST, and what plain HTTP clients ask for.
pub(crate) fn http_routes(grpc: Router, rest: Router, health: HealthReceiver) -> Router {
    // Outside the gRPC-Web layer, which answers 400 to every other HTTP/1.1 request.
    let plain = Router::new().route("/healthz", get(healthz)).with_state(health);
    grpc.layer(GrpcWebLayer::new()).fallback(not_found).merge(plain).merge(rest)
}

/// A server with every limit set.
pub(crate) fn server(limits: &Limits, tls: Option<&Identity>) -> anyhow::Result<Server> {
    let server = Server::builder()
        .max_concurrent_streams(limits.max_streams_per_connection)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .http2_max_pending_accept_reset_streams(Some(MAX_PENDING_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_ERROR_RESETS))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_PATIENCE));
    Ok(match tls {
        Some(identity) => server.tls_config(ServerTlsConfig::new().identity(identity.clone()))?,
        None => server,
    })
}

async fn healthz(State(health): State<HealthReceiver>) -> Response {
    let health = health.borrow().clone();
    let code = if health.is_serving() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health.to_json())).into_response()
}

async fn not_found(request: Request) -> Response {
    let content_type = request.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if content_type.starts_with("application/grpc") {
        return no_such_method().into_http();
    }
    Problem::new(StatusCode::NOT_FOUND, "nothing is here; see /api/openapi.json").into_response()
}
