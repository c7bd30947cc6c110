//! What a person asks of the user network: the words of `-netdev user`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4};
use std::path::PathBuf;

/// Longest name that a DHCP option carries.
const LONGEST_NAME: usize = 255;
/// How many hosts a DHCP server serves.
pub(super) const LEASES: u32 = 16;

/// The IPv4 side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv4Options {
    /// The network's address.
    pub net: Ipv4Addr,
    /// Its netmask.
    pub mask: Ipv4Addr,
    /// The host as the guest sees it: gateway, DHCP and TFTP server.
    pub host: Ipv4Addr,
    /// Where the guest asks for names.
    pub dns: Ipv4Addr,
    /// The first of sixteen addresses that are leased.
    pub dhcp_start: Ipv4Addr,
}

impl Ipv4Options {
    /// Whether an address is of this network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask.to_bits() == self.net.to_bits()
    }
    /// The network's own broadcast address.
    pub fn broadcast(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.net.to_bits() | !self.mask.to_bits())
    }
}

/// The IPv6 side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ipv6Options {
    /// The prefix that is advertised.
    pub prefix: Ipv6Addr,
    /// Its length in bits.
    pub length: u8,
    /// The host as the guest sees it: router and DHCPv6 server.
    pub host: Ipv6Addr,
    /// Where the guest asks for names.
    pub dns: Ipv6Addr,
}

impl Ipv6Options {
    /// Whether an address is of this prefix.
    pub fn contains(&self, address: Ipv6Addr) -> bool {
        let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
        address.to_bits() & mask == self.prefix.to_bits() & mask
    }
}

/// TCP or UDP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host's that leads into the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HostForward {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Where the host listens. Port 0: any.
    pub host: SocketAddr,
    /// Where it leads; no address: the first that is leased.
    pub guest: SocketAddrV4,
}

/// Where a forwarded server really is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A Unix socket that somebody listens on.
    Unix(PathBuf),
    /// A TCP server of the host's network.
    Tcp(SocketAddr),
}

/// A server inside the guest's network that stands for one of the host's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GuestForward {
    /// As the guest sees it.
    pub server: SocketAddrV4,
    /// Where it leads. Each connection of the guest makes one there.
    pub target: Target,
}

/// The words of `-netdev user`, read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserOptions {
    /// IPv4, unless it is off.
    pub ipv4: Option<Ipv4Options>,
    /// IPv6, unless it is off.
    pub ipv6: Option<Ipv6Options>,
    /// The guest's name.
    pub hostname: Option<String>,
    /// The guest's domain.
    pub domainname: Option<String>,
    /// Domains in which it looks for names.
    pub dnssearch: Vec<String>,
    /// The folder that TFTP gives files from.
    pub tftp: Option<PathBuf>,
    /// The server's name that DHCP tells.
    pub tftp_server_name: Option<String>,
    /// The file to boot from.
    pub bootfile: Option<String>,
    /// The guest reaches nothing but `guestfwd` servers.
    pub restrict: bool,
    /// Ports of the host's that lead into the guest.
    pub hostfwd: Vec<HostForward>,
    /// Servers of the guest's network that are the host's.
    pub guestfwd: Vec<GuestForward>,
}

impl Default for UserOptions {
    fn default() -> UserOptions {
        UserOptions {
            ipv4: Some(Ipv4Options {
                net: Ipv4Addr::new(10, 0, 2, 0),
                mask: Ipv4Addr::new(255, 255, 255, 0),
                host: Ipv4Addr::new(10, 0, 2, 2),
                dns: Ipv4Addr::new(10, 0, 2, 3),
                dhcp_start: Ipv4Addr::new(10, 0, 2, 15),
            }),
            ipv6: Some(ipv6_defaults(Ipv6Addr::new(0xfec0, 0, 0, 0, 0, 0, 0, 0), 64)),
            hostname: None,
            domainname: None,
            dnssearch: Vec::new(),
            tftp: None,
            tftp_server_name: None,
            bootfile: None,
            restrict: false,
            hostfwd: Vec::new(),
            guestfwd: Vec::new(),
        }
    }
}

fn ipv6_defaults(prefix: Ipv6Addr, length: u8) -> Ipv6Options {
    let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
    let prefix = Ipv6Addr::from_bits(prefix.to_bits() & mask);
    let with = |low: u128| Ipv6Addr::from_bits(prefix.to_bits() | low);
    Ipv6Options { prefix, length, host: with(2), dns: with(3) }
}

