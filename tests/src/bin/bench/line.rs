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

    /// Sends a request and reads its answer to the end; answers its status.
    async fn ask(&mut self, request: &[u8]) -> anyhow::Result<u16> {
        self.stream.write_all(request).await?;
        self.answer.clear();
        let (status, end) = loop {
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the server closed a connection");
            let mut headers = [EMPTY_HEADER; HEADERS];
            let mut answer = Response::new(&mut headers);
            if let Status::Complete(head) = answer.parse(&self.answer)? {
                let length = answer
                    .headers
                    .iter()
                    .find(|header| header.name.eq_ignore_ascii_case("content-length"))
                    .context("the answer says how long it is")?;
                let length: usize = std::str::from_utf8(length.value)?.parse()?;
                break (answer.code.unwrap_or_default(), head + length);
            }
        };
        while self.answer.len() < end {
            let read = self.stream.read_buf(&mut self.answer).await?;
            ensure!(read > 0, "the server closed a connection");
        }
        Ok(status)
    }
}
