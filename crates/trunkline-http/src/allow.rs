//! Which addresses requests may go to.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// Which addresses requests may go to.
///
/// ```
/// use trunkline_http::Allow;
///
/// let address = |text: &str| text.parse().expect("an address");
/// assert!(Allow::public().permits(address("203.0.114.7")));
/// assert!(!Allow::public().permits(address("10.1.2.3")));
/// let ours = Allow::public().with("10.1.0.0/16".parse().expect("a network"));
/// assert!(ours.permits(address("10.1.2.3")) && !ours.permits(address("10.2.2.3")));
/// assert!(Allow::private().permits(address("127.0.0.1")) && !Allow::private().permits(address("169.254.169.254")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    private: bool,
    networks: Vec<Network>,
}

impl Allow {
    /// Public addresses only: for URLs that users supply.
    pub fn public() -> Self {
        Self { private: false, networks: Vec::new() }
    }

    /// Public and private addresses, this machine included: for URLs that the operator wrote into a file. Link-local
    /// addresses, where clouds hand out credentials, stay closed even to a name that begins to lead there.
    pub fn private() -> Self {
        Self { private: true, networks: Vec::new() }
    }

    /// The same and all addresses of `network`, whatever they are.
    #[must_use]
    pub fn with(mut self, network: Network) -> Self {
        self.networks.push(network);
        self
    }

    /// Whether a request may go to `address`. An IPv4 address inside an IPv6 one counts as what it is.
    pub fn permits(&self, address: IpAddr) -> bool {
        let address = canonical(address);
        match Reach::of(address) {
            Reach::Public => true,
            Reach::Private if self.private => true,
            _ => self.networks.iter().any(|network| network.contains(address)),
        }
    }
}

/// From where an address can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// From everywhere.
    Public,
    /// From this machine or a private network; also what is set aside for tests and documentation.
    Private,
    /// From the same link only, among them the metadata services of clouds.
    LinkLocal,
    /// It is the address of no host: unspecified, multicast, broadcast, reserved.
    NoHost,
}

impl Reach {
    /// The reach of `address`.
    pub fn of(address: IpAddr) -> Self {
        let address = canonical(address);
        let is_in = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
        let leads_to_the_link = || behind_own_nat64(address).is_some_and(|inner| Self::of(inner) == Self::LinkLocal);
        if is_in(&LINK_LOCAL) || leads_to_the_link() {
            Self::LinkLocal
        } else if is_in(&NO_HOST) {
            Self::NoHost
        } else if is_in(&PRIVATE) {
            Self::Private
        } else {
            Self::Public
        }
    }
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::LinkLocal => "link-local or a metadata service",
            Self::NoHost => "not that of a host",
        })
    }
}

const LINK_LOCAL: [Network; 9] = [
    Network::v4([169, 254, 0, 0], 16),
    Network::v6([0xfe80, 0], 10),
    // The metadata services of clouds that lie elsewhere: Alibaba, Azure, Oracle; over IPv6 Amazon, Google, Scaleway.
    Network::v4([100, 100, 100, 200], 32),
    Network::v4([168, 63, 129, 16], 32),
    Network::v4([192, 0, 0, 192], 32),
    Network::v6([0xfd00, 0xec2], 32),
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254)), prefix: 128 },
    Network { address: IpAddr::V6(Ipv6Addr::new(0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42)), prefix: 128 },
    // The old site-local block; nobody knows where it leads today.
    Network::v6([0xfec0, 0], 10),
];

const NO_HOST: [Network; 5] = [
    Network::v4([0, 0, 0, 0], 8),
    Network::v4([224, 0, 0, 0], 4),
    Network::v4([240, 0, 0, 0], 4),
    Network { address: IpAddr::V6(Ipv6Addr::UNSPECIFIED), prefix: 128 },
    Network::v6([0xff00, 0], 8),
];

