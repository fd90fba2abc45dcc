//! The bound sockets.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, getsockname, listen, socket_with, sockopt};

/// Connections the kernel completes while the loop is busy.
const BACKLOG: i32 = 128;

/// Most bytes the kernel keeps for a client that does not read, before its own doubling. Left alone it keeps up to
/// 4 MiB each, charged to our cgroup.
const SEND_BUFFER: usize = 256 * 1024;

/// The bound sockets. They outlive every error and every panic of the loop that serves them.
#[derive(Debug)]
pub struct Listeners {
    pub(super) sockets: Vec<OwnedFd>,
}

/// An address that could not be listened on.
#[derive(Debug)]
pub struct BindError {
    /// The address as it was configured.
    pub addr: SocketAddr,
    /// What the kernel said.
    pub source: io::Error,
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot listen on {}: {}", self.addr, self.source)
    }
}

impl std::error::Error for BindError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

impl Listeners {
    /// Binds every address. `[::]` takes IPv4 clients too, unless `addrs` names an IPv4 address with the same
    /// port; on a host without IPv6 it means `0.0.0.0`.
    ///
    /// # Errors
    /// The first address that cannot be bound; the others are released.
    pub fn bind(addrs: &[SocketAddr]) -> Result<Self, BindError> {
        let sockets = addrs
            .iter()
            .map(|&addr| {
                let v4_apart = addrs.iter().any(|other| other.is_ipv4() && other.port() == addr.port());
                open(addr, v4_apart)
                    .or_else(|errno| match without_v6(addr, errno) {
                        Some(v4) => open(v4, false),
                        None => Err(errno),
                    })
                    .map_err(|errno| BindError { addr, source: errno.into() })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { sockets })
    }

    /// The addresses as the kernel knows them, with the port it chose where 0 was asked for.
    pub fn addrs(&self) -> Vec<SocketAddr> {
        self.sockets.iter().filter_map(|socket| getsockname(socket).ok()?.try_into().ok()).collect()
    }
}

fn open(addr: SocketAddr, v4_apart: bool) -> Result<OwnedFd, Errno> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    // A restart must not wait for the connections of the process before it.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // Inherited by what is accepted. Without it Nagle and delayed ACK together cost 40 ms a scrape.
    sockopt::set_tcp_nodelay(&socket, true)?;
    sockopt::set_socket_send_buffer_size(&socket, SEND_BUFFER)?;
    if addr.is_ipv6() && addr.ip().is_unspecified() {
        // Said either way: the default is a sysctl of the host.
        sockopt::set_ipv6_v6only(&socket, v4_apart)?;
    }
    bind(&socket, &addr)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

/// What `[::]` means on a host whose kernel has no IPv6, or has it switched off.
fn without_v6(addr: SocketAddr, errno: Errno) -> Option<SocketAddr> {
    let absent = errno == Errno::AFNOSUPPORT || errno == Errno::ADDRNOTAVAIL;
    (absent && addr.is_ipv6() && addr.ip().is_unspecified())
        .then(|| SocketAddr::from((Ipv4Addr::UNSPECIFIED, addr.port())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv6Addr, TcpStream};

    #[test]
    fn the_unspecified_v6_address_takes_v4_clients() {
        let listeners = Listeners::bind(&[SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))]).unwrap();
        let port = listeners.addrs()[0].port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
    }

    #[test]
    fn both_families_on_one_port_do_not_collide() {
        let probe = Listeners::bind(&[SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))]).unwrap();
        let port = probe.addrs()[0].port();
        drop(probe);
        let both = [
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
        ];
        assert_eq!(Listeners::bind(&both).unwrap().addrs().len(), 2);
    }

    #[test]
    fn only_the_unspecified_v6_address_falls_back() {
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, 7));
        let one = SocketAddr::from((Ipv6Addr::LOCALHOST, 7));
        assert_eq!(without_v6(any, Errno::AFNOSUPPORT), Some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 7))));
        assert_eq!(without_v6(any, Errno::ADDRINUSE), None);
        assert_eq!(without_v6(one, Errno::ADDRNOTAVAIL), None);
    }

    #[test]
    fn a_taken_port_is_named_in_the_error() {
        let first = Listeners::bind(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]).unwrap();
        let addr = first.addrs()[0];
        let error = Listeners::bind(&[addr]).unwrap_err();
        assert_eq!(error.addr, addr);
        assert!(error.to_string().starts_with(&format!("cannot listen on {addr}: ")));
    }

    #[test]
    fn accepted_sockets_do_not_wait_for_more_to_send() {
        let listeners = Listeners::bind(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))]).unwrap();
        let _client = TcpStream::connect(listeners.addrs()[0]).unwrap();
        // The handshake of a loopback connection is over when connect returns.
        let accepted = rustix::net::accept(&listeners.sockets[0]).unwrap();
        assert!(sockopt::tcp_nodelay(&accepted).unwrap());
    }
}
