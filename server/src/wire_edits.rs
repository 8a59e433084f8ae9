//! Between protobuf and the domain, for what is asked for images that are there: how renditions are made, names and labels.

use std::collections::BTreeMap;

use prost_types::FieldMask;
use tintype_proto::v1;
use tintype_store::{
    Effort, Fit, Format, ImageChange, ImageHeader, ImageLimits, Labels, LimitExceeded, MAX_LABELS_BYTES, Resize, Rgb, Spec, labels_bytes,
};
use unicode_normalization::UnicodeNormalization;

use crate::{limits::Limits, status::Refusal, wire};

/// How a rendition is made, in canonical form.
pub(crate) fn spec(value: &v1::RenditionSpec, limits: &ImageLimits) -> Result<Spec, Refusal> {
    let format = wire::format("spec.format", value.format)?.ok_or_else(|| Refusal::field("spec.format", "must be said"))?;
    if value.lossless && format != Format::WebP {
        return Err(Refusal::field("spec.lossless", format_args!("is a choice of webp alone, not of {format}")));
    }
    let spec = Spec {
        format,
        quality: quality(value.quality, format, value.lossless)?,
        lossless: value.lossless,
        resize: resize(value, limits)?,
        background: background(&value.background)?,
        effort: effort(value.effort)?,
        keep_metadata: value.keep_metadata,
    };
    Ok(spec.canonical())
}

fn quality(value: i32, format: Format, lossless: bool) -> Result<Option<u8>, Refusal> {
    const FIELD: &str = "spec.quality";
    let quality = u8::try_from(value).ok().filter(|quality| *quality <= 100);
    let quality = quality.ok_or_else(|| Refusal::field(FIELD, format_args!("must be 1 to 100, or 0 for the default, not {value}")))?;
    if quality > 0 && (lossless || !format.is_lossy()) {
        return Err(Refusal::field(FIELD, format_args!("means nothing for {}{format}", if lossless { "lossless " } else { "" })));
    }
    Ok(Some(quality).filter(|quality| *quality > 0))
}

fn resize(value: &v1::RenditionSpec, limits: &ImageLimits) -> Result<Option<Resize>, Refusal> {
    const FIT: &str = "spec.fit";
    let side = |field, side| u32::try_from(side).map_err(|_| Refusal::field(field, format_args!("must be 0 or more, not {side}")));
    let width = Some(side("spec.width", value.width)?).filter(|width| *width > 0);
    let height = Some(side("spec.height", value.height)?).filter(|height| *height > 0);
    let fit = match v1::ResizeFit::try_from(value.fit) {
        Ok(v1::ResizeFit::Unspecified | v1::ResizeFit::Contain) => Fit::Contain,
        Ok(v1::ResizeFit::Cover) => Fit::Cover,
        Ok(v1::ResizeFit::Fill) => Fit::Fill,
        Err(_) => return Err(Refusal::field(FIT, format_args!("has no fit {}", value.fit))),
    };
    if fit != Fit::Contain && (width.is_none() || height.is_none()) {
        return Err(Refusal::field(FIT, format_args!("{} needs both spec.width and spec.height", fit.name())));
    }
    if width.is_none() && height.is_none() {
        let unspecified = i32::from(v1::ResizeFit::Unspecified);
        return match (value.enlarge, value.fit) {
            (true, _) => Err(Refusal::field("spec.enlarge", "needs spec.width or spec.height")),
            (false, fit) if fit != unspecified => Err(Refusal::field(FIT, "needs spec.width or spec.height")),
            _ => Ok(None),
        };
    }
    // Each side for itself, and both together where they are those of the picture.
    let check = |width, height| limits.check(&ImageHeader { format: Format::Png, width, height, frame_count: 1 });
    check(width.unwrap_or(1), 1)?;
    check(1, height.unwrap_or(1))?;
    if let (Fit::Cover | Fit::Fill, Some(width), Some(height)) = (fit, width, height) {
        check(width, height)?;
    }
    Ok(Some(Resize { width, height, fit, enlarge: value.enlarge }))
}

fn background(value: &str) -> Result<Option<Rgb>, Refusal> {
    if value.is_empty() {
        return Ok(None);
    }
    let colour = value.strip_prefix('#').and_then(|digits| digits.parse().ok());
    let unknown = || Refusal::field("spec.background", format_args!("must be # and six hexadecimal digits, not {value:?}"));
    colour.ok_or_else(unknown).map(Some)
}

fn effort(value: i32) -> Result<Effort, Refusal> {
    match v1::Effort::try_from(value) {
        Ok(v1::Effort::Unspecified | v1::Effort::Balanced) => Ok(Effort::Balanced),
        Ok(v1::Effort::Fast) => Ok(Effort::Fast),
        Ok(v1::Effort::Small) => Ok(Effort::Small),
        Err(_) => Err(Refusal::field("spec.effort", format_args!("has no effort {value}"))),
    }
}

