use axum::{
    Json,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value, json};
use tintype_proto::v1::{ErrorReason, UploadStart};
use tintype_store::{Image, LimitExceeded};

use super::{Problem, multipart::Multipart, rpc};
use crate::{
    auth::Caller,
    core::SharedCore,
    limits::Limits,
    rpc::incoming::{Begun, Incoming},
    status::Refusal,
};

/// Files of one request: what became of them is told at its end, and kept until then.
const MAX_FILES: usize = 1000;

/// `POST /api/images/create`.
pub(crate) async fn create(State(core): State<SharedCore>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let form = Multipart::new(&parts.headers, body)?;
    let caller = Caller::of(&rpc(parts.extensions, ()))?;
    let mut creating = Creating { core, caller, form, images: Map::new(), problems: Vec::new() };
    // What broke the form is told like what was wrong with a file: those before it are stored.
    if let Err(refusal) = creating.read().await {
        creating.problems.push(refusal.into());
    }
    creating.answer()
}

struct Creating {
    core: SharedCore,
    caller: Caller,
    form: Multipart,
    /// What is stored, by id.
    images: Map<String, Value>,
    problems: Vec<Problem>,
}

impl Creating {
    async fn read(&mut self) -> Result<(), Refusal> {
        let mut files = 0;
        while let Some(file_name) = self.form.next_part().await? {
            // A field that is no file, or a choice of files that was left empty.
            if file_name.is_empty() {
                continue;
            }
            files += 1;
            if files > MAX_FILES {
                let message = format!("{files} files are more than the limit of {MAX_FILES} in a request (max_form_files)");
                let refusal = Refusal::new(ErrorReason::LimitExceeded, message);
                return Err(refusal.with("limit", "max_form_files").with("value", MAX_FILES).with("seen", files));
            }
            match self.file(&file_name).await? {
                Ok(image) => drop(self.images.insert(image.id.to_string(), json!({ "name": image.file_name }))),
                Err(refusal) => {
                    // As much of it as a name may have: there can be a thousand of them.
                    let name = &file_name[..file_name.floor_char_boundary(Limits::MAX_FILE_NAME_BYTES)];
                    self.problems.push(Problem::from(refusal).with("name", name).with("part", files - 1));
                    self.skip().await?;
                }
            }
        }
        Ok(())
    }

    /// One file: the outer error is that of the form, the inner one its own.
    async fn file(&mut self, file_name: &str) -> Result<Result<Image, Refusal>, Refusal> {
        let start = UploadStart { file_name: file_name.to_owned(), ..UploadStart::default() };
        let mut file = match Incoming::begin(&self.core, self.caller.0.user.id, start).await {
            Ok(Begun::Receiving(file)) => file,
            Ok(Begun::Repeated(image)) => return Ok(Ok(*image)),
            Err(refusal) => return Ok(Err(refusal)),
        };
        while let Some(chunk) = self.form.chunk().await? {
            if let Err(refusal) = file.write(chunk).await {
                return Ok(Err(refusal));
            }
        }
        Ok(file.finish().await.map(|finished| finished.image))
    }

    /// Passes over what is left of a file that was refused, up to the size that a file may have.
    async fn skip(&mut self) -> Result<(), Refusal> {
        let value = self.core.limits.conversion.image.max_file_bytes;
        let mut seen = 0;
        while let Some(chunk) = self.form.chunk().await? {
            seen += chunk.len() as u64;
            if seen > value {
                return Err(LimitExceeded { what: "what follows of a refused file in bytes", limit: "max_file_bytes", value, seen }.into());
            }
        }
        Ok(())
    }

    fn answer(mut self) -> Result<Response, Problem> {
        if self.problems.is_empty() {
            return if self.images.is_empty() {
                Err(Refusal::field("body", "must have a part with a file name").into())
            } else {
                Ok(Json(self.images).into_response())
            };
        }
        let errors: Vec<_> = self.problems.iter().map(Problem::to_json).collect();
        if self.images.is_empty() {
            return Err(self.problems.swap_remove(0).with("errors", errors));
        }
        self.images.insert("errors".to_owned(), errors.into());
        Ok((StatusCode::MULTI_STATUS, Json(self.images)).into_response())
    }
}
