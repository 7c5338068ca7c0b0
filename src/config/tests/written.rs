//! Whatever a config says can be written, read again, and is then the same.

use proptest::prelude::*;
use toml::Value;

use super::any::any_config;
use super::{SERVICE, valid};
use crate::config::load::built_in;
use crate::config::types::{HalfClose, Level};
use crate::config::{Config, written};

/// A file with every key of a config.
fn file(config: &Config) -> String {
    let line = |(key, value): (&String, &Value)| {
        let services = value.as_array().filter(|_| key == "service");
        match services {
            None => format!("{} = {}\n", written::key(key), written::inline(value)),
            Some(services) => services.iter().map(service).collect(),
        }
    };
    written::tables(config).iter().map(line).collect()
}

fn service(table: &Value) -> String {
    let lines = table.as_table().unwrap().iter();
    let lines = lines.map(|(key, value)| format!("{key} = {}\n", written::inline(value)));
    format!("[[service]]\n{}", lines.collect::<String>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn what_is_written_is_read_as_the_same(config in any_config()) {
        let file = file(&config);
        let shown = file.chars().all(|c| c == '\n' || !c.is_control());
        prop_assert!(shown, "{file:?}");
        prop_assert_eq!(valid(&file), config);
    }
}

#[test]
fn the_shipped_file_and_every_word_are_read_as_the_same() {
    let mut config = built_in().config;
    for level in [
        Level::Error,
        Level::Warn,
        Level::Info,
        Level::Debug,
        Level::Trace,
    ] {
        config.log.level = level;
        assert_eq!(valid(&file(&config)), config);
    }
    for half_close in [HalfClose::Reply, HalfClose::Cancel] {
        config.services[0].half_close = half_close;
        assert_eq!(valid(&file(&config)), config);
    }
    let nothing = valid(&format!("{SERVICE}read = \"nothing\""));
    assert_eq!(valid(&file(&nothing)), nothing);
}

#[test]
fn a_duration_is_whole_where_it_can_be() {
    let config = valid("[server]\ngrace_period_seconds = 10.0\ndrain_delay_seconds = 0.25");
    let server = &written::tables(&config)["server"];
    assert_eq!(server["grace_period_seconds"], Value::Integer(10));
    assert_eq!(server["drain_delay_seconds"], Value::Float(0.25));
}
