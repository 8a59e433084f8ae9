use crate::{
    args::Common,
    edit_args::Edit,
    output::{image_json, labels_text},
};

/// Id, file name, then the labels.
pub(super) async fn run(common: &Common, edit: Edit) -> anyhow::Result<()> {
    let mut change = super::signed_in(common)?.build()?.update_image(edit.id);
    if let Some(name) = edit.name {
        change = change.file_name(name);
    }
    for (key, value) in edit.label {
        change = change.label(key, value);
    }
    for key in edit.unlabel {
        change = change.remove_label(&key);
    }
    let image = change.send().await?;
    common.output.line(|| format!("{}\t{}{}", image.id, image.file_name, labels_text(&image, "\t")), || image_json(&image))
}