/// What was asked for, without the defaults.
pub(crate) fn proto_spec(spec: &Spec) -> v1::RenditionSpec {
    let side = |side: fn(&Resize) -> Option<u32>| spec.resize.as_ref().and_then(side).unwrap_or_default() as i32;
    v1::RenditionSpec {
        format: wire::proto_format(spec.format).into(),
        quality: spec.quality.map_or(0, i32::from),
        lossless: spec.lossless,
        width: side(|resize| resize.width),
        height: side(|resize| resize.height),
        fit: match spec.resize.map(|resize| resize.fit) {
            None | Some(Fit::Contain) => v1::ResizeFit::Unspecified,
            Some(Fit::Cover) => v1::ResizeFit::Cover,
            Some(Fit::Fill) => v1::ResizeFit::Fill,
        }
        .into(),
        enlarge: spec.resize.is_some_and(|resize| resize.enlarge),
        background: spec.background.map(|colour| format!("#{colour}")).unwrap_or_default(),
        effort: match spec.effort {
            Effort::Fast => v1::Effort::Fast,
            Effort::Balanced => v1::Effort::Unspecified,
            Effort::Small => v1::Effort::Small,
        }
        .into(),
        keep_metadata: spec.keep_metadata,
    }
}

/// The labels of an image, or those that a filter asks for.
pub(crate) fn labels(field: &'static str, values: BTreeMap<String, String>) -> Result<Labels, Refusal> {
    let labels = values.into_iter().map(|(key, value)| {
        let value = label_value(field, &key, &value)?;
        Ok((label_key(field, key)?, value))
    });
    let labels = labels.collect::<Result<Labels, Refusal>>()?;
    match labels_bytes(&labels) {
        seen if seen > MAX_LABELS_BYTES => Err(labels_too_large(seen).into()),
        _ => Ok(labels),
    }
}

/// Keys and values take more bytes together than they may.
pub(crate) fn labels_too_large(seen: u64) -> LimitExceeded {
    LimitExceeded { what: "size of all labels in bytes", limit: "max_labels_bytes", value: MAX_LABELS_BYTES, seen }
}

fn label_key(field: &'static str, key: String) -> Result<String, Refusal> {
    const MAX: usize = Limits::MAX_LABEL_KEY_BYTES;
    let known = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-');
    if (1..=MAX).contains(&key.len()) && key.bytes().all(known) {
        return Ok(key);
    }
    Err(Refusal::field(field, format_args!("must have keys of 1 to {MAX} of a-z, 0-9, '.', '_' and '-', not {key:?}")))
}

fn label_value(field: &'static str, key: &str, value: &str) -> Result<String, Refusal> {
    const MAX: usize = Limits::MAX_LABEL_VALUE_BYTES;
    let value: String = value.nfc().collect();
    if value.len() > MAX {
        return Err(Refusal::field(field, format_args!("must have values of {MAX} bytes at most, not {} for {key:?}", value.len())));
    }
    match value.chars().find(|c| c.is_control()) {
        Some(bad) => Err(Refusal::field(field, format_args!("must not contain {bad:?} in the value of {key:?}"))),
        None => Ok(value),
    }
}

