//! The names by which the service manager keeps our listeners over a restart.
//!
//! Its descriptor store is a bag of named descriptors that come back by `LISTEN_FDS`, beside those
//! of a .socket unit: only the name tells which is which. A listener is known by its address, so
//! that it survives the renaming of its service.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use crate::engine::listener::ListenAddr;

/// No .socket unit's name begins so, which is the default for `FileDescriptorName=`: unit names
/// have no `=` in them (systemd.unit(5)).
const PREFIX: &str = "replyd=";

/// The longest name in bytes; sd_notify(3).
const NAME_BYTES_MAX: usize = 255;

/// The name under which the listener on `addr` is kept: `replyd=127.0.0.1_80`.
///
/// Different addresses have different names, all of them valid ones.
#[must_use]
pub fn stored_name(addr: &ListenAddr) -> String {
    match addr {
        // The separator of LISTEN_FDNAMES is the one character that an address can't keep.
        ListenAddr::Tcp(addr) => format!("{PREFIX}{addr}").replace(':', "_"),
        ListenAddr::Unix(path) => match plain(path) {
            Some(path) => format!("{PREFIX}unix_{path}"),
            // At most 2 × 107 digits, where escapes might be 3 × 107.
            None => format!("{PREFIX}hex_{}", hex(path.as_os_str().as_bytes())),
        },
    }
}

/// Whether a descriptor of this name comes from the store.
#[must_use]
pub fn is_stored(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// Whether systemd takes such a name: printable ASCII without a colon; sd_notify(3).
pub(super) fn is_valid_name(name: &str) -> bool {
    let is_valid = |b: u8| (b' '..=b'~').contains(&b) && b != b':';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(is_valid)
}

fn plain(path: &Path) -> Option<&str> {
    path.to_str().filter(|path| is_valid_name(path))
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 0xf]);
    let digits = digits.filter_map(|digit| char::from_digit(u32::from(digit), 16));
    digits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use std::ffi::OsStr;
    use std::net::SocketAddr;

    fn tcp(addr: &str) -> ListenAddr {
        ListenAddr::Tcp(addr.parse().expect("an address"))
    }

    fn unix(path: &[u8]) -> ListenAddr {
        ListenAddr::Unix(OsStr::from_bytes(path).into())
    }

    #[test]
    fn names_say_the_address() {
        assert_eq!(stored_name(&tcp("127.0.0.1:80")), "replyd=127.0.0.1_80");
        assert_eq!(stored_name(&tcp("[::1]:80")), "replyd=[__1]_80");
        assert_eq!(stored_name(&unix(b"/run/x")), "replyd=unix_/run/x");
        assert_eq!(stored_name(&unix(b"/a:b")), "replyd=hex_2f613a62");
        let longest = stored_name(&unix(&[0xff; 107]));
        assert!(is_valid_name(&longest), "{} bytes", longest.len());
    }

    #[test]
    fn names_of_units_and_services_are_not_from_the_store() {
        for name in ["replyd.socket", "replyd-web.socket", "web", "stored", ""] {
            assert!(!is_stored(name), "{name:?}");
        }
    }

    fn any_addr() -> impl Strategy<Value = ListenAddr> {
        prop_oneof![
            any::<SocketAddr>().prop_map(ListenAddr::Tcp),
            vec(1..=u8::MAX, 1..=107).prop_map(|path| unix(&path)),
            "/[a-f0-9_:/=]{1,40}".prop_map(|path| unix(path.as_bytes())),
        ]
    }

    proptest! {
        #[test]
        fn every_address_has_a_valid_name_of_its_own(one in any_addr(), other in any_addr()) {
            let (name, other_name) = (stored_name(&one), stored_name(&other));
            prop_assert!(is_valid_name(&name), "{name:?}");
            prop_assert!(is_stored(&name));
            // Flow information is no part of where a listener listens.
            prop_assert_eq!(name == other_name, one.to_string() == other.to_string());
        }
    }
}
