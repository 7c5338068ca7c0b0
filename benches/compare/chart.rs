//! Horizontal bars with their intervals, as SVG. It brings its own white background, so that it can be read on a dark page, too.

use std::fmt::Write as _;

use super::statistics::median;

/// Sizes are in pixels.
const WIDTH: f64 = 860.0;
const LABELS: f64 = 190.0;
const VALUES: f64 = 90.0;
const MARGIN: f64 = 24.0;
const ROW: f64 = 26.0;
const BAR: f64 = 16.0;
const TITLE: f64 = 58.0;
const PANEL_TITLE: f64 = 34.0;
const PANEL_GAP: f64 = 14.0;
const GROUP_GAP: f64 = 8.0;

/// The longest bar.
const BAR_MAX: f64 = WIDTH - 2.0 * MARGIN - LABELS - VALUES;

/// Bars of so many times the median are cut, or the others could not be told apart.
const CUT_FROM: f64 = 4.0;

const ACCENT: &str = "#0b6bcb";
const PLAIN: &str = "#b4bcc6";
const TEXT: &str = "#1f2328";
const QUIET: &str = "#59636e";
const WHISKER: &str = "#1f2328";

/// One bar.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) value: f64,
    pub(super) interval: Option<(f64, f64)>,

    /// One of ours.
    pub(super) is_accented: bool,

    /// The first of those that belong together.
    pub(super) is_first: bool,
}

/// Bars on one scale.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) bars: Vec<Bar>,
}

/// A title, what it says beneath, and panels below each other.
#[derive(Debug)]
pub(super) struct Chart<'a> {
    pub(super) title: &'a str,
    pub(super) subtitle: &'a str,
    pub(super) panels: &'a [Panel],
}

impl Chart<'_> {
    pub(super) fn svg(&self) -> String {
        let heights = self.panels.iter().map(Panel::height);
        let height = TITLE + heights.sum::<f64>() + MARGIN;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
             viewBox=\"0 0 {WIDTH} {height}\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\">\n\
             <rect width=\"100%\" height=\"100%\" rx=\"6\" fill=\"#ffffff\"/>\n"
        );
        text(
            &mut svg,
            (MARGIN, 30.0),
            self.title,
            "font-size=\"17\" font-weight=\"bold\"",
            TEXT,
        );
        text(
            &mut svg,
            (MARGIN, 49.0),
            self.subtitle,
            "font-size=\"12\"",
            QUIET,
        );
        let mut top = TITLE;
        for panel in self.panels {
            panel.draw(&mut svg, top);
            top += panel.height();
        }
        svg.push_str("</svg>\n");
        svg
    }
}

impl Panel {
    fn height(&self) -> f64 {
        let bars: f64 = self.bars.iter().map(Bar::height).sum();
        PANEL_TITLE + bars + PANEL_GAP
    }

    fn draw(&self, svg: &mut String, top: f64) {
        let title = (MARGIN, top + 22.0);
        text(svg, title, &self.title, "font-weight=\"bold\"", TEXT);
        let scale = self.scale();
        let mut y = top + PANEL_TITLE;
        for bar in &self.bars {
            y += bar.height();
            bar.draw(svg, y - ROW, scale);
        }
    }

    /// Pixels for one of what the bars are of: the longest that is not cut fills the width with its interval.
    fn scale(&self) -> f64 {
        let ends = self.bars.iter().map(Bar::end);
        let ends: Vec<f64> = ends.filter(|end| *end > 0.0).collect();
        if ends.is_empty() {
            return 0.0;
        }
        let cut = CUT_FROM * median(ends.iter().copied());
        let longest = ends.into_iter().filter(|end| *end < cut);
        BAR_MAX / longest.fold(0.0, f64::max)
    }
}

impl Bar {
    fn height(&self) -> f64 {
        if self.is_first { ROW + GROUP_GAP } else { ROW }
    }

    fn end(&self) -> f64 {
        let high = self.interval.map_or(self.value, |(_, high)| high);
        high.max(self.value)
    }

