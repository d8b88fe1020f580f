//! `/edge-hive/exchange/1` for peers of stock libp2p, written from docs/fleet.md: a length of four bytes, and JSON. What is
//! answered is the test's.

use std::io;

use libp2p::StreamProtocol;
use libp2p::futures::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::request_response::{Behaviour, Codec, Config, ProtocolSupport};
use serde_json::Value;

/// Longer messages are not read.
const MAX_BYTES: u32 = 4 * 1024 * 1024;

/// The protocol, for both sides.
#[must_use]
pub fn behaviour() -> Behaviour<Json> {
    let protocol = StreamProtocol::new("/edge-hive/exchange/1");
    Behaviour::new([(protocol, ProtocolSupport::Full)], Config::default())
}

/// Any JSON.
#[derive(Clone, Copy, Debug, Default)]
pub struct Json;

impl Codec for Json {
    type Protocol = StreamProtocol;
    type Request = Value;
    type Response = Value;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Value>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Value>
    where
        T: AsyncRead + Unpin + Send,
    {
        read(io).await
    }

    async fn write_request<T>(&mut self, _: &StreamProtocol, io: &mut T, request: Value) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &request).await
    }

    async fn write_response<T>(&mut self, _: &StreamProtocol, io: &mut T, response: Value) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write(io, &response).await
    }
}

async fn read(io: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Value> {
    let mut length = [0; 4];
    io.read_exact(&mut length).await?;
    let length = u32::from_be_bytes(length);
    if length > MAX_BYTES {
        return Err(io::Error::other("the message is too long"));
    }
    let mut text = vec![0; length as usize];
    io.read_exact(&mut text).await?;
    serde_json::from_slice(&text).map_err(io::Error::other)
}

async fn write(io: &mut (impl AsyncWrite + Unpin + Send), message: &Value) -> io::Result<()> {
    let text = message.to_string();
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    io.write_all(&length.to_be_bytes()).await?;
    io.write_all(text.as_bytes()).await?;
    io.flush().await
}
