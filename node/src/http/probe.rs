//! The smallest HTTP client that can ask a node of one's own how it is.

use std::io::{Error, ErrorKind, Result};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);
/// Longest answer that is read, in bytes.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// The status code of a page.
pub async fn status_of(address: SocketAddr, path: &str) -> Result<u16> {
    get(address, path).await.map(|(status, _)| status)
}

/// A page's status code and text.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    tokio::time::timeout(ANSWER_WITHIN, ask(address, path))
        .await
        .map_err(|_| Error::from(ErrorKind::TimedOut))?
}

async fn ask(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    status.zip(body).ok_or_else(|| Error::from(ErrorKind::InvalidData))
}
