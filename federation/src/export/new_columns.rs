//! Columns of the source that the published table has not.

use std::collections::BTreeSet;

use lakegate_crds::OnNewColumn;
use lakegate_lake::portable_column_name;

use super::invalid;
use crate::error::{Cause, FederationError};

/// The columns that are exported, and the new ones that are left out. `published` are the names in the lake's table;
/// before its first run no column is new.
///
/// # Errors
/// `NewColumns` where new ones are to fail the run; `InvalidExport` where leaving them out leaves none.
pub(super) fn settle<'a>(
    policy: OnNewColumn,
    chosen: impl Iterator<Item = &'a str>,
    published: Option<&BTreeSet<String>>,
) -> Result<(Vec<&'a str>, Vec<String>), FederationError> {
    let is_known =
        |name: &&str| published.is_none_or(|published| published.contains(&portable_column_name(name)));
    if policy == OnNewColumn::Include {
        return Ok((chosen.collect(), Vec::new()));
    }
    let (kept, new): (Vec<&str>, Vec<&str>) = chosen.partition(is_known);
    match policy {
        OnNewColumn::Fail if !new.is_empty() => Err(Cause::NewColumns {
            message: format!(
                "spec.onNewColumn: the source has columns that the published table has not: {}; set onNewColumn: \
                 Include to add them, Drop to leave them out, or name them in spec.allColumns.except",
                new.join(", ")
            ),
        }
        .into()),
        OnNewColumn::Drop if kept.is_empty() && !new.is_empty() => Err(invalid(
            "spec.onNewColumn",
            "no column of the source is in the published table, and new ones are left out; set onNewColumn: Include, \
             or export into another table",
        )),
        _ => Ok((kept, new.into_iter().map(str::to_owned).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_columns_are_those_the_table_has_not() {
        let published = BTreeSet::from(["id".to_owned(), "order_id".to_owned(), "gone".to_owned()]);
        let chosen = ["note", "id", "Order ID"];
        let settled = |policy, published| {
            settle(policy, chosen.into_iter(), published)
                .map(|(kept, new)| (kept.join(" "), new.join(" ")))
                .map_err(|error| error.to_string())
        };
        let names = |kept: &str, new: &str| Ok((kept.to_owned(), new.to_owned()));
        let all = names("note id Order ID", "");
        for policy in [OnNewColumn::Drop, OnNewColumn::Fail, OnNewColumn::Include] {
            assert_eq!(settled(policy, None), all, "{policy:?}: nothing is published yet");
        }
        let published = Some(&published);
        assert_eq!(
            settled(OnNewColumn::Drop, published),
            names("id Order ID", "note")
        );
        assert_eq!(settled(OnNewColumn::Include, published), all);
        let failed = settled(OnNewColumn::Fail, published).unwrap_err();
        assert!(failed.contains("has not: note; set onNewColumn"), "{failed}");
        let other = BTreeSet::from(["x".to_owned()]);
        let none = settled(OnNewColumn::Drop, Some(&other)).unwrap_err();
        assert!(none.starts_with("spec.onNewColumn: no column"), "{none}");
    }
}
