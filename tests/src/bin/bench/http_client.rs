//! Minimal HTTP client with a keep-alive socket.
//!
//! It implements only what the load needs, because it shares the CPU with the measured system.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Maximum number of headers of a response.
const MAX_HEADERS: usize = 32;
/// Status of a server that is overloaded.
const OVERLOADED: u16 = 503;
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// HTTP client of one server.
pub(crate) struct HttpClient {
    stream: TcpStream,
    response: Vec<u8>,
}

impl HttpClient {
    /// Connects to `host`, which is an address with a port.
    pub(crate) async fn open(host: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            response: Vec::new(),
        })
    }

    /// Sends a request and retries it while the server is overloaded.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        loop {
            match self.exchange(request).await? {
                200..300 => return Ok(()),
                OVERLOADED => tokio::time::sleep(RETRY_INTERVAL).await,
                status => bail!("the server responded with {status}"),
            }
        }
    }

    /// Sends a request whose response may never end and returns the status.
    pub(crate) async fn open_stream(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        Ok(self.send_and_read_head(request).await?.0)
    }

    /// Reads and discards data until the server closes the socket.
    pub(crate) async fn discard(mut self) -> anyhow::Result<()> {
        loop {
            self.response.clear();
            if self.stream.read_buf(&mut self.response).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Sends a request, reads its response to the end, and returns the status.
    async fn exchange(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        let (status, end) = self.send_and_read_head(request).await?;
        let end = end.context("the response has no content-length")?;
        while self.response.len() < end {
            self.read().await?;
        }
        Ok(status)
    }

    /// Sends a request and reads the head of its response.
    ///
    /// Returns the status, and the end of the response if there is a content-length.
    async fn send_and_read_head(&mut self, request: &[u8]) -> anyhow::Result<(u16, Option<usize>)> {
        self.stream.write_all(request).await?;
        self.response.clear();
        loop {
            self.read().await?;
            let mut headers = [EMPTY_HEADER; MAX_HEADERS];
            let mut response = Response::new(&mut headers);
            if let Status::Complete(head) = response.parse(&self.response)? {
                let length = response
                    .headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case("content-length"));
                let end = match length {
                    Some(length) => {
                        Some(head + std::str::from_utf8(length.value)?.parse::<usize>()?)
                    }
                    None => None,
                };
                return Ok((response.code.unwrap_or_default(), end));
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.response).await?;
        ensure!(read > 0, "the server closed the socket");
        Ok(())
    }
}
