//! Tables of resources with the columns that kubectl shows for the same kind.

use jiff::{SpanRound, Timestamp, Unit};
use serde_json::Value;

/// One column: its title and where its value stands in the object.
#[derive(Debug, Clone)]
pub struct Column {
    pub title: String,
    /// The subset of JSONPath that printer columns use: `.a.b`, `.a[?(@.type=="Ready")].b`.
    pub path: String,
    /// Shown as an age rather than as a time.
    pub is_date: bool,
}

/// The values that `path` selects in `object`; none where a step is missing.
fn select<'a>(object: &'a Value, path: &str) -> Option<&'a Value> {
    let mut at = object;
    let mut rest = path.trim_start_matches('.');
    while !rest.is_empty() {
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, tail) = rest.split_at(end);
        if !name.is_empty() {
            at = at.get(name)?;
        }
        rest = tail;
        if let Some(filter) = rest.strip_prefix("[?(@.") {
            let (condition, tail) = filter.split_once(")]")?;
            let (key, wanted) = condition.split_once("==")?;
            let wanted = wanted.trim().trim_matches(['"', '\'']);
            at = at
                .as_array()?
                .iter()
                .find(|item| item.get(key.trim()).and_then(Value::as_str) == Some(wanted))?;
            rest = tail;
        }
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    Some(at)
}

/// How long ago, in the largest unit that says enough: `42s`, `7m`, `5h`, `3d`.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(since).as_secs().max(0);
    match seconds {
        0..=119 => format!("{seconds}s"),
        120..=7199 => format!("{}m", seconds / 60),
        7200..=172_799 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A duration as people write it: `1m 5s`.
pub fn duration(from: Timestamp, to: Timestamp) -> String {
    let span = to.duration_since(from).max(jiff::SignedDuration::ZERO);
    let unit = if span.as_secs() < 10 {
        Unit::Millisecond
    } else {
        Unit::Second
    };
    jiff::Span::try_from(span)
        .and_then(|span| span.round(SpanRound::new().largest(Unit::Hour).smallest(unit)))
        .map_or_else(|_| format!("{}s", span.as_secs()), |span| format!("{span:#}"))
}

fn cell(object: &Value, column: &Column, now: Timestamp) -> String {
    match select(object, &column.path) {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) if column.is_date => text
            .parse::<Timestamp>()
            .map_or_else(|_| text.clone(), |since| age(since, now)),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join(","),
        Some(other) => other.to_string(),
    }
}

/// Rows under titles, columns as wide as their widest cell.
pub fn render(columns: &[Column], objects: &[Value], now: Timestamp) -> String {
    let mut rows: Vec<Vec<String>> = vec![columns.iter().map(|column| column.title.to_uppercase()).collect()];
    rows.extend(
        objects
            .iter()
            .map(|object| columns.iter().map(|column| cell(object, column, now)).collect()),
    );
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| {
            rows.iter()
                .map(|row| row[index].chars().count())
                .max()
                .unwrap_or_default()
        })
        .collect();
    let mut text = String::new();
    for row in rows {
        let line: Vec<String> = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("   ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn column(title: &str, path: &str) -> Column {
        Column {
            title: title.into(),
            path: path.into(),
            is_date: path.ends_with("Timestamp"),
        }
    }

    #[test]
    fn selects_what_printer_columns_select() {
        let object = json!({
            "metadata": {"name": "orders"},
            "status": {"rows": 3, "conditions": [{"type": "Stalled", "status": "True"}, {"type": "Ready", "status": "False"}]},
        });
        for (path, expected) in [
            (".metadata.name", Some(json!("orders"))),
            (".status.rows", Some(json!(3))),
            (
                r#".status.conditions[?(@.type=="Ready")].status"#,
                Some(json!("False")),
            ),
            (r#".status.conditions[?(@.type=="Reachable")].status"#, None),
            (".spec.schedule.cron", None),
        ] {
            assert_eq!(select(&object, path), expected.as_ref(), "{path}");
        }
    }

    #[test]
    fn aligns_and_ages() {
        let now: Timestamp = "2026-11-23T10:00:00Z".parse().unwrap();
        let objects = [
            json!({"metadata": {"name": "a-long-name", "creationTimestamp": "2026-11-23T09:00:00Z"}}),
            json!({"metadata": {"name": "b", "creationTimestamp": "2026-11-13T09:00:00Z"}}),
        ];
        let columns = [
            column("Name", ".metadata.name"),
            column("Age", ".metadata.creationTimestamp"),
        ];
        assert_eq!(
            render(&columns, &objects, now),
            "NAME          AGE\na-long-name   60m\nb             10d\n"
        );
    }
}
