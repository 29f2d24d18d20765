//! Names: tables, and the parts of object keys.

use std::collections::HashMap;
use std::fmt;

use crate::error::LakeError;

/// Longest schema, table, run or attempt name, in bytes: leaves room for suffixes below the 255 of file systems.
const LONGEST: usize = 200;

/// `schema.table` of a lake table.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LakeTableName {
    pub schema: String,
    pub name: String,
}

impl LakeTableName {
    /// Checks that both parts can be directories on every store.
    pub(crate) fn new(schema: &str, name: &str) -> Result<Self, LakeError> {
        for (kind, part) in [("schema", schema), ("table", name)] {
            check_key_part(kind, part)?;
            if part.contains('.') {
                return Err(LakeError::BadName {
                    kind,
                    name: part.to_owned(),
                    problem: "it must not hold a dot",
                });
            }
        }
        Ok(Self {
            schema: schema.to_owned(),
            name: name.to_owned(),
        })
    }
}

impl fmt::Display for LakeTableName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}", self.schema, self.name)
    }
}

/// Checks one segment of an object key: ASCII, so that the key, the URI in the manifest and the file name on disk
/// are the same text, and not hidden from engines that skip `_` and `.` names.
pub(crate) fn check_key_part(kind: &'static str, part: &str) -> Result<(), LakeError> {
    let problem = if part.is_empty() {
        "it is empty"
    } else if part.len() > LONGEST {
        "it is longer than 200 bytes"
    } else if part.starts_with(['_', '.', '-']) {
        "it must not begin with '_', '.' or '-'"
    } else if !part
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
    {
        "only ASCII letters, digits, '_', '-' and '.' are allowed"
    } else {
        return Ok(());
    };
    Err(LakeError::BadName {
        kind,
        name: part.to_owned(),
        problem,
    })
}

/// Longest column name in bytes: that of AWS Glue's catalog, the shortest of those that read a lake.
const LONGEST_COLUMN: usize = 255;

/// Columns that Iceberg's engines add to every table (the specification's reserved field ids, and Spark's change logs):
/// Spark refuses a table that has one of its own.
const RESERVED_COLUMNS: [&str; 10] = [
    "_file",
    "_pos",
    "_deleted",
    "_spec_id",
    "_partition",
    "_row_id",
    "_last_updated_sequence_number",
    "_change_type",
    "_change_ordinal",
    "_commit_snapshot_id",
];

/// The portable form of a column name: lower case; whatever is neither a letter, a digit nor `_` becomes `_`, and a
/// name that Iceberg's engines use themselves gets one at its end.
///
/// Engines disagree on spaces, dots, commas and case (Hive and Athena fold case and refuse dots, old Spark refuses
/// ` ,;{}()\n\t=`), so these never reach the table. Letters outside ASCII are kept.
pub fn portable_column_name(name: &str) -> String {
    let mut portable: String = name
        .chars()
        .flat_map(char::to_lowercase)
        .map(|character| {
            if character.is_alphanumeric() {
                character
            } else {
                '_'
            }
        })
        .collect();
    if portable.is_empty() || portable.starts_with(|character: char| character.is_ascii_digit()) {
        portable.insert(0, '_');
    }
    if RESERVED_COLUMNS.contains(&portable.as_str()) {
        portable.push('_');
    }
    portable
}

/// Portable names for sibling columns; two that would become one, and one that is too long, are refused.
pub(crate) fn portable_column_names<'a>(
    table: &LakeTableName,
    names: impl Iterator<Item = &'a String>,
) -> Result<Vec<String>, LakeError> {
    let mut seen: HashMap<String, &String> = HashMap::new();
    let mut portable_names = Vec::new();
    for name in names {
        let portable = portable_column_name(name);
        if portable.len() > LONGEST_COLUMN {
            return Err(LakeError::ColumnNameTooLong {
                table: table.clone(),
                bytes: portable.len(),
                limit: LONGEST_COLUMN,
                column: name.clone(),
            });
        }
        if let Some(first) = seen.insert(portable.clone(), name) {
            return Err(LakeError::ColumnCollision {
                table: table.clone(),
                first: first.clone(),
                second: name.clone(),
                name: portable,
            });
        }
        portable_names.push(portable);
    }
    Ok(portable_names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn column_names_become_portable() {
        for (name, portable) in [
            ("id", "id"),
            ("Order ID", "order_id"),
            ("a.b,c;d", "a_b_c_d"),
            ("2nd", "_2nd"),
            ("", "_"),
            ("이름", "이름"),
            ("ÀB", "àb"),
            ("x=y(z)", "x_y_z_"),
            ("a\tb\n\"c\"\0", "a_b__c__"),
            ("_POS", "_pos_"),
            ("_pos_", "_pos_"),
            ("pos", "pos"),
        ] {
            assert_eq!(portable_column_name(name), portable, "{name:?}");
        }
    }

    #[test]
    fn colliding_columns_are_refused_with_both_names() {
        let table = LakeTableName::new("shop", "orders").unwrap();
        let names = ["Total".to_owned(), "total".to_owned()];
        let error = portable_column_names(&table, names.iter()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "table shop.orders: columns \"Total\" and \"total\" would both be named \"total\" in the lake; rename one of them"
        );
    }

    #[test]
    fn long_columns_are_refused() {
        let table = LakeTableName::new("shop", "orders").unwrap();
        let longest = "é".repeat(127);
        assert_eq!(
            portable_column_names(&table, [longest.clone()].iter()).unwrap(),
            [longest]
        );
        let error = portable_column_names(&table, ["é".repeat(128)].iter()).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!(
                "table shop.orders: column {:?} has a name of 256 bytes, above the limit of 255; rename it with as, or leave it out",
                "é".repeat(128)
            )
        );
    }

    #[test]
    fn key_parts_are_checked() {
        for good in ["orders", "orders-2026.11", "Run_1"] {
            assert!(check_key_part("run", good).is_ok(), "{good}");
        }
        for bad in ["", "_runs", ".hidden", "a/b", "..", "ü", "a b", &"x".repeat(201)] {
            assert!(check_key_part("run", bad).is_err(), "{bad}");
        }
        assert!(LakeTableName::new("a.b", "c").is_err());
    }
}
