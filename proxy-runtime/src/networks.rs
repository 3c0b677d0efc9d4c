//! Lists of networks, as `allow_from` and `proxy_protocol` have them.

use crate::messages::configuration as messages;
use std::{fmt, net::IpAddr, str::FromStr};

/// Networks in CIDR notation (RFC 4632 §3.1, RFC 4291 §2.3), separated by commas or blanks; an address without a prefix
/// stands for itself. IPv4-mapped IPv6 addresses and networks are the IPv4 ones that they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Networks(Vec<Network>);

impl Networks {
    /// Whether this address lies in one of the networks.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|network| network.contains(address))
    }
}

impl FromStr for Networks {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let networks: Vec<Network> = text
            .split(|c: char| c == ',' || c.is_whitespace())
            .filter(|part| !part.is_empty())
            .map(Network::parse)
            .collect::<Result<_, _>>()?;
        match networks.is_empty() {
            true => Err(BadNetwork::None),
            false => Ok(Networks(networks)),
        }
    }
}

/// Why a list of networks cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadNetwork {
    /// There is none.
    None,
    /// No network; with the text.
    Unreadable(String),
    /// An address with bits beyond its prefix; with the text, and the network that it lies in.
    Beyond(String, String),
}

impl fmt::Display for BadNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BadNetwork::None => f.write_str(messages::NO_NETWORK),
            BadNetwork::Unreadable(text) => f.write_str(&messages::not_a_network(text)),
            BadNetwork::Beyond(text, network) => {
                f.write_str(&messages::bits_beyond_prefix(text, network))
            }
        }
    }
}

impl std::error::Error for BadNetwork {}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Network {
    /// Without bits beyond the prefix.
    address: IpAddr,
    prefix: u32,
}

impl Network {
    fn parse(text: &str) -> Result<Self, BadNetwork> {
        let unreadable = || BadNetwork::Unreadable(text.chars().take(100).collect());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| unreadable())?;
        let prefix: u32 = match prefix {
            None => width(address),
            Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
                digits.parse().map_err(|_| unreadable())?
            }
            Some(_) => return Err(unreadable()),
        };
        if prefix > width(address) {
            return Err(unreadable());
        }
        // ::ffff:192.0.2.0/120 is 192.0.2.0/24; a wider network than ::ffff:0:0/96 holds more than IPv4.
        let canonical = address.to_canonical();
        let network = match width(address) - width(canonical) {
            shift if shift <= prefix => Network {
                address: canonical,
                prefix: prefix - shift,
            },
            _ => Network { address, prefix },
        };
        let masked = network.masked(network.address);
        if masked != network.address {
            let meant = format!("{masked}/{}", network.prefix);
            return Err(BadNetwork::Beyond(text.to_owned(), meant));
        }
        Ok(network)
    }

    fn contains(&self, address: IpAddr) -> bool {
        self.address.is_ipv4() == address.is_ipv4() && self.masked(address) == self.address
    }

    fn masked(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(address) => {
                let mask = u32::MAX.checked_shl(32 - self.prefix).unwrap_or(0);
                IpAddr::V4((address.to_bits() & mask).into())
            }
            IpAddr::V6(address) => {
                let mask = u128::MAX.checked_shl(128 - self.prefix).unwrap_or(0);
                IpAddr::V6((address.to_bits() & mask).into())
            }
        }
    }
}

fn width(address: IpAddr) -> u32 {
    match address {
        IpAddr::V4(_) => 32,
        IpAddr::V6(_) => 128,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contains(networks: &str, address: &str) -> bool {
        let networks: Networks = networks.parse().unwrap();
        networks.contains(address.parse().unwrap())
    }

    #[test]
    fn addresses_are_found_in_their_networks() {
        let list = "10.0.0.0/8, 192.0.2.7\n2001:db8::/32,fe80::1/128";
        for inside in [
            "10.0.0.0",
            "10.255.255.255",
            "192.0.2.7",
            "2001:db8:ffff::1",
            "fe80::1",
        ] {
            assert!(contains(list, inside), "{inside}");
        }
        for outside in [
            "11.0.0.0",
            "192.0.2.8",
            "2001:db9::",
            "fe80::2",
            "::10.0.0.1",
        ] {
            assert!(!contains(list, outside), "{outside}");
        }
    }

    #[test]
    fn mapped_addresses_are_ipv4() {
        assert!(contains("10.0.0.0/8", "::ffff:10.1.2.3"));
        assert!(contains("::ffff:10.0.0.0/104", "10.1.2.3"));
        assert!(!contains("::ffff:10.0.0.0/104", "11.1.2.3"));
        assert!(contains("::ffff:10.0.0.1", "10.0.0.1"));
    }

    #[test]
    fn everything_is_one_network_of_each_family() {
        assert!(contains("0.0.0.0/0", "203.0.113.1"));
        assert!(!contains("0.0.0.0/0", "2001:db8::1"));
        assert!(contains("::/0", "2001:db8::1"));
        assert!(!contains("::/0", "203.0.113.1"));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in [
            "10.0.0.0/33",
            "10.0.0/8",
            "::/129",
            "localhost",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
        ] {
            let error = bad.parse::<Networks>().unwrap_err();
            assert!(matches!(error, BadNetwork::Unreadable(_)), "{bad}");
            assert!(error.to_string().starts_with(bad));
        }
        assert_eq!(" , ".parse::<Networks>(), Err(BadNetwork::None));
        let error = "10.0.0.1/8".parse::<Networks>().unwrap_err();
        assert!(
            error
                .to_string()
                .ends_with("write 10.0.0.0/8 if that network is meant")
        );
    }
}
