use axum::{
    body::{Body, BodyDataStream, Bytes},
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
};
use bytes::{Buf, BytesMut};
use futures_util::StreamExt;
use tintype_proto::v1::ErrorReason;

use super::Problem;
use crate::{limits::Limits, status::Refusal};

/// RFC 2046, section 5.1.1.
const MAX_BOUNDARY_BYTES: usize = 70;
/// Headers of one part.
const MAX_HEAD_BYTES: usize = 8 << 10;
const LINE_END: &[u8] = b"\r\n";

/// A `multipart/form-data` body (RFC 7578), read as it arrives: what came of it and was not asked for yet is one piece of the connection at most.
pub(crate) struct Multipart {
    body: BodyDataStream,
    /// What stands before every part and after the last: a line end, two hyphens, the boundary.
    delimiter: Vec<u8>,
    buffer: BytesMut,
    at: At,
}

/// Where the reader stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In a part, or in what stands before the first.
    Content,
    /// Behind a delimiter.
    Delimiter,
    End,
}

impl Multipart {
    pub(crate) fn new(headers: &HeaderMap, body: Body) -> Result<Self, Problem> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let (media_type, parameters) = content_type.split_once(';').unwrap_or((content_type, ""));
        if !media_type.trim().eq_ignore_ascii_case("multipart/form-data") {
            return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be multipart/form-data"));
        }
        let boundary = parameter(parameters, "boundary").filter(|boundary| (1..=MAX_BOUNDARY_BYTES).contains(&boundary.len()));
        let boundary = boundary.ok_or_else(|| Refusal::field("content-type", "must have a boundary of 1 to 70 bytes"))?;
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        // The line end before the first delimiter may be missing.
        Ok(Self { body: body.into_data_stream(), delimiter, buffer: BytesMut::from(LINE_END), at: At::Content })
    }

    /// Goes on to the next part, past what is left of the one at hand, and returns its file name, empty when it has none. `None` at the end.
    pub(crate) async fn next_part(&mut self) -> Result<Option<String>, Refusal> {
        while self.chunk().await?.is_some() {}
        if self.at == At::End {
            return Ok(None);
        }
        while self.buffer.len() < 2 {
            self.more().await?;
        }
        if self.buffer.starts_with(b"--") {
            self.at = At::End;
            return Ok(None);
        }
        // The rest of the delimiter's line, and the lines up to an empty one, each of them with its end.
        let end = loop {
            let found = find(&self.buffer, b"\r\n\r\n");
            if found.unwrap_or(self.buffer.len()) > MAX_HEAD_BYTES {
                return Err(Refusal::field("body", format_args!("has a part with more than {MAX_HEAD_BYTES} bytes of headers")));
            }
            if let Some(end) = found {
                break end;
            }
            self.more().await?;
        };
        let head = self.buffer.split_to(end);
        self.buffer.advance(2 * LINE_END.len());
        self.at = At::Content;
        file_name(&head).map(Some)
    }

    /// The next bytes of the part at hand, up to [`Limits::ADVISED_CHUNK_BYTES`]; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            if self.at != At::Content {
                return Ok(None);
            }
            let found = find(&self.buffer, &self.delimiter);
            if found == Some(0) {
                self.buffer.advance(self.delimiter.len());
                self.at = At::Delimiter;
                return Ok(None);
            }
            // What may be the beginning of a delimiter waits for what follows it.
            let sure = found.unwrap_or((self.buffer.len() + 1).saturating_sub(self.delimiter.len()));
            if sure > 0 {
                return Ok(Some(self.buffer.split_to(sure.min(Limits::ADVISED_CHUNK_BYTES)).freeze()));
            }
            self.more().await?;
        }
    }

    async fn more(&mut self) -> Result<(), Refusal> {
        match self.body.next().await {
            Some(Ok(piece)) => {
                self.buffer.extend_from_slice(&piece);
                Ok(())
            }
            Some(Err(_)) | None => Err(Refusal::new(ErrorReason::UploadOutOfOrder, "the body ended before its last boundary")),
        }
    }
}

