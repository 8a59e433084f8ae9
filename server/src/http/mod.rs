//! REST beside gRPC-Web: the same calls, for curl and whatever speaks nothing else. `docs/http.md` says what is promised.
//!
//! Routes pass the gate as the rpcs that they stand for. They call them in process where an answer is one message, and the same functions
//! where it is bytes, so that limits, rights and errors are the same.

mod accept;
mod archive;
mod create;
mod file_name;
mod form_body;
mod images;
mod linger;
mod links;
mod multipart;
mod picture;
mod problem;
mod query;
mod range;
mod sign_in;

use axum::{
    Extension, Router,
    extract::Request,
    handler::Handler,
    http::{Extensions, StatusCode, header::CONTENT_TYPE},
    middleware,
    routing::{delete, get, post, put},
};
use tonic::metadata::MetadataMap;

pub(crate) use problem::{Problem, code_name};
pub(crate) use query::Query;

use crate::{
    auth::{Gate, admit_as},
    core::SharedCore,
    status::Refusal,
};

/// What the routes are, for programs.
const OPENAPI: &str = include_str!("openapi.json");

/// Every route, behind the gate but for signed links and its own description.
pub(crate) fn routes(core: &SharedCore, gate: &Gate) -> Router {
    let sessions = Extension(gate.sessions.clone());
    let gate = |method| middleware::from_fn_with_state((gate.clone(), method), admit_as);
    Router::new()
        .route("/api_token", post(sign_in::create_token.layer(gate("/tintype.v1.AuthService/CreateToken"))))
        .route("/api/images/create", post(create::create.layer(gate("/tintype.v1.ImageService/UploadImages"))))
        .route("/api/images/list", get(images::list.layer(gate("/tintype.v1.ImageService/ListImages"))))
        .route("/api/images/get/{id}", get(picture::get.layer(gate("/tintype.v1.ImageService/DownloadImage"))))
        .route("/api/images/archive", get(archive::archive.layer(gate("/tintype.v1.ImageService/DownloadImages"))))
        .route("/api/images/{id}", delete(images::delete.layer(gate("/tintype.v1.ImageService/DeleteImage"))))
        // What a link allows is in the link.
        .route("/u/{id}", put(links::put).options(links::preflight).layer(middleware::from_fn(links::any_origin)))
        .route("/d/{id}", get(links::get.layer(sessions)).options(links::preflight).layer(middleware::from_fn(links::any_origin)))
        .route("/api/openapi.json", get(async || ([(CONTENT_TYPE, "application/json")], OPENAPI)))
        .method_not_allowed_fallback(async || Problem::new(StatusCode::METHOD_NOT_ALLOWED, "the method is not allowed here"))
        .layer(middleware::from_fn_with_state(core.clone(), linger::linger))
        .with_state(core.clone())
}

/// The call of an rpc in process: the caller and the connection are those of the request.
fn rpc<T>(extensions: Extensions, message: T) -> tonic::Request<T> {
    tonic::Request::from_parts(MetadataMap::new(), extensions, message)
}

/// The image that the path of a request ends with.
fn id(request: &Request) -> Result<i64, Refusal> {
    let text = request.uri().path().rsplit('/').next().unwrap_or_default();
    text.parse().map_err(|_| Refusal::field("id", format_args!("must be a whole number from 1, not {text:?}")))
}
