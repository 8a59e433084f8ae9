use std::fmt::Write;

/// The `Content-Disposition` of a file to save (RFC 6266): its name in the form of RFC 8187, and as ASCII for clients that do not know that form.
pub(crate) fn attachment(file_name: &str) -> String {
    let plain: String = file_name
        .chars()
        .map(|letter| if letter.is_ascii_graphic() && !matches!(letter, '"' | '\\' | '%') || letter == ' ' { letter } else { '_' })
        .collect();
    let mut header = format!("attachment; filename=\"{plain}\"");
    if plain != file_name {
        header.push_str("; filename*=UTF-8''");
        for byte in file_name.bytes() {
            // attr-char of RFC 8187, section 3.2.1.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                header.push(byte as char);
            } else {
                write!(header, "%{byte:02X}").expect("a text can be written to");
            }
        }
    }
    header
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_arrives_and_none_breaks_the_header() {
        assert_eq!(attachment("dog.png"), r#"attachment; filename="dog.png""#);
        assert_eq!(attachment("my dog.png"), r#"attachment; filename="my dog.png""#);
        assert_eq!(attachment("naïve.png"), r#"attachment; filename="na_ve.png"; filename*=UTF-8''na%C3%AFve.png"#);
        assert_eq!(attachment(r#"a"b\c%d.png"#), r#"attachment; filename="a_b_c_d.png"; filename*=UTF-8''a%22b%5Cc%25d.png"#);
        assert!(attachment("犬🐕\u{202e}.png").is_ascii());
    }
}
