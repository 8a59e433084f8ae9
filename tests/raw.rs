use bytes::{BufMut, Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    client::{ResponseFuture, SendRequest, handshake},
};
use http::{HeaderMap, Request};
use prost::Message;
use tokio::{net::TcpStream, sync::watch};
use tonic::Status;

use crate::Refused;

/// A client that does what no gRPC library would: it sends as slowly and reads as little as it is told to.
#[derive(Debug, Clone)]
pub struct RawClient {
    requests: SendRequest<Bytes>,
    ended: watch::Receiver<bool>,
    authority: String,
    token: Option<String>,
}

/// What comes back on one stream.
#[derive(Debug)]
pub struct RawAnswer(ResponseFuture);

impl RawClient {
    /// A connection of its own. Panics when nobody listens.
    pub async fn connect(url: &str, token: Option<String>) -> Self {
        let authority = url.trim_start_matches("http://").to_owned();
        let stream = TcpStream::connect(&authority).await.expect("the port answers");
        let (requests, connection) = handshake(stream).await.expect("the server speaks HTTP/2");
        let (end, ended) = watch::channel(false);
        tokio::spawn(async move {
            // How it ended shows in the streams.
            let _ = connection.await;
            end.send_replace(true);
        });
        Self { requests, ended, authority, token }
    }

    /// Whether the server has not hung up yet.
    pub async fn is_open(&self) -> bool {
        self.requests.clone().ready().await.is_ok()
    }

    /// Returns when it has.
    pub async fn hung_up(&self) {
        // An error means that the connection's task is gone, and it with it.
        let _ = self.ended.clone().wait_for(|ended| *ended).await;
    }

    /// Begins a call of a method such as `tintype.v1.ImageService/UploadImages`, with more headers.
    pub async fn begin(&self, method: &str, headers: &[(&str, &str)]) -> Result<(SendStream<Bytes>, RawAnswer), h2::Error> {
        let mut request = Request::post(format!("http://{}/{method}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut requests = self.requests.clone().ready().await?;
        let (answer, body) = requests.send_request(request.body(()).expect("headers are well-formed"), false)?;
        Ok((body, RawAnswer(answer)))
    }

    /// Calls a method with one message, and sends no more.
    pub async fn call(&self, method: &str, headers: &[(&str, &str)], message: &impl Message) -> Result<RawAnswer, h2::Error> {
        let (mut body, answer) = self.begin(method, headers).await?;
        body.send_data(grpc_message(message), true)?;
        Ok(answer)
    }
}

impl RawAnswer {
    /// The body, of which nothing is read, once the answer begins. The status instead when the call ends with its head.
    pub async fn begun(self) -> Result<RecvStream, Refused> {
        let (head, body) = self.0.await.map_err(|error| broken(&error))?.into_parts();
        status(&head.headers).map_or(Ok(body), Err)
    }

    /// Reads the answer to its end and returns how many bytes came and the status. A stream that is reset has the code CANCELLED.
    pub async fn ended(self) -> (usize, Refused) {
        match self.begun().await {
            Ok(body) => rest(body).await,
            Err(refused) => (0, refused),
        }
    }
}

/// Reads a body to its end: see [`RawAnswer::ended`].
async fn rest(mut body: RecvStream) -> (usize, Refused) {
    let mut bytes = 0;
    while let Some(data) = body.data().await {
        match data {
            Ok(data) => {
                bytes += data.len();
                let _ = body.flow_control().release_capacity(data.len());
            }
            Err(error) => return (bytes, broken(&error)),
        }
    }
    match body.trailers().await {
        Ok(Some(trailers)) => (bytes, status(&trailers).expect("trailers tell the status")),
        Ok(None) => panic!("the answer has no trailers"),
        Err(error) => (bytes, broken(&error)),
    }
}

fn status(headers: &HeaderMap) -> Option<Refused> {
    Status::from_header_map(headers).map(Refused::from)
}

fn broken(error: &h2::Error) -> Refused {
    Status::cancelled(error.to_string()).into()
}

/// A message with the five bytes that gRPC puts before it.
pub fn grpc_message(message: &impl Message) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_u8(0);
    bytes.put_u32(message.encoded_len() as u32);
    message.encode(&mut bytes).expect("a buffer grows");
    bytes.freeze()
}