/// The file name that the headers of a part give it; empty when they give none.
fn file_name(head: &[u8]) -> Result<String, Refusal> {
    let head = str::from_utf8(head).map_err(|_| Refusal::field("body", "has a part whose headers are not UTF-8"))?;
    let dispositions = head.split("\r\n").filter_map(|line| line.split_once(':'));
    let disposition =
        dispositions.filter(|(name, _)| name.trim().eq_ignore_ascii_case("content-disposition")).map(|(_, value)| value).next();
    let parameters = disposition.and_then(|value| value.split_once(';')).map_or("", |(_, parameters)| parameters);
    let name = parameter(parameters, "filename").unwrap_or_default();
    // The three that browsers write so, because they cannot stand between quotation marks.
    Ok(name.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n"))
}

/// The value of `name=value` or `name="value"` among parameters with semicolons between them.
fn parameter(text: &str, name: &str) -> Option<String> {
    let mut rest = text;
    loop {
        let (key, after) = rest.split_once('=')?;
        let key = key.trim_start_matches([';', ' ', '\t']).trim_end();
        let after = after.trim_start();
        let value;
        (value, rest) = if let Some(quoted) = after.strip_prefix('"') {
            unquoted(quoted)
        } else {
            let end = after.find(';').unwrap_or(after.len());
            (after[..end].trim().to_owned(), &after[end..])
        };
        if key.eq_ignore_ascii_case(name) {
            return Some(value);
        }
    }
}

/// The text up to the closing quotation mark, and what follows it. A backslash stands for itself but before a quotation mark or another one.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut letters = text.char_indices().peekable();
    while let Some((index, letter)) = letters.next() {
        match letter {
            '"' => return (value, &text[index + 1..]),
            '\\' => value.push(letters.next_if(|(_, next)| matches!(next, '"' | '\\')).map_or('\\', |(_, next)| next)),
            _ => value.push(letter),
        }
    }
    (value, "")
}

fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let (first, rest) = wanted.split_first()?;
    let mut from = 0;
    while let Some(found) = text[from..].iter().position(|byte| byte == first) {
        let at = from + found;
        if text[at + 1..].starts_with(rest) {
            return Some(at);
        }
        from = at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use futures_util::stream;

    use super::*;

    fn form(body: &[u8], piece: usize) -> Multipart {
        let pieces: Vec<Result<Bytes, std::io::Error>> = body.chunks(piece).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("multipart/form-data; boundary=\"x y\""))]);
        Multipart::new(&headers, Body::from_stream(stream::iter(pieces))).expect("a form")
    }

    async fn parts(mut form: Multipart) -> Result<Vec<(String, Vec<u8>)>, Refusal> {
        let mut parts = Vec::new();
        while let Some(name) = form.next_part().await? {
            let mut content = Vec::new();
            while let Some(chunk) = form.chunk().await? {
                assert!(!chunk.is_empty());
                content.extend_from_slice(&chunk);
            }
            parts.push((name, content));
        }
        Ok(parts)
    }

    const FORM: &[u8] = b"for nobody\r\n--x y \r\nContent-Disposition: form-data; name=a; filename=\"a;\\\"b.png\"\r\n\r\none\r\n--x\r\n--x z\r\n\
        --x y\r\ncontent-disposition:form-data; filename=\"%22.png\"; name=\"filename=\"\r\nX: y\r\n\r\n\r\n--x y\r\n\r\nno name\r\n--x y--\r\nend";

    #[tokio::test]
    async fn parts_are_the_same_wherever_the_pieces_end() {
        let whole = parts(form(FORM, FORM.len())).await.expect("a form");
        let named = |name: &str, content: &str| (name.to_owned(), content.as_bytes().to_owned());
        assert_eq!(whole, [named("a;\"b.png", "one\r\n--x\r\n--x z"), named("\".png", ""), named("", "no name")]);
        for piece in 1..FORM.len() {
            assert_eq!(parts(form(FORM, piece)).await.expect("a form"), whole, "pieces of {piece}");
        }
    }

    #[tokio::test]
    async fn a_form_that_ends_early_is_refused_wherever_it_ends() {
        let last = FORM.len() - b"--\r\nend".len();
        for end in 0..last {
            assert!(parts(form(&FORM[..end], 7)).await.is_err(), "{end}");
        }
    }

    #[tokio::test]
    async fn headers_without_end_are_refused_and_not_gathered() {
        let endless = [b"--x y\r\nA: ".as_slice(), &vec![b'b'; 1 << 20]].concat();
        let mut form = form(&endless, 1000);
        assert!(form.next_part().await.is_err());
        assert!(form.buffer.len() < 2 * MAX_HEAD_BYTES, "{}", form.buffer.len());
    }

    #[tokio::test]
    async fn headers_that_are_too_long_are_refused_wherever_the_pieces_end() {
        for (length, fits) in [(MAX_HEAD_BYTES - 100, true), (MAX_HEAD_BYTES + 1, false)] {
            let body = [b"--x y\r\nA: ".as_slice(), &vec![b'b'; length], b"\r\n\r\n\r\n--x y--"].concat();
            for piece in [100, body.len()] {
                assert_eq!(form(&body, piece).next_part().await.is_ok(), fits, "{length} in pieces of {piece}");
            }
        }
    }

    #[test]
    fn only_a_form_with_a_boundary_is_taken() {
        for other in ["", "image/png", "multipart/mixed; boundary=x", "multipart/form-data", "multipart/form-data; boundary=\"\""] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(other))]);
            assert!(Multipart::new(&headers, Body::empty()).is_err(), "{other}");
        }
    }
}