    fn draw(&self, svg: &mut String, y: f64, scale: f64) {
        let (left, middle) = (MARGIN + LABELS, y + BAR / 2.0);
        let baseline = middle + 4.5;
        let (color, weight) = if self.is_accented {
            (ACCENT, "font-weight=\"bold\"")
        } else {
            (PLAIN, "")
        };
        let label = format!("text-anchor=\"end\" {weight}");
        text(svg, (left - 10.0, baseline), &self.label, &label, TEXT);
        let is_cut = self.end() * scale > BAR_MAX + 0.5; // of a pixel
        let width = (self.value * scale).min(BAR_MAX);
        let _written = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{BAR}\" rx=\"2\" fill=\"{color}\"/>"
        );
        let mut end = left + width;
        if is_cut {
            end = left + BAR_MAX;
            let (x, top, down) = (end - 22.0, y - 2.0, BAR + 4.0);
            let _written = writeln!(
                svg,
                "<path d=\"M{x:.1} {top:.1}l-7 {down}m11 -{down}l-7 {down}\" stroke=\"#ffffff\" stroke-width=\"2.5\" fill=\"none\"/>"
            );
        } else if let Some((low, high)) = self.interval {
            let (from, to) = (left + low * scale, left + high * scale);
            let (above, below) = (middle - 4.0, middle + 4.0);
            let _written = writeln!(
                svg,
                "<path d=\"M{from:.1} {above:.1}V{below:.1}M{from:.1} {middle:.1}H{to:.1}M{to:.1} {above:.1}V{below:.1}\" \
                 stroke=\"{WHISKER}\" fill=\"none\"/>"
            );
            end = end.max(to);
        }
        text(
            svg,
            (end + 8.0, baseline),
            &number(self.value),
            weight,
            TEXT,
        );
    }
}

fn text(svg: &mut String, (x, y): (f64, f64), content: &str, more: &str, color: &str) {
    let content = escaped(content);
    let _written = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{color}\" {more}>{content}</text>"
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// To three digits, and thousands apart.
fn number(value: f64) -> String {
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut number = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            number.push(',');
        }
        number.push(digit);
    }
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, value: f64, interval: Option<(f64, f64)>) -> Bar {
        Bar {
            label: label.to_owned(),
            value,
            interval,
            is_accented: label == "ours",
            is_first: false,
        }
    }

    fn svg(bars: Vec<Bar>) -> String {
        let title = "Cost".to_owned();
        let panels = [Panel { title, bars }];
        Chart {
            title: "Here & there",
            subtitle: "less is better",
            panels: &panels,
        }
        .svg()
    }

    #[test]
    fn the_longest_with_its_interval_fills_the_width_and_ours_stands_out() {
        let svg = svg(vec![
            bar("ours", 5.0, Some((4.0, 6.0))),
            bar("theirs", 9.0, Some((8.0, 10.0))),
        ]);
        // 860 - 2 × 24 - 190 - 90 = 532 for 10.
        assert!(
            svg.contains("width=\"266.0\" height=\"16\" rx=\"2\" fill=\"#0b6bcb\""),
            "{svg}"
        );
        assert!(
            svg.contains("width=\"478.8\" height=\"16\" rx=\"2\" fill=\"#b4bcc6\""),
            "{svg}"
        );
        assert!(svg.contains("H746.0"), "the whisker ends there:\n{svg}");
        assert!(svg.contains("Here &amp; there"));
        assert_eq!(svg.matches("<path").count(), 2);
    }

    #[test]
    fn one_that_is_far_longer_is_cut_and_the_others_keep_their_scale() {
        let ordinary = |value| bar("theirs", value, Some((value, value)));
        let long = bar("slow", 1000.0, Some((900.0, 1100.0)));
        let svg = svg(vec![ordinary(5.0), ordinary(10.0), long, ordinary(8.0)]);
        assert!(svg.contains("width=\"266.0\""), "half of the width:\n{svg}");
        assert_eq!(svg.matches("width=\"532.0\"").count(), 2, "{svg}");
        assert_eq!(svg.matches("stroke=\"#ffffff\"").count(), 1, "{svg}");
        assert!(svg.contains(">1,000<"), "{svg}");
    }

    #[test]
    fn groups_are_apart() {
        let one = bar("ours", 1.0, None);
        let first = Bar {
            is_first: true,
            ..one.clone()
        };
        let apart = svg(vec![one.clone(), first]);
        assert!(apart.contains("y=\"126.0\" width"), "{apart}");
        assert!(svg(vec![one.clone(), one]).contains("y=\"118.0\" width"));
    }

    #[test]
    fn bars_of_nothing_are_none() {
        let svg = svg(vec![bar("ours", 0.0, None)]);
        assert!(svg.contains("width=\"0.0\""), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("<path"));
    }

    #[test]
    fn numbers_can_be_read() {
        let numbers = [7.26, 99.94, 100.0, 22_345.6, 1_234_567.0].map(number);
        assert_eq!(numbers, ["7.3", "99.9", "100", "22,346", "1,234,567"]);
    }
}
