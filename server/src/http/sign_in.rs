use axum::{
    Json,
    extract::{Request, State},
    http::{
        StatusCode,
        header::{CACHE_CONTROL, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tintype_proto::v1::{CreateTokenRequest, auth_service_server::AuthService};

use super::{Problem, form_body::form_body, rpc};
use crate::{core::SharedCore, rpc::AuthRpcs, status::Refusal};

/// `POST /api_token`.
pub(crate) async fn create_token(State(core): State<SharedCore>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let body = form_body(body).await?;
    let message = match media_type.as_str() {
        "application/json" => from_json(&body)?,
        "application/x-www-form-urlencoded" => from_form(&body),
        _ => {
            let detail = "the body must be application/json or application/x-www-form-urlencoded";
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
        }
    };
    let answer = AuthRpcs(core).create_token(rpc(parts.extensions, message)).await?.into_inner();
    Ok(([(CACHE_CONTROL, "no-store")], Json(json!({ "token": answer.token }))).into_response())
}

fn from_json(body: &[u8]) -> Result<CreateTokenRequest, Refusal> {
    let value: Value = serde_json::from_slice(body).map_err(|error| Refusal::field("body", format_args!("is not JSON: {error}")))?;
    let object = value.as_object().ok_or_else(|| Refusal::field("body", "must be a JSON object"))?;
    let text = |field: &'static str| match object.get(field) {
        None => Ok(String::new()),
        Some(Value::String(text)) => Ok(text.clone()),
        Some(_) => Err(Refusal::field(field, "must be a text")),
    };
    Ok(CreateTokenRequest { username: text("username")?, password: text("password")?, ..CreateTokenRequest::default() })
}

fn from_form(body: &[u8]) -> CreateTokenRequest {
    let mut request = CreateTokenRequest::default();
    for (name, value) in form_urlencoded::parse(body) {
        match &*name {
            "username" => request.username = value.into_owned(),
            "password" => request.password = value.into_owned(),
            _ => {}
        }
    }
    request
}