/// What is given, before it is put together.
#[derive(Default)]
struct Words<'a> {
    ipv4: Option<bool>,
    ipv6: Option<bool>,
    net: Option<&'a str>,
    host: Option<&'a str>,
    dns: Option<&'a str>,
    dhcpstart: Option<&'a str>,
    ipv6_prefix: Option<&'a str>,
    ipv6_length: Option<&'a str>,
    ipv6_host: Option<&'a str>,
    ipv6_dns: Option<&'a str>,
    guestfwd: Vec<&'a str>,
}

impl UserOptions {
    /// Reads QEMU's words. `id` and `type` are the caller's.
    pub fn parse(options: &[(String, String)]) -> Result<UserOptions, String> {
        let mut read = UserOptions::default();
        let mut words = Words::default();
        for (key, value) in options {
            let value = value.as_str();
            match key.as_str() {
                "id" | "type" => {}
                "ipv4" => words.ipv4 = Some(on_off(key, value)?),
                "ipv6" => words.ipv6 = Some(on_off(key, value)?),
                "net" => words.net = Some(value),
                "host" => words.host = Some(value),
                "dns" => words.dns = Some(value),
                "dhcpstart" => words.dhcpstart = Some(value),
                "ipv6-net" => {
                    let (prefix, length) = value.split_once('/').unwrap_or((value, "64"));
                    (words.ipv6_prefix, words.ipv6_length) = (Some(prefix), Some(length));
                }
                "ipv6-prefix" => words.ipv6_prefix = Some(value),
                "ipv6-prefixlen" => words.ipv6_length = Some(value),
                "ipv6-host" => words.ipv6_host = Some(value),
                "ipv6-dns" => words.ipv6_dns = Some(value),
                "restrict" => read.restrict = on_off(key, value)?,
                "hostname" => read.hostname = Some(name(key, value)?),
                "domainname" => read.domainname = Some(name(key, value)?),
                "tftp-server-name" => read.tftp_server_name = Some(name(key, value)?),
                "bootfile" => read.bootfile = Some(bootfile(value)?),
                "dnssearch" => read.dnssearch.push(name(key, value)?),
                "tftp" => read.tftp = Some(value.into()),
                "hostfwd" => read.hostfwd.push(HostForward::parse(value)?),
                "guestfwd" => words.guestfwd.push(value),
                "smb" | "smbserver" => {
                    return Err(format!(
                        "'{key}' is not offered: it needs Samba's server and a shell beside the device model; \
                         share files by TFTP, by a forwarded port or by a disk"
                    ));
                }
                _ => return Err(format!("Invalid parameter '{key}'")),
            }
        }
        read.ipv4 = ipv4(&words)?;
        read.ipv6 = ipv6(&words)?;
        if read.ipv4.is_none() && read.ipv6.is_none() {
            return Err("IPv4 and IPv6 disabled".to_owned());
        }
        if read.ipv4.is_none() && !(read.hostfwd.is_empty() && words.guestfwd.is_empty()) {
            return Err("hostfwd and guestfwd need IPv4, which is disabled".to_owned());
        }
        for rule in &words.guestfwd {
            let forward = GuestForward::parse(rule)?;
            let valid = read.ipv4.is_some_and(|v4| {
                let ip = *forward.server.ip();
                v4.contains(ip) && ![v4.net, v4.host, v4.dns, v4.broadcast()].contains(&ip)
            });
            if !valid || read.guestfwd.iter().any(|other| other.server == forward.server) {
                return Err(format!("Conflicting/invalid host:port in guest forwarding rule '{rule}'"));
            }
            read.guestfwd.push(forward);
        }
        Ok(read)
    }
}

fn on_off(key: &str, value: &str) -> Result<bool, String> {
    match value {
        "on" | "yes" | "true" | "y" => Ok(true),
        "off" | "no" | "false" | "n" => Ok(false),
        _ => Err(format!("Parameter '{key}' expects 'on' or 'off'")),
    }
}

/// A name that DHCP carries.
fn name(key: &str, value: &str) -> Result<String, String> {
    match value.len() {
        0 => Err(format!("'{key}' parameter cannot be empty")),
        1..=LONGEST_NAME => Ok(value.to_owned()),
        _ => Err(format!("'{key}' parameter cannot be longer than {LONGEST_NAME} bytes")),
    }
}

/// A file's name that fits DHCP's header, with the zero that ends it.
fn bootfile(value: &str) -> Result<String, String> {
    if value.len() < 128 {
        Ok(value.to_owned())
    } else {
        Err("'bootfile' parameter cannot be longer than 127 bytes".to_owned())
    }
}