const PRIVATE: [Network; 15] = [
    Network::v4([127, 0, 0, 0], 8),
    Network::v4([10, 0, 0, 0], 8),
    Network::v4([172, 16, 0, 0], 12),
    Network::v4([192, 168, 0, 0], 16),
    Network::v4([100, 64, 0, 0], 10),
    Network::v4([192, 0, 0, 0], 24),
    Network::v4([192, 0, 2, 0], 24),
    Network::v4([198, 18, 0, 0], 15),
    Network::v4([198, 51, 100, 0], 24),
    Network::v4([203, 0, 113, 0], 24),
    Network { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 },
    Network::v6([0xfc00, 0], 7),
    Network::v6([0x2001, 0x0db8], 32),
    // Teredo, which hides the address that it leads to.
    Network::v6([0x2001, 0], 32),
    // NAT64 of a network's own.
    Network { address: IpAddr::V6(Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0, 0)), prefix: 48 },
];

/// The IPv4 address that an IPv6 address stands for (mapped, translated, compatible, NAT64, 6to4); every other address as it is.
fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    match v6.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => address,
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low]
        | [0, 0, 0, 0, 0xffff, 0, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x2002, high, low, ..] => embedded(high, low),
        _ => address,
    }
}

/// What an address of the block that is set aside for the NAT64 of a network probably leads to there.
fn behind_own_nat64(address: IpAddr) -> Option<IpAddr> {
    let IpAddr::V6(v6) = address else { return None };
    match v6.segments() {
        [0x64, 0xff9b, 1, .., high, low] => Some(embedded(high, low)),
        _ => None,
    }
}

fn embedded(high: u16, low: u16) -> IpAddr {
    let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
    IpAddr::V4(Ipv4Addr::new(a, b, c, d))
}

/// Addresses that begin with the same bits, as `10.0.0.0/8` or `fd00::/8`; a single address when no length is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

impl Network {
    const fn v4([a, b, c, d]: [u8; 4], prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, d)), prefix }
    }

    const fn v6([first, second]: [u16; 2], prefix: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), prefix }
    }

    /// The network of one address.
    pub fn single(address: IpAddr) -> Self {
        let address = canonical(address);
        Self { address, prefix: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether `address` belongs to it.
    pub fn contains(&self, address: IpAddr) -> bool {
        let difference = match (self.address, address) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => u128::from(ours.to_bits() ^ theirs.to_bits()) << 96,
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => ours.to_bits() ^ theirs.to_bits(),
            _ => return false,
        };
        difference.leading_zeros() >= u32::from(self.prefix)
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError::Malformed(text.to_owned());
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let prefix = prefix.map_or(Ok(most), str::parse).ok().filter(|prefix| *prefix <= most).ok_or_else(wrong)?;
        // Addresses are compared as what they stand for, so a network of those that stand for IPv4 would contain none.
        match (address, canonical(address)) {
            (IpAddr::V6(_), inner @ IpAddr::V4(_)) => match prefix {
                128 => Ok(Self::single(inner)),
                96..128 if is_mapped(address) => Ok(Self { address: inner, prefix: prefix - 96 }),
                _ => Err(NetworkError::Embedded(text.to_owned())),
            },
            _ => Ok(Self { address, prefix }),
        }
    }
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some())
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// It is not an address, or not one with a length.
    #[error("`{0}` is no network; write it as `10.0.0.0/8`, `fd00::/8` or `192.168.1.7`")]
    Malformed(String),
    /// Its addresses count as the IPv4 addresses that they stand for.
    #[error("the addresses of `{0}` stand for IPv4 addresses; write those, as `10.0.0.0/8`")]
    Embedded(String),
}

/// A request that was not sent, because of the address it would have gone to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address {address} of `{host}` is {reach}, and no request goes there")]
pub struct Refused {
    /// As the URL names it.
    pub host: String,
    /// What it is.
    pub address: IpAddr,
    /// Why it was refused.
    pub reach: Reach,
}

