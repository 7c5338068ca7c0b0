//! Listeners against the kernel.

use super::*;
use std::net::TcpStream;

const OPTIONS: ListenerOptions = ListenerOptions {
    backlog: 7,
    defer_accept: Duration::ZERO,
    keepalive: Duration::from_secs(30),
    user_timeout: Duration::from_secs(10),
};

fn bind(addr: &str) -> (Listener, SocketAddr) {
    let addr = ListenAddr::Tcp(addr.parse().expect("an address"));
    let listener = Listener::bind(&addr, &OPTIONS).expect("bound");
    let ListenAddr::Tcp(addr) = *listener.addr() else {
        unreachable!("bound over TCP")
    };
    (listener, addr)
}

#[test]
fn options_are_set_once_and_inherited() {
    let (listener, addr) = bind("127.0.0.1:0");
    let client = TcpStream::connect(addr).expect("connected");
    let queue = listener.queue().expect("over TCP");
    assert_eq!(
        (queue.length, queue.limit),
        (1, 7),
        "the backlog is not the configured one"
    );
    let Accepted::Connection(Socket::Kernel(socket), peer) = listener.accept() else {
        panic!("accepted")
    };
    assert_eq!(peer, Peer::from(client.local_addr().expect("an address")));
    assert!(sockopt::tcp_nodelay(&socket).expect("an option"));
    assert!(sockopt::socket_keepalive(&socket).expect("an option"));
    assert_eq!(
        sockopt::tcp_keepidle(&socket).expect("an option"),
        Duration::from_secs(30)
    );
    assert_eq!(
        sockopt::tcp_user_timeout(&socket).expect("an option"),
        10_000
    );
    assert!(is_nonblocking(&socket));
    let flags = rustix::io::fcntl_getfd(&socket).expect("flags");
    assert!(flags.contains(FdFlags::CLOEXEC));
    assert!(matches!(listener.accept(), Accepted::Nothing));
}

/// The same listening socket, adopted with `options`.
fn adopt(listener: &Listener, is_ours: bool, options: &ListenerOptions) -> Listener {
    let fd = listener.as_fd().try_clone_to_owned().expect("a descriptor");
    Listener::adopt(fd, listener.addr().clone(), is_ours, options).expect("adopted")
}

fn is_nonblocking(fd: impl AsFd) -> bool {
    let status = rustix::fs::fcntl_getfl(fd).expect("flags");
    status.contains(rustix::fs::OFlags::NONBLOCK)
}

#[test]
fn what_was_set_on_an_adopted_socket_does_not_count() {
    let deferring = ListenerOptions {
        defer_accept: Duration::from_secs(5),
        ..OPTIONS
    };
    let any = ListenAddr::Tcp("127.0.0.1:0".parse().expect("an address"));
    let bound = Listener::bind(&any, &deferring).expect("bound");
    rustix::io::ioctl_fionbio(&bound, false).expect("blocking");
    let off = ListenerOptions {
        backlog: 9,
        defer_accept: Duration::ZERO,
        keepalive: Duration::ZERO,
        user_timeout: Duration::ZERO,
    };
    let adopted = adopt(&bound, false, &off);
    assert!(is_nonblocking(&adopted));
    let flags = rustix::io::fcntl_getfd(&adopted).expect("flags");
    assert!(flags.contains(FdFlags::CLOEXEC));
    assert_eq!(adopted.backlog_granted(), Some(9));
    let seconds = nix::sys::socket::getsockopt(&adopted, TcpDeferAccept);
    assert_eq!(seconds, Ok(0));
    assert!(!sockopt::socket_keepalive(&adopted).expect("an option"));
    assert_eq!(sockopt::tcp_user_timeout(&adopted).expect("an option"), 0);
    assert!(sockopt::tcp_nodelay(&adopted).expect("an option"));

    let adopted = adopt(&adopted, false, &deferring);
    let seconds = nix::sys::socket::getsockopt(&adopted, TcpDeferAccept);
    assert!(seconds.is_ok_and(|seconds| seconds > 0), "{seconds:?}");
    assert!(sockopt::socket_keepalive(&adopted).expect("an option"));
    let milliseconds = sockopt::tcp_user_timeout(&adopted).expect("an option");
    assert_eq!(milliseconds, 10_000);
}

