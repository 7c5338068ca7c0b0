//! The roster, without a socket.

use super::*;

use crate::engine::discipline::Waits;
use crate::engine::room::{Reason, Wait};
use crate::exchange::outcome::Outcome;
use crate::metrics::Labels;

fn metrics() -> Metrics {
    Metrics::new(Labels {
        outcomes: &Outcome::LABELS,
        waits: &Wait::LABELS,
        reasons: &Reason::LABELS,
        runs: &[],
        answers: &[],
    })
}

fn common_pool() -> PoolOptions {
    PoolOptions {
        name: "main".to_owned(),
        threads: 1,
        queue_capacity: 1,
        waits: Waits {
            target: Duration::ZERO,
            max: Duration::from_secs(1),
        },
    }
}

/// A service on a port, with some keys.
fn service(name: &str, port: u16, keys: &str) -> String {
    format!(
        "[[service]]\nname = \"{name}\"\nlisten = \"127.0.0.1:{port}\"\nreply.text = \"x\"\n{keys}\n"
    )
}

#[track_caller]
fn next(roster: &Roster, toml: &[String], metrics: &Metrics) -> Next {
    let loaded = crate::config::load::parse(&toml.concat(), "test.toml").expect("a good one");
    let drafts = build::services(&loaded, None).expect("good templates");
    let mut next = roster.next(drafts, common_pool(), metrics);
    for missing in std::mem::take(&mut next.missing) {
        let addr = missing.addr.clone();
        next.roster.add(&missing, addr, Keeper::Nobody);
    }
    next
}

/// What changes: numbers of services, names of pools, ports that are kept and retired.
fn summary(next: &Next) -> (Vec<usize>, Vec<&str>, Vec<String>, Vec<String>) {
    let change = &next.change;
    let services = change.services.iter().map(|(number, _)| *number);
    let pools = change.pools.iter().map(|pool| pool.name.as_str());
    let kept = change.kept.iter().map(|kept| kept.addr.to_string());
    let retired = change
        .retired
        .iter()
        .map(|retired| retired.addr.to_string());
    (
        services.collect(),
        pools.collect(),
        kept.collect(),
        retired.collect(),
    )
}

fn addr(port: u16) -> String {
    format!("127.0.0.1:{port}")
}

#[test]
fn what_is_the_same_is_left_alone() {
    let metrics = metrics();
    let toml = [service("a", 1, ""), service("b", 2, "threads = 2")];
    let first = next(&Roster::default(), &toml, &metrics);
    assert_eq!(
        summary(&first),
        (vec![0, 1], vec!["main", "b"], vec![], vec![])
    );
    assert_eq!(first.newcomers, ["a", "b"]);
    let same = next(&first.roster, &toml, &metrics);
    assert_eq!(summary(&same), (vec![], vec![], vec![], vec![]));
    assert!(same.newcomers.is_empty());
    assert_eq!(same.roster.count(), 2);
}

#[test]
fn a_service_keeps_its_number_and_its_pool_whatever_else_changes() {
    let metrics = metrics();
    let toml = [service("a", 1, ""), service("b", 2, "threads = 2")];
    let first = next(&Roster::default(), &toml, &metrics);
    let changed = [service("b", 2, "threads = 2\nbacklog = 7")];
    let second = next(&first.roster, &changed, &metrics);
    assert_eq!(
        summary(&second),
        (vec![1], vec![], vec![addr(2)], vec![addr(1)])
    );
    let back = next(&second.roster, &toml, &metrics);
    assert_eq!(summary(&back).0, [1], "`a` is as it was, and on its number");
    assert_eq!(back.roster.threads()["b"], 2);
}

#[test]
fn a_renamed_service_is_another_one_on_the_same_listener() {
    let metrics = metrics();
    let first = next(&Roster::default(), &[service("a", 1, "")], &metrics);
    let renamed = next(&first.roster, &[service("b", 1, "")], &metrics);
    assert_eq!(summary(&renamed), (vec![1], vec![], vec![addr(1)], vec![]));
    assert_eq!(renamed.newcomers, ["b"]);
}

#[test]
fn a_listener_of_a_socket_unit_is_left_to_it() {
    let metrics = metrics();
    let mut first = next(&Roster::default(), &[service("a", 1, "")], &metrics);
    first.roster.listeners[0].keeper = Keeper::Unit;
    let dropped = next(&first.roster, &[], &metrics);
    assert!(dropped.change.retired[0].is_shared);
    first.roster.listeners[0].keeper = Keeper::Store;
    let dropped = next(&first.roster, &[], &metrics);
    assert!(
        !dropped.change.retired[0].is_shared,
        "it is taken out of the store"
    );
    assert_eq!(dropped.dropped.len(), 1);
}

