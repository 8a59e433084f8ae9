use axum::{
    Json,
    extract::{Request, State},
    http::{StatusCode, header::LINK},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};
use tintype_proto::v1::{
    DeleteImageRequest, Image, ImageFormat, ListImagesRequest, RenditionSpec, RenditionState, image_service_server::ImageService,
};

use super::{Problem, id, query::Query, rpc};
use crate::{core::SharedCore, rpc::ImageRpcs};

/// `GET /api/images/list`.
pub(crate) async fn list(State(core): State<SharedCore>, request: Request) -> Result<Response, Problem> {
    let query = Query::of(request.uri());
    let page_size = query.number("page_size")?;
    let page_token = query.value("page_token")?.unwrap_or_default().to_owned();
    let message = ListImagesRequest { page_size, page_token, filter: None };
    let (parts, _) = request.into_parts();
    let answer = ImageRpcs(core).list_images(rpc(parts.extensions, message)).await?.into_inner();
    let images = Json(Value::Array(answer.images.iter().map(entry).collect()));
    if answer.next_page_token.is_empty() {
        return Ok(images.into_response());
    }
    // Page tokens are of letters that need no escapes.
    let size = if page_size == 0 { String::new() } else { format!("page_size={page_size}&") };
    let next = format!(r#"</api/images/list?{size}page_token={}>; rel="next""#, answer.next_page_token);
    Ok(([(LINK, next)], images).into_response())
}

/// An image with the names of what `get` has of it now: the original, and of each format the automatic rendition.
fn entry(image: &Image) -> Value {
    let converted = image.renditions.iter().filter(|rendition| {
        let automatic = RenditionSpec { format: rendition.format, ..RenditionSpec::default() };
        // Nobody can ask for a format that is not known here.
        let is_known = rendition.format() != ImageFormat::Unspecified;
        let is_automatic = rendition.format != image.format && rendition.spec.as_ref() == Some(&automatic);
        is_known && is_automatic && rendition.state() == RenditionState::Ready
    });
    let names = [&image.file_name].into_iter().chain(converted.map(|rendition| &rendition.file_name));
    json!({ "id": image.id, "images": names.map(|name| json!({ "name": name })).collect::<Vec<_>>() })
}

/// `DELETE /api/images/<id>`.
pub(crate) async fn delete(State(core): State<SharedCore>, request: Request) -> Result<StatusCode, Problem> {
    let message = DeleteImageRequest { id: id(&request)? };
    let (parts, _) = request.into_parts();
    ImageRpcs(core).delete_image(rpc(parts.extensions, message)).await?;
    Ok(StatusCode::NO_CONTENT)
}