/// What a mask names of an image.
pub(crate) fn image_change(mut image: v1::Image, mask: FieldMask) -> Result<ImageChange, Refusal> {
    const MASK: &str = "update_mask";
    const LABELS: &str = "image.labels";
    let mut change = ImageChange::default();
    if mask.paths.is_empty() {
        return Err(Refusal::field(MASK, "must name file_name, labels or labels.KEY"));
    }
    for path in mask.paths {
        if path == "file_name" {
            change.file_name = Some(wire::file_name("image.file_name", &image.file_name)?);
        } else if path == "labels" {
            change.replace_labels = true;
            let all = labels(LABELS, image.labels.clone())?;
            change.labels.extend(all.into_iter().map(|(key, value)| (key, Some(value))));
        } else if let Some(key) = path.strip_prefix("labels.") {
            let key = label_key(MASK, key.to_owned())?;
            let value = image.labels.remove(&key).map(|value| label_value(LABELS, &key, &value)).transpose()?;
            change.labels.insert(key, value);
        } else {
            return Err(Refusal::field(MASK, format_args!("must name file_name, labels or labels.KEY, not {path:?}")));
        }
    }
    Ok(change)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Said = fn(&mut v1::RenditionSpec);

    fn parsed(change: impl FnOnce(&mut v1::RenditionSpec)) -> Result<String, Refusal> {
        let mut value = v1::RenditionSpec { format: v1::ImageFormat::Webp.into(), ..v1::RenditionSpec::default() };
        change(&mut value);
        spec(&value, &ImageLimits::default()).map(|spec| spec.to_string())
    }

    #[test]
    fn every_choice_of_a_spec_goes_in_and_comes_out() {
        for text in [
            "jpeg",
            "png width=1 background=ffffff",
            "webp quality=55 width=320 height=200 fit=cover enlarge background=0102ff effort=small metadata",
            "webp lossless height=16383",
            "avif quality=1 width=9 height=8 fit=fill effort=fast",
        ] {
            let value: Spec = text.parse().expect("a spec");
            assert_eq!(spec(&proto_spec(&value), &ImageLimits::default()).expect("what comes out goes in"), value, "{text}");
        }
    }

    #[test]
    fn defaults_that_are_said_are_left_out() {
        let said = parsed(|spec| {
            spec.quality = 80;
            spec.effort = v1::Effort::Balanced.into();
        });
        assert_eq!(said.expect("a spec"), "webp");
        let contained = parsed(|spec| {
            spec.width = 5;
            spec.fit = v1::ResizeFit::Contain.into();
        });
        assert_eq!(contained.expect("a spec"), "webp width=5");
    }

    #[test]
    fn a_spec_that_makes_no_sense_is_refused() {
        let cases: [(&str, Said); 18] = [
            ("no format", |spec| spec.format = 0),
            ("an unknown format", |spec| spec.format = 99),
            ("lossless JPEG", |spec| (spec.format, spec.lossless) = (1, true)),
            ("quality of a PNG", |spec| (spec.format, spec.quality) = (2, 80)),
            ("quality without loss", |spec| (spec.lossless, spec.quality) = (true, 80)),
            ("quality above 100", |spec| spec.quality = 101),
            ("quality far above 100", |spec| spec.quality = 256),
            ("quality below 0", |spec| spec.quality = -1),
            ("a side below 0", |spec| spec.width = -1),
            ("a side too long", |spec| spec.height = 16_384),
            ("cover with one side", |spec| (spec.width, spec.fit) = (5, v1::ResizeFit::Cover.into())),
            ("fill with too many pixels", |spec| (spec.width, spec.height, spec.fit) = (10_000, 10_000, v1::ResizeFit::Fill.into())),
            ("contain without a side", |spec| spec.fit = v1::ResizeFit::Contain.into()),
            ("an unknown fit", |spec| (spec.width, spec.fit) = (5, 9)),
            ("enlarge without a side", |spec| spec.enlarge = true),
            ("a colour by name", |spec| spec.background = "white".to_owned()),
            ("a colour without its sign", |spec| spec.background = "ffffff".to_owned()),
            ("an unknown effort", |spec| spec.effort = 4),
        ];
        for (case, change) in cases {
            assert!(parsed(change).is_err(), "{case}");
        }
        assert!(parsed(|spec| (spec.width, spec.height) = (16_383, 16_383)).is_ok(), "as large as it is");
    }

    fn change(paths: &[&str]) -> Result<ImageChange, Refusal> {
        let labels = [("kind", "Ca\u{301}t"), ("a.b", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let image = v1::Image { file_name: "new.png".to_owned(), labels: BTreeMap::from(labels), ..v1::Image::default() };
        image_change(image, FieldMask { paths: paths.iter().map(ToString::to_string).collect() })
    }

    #[test]
    fn only_what_the_mask_names_is_changed() {
        let named = change(&["file_name"]).expect("a change");
        assert_eq!(named, ImageChange { file_name: Some("new.png".to_owned()), ..ImageChange::default() });
        let some = |text: &str| Some(text.to_owned());
        let keys = change(&["labels.a.b", "labels.gone"]).expect("a change");
        assert_eq!(keys.labels, BTreeMap::from([("a.b".to_owned(), some("")), ("gone".to_owned(), None)]));
        assert!(!keys.replace_labels && keys.file_name.is_none());
        let all = change(&["labels"]).expect("a change");
        assert!(all.replace_labels);
        assert_eq!(all.labels, BTreeMap::from([("a.b".to_owned(), some("")), ("kind".to_owned(), some("C\u{e1}t"))]));
        for bad in [&[][..], &["*"], &["id"], &["labels."], &["labels.A"], &["labels.a b"]] {
            assert!(change(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn labels_are_bounded_each_and_together() {
        let one = |key: &str, value: &str| labels("labels", BTreeMap::from([(key.to_owned(), value.to_owned())]));
        assert!(one(&"k".repeat(63), &"v".repeat(255)).is_ok());
        for (key, value) in
            [("", "v"), ("K", "v"), ("k=", "v"), ("\u{e9}", "v"), (&*"k".repeat(64), "v"), ("k", &*"v".repeat(256)), ("k", "a\tb")]
        {
            assert!(one(key, value).is_err(), "{key:?} {value:?}");
        }
        let many = |count: usize| labels("labels", (0..count).map(|index| (format!("{index:02}"), "v".repeat(62))).collect());
        assert!(many(16).is_ok() && many(17).is_err());
    }
}
