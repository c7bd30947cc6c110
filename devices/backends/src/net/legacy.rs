//! `socket`: the older spelling of streams and datagrams.

use super::address::Address;
use super::dgram::DgramSpec;
use super::options::{Options, Style};
use super::stream::StreamSpec;
use super::{NetSpec, Word};

/// Reads what is a stream or sends datagrams, as it says. `fd` may be either: the descriptor itself tells, so it is
/// left open here.
pub(super) fn parse(options: &[(String, String)]) -> Result<NetSpec, String> {
    let mut options = Options::new(options, Style::Words);
    let fd = options.take("fd");
    let listen = options.take("listen");
    let connect = options.take("connect");
    let mcast = options.take("mcast");
    let udp = options.take("udp");
    let localaddr = options.take("localaddr");
    options.end()?;
    if [fd, listen, connect, mcast, udp].iter().flatten().count() != 1 {
        return Err("exactly one of listen=, connect=, mcast= or udp= is required".into());
    }
    if localaddr.is_some() && mcast.is_none() && udp.is_none() {
        return Err("localaddr= is only valid with mcast= or udp=".into());
    }
    let stream = |address: Address, server: bool| {
        NetSpec::Stream(StreamSpec { address, server, reconnect: None, word: Word::Socket })
    };
    let dgram = |local, remote| NetSpec::Dgram(DgramSpec { local, remote: Some(remote), word: Word::Socket });
    if let Some(fd) = fd {
        return Ok(NetSpec::Socket(fd.to_owned()));
    }
    if let Some(listen) = listen {
        return Ok(stream(Address::host_port(listen)?, true));
    }
    if let Some(connect) = connect {
        return Ok(stream(Address::host_port(connect)?, false));
    }
    if let Some(mcast) = mcast {
        let group = Address::host_port(mcast)?;
        if !group.is_multicast() {
            return Err(format!("specified mcastaddr {mcast} does not contain a multicast address"));
        }
        // The address of the interface that leads to the group, without a port.
        let local = localaddr.map(|host| Address::Inet { host: host.to_owned(), port: 0, ipv4: Some(true) });
        return Ok(dgram(local, group));
    }
    let local = localaddr.ok_or("localaddr= is mandatory with udp=")?;
    Ok(dgram(Some(Address::host_port(local)?), Address::host_port(udp.unwrap_or_default())?))
}
