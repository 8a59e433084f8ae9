//! Plain HTTP as a client sees it.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// Bounds what has gone wrong.
const PATIENCE: Duration = Duration::from_mins(1);
const BOUNDARY: &str = "tintype-boundary";

/// A client of plain HTTP/1.1 that shows everything as it came: a connection for each request.
#[derive(Debug, Clone)]
pub struct Http {
    address: String,
    token: Option<String>,
}

/// What a server answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status code; 0 when the connection ended before there was one.
    pub status: u16,
    /// By their names in lower case.
    pub headers: HashMap<String, String>,
    /// The body, without the framing of chunks.
    pub body: Bytes,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Answer {
    /// The body as a text.
    pub fn text(&self) -> &str {
        str::from_utf8(&self.body).expect("the body is a text")
    }
}

impl Http {
    /// A client of the server at this URL, `http://host:port`.
    pub fn new(url: &str, token: Option<&str>) -> Self {
        Self { address: url.trim_start_matches("http://").to_owned(), token: token.map(str::to_owned) }
    }

    /// `GET` with these header lines.
    pub async fn get(&self, place: &str, headers: &[(&str, &str)]) -> Answer {
        self.send("GET", place, headers, b"").await
    }

    /// A form with these files, each a name and its bytes.
    pub async fn create(&self, files: &[(&str, &[u8])]) -> Answer {
        let (content_type, form) = form(files);
        self.send("POST", "/api/images/create", &[("Content-Type", &content_type)], &form).await
    }

    /// Any request. The whole body is sent before the answer is read, as simple clients do.
    pub async fn send(&self, method: &str, place: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.begin(method, place, headers, body.len()).await;
        stream.write_all(body).await.expect("the server reads what is sent");
        answer(stream).await
    }

    /// Sends the head of a request that announces that many bytes, and leaves the rest to the test; [`answer`] reads what comes back.
    pub async fn begin(&self, method: &str, place: &str, headers: &[(&str, &str)], length: usize) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).await.expect("the HTTP port answers");
        let mut lines = vec![format!("{method} {place} HTTP/1.1"), format!("Host: {}", self.address), "Connection: close".to_owned()];
        lines.extend(self.token.iter().map(|token| format!("Authorization: Bearer {token}")));
        lines.extend((length > 0).then(|| format!("Content-Length: {length}")));
        lines.extend(headers.iter().map(|(name, value)| format!("{name}: {value}")));
        let head = lines.join("\r\n") + "\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("a request can be sent");
        stream
    }
}

/// A form with these files: its content type and its bytes.
pub fn form(files: &[(&str, &[u8])]) -> (String, Vec<u8>) {
    let mut body = Vec::new();
    for (index, (name, bytes)) in files.iter().enumerate() {
        let head = format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"part {index}\"; filename=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

/// Reads an answer to the end of the connection.
pub async fn answer(mut stream: TcpStream) -> Answer {
    let mut bytes = Vec::new();
    // A connection that is reset after the answer ends it, too.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("the server closes the connection");
    let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Answer { status: 0, headers: HashMap::new(), body: Bytes::new(), whole: false };
    };
    let head = str::from_utf8(&bytes[..end]).expect("a head is a text");
    let status = head.split_whitespace().nth(1).and_then(|code| code.parse().ok()).expect("an answer has a code");
    let lines = head.split("\r\n").skip(1).filter_map(|line| line.split_once(": "));
    let headers: HashMap<_, _> = lines.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let rest = Bytes::from(bytes).slice(end + 4..);
    let (body, whole) = if headers.get("transfer-encoding").is_some_and(|encoding| encoding == "chunked") {
        unchunked(&rest)
    } else {
        let announced = headers.get("content-length").map(|length| length.parse().expect("a length is a number"));
        let whole = announced.is_none_or(|length: usize| rest.len() == length);
        (rest, whole)
    };
    Answer { status, headers, body, whole }
}

/// RFC 9112, section 7.1.
fn unchunked(mut rest: &[u8]) -> (Bytes, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else { return (body.into(), false) };
        let size = str::from_utf8(&rest[..end]).ok().and_then(|size| usize::from_str_radix(size, 16).ok()).expect("a chunk has a size");
        let from = end + 2;
        if size == 0 {
            return (body.into(), true);
        }
        let Some(chunk) = rest.get(from..from + size) else {
            body.extend_from_slice(&rest[from..]);
            return (body.into(), false);
        };
        body.extend_from_slice(chunk);
        rest = rest.get(from + size + 2..).unwrap_or_default();
    }
}
