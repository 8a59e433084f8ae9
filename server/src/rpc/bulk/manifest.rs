use std::mem;

use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use tintype_proto::v1::DownloadInfo;
use tonic::Status;
use tonic_types::StatusExt;

use super::choice::Choice;
use crate::{http::code_name, wire};

/// What is in an archive and what is not, as the text that it will be: a few hundred bytes for each picture.
#[derive(Default)]
pub(super) struct Manifest {
    pictures: String,
    missing: String,
}

impl Manifest {
    pub(super) fn include(&mut self, name: &str, uploaded_as: &str, info: &DownloadInfo) {
        let picture = json!({
            "name": name,
            "image_id": info.image_id,
            "rendition_id": (info.rendition_id != 0).then_some(info.rendition_id),
            "file_name": uploaded_as,
            "format": wire::format("format", info.format).ok().flatten().map(tintype_store::Format::name),
            "size_bytes": info.size_bytes,
            "sha256": HEXLOWER.encode(&info.sha256),
        });
        append(&mut self.pictures, &picture);
    }

    pub(super) fn miss(&mut self, choice: Choice, status: &Status) {
        let missing = json!({
            "image_id": choice.image.0,
            "format": choice.format.map(tintype_store::Format::name),
            "code": code_name(status.code()),
            "reason": status.get_error_details().error_info().map(|info| info.reason.clone()),
            "message": status.message(),
        });
        append(&mut self.missing, &missing);
    }

    /// The whole text; nothing is left.
    pub(super) fn take_json(&mut self) -> String {
        let Self { pictures, missing } = mem::take(self);
        format!("{{\"pictures\": [{pictures}\n], \"missing\": [{missing}\n]}}\n")
    }
}

fn append(list: &mut String, item: &Value) {
    list.push_str(if list.is_empty() { "\n  " } else { ",\n  " });
    list.push_str(&item.to_string());
}

#[cfg(test)]
mod tests {
    use tintype_store::{Format, ImageId};

    use super::*;
    use crate::status::Refusal;

    #[test]
    fn it_is_json_whatever_is_in_it() {
        let mut manifest = Manifest::default();
        let read = |manifest: &mut Manifest| serde_json::from_str::<Value>(&manifest.take_json()).expect("JSON");
        assert_eq!(read(&mut manifest), json!({ "pictures": [], "missing": [] }));
        for name in ["a\"b.png", "c.png"] {
            manifest.include(name, "dog.png", &DownloadInfo { image_id: 4, ..DownloadInfo::default() });
        }
        let status = Refusal::image_not_found(ImageId(5)).into();
        manifest.miss(Choice { image: ImageId(5), format: Some(Format::WebP) }, &status);
        let read = read(&mut manifest);
        assert_eq!((&read["pictures"][0]["name"], &read["pictures"][1]["name"]), (&json!("a\"b.png"), &json!("c.png")));
        assert_eq!((&read["missing"][0]["reason"], &read["missing"][0]["format"]), (&json!("IMAGE_NOT_FOUND"), &json!("webp")));
    }
}