fn ipv4(words: &Words<'_>) -> Result<Option<Ipv4Options>, String> {
    if words.ipv4 == Some(false) || (words.ipv4.is_none() && words.ipv6 == Some(true) && !words.names_ipv4())
    {
        if words.names_ipv4() {
            return Err("IPv4 disabled but netmask/host/dns provided".to_owned());
        }
        return Ok(None);
    }
    let (net, mask) = match words.net {
        None => (Ipv4Addr::new(10, 0, 2, 0), Ipv4Addr::new(255, 255, 255, 0)),
        Some(text) => network(text)?,
    };
    let address = |text: Option<&str>, what: &str, usual: u32| match text {
        None => Ok(Ipv4Addr::from_bits(net.to_bits() | usual & !mask.to_bits())),
        Some(text) => text.parse().map_err(|_| format!("Failed to parse {what}")),
    };
    let v4 = Ipv4Options {
        net,
        mask,
        host: address(words.host, "host", 2)?,
        dns: address(words.dns, "DNS", 3)?,
        dhcp_start: address(words.dhcpstart, "DHCP start address", 15)?,
    };
    let outside = |address: Ipv4Addr| !v4.contains(address) || [net, v4.broadcast()].contains(&address);
    if outside(v4.host) {
        return Err("Host doesn't belong to network".to_owned());
    }
    if outside(v4.dns) {
        return Err("DNS doesn't belong to network".to_owned());
    }
    if v4.dns == v4.host {
        return Err("DNS must be different from host".to_owned());
    }
    if outside(v4.dhcp_start) {
        return Err("DHCP doesn't belong to network".to_owned());
    }
    if [v4.host, v4.dns].contains(&v4.dhcp_start) {
        return Err("DHCP must be different from host and DNS".to_owned());
    }
    Ok(Some(v4))
}

impl Words<'_> {
    fn names_ipv4(&self) -> bool {
        self.net.is_some() || self.host.is_some() || self.dns.is_some() || self.dhcpstart.is_some()
    }
    fn names_ipv6(&self) -> bool {
        self.ipv6_prefix.is_some()
            || self.ipv6_length.is_some()
            || self.ipv6_host.is_some()
            || self.ipv6_dns.is_some()
    }
}

/// `10.0.2.0/24`, `10.0.2.0/255.255.255.0`, or an address whose class says the mask.
fn network(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let bad = || "Failed to parse netmask".to_owned();
    let (address, mask) = match text.split_once('/') {
        None => (text, None),
        Some((address, mask)) => (address, Some(mask)),
    };
    let address: Ipv4Addr = address.parse().map_err(|_| bad())?;
    let mask = match mask {
        None => match address.octets()[0] {
            0..=127 => 0xff00_0000,
            128..=191 => 0xffff_0000,
            _ => 0xffff_ff00,
        },
        Some(text) if text.contains('.') => text.parse::<Ipv4Addr>().map_err(|_| bad())?.to_bits(),
        Some(text) => match text.parse::<u32>() {
            Ok(bits @ 4..=30) => u32::MAX << (32 - bits),
            _ => return Err("Invalid netmask provided (must be in range 4-30)".to_owned()),
        },
    };
    if mask.leading_ones() + mask.trailing_zeros() != 32 || !(4..=30).contains(&mask.leading_ones()) {
        return Err(bad());
    }
    Ok((Ipv4Addr::from_bits(address.to_bits() & mask), Ipv4Addr::from_bits(mask)))
}

fn ipv6(words: &Words<'_>) -> Result<Option<Ipv6Options>, String> {
    if words.ipv6 == Some(false) || (words.ipv6.is_none() && words.ipv4 == Some(true) && !words.names_ipv6())
    {
        if words.names_ipv6() {
            return Err("IPv6 disabled but prefix/host6/dns6 provided".to_owned());
        }
        return Ok(None);
    }
    let prefix = words.ipv6_prefix.unwrap_or("fec0::");
    let prefix = prefix.parse().map_err(|_| "Failed to parse IPv6 prefix".to_owned())?;
    let length = match words.ipv6_length.unwrap_or("64").parse::<u8>() {
        Ok(length @ 0..=126) => length,
        _ => {
            return Err(
                "Invalid IPv6 prefix provided (IPv6 prefix length must be between 0 and 126)".to_owned()
            );
        }
    };
    let mut v6 = ipv6_defaults(prefix, length);
    if let Some(text) = words.ipv6_host {
        v6.host = text.parse().map_err(|_| "Failed to parse IPv6 host".to_owned())?;
        if !v6.contains(v6.host) {
            return Err("IPv6 Host doesn't belong to network".to_owned());
        }
    }
    if let Some(text) = words.ipv6_dns {
        v6.dns = text.parse().map_err(|_| "Failed to parse IPv6 DNS".to_owned())?;
        if !v6.contains(v6.dns) {
            return Err("IPv6 DNS doesn't belong to network".to_owned());
        }
    }
    if v6.dns == v6.host {
        return Err("IPv6 DNS must be different from host6".to_owned());
    }
    Ok(Some(v6))
}

