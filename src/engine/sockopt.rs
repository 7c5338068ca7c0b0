//! The socket options that no crate offers, made by nix's macro.
//!
//! What the macro expands to is the only `unsafe` in the crate; the lint doesn't see into
//! macros of others. All are plain getsockopt(2) and setsockopt(2) with a type of libc's.

#![allow(missing_docs, reason = "the macro gives its types no documentation")]

use nix::{getsockopt_impl, setsockopt_impl, sockopt_impl};

sockopt_impl!(
    TcpDeferAccept,
    Both,
    libc::IPPROTO_TCP,
    libc::TCP_DEFER_ACCEPT,
    u32
);
sockopt_impl!(
    TcpListenInfo,
    GetOnly,
    libc::IPPROTO_TCP,
    libc::TCP_INFO,
    libc::tcp_info
);

sockopt_impl!(
    MinTtl,
    SetOnly,
    libc::IPPROTO_IP,
    libc::IP_MINTTL,
    libc::c_int
);
sockopt_impl!(
    MinHopCount,
    SetOnly,
    libc::IPPROTO_IPV6,
    libc::IPV6_MINHOPCOUNT,
    libc::c_int
);

/// The kernel's queue of a listener. `TCP_INFO` of a listening socket tells its length as
/// `tcpi_unacked` and its limit as `tcpi_sacked` (Linux, tcp_get_info).
#[derive(Clone, Copy, Debug)]
pub(super) struct ListenQueue {
    pub(super) length: u32,
    pub(super) limit: u32,
}
