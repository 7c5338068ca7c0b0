//! Addresses and names in pairs, without a descriptor.

use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

fn addr(text: &str) -> ListenAddr {
    match text.strip_prefix("unix:") {
        Some(path) => ListenAddr::Unix(path.into()),
        None => ListenAddr::Tcp(text.parse().expect("an address")),
    }
}

/// Matches (service, address) with (name, address); IPv6 wildcards that are offered take IPv4 where
/// they are written as `dual`.
fn matching(wanted: &[(&str, &str)], offered: &[(&str, &str)]) -> Matching {
    let wanted_addrs: Vec<_> = wanted.iter().map(|(_, text)| addr(text)).collect();
    let offered_addrs: Vec<_> = offered
        .iter()
        .map(|(_, text)| addr(text.trim_start_matches("dual ")))
        .collect();
    let wanted: Vec<_> = wanted
        .iter()
        .zip(&wanted_addrs)
        .map(|((service, _), addr)| Wanted { service, addr })
        .collect();
    let offered: Vec<_> = offered
        .iter()
        .zip(&offered_addrs)
        .map(|((name, text), addr)| Offered {
            name,
            addr,
            takes_ipv4: text.starts_with("dual "),
        })
        .collect();
    match_listeners(&wanted, &offered)
}

/// One service `web` with one address, and one offered listener of that name.
fn in_place(configured: &str, offered: &str) -> Matching {
    matching(&[("web", configured)], &[("web", offered)])
}

#[test]
fn the_same_address_is_a_match_whatever_the_name() {
    let found = matching(
        &[
            ("web", "0.0.0.0:80"),
            ("whois", "[::]:43"),
            ("new", "127.0.0.1:1"),
        ],
        &[
            ("replyd.socket", "[::]:43"),
            ("replyd=0.0.0.0_80", "0.0.0.0:80"),
        ],
    );
    let expected = [Source::Offered(1), Source::Offered(0), Source::Bind];
    assert_eq!(found.sources, expected);
    assert_eq!((found.strays.len(), found.warnings.len()), (0, 0));
}

#[test]
fn a_renamed_service_keeps_its_listener_and_nobody_takes_it_by_name() {
    let found = matching(
        &[("old", "127.0.0.1:1"), ("new", "127.0.0.1:2")],
        &[("old", "127.0.0.1:2")],
    );
    assert_eq!(found.sources, [Source::Bind, Source::Offered(0)]);
    assert_eq!(found.warnings, [""; 0]);
}

#[test]
fn a_name_is_a_match_where_the_unit_has_another_address() {
    for (configured, offered) in [
        ("[::]:80", "0.0.0.0:80"),
        ("0.0.0.0:80", "dual [::]:80"),
        ("0.0.0.0:8080", "192.0.2.1:80"),
        ("192.0.2.1:8080", "192.0.2.1:80"),
        ("192.0.2.1:80", "127.0.0.1:80"),
        ("127.0.0.1:0", "[::1]:80"),
        ("unix:/run/web", "unix:/run/other"),
    ] {
        let found = in_place(configured, offered);
        assert_eq!(
            found.sources,
            [Source::Offered(0)],
            "{configured} {offered}"
        );
        let [warning] = &found.warnings[..] else {
            panic!("{found:?}")
        };
        for text in ["`web`", configured, offered.trim_start_matches("dual ")] {
            assert!(warning.contains(text), "no {text:?} in {warning:?}");
        }
    }
}

#[test]
fn a_unit_lets_nobody_in_whom_the_configuration_keeps_out() {
    for (configured, offered) in [
        ("127.0.0.1:80", "0.0.0.0:80"),
        ("[::1]:80", "dual [::]:80"),
        ("127.0.0.1:80", "192.0.2.1:80"),
        ("192.0.2.1:80", "0.0.0.0:80"),
        ("10.0.0.1:80", "192.0.2.1:80"),
        ("127.0.0.1:0", "0.0.0.0:80"),
    ] {
        let found = in_place(configured, offered);
        assert_eq!(found.sources, [Source::Bind], "{configured} {offered}");
        let [(0, reason)] = &found.strays[..] else {
            panic!("{found:?}")
        };
        assert!(reason.contains("would let in others"), "{reason:?}");
    }
}

#[test]
fn strays_are_told_why() {
    let found = matching(
        &[("web", "0.0.0.0:80"), ("local", "unix:/run/local")],
        &[
            ("web", "0.0.0.0:80"),
            ("web", "0.0.0.0:80"),
            ("web", "0.0.0.0:81"),
            ("dns", "0.0.0.0:53"),
            ("replyd=0.0.0.0_43", "0.0.0.0:43"),
            ("local", "127.0.0.1:1"),
        ],
    );
    assert_eq!(found.sources, [Source::Offered(0), Source::Bind]);
    let reasons = [
        (1, "another"),
        (2, "add the address to its `listen`"),
        (3, "none is named `dns`"),
        (4, "no longer has 0.0.0.0:43"),
        (5, "add the address to its `listen`"),
    ];
    assert_eq!(found.strays.len(), reasons.len(), "{found:?}");
    for ((number, reason), (expected, text)) in found.strays.iter().zip(reasons) {
        assert_eq!(*number, expected);
        assert!(reason.contains(text), "no {text:?} in {reason:?}");
    }
}

