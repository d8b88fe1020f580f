//! What proven peers ask each other: a length of four bytes, and JSON.

use std::io;

use libp2p::StreamProtocol;
use libp2p::futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use libp2p::request_response::Codec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use shared::clock::UnixSeconds;
use shared::status_list::MAX_TOKEN_BYTES;

pub(super) const PROTOCOL: StreamProtocol = StreamProtocol::new("/edge-hive/exchange/1");

/// A longer request is not read.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// A longer response is not read: a list, and what is around it.
const MAX_RESPONSE_BYTES: usize = MAX_TOKEN_BYTES + 4096;
/// Lists that are named at once.
pub(super) const MAX_STAMPS: usize = 128;

/// A status list, and when it was signed.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Held {
    pub(super) uri: String,
    pub(super) iat: UnixSeconds,
    /// Of what it says: several may be of one second.
    #[serde(default)]
    pub(super) digest: Option<String>,
}

/// A question.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub(super) enum Request {
    /// "This is what I have; what do you have that is newer?"
    Holdings {
        lists: Vec<Held>,
        /// When the signed key set was signed that is held.
        #[serde(default)]
        keys: Option<UnixSeconds>,
    },
    /// A status list that is newer than `iat`, or of that second and another than `digest`.
    List {
        uri: String,
        #[serde(default)]
        iat: Option<UnixSeconds>,
        #[serde(default)]
        digest: Option<String>,
        /// How many peers further the question may go.
        #[serde(default)]
        hops: u8,
    },
    /// The signed key set, if it is newer than `iat`.
    Keys {
        #[serde(default)]
        iat: Option<UnixSeconds>,
    },
    /// What the peer says of itself.
    Announcement,
    /// What others have said of themselves to the peer.
    Announcements,
}

/// An answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "answer", rename_all = "snake_case")]
pub(super) enum Response {
    /// Of what was named, and of the responder's own: what it has, where that is newer.
    Holdings {
        lists: Vec<Held>,
        #[serde(default)]
        keys: Option<UnixSeconds>,
    },
    /// What was asked for, as it was signed.
    Signed { token: String },
    /// What several have signed.
    Several { tokens: Vec<String> },
    /// There is nothing newer.
    Nothing,
    /// The peer asks too much at once.
    SlowDown,
}

/// Reads and writes them.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Json;

impl Codec for Json {
    type Protocol = StreamProtocol;
    type Request = Request;
    type Response = Response;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Request>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_REQUEST_BYTES).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Response>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io, MAX_RESPONSE_BYTES).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Request) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        response: Response,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}

async fn read<T: DeserializeOwned>(io: &mut (impl AsyncRead + Unpin + Send), most: usize) -> io::Result<T> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length) as usize;
    if length > most {
        return Err(io::Error::other("the message is too long"));
    }
    // It grows with what really comes: a length alone takes no memory (P2P-09).
    let mut bytes = Vec::new();
    io.take(length as u64).read_to_end(&mut bytes).await?;
    if bytes.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(&bytes).map_err(io::Error::other)
}

async fn write(io: &mut (impl AsyncWrite + Unpin + Send), message: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let length = u32::try_from(bytes.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(&bytes).await?;
    io.flush().await
}

#[cfg(test)]
mod tests {
    use libp2p::futures::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn p2p_09_a_length_is_believed_only_as_far_as_it_goes() {
        let question = Request::Keys { iat: None };
        let mut written = Vec::new();
        write(&mut written, &question).await.unwrap();
        let read_back: Request = read(&mut Cursor::new(&written), MAX_REQUEST_BYTES).await.unwrap();
        assert_eq!(read_back, question);
        let mut bad = vec![0x7f, 0xff, 0xff, 0xff];
        assert!(
            read::<Request>(&mut Cursor::new(&bad), MAX_REQUEST_BYTES)
                .await
                .is_err()
        );
        bad = written[..written.len() - 1].to_vec();
        assert!(
            read::<Request>(&mut Cursor::new(&bad), MAX_REQUEST_BYTES)
                .await
                .is_err()
        );
        bad = [&written[..4], b"[]"].concat();
        bad[..4].copy_from_slice(&2_u32.to_be_bytes());
        assert!(
            read::<Request>(&mut Cursor::new(&bad), MAX_REQUEST_BYTES)
                .await
                .is_err()
        );
    }
}
