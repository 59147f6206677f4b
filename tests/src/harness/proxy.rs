//! What stands between processes: a wire to Postgres that can be cut, and a balancer in front
//! of two of the same.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use url::Url;

/// Passes connections on to Postgres while it is not cut.
#[derive(Debug, Clone)]
pub struct Proxy {
    address: SocketAddr,
    open: Arc<watch::Sender<bool>>,
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
        let open = Arc::new(watch::Sender::new(true));
        let state = Arc::clone(&open);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let mut cut = state.subscribe();
                let target = target.clone();
                if !*cut.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(target).await else {
                        return;
                    };
                    tokio::select! {
                        _ = copy_bidirectional(&mut client, &mut server) => {}
                        _ = cut.wait_for(|open| !open) => {}
                    }
                });
            }
        });
        Self { address, open }
    }

    /// The URL by which the same database is reached through the wire.
    ///
    /// # Panics
    ///
    /// When `url` is none.
    pub fn through(&self, url: &str) -> String {
        let mut url = Url::parse(url).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("a host");
        url.set_port(Some(self.address.port())).expect("a port");
        url.to_string()
    }

    /// Ends every connection and takes no new one.
    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    /// Takes connections again.
    pub fn mend(&self) {
        self.open.send_replace(true);
    }
}

/// Passes each connection to `address` on to one of `targets`: in turn, and past those that
/// nobody listens on.
///
/// # Panics
///
/// When the address is taken.
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