#[test]
fn who_is_gone_is_forgotten_ten_minutes_after_its_last_connection() {
    let metrics = metrics();
    let toml = [service("a", 1, ""), service("b", 2, "threads = 2")];
    let first = next(&Roster::default(), &toml, &metrics);
    let mut roster = next(&first.roster, &[service("a", 1, "")], &metrics).roster;
    let open = metrics.service("b").open;
    let now = Instant::now();
    let second = Duration::from_secs(1);
    let left = |emptied, forgotten: &[&str], again| Left {
        emptied,
        forgotten: forgotten.iter().map(ToString::to_string).collect(),
        again,
    };
    open.set(1);
    let found = roster.look_after_gone(now);
    assert_eq!(
        found,
        left(vec![], &[], Some(LOOK_AFTER_GONE)),
        "someone is still there"
    );
    assert_eq!(roster.threads()["b"], 2);
    open.set(0);
    let emptied = Emptied {
        service: 1,
        own_pool: Some(1),
    };
    let found = roster.look_after_gone(now);
    assert_eq!(found, left(vec![emptied], &[], Some(REMEMBERED)));
    let found = roster.look_after_gone(now + REMEMBERED.saturating_sub(second));
    assert_eq!(found, left(vec![], &[], Some(second)));
    // Whoever comes back meanwhile has new threads, as many as it asks for now.
    let toml = [service("a", 1, ""), service("b", 2, "threads = 3")];
    let back = next(&roster, &toml, &metrics);
    let expected = (vec![1], vec!["b"], vec![], vec![]);
    assert_eq!(summary(&back), expected);
    assert!(back.newcomers.is_empty(), "its counters are still there");

    let found = roster.look_after_gone(now + REMEMBERED);
    assert_eq!(found, left(vec![], &["b"], None));
    // The number is for another now.
    let third = next(
        &roster,
        &[service("a", 1, ""), service("c", 3, "")],
        &metrics,
    );
    assert_eq!(summary(&third).0, [1]);
}

fn wants(name: &str, listen: &str) -> String {
    format!("[[service]]\nname = \"{name}\"\nlisten = [{listen}]\nreply.text = \"x\"\n")
}

/// Where each listener of a roster is, by the number of its service.
fn places(next: &Next) -> Vec<(usize, String)> {
    let listeners = next.roster.listeners.iter();
    let places = listeners.map(|bound| (bound.service, bound.addr.to_string()));
    places.collect()
}

#[test]
fn any_port_is_not_any_others() {
    let metrics = metrics();
    let toml = [service("a", 0, ""), service("b", 0, "")];
    let mut first = next(&Roster::default(), &toml, &metrics);
    for (bound, port) in first.roster.listeners.iter_mut().zip([7, 8]) {
        bound.addr = ListenAddr::Tcp(([127, 0, 0, 1], port).into());
    }
    let second = next(&first.roster, &[service("b", 0, "")], &metrics);
    assert_eq!(places(&second), [(1, addr(8))]);
    assert_eq!(summary(&second).3, [addr(7)]);
}

/// As the warning at the start says one should.
#[test]
fn the_address_of_a_socket_unit_can_be_written_into_the_configuration() {
    let metrics = metrics();
    let mut first = next(&Roster::default(), &[service("a", 1, "")], &metrics);
    first.roster.listeners[0].addr = ListenAddr::Tcp(([127, 0, 0, 1], 2).into());
    first.roster.listeners[0].keeper = Keeper::Unit;
    let second = next(&first.roster, &[service("a", 2, "")], &metrics);
    assert_eq!(places(&second), [(0, addr(2))]);
    assert_eq!(second.roster.listeners[0].keeper, Keeper::Unit);
    assert!(second.dropped.is_empty());
}

#[test]
fn what_was_covered_is_missing_when_its_listener_goes() {
    let metrics = metrics();
    let both = wants("a", "\"[::]:1\", \"0.0.0.0:1\"");
    let mut first = next(&Roster::default(), std::slice::from_ref(&both), &metrics);
    let wide = first.roster.listeners[0].addr.clone();
    first.roster.listeners[1].addr = wide;
    first.roster.listeners[1].keeper = Keeper::Covering;
    let same = next(&first.roster, &[both], &metrics);
    assert_eq!(same.roster.listeners[1].keeper, Keeper::Covering);
    let second = next(&first.roster, &[wants("a", "\"0.0.0.0:1\"")], &metrics);
    assert_eq!(places(&second), [(0, "0.0.0.0:1".to_owned())]);
    assert_eq!(second.roster.listeners[0].keeper, Keeper::Nobody);
}
