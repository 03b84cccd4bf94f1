//! Plots as SVG, by hand: bars with their spread, or curves. Whole numbers all through.

use std::fmt::Write as _;

use super::figures::{Outcome, Spread};

const WIDTH: u64 = 860;
/// Where bars and curves begin, behind the labels.
const LEFT: u64 = 230;
/// Where they end, before the values.
const RIGHT: u64 = 740;
const TOP: u64 = 44;
const ROW: u64 = 26;
const CURVES_HEIGHT: u64 = 300;
const LEGEND_ROW: u64 = 20;

/// Distinct for most eyes, also those that see no red or green (Okabe and Ito).
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00"];

/// Draws the main figures of an outcome: curves where its runs were cut into tenths, else bars.
pub(super) fn svg(outcome: &Outcome) -> String {
    let main = outcome.main();
    let curves = outcome.contestants.iter().map(|one| (one.name.clone(), one.curve()));
    let curves: Vec<(String, Vec<u64>)> = curves.filter(|(_, points)| points.len() > 1).collect();
    if !curves.is_empty() {
        let title = format!("{}: {} by tenth of the records", outcome.scenario, main.title);
        return lines(&title, &curves, &|value| main.shown.text(value));
    }
    let plotted = &outcome.figures[..outcome.plotted.min(outcome.figures.len())];
    let rows = outcome.contestants.iter().flat_map(|contestant| {
        plotted.iter().filter_map(|figure| {
            let label = match plotted {
                [_] => contestant.name.clone(),
                _ => format!("{}, {}", contestant.name, figure.title),
            };
            Some((label, contestant.spread(figure.name)?))
        })
    });
    let rows: Vec<(String, Spread)> = rows.collect();
    let title = match plotted {
        [_] => format!("{}: {}, median, least and most", outcome.scenario, main.title),
        _ => format!("{}: median, least and most", outcome.scenario),
    };
    bars(&title, &rows, plotted.len(), &|value| main.shown.text(value))
}

/// Bars of medians, a line over each from the least to the most; `group` of them have one colour.
fn bars(
    title: &str,
    rows: &[(String, Spread)],
    group: usize,
    text: &dyn Fn(u64) -> String,
) -> String {
    let most = rows.iter().map(|(_, spread)| spread.max).max().unwrap_or(0).max(1);
    let x = |value: u64| LEFT + scaled(value, RIGHT - LEFT, most);
    let mut svg = head(TOP + ROW * rows.len() as u64 + 14, title);
    for (place, (label, spread)) in rows.iter().enumerate() {
        let y = TOP + ROW * place as u64;
        let colour = COLOURS[place / group.max(1) % COLOURS.len()];
        let (middle, end) = (y + 9, x(spread.median));
        label_at(&mut svg, LEFT - 8, y + 13, "end", label);
        line(
            &mut svg,
            &format!(
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{}\" height=\"18\" fill=\"{colour}\"/>",
                end - LEFT
            ),
        );
        let (from, to) = (x(spread.min), x(spread.max));
        line(
            &mut svg,
            &format!(
                "<path d=\"M{from} {middle}H{to}M{from} {y}v18M{to} {y}v18\" stroke=\"#333\" \
                 fill=\"none\"/>"
            ),
        );
        label_at(&mut svg, to.max(end) + 8, y + 13, "start", &text(spread.median));
    }
    svg + "</svg>\n"
}

/// Curves over points of equal distance, from zero up.
fn lines(title: &str, curves: &[(String, Vec<u64>)], text: &dyn Fn(u64) -> String) -> String {
    let most = curves.iter().flat_map(|(_, points)| points).copied().max().unwrap_or(0).max(1);
    let bottom = TOP + CURVES_HEIGHT;
    let y = |value: u64| bottom - scaled(value, CURVES_HEIGHT, most);
    let mut svg = head(bottom + 30 + LEGEND_ROW * curves.len() as u64, title);
    let left = 90;
    for quarter in 0..=4 {
        let value = most * quarter / 4;
        let at = y(value);
        line(&mut svg, &format!("<path d=\"M{left} {at}H{RIGHT}\" stroke=\"#ddd\"/>"));
        label_at(&mut svg, left - 8, at + 4, "end", &text(value));
    }
    for (place, (name, points)) in curves.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        let step = |n: usize| left + scaled(n as u64, RIGHT - left, points.len() as u64 - 1);
        let mut path = String::new();
        for (n, value) in points.iter().enumerate() {
            let to = if n == 0 { 'M' } else { 'L' };
            // Writing to a string cannot fail, here and below.
            let _ = write!(path, "{to}{} {}", step(n), y(*value));
        }
        line(
            &mut svg,
            &format!("<path d=\"{path}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"/>"),
        );
        let legend = bottom + 24 + LEGEND_ROW * place as u64;
        line(
            &mut svg,
            &format!(
                "<rect x=\"{left}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>",
                legend - 5
            ),
        );
        label_at(&mut svg, left + 22, legend, "start", name);
    }
    svg + "</svg>\n"
}

fn scaled(value: u64, length: u64, most: u64) -> u64 {
    let place = u128::from(value) * u128::from(length) / u128::from(most.max(1));
    u64::try_from(place).unwrap_or(length)
}

fn head(height: u64, title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" fill=\"#fff\"/>\n"
    );
    label_at(&mut svg, 16, 24, "start", title);
    svg
}

fn label_at(svg: &mut String, x: u64, y: u64, anchor: &str, label: &str) {
    let label = label.replace('&', "&amp;").replace('<', "&lt;");
    line(svg, &format!("<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{label}</text>"));
}

fn line(svg: &mut String, element: &str) {
    svg.push_str(element);
    svg.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_end_where_their_values_are() {
        let half = Spread { min: 40, median: 50, max: 60 };
        let whole = Spread { min: 90, median: 100, max: 100 };
        let rows = [("a < b".to_owned(), half), ("c".to_owned(), whole)];
        let svg = bars("speed", &rows, 1, &|value| value.to_string());
        let (all, part) = (RIGHT - LEFT, (RIGHT - LEFT) / 2);
        assert!(svg.contains(&format!("width=\"{part}\" height=\"18\"")), "{svg}");
        assert!(svg.contains(&format!("width=\"{all}\" height=\"18\"")), "{svg}");
        assert!(svg.contains("a &lt; b") && svg.ends_with("</svg>\n"), "{svg}");
    }

    #[test]
    fn curves_go_from_zero_to_the_most() {
        let curves = [("x".to_owned(), vec![0, 10]), ("y".to_owned(), vec![5, 5, 5])];
        let svg = lines("speed", &curves, &|value| value.to_string());
        let bottom = TOP + CURVES_HEIGHT;
        assert!(svg.contains(&format!("M90 {bottom}L{RIGHT} {TOP}")), "{svg}");
        let middle = bottom - CURVES_HEIGHT / 2;
        assert!(svg.contains(&format!("M90 {middle}L415 {middle}L{RIGHT} {middle}")), "{svg}");
    }
}