impl HostForward {
    /// `[tcp|udp]:[hostaddr]:hostport-[guestaddr]:guestport`.
    pub fn parse(rule: &str) -> Result<HostForward, String> {
        HostForward::words(rule).map_err(|why| format!("Invalid host forwarding rule '{rule}' ({why})"))
    }

    fn words(rule: &str) -> Result<HostForward, &'static str> {
        let (protocol, rest) = rule.split_once(':').ok_or("No : separators")?;
        let protocol = match protocol {
            "" | "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            _ => return Err("Bad protocol name"),
        };
        let (host, guest) = rest.rsplit_once('-').ok_or("Missing guest address")?;
        let host = HostForward::host(host)?;
        let (address, port) = guest.split_once(':').ok_or("Missing guest port")?;
        let address = match address {
            "" => Ipv4Addr::UNSPECIFIED,
            text => text.parse().map_err(|_| "Bad guest address")?,
        };
        let port = port.parse().ok().filter(|port| *port > 0).ok_or("Bad guest port")?;
        Ok(HostForward { protocol, host, guest: SocketAddrV4::new(address, port) })
    }

    /// `[tcp|udp]:[hostaddr]:hostport`, which names a rule that is to go.
    pub fn parse_host(rule: &str) -> Result<(Protocol, SocketAddr), String> {
        let words = || {
            let (protocol, rest) = rule.split_once(':').ok_or("No : separators")?;
            let protocol = match protocol {
                "" | "tcp" => Protocol::Tcp,
                "udp" => Protocol::Udp,
                _ => return Err("Bad protocol name"),
            };
            Ok((protocol, HostForward::host(rest)?))
        };
        words().map_err(|why| format!("invalid format: {why}"))
    }

    fn host(text: &str) -> Result<SocketAddr, &'static str> {
        let (address, port) = text.rsplit_once(':').ok_or("Missing : separator")?;
        let inner = address.strip_prefix('[').and_then(|a| a.strip_suffix(']'));
        let address = match (address, inner) {
            ("", _) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            (_, Some(v6)) => IpAddr::V6(v6.parse().map_err(|_| "Bad host address")?),
            ("localhost", None) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            (text, None) => IpAddr::V4(text.parse().map_err(|_| "Bad host address")?),
        };
        Ok(SocketAddr::new(address, port.parse().map_err(|_| "Bad host port")?))
    }
}

impl GuestForward {
    /// `[tcp]:server:port-unix:PATH` or `-tcp:host:port`.
    fn parse(rule: &str) -> Result<GuestForward, String> {
        GuestForward::words(rule).map_err(|why| format!("Invalid guest forwarding rule '{rule}' ({why})"))
    }

