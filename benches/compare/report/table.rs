//! Lines of Markdown tables.

pub(super) fn head(columns: &[&str]) -> Vec<String> {
    let rule = vec!["---".to_owned(); columns.len()];
    vec![
        row(&columns.iter().map(ToString::to_string).collect::<Vec<_>>()),
        row(&rule),
    ]
}

pub(super) fn row(cells: &[String]) -> String {
    format!("| {} |", cells.join(" | "))
}
