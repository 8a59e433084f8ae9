use axum::http::{HeaderMap, header::ACCEPT};

/// Whether a client asks for the picture rather than for what is told of it: by a range of `image/…` that it likes better than JSON.
pub(crate) fn wants_image(headers: &HeaderMap) -> bool {
    let (mut image, mut json) = (0, 0);
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    for range in ranges {
        let mut parts = range.split(';').map(str::trim);
        let media_type = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q="))).map_or(1000, thousandths);
        if media_type.starts_with("image/") {
            image = image.max(quality);
        } else if media_type == "application/json" {
            json = json.max(quality);
        }
    }
    image > json
}

/// A weight of RFC 9110, section 12.4.2, in thousandths; what is none counts as nothing.
fn thousandths(weight: &str) -> u32 {
    weight.parse::<f32>().ok().filter(|weight| (0. ..=1.).contains(weight)).map_or(0, |weight| (weight * 1000.) as u32)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_picture_is_sent_to_those_who_like_it_better_than_json() {
        let wants = |accept: &'static str| wants_image(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        for picture in ["image/*", "image/png", "IMAGE/AVIF,image/webp,*/*;q=0.8", "application/json;q=0.1, image/*;q=0.5"] {
            assert!(wants(picture), "{picture}");
        }
        for told in ["*/*", "application/json", "image/*;q=0", "image/*;q=0.2,application/json", "image/*;q=x", ""] {
            assert!(!wants(told), "{told}");
        }
    }
}