    fn words(rule: &str) -> Result<GuestForward, String> {
        let rest = rule.strip_prefix("tcp:").or_else(|| rule.strip_prefix(':')).ok_or("Bad protocol name")?;
        let (server, target) = rest.split_once('-').ok_or("Missing - separator")?;
        let server: SocketAddrV4 = server.parse().map_err(|_| "Bad server address or port")?;
        if server.port() == 0 {
            return Err("Bad server address or port".to_owned());
        }
        let target = if let Some(path) = target.strip_prefix("unix:") {
            if path.is_empty() || path.len() > 107 {
                return Err("Bad path of a socket".to_owned());
            }
            Target::Unix(path.into())
        } else if let Some(address) = target.strip_prefix("tcp:") {
            let address = address.replace("localhost", "127.0.0.1");
            Target::Tcp(address.parse().map_err(|_| "Bad target address or port")?)
        } else if target.starts_with("cmd:") {
            return Err(
                "cmd: would run a program for each connection, which the device model cannot once it \
                        has confined itself; let the program listen on a socket: unix:PATH or tcp:host:port"
                    .to_owned(),
            );
        } else {
            return Err("the target is unix:PATH or tcp:host:port".to_owned());
        };
        Ok(GuestForward { server, target })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<UserOptions, String> {
        let words = text.split(',').filter(|word| !word.is_empty());
        let pairs = words.map(|word| word.split_once('=').unwrap_or((word, "on")));
        UserOptions::parse(&pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect::<Vec<_>>())
    }

    #[test]
    fn words_are_read() {
        assert_eq!(parse("id=n0").unwrap(), UserOptions::default());
        let read = parse(
            "net=192.168.76.0/24,dhcpstart=192.168.76.9,hostname=guest,domainname=a.test,dnssearch=b.test,\
             dnssearch=c.test,restrict=on,tftp=/srv,bootfile=pxe.0,tftp-server-name=boot,\
             hostfwd=tcp::2222-:22,hostfwd=udp:127.0.0.1:53-192.168.76.9:5353,\
             guestfwd=tcp:192.168.76.100:80-unix:/run/web-1,guestfwd=:192.168.76.100:81-tcp:127.0.0.1:8080,\
             ipv6-net=fd00:1::/48",
        )
        .unwrap();
        let v4 = read.ipv4.unwrap();
        assert_eq!((v4.host, v4.dns), ("192.168.76.2".parse().unwrap(), "192.168.76.3".parse().unwrap()));
        assert_eq!(v4.dhcp_start, Ipv4Addr::new(192, 168, 76, 9));
        let v6 = read.ipv6.unwrap();
        assert_eq!((v6.length, v6.host), (48, "fd00:1::2".parse().unwrap()));
        assert_eq!(read.hostfwd[0].host, "0.0.0.0:2222".parse().unwrap());
        assert_eq!(read.hostfwd[1].guest, "192.168.76.9:5353".parse().unwrap());
        assert_eq!(read.guestfwd[0].target, Target::Unix("/run/web-1".into()));
        assert_eq!(read.guestfwd[1].target, Target::Tcp("127.0.0.1:8080".parse().unwrap()));
        assert!(read.restrict && read.dnssearch.len() == 2);
        // One family asked for is the only one.
        assert!(parse("ipv4=on").unwrap().ipv6.is_none());
        assert!(parse("ipv6=on").unwrap().ipv4.is_none());
        assert!(parse("ipv6=off").unwrap().ipv4.is_some());
        // A mask in two forms and none.
        assert_eq!(parse("net=10.9.0.0/255.255.0.0").unwrap().ipv4, parse("net=10.9.0.0/16").unwrap().ipv4);
        assert_eq!(parse("net=10.1.2.3").unwrap().ipv4.unwrap().mask, Ipv4Addr::new(255, 0, 0, 0));
    }

    #[test]
    fn what_cannot_be_is_refused_with_a_reason() {
        for (text, why) in [
            ("ipv4=off,ipv6=off", "IPv4 and IPv6 disabled"),
            ("ipv4=off,net=10.0.0.0/8", "IPv4 disabled but"),
            ("ipv6=off,ipv6-host=fec0::9", "IPv6 disabled but"),
            ("net=10.0.0.0/33", "Invalid netmask"),
            ("net=10.0.0.0/255.0.255.0", "Failed to parse netmask"),
            ("host=10.0.3.2", "Host doesn't belong to network"),
            ("dns=10.0.2.2", "DNS must be different from host"),
            ("dhcpstart=10.0.2.3", "DHCP must be different"),
            ("ipv6-prefixlen=127", "between 0 and 126"),
            ("restrict=maybe", "expects 'on' or 'off'"),
            ("smb=/srv", "Samba"),
            ("colour=red", "Invalid parameter 'colour'"),
            ("hostfwd=tcp", "No : separators"),
            ("hostfwd=sctp::1-:2", "Bad protocol name"),
            ("hostfwd=tcp:1-:2", "Missing : separator"),
            ("hostfwd=tcp::99999-:2", "Bad host port"),
            ("hostfwd=tcp::1-:0", "Bad guest port"),
            ("hostfwd=tcp:x:1-:2", "Bad host address"),
            ("guestfwd=tcp:10.0.2.100:1-cmd:netcat", "run a program"),
            ("guestfwd=tcp:10.0.2.2:1-unix:/x", "Conflicting/invalid"),
            ("guestfwd=tcp:10.0.3.9:1-unix:/x", "Conflicting/invalid"),
            ("guestfwd=udp:10.0.2.100:1-unix:/x", "Bad protocol name"),
        ] {
            let said = parse(text).unwrap_err();
            assert!(said.contains(why), "{text}: {said}");
        }
        assert!(parse(&format!("hostname={}", "x".repeat(256))).is_err());
        assert!(parse(&format!("bootfile={}", "x".repeat(128))).is_err());
    }
}
