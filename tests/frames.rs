use bytes::{BufMut, BytesMut};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// RFC 9113, section 7: what an endpoint says when it ended a stream by itself.
const CANCEL: u32 = 8;

/// A connection that writes HTTP/2 frames which no library would (RFC 9113).
#[derive(Debug)]
pub struct Frames {
    stream: TcpStream,
    next_stream: u32,
    out: BytesMut,
}

impl Frames {
    /// A connection on which nothing was said but the preface.
    pub async fn connect(url: &str) -> Self {
        let stream = TcpStream::connect(url.trim_start_matches("http://")).await.expect("the port answers");
        let mut frames = Self { stream, next_stream: 1, out: BytesMut::from(PREFACE) };
        frames.frame(SETTINGS, 0, 0, &[]);
        frames
    }

    /// Begins a call of a method with this and a wrong token, and takes it back at once.
    pub fn begin_and_reset(&mut self, path: &str) {
        let id = self.open(path, END_STREAM | END_HEADERS);
        self.frame(RESET, 0, id, &CANCEL.to_be_bytes());
    }

    /// Begins a call whose headers go on and on.
    pub fn begin_without_end(&mut self, path: &str) -> u32 {
        self.open(path, END_STREAM)
    }

    /// More of the headers of a call.
    pub fn continue_headers(&mut self, id: u32) {
        let mut block = BytesMut::new();
        for number in 0..16 {
            literal(&mut block, &format!("x-{number}"), &"v".repeat(100));
        }
        self.frame(CONTINUATION, 0, id, &block);
    }

    fn open(&mut self, path: &str, flags: u8) -> u32 {
        let id = self.next_stream;
        self.next_stream += 2;
        let mut block = BytesMut::new();
        for (name, value) in [
            (":method", "POST"),
            (":scheme", "http"),
            (":path", path),
            (":authority", "tests"),
            ("content-type", "application/grpc"),
            ("te", "trailers"),
            ("authorization", "Bearer wrong"),
        ] {
            literal(&mut block, name, value);
        }
        self.frame(HEADERS, flags, id, &block);
        id
    }

    fn frame(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
        self.out.put_uint(payload.len() as u64, 3);
        self.out.put_u8(kind);
        self.out.put_u8(flags);
        self.out.put_u32(stream);
        self.out.extend_from_slice(payload);
    }

    /// Sends what was written so far; `false` once the server has hung up.
    pub async fn send(&mut self) -> bool {
        let out = self.out.split();
        self.stream.write_all(&out).await.is_ok()
    }

    /// Says no more and waits until the server has hung up.
    pub async fn finish(mut self) {
        let _ = self.stream.shutdown().await;
        self.goodbye().await;
    }

    /// Reads until the server hangs up, and returns the error code of its GOAWAY if it sent one.
    pub async fn goodbye(mut self) -> Option<u32> {
        let mut bytes = Vec::new();
        // A reset instead of an end is one, too; what came before it counts.
        let _ = self.stream.read_to_end(&mut bytes).await;
        let mut rest = bytes.as_slice();
        let mut code = None;
        while let [a, b, c, kind, _, _, _, _, _, after @ ..] = rest {
            let length = usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c);
            let Some((payload, next)) = after.split_at_checked(length) else { break };
            if *kind == GOAWAY
                && let [_, _, _, _, error @ ..] = payload
                && let Some(error) = error.first_chunk()
            {
                code = Some(u32::from_be_bytes(*error));
            }
            rest = next;
        }
        code
    }
}

/// A header as HPACK writes it without tables (RFC 7541, section 6.2.2); names and values shorter than 127 bytes.
fn literal(block: &mut BytesMut, name: &str, value: &str) {
    block.put_u8(0);
    for text in [name, value] {
        block.put_u8(text.len() as u8);
        block.extend_from_slice(text.as_bytes());
    }
}
