//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Compares replyd with other servers, in interleaved rounds on this machine.
#[derive(Debug, Parser)]
#[command(bin_name = "benches/run")]
pub(super) struct Arguments {
    #[command(subcommand)]
    pub(super) comparison: Comparison,

    /// What cargo says to every benchmark.
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum Comparison {
    /// A script's output as the reply: replyd beside xinetd and tcpserver
    Commands(Options),
}

/// How much is measured, and where the results go.
#[derive(Debug, Args)]
pub(super) struct Options {
    /// Rounds; below 6 there is no 95 % interval
    #[arg(long, default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(super) rounds: u32,

    /// Seconds of each measurement; a warm-up of a fifth comes before it
    #[arg(long, default_value = "1.5", value_parser = seconds)]
    pub(super) seconds: Duration,

    /// Clients in a closed loop, each set measured by itself
    #[arg(long, default_values_t = [1, 4, 16], value_delimiter = ',', value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub(super) clients: Vec<u16>,

    /// Only these servers, as the report names them
    #[arg(long, value_delimiter = ',')]
    pub(super) only: Vec<String>,

    /// Another replyd than the one built with this
    #[arg(long, default_value = env!("CARGO_BIN_EXE_replyd"), hide_default_value = true)]
    pub(super) replyd: PathBuf,

    /// The folder for the results, which are replaced
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/results"))]
    pub(super) output: PathBuf,
}

/// At least a tenth of a second: below, processor time counted in hundredths says nothing.
fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err("not from 0.1 to 3600".to_owned())
    }
}
