//! A connection that is kept open. It speaks as little HTTP as a load needs, because it shares
//! the processors with what it measures.

use anyhow::{Context, ensure};
use httparse::{EMPTY_HEADER, Response, Status};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Headers that an answer has at the most.
const HEADERS: usize = 32;

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

    /// Sends a request and reads its answer to the end, which has to say that all went well.
    pub(crate) async fn send(&mut self, request: &[u8]) -> anyhow::Result<()> {
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
        ensure!((200..300).contains(&status), "the server answered {status}");
        Ok(())
    }
}
