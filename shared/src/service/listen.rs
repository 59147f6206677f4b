//! The listeners of a process.

use std::net::SocketAddr;

use tokio::net::TcpListener;

/// The error of an address that cannot be bound.
#[derive(Debug, thiserror::Error)]
#[error("failed to listen on {address} (POBLYSH_{variable})")]
pub struct ListenError {
    address: SocketAddr,
    /// The address's variable, without prefix.
    variable: &'static str,
    source: std::io::Error,
}

/// Binds a listener to the address of a setting.
pub(super) async fn listen(
    address: SocketAddr,
    variable: &'static str,
) -> Result<TcpListener, ListenError> {
    let listener = TcpListener::bind(address).await;
    listener.map_err(|source| ListenError {
        address,
        variable,
        source,
    })
}
