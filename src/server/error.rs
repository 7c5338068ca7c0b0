//! Why a configuration can't be served, and why a server has ended.

use std::fmt;
use std::io;

use crossbeam_channel::RecvError;

use crate::config::fault::Faults;
use crate::engine::Report;
use crate::engine::listener::ListenAddr;

/// Why a configuration can't be served.
#[derive(Debug)]
pub enum StartError {
    /// The configuration can't work here.
    Config(Faults),

    /// An address can't be listened on.
    Listen {
        /// The service's name.
        service: String,
        /// The address.
        addr: ListenAddr,
        /// What this server listens on already, and is in the way perhaps.
        beside: Option<ListenAddr>,
        /// Why.
        error: io::Error,
    },

    /// Anything else the system refused.
    System {
        /// What was tried.
        what: &'static str,
        /// Why.
        error: io::Error,
    },
}

/// Why a server ended.
#[derive(Debug)]
pub enum End {
    /// It was told to stop, and did.
    Drained(Report),

    /// It can't go on.
    Failed(io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(faults) => f.write_str(&faults.render(false)),
            Self::Listen {
                service,
                addr,
                beside,
                error,
            } => {
                write!(
                    f,
                    "cannot listen on {addr} for service `{service}`: {error}"
                )?;
                match (error.kind(), addr) {
                    (io::ErrorKind::AddrInUse, _) if beside.is_some() => {
                        let beside = beside.iter().map(ListenAddr::to_string);
                        let beside: String = beside.collect();
                        write!(
                            f,
                            "; this replyd listens on {beside}: going from one to the other takes a restart"
                        )
                    }
                    (io::ErrorKind::AddrInUse, _) => {
                        f.write_str("; find out who does with `ss -ltnpx`")
                    }
                    (io::ErrorKind::PermissionDenied, ListenAddr::Tcp(addr))
                        if addr.port() < 1024 =>
                    {
                        f.write_str("; ports below 1024 need CAP_NET_BIND_SERVICE")
                    }
                    _ => Ok(()),
                }
            }
            Self::System { what, error } => write!(f, "cannot {what}: {error}"),
        }
    }
}

impl std::error::Error for StartError {}

impl From<Faults> for StartError {
    fn from(faults: Faults) -> Self {
        Self::Config(faults)
    }
}

pub(super) fn died(ended: Result<io::Result<Report>, RecvError>) -> io::Error {
    match ended {
        Ok(Err(error)) => error,
        Ok(Ok(_)) => io::Error::other("an acceptor ended without being told to"),
        Err(_) => io::Error::other("an acceptor panicked"),
    }
}