#[test]
fn the_closest_address_is_stood_in_for() {
    let found = matching(
        &[
            ("web", "0.0.0.0:8080"),
            ("web", "[::]:80"),
            ("web", "[::]:8080"),
        ],
        &[("web", "[2001:db8::1]:8080"), ("web", "192.0.2.1:80")],
    );
    let expected = [Source::Offered(1), Source::Bind, Source::Offered(0)];
    assert_eq!(found.sources, expected);
}

#[test]
fn one_socket_for_both_families_serves_both_addresses() {
    let both = [("web", "0.0.0.0:80"), ("web", "[::]:80")];
    let found = matching(&both, &[("web.socket", "dual [::]:80")]);
    assert_eq!(found.sources, [Source::Covered(0), Source::Offered(0)]);
    assert_eq!(found.warnings, [""; 0]);

    let found = matching(&both, &[("web.socket", "[::]:80")]);
    assert_eq!(found.sources, [Source::Bind, Source::Offered(0)]);
}

#[test]
fn ipv4_peers_that_nobody_asked_for_are_told() {
    let ipv4 = ("other", "0.0.0.0:80");
    let found = matching(&[("web", "[::]:80"), ipv4], &[("web", "dual [::]:80")]);
    assert_eq!(found.sources, [Source::Offered(0), Source::Bind]);
    let [warning] = &found.warnings[..] else {
        panic!("{found:?}")
    };
    assert!(warning.contains("BindIPv6Only=ipv6-only"), "{warning:?}");
}

/// Few, so that they meet.
fn any_addr() -> impl Strategy<Value = &'static str> {
    select(vec![
        "0.0.0.0:80",
        "127.0.0.1:80",
        "192.0.2.1:80",
        "0.0.0.0:81",
        "[::]:80",
        "[::1]:80",
        "unix:/a",
        "unix:/b",
    ])
}

fn any_wanted() -> impl Strategy<Value = (&'static str, &'static str)> {
    let addr = prop_oneof![4 => any_addr(), 1 => Just("127.0.0.1:0")];
    (select(vec!["web", "whois"]), addr)
}

fn any_offered() -> impl Strategy<Value = (&'static str, &'static str)> {
    let name = select(vec!["web", "whois", "replyd.socket", "replyd=x"]);
    (
        name,
        prop_oneof![4 => any_addr(), 1 => Just("dual [::]:80")],
    )
}

/// How many of `numbers` are `number`.
fn count(numbers: impl Iterator<Item = usize>, number: usize) -> usize {
    numbers.filter(|other| *other == number).count()
}

proptest! {
    #[test]
    fn every_listener_serves_one_address_or_is_a_stray(
        wanted in vec(any_wanted(), 0..6),
        offered in vec(any_offered(), 0..6),
    ) {
        let found = matching(&wanted, &offered);
        prop_assert_eq!(found.sources.len(), wanted.len());
        let serving = || found.sources.iter().filter_map(|source| match source {
            Source::Offered(number) => Some(*number),
            _ => None,
        });
        for number in 0..offered.len() {
            let strays = found.strays.iter().map(|(number, _)| *number);
            let uses = (count(serving(), number), count(strays, number));
            prop_assert!(matches!(uses, (1, 0) | (0, 1)), "{number}: {uses:?} {found:?}");
        }
        for ((service, configured), source) in wanted.iter().zip(&found.sources) {
            let (Source::Offered(number) | Source::Covered(number)) = *source else {
                // What is there under this very address was not left unused, but by a twin.
                let times = |pairs: &[(&str, &str)]| pairs.iter().filter(|(_, other)| other == configured).count();
                prop_assert!(times(&offered) < times(&wanted), "{found:?}");
                continue;
            };
            let (name, address) = offered[number];
            let (is, was) = (addr(address.trim_start_matches("dual ")), addr(configured));
            if is == was {
                continue;
            }
            if *source == Source::Offered(number) {
                prop_assert_eq!(name, *service);
                prop_assert!(lets_in_no_others(&is, &was));
                let told = found.warnings.iter().any(|warning| warning.contains(*configured));
                prop_assert!(told, "{found:?}");
            } else {
                prop_assert_eq!(address, "dual [::]:80");
                prop_assert!(configured.ends_with(":80") && was != is);
            }
        }
    }
}
