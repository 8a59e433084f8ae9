use std::fmt::Write as _;

use data_encoding::{BASE64, HEXLOWER};
use tintype_client::{Image, Rendition, RenditionState};

use crate::{
    args::{Common, Show},
    output::{image_json, labels_text, rendition_line, utc},
};

pub(super) async fn run(common: &Common, show: &Show) -> anyhow::Result<()> {
    let image = super::signed_in(common)?.build()?.image(show.id).await?;
    common.output.line(|| text(&image), || image_json(&image))
}

fn text(image: &Image) -> String {
    let mut text = format!(
        "image\t{}\nfile name\t{}\nstate\t{}\nformat\t{}\nbytes\t{}\npixels\t{}x{}\nframes\t{}\nsha256\t{}\ncreated\t{}\nowner\t{}\naccess\t{}{}",
        image.id,
        image.file_name,
        image.state(),
        image.format,
        image.size_bytes,
        image.width,
        image.height,
        image.frame_count,
        HEXLOWER.encode(&image.sha256),
        utc(image.created_at),
        image.owner_id,
        image.access,
        labels_text(image, "\nlabel\t"),
    );
    if let Some(thumbhash) = &image.thumbhash {
        let _ = write!(text, "\nthumbhash\t{}", BASE64.encode(thumbhash));
    }
    for rendition in &image.renditions {
        text.push_str(&rendition_text(rendition));
    }
    text
}

fn rendition_text(rendition: &Rendition) -> String {
    let mut text = format!("\nrendition\t{}", rendition_line(rendition));
    if rendition.state == RenditionState::Ready {
        let _ = write!(text, "\t{}x{}\t{}", rendition.width, rendition.height, rendition.size_bytes);
        if let Some(colours) = rendition.colours {
            let _ = write!(text, "\t{colours}");
        }
        match rendition.frame_count {
            _ if rendition.first_frame_only => text.push_str("\tfirst frame only"),
            0 | 1 => {}
            frames => {
                let _ = write!(text, "\t{frames} frames");
            }
        }
    }
    if let Some(failure) = &rendition.failure {
        let _ = write!(text, "\t{}: {}", failure.reason, failure.message);
    }
    text
}