#[test]
fn who_is_in_the_queue_of_an_adopted_socket_is_accepted() {
    let (bound, addr) = bind("127.0.0.1:0");
    let _client = TcpStream::connect(addr).expect("connected");
    let adopted = adopt(&bound, true, &OPTIONS);
    drop(bound);
    assert_eq!(*adopted.addr(), ListenAddr::Tcp(addr));
    assert!(matches!(adopted.accept(), Accepted::Connection(..)));
}

#[test]
fn the_path_of_an_adopted_socket_is_removed_only_if_it_is_ours() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let bound = Listener::bind(&ListenAddr::Unix(path.clone()), &OPTIONS).expect("bound");
    let mut another = adopt(&bound, false, &OPTIONS);
    another.stop_newcomers().expect("stopped");
    assert!(path.exists(), "the path of another is gone");
    let mut ours = adopt(&bound, true, &OPTIONS);
    ours.stop_newcomers().expect("stopped");
    assert!(!path.exists(), "our own path is still there");
    another.stop_newcomers().expect("nothing to remove");
}

#[test]
fn an_ipv6_listener_leaves_ipv4_alone() {
    let (_listener, addr) = bind("[::]:0");
    TcpStream::connect(("::1", addr.port())).expect("connected");
    let error = TcpStream::connect(("127.0.0.1", addr.port())).expect_err("IPv6 only");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn a_stale_unix_socket_is_replaced_and_a_live_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let addr = ListenAddr::Unix(folder.path().join("socket"));
    let first = Listener::bind(&addr, &OPTIONS).expect("bound");
    let error = Listener::bind(&addr, &OPTIONS).expect_err("somebody listens");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    let path = folder.path().join("socket");
    let mode = std::fs::metadata(path).expect("it is there").mode();
    assert_eq!(mode & 0o777, 0o666, "the folder decides who may connect");
    drop(first);
    Listener::bind(&addr, &OPTIONS).expect("the stale one is replaced");
}

#[test]
fn a_file_that_is_no_socket_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("precious");
    std::fs::write(&path, "data").expect("written");
    let error = Listener::bind(&ListenAddr::Unix(path.clone()), &OPTIONS).expect_err("no socket");
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    assert_eq!(std::fs::read(&path).expect("still there"), b"data");
}

#[test]
fn the_path_of_a_successor_is_left_alone() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("socket");
    let addr = ListenAddr::Unix(path.clone());
    let mut old = Listener::bind(&addr, &OPTIONS).expect("bound");
    std::fs::remove_file(&path).expect("removed");
    let mut successor = Listener::bind(&addr, &OPTIONS).expect("bound");
    old.stop_newcomers().expect("stopped");
    assert!(path.exists(), "the successor's path is gone");
    successor.stop_newcomers().expect("stopped");
    assert!(!path.exists(), "our own path is still there");
}

#[test]
fn stopping_newcomers_still_lets_those_in_who_were_there() {
    let (mut listener, addr) = bind("127.0.0.1:0");
    let _early = TcpStream::connect(addr).expect("connected");
    listener.stop_newcomers().expect("a filter");
    let error = TcpStream::connect_timeout(&addr, Duration::from_millis(100)).expect_err("unheard");
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(matches!(listener.accept(), Accepted::Connection(..)));
    assert!(matches!(listener.accept(), Accepted::Nothing));
}

#[test]
fn errors_of_accept_are_told_apart() {
    assert!(matches!(classify(Errno::AGAIN), Accepted::Nothing));
    for (errno, expected) in [
        (Errno::CONNABORTED, Failure::Gone),
        (Errno::MFILE, Failure::Exhausted),
        (Errno::NOMEM, Failure::Exhausted),
        (Errno::PERM, Failure::Refused),
        // One that nobody has heard of.
        (Errno::XFULL, Failure::Refused),
    ] {
        let accepted = classify(errno);
        let Accepted::Failed(_, failure) = accepted else {
            panic!("{errno}: {accepted:?}");
        };
        assert_eq!(failure, expected, "{errno}");
    }
    assert!(matches!(classify(Errno::BADF), Accepted::Broken(_)));
}

/// It was dropped by a reload, and we died before it was out of the store.
#[test]
fn an_adopted_socket_that_was_deaf_hears() {
    let (mut bound, addr) = bind("127.0.0.1:0");
    bound.stop_newcomers().expect("deaf");
    let _adopted = adopt(&bound, true, &OPTIONS);
    TcpStream::connect_timeout(&addr, Duration::from_millis(50)).expect("connected");
}
