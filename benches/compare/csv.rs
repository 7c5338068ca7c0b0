//! Every measurement as CSV, a line each. What is derived from them is in the report.

use super::exchange::Ending;
use super::readings::Reading;
use super::rounds::Sample;

/// Times in microseconds unless the column says otherwise; processor time is for each reply.
const COLUMNS: [&str; 13] = [
    "round",
    "load",
    "server",
    "seconds",
    "replies",
    "replies_per_second",
    "server_cpu_us",
    "machine_cpu_us",
    "others_cpu_seconds",
    "p50_us",
    "p99_us",
    "p999_us",
    "max_us",
];

/// With a column for each way an exchange can end.
pub(super) fn csv(samples: &[Sample]) -> String {
    let endings = Ending::ALL.map(|ending| ending.name().replace(", ", "_").replace(' ', "_"));
    let columns = COLUMNS.map(str::to_owned).into_iter().chain(endings);
    let mut text = line(&columns.collect::<Vec<_>>());
    for sample in samples {
        text.push_str(&line(&values(sample)));
    }
    text
}

fn values(sample: &Sample) -> Vec<String> {
    let (tally, spent) = (&sample.tally, &sample.spent);
    let mut values = vec![
        (sample.round + 1).to_string(),
        // A comma would end the value.
        sample.load.to_string().replace(',', ""),
        sample.contender.to_owned(),
        format!("{:.3}", tally.elapsed.as_secs_f64()),
        tally.replies().to_string(),
        format!("{:.1}", tally.rate()),
        format!("{:.2}", sample.server_microseconds()),
        format!("{:.1}", sample.machine_microseconds()),
        format!("{:.2}", spent.others),
    ];
    values.extend(tally.quantiles().map(|time| format!("{time:.1}")));
    values.extend(Ending::ALL.map(|ending| tally.count(ending).to_string()));
    values
}

/// Counts and memory, a line each.
pub(super) fn readings(readings: &[Reading]) -> String {
    let mut text = "round,server,quantity,value\n".to_owned();
    for reading in readings {
        text.push_str(&line(&[
            (reading.round + 1).to_string(),
            reading.contender.to_owned(),
            reading.quantity.name().to_owned(),
            format!("{:.3}", reading.value),
        ]));
    }
    text
}

fn line(values: &[String]) -> String {
    let mut line = values.join(",");
    line.push('\n');
    line
}