impl Refused {
    pub(crate) fn new(host: impl Into<String>, address: IpAddr) -> Self {
        Self { host: host.into(), address, reach: Reach::of(address) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(text: &str) -> Reach {
        Reach::of(text.parse().expect("an address"))
    }

    #[test]
    fn addresses_are_sorted_by_what_they_lead_to() {
        for (addresses, expected) in [
            (
                "1.1.1.1 8.8.8.8 172.15.255.255 172.32.0.0 100.63.255.255 100.128.0.0 169.253.255.255 223.255.255.255",
                Reach::Public,
            ),
            ("2606:4700::1111 2a00:1450::1 ::ffff:8.8.8.8 64:ff9b::808:808 2002:808:808::1", Reach::Public),
            ("127.0.0.1 127.255.255.255 10.0.0.1 172.16.0.1 172.31.255.255 192.168.0.1 100.64.0.1", Reach::Private),
            ("192.0.0.8 192.0.2.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.255", Reach::Private),
            ("::1 fc00::1 fdff::1 2001:db8::1 2001::1 64:ff9b:1::1", Reach::Private),
            ("::ffff:127.0.0.1 ::ffff:10.0.0.1 ::7f00:2 64:ff9b::a00:1 2002:a00:1::1 2002:7f00:1::", Reach::Private),
            ("169.254.0.0 169.254.169.254 169.254.255.255 fe80::1 febf::1 fec0::1", Reach::LinkLocal),
            ("::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 2002:a9fe:a9fe::1", Reach::LinkLocal),
            ("100.100.100.200 168.63.129.16 192.0.0.192 fd00:ec2::254 fd00:ec2::23 fd00:ec2:1::1", Reach::LinkLocal),
            ("fd20:ce::254 fd00:42::42 ::ffff:192.0.0.192 ::ffff:0:169.254.169.254 64:ff9b::c000:c0", Reach::LinkLocal),
            ("::169.254.169.254 64:ff9b:1::a9fe:a9fe 64:ff9b:1:2:3:4:6464:64c8", Reach::LinkLocal),
            ("192.0.0.191 192.0.0.193 fd00:ec1::254 fd00:ec3::254 fd20:ce::253 fd00:42::43 64:ff9b:1::808:808", Reach::Private),
            ("::ffff:0:10.0.0.1 ::ffff:0:127.0.0.1", Reach::Private),
            ("::ffff:0:8.8.8.8", Reach::Public),
            ("0.0.0.0 0.1.2.3 :: 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 ff02::1 ::ffff:0.0.0.0", Reach::NoHost),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(reach(address), expected, "{address}");
            }
        }
    }

    #[test]
    fn named_networks_are_open_whatever_they_are_and_others_are_not() {
        let allow = Allow::public().with("169.254.170.2".parse().unwrap()).with("fd00::/8".parse().unwrap());
        let permits = |text: &str| allow.permits(text.parse().expect("an address"));
        assert!(permits("169.254.170.2") && permits("::ffff:169.254.170.2") && permits("fd12::1"));
        assert!(!permits("169.254.170.3") && !permits("fc00::1") && !permits("10.0.0.1"));
        assert!(Allow::public().with("0.0.0.0/0".parse().unwrap()).permits("10.0.0.1".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused() {
        for text in ["", "10.0.0.0/33", "10.0.0/8", "::/129", "10.0.0.0/", "10.0.0.0/-1", "host/8"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Malformed(text.to_owned())));
        }
    }

    #[test]
    fn a_network_in_the_form_of_ipv6_is_that_of_the_addresses_it_stands_for_or_refused() {
        for (text, expected) in [
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("::ffff:0:0/96", "0.0.0.0/0"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("64:ff9b::a00:1", "10.0.0.1/32"),
            ("2002:a00:1::/128", "10.0.0.1/32"),
        ] {
            assert_eq!(text.parse::<Network>(), expected.parse::<Network>(), "{text}");
        }
        let allow = Allow::public().with("::ffff:10.0.0.0/104".parse().unwrap());
        assert!(allow.permits("10.9.9.9".parse().unwrap()) && allow.permits("::ffff:10.9.9.9".parse().unwrap()));
        for text in ["::ffff:0:0/95", "64:ff9b::/96", "::ffff:0:10.0.0.0/104", "2002::/16", "2002:a00:1::/48", "::10.0.0.0/104"] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Embedded(text.to_owned())));
        }
        assert!("::/0".parse::<Network>().is_ok() && "64:ff9b:1::/48".parse::<Network>().is_ok());
    }
}
