//! Trusted proxies, and the client address behind them.

use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use http::HeaderMap;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// The addresses of trusted proxies in front of a server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<Network>);

/// A range of addresses, such as `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.prefix);
                u32::from(own).checked_shr(shift) == u32::from(other).checked_shr(shift)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.prefix);
                u128::from(own).checked_shr(shift) == u128::from(other).checked_shr(shift)
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let max_prefix = if address.is_ipv4() { 32 } else { 128 };
        let prefix = match prefix {
            Some(prefix) => prefix.parse().map_err(|_| ())?,
            None => max_prefix,
        };
        (prefix <= max_prefix)
            .then_some(Self { address, prefix })
            .ok_or(())
    }
}

impl FromStr for TrustedProxies {
    type Err = ();

    /// Parses addresses and networks separated by commas.
    fn from_str(text: &str) -> Result<Self, ()> {
        let all = text.split(',').map(|part| part.trim().parse());
        Ok(Self(all.collect::<Result<_, _>>()?))
    }
}

impl TrustedProxies {
    /// Whether this is the address of a trusted proxy.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }

    /// The client's address.
    ///
    /// It is that of the socket or, if the socket is a trusted proxy, the last address of
    /// `X-Forwarded-For` that is not one.
    pub(crate) fn client(&self, peer: SocketAddr, headers: &HeaderMap) -> IpAddr {
        let mut client = peer.ip().to_canonical();
        if !self.contains(client) {
            return client;
        }
        let values = headers.get_all(FORWARDED_FOR).iter();
        let values: Vec<&str> = values.filter_map(|value| value.to_str().ok()).collect();
        for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
            let Some(address) = address_of(hop.trim()) else {
                break;
            };
            client = address.to_canonical();
            if !self.contains(client) {
                break;
            }
        }
        client
    }
}

/// The address of a hop, to which some proxies append the port.
fn address_of(hop: &str) -> Option<IpAddr> {
    let bare = hop.parse().ok();
    bare.or_else(|| Some(hop.parse::<SocketAddr>().ok()?.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(trusted: &str, peer: &str, forwarded: &[&str]) -> String {
        let trusted: TrustedProxies = trusted.parse().expect("addresses");
        let mut headers = HeaderMap::new();
        for value in forwarded {
            headers.append(FORWARDED_FOR, value.parse().expect("a header"));
        }
        let peer: IpAddr = peer.parse().expect("an address");
        trusted
            .client(SocketAddr::new(peer, 1), &headers)
            .to_string()
    }

    #[test]
    fn forwarded_address_is_trusted_from_proxies_only() {
        let trusted = "10.0.0.0/8, 2001:db8::/32,192.0.2.7";
        for (peer, forwarded, expected) in [
            ("198.51.100.1", &["203.0.113.9"][..], "198.51.100.1"),
            ("10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", &[], "10.1.2.3"),
            ("::ffff:10.1.2.3", &["203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", &["1.1.1.1, 203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", &["203.0.113.9, 192.0.2.7"], "203.0.113.9"),
            ("10.1.2.3", &["1.1.1.1", "203.0.113.9"], "203.0.113.9"),
            ("10.1.2.3", &["203.0.113.9, nonsense"], "10.1.2.3"),
            ("2001:db8::1", &["2001:db9::5"], "2001:db9::5"),
            ("10.1.2.3", &["203.0.113.9:4711"], "203.0.113.9"),
            ("10.1.2.3", &["[2001:db9::5]:4711"], "2001:db9::5"),
            ("192.0.2.8", &["203.0.113.9"], "192.0.2.8"),
        ] {
            assert_eq!(
                client(trusted, peer, forwarded),
                expected,
                "{peer} {forwarded:?}"
            );
        }
    }

    #[test]
    fn invalid_networks_are_rejected() {
        for bad in ["", "10.0.0.0/33", "::/129", "10.0.0", "a", "10.0.0.0/8,,"] {
            assert!(bad.parse::<TrustedProxies>().is_err(), "{bad}");
        }
        let all: TrustedProxies = "0.0.0.0/0".parse().expect("every address");
        assert!(all.contains(IpAddr::from([203, 0, 113, 9])));
    }
}
