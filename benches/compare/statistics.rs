//! Medians, and how sure they are.

use std::fmt;

/// How sure an interval has to be.
const CONFIDENCE: f64 = 0.95;

/// The middle of paired ratios, and where the true one is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Estimate {
    pub(super) median: f64,

    /// The shortest interval of the sign test that is at least [`CONFIDENCE`] sure; none if there are too few values for that.
    pub(super) interval: Option<(f64, f64)>,
}

/// What a figure has to reach.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

/// Whether it does. The interval decides, not the median.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Met,
    Missed,
    /// The bound is within the interval, or there is none.
    Uncertain,
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtLeast(least) => write!(f, "≥ {least}"),
            Self::AtMost(most) => write!(f, "≤ {most}"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Met => "met",
            Self::Missed => "missed",
            Self::Uncertain => "uncertain",
        })
    }
}

impl Estimate {
    /// Of the ratios of two figures of each round, or of one figure of each. A round has its own noise, which both have seen.
    ///
    /// The interval is between two of the ratios themselves, as many from either end. How often that holds the true median
    /// follows from tosses of a coin alone, whatever the ratios are distributed like: no model, no random numbers.
    ///
    /// # Panics
    ///
    /// Without a ratio.
    pub(super) fn of(ratios: impl IntoIterator<Item = f64>) -> Self {
        let sorted = sorted(ratios);
        let interval = skipped(sorted.len())
            .map(|skipped| (sorted[skipped], sorted[sorted.len() - 1 - skipped]));
        Self {
            median: middle(&sorted),
            interval,
        }
    }

    pub(super) fn verdict(&self, bound: Bound) -> Verdict {
        let Some((low, high)) = self.interval else {
            return Verdict::Uncertain;
        };
        match bound {
            Bound::AtLeast(least) if low >= least => Verdict::Met,
            Bound::AtLeast(least) if high < least => Verdict::Missed,
            Bound::AtMost(most) if high <= most => Verdict::Met,
            Bound::AtMost(most) if low > most => Verdict::Missed,
            _ => Verdict::Uncertain,
        }
    }
}

/// The middle one, or between the middle two.
///
/// # Panics
///
/// Without a value.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    middle(&sorted(values))
}

/// A part of a whole; of none, nothing.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of one run are far below 2^52"
)]
pub(super) fn ratio(part: u64, whole: f64) -> f64 {
    if whole > 0.0 {
        part as f64 / whole
    } else {
        0.0
    }
}

fn sorted(values: impl IntoIterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn middle(sorted: &[f64]) -> f64 {
    let len = sorted.len();
    f64::midpoint(sorted[(len - 1) / 2], sorted[len / 2])
}

/// How many values can be left out at either end, so that what is between still holds the median in
/// [`CONFIDENCE`] of all cases.
///
/// It doesn't if at most `skipped` of `count` values are below the median, or at most so many above. Each is below with
/// a probability of one half: a binomial distribution.
fn skipped(count: usize) -> Option<usize> {
    let mut ways = 0.5_f64.powi(i32::try_from(count).ok()?); // of the tosses, `tails` of them tails, as a share of all
    let mut outside = 0.0;
    let mut found = None;
    for tails in 0..count / 2 {
        outside += 2.0 * ways;
        if 1.0 - outside < CONFIDENCE {
            break;
        }
        found = Some(tails);
        ways *= ratio((count - tails) as u64, 1.0) / ratio(tails as u64 + 1, 1.0);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: u32) -> impl Iterator<Item = f64> {
        (1..=count).map(f64::from)
    }

    #[track_caller]
    fn is(got: f64, wanted: f64) {
        assert!((got - wanted).abs() < 1e-9, "{got} is not {wanted}");
    }

    #[test]
    fn a_median_is_in_the_middle() {
        is(median([3.0, 1.0, 2.0]), 2.0);
        is(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        is(median([7.0]), 7.0);
    }

    #[test]
    fn one_wild_round_moves_nothing() {
        let quiet = Estimate::of(numbers(9));
        let wild = Estimate::of(numbers(8).chain([1000.0]));
        assert_eq!(quiet, wild);
    }

    /// The ranks that tables of the sign test give for 95 %, counted from 1.
    #[test]
    fn intervals_are_those_of_the_tables() {
        let tables = [
            (6, 1),
            (8, 1),
            (9, 2),
            (11, 2),
            (12, 3),
            (15, 4),
            (20, 6),
            (25, 8),
            (50, 18),
        ];
        for (count, rank) in tables {
            let (low, high) = Estimate::of(numbers(count)).interval.expect("enough");
            is(low, f64::from(rank));
            is(high, f64::from(count + 1 - rank));
        }
    }

    #[test]
    fn five_rounds_are_too_few_for_an_interval() {
        for count in 1..=5 {
            assert_eq!(Estimate::of(numbers(count)).interval, None, "{count}");
        }
    }

    /// Every way in which nine rounds can fall around the true median, each as likely as the others.
    #[test]
    fn an_interval_holds_the_median_as_often_as_it_says() {
        const COUNT: u32 = 9;
        let held = (0..1_u32 << COUNT).filter(|tosses| {
            let side = |round| if tosses >> round & 1 == 0 { -1.0 } else { 1.0 };
            let values = (0..COUNT).map(|round| side(round) * f64::from(round + 1));
            let (low, high) = Estimate::of(values).interval.expect("enough");
            low < 0.0 && high > 0.0
        });
        let share = ratio(held.count() as u64, f64::from(1_u32 << COUNT));
        is(share, 1.0 - 20.0 / 512.0);
        assert!(share >= CONFIDENCE);
    }

    #[test]
    fn the_interval_decides() {
        let estimate = Estimate::of(numbers(9)); // median 5, from 2 to 8
        assert_eq!(estimate.verdict(Bound::AtLeast(2.0)), Verdict::Met);
        assert_eq!(estimate.verdict(Bound::AtLeast(2.1)), Verdict::Uncertain);
        assert_eq!(estimate.verdict(Bound::AtLeast(8.0)), Verdict::Uncertain);
        assert_eq!(estimate.verdict(Bound::AtLeast(8.1)), Verdict::Missed);
        assert_eq!(estimate.verdict(Bound::AtMost(8.0)), Verdict::Met);
        assert_eq!(estimate.verdict(Bound::AtMost(7.9)), Verdict::Uncertain);
        assert_eq!(estimate.verdict(Bound::AtMost(2.0)), Verdict::Uncertain);
        assert_eq!(estimate.verdict(Bound::AtMost(1.9)), Verdict::Missed);
    }

    #[test]
    fn without_an_interval_nothing_is_certain() {
        let estimate = Estimate::of(numbers(5));
        assert_eq!(estimate.verdict(Bound::AtLeast(0.0)), Verdict::Uncertain);
    }

    #[test]
    fn a_part_of_nothing_is_nothing() {
        is(ratio(3, 0.0), 0.0);
        is(ratio(3, 2.0), 1.5);
    }
}
