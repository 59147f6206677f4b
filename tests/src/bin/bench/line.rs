//! A connection that is kept open. It speaks as little HTTP as a load needs, because it shares
//! the processors with what it measures.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers that an answer has at the most.
const HEADERS: usize = 32;
/// What a server answers that has more to do than it can.
const BUSY: u16 = 503;
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) struct Line {
    stream: TcpStream,
    answer: Vec<u8>,
}

impl Line {
    /// Connects to `host`, which is an address with a port.
    pub(crate) async fn open(host: &str) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(host).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            answer: Vec::new(),
        })
    }

    /// Sends a request until it is accepted: whoever is told to come back later does.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
        loop {
            match self.ask(request).await? {
                200..300 => return Ok(()),
                BUSY => tokio::time::sleep(PAUSE).await,
                status => bail!("the server answered {status}"),
            }
        }
    }

    /// Sends a request whose answer may never end; answers the status.
    pub(crate) async fn begin(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        Ok(self.head(request).await?.0)
    }

    /// Reads what comes, until the server closes the connection.
    pub(crate) async fn discard(mut self) -> anyhow::Result<()> {
        loop {
            self.answer.clear();
            if self.stream.read_buf(&mut self.answer).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Sends a request and reads its answer to the end; answers its status.
    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        let (status, end) = self.head(request).await?;
        let end = end.context("the answer says how long it is")?;
        while self.answer.len() < end {
            self.read().await?;
        }
        Ok(status)
    }

    /// Sends a request and reads the head of its answer; answers its status and where the answer
    /// ends, if its head says so.
    async fn head(&mut self, request: &[u8]) -> anyhow::Result<(u16, Option<usize>)> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        loop {
            self.read().await?;
            let mut headers = [EMPTY_HEADER; HEADERS];
            let mut answer = Response::new(&mut headers);
            if let Status::Complete(head) = answer.parse(&self.answer)? {
                let length = answer
                    .headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case("content-length"));
                let end = match length {
                    Some(length) => {
                        Some(head + std::str::from_utf8(length.value)?.parse::<usize>()?)
                    }
                    None => None,
                };
                return Ok((answer.code.unwrap_or_default(), end));
            }
        }
    }

    async fn read(&mut self) -> anyhow::Result<()> {
        let read = self.stream.read_buf(&mut self.answer).await?;
        ensure!(read > 0, "the server closed a connection");
        Ok(())
    }
}
