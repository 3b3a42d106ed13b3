//! Messages of PostgreSQL's protocol, as far as a proxy reads and writes them.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The most that a client may send before it is authenticated (PostgreSQL's own limit).
const MAX_STARTUP: usize = 10_000;

/// The most in one message that the proxy itself reads from a server while a session starts.
const MAX_MESSAGE: usize = 1 << 20;

/// A message with its type.
pub(crate) struct Message {
    pub(crate) tag: u8,
    pub(crate) body: Vec<u8>,
}

/// An error that is told to the client, which is then disconnected.
#[derive(Debug)]
pub(crate) struct Fatal {
    pub(crate) sql_state: &'static str,
    pub(crate) message: String,
}

impl Fatal {
    pub(crate) fn new(sql_state: &'static str, message: impl Into<String>) -> Self {
        Self {
            sql_state,
            message: message.into(),
        }
    }

    /// 08P01: the client does not speak the protocol, or not so that the proxy understands it.
    pub(crate) fn protocol(message: impl Into<String>) -> Self {
        Self::new("08P01", message)
    }

    /// The message to send.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut body = Vec::new();
        for (field, value) in [
            ("S", "FATAL"),
            ("V", "FATAL"),
            ("C", self.sql_state),
            ("M", self.message.as_str()),
        ] {
            body.extend_from_slice(field.as_bytes());
            body.extend_from_slice(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        message(b'E', &body)
    }
}

/// Encodes a message.
pub(crate) fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(&length_prefixed(body));
    out
}

/// Encodes an authentication message: request code and data.
pub(crate) fn authentication(code: u32, data: &[u8]) -> Vec<u8> {
    let mut body = code.to_be_bytes().to_vec();
    body.extend_from_slice(data);
    message(b'R', &body)
}

/// Encodes a packet without type, as the first ones of a connection are.
pub(crate) fn length_prefixed(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() + 4).unwrap_or(u32::MAX);
    let mut out = length.to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

/// Reads the contents of a packet without type.
pub(crate) async fn read_untyped(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    read_body(from, MAX_STARTUP).await
}

/// Reads a message.
pub(crate) async fn read_message(from: &mut (impl AsyncRead + Unpin)) -> io::Result<Message> {
    let tag = from.read_u8().await?;
    Ok(Message {
        tag,
        body: read_body(from, MAX_MESSAGE).await?,
    })
}

/// Writes and flushes.
pub(crate) async fn send(to: &mut (impl AsyncWrite + Unpin), bytes: &[u8]) -> io::Result<()> {
    to.write_all(bytes).await?;
    to.flush().await
}

async fn read_body(from: &mut (impl AsyncRead + Unpin), limit: usize) -> io::Result<Vec<u8>> {
    let length = usize::try_from(from.read_u32().await?).unwrap_or(usize::MAX);
    let size = length.checked_sub(4).filter(|size| *size <= limit);
    let size =
        size.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "invalid message length"))?;
    let mut body = vec![0; size];
    from.read_exact(&mut body).await?;
    Ok(body)
}

/// Splits a four-byte number off.
pub(crate) fn split_u32(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*head), rest))
}

/// Splits a zero-terminated text off.
pub(crate) fn split_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((std::str::from_utf8(text).ok()?, rest.get(1..)?))
}
