//! TCP proxies: one to Postgres that can be cut or frozen, and a load balancer.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// State of a proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Forwards data.
    Open,
    /// Holds data back and closes nothing, like a slow network.
    Frozen,
    /// Closes all sockets and accepts no new ones.
    Cut,
}

/// TCP proxy to Postgres that can be cut or frozen.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
}

impl Proxy {
    /// Starts in front of the server of `url`.
    ///
    /// # Panics
    ///
    /// When no port is free.
    pub async fn start(url: &str) -> Self {
        let url = Url::parse(url).expect("a URL");
        let target = format!(
            "{}:{}",
            url.host_str().expect("a host"),
            url.port().unwrap_or(5432)
        );
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::new(watch::Sender::new(State::Open));
        let states = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let state = states.subscribe();
                if *state.borrow() != State::Cut {
                    tokio::spawn(forward(client, target.clone(), state));
                }
            }
        });
        Self { address, state }
    }

    /// Returns the URL of the same database through the proxy.
    ///
    /// # Panics
    ///
    /// When `url` is invalid.
    pub fn through(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.to_string()
    }

    /// Closes all sockets and accepts no new ones.
    pub fn cut(&self) {
        self.state.send_replace(State::Cut);
    }

    /// Holds data back without closing sockets.
    pub fn freeze(&self) {
        self.state.send_replace(State::Frozen);
    }

    /// Forwards everything again, including held data.
    pub fn restore(&self) {
        self.state.send_replace(State::Open);
    }
}

/// Forwards one connection until an end closes it or the proxy is cut.
async fn forward(client: TcpStream, target: String, state: watch::Receiver<State>) {
    let mut cut = state.clone();
    let both = async {
        let mut thawed = state.clone();
        thawed.wait_for(|state| *state == State::Open).await.ok()?;
        let server = TcpStream::connect(target).await.ok()?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        tokio::join!(
            copy_while_open(from_client, to_server, state.clone()),
            copy_while_open(from_server, to_client, state)
        );
        Some(())
    };
    tokio::select! {
        _ = both => {}
        _ = cut.wait_for(|state| *state == State::Cut) => {}
    }
}

/// Copies data while the proxy is open, then forwards the end of the stream.
async fn copy_while_open(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| *state == State::Open).await.is_err() {
            return;
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    if state.wait_for(|state| *state == State::Open).await.is_ok() {
        to.shutdown().await.ok();
    }
}

/// Balances connections to `address` over `targets`, round-robin, skipping closed ports.
///
/// # Panics
///
/// When the address is in use.
pub(super) async fn balance(address: SocketAddr, targets: Vec<SocketAddr>) {
    let listener = TcpListener::bind(address).await.expect("the port is free");
    tokio::spawn(async move {
        let mut turn = 0;
        while let Ok((mut client, _)) = listener.accept().await {
            turn += 1;
            let mut targets = targets.clone();
            let first = turn % targets.len();
            targets.rotate_left(first);
            tokio::spawn(async move {
                for target in targets {
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        copy_bidirectional(&mut client, &mut server).await.ok();
                        return;
                    }
                }
            });
        }
    });
}
